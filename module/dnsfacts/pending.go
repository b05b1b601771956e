package dnsfacts

import (
	"cmp"
	"context"
	"maps"
	"net/netip"
	"slices"
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
	ended   time.Time // the last look-ups
	longest time.Time // until which these ones may wait for the share of the network
	budget  int       // questions that remain
	want    checkhelo.Need
	wanted  []key           // to ask next
	missed  bool            // get had no answer
	answers map[key]*record // of what was asked; nil: not arrived

	// Guarded by shares.mu:
	queue   []key         // questions that wait for the share of the network
	left    time.Duration // look-up time that remained at since
	since   time.Time     // when the last question left the queue
	arrived []*flight
	news    chan struct{} // full when arrived has more or queue is empty
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
	p, left := g.pending(f), missing(f, need)
	p.want = need
	if err := guarded(func() { left = p.learn(f, left) }); err != nil {
		markFailed(f, left, err)
		left = 0
	}
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.greetings[remote]; old != nil {
		if left != 0 && old.of(f) {
			return old
		}
		old.cancel()
	}
	if left == 0 {
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
// Facts for another greeting or client than Start was given are filled as by Fill.
func (p *Pending) Wait(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	if !p.of(f) {
		p.g.Fill(ctx, f, need)
		return
	}
	if err := p.acquire(ctx); err != nil {
		p.g.pending(f).learn(f, missing(f, need)) // from the cache
		markFailed(f, missing(f, need), err)
		return
	}
	defer p.release()
	p.fill(ctx, f, need)
}

// acquire waits until nobody looks up for this greeting.
func (p *Pending) acquire(ctx context.Context) *Error {
	select {
	case p.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return p.failure(ctx.Err())
	}
}

func (p *Pending) release() { <-p.busy }

// fill sets in f what need names and f lacks.
func (p *Pending) fill(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	left := missing(f, need)
	if left == 0 {
		return
	}
	p.want = need
	err := p.until(ctx, func() (enough bool) {
		left = p.learn(f, left)
		p.missed = left != 0
		return missing(f, need) == 0
	})
	if err != nil {
		markFailed(f, missing(f, need), err)
	}
}

// learn learns what it can of left from the answers there are, and returns the rest.
func (p *Pending) learn(f *checkhelo.Facts, left checkhelo.Need) checkhelo.Need {
	for i := range learners {
		l := &learners[i]
		if left&l.need == 0 {
			continue
		}
		p.missed = false
		if l.learn(p, f); !p.missed {
			left &^= l.need
		}
	}
	return left
}

// get returns the answer to k, or notes that k is wanted and returns nil.
func (p *Pending) get(k key) *record {
	r, asked := p.answers[k]
	if !asked {
		r = p.g.Cache.get(k)
	}
	if r != nil {
		return r
	}
	p.missed = true
	if !asked && !slices.Contains(p.wanted, k) {
		p.wanted = append(p.wanted, k)
	}
	return nil
}

// until asks what step has missed and runs it again, until it misses nothing. step
// returns true when it misses only what is good to have, which gets a fifth of Timeout.
func (p *Pending) until(ctx context.Context, step func() (enough bool)) *Error {
	p.renew()
	var enough bool
	var hurry time.Time
	again := func() {
		p.missed = false
		if enough = step(); enough && hurry.IsZero() {
			hurry = time.Now().Add(p.g.timeout() / 5)
		}
	}
	if len(p.wanted) == 0 { // else Start went this first step
		if err := guarded(again); err != nil || !p.missed {
			return err
		}
	}
	if p.left <= 0 {
		return p.failure(context.DeadlineExceeded)
	}
	defer p.g.leave(p)
	timer := time.NewTimer(p.left)
	defer timer.Stop()
	for {
		arrived, wait := p.g.ask(p)
		if arrived {
			if err := guarded(again); err != nil || !p.missed {
				return err
			}
			continue
		}
		if enough {
			wait = min(wait, time.Until(hurry))
		}
		timer.Reset(wait)
		if err := p.await(ctx, timer.C); enough && err != nil {
			return nil
		} else if err != nil {
			return p.failure(err)
		}
	}
}

// renew prepares for look-ups. What failed ten seconds ago is forgotten.
func (p *Pending) renew() {
	now := time.Now()
	if now.Sub(p.ended) >= failTTL {
		p.left, p.budget = p.g.timeout(), GreetingQuestions
	}
	if p.ctx.Err() != nil {
		p.left = 0
	}
	p.since, p.longest = now, now.Add(shareWaits*p.g.timeout())
	maps.DeleteFunc(p.answers, func(_ key, r *record) bool {
		return r.failed() && now.Sub(r.err.at) >= failTTL
	})
}

// await waits for news of what was asked.
func (p *Pending) await(ctx context.Context, over <-chan time.Time) error {
	select {
	case <-p.news:
		return nil
	case <-over:
		return context.DeadlineExceeded
	case <-ctx.Done():
		return ctx.Err()
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// failure is an error of all that a greeting asks.
func (p *Pending) failure(err error) *Error {
	return wrap(err, key{name: p.helo.ASCII, qtype: dns.TypeANY})
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
