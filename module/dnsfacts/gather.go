// Package dnsfacts looks up the facts that the rules of package checkhelo read: addresses and MX
// hosts of the HELO name, the client's PTR names and their forward confirmation (RFC 8601, section
// 3 calls it iprev), the existence of the TLD, the SPF result of the HELO identity (RFC 7208,
// section 2.3) and DNS lists (RFC 5782). Questions go out over RFC 1035 and RFC 6891.
//
//	g := &dnsfacts.Gatherer{
//		Exchange: dnsfacts.NewClient([]string{"127.0.0.1:53"}).Exchange,
//		Cache:    dnsfacts.NewCache(0),
//	}
//	f := checkhelo.Facts{Helo: heloname.Parse("mail.example.org"), Client: client}
//	p := g.Start(&f, need, remote) // at EHLO
//	p.Wait(ctx, &f, need)          // at RCPT TO
//
// A look-up that fails makes its fact Failed. Only an answer of the DNS makes a fact NotFound.
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

// Bounds of a Gatherer, the first three where nothing else is set.
const (
	DefaultTimeout        = 5 * time.Second // for the look-ups of one client
	DefaultShareJobs      = 2               // greetings of a network ahead of their verdict
	DefaultShareQuestions = 64              // of a network, in flight and in a second
	GreetingQuestions     = 60              // of one greeting, SPF included
)

// Gatherer looks facts up. Its fields must not change once it is in use; it
// may then be used by many goroutines. It must not be copied.
type Gatherer struct {
	// Exchange asks one question, as Client.Exchange does.
	Exchange func(context.Context, *dns.Msg) (*dns.Msg, error)
	// Timeout bounds all look-ups of one client together; 0 is DefaultTimeout. Time in which a
	// question waits for the share of its network comes on top, up to twelve times Timeout.
	Timeout time.Duration
	// Cache may be nil, which keeps nothing.
	Cache *Cache
	// Blocklists are asked for the HELO name and its organisational domain.
	Blocklists []Blocklist
	// Allowlists are zones AllowListed asks for the client's address.
	Allowlists []string
	// ShareJobs bounds the jobs of Start that one client network has at a time: an IPv4 address or an
	// IPv6 /64; an IPv6 /48 has four times as many. 0 is DefaultShareJobs.
	ShareJobs int
	// ShareQuestions bounds the questions in flight of one client network in the
	// same way, and its questions a second, of which ten seconds' can be saved up.
	// 0 is DefaultShareQuestions. More wait in the network's own queue.
	ShareQuestions int
	// MaxQuestions bounds the questions in flight of all networks together. 0 is
	// the smaller of 1024 and a quarter of the descriptors the process may open.
	MaxQuestions int
	// Observe, if set, learns of every question that was asked in the DNS: its RR type ("A"), one of
	// the Kind constants and the time until the answer. It is called by many goroutines.
	Observe func(qtype, result string, d time.Duration)
	// OnDead, if set, is called at most once a minute while no question is
	// answered, with the number of questions that failed since the last call.
	OnDead func(failed int)

	shares shares
	out    sync.Map // DNS lists that are not asked

	mu          sync.Mutex // guards all below
	row, failed int        // questions without an answer: in a row, since reported
	reported    time.Time
}

func (g *Gatherer) timeout() time.Duration { return cmp.Or(g.Timeout, DefaultTimeout) }

// Fill looks up what need names and f does not have yet, and returns when all is known, after
// Timeout, or when ctx ends, whichever is first. What could not be learnt in time is Failed. A fact
// that failed ten seconds ago or more is asked again. The slices that Fill sets are shared with the
// cache and must not be written to.
//
// What makes no sense to ask, such as a block list for an address, stays NotAsked, and
// so does MX once Forward shows that the name has an address or did not answer.
func (g *Gatherer) Fill(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	g.pending(f).fill(ctx, f, need)
}

// lacks reports whether a fact was not asked for, or failed failTTL ago.
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

// fetch asks the DNS for k, keeps the answer, and returns it.
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
		r.err.Kind = KindTimeout // it had time enough for an answer
	}
	if g.Observe != nil {
		g.Observe(dns.TypeToString[k.qtype], r.kind(), took)
	}
	if r.kind() != KindCanceled { // which shows nothing about the name
		g.note(r.failed())
		g.Cache.put(k, r, ttl)
	}
	return r
}

// resolve asks for k, and once more where the first answer ends at an alias.
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

// silentAfter is the number of failures in a row that mean a dead resolver, where
// a dead zone has answers to other questions in between: what a well-kept client asks.
const silentAfter = 3

// note counts a question that failed or was answered.
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

// maxQuestions returns the bound of the questions in flight.
func (g *Gatherer) maxQuestions() int {
	const most, least = 1024, 16
	return cmp.Or(g.MaxQuestions, max(least, min(most, descriptors()/4)))
}

// descriptors returns how many files the process may open, 0 where the system does not tell.
var descriptors = sync.OnceValue(func() int {
	var limit syscall.Rlimit
	_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Cur, 1<<20))
})

// Kinds of failure and of good answers, as Error.Kind and the result of
// Gatherer.Observe have them. They are fit for metric labels.
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
	KindListError = "listerror" // a DNS list says that it does not answer us
	KindPanic     = "panic"     // a fault in a program; recovered
	KindBudget    = "budget"    // not asked: one greeting may ask no more
)

// Error is why a look-up failed.
type Error struct {
	Kind string // one of the Kind constants
	Name string // what was asked
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

// wrap makes err an *Error about k; an *Error keeps its kind.
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

// fault is an *Error without what was asked, which wrap adds.
func fault(kind, text string) *Error { return &Error{Kind: kind, Err: errors.New(text)} }

// rcodeFailure is the error of an answer with an RCODE that answers nothing.
func rcodeFailure(rcode int) *Error {
	kinds := map[int]string{dns.RcodeServerFailure: KindServFail, dns.RcodeRefused: KindRefused}
	return fault(cmp.Or(kinds[rcode], KindRcode), dns.RcodeToString[rcode])
}
