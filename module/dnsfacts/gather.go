// Package dnsfacts looks up the facts that the rules of package checkhelo read: addresses and MX
// hosts of the HELO name, the client's PTR names and their forward confirmation (RFC 8601, section
// 3 calls it iprev), the existence of the TLD, the SPF result of the HELO identity (RFC 7208,
// section 2.3) and DNS lists (RFC 5782). Queries follow RFC 1035, with EDNS (RFC 6891).
//
//	g := &dnsfacts.Gatherer{
//		Exchange: dnsfacts.NewClient([]string{"127.0.0.1:53"}).Exchange,
//		Cache:    dnsfacts.NewCache(0),
//	}
//	f := checkhelo.Facts{Helo: heloname.Parse("mail.example.org"), Client: client}
//	p := g.Start(&f, need, remote) // at EHLO
//	p.Wait(ctx, &f, need)          // at RCPT TO
//
// A failed lookup makes its fact Failed. Only a DNS answer makes a fact NotFound.
package dnsfacts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// Limits of a Gatherer. The first three are defaults.
const (
	DefaultTimeout        = 5 * time.Second // for the lookups of one greeting
	DefaultShareJobs      = 2               // concurrent jobs of Start, per client network
	DefaultShareQuestions = 64              // queries in flight and per second, per client network
	GreetingQuestions     = 60              // queries of one greeting, SPF included
)

// Gatherer looks facts up. Its fields must not change once it is in use; it
// may then be used by many goroutines. It must not be copied.
type Gatherer struct {
	// Exchange asks one question, as Client.Exchange does.
	Exchange func(context.Context, *dns.Msg) (*dns.Msg, error)
	// Timeout limits all lookups of one greeting together; 0 means DefaultTimeout. It does not
	// include waits for the share of the client's network, at most twelve times Timeout.
	Timeout time.Duration
	// Cache may be nil: then nothing is cached.
	Cache *Cache
	// Blocklists are queried for the HELO name and its organisational domain.
	Blocklists []Blocklist
	// Allowlists are the zones that AllowListed queries for the client's address.
	Allowlists []string
	// ShareJobs limits the concurrent jobs of Start per client network: an IPv4 address or an
	// IPv6 /64. An IPv6 /48 may have four times as many. 0 means DefaultShareJobs.
	ShareJobs int
	// ShareQuestions limits the queries of one client network: those in flight, and the
	// rate per second. Up to ten seconds of unused rate are saved. Further queries wait
	// in the network's queue. 0 means DefaultShareQuestions.
	ShareQuestions int
	// MaxQuestions limits the queries in flight of all networks together. 0 means
	// 1024 or a quarter of the process's limit of open files, whichever is smaller.
	MaxQuestions int
	// Observe, if set, is called after each DNS query with the RR type ("A"), one of the Kind
	// constants and the response time. Calls can be concurrent.
	Observe func(qtype, result string, d time.Duration)
	// OnDead, if set, is called at most once a minute while all queries fail,
	// with the number of queries that failed since the last call.
	OnDead func(failed int)

	shares shares
	out    sync.Map // zones of DNS lists that are not queried

	mu          sync.Mutex // guards the fields below
	row, failed int        // failed queries: in a row, since reported
	reported    time.Time
}

func (g *Gatherer) timeout() time.Duration { return cmp.Or(g.Timeout, DefaultTimeout) }

// Fill looks up the facts of need that f lacks. It returns when all are known, after Timeout, or
// when ctx ends, whichever is first. Facts that are unknown then are Failed. A fact that failed at
// least ten seconds ago is looked up again. The slices that Fill sets are shared and must not be
// modified.
//
// Facts that do not apply, such as a domain list for an address literal, stay NotAsked. MX
// also stays NotAsked if Forward is Found or Failed.
func (g *Gatherer) Fill(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	g.pending(f).fill(ctx, f, need)
}

// lacks reports whether a fact is NotAsked, or Failed for at least failTTL.
func lacks[T any](a *checkhelo.Answer[T]) bool {
	switch a.State {
	case checkhelo.NotAsked:
		return true
	case checkhelo.Failed:
		var failure *Error
		return errors.As(a.Err, &failure) && time.Since(failure.at) >= failTTL
	default:
		return false
	}
}

// fetch queries the DNS for k, caches the answer and returns it.
func (g *Gatherer) fetch(ctx context.Context, k key) (r *record) {
	defer func() {
		if v := recover(); v != nil {
			r = &record{err: wrap(fault(KindPanic, fmt.Sprint(v)), k)}
		}
	}()
	begun := time.Now()
	r, ttl, err := g.resolve(ctx, k)
	took := time.Since(begun)
	if err != nil {
		r, ttl = &record{err: wrap(err, k)}, failTTL
	}
	if r.kind() == KindCanceled && took >= g.timeout()/2 {
		r.err.Kind = KindTimeout // the server had enough time to answer
	}
	if g.Observe != nil {
		g.Observe(dns.TypeToString[k.qtype], r.kind(), took)
	}
	if r.kind() != KindCanceled { // a canceled query shows nothing
		g.note(r.failed())
		g.Cache.put(k, r, ttl)
	}
	return r
}

// resolve queries k. If the response ends with an alias, it queries the target once.
func (g *Gatherer) resolve(ctx context.Context, k key) (*record, time.Duration, error) {
	name := k.question()
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		// The DNS cannot hold such a name; one case is a long name below a list's zone.
		return &record{denied: KindNXDomain}, maxTTL, nil
	}
	at, hops := &dns.RR_Header{Name: dns.Fqdn(name), Rrtype: k.qtype, Ttl: ^uint32(0)}, 0
	for range 2 {
		resp, err := g.Exchange(ctx, new(dns.Msg).SetQuestion(at.Name, k.qtype))
		if err == nil {
			hops, err = follow(resp, at, hops)
		}
		if err != nil {
			return nil, 0, err
		}
		r, ttl, err := read(resp, at, hops > 0)
		if r != nil || err != nil {
			return r, ttl, err
		}
	}
	return nil, 0, fault(KindCNAME, "the chain has no end")
}

// silentAfter is how many failed queries in a row mean that the resolver is dead. If only
// one zone is dead, queries for other zones succeed in between.
const silentAfter = 3

// note counts a failed or answered query and calls OnDead when it is due.
func (g *Gatherer) note(failed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !failed {
		g.row = 0
		return
	}
	g.row++
	g.failed++
	if g.OnDead != nil && g.row >= silentAfter && time.Since(g.reported) >= time.Minute {
		g.OnDead(g.failed)
		g.failed, g.reported = 0, time.Now()
	}
}

// maxQuestions returns the limit of queries in flight.
func (g *Gatherer) maxQuestions() int {
	const most, least = 1024, 16
	return cmp.Or(g.MaxQuestions, max(least, min(most, descriptors()/4)))
}

// descriptors returns how many files the process may open, 0 if that is unknown.
var descriptors = sync.OnceValue(func() int {
	var limit syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Cur, 1<<20))
})

// The results of a query, in Error.Kind and in the argument result of Gatherer.Observe.
// They can be metric labels.
const (
	KindFound     = "found"
	KindNoData    = "nodata"    // the name exists, the record type does not (RFC 2308, 2.2)
	KindNXDomain  = "nxdomain"  // the name does not exist (RFC 2308, 2.1)
	KindServFail  = "servfail"  // RCODE 2
	KindRefused   = "refused"   // RCODE 5
	KindRcode     = "rcode"     // any other RCODE
	KindTimeout   = "timeout"   // no answer in time
	KindMalformed = "malformed" // an answer that cannot be read
	KindCNAME     = "cname"     // a loop, or more aliases than allowed
	KindReferral  = "referral"  // the server does not recurse
	KindNetwork   = "network"   // the server cannot be reached
	KindCanceled  = "canceled"  // nobody waits for the answer any more
	KindListError = "listerror" // a DNS list refused the query
	KindPanic     = "panic"     // a recovered panic
	KindBudget    = "budget"    // not sent: the greeting has used its queries up
)

// Error says why a lookup failed.
type Error struct {
	Kind string // one of the Kind constants
	Name string // the name that was queried
	Type uint16 // RR type
	Err  error  // may be nil

	at time.Time // when it failed
}

// Error returns one printable line.
func (e *Error) Error() string {
	s := "dnsfacts: " + e.Kind + " looking up " + heloname.Clean(e.Name, 80) + " " +
		dns.TypeToString[e.Type]
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause, which may be nil.
func (e *Error) Unwrap() error { return e.Err }

// wrap returns err as an *Error about k. If err is an *Error already, its Kind stays.
func wrap(err error, k key) *Error {
	e := &Error{Kind: KindNetwork, Name: k.question(), Type: k.qtype, Err: err, at: time.Now()}
	var known *Error
	var timeout net.Error
	switch {
	case errors.As(err, &known):
		e.Kind, e.Err = known.Kind, known.Err
	case errors.Is(err, context.Canceled):
		e.Kind = KindCanceled
	case errors.As(err, &timeout) && timeout.Timeout(): // also context.DeadlineExceeded
		e.Kind = KindTimeout
	}
	return e
}

// fault returns an *Error without Name and Type; wrap adds them.
func fault(kind, text string) *Error { return &Error{Kind: kind, Err: errors.New(text)} }

// rcodeFailure returns the error for an RCODE other than NOERROR and NXDOMAIN.
func rcodeFailure(rcode int) *Error {
	kinds := map[int]string{dns.RcodeServerFailure: KindServFail, dns.RcodeRefused: KindRefused}
	return fault(cmp.Or(kinds[rcode], KindRcode), dns.RcodeToString[rcode])
}
