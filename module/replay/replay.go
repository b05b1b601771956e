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
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// PTRState is what the receiving server recorded about the PTR name of the client's address.
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

// Record is one greeting that a server has seen. Its texts are raw, as the
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

// Plain returns the greeting to judge. It replaces each masked octet by a letter,
// since the mask does not show whether the original octet was valid.
func (r *Record) Plain() string {
	if !r.Masked {
		return r.Helo
	}
	return strings.NewReplacer("?", "x", "_", "x").Replace(r.Helo)
}

// setPTR sets a PTR name and its state. A name without a dot is a placeholder: NotRecorded.
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

// sender returns b without angle brackets: NullSender if it is empty, "" (not recorded) for nil.
func sender(b []byte) string {
	if from := text(bytes.Trim(b, "<>")); b == nil || from != "" {
		return from
	}
	return NullSender
}

// Options says how to read. The zero value is usable.
type Options struct {
	// By names the hosts that receive mail from outside, as they stand after "by" in Received, or
	// ".example.org" for all hosts below it. If By is empty, it is the newest host of a mail whose
	// client does not belong to the same organization.
	By    []string
	Class string // of records whose input names none
	// Since (inclusive) and Until (exclusive) bound Record.Time when not
	// zero; records without a time pass.
	Since, Until time.Time
	// Sort sorts the rows of a table by its column "time", if it has one. A temporary file holds
	// rows that do not fit into memory.
	Sort bool
	// Now is the latest moment a log line can be from, for syslog lines
	// that name no year; zero: the file's own time of change, else the clock.
	Now time.Time
	// Stdin is read for the path "-"; nil: os.Stdin.
	Stdin io.Reader
	// Line, if set, is called with each line of a log. It must not keep the slice.
	Line func(line []byte)
}

// The keys of Stats.Skipped: reasons why a line or a mail with a greeting gives
// no record. SkippedDropped alone counts records that were handed out: before the
// server's reply was known, since too many records were held.
const (
	SkippedSubmission = "submission" // users of a submission service, not servers
	SkippedNoMail     = "no_mail"    // the client never named a sender: AUTH, a port scan
	SkippedEmpty      = "empty"      // an empty greeting, or none
	SkippedClient     = "no_client"  // from the machine itself, or a client without an address
	SkippedDuplicate  = "duplicate"  // the same event in an earlier input
	SkippedBorder     = "border"     // mails without a readable greeting from outside
	SkippedTime       = "time"       // before Options.Since or not before Options.Until
	SkippedDropped    = "dropped"
)

// Stats sums up one Read.
type Stats struct {
	Lines   int64 // lines looked at, after unpacking
	Records int64 // records handed out
	Broken  int64 // lines, rows or mails with a greeting that could not be read
	// Skipped counts by reason what gives no record.
	Skipped map[string]int64
	// NoGreeting counts messages that Postfix accepted without naming their greeting in the log.
	NoGreeting int64
	// NoNames are the inputs in which no client has a PTR name: the server does not
	// look names up, so the PTRState of their records is NotRecorded.
	NoNames []string
	// Unsure counts records that were not compared with earlier inputs, since there
	// were too many.
	Unsure int64
	// Inputs counts the files and streams, Whole those that were read to the end.
	Inputs, Whole int64
	// Unread are the inputs that could not be read to the end, the first
	// hundred only; there are Inputs-Whole.
	Unread []error
}

// Nothing reports that no input could be read to the end, and none gave a record.
func (s *Stats) Nothing() bool { return s.Inputs > 0 && s.Whole == 0 && s.Records == 0 }

// Partial reports that some input could not be read, or not to the end.
func (s *Stats) Partial() bool { return s.Whole < s.Inputs }

const (
	maxField   = 4 << 10  // bytes of one text in a Record
	maxLine    = 64 << 10 // bytes of one line of input
	maxRcpts   = 100      // recipients of one Record (RFC 5321, 4.5.3.1.8)
	maxErrs    = 100
	maxUnnamed = 4096    // records that wait for the first client with a name
	maxEvents  = 3 << 19 // events kept to find duplicates in later inputs
)

// Read reads the files and directories of paths ("-" is standard input) and calls fn for every
// greeting, always in the same order for the same input. It detects formats and compression (.gz,
// .zst, .xz, .bz2) by content. Directories are walked in lexical order, without the links in them.
// Of a Maildir, cur and new are read.
//
// The *Record is reused: it is valid until fn returns; its strings stay valid. A log record is
// handed out when the server's reply is known, which can be some lines after the greeting.
//
// Broken input is counted, never fatal. The error is fn's own, ctx's, or that
// of a path which does not exist; Stats holds what was counted until then.
func Read(ctx context.Context, paths []string, opt Options, fn func(*Record) error) (Stats, error) {
	r := &run{ctx: ctx, opt: opt, fn: fn}
	r.opt.Stdin = cmp.Or[io.Reader](opt.Stdin, os.Stdin)
	r.st.Skipped = make(map[string]int64)
	r.raw = bufio.NewReaderSize(nil, maxLine)
	r.held, r.events = make(map[uint64]*held), make(map[uint64]int64)
	r.notes = make(map[string]Record)
	err := r.walk(paths)
	return r.st, err
}

// run is the state of one Read.
type run struct {
	ctx                  context.Context
	opt                  Options
	fn                   func(*Record) error
	st                   Stats
	err                  error // ends the run: fn's or ctx's
	rec                  Record
	raw                  *bufio.Reader // the current input as stored
	br                   *bufio.Reader // the same, unpacked
	stamp                stamper
	line                 entry             // the current line of a log
	postfix, maddy, exim bool              // whose lines the current log holds
	named                bool              // a client is named by its PTR record
	held                 map[uint64]*held  // messages under way, by key
	bytes                int               // sum of their sizes, see maxHeld
	spare                *held             // reused by the next hold
	unnamed              []Record          // wait for the first client with a name
	several              bool              // more than one input
	events               map[uint64]int64  // the first input with each event, see repeated
	name                 string            // of the current input
	notes                map[string]Record // the latest note of a PTR name, by process of Postfix
	members              members           // of the current line
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

// stdin is the path of standard input.
const stdin = "-"

// walk reads every path in turn.
func (r *run) walk(paths []string) error {
	for _, p := range paths {
		if _, err := os.Stat(p); p != stdin && err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		r.several = len(paths) > 1 || isDir(p)
	}
	var err error
	for _, p := range paths {
		if isDir(p) {
			err = r.walkDir(p)
		} else {
			err = r.readInput(p, nil)
		}
		if err != nil {
			break
		}
	}
	return err
}

// walkDir reads every regular file below a directory, which can be a link.
func (r *run) walkDir(root string) error {
	before := r.st.Inputs
	err := filepath.WalkDir(root+"/", func(name string, d fs.DirEntry, err error) error {
		switch maildir := isMaildir(filepath.Dir(name)); {
		case err != nil:
		case d.IsDir() && maildir && d.Name() == "tmp" && name != root+"/":
			return fs.SkipDir
		case !d.Type().IsRegular() || maildir: // beside cur and new are indexes, not mail
			return nil
		}
		return r.readInput(name, err)
	})
	if err == nil && r.st.Inputs == before {
		err = r.readInput(root, errors.New("a directory without files"))
	}
	return err
}

func isMaildir(dir string) bool { return isDir(dir+"/cur") && isDir(dir+"/new") }

func isDir(path string) bool {
	_, err := os.Stat(path + "/.")
	return err == nil && path != stdin
}

// readInput reads one input, unless err says why it cannot be read. It records an error of the
// input in Stats, and returns only an error that ends the run.
func (r *run) readInput(name string, err error) error {
	var in io.ReadCloser
	if err == nil {
		in, err = r.open(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return r.ctx.Err() // moved from new to cur, or expunged, meanwhile
	}
	if r.name = name; name == stdin {
		r.name = "standard input"
	}
	r.st.Inputs++
	if err == nil {
		err = r.read(in)
		_ = in.Close()
	}
	stop := cmp.Or(r.err, r.ctx.Err())
	switch {
	case stop != nil:
	case err == nil:
		r.st.Whole++
	case len(r.st.Unread) < maxErrs:
		r.st.Unread = append(r.st.Unread, fmt.Errorf("%s could not be read: %w", r.name, err))
	}
	return stop
}

// open opens an input. A pipe or device may block forever, even when it is opened. So a goroutine
// opens and reads it, and the caller notices at once when the context ends. The goroutine ends at
// the next byte or the end of the input.
func (r *run) open(name string) (io.ReadCloser, error) {
	r.stamp.now, r.stamp.text = cmp.Or(r.opt.Now, time.Now()), ""
	info, err := os.Stat(name)
	switch {
	case name == stdin:
	case err != nil:
		return nil, err
	case info.Mode().IsRegular():
		r.stamp.now = cmp.Or(r.opt.Now, info.ModTime())
		return os.Open(name)
	}
	pr, pw := io.Pipe()
	context.AfterFunc(r.ctx, func() { pr.CloseWithError(r.ctx.Err()) })
	go func() {
		in, err := io.NopCloser(r.opt.Stdin), error(nil)
		if name != stdin {
			in, err = os.Open(name)
		}
		if err == nil {
			_, err = io.Copy(pw, in)
			_ = in.Close()
		}
		pw.CloseWithError(err)
	}()
	return pr, nil
}

// read unpacks an input, detects its format and reads it.
func (r *run) read(in io.Reader) error {
	head, err := r.unpack(in)
	if err != nil {
		return err
	}
	if err = formats[detect(head)].read(r); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// maxWindow is the largest zstd window that is unpacked, in bytes: the default
// limit of the zstd tool.
const maxWindow = 128 << 20

// packings are the supported compression formats, by their first bytes.
var packings = []struct {
	magic string
	open  func(io.Reader) (io.Reader, error)
}{
	{"\x1f\x8b", func(in io.Reader) (io.Reader, error) { return gzip.NewReader(in) }},
	{"\x28\xb5\x2f\xfd", func(in io.Reader) (io.Reader, error) {
		// One goroutine and small buffers: memory counts more than speed here.
		return zstd.NewReader(in, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	}},
	{"\xfd7zXZ\x00", func(in io.Reader) (io.Reader, error) { return xz.NewReader(in) }},
	{"BZh", func(in io.Reader) (io.Reader, error) { return bzip2.NewReader(in), nil }},
}

// unpack sets r.br to the unpacked input and returns its first bytes.
func (r *run) unpack(in io.Reader) (head []byte, err error) {
	r.raw.Reset(in)
	r.br = r.raw
	magic, _ := r.raw.Peek(6)
	for _, p := range packings {
		if bytes.HasPrefix(magic, []byte(p.magic)) {
			plain, openErr := p.open(r.raw)
			if openErr != nil {
				return nil, openErr
			}
			r.br = bufio.NewReaderSize(plain, maxLine)
			break
		}
	}
	if mark, _ := r.br.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = r.br.Discard(3) // buffered, so this cannot fail
	}
	head, err = r.br.Peek(headSize)
	switch {
	case len(head) > 0:
		return head, nil
	case errors.Is(err, io.EOF):
		err = errors.New("empty")
	}
	return nil, err
}

// lines calls take for each line of the input that is not empty.
func (r *run) lines(take func(line []byte)) error {
	for {
		line, cut, err := r.next()
		switch {
		case err != nil:
			return err
		case cut:
			r.st.Broken++
		case len(line) > 0:
			take(line)
		}
	}
}

// next returns the next line without its end; it is valid until the next call. A line longer than
// 64 KiB is skipped: cut is true and line nil. A last line that an error cut off is dropped.
func (r *run) next() (line []byte, cut bool, err error) {
	if r.err != nil {
		return nil, false, r.err
	}
	// Unpacking can give a thousand times the input, so check here whether the context has ended.
	if r.st.Lines&0x3ff == 0 && r.ctx.Err() != nil {
		return nil, false, r.ctx.Err()
	}
	line, err = r.br.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		cut = true
		line, err = r.br.ReadSlice('\n')
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0 && !cut) {
		return nil, cut, err
	}
	r.st.Lines++
	if cut {
		return nil, true, nil
	}
	for line = chomp(line); len(line) > 0 && line[0] == 0; { // NULs that a crash leaves
		line = line[1:]
	}
	return line, false, nil
}

func chomp(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// headSize is how many bytes of an input are used to detect its format.
const headSize = 4 << 10

// format is an input format that its first bytes identify.
type format struct {
	is   func(head []byte) bool
	read func(*run) error
}

// formats are tried in turn. Input that is neither mail nor CSV counts as a log, since
// syslog can contain any text. A mail starts with header fields (RFC 5322, 2.2); one of
// them must have a common name.
var formats = []format{
	{regexp.MustCompile(`^\x00*[^\n\x00]+\x00`).Match, func(*run) error { return errUnknown }},
	{fromLine.Match, (*run).readMbox},
	{isCSV, (*run).readCSV},
	{regexp.MustCompile(`(?i)^(?:[!-9;-~]+:.*\n(?:[ \t].*\n)*)*(?:received|return-path|` +
		`delivered-to|from|to|date|message-id|subject|mime-version|envelope-to|x-original-to):`,
	).Match, (*run).readMail},
	{func([]byte) bool { return true }, (*run).readLog},
}

var errUnknown = errors.New("no known form")

func detect(head []byte) int {
	return slices.IndexFunc(formats, func(f format) bool { return f.is(head) })
}

// fromLine matches the separator line of an mbox (RFC 4155, appendix A): "From ", a sender,
// and a date with a time of day.
var fromLine = regexp.MustCompile(`^From .*\d\d:\d\d`)

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// addrPort reads "192.0.2.7:2525", "[2001:db8::7]:2525" or an address alone.
func addrPort(b []byte) (netip.Addr, bool) {
	if a, err := netip.ParseAddrPort(string(b)); err == nil {
		return a.Addr().Unmap(), true
	}
	return parseAddr(b)
}

// parseAddr reads an address with or without brackets, as literals have them (RFC 5321, 4.1.3).
func parseAddr(b []byte) (netip.Addr, bool) {
	b = bytes.TrimSuffix(bytes.TrimPrefix(b, []byte("[")), []byte("]"))
	if len(b) > 5 && strings.EqualFold(string(b[:5]), "IPv6:") {
		b = b[5:]
	}
	if len(b) > 64 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	return a.Unmap(), err == nil
}

// literal returns an address as the literal of a greeting (RFC 5321, 4.1.3).
func literal(a netip.Addr) string {
	if a.Is6() {
		return "[IPv6:" + a.String() + "]"
	}
	return "[" + a.String() + "]"
}
