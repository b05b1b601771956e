package dnsfacts

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
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
	want      checkhelo.Need
	wanted    []key  // to ask next
	missed    bool   // get had no answer
	late      bool   // only reasons of block lists are missing
	over      *Error // what has no answer fails with it; nil: the answer may still come
	questions map[key]*question
	budget    int       // questions that remain
	longest   time.Time // until which they may wait for the share of the network
	hurry     time.Time // until which reasons are waited for
	ended     time.Time // the last look-ups

	// Guarded by shares.mu:
	deadline time.Time // of all look-ups, without pauses between them
	queued   int       // questions that wait for the share of the network
	since    time.Time // the first of them was queued
	news     chan struct{}
}

// question is what one greeting asks.
type question struct {
	key    key
	of     *Pending
	answer atomic.Pointer[record] // nil: not there yet
}

func (g *Gatherer) pending(f *checkhelo.Facts) *Pending {
	return &Pending{g: g, client: f.Client, helo: f.Helo, ctx: context.Background()}
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
		if !done && old.of(f) {
			return old
		}
		old.cancel()
	}
	if done {
		return nil
	}
	p.busy = make(chan struct{}, 1)
	n, limit := g.network(p.client), cmp.Or(g.ShareJobs, DefaultShareJobs)
	if s.jobs >= g.maxQuestions() || n.jobs >= limit ||
		n.wide != nil && n.wide.jobs >= wideShare*limit {
		p.wanted = nil
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
		defer p.release()
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

// of reports whether p is for the greeting of f.
func (p *Pending) of(f *checkhelo.Facts) bool {
	return f.Helo.ASCII == p.helo.ASCII && f.Helo.Kind == p.helo.Kind && f.Client == p.client
}

// Wait adds to f what was learnt and looks up what else need names. Only time
// spent on look-ups counts against Timeout: a pause of the client between EHLO
// and RCPT TO uses up nothing. When ctx ends first, what is still out is Failed.
func (p *Pending) Wait(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	if !p.acquire(ctx) {
		p.g.Fill(ctx, f, need)
		return
	}
	defer p.release()
	p.fill(ctx, f, need)
}

// acquire waits until nobody looks up for this greeting. It returns false when ctx ends first.
func (p *Pending) acquire(ctx context.Context) bool {
	select {
	case p.busy <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *Pending) release() { <-p.busy }

// fill sets in f what need names and f lacks.
func (p *Pending) fill(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	p.want = need
	p.until(ctx, func() { p.learn(f) })
}

// learners has the function that learns each fact. A function sets the fact in f, or
// returns when p.get, which notes the question, has no answer. It is then called again.
var learners = [...]struct {
	need  checkhelo.Need
	learn func(p *Pending, f *checkhelo.Facts)
}{
	{checkhelo.NeedForward, (*Pending).forward},
	{checkhelo.NeedMX, (*Pending).mx},
	{checkhelo.NeedPTR, (*Pending).ptr},
	{checkhelo.NeedTLD, (*Pending).tld},
	{checkhelo.NeedSPF, (*Pending).spf},
	{checkhelo.NeedLists, (*Pending).lists},
}

// learn sets those facts that are wanted, lacking, and settled by the answers there are.
func (p *Pending) learn(f *checkhelo.Facts) {
	missed := false
	for i := range learners {
		if l := &learners[i]; p.want&l.need != 0 {
			p.missed = false
			l.learn(p, f)
			missed = missed || p.missed
		}
	}
	p.missed = missed
}

// get returns the answer to k, or notes that k is wanted and returns nil.
func (p *Pending) get(k key) (r *record) {
	if p.over != nil && p.over.Kind == KindPanic {
		return &record{err: p.over}
	}
	q := p.questions[k]
	if q != nil {
		r = q.answer.Load()
	} else {
		r = p.g.Cache.get(k)
	}
	switch {
	case r != nil:
		return r
	case p.over != nil:
		return &record{err: p.over}
	case q == nil && !slices.Contains(p.wanted, k):
		p.wanted = append(p.wanted, k)
	}
	p.missed = true
	return nil
}

// until runs step, asks what it misses and runs it again, until it misses nothing. What
// has no answer at the end of the time or of ctx, or after a panic, is Failed.
func (p *Pending) until(ctx context.Context, step func()) {
	p.renew()
	if len(p.wanted) == 0 && p.done(step) { // else Start went this first step
		return
	}
	defer p.g.leave(p)
	timer := time.NewTimer(p.g.timeout())
	defer timer.Stop()
	for p.over == nil {
		if p.over = p.await(ctx, timer); p.over == nil && p.done(step) {
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
	p.missed, p.late = false, false
	step()
	if p.late && p.hurry.IsZero() {
		p.hurry = time.Now().Add(p.g.timeout() / 5)
	}
	return !p.missed && !p.late
}

// renew prepares for look-ups. What failed ten seconds ago is forgotten.
func (p *Pending) renew() {
	now := time.Now()
	pause := now.Sub(p.ended)
	p.over, p.deadline = nil, p.deadline.Add(pause)
	if pause >= failTTL {
		p.deadline, p.budget = now.Add(p.g.timeout()), GreetingQuestions
	}
	p.longest = now.Add(shareWaits * p.g.timeout())
	maps.DeleteFunc(p.questions, func(_ key, q *question) bool {
		r := q.answer.Load()
		return r.failed() && now.Sub(r.err.at) >= failTTL
	})
}

// await asks what is wanted and waits for an answer.
func (p *Pending) await(ctx context.Context, timer *time.Timer) *Error {
	for {
		if err := cmp.Or(ctx.Err(), p.ctx.Err()); err != nil {
			return p.failure(err)
		}
		wait := p.g.ask(p)
		if wait <= 0 {
			return p.failure(context.DeadlineExceeded)
		}
		timer.Reset(wait)
		select {
		case <-p.news:
			return nil
		case <-ctx.Done():
		case <-p.ctx.Done():
		case <-timer.C:
		}
	}
}

// failure is an error of all that a greeting asks.
func (p *Pending) failure(err error) *Error {
	return wrap(err, key{name: p.helo.ASCII, qtype: dns.TypeANY})
}
