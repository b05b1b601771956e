package dnsfacts

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"maddy.example/checkhelo/module/heloname"
)

const (
	// wideShare is how many shares of a /64 an IPv6 /48 has together.
	wideShare = 4
	// burst is for how many seconds a network saves up the questions it does not ask.
	burst = 10
	// shareWaits times Timeout is the longest that a client waits for the share of
	// its own network. A client that takes the whole share by itself must not fail
	// its own look-ups cheaply, since a failed look-up makes verdicts milder.
	shareWaits = 12
)

// shares gives places to questions. Each client network has its share, networks
// take turns, and the last places are kept for networks that have none.
type shares struct {
	mu           sync.Mutex
	networks     map[netip.Prefix]*network
	waiting      []*network // those with a queue; the first has the next turn
	flights      map[key]*flight
	greetings    map[netip.AddrPort]*Pending // that run ahead
	jobs, asking int
	ticks        bool
}

// network is one client network and what it has of its share.
type network struct {
	wide         *network // the /48 of an IPv6 /64
	narrow       int      // networks that this one is the wide one of
	jobs, asking int
	recent       int         // questions asked, less a share for each second since
	queue        []*question // want a place; the first has the next turn
}

// flight is one question that was asked. All greetings that want it share its answer.
type flight struct {
	waiting []*question
	cancel  context.CancelFunc
}

// networksOf returns the network whose share a client has, and the wider one of IPv6.
func networksOf(client netip.Addr) (narrow, wide netip.Prefix) {
	narrow = heloname.ClientNetwork(client)
	if narrow.Addr().Is6() {
		wide, _ = narrow.Addr().Prefix(48)
	}
	return narrow, wide
}

// network returns the network of a client. The caller holds mu.
func (g *Gatherer) network(client netip.Addr) *network {
	s := &g.shares
	narrow, wide := networksOf(client)
	n := s.networks[narrow]
	if n != nil {
		return n
	}
	if s.networks == nil {
		s.networks = make(map[netip.Prefix]*network)
		s.flights = make(map[key]*flight)
		s.greetings = make(map[netip.AddrPort]*Pending)
	}
	n = new(network)
	s.networks[narrow] = n
	if wide.IsValid() {
		if n.wide = s.networks[wide]; n.wide == nil {
			n.wide = new(network)
			s.networks[wide] = n.wide
		}
		n.wide.narrow++
	}
	if !s.ticks {
		s.ticks = true
		time.AfterFunc(time.Second, g.tick)
	}
	return n
}

// tick runs once a second. It gives each network the questions of that second and
// forgets those that have nothing left.
func (g *Gatherer) tick() {
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	for prefix, n := range s.networks {
		second := g.share()
		if n.narrow > 0 {
			second *= wideShare
		}
		n.recent = max(0, n.recent-second)
		if n.narrow+n.jobs+n.asking+n.recent+len(n.queue) > 0 {
			continue
		}
		delete(s.networks, prefix)
		if n.wide != nil {
			n.wide.narrow--
		}
	}
	g.serve()
	if s.ticks = len(s.networks) > 0; s.ticks {
		time.AfterFunc(time.Second, g.tick)
	}
}

func (g *Gatherer) share() int { return cmp.Or(g.ShareQuestions, DefaultShareQuestions) }

// add counts jobs ahead and questions in flight. The caller holds mu.
func (s *shares) add(n *network, jobs, questions int) {
	s.jobs += jobs
	s.asking += questions
	for ; n != nil; n = n.wide {
		n.jobs += jobs
		n.asking += questions
		n.recent += max(0, questions)
	}
}

// room reports whether n may ask one more question: it has a share left, and holds
// less than half as many places as are free. So a few are always free for a network
// that has none. The caller holds mu.
func (g *Gatherer) room(n *network) bool {
	free := g.maxQuestions() - g.shares.asking
	for most := g.share(); n != nil; n, most = n.wide, wideShare*most {
		if free == 0 || n.recent >= burst*most || n.asking > 0 && n.asking >= min(most, free/2) {
			return false
		}
	}
	return true
}

// ask asks what p wants, and returns for how long p may wait for an answer. Where that
// is not positive it asks nothing. What exceeds the budget is answered with a failure.
func (g *Gatherer) ask(p *Pending) (wait time.Duration) {
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.queued > 0:
		wait = min(g.timeout(), time.Until(p.longest))
	case p.missed:
		wait = time.Until(p.deadline)
	default:
		wait = min(time.Until(p.deadline), time.Until(p.hurry))
	}
	if wait <= 0 || len(p.wanted) == 0 {
		return wait
	}
	if p.questions == nil {
		p.questions, p.news = make(map[key]*question), make(chan struct{}, 1)
	}
	n := g.network(p.client)
	for _, k := range p.wanted {
		q := &question{key: k, of: p}
		p.questions[k] = q
		switch f := s.flights[k]; {
		case p.budget == 0:
			q.answered(&record{err: wrap(fault(KindBudget, "more questions than one greeting may ask"), k)})
			continue
		case f != nil:
			f.waiting = append(f.waiting, q)
		default:
			if p.queued++; p.queued == 1 {
				p.since = time.Now()
			}
			if n.queue = append(n.queue, q); len(n.queue) == 1 {
				s.waiting = append(s.waiting, n)
			}
		}
		p.budget--
	}
	p.wanted = p.wanted[:0]
	g.serve()
	return wait
}

// answered hands r to the greeting. The caller holds mu.
func (q *question) answered(r *record) {
	q.answer.Store(r)
	select {
	case q.of.news <- struct{}{}:
	default: // there is news already
	}
}

// serve gives free places to the networks that wait, in turn. The caller holds mu.
func (g *Gatherer) serve() {
	s := &g.shares
	for i := 0; i < len(s.waiting); {
		n := s.waiting[i]
		if !g.room(n) {
			i++
			continue
		}
		q := n.queue[0]
		n.queue = n.queue[1:]
		s.waiting = slices.Delete(s.waiting, i, i+1)
		if len(n.queue) > 0 {
			s.waiting = append(s.waiting, n)
		}
		if q.of.queued--; q.of.queued == 0 {
			q.of.deadline = q.of.deadline.Add(time.Since(q.of.since))
		}
		f := s.flights[q.key]
		if f == nil {
			f = g.start(q.key, n)
		}
		f.waiting = append(f.waiting, q)
	}
}

// start asks a question. The caller holds mu.
func (g *Gatherer) start(k key, from *network) *flight {
	s := &g.shares
	s.add(from, 0, 1)
	ctx, cancel := context.WithTimeout(context.Background(), g.timeout())
	f := &flight{cancel: cancel}
	s.flights[k] = f
	go func() {
		r := g.fetch(ctx, k)
		cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.flights[k] == f {
			delete(s.flights, k)
		}
		for _, q := range f.waiting {
			q.answered(r)
		}
		s.add(from, 0, -1)
		g.serve()
	}()
	return f
}

// leave gives up what p waits for, and ends what nobody else waits for.
func (g *Gatherer) leave(p *Pending) {
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	p.wanted, p.ended = nil, time.Now()
	if p.queued > 0 {
		n := g.network(p.client)
		n.queue = slices.DeleteFunc(n.queue, func(q *question) bool { return q.of == p })
		if len(n.queue) == 0 {
			s.waiting = slices.DeleteFunc(s.waiting, func(w *network) bool { return w == n })
		}
		p.queued, p.deadline = 0, p.deadline.Add(p.ended.Sub(p.since))
	}
	for k, q := range p.questions {
		if q.answer.Load() != nil {
			continue
		}
		delete(p.questions, k)
		f := s.flights[k]
		if f == nil {
			continue
		}
		f.waiting = slices.DeleteFunc(f.waiting, func(w *question) bool { return w == q })
		if len(f.waiting) == 0 {
			f.cancel()
			delete(s.flights, k)
		}
	}
}
