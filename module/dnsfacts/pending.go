package dnsfacts

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

// Pending is the look-ups of one greeting. They share one budget of
// GreetingQuestions and one Timeout. Its methods may be called by many goroutines.
type Pending struct {
	g      *Gatherer
	remote netip.AddrPort     // not valid: not known
	cancel context.CancelFunc // nil: nothing runs ahead
	busy   chan struct{}      // full while a goroutine asks for this greeting

	mu    sync.Mutex // guards facts
	facts checkhelo.Facts

	// Of the goroutine that fills busy:
	client  netip.Addr
	left    time.Duration // look-up time that remains
	budget  int           // questions that remain
	want    checkhelo.Need
	wanted  []key           // to ask next
	answers map[key]*record // of what was asked; nil: not arrived
	flights []*flight       // asked and not arrived
	arrived chan *flight

	// Guarded by shares.mu:
	net    *network
	queued int  // flights that wait for the network's share
	turned bool // one of them got its turn
}

func (g *Gatherer) pending(client netip.Addr) *Pending {
	return &Pending{g: g, client: client, left: g.timeout(), budget: GreetingQuestions}
}

// Start sets in f what need names and the cache knows, and begins to look up
// the rest as Fill does. It returns at once, nil when nothing is left. While the
// client's network has ShareJobs such jobs it only prepares a Pending that looks
// up when it is waited for. A job ends by itself after Timeout.
//
// remote is the client's address and port. A new greeting from the same remote
// cancels the job of the one before; the same greeting again gets the job that
// runs. The zero value means that the port is not known.
func (g *Gatherer) Start(
	f *checkhelo.Facts, need checkhelo.Need, remote netip.AddrPort,
) *Pending {
	p := g.pending(f.Client)
	p.remote, p.want = remote, need
	left := missing(f, need)
	if err := guarded(func() { left = p.learn(f, left) }); err != nil {
		markFailed(f, left, err)
		left = 0
	}
	old := g.shares.greeted(remote)
	if old != nil && left != 0 && old.of(f) {
		return old
	}
	if old != nil {
		old.cancel()
	}
	if left == 0 {
		return nil
	}
	p.busy, p.facts = make(chan struct{}, 1), *f
	if !g.ahead(p) {
		p.wanted = nil
		return p
	}
	var ctx context.Context
	ctx, p.cancel = context.WithCancel(context.Background())
	p.busy <- struct{}{}
	g.shares.greet(p)
	go func() {
		defer func() {
			p.cancel()
			g.behind(p)
			<-p.busy
		}()
		p.fill(ctx, &p.facts, need)
	}()
	return p
}

// of reports whether p is for the greeting of f.
func (p *Pending) of(f *checkhelo.Facts) bool {
	return f.Helo.ASCII == p.facts.Helo.ASCII && f.Helo.Kind == p.facts.Helo.Kind &&
		f.Client == p.facts.Client
}

// Wait adds to f what was learnt and looks up what else need names. Only time
// spent on look-ups counts against Timeout: a pause of the client between EHLO
// and RCPT TO uses up nothing. When ctx ends first, what is still out is Failed.
// Facts for another greeting or client than Start was given are filled as by Fill.
func (p *Pending) Wait(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	if !p.of(f) {
		p.g.Fill(ctx, f, need)
		return
	}
	err := p.acquire(ctx)
	p.mu.Lock()
	adopt(f, &p.facts, need)
	p.mu.Unlock()
	if err != nil {
		markFailed(f, missing(f, need), err)
		return
	}
	defer p.release()
	if missing(f, need) == 0 {
		return
	}
	p.fill(ctx, f, need)
	p.mu.Lock()
	defer p.mu.Unlock()
	adopt(&p.facts, f, need)
}

// acquire waits until nobody asks for this greeting.
func (p *Pending) acquire(ctx context.Context) *Error {
	select {
	case p.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return wrap(ctx.Err(), p.facts.Helo.ASCII, dns.TypeANY)
	}
}

func (p *Pending) release() { <-p.busy }

// Cancel ends the look-ups that nobody else waits for. What has not arrived
// by then is Failed.
func (p *Pending) Cancel() {
	if p.cancel != nil {
		p.cancel()
	}
}

// fill sets in f what need names and f lacks.
func (p *Pending) fill(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	left := missing(f, need)
	if left == 0 {
		return
	}
	if asksAgain(f, left) {
		p.left, p.budget = p.g.timeout(), GreetingQuestions
	}
	p.want = need
	err := p.until(ctx, func() (done, enough bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		left = p.learn(f, left)
		return left == 0, missing(f, need) == 0
	})
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		markFailed(f, missing(f, need), wrap(err, f.Helo.ASCII, dns.TypeANY))
	}
}

// asksAgain reports whether one of the facts of left failed before.
func asksAgain(f *checkhelo.Facts, left checkhelo.Need) bool {
	states := [...]checkhelo.State{f.Forward.State, f.MX.State, max(f.PTR.State, f.Confirmed.State),
		f.TLD.State, f.SPF.State, f.Listed.State}
	for i := range learners {
		if left&learners[i].need != 0 && states[i] == checkhelo.Failed {
			return true
		}
	}
	return false
}

// learn learns what it can of left from the answers there are, and returns the rest.
func (p *Pending) learn(f *checkhelo.Facts, left checkhelo.Need) checkhelo.Need {
	for i := range learners {
		if l := &learners[i]; left&l.need != 0 && l.learn(p, f) {
			left &^= l.need
		}
	}
	return left
}

// get returns the answer to k, or notes that k is wanted and returns nil.
func (p *Pending) get(k key) *record {
	if r, asked := p.answers[k]; asked {
		return r
	}
	if r := p.g.Cache.get(k); r != nil {
		return r
	}
	if !slices.Contains(p.wanted, k) {
		p.wanted = append(p.wanted, k)
	}
	return nil
}

// until asks what settled wants, until settled says done. enough means that only
// what is good to have is out, which gets a fifth of Timeout.
func (p *Pending) until(ctx context.Context, settled func() (done, enough bool)) *Error {
	clear(p.answers)
	var done, enough, hurried bool
	step := func() { done, enough = settled() }
	if len(p.wanted) == 0 { // else Start went this first step
		if err := guarded(step); err != nil || done {
			return err
		}
	}
	defer p.g.leave(p)
	begun := time.Now()
	longest := begun.Add(shareWaits * p.g.timeout())
	timer := time.NewTimer(p.left)
	defer timer.Stop()
	defer func() { p.left -= time.Since(begun) }()
	for {
		waits := p.g.begin(p)
		if waits && enough && !hurried {
			hurried = true
			timer.Reset(p.g.timeout() / 5)
		}
		for waits {
			select {
			case fl := <-p.arrived:
				p.take(fl)
				waits = false
			case <-timer.C:
				if over, err := p.over(hurried, longest); over {
					return err
				}
				begun = time.Now() // time in the queue does not count
				timer.Reset(p.left)
			case <-ctx.Done():
				return wrap(ctx.Err(), "", dns.TypeANY)
			}
		}
		if err := guarded(step); err != nil || done {
			return err
		}
	}
}

// over reports whether look-ups end when their time is over. They go on while one waits
// for the share of its network, until longest.
func (p *Pending) over(hurried bool, longest time.Time) (bool, *Error) {
	if hurried {
		return true, nil
	}
	if p.g.queued(p) && time.Now().Before(longest) {
		return false, nil
	}
	return true, wrap(context.DeadlineExceeded, "", dns.TypeANY)
}

// take notes the answer of fl and of what else has arrived.
func (p *Pending) take(fl *flight) {
	for {
		p.answers[fl.key] = fl.rec
		p.flights = slices.DeleteFunc(p.flights, func(f *flight) bool { return f.key == fl.key })
		select {
		case fl = <-p.arrived:
		default:
			return
		}
	}
}

// guarded turns a panic of f into an error.
func guarded(f func()) (err *Error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v, key{})
		}
	}()
	f()
	return nil
}

// HostAddrs looks up the MX hosts of the HELO name, which it sets in f, and returns
// the addresses of the first eight. p is what Start returned for the greeting and
// may be nil; the questions count against its budget. Failed means that an answer
// is missing; the addresses that are known are returned all the same.
func (g *Gatherer) HostAddrs(
	ctx context.Context, p *Pending, f *checkhelo.Facts,
) (addrs []netip.Addr, state checkhelo.State) {
	if f.Helo.ASCII == "" {
		return nil, checkhelo.NotFound
	}
	if p == nil || !p.of(f) {
		p = g.pending(f.Client)
	} else if err := p.acquire(ctx); err != nil {
		return nil, checkhelo.Failed
	} else {
		defer p.release()
	}
	var done bool
	err := p.until(ctx, func() (bool, bool) {
		addrs, state, done = p.hostAddrs(f)
		return done, false
	})
	if err != nil {
		state = checkhelo.Failed
	}
	return addrs, state
}

// hostAddrs returns what is known of the MX hosts' addresses. done means that no
// answer is out.
func (p *Pending) hostAddrs(
	f *checkhelo.Facts,
) (addrs []netip.Addr, state checkhelo.State, done bool) {
	const maxHosts = 8
	if lacks(&f.MX) {
		r := p.get(key{name: f.Helo.ASCII, qtype: dns.TypeMX})
		if r == nil {
			return nil, checkhelo.Failed, false
		}
		f.MX = textAnswer(r)
	}
	if f.MX.State == checkhelo.Failed {
		return nil, checkhelo.Failed, true
	}
	state, done = checkhelo.NotFound, true
	for _, host := range f.MX.Value[:min(len(f.MX.Value), maxHosts)] {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			switch r := p.get(key{name: host, qtype: qtype}); {
			case r == nil:
				done = false
			case r.failed():
				state = checkhelo.Failed
			default:
				addrs = append(addrs, r.addrs...)
			}
		}
	}
	if len(addrs) > 0 && state == checkhelo.NotFound {
		state = checkhelo.Found
	}
	return addrs, state, done
}
