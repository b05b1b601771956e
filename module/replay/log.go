package replay

import (
	"bytes"
	"cmp"
	"errors"
	"hash/maphash"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// entry is one log line without the prefixes that other programs have added.
type entry struct {
	at   time.Time // the last time in the prefixes
	host string    // the server's name in the log; "" if there is none
	who  []byte    // host, program and process, as written
	msg  []byte    // the server's own text
	// times is how often the line occurred; 0 means once.
	times int
}

// readLog reads a log of Postfix, Maddy or Exim, or of several of them.
func (r *run) readLog() error {
	r.postfix, r.maddy, r.exim, r.named = false, false, false, false
	err := r.lines(func(line []byte) {
		if r.opt.Line != nil {
			r.opt.Line(line)
		}
		if r.telling(line) {
			r.logLine(line)
		}
	})
	r.giveUp(len(r.held))
	r.decideNames()
	if !r.postfix && !r.maddy && !r.exim && errors.Is(err, io.EOF) {
		return errUnknown
	}
	return err
}

// tells are strings that occur in the lines about greetings.
var tells = []string{
	"{", "helo=<", "H=", ") [", "client=", "client-ip=", "warning: ", "rejected ",
}

// telling reports whether a line can be about a greeting or show which server wrote the log.
func (r *run) telling(line []byte) bool {
	has := func(mark string) bool { return bytes.Contains(line, []byte(mark)) }
	return slices.ContainsFunc(tells, has) ||
		(!r.named || r.waiting()) && has("connect from ") ||
		r.waiting() && has("(queue active)") ||
		!r.postfix && has("]: ") || !r.exim && has(" <= ")
}

// logLine passes a line to the reader of the server that writes lines of this form.
func (r *run) logLine(line []byte) {
	r.line = entry{}
	r.unwrap(line)
	switch e := &r.line; {
	case r.postfixEvent(e):
		r.postfix = true
	case r.maddyEvent(e):
		r.maddy = true
	case r.eximEvent(e):
		r.exim = true
	case greets.Match(e.msg):
		r.st.Broken++
	}
}

// greets matches lines with a greeting. They count as broken if no reader accepts them.
var greets = regexp.MustCompile(`helo=(?:<|\\u003c)|"src_host"| <= .*H=|H=.*\] .*rejected `)

// emit hands out a log record. A server that never looks up PTR names logs each client
// as one without a name. So such records wait until the first client with a name.
func (r *run) emit(rec *Record) {
	if rec.Helo == "" {
		r.st.Skipped[SkippedEmpty]++
		return
	}
	if r.several && r.repeated(rec) {
		r.st.Skipped[SkippedDuplicate]++
		return
	}
	if rec.PTRState == None && !r.named || len(r.unnamed) > 0 {
		r.unnamed = append(r.unnamed, *rec)
		if r.named || len(r.unnamed) == maxUnnamed {
			r.decideNames()
		}
		return
	}
	r.hand(rec)
}

// repeated reports whether an earlier input has the same event, as Exim's mainlog and rejectlog do.
// The time, the client, and the other parts of key must be equal.
func (r *run) repeated(rec *Record) bool {
	if rec.Time.IsZero() {
		return false
	}
	key := maphash.Comparable(seed, [...]string{
		strconv.FormatInt(rec.Time.UnixNano(), 36), rec.Client.String(), rec.Server, rec.Helo,
		rec.From, rec.MsgID, rec.Outcome, rec.Reason, strings.Join(rec.Rcpts, "\x00"),
	})
	first, known := r.events[key]
	switch {
	case known:
		return first != r.st.Inputs
	case len(r.events) == maxEvents:
		r.st.Unsure++
	default:
		r.events[key] = r.st.Inputs
	}
	return false
}

// decideNames hands out the records in unnamed. If no client had a name, their state
// becomes NotRecorded: the server may never look up PTR names.
func (r *run) decideNames() {
	n := len(r.st.NoNames)
	if len(r.unnamed) > 0 && !r.named && n < maxErrs && (n == 0 || r.st.NoNames[n-1] != r.name) {
		r.st.NoNames = append(r.st.NoNames, r.name)
	}
	for i := range r.unnamed {
		rec := &r.unnamed[i]
		if rec.PTRState == None && !r.named {
			rec.PTRState = NotRecorded
		}
		r.hand(rec)
	}
	clear(r.unnamed)
	r.unnamed = r.unnamed[:0]
}

// maxHeld limits the memory of all held records, in bytes.
const maxHeld = 12 << 20

// held is a greeting whose reply is not known yet. Its key stands for a message ID of Maddy, a
// process of Postfix, a queue ID of Postfix, or a client in the log of a policy server.
type held struct {
	key     uint64
	line    int64 // Stats.Lines when it was held
	rec     Record
	size    int  // bytes that count towards maxHeld
	ok      bool // Maddy: a recipient was accepted, so the message may be too
	verdict bool // Maddy: rec.Reason is the rule of our own check
}

func (r *run) waiting() bool { return len(r.held) > 0 }

// hold keeps rec for key until the reply is known. If all held records exceed maxHeld, it hands
// out the oldest eighth without a reply. Stats counts them.
func (r *run) hold(key uint64, rec *Record) {
	r.done(key)
	h := r.spare
	if r.spare = nil; h == nil {
		h = new(held)
	}
	*h = held{key: key, line: r.st.Lines, rec: *rec}
	r.held[key] = h
	r.resize(h)
	if r.bytes > maxHeld {
		n := len(r.held) / 8
		r.st.Skipped[SkippedDropped] += int64(n)
		r.giveUp(n)
	}
}

// giveUp hands out the n messages that are held the longest.
func (r *run) giveUp(n int) {
	byLine := func(a, b *held) int { return cmp.Compare(a.line, b.line) }
	for _, h := range slices.SortedFunc(maps.Values(r.held), byLine)[:n] {
		r.done(h.key)
	}
}

// resize updates the size of h after a change of its record.
func (r *run) resize(h *held) {
	const fixed = 512 // bytes of the record, its map entry and allocator overhead
	size := fixed + len(h.rec.Helo) + len(h.rec.PTR) + len(h.rec.From) + len(h.rec.Reason) +
		len(h.rec.MsgID) + len(h.rec.Server)
	for _, rcpt := range h.rec.Rcpts {
		size += 32 + len(rcpt)
	}
	r.bytes += size - h.size
	h.size = size
}

// take removes what is held for key and returns it, or nil. The result is valid until hold.
func (r *run) take(key uint64) *held {
	h := r.held[key]
	if h != nil {
		delete(r.held, key)
		r.bytes -= h.size
		r.spare = h
	}
	return h
}

// done removes what is held for key and emits its record.
func (r *run) done(key uint64) {
	if h := r.take(key); h != nil {
		r.emit(&h.rec)
	}
}

// add gives h the recipients that it does not have.
func (r *run) add(h *held, rcpts []string) {
	h.rec.Rcpts = addRcpts(h.rec.Rcpts, rcpts...)
	r.resize(h)
}

// addRcpts adds the recipients that are not there yet.
func addRcpts(to []string, rcpts ...string) []string {
	for _, rcpt := range rcpts {
		if rcpt != "" && len(to) < maxRcpts && !containsFold(to, rcpt) {
			to = append(to, text(rcpt))
		}
	}
	return to
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(other string) bool { return strings.EqualFold(other, s) })
}

var seed = maphash.MakeSeed()

// keyOf returns a hash of scope, a host or a process, and of an ID that is unique there.
func keyOf[T string | []byte](scope T, id []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(string(scope))
	h.WriteByte(0)
	h.Write(id)
	return h.Sum64()
}
