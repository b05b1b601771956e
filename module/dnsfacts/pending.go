package dnsfacts

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// Pending holds the lookups of one greeting. They share a budget of GreetingQuestions
// queries and one Timeout. Both are restored ten seconds after the last lookup. Its
// methods are safe for concurrent use.
type Pending struct {
	g      *Gatherer
	client netip.Addr
	helo   heloname.Name
	ctx    context.Context
	cancel context.CancelFunc // ends all lookups, also later ones
	busy   chan struct{}      // full while a goroutine uses this Pending

	// Used only by the goroutine that filled busy:
	want   checkhelo.Need
	missed int       // calls of get that had no answer
	over   *Error    // error of queries without an answer; nil: answers may still come
	budget int       // queries that remain
	ended  time.Time // when the last lookups ended
	// Time left to wait for answers, and to wait for the network's share. Only one of them runs
	// at a time.
	left, patience time.Duration

	// Guarded by shares.mu:
	answers map[key]*record // nil record: no answer yet
	queue   []key           // queries to send
	news    chan struct{}
}

func (g *Gatherer) pending(f *checkhelo.Facts) *Pending {
	return &Pending{
		g: g, client: f.Client, helo: f.Helo, ctx: context.Background(),
		budget: GreetingQuestions, ended: time.Now(), left: g.timeout(),
	}
}

// Start sets those facts of need that the cache has, and starts a job that looks up
// the rest as Fill does. It returns at once; it returns nil if nothing is left to look
// up. If the client's network has ShareJobs jobs already, Start starts no job: the
// lookups begin with Wait. A job ends by itself after Timeout.
//
// remote is the client's address and port. A new greeting from the same remote
// cancels the job of the previous one. If the greeting is the same, Start returns the
// Pending of the running job. The zero value means that the port is unknown.
func (g *Gatherer) Start(
	f *checkhelo.Facts, need checkhelo.Need, remote netip.AddrPort,
) *Pending {
	p := g.pending(f)
	p.want = need
	done := p.done(func() { p.learn(f) })
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.greetings[remote]; old != nil {
		if !done && old.helo == f.Helo && old.client == f.Client {
			return old
		}
		old.cancel()
	}
	if done {
		return nil
	}
	p.busy = make(chan struct{}, 1)
	n, full := g.network(p.client), s.jobs >= g.maxQuestions()
	for at := n; at != nil; at = at.wide {
		full = full || at.jobs >= at.weight*cmp.Or(g.ShareJobs, DefaultShareJobs)
	}
	if full {
		return p
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	s.add(n, 1, 0)
	if remote.IsValid() {
		s.greetings[remote] = p
	}
	p.busy <- struct{}{}
	facts := *f
	go func() {
		defer func() { <-p.busy }()
		p.fill(p.ctx, &facts, need)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.add(n, -1, 0)
		if s.greetings[remote] == p {
			delete(s.greetings, remote)
		}
	}()
	return p
}

// Wait sets in f the facts of need, and looks up those that the job has not found. Only
// time spent on lookups counts against Timeout, not a pause of the client between EHLO
// and RCPT TO. Facts that are unknown when ctx ends are Failed.
func (p *Pending) Wait(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	p, release := p.g.alone(ctx, p, f)
	defer release()
	p.fill(ctx, f, need)
}

// alone waits until no other goroutine uses p. It returns p and a function that releases p. If
// ctx ends first, or p is nil, it returns a new Pending.
func (g *Gatherer) alone(ctx context.Context, p *Pending, f *checkhelo.Facts) (*Pending, func()) {
	if p != nil {
		select {
		case p.busy <- struct{}{}:
			return p, func() { <-p.busy }
		case <-ctx.Done():
		}
	}
	return g.pending(f), func() {}
}

// fill looks up the facts of need that f lacks.
func (p *Pending) fill(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	p.want = need
	p.until(ctx, func() { p.learn(f) })
}

// learn sets those wanted and missing facts that follow from the answers so far.
func (p *Pending) learn(f *checkhelo.Facts) {
	fact(p, f, checkhelo.NeedForward, &f.Forward, (*Pending).forward)
	fact(p, f, checkhelo.NeedMX, &f.MX, (*Pending).mx)
	fact(p, f, checkhelo.NeedPTR, &f.PTR, (*Pending).ptr)
	fact(p, f, checkhelo.NeedPTR, &f.Confirmed, (*Pending).confirmed)
	fact(p, f, checkhelo.NeedTLD, &f.TLD, (*Pending).tld)
	fact(p, f, checkhelo.NeedSPF, &f.SPF, (*Pending).spf)
	fact(p, f, checkhelo.NeedLists, &f.Listed, (*Pending).lists)
}

// fact sets a fact to the result of look. If an answer was missing, it drops the result:
// look runs again when the answer arrives.
func fact[T any](
	p *Pending, f *checkhelo.Facts, need checkhelo.Need, a *checkhelo.Answer[T],
	look func(*Pending, *checkhelo.Facts) checkhelo.Answer[T],
) {
	if p.want&need == 0 || !lacks(a) {
		return
	}
	before := p.missed
	if found := look(p, f); p.missed == before {
		*a = found
	}
}

// notYet is the result of get while there is no answer.
var notYet = &record{err: fault(KindTimeout, "no answer yet")}

// get returns the answer to k. If there is none yet, it queues k and returns notYet.
func (p *Pending) get(k key) *record {
	if p.over != nil && p.over.Kind == KindPanic {
		return &record{err: p.over}
	}
	s := &p.g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	r, asked := p.answers[k]
	if !asked {
		r = p.g.Cache.get(k)
	}
	switch {
	case r != nil:
		return r
	case p.over != nil:
		return &record{err: p.over}
	case asked:
	case p.budget == 0:
		return &record{err: wrap(fault(KindBudget, "more questions than one greeting may ask"), k)}
	default:
		if p.answers == nil {
			p.answers, p.news = make(map[key]*record), make(chan struct{}, 1)
		}
		p.answers[k], p.queue = nil, append(p.queue, k)
		p.budget--
	}
	p.missed++
	return notYet
}

// until runs step and sends the queries that step queued, until step has all answers. Queries
// without an answer fail when the time or ctx ends, or after a panic.
func (p *Pending) until(ctx context.Context, step func()) {
	p.renew()
	if p.done(step) {
		return
	}
	defer p.leave()
	timer := time.NewTimer(p.left)
	defer timer.Stop()
	for p.over == nil {
		if err := p.await(ctx, timer); err != nil { // one error for the whole greeting
			p.over = wrap(err, key{name: p.helo.ASCII, qtype: dns.TypeANY})
		} else if p.done(step) {
			return
		}
	}
	if !p.done(step) {
		p.done(step) // the step above panicked; now p.over is set
	}
}

// done runs step and reports whether it had all answers.
func (p *Pending) done(step func()) bool {
	defer func() {
		if v := recover(); v != nil {
			p.over = wrap(fault(KindPanic, fmt.Sprint(v)), key{})
		}
	}()
	p.missed = 0
	step()
	return p.missed == 0
}

// renew prepares p for lookups. It deletes answers that failed at least ten seconds ago.
func (p *Pending) renew() {
	now, timeout := time.Now(), p.g.timeout()
	if now.Sub(p.ended) >= failTTL {
		p.left, p.budget = timeout, GreetingQuestions
	}
	p.over, p.patience = nil, shareWaits*timeout
	maps.DeleteFunc(p.answers, func(_ key, r *record) bool {
		return r != nil && r.failed() && now.Sub(r.err.at) >= failTTL
	})
}

// await sends queued queries and waits for an answer. It returns an error if none will come.
func (p *Pending) await(ctx context.Context, timer *time.Timer) error {
	err := cmp.Or(ctx.Err(), p.ctx.Err())
	if err != nil || p.left <= 0 {
		return cmp.Or(err, context.DeadlineExceeded)
	}
	left, begun := p.ask(), time.Now()
	defer func() { *left -= time.Since(begun) }()
	timer.Reset(*left)
	select {
	case <-p.news:
		return nil
	case <-timer.C:
		return context.DeadlineExceeded
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

const (
	// wideShare is the share of an IPv6 /48, in shares of a /64.
	wideShare = 4
	// burst is for how many seconds a network can save unused queries.
	burst = 10
	// shareWaits times Timeout is the longest wait for the share of a network. It is
	// long since failed lookups make verdicts milder: a client must not be able to
	// make its own lookups fail by using the whole share.
	shareWaits = 12
)

// shares limits the queries in flight. Each client network has its share, networks take
// turns, and the last places are reserved for networks that have no query in flight.
type shares struct {
	mu           sync.Mutex
	networks     map[netip.Prefix]*network
	waiting      []*network // networks with a queue; the first is next
	flights      map[key]*flight
	greetings    map[netip.AddrPort]*Pending // with a running job
	jobs, asking int
}

// network is one client network and what it uses of its share.
type network struct {
	wide         *network // the /48 of an IPv6 /64
	narrow       int      // number of networks whose wide is this one
	weight       int      // number of its shares: 1 or wideShare
	jobs, asking int
	recent       int        // queries sent, less one share per second
	queue        []*Pending // wait for a place; the first is next
}

// flight is one query in flight. All greetings that need its answer share it.
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
	of := func(prefix netip.Prefix, weight int) *network {
		if s.networks[prefix] == nil {
			s.networks[prefix] = &network{weight: weight}
		}
		return s.networks[prefix]
	}
	narrow := heloname.ClientNetwork(client)
	n := of(narrow, 1)
	if narrow.Addr().Is6() && n.wide == nil {
		wide, _ := narrow.Addr().Prefix(48)
		n.wide = of(wide, wideShare)
		n.wide.narrow++
	}
	return n
}

// tick runs once a second while there are networks. It subtracts one second's share from recent
// and deletes networks that use nothing any more.
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

// add changes the numbers of jobs and of queries in flight. The caller holds mu.
func (s *shares) add(n *network, jobs, questions int) {
	s.jobs += jobs
	s.asking += questions
	for ; n != nil; n = n.wide {
		n.jobs += jobs
		n.asking += questions
		n.recent += max(0, questions)
	}
}

// room reports whether n may send one more query: its share is not used up, and it has
// fewer queries in flight than half of the free places. So some places always stay free
// for a network without queries. The caller holds mu.
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

// asked reports whether p has sent or queued the query k.
func (p *Pending) asked(k key) bool {
	s := &p.g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	_, asked := p.answers[k]
	return asked
}

// ask lets p send its queue, and returns the time that runs now: p.left or p.patience.
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

// wake tells p that an answer is there, or that its queue is empty.
func (p *Pending) wake() {
	select {
	case p.news <- struct{}{}:
	default: // p has not read the last one yet
	}
}

// serve gives free places to the waiting networks in turn, and in each network to its greetings
// in turn. asker, which may be nil, called serve and needs no wake. The caller holds mu.
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

// start sends the query k for a network. The caller holds mu.
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

// leave drops the queries of p, and cancels those that no other greeting waits for.
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
