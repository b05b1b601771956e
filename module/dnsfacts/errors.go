package dnsfacts

import (
	"cmp"
	"context"
	"errors"
	"net"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo/module/heloname"
)

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
