// Package replay reads what an operator already has (logs of Maddy, Postfix
// and Exim, mailboxes, single mails, CSV) as one stream of greetings, the HELO
// or EHLO arguments of RFC 5321, section 4.1.1.1, that a server has seen. It
// judges nothing, asks no DNS, and its memory does not grow with the input.
package replay

import (
	"context"
	"io"
	"net/netip"
	"time"
)

// PTRState tells what the receiving server wrote down about the PTR record of
// the client's address.
type PTRState uint8

// The states of a recorded PTR name. A server that writes one placeholder for
// "no PTR" and "PTR without a forward record" gives None.
const (
	NotRecorded PTRState = iota // the server never writes it, or its look-up failed
	None                        // looked up; none, or none that is confirmed
	Unconfirmed                 // there is a name, and it does not resolve back
	Confirmed                   // there is a name, and nothing says that it fails to resolve back
)

// String returns the state's name as reports show it.
func (s PTRState) String() string {
	switch s {
	case None:
		return "none"
	case Unconfirmed:
		return "unconfirmed"
	case Confirmed:
		return "confirmed"
	default:
		return "not_recorded"
	}
}

// The outcomes that a server's own records name.
const (
	Accept   = "accept"   // the server took the message
	Refuse   = "reject"   // a 5xx reply
	TempFail = "tempfail" // a 4xx reply
)

// Record is one greeting that somebody's server saw. Its texts are raw, as the
// server wrote them (a JSON string decoded), and at most 4 KiB long each.
type Record struct {
	Time     time.Time // zero when the input has none
	Helo     string    // never ""
	Client   netip.Addr
	PTR      string // the name recorded for Client, without a final dot; may be "" in each state
	PTRState PTRState
	Rcpt     string // first recipient, an address or a domain; "" when not recorded
	Self     string // the receiving server's own name; "" when not recorded
	Class    string // ham, spam or whatever the operator calls it
	Count    int    // messages, at least 1
	Auth     bool   // an authenticated session
	Outcome  string // what that server answered: "", Accept, Refuse or TempFail
	// Reason is that server's words, or the name of the rule or check that
	// decided. With Accept it says why the message was put into quarantine.
	Reason string
}

// Options says how to read. The zero value is usable.
type Options struct {
	// By names the receiving border for mails: host names as they stand
	// after "by" in Received, or ".example.org" for everything below it.
	// Without any the border is found by itself, see Stats.By.
	By    []string
	Class string // of records whose input names none
	// Since (inclusive) and Until (exclusive) bound Record.Time when not
	// zero; records without a time pass.
	Since, Until time.Time
	// Now is the latest moment a log line can be from, for syslog lines
	// that name no year; zero: the file's own time of change, else the clock.
	Now  time.Time
	Zone *time.Location // of times written without a zone; nil: time.Local
	// Stdin is read for the path "-"; nil: os.Stdin.
	Stdin io.Reader
	// Progress hears how many bytes of the inputs, as stored, were dealt
	// with since it was last called; nil: nobody.
	Progress func(n int64)
}

// Stats sums up one Read.
type Stats struct {
	Bytes   int64 // of the inputs as stored, bodies that need no reading included
	Lines   int64 // lines looked at, after unpacking
	Records int64 // records handed out
	Broken  int64 // lines, rows or files that could not be read to the end
	Skipped int64 // mails without a greeting of the border
	// Formats counts the inputs by what they held: maddy, postfix, exim,
	// mbox, mail, csv or unknown. A log of several servers counts for each.
	Formats map[string]int
	// By is the border that mails were read at when Options.By named none:
	// the most common host that took mail from a public address.
	By string
	// Errs says which inputs could not be read to the end and why; the
	// first ten only.
	Errs []error
}

const (
	maxField = 4 << 10  // bytes of one text in a Record
	maxLine  = 64 << 10 // bytes of one line of input
	maxErrs  = 10
)

// Read reads the files and directories of paths ("-" is standard input) and
// calls fn for every greeting, always in the same order for the same input.
// Packed files (.gz, .zst) and formats are told apart by content. Directories
// are walked in lexical order, links in them left alone; of a Maildir cur and
// new are read.
//
// The *Record is reused: it is valid until fn returns, its strings for good.
// A log record is handed out when the server's answer is known, which can be
// some lines after the greeting.
//
// Broken input is counted, never fatal. The error is fn's own, ctx's, or that
// of a path which does not exist; Stats holds what was counted until then.
func Read(ctx context.Context, paths []string, opt Options, fn func(*Record) error) (Stats, error) {
	r := newRun(ctx, opt, fn)
	err := r.walk(paths)
	if err == nil {
		err = r.finish()
	}
	r.close()
	return r.st, err
}

// run is the state of one Read.
type run struct {
	ctx     context.Context
	opt     Options
	fn      func(*Record) error
	st      Stats
	err     error // ends the run: fn's or ctx's
	rec     Record
	src     source
	in      lineReader
	stamp   stamper
	line    entry            // the current line of a log
	seen    [numServers]bool // whose lines the current log holds
	maddy   table            // messages under way, by message ID
	warned  table            // Postfix: warnings that wait for the answer, by process
	queued  table            // Postfix: messages under way, by queue ID
	ptrs    ptrNotes
	fields  maddyFields // of the current line
	postfix postfixLine
	border  border
}

func newRun(ctx context.Context, opt Options, fn func(*Record) error) *run {
	r := &run{ctx: ctx, opt: opt, fn: fn}
	r.st.Formats = make(map[string]int)
	r.border.init(opt.By)
	r.stamp.zone = opt.Zone
	if r.stamp.zone == nil {
		r.stamp.zone = time.Local
	}
	r.in.run = r
	for _, t := range []*table{&r.maddy, &r.warned, &r.queued} {
		t.settle = r.settle
	}
	return r
}

// emit hands out one record unless its time is out of bounds.
func (r *run) emit(rec *Record) {
	if r.err != nil || rec.Helo == "" {
		return
	}
	if !rec.Time.IsZero() {
		if !r.opt.Since.IsZero() && rec.Time.Before(r.opt.Since) ||
			!r.opt.Until.IsZero() && !rec.Time.Before(r.opt.Until) {
			return
		}
	}
	if rec.Class == "" {
		rec.Class = r.opt.Class
	}
	rec.Count = max(rec.Count, 1)
	rec.Client = rec.Client.Unmap()
	r.st.Records++
	r.err = r.fn(rec)
}

// finish hands out the mails that waited for the border to be known.
func (r *run) finish() error {
	r.border.decide(r)
	return r.err
}

// fault counts an input that could not be read to the end.
func (r *run) fault(err error) {
	r.st.Broken++
	if len(r.st.Errs) < maxErrs {
		r.st.Errs = append(r.st.Errs, err)
	}
}

// text copies b, cut to the longest text a Record holds.
func text(b []byte) string {
	return string(b[:min(len(b), maxField)])
}

func clip(s string) string {
	return s[:min(len(s), maxField)]
}
