package dnsfacts

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// asker asks on behalf of one client.
type asker struct {
	g   *Gatherer
	ctx context.Context // nil: the cache only
	mu  *sync.Mutex     // guards the answers in the facts; nil with a nil ctx
}

func (a asker) cold() bool { return a.ctx != nil }

// publish sets an answer in the facts of a job, which may be read before the
// job has ended.
func publish[T any](a asker, to *T, v T) {
	if a.mu != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
	}
	*to = v
}

// ask sets r to the answer to k and reports true, or false when it is not in the
// cache and the asker may not ask.
func (a asker) ask(k key, r *record) (known bool) {
	if a.g.Cache.get(k, r) {
		return true
	}
	if a.cold() {
		*r = a.g.flights.share(a.ctx, k, a.g.timeout(), a.g.fetch)
	}
	return a.cold()
}

// each runs one(0) to one(n-1), at once when the asker may ask, and returns
// when all have. one must not touch what another writes.
func (a asker) each(n int, one func(i int)) {
	if !a.cold() || n == 1 {
		for i := range n {
			one(i)
		}
		return
	}
	var wg sync.WaitGroup
	for i := range n {
		wg.Add(1)
		go func() {
			defer wg.Done()
			one(i)
		}()
	}
	wg.Wait()
}

// fetch asks the DNS and keeps the answer.
func (g *Gatherer) fetch(ctx context.Context, k key) record {
	begun := time.Now()
	r, ttl := g.resolve(ctx, k)
	took := time.Since(begun)
	if r.failed() {
		r.err.Name, r.err.Type = k.question(), k.qtype
		// Who gave up may have had little time left, which says nothing
		// about the name, unless the server had its fair chance.
		r.fleeting = r.err.Kind == KindCanceled
		if r.fleeting && took >= g.timeout()/2 {
			r.err.Kind, r.fleeting = KindTimeout, false
		}
	}
	if g.Observe != nil {
		g.Observe(dns.TypeToString[k.qtype], r.kind(), took)
	}
	if !r.fleeting {
		g.Cache.put(k, &r, ttl)
	}
	return r
}

func (g *Gatherer) resolve(ctx context.Context, k key) (record, time.Duration) {
	name := k.question()
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		// A long name below a list's zone is none that the DNS could hold.
		return record{denied: KindNXDomain}, maxTTL
	}
	if err := g.turns.take(ctx, g.MaxQuestions); err != nil {
		return record{err: wrap(err, name, k.qtype), fleeting: true}, 0
	}
	defer g.turns.free()
	at := newAlias(name)
	for range 2 { // an alias may lead out of the first answer
		m := new(dns.Msg)
		m.RecursionDesired = true
		m.Question = []dns.Question{{Name: at.name, Qtype: k.qtype, Qclass: dns.ClassINET}}
		resp, err := g.Exchange(ctx, m)
		if err != nil {
			return record{err: wrap(err, name, k.qtype)}, failTTL
		}
		if r, ttl, more := at.read(resp, k.qtype); !more {
			return r, ttl
		}
	}
	return record{err: &Error{Kind: KindCNAME, Err: errors.New("the chain has no end")}}, failTTL
}
