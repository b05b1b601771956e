// Package replay reads what an operator already has (logs of Maddy, Postfix
// and Exim, mailboxes, single mails, CSV) as one stream of greetings, the HELO
// or EHLO arguments of RFC 5321, section 4.1.1.1, that a server has seen. It
// judges nothing, asks no DNS, and its memory does not grow with the input:
//
//	st, err := replay.Read(ctx, []string{"/var/log/mail.log"}, replay.Options{},
//		func(r *replay.Record) error {
//			fmt.Println(r.Helo, r.Client, r.Outcome)
//			return nil
//		})
package replay

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"
)

// PTRState tells what the receiving server wrote down about the PTR record of
// the client's address.
type PTRState uint8

// The states of a recorded PTR name. A server that writes one placeholder for
// "no PTR" and "PTR without a forward record" gives None.
const (
	NotRecorded PTRState = iota // unknown: not written, not looked up, or the lookup failed
	None                        // looked up; none, or none that is confirmed
	Unconfirmed                 // there is a name, and it does not resolve back
	Confirmed                   // there is a name, and nothing says that it fails to resolve back
)

// String returns the state's name as reports show it.
func (s PTRState) String() string {
	return [...]string{"unknown", "none", "unconfirmed", "confirmed"}[s]
}

// The outcomes that a server's own records name; "" is unknown.
const (
	Accepted = "accepted" // the server took the message
	Rejected = "rejected" // a 5xx reply
	Deferred = "deferred" // a 4xx reply
)

// NullSender is the sender of bounces (RFC 5321, 4.5.5) in Record.From.
const NullSender = "<>"

// Record is one greeting that somebody's server saw. Its texts are raw, as the
// server wrote them (a JSON string decoded), and at most 4 KiB long each.
type Record struct {
	Time     time.Time // zero when the input has none
	Server   string    // the receiving host's name in the log; "" when not recorded
	Helo     string    // never ""
	Masked   bool      // the server wrote "?" for some octets of Helo, see Plain
	Client   netip.Addr
	PTR      string // the name recorded for Client, without a final dot; may be "" in each state
	PTRState PTRState
	From     string   // the sender's address, NullSender or, when not recorded, ""
	Rcpts    []string // recipients, addresses or domains; nil when not recorded
	Self     string   // the receiving server's own name in the mail; "" when not recorded
	MsgID    string   // the server's ID of the message, of a mail its Message-ID; may be ""
	Class    string   // ham, spam or whatever the operator calls it
	Count    int      // messages, at least 1
	Auth     bool     // an authenticated session
	Outcome  string   // what that server answered: "", Accepted, Rejected or Deferred
	// Reason is that server's words, or the name of the rule or check that
	// decided. With Accepted it says why the message was put into quarantine.
	Reason string
}

// Plain returns the greeting to judge: where the server masked octets a letter
// stands for each, since the mask proves nothing about the spelling.
func (r *Record) Plain() string {
	if !r.Masked {
		return r.Helo
	}
	return strings.NewReplacer("?", "x", "_", "x").Replace(r.Helo)
}

// FirstRcpt returns the first recipient, "" when none is recorded.
func (r *Record) FirstRcpt() string {
	if len(r.Rcpts) == 0 {
		return ""
	}
	return r.Rcpts[0]
}

// setPTR notes a PTR name. What has no dot is a placeholder of the server's.
func (r *Record) setPTR(name []byte, state PTRState) {
	name = bytes.TrimSuffix(name, []byte("."))
	if bytes.IndexByte(name, '.') <= 0 {
		r.PTR, r.PTRState = "", NotRecorded
		return
	}
	r.PTR, r.PTRState = text(name), state
}

// text returns a copy of s, cut to the longest text a Record holds.
func text[T string | []byte](s T) string {
	return string(s[:min(len(s), maxField)])
}

// sender returns an address without angle brackets, "" for nil: not recorded.
func sender(b []byte) string {
	if from := text(bytes.Trim(b, "<>")); b == nil || from != "" {
		return from
	}
	return NullSender
}

// Options says how to read. The zero value is usable.
type Options struct {
	// By names the receiving border for mails: host names as they stand
	// after "by" in Received, or ".example.org" for everything below it.
	// Without any the border of a mail is its newest host whose client does not
	// belong to the same organization.
	By    []string
	Class string // of records whose input names none
	// Since (inclusive) and Until (exclusive) bound Record.Time when not
	// zero; records without a time pass.
	Since, Until time.Time
	// Sort hands out the rows of a table with a column time in its order. What does not fit into
	// memory waits in a temporary file.
	Sort bool
	// Now is the latest moment a log line can be from, for syslog lines
	// that name no year; zero: the file's own time of change, else the clock.
	Now  time.Time
	Zone *time.Location // of times written without a zone; nil: time.Local
	// Stdin is read for the path "-"; nil: os.Stdin.
	Stdin io.Reader
	// Line sees the lines of a log, which it must not keep; nil: nobody.
	Line func(line []byte)
}

// Reasons for which a line or a mail that tells of a greeting gives no record,
// the keys of Stats.Skipped. SkippedDropped counts records that were handed out
// before the server's answer was known, since too many waited for theirs.
const (
	SkippedSubmission = "submission" // users of a submission service, no servers
	SkippedNoMail     = "no_mail"    // the client never named a sender: AUTH, a port scan
	SkippedEmpty      = "empty"      // an empty greeting, or none
	SkippedClient     = "no_client"  // from the machine itself, or a client without an address
	SkippedDuplicate  = "duplicate"  // the same event in an input before
	SkippedBorder     = "border"     // mails without a readable greeting of the border
	SkippedTime       = "time"       // before Options.Since or not before Options.Until
	SkippedDropped    = "dropped"
)

// Unread is an input that could not be read, or not to the end.
type Unread struct {
	Name string
	Err  error
	Part bool // something was read
}

// Stats sums up one Read.
type Stats struct {
	Lines   int64 // lines looked at, after unpacking
	Records int64 // records handed out
	Broken  int64 // lines, rows or mails that tell of a greeting and could not be read
	// Skipped counts by reason what gives no record.
	Skipped map[string]int64
	// NoGreeting counts messages that Postfix accepted without naming their
	// greeting in the log.
	NoGreeting int64
	// NoNames are the inputs of which no line names a client by its PTR record:
	// the server does not look it up, so the state of their records is unknown.
	NoNames []string
	// Unsure counts records that were not compared with those of inputs before,
	// since there were too many.
	Unsure int64
	// Inputs counts the files and streams, Whole those that were read to the end.
	Inputs, Whole int64
	// Unread are the inputs that could not be read to the end, the first
	// hundred only; there are Inputs-Whole.
	Unread []Unread
}

// Nothing reports that no input could be read, not even a part of one.
func (s *Stats) Nothing() bool {
	part := slices.ContainsFunc(s.Unread, func(u Unread) bool { return u.Part })
	return s.Inputs > 0 && s.Whole == 0 && s.Records == 0 && !part
}

// Partial reports that some input could not be read, or not to the end.
func (s *Stats) Partial() bool { return s.Whole < s.Inputs }

const (
	maxField   = 4 << 10  // bytes of one text in a Record
	maxLine    = 64 << 10 // bytes of one line of input
	maxRcpts   = 100      // recipients of one Record (RFC 5321, 4.5.3.1.8)
	maxErrs    = 100
	maxUnnamed = 4096    // records that wait for the first client with a name
	maxEvents  = 3 << 19 // events that are known to be in an input before
)

// Read reads the files and directories of paths ("-" is standard input) and
// calls fn for every greeting, always in the same order for the same input.
// Packed files (.gz, .zst, .xz, .bz2) and formats are told apart by content. Directories
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
	r := &run{ctx: ctx, opt: opt, fn: fn}
	r.opt.Stdin = cmp.Or[io.Reader](opt.Stdin, os.Stdin)
	r.st.Skipped = make(map[string]int64)
	r.stamp.zone = cmp.Or(opt.Zone, time.Local)
	r.raw, r.flat = bufio.NewReaderSize(nil, maxLine), bufio.NewReaderSize(nil, maxLine)
	r.held, r.events = make(map[uint64]*held), make(map[uint64]int64)
	r.notes = make(map[string]Record)
	err := r.walk(paths)
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
	raw     *bufio.Reader // the current input as stored
	flat    *bufio.Reader // unpacked
	br      *bufio.Reader // the one of them that is read
	stamp   stamper
	line    entry             // the current line of a log
	seen    map[string]bool   // whose lines the current log holds
	named   bool              // a client is named by its PTR record
	held    map[uint64]*held  // messages under way, by key
	spare   *held             // for the next, so that most messages need no new one
	number  int               // of the latest
	bytes   int               // of all, towards maxHeld
	unnamed []Record          // wait for the first client with a name
	several bool              // more than one input
	events  map[uint64]int64  // the first input with each event, see repeated
	name    string            // of the current input
	notes   map[string]Record // the latest note of a PTR name, by process of Postfix
	members members           // of the current line
}

// hand hands out one record unless its time is out of bounds.
func (r *run) hand(rec *Record) {
	if r.err != nil {
		return
	}
	since, until := r.opt.Since, r.opt.Until
	if at := rec.Time; !at.IsZero() && (at.Before(since) || !until.IsZero() && !at.Before(until)) {
		r.st.Skipped[SkippedTime]++
		return
	}
	rec.Class = cmp.Or(rec.Class, r.opt.Class)
	rec.Count = max(rec.Count, 1)
	rec.Client = rec.Client.Unmap()
	r.st.Records++
	r.err = r.fn(rec)
}
