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

// Pending is the look-ups of one greeting. They share one budget of
// GreetingQuestions and one Timeout, which a look-up that failed gets again after
// ten seconds. Its methods may be called by many goroutines.
type Pending struct {
	g      *Gatherer
	client netip.Addr
	helo   heloname.Name
	ctx    context.Context
	cancel context.CancelFunc // ends all look-ups, also later ones
	busy   chan struct{}      // full while a goroutine looks up for this greeting

	// Of the goroutine that fills busy:
	want   checkhelo.Need
	missed int       // how often get had no answer
	over   *Error    // what has no answer fails with it; nil: the answer may still come
	budget int       // questions that remain
	ended  time.Time // the last look-ups
	// What remains of the times for answers and for the share of the network. Only the time runs
	// that the greeting waits for.
	left, patience time.Duration

	// Guarded by shares.mu:
	answers map[key]*record // nil: not there yet
	queue   []key           // to ask
	news    chan struct{}
}

func (g *Gatherer) pending(f *checkhelo.Facts) *Pending {
	return &Pending{
		g: g, client: f.Client, helo: f.Helo, ctx: context.Background(),
		budget: GreetingQuestions, ended: time.Now(), left: g.timeout(),
	}
}

// Start sets in f what need names and the cache knows, and begins to look up
// the rest as Fill does. It returns at once, nil when nothing is left. While the
// client's network has ShareJobs such jobs it only prepares a Pending that looks
// up when it is waited for. A job ends by itself after Timeout.
//
// remote is the client's address and port. A new greeting from the same remote
// ends the look-ups of the one before; the same greeting again gets the job that
// runs. The zero value means that the port is not known.
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

// Wait adds to f what was learnt and looks up what else need names. Only time
// spent on look-ups counts against Timeout: a pause of the client between EHLO
// and RCPT TO uses up nothing. When ctx ends first, what is still out is Failed.
func (p *Pending) Wait(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	p, release := p.g.alone(ctx, p, f)
	defer release()
	p.fill(ctx, f, need)
}

// alone waits until nobody looks up with p, and returns it and what gives it back. When ctx
// ends first, and for nil, it returns a Pending of its own.
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

// fill sets in f what need names and f lacks.
func (p *Pending) fill(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	p.want = need
	p.until(ctx, func() { p.learn(f) })
}

// learn sets those facts that are wanted, lacking, and settled by the answers there are.
func (p *Pending) learn(f *checkhelo.Facts) {
	fact(p, f, checkhelo.NeedForward, &f.Forward, (*Pending).forward)
	fact(p, f, checkhelo.NeedMX, &f.MX, (*Pending).mx)
	fact(p, f, checkhelo.NeedPTR, &f.PTR, (*Pending).ptr)
	fact(p, f, checkhelo.NeedPTR, &f.Confirmed, (*Pending).confirmed)
	fact(p, f, checkhelo.NeedTLD, &f.TLD, (*Pending).tld)
	fact(p, f, checkhelo.NeedSPF, &f.SPF, (*Pending).spf)
	fact(p, f, checkhelo.NeedLists, &f.Listed, (*Pending).lists)
}

// fact sets a fact to what look returns. A result for which an answer was missing is
// dropped, since look runs again when the answer is there.
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

// notYet stands for an answer that is not there yet.
var notYet = &record{err: fault(KindTimeout, "no answer yet")}

// get returns the answer to k. Where there is none yet, it queues k and returns notYet.
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

// until runs step, asks what it misses and runs it again, until it misses nothing. What
// has no answer at the end of the time or of ctx, or after a panic, is Failed.
func (p *Pending) until(ctx context.Context, step func()) {
	p.renew()
	if p.done(step) {
		return
	}
	defer p.leave()
	timer := time.NewTimer(p.left)
	defer timer.Stop()
	for p.over == nil {
		if err := p.await(ctx, timer); err != nil { // of all that the greeting asks
			p.over = wrap(err, key{name: p.helo.ASCII, qtype: dns.TypeANY})
		} else if p.done(step) {
			return
		}
	}
	if !p.done(step) {
		p.done(step) // it panicked
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

// renew prepares for look-ups. What failed ten seconds ago is forgotten.
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

// await asks what is queued and waits for an answer. It returns why none will come.
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
