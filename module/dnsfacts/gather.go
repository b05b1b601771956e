// Package dnsfacts asks the DNS (RFC 1035) for the facts that the rules of
// package checkhelo judge by: addresses and MX hosts of the HELO name, the
// client's PTR names and their forward confirmation (RFC 8601, section 3 calls
// it iprev), the existence of the TLD, the SPF result of the HELO identity
// (RFC 7208, section 2.3) and block lists (RFC 5782).
//
// A look-up that fails is Failed and never anything that speaks against the
// client: only an answer that says so makes a fact NotFound.
package dnsfacts

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

// DefaultTimeout bounds the look-ups of one client where nothing else is set.
const DefaultTimeout = 5 * time.Second

// DefaultMaxInFlight is the number of clients looked up ahead of the verdict
// where nothing else is set. Each takes some ten sockets, and a hundred when its
// SPF record refers to as much as RFC 7208 allows.
const DefaultMaxInFlight = 128

// DefaultMaxQuestions is the number of questions under way where nothing else
// is set. Each takes a socket: without a bound, clients that all get to RCPT TO
// while the DNS is slow could use up the descriptors of the server.
const DefaultMaxQuestions = 4096

// turns has one place for each question under way.
type turns struct {
	once   sync.Once
	places chan struct{}
}

// take waits for a place; the caller gives it back by free.
func (t *turns) take(ctx context.Context, limit int) error {
	t.once.Do(func() {
		if limit <= 0 {
			limit = DefaultMaxQuestions
		}
		t.places = make(chan struct{}, limit)
	})
	select {
	case t.places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *turns) free() { <-t.places }

// Gatherer looks facts up. Its fields must not change once it is in use; it
// may then be used by many goroutines. It must not be copied.
type Gatherer struct {
	// Exchange asks one question, as Client.Exchange does.
	Exchange func(context.Context, *dns.Msg) (*dns.Msg, error)
	// Timeout bounds all look-ups of one client together; 0 is DefaultTimeout.
	Timeout time.Duration
	// Cache may be nil, which keeps nothing.
	Cache *Cache
	// Blocklists are asked for the HELO name.
	Blocklists []Blocklist
	// Allowlists are zones AllowListed asks for the client's address.
	Allowlists []string
	// MaxInFlight bounds the background jobs of Start; 0 is DefaultMaxInFlight.
	MaxInFlight int
	// MaxQuestions bounds the questions under way, whoever they are for; 0 is
	// DefaultMaxQuestions. More wait their turn, within their Timeout.
	MaxQuestions int
	// Observe, if set, learns of every question that was asked in the DNS: its
	// RR type ("A"), one of the Kind constants and the time until the answer.
	// It is called by many goroutines.
	Observe func(qtype, result string, d time.Duration)

	flights flights
	jobs    atomic.Int32
	turns   turns

	greetingsMu sync.Mutex
	greetings   map[netip.AddrPort]*Pending // jobs under way
}

func (g *Gatherer) timeout() time.Duration {
	if g.Timeout <= 0 {
		return DefaultTimeout
	}
	return g.Timeout
}

// Fill looks up what need names and f does not have yet, all at once, and
// returns when all is known, after Timeout, or when ctx ends, whichever is
// first. What could not be learnt in time is Failed. What makes no sense to
// ask, such as a block list for an address, stays NotAsked. The slices it sets
// are shared with the cache and must not be written to.
func (g *Gatherer) Fill(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	g.fill(ctx, f, need, g.timeout())
}

func (g *Gatherer) fill(
	ctx context.Context, f *checkhelo.Facts, need checkhelo.Need, timeout time.Duration,
) {
	need = g.warm(f, need)
	if need == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	j := job{asker: asker{g: g, ctx: ctx, mu: new(sync.Mutex)}, facts: f}
	j.run(need)
}

// fact is one thing to learn. learn sets it in f and reports true, or false
// when the asker has the cache only and that does not suffice.
type fact struct {
	need  checkhelo.Need
	learn func(a asker, f *checkhelo.Facts) bool
}

var allFacts = [...]fact{
	{checkhelo.NeedForward, asker.forward},
	{checkhelo.NeedMX, asker.mx},
	{checkhelo.NeedPTR, asker.ptr},
	{checkhelo.NeedTLD, asker.tld},
	{checkhelo.NeedSPF, asker.spf},
	{checkhelo.NeedLists, asker.lists},
}

// warm sets what the cache knows and returns what is left to ask.
func (g *Gatherer) warm(f *checkhelo.Facts, need checkhelo.Need) (left checkhelo.Need) {
	left = missing(f, need)
	defer func() {
		if v := recover(); v != nil {
			markFailed(f, left, panicked(v, key{}))
			left = 0
		}
	}()
	for _, one := range allFacts {
		if left&one.need != 0 && one.learn(asker{g: g}, f) {
			left &^= one.need
		}
	}
	return left
}

// job learns several facts at once.
type job struct {
	asker
	facts *checkhelo.Facts // its answers are guarded by asker.mu
	wg    sync.WaitGroup
}

func (j *job) run(need checkhelo.Need) {
	for _, one := range allFacts {
		if need&one.need == 0 {
			continue
		}
		j.wg.Add(1)
		go func() {
			defer j.wg.Done()
			defer func() {
				if v := recover(); v != nil {
					j.giveUp(one.need, panicked(v, key{}))
				}
			}()
			one.learn(j.asker, j.facts)
		}()
	}
	j.wg.Wait()
}

func (j *job) giveUp(need checkhelo.Need, err *Error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	markFailed(j.facts, missing(j.facts, need), err)
}

// missing returns what of need f has not and can have.
func missing(f *checkhelo.Facts, need checkhelo.Need) (left checkhelo.Need) {
	ptr := f.PTR.State
	if ptr == checkhelo.Found {
		ptr = f.Confirmed.State
	}
	add := func(n checkhelo.Need, s checkhelo.State, possible bool) {
		if s == checkhelo.NotAsked && possible {
			left |= n
		}
	}
	named, client := f.Helo.ASCII != "", f.Client.IsValid()
	add(checkhelo.NeedForward, f.Forward.State, named)
	add(checkhelo.NeedMX, f.MX.State, named)
	add(checkhelo.NeedPTR, ptr, client)
	add(checkhelo.NeedTLD, f.TLD.State, named)
	add(checkhelo.NeedSPF, f.SPF.State, client)
	add(checkhelo.NeedLists, f.Listed.State, listable(f.Helo))
	return left & need
}

// markFailed makes the facts of need Failed.
func markFailed(f *checkhelo.Facts, need checkhelo.Need, err error) {
	if need&checkhelo.NeedForward != 0 {
		f.Forward = lost[[]netip.Addr](err)
	}
	if need&checkhelo.NeedMX != 0 {
		f.MX = lost[[]string](err)
	}
	if need&checkhelo.NeedPTR != 0 {
		if f.PTR.State == checkhelo.NotAsked {
			f.PTR = lost[[]string](err)
		}
		f.Confirmed = lost[[]string](err)
	}
	if need&checkhelo.NeedTLD != 0 {
		f.TLD = lost[bool](err)
	}
	if need&checkhelo.NeedSPF != 0 {
		f.SPF = lost[string](err)
	}
	if need&checkhelo.NeedLists != 0 {
		f.Listed = lost[[]checkhelo.Listing](err)
	}
}

func lost[T any](err error) checkhelo.Answer[T] {
	return checkhelo.Answer[T]{State: checkhelo.Failed, Err: err}
}

func known[T any](v T) checkhelo.Answer[T] {
	return checkhelo.Answer[T]{State: checkhelo.Found, Value: v}
}

func none[T any]() checkhelo.Answer[T] {
	return checkhelo.Answer[T]{State: checkhelo.NotFound}
}
