package dnsfacts

import (
	"cmp"
	"context"
	"maps"
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
}

// network is one client network and what it has of its share.
type network struct {
	wide         *network // the /48 of an IPv6 /64
	narrow       int      // networks that this one is the wide one of
	weight       int      // shares that it has: 1, or wideShare
	jobs, asking int
	recent       int        // questions asked, less a share for each second since
	queue        []*Pending // want a place; the first has the next turn
}

// flight is one question that was asked. All greetings that want it share its answer.
type flight struct {
	waiting []*Pending
	cancel  context.CancelFunc
}

// network returns the network of a client. The caller holds mu.
func (g *Gatherer) network(client netip.Addr) *network {
	s := &g.shares
	if s.networks == nil {
		s.networks = make(map[netip.Prefix]*network)
		s.flights = make(map[key]*flight)
		s.greetings = make(map[netip.AddrPort]*Pending)
	}
	if len(s.networks) == 0 {
		time.AfterFunc(time.Second, g.tick)
	}
	narrow := heloname.ClientNetwork(client)
	n := s.networks[narrow]
	if n != nil {
		return n
	}
	n = &network{weight: 1}
	s.networks[narrow] = n
	if narrow.Addr().Is6() {
		wide, _ := narrow.Addr().Prefix(48)
		if n.wide = s.networks[wide]; n.wide == nil {
			n.wide = &network{weight: wideShare}
			s.networks[wide] = n.wide
		}
		n.wide.narrow++
	}
	return n
}

// tick runs once a second while there are networks. It gives each the questions of that second
// and forgets those that have nothing left.
func (g *Gatherer) tick() {
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	for prefix, n := range s.networks {
		n.recent = max(0, n.recent-n.weight*g.share())
		if n.narrow+n.jobs+n.asking+n.recent+len(n.queue) > 0 {
			continue
		}
		delete(s.networks, prefix)
		if n.wide != nil {
			n.wide.narrow--
		}
	}
	g.serve(nil)
	if len(s.networks) > 0 {
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
	for ; n != nil; n = n.wide {
		most := n.weight * g.share()
		if free == 0 || n.recent >= burst*most || n.asking > 0 && n.asking >= min(most, free/2) {
			return false
		}
	}
	return true
}

// asked reports whether p has asked for k, or queued it.
func (p *Pending) asked(k key) bool {
	s := &p.g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	_, asked := p.answers[k]
	return asked
}

// ask gives p its turn, and returns which of its times runs until the next answer.
func (p *Pending) ask() *time.Duration {
	s := &p.g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p.queue) > 0 {
		n := p.g.network(p.client)
		if len(n.queue) == 0 {
			s.waiting = append(s.waiting, n)
		}
		if !slices.Contains(n.queue, p) {
			n.queue = append(n.queue, p)
		}
		p.g.serve(p)
	}
	if len(p.queue) > 0 {
		return &p.patience
	}
	return &p.left
}

// wake tells p that there is an answer, or that nothing of it is queued any more.
func (p *Pending) wake() {
	select {
	case p.news <- struct{}{}:
	default: // it has not looked yet
	}
}

// serve gives free places to the networks that wait, in turn, and to the greetings of each
// in turn. asker is the greeting that asks, and needs no waking. The caller holds mu.
func (g *Gatherer) serve(asker *Pending) {
	s := &g.shares
	for i := 0; i < len(s.waiting); {
		n := s.waiting[i]
		p := n.queue[0]
		k := p.queue[0]
		f := s.flights[k]
		if f == nil && !g.room(n) {
			i++
			continue
		}
		if f == nil {
			f = g.start(k, n)
		}
		f.waiting = append(f.waiting, p)
		n.queue, p.queue = n.queue[1:], p.queue[1:]
		if len(p.queue) > 0 {
			n.queue = append(n.queue, p)
		} else if p != asker {
			p.wake()
		}
		s.waiting = slices.Delete(s.waiting, i, i+1)
		if len(n.queue) > 0 {
			s.waiting = append(s.waiting, n)
		}
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
		for _, p := range f.waiting {
			p.answers[k] = r
			p.wake()
		}
		s.add(from, 0, -1)
		g.serve(nil)
	}()
	return f
}

// leave gives up what p waits for, and ends what nobody else waits for.
func (p *Pending) leave() {
	s := &p.g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	p.ended = time.Now()
	if len(p.queue) > 0 {
		n := p.g.network(p.client)
		n.queue = slices.DeleteFunc(n.queue, func(q *Pending) bool { return q == p })
		if len(n.queue) == 0 {
			s.waiting = slices.DeleteFunc(s.waiting, func(w *network) bool { return w == n })
		}
		p.queue = nil
	}
	maps.DeleteFunc(p.answers, func(k key, r *record) bool {
		if f := s.flights[k]; r == nil && f != nil {
			f.waiting = slices.DeleteFunc(f.waiting, func(w *Pending) bool { return w == p })
			if len(f.waiting) == 0 {
				f.cancel()
				delete(s.flights, k)
			}
		}
		return r == nil
	})
}
