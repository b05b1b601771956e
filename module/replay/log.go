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

// entry is one log line without what other programs put before it.
type entry struct {
	at   time.Time // the last time before the text
	host string    // the server's name in the log, "" without
	who  []byte    // host, program and process, as written
	msg  []byte    // the server's own words
	// times is how often the line came, 0 being once.
	times int
}

// readLog reads a log, whoever wrote its lines.
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

// tells are marks of lines that can tell of a greeting.
var tells = []string{
	"{", "helo=<", "H=", ") [", "client=", "client-ip=", "warning: ", "rejected ",
}

// telling lets the common lines pass that tell neither of a greeting nor of the server.
func (r *run) telling(line []byte) bool {
	has := func(mark string) bool { return bytes.Contains(line, []byte(mark)) }
	return slices.ContainsFunc(tells, has) ||
		(!r.named || r.waiting()) && has("connect from ") ||
		r.waiting() && has("(queue active)") ||
		!r.postfix && has("]: ") || !r.exim && has(" <= ")
}

// logLine hands a line to the reader of the server whose form it has.
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

// greets tells a line that names a greeting, when nothing here can read it.
var greets = regexp.MustCompile(`helo=(?:<|\\u003c)|"src_host"| <= .*H=|H=.*\] .*rejected `)

// emit hands out a record of a log. A server that never looks up names writes the
// same as for a client without one, so that records wait for the first name.
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

// repeated reports an event that an input before holds, such as Exim's mainlog and rejectlog: with
// the same time, client and all else that the record says.
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

// decideNames hands out the records that wait for a client with a name. Without
// one it is not known whether anybody looked.
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

// maxHeld bounds the memory of all messages under way, in bytes.
const maxHeld = 12 << 20

// held is a greeting whose answer is not known yet. Its key names a message ID of Maddy, a process
// of Postfix, its queue ID, or a client that a policy server of Postfix has seen.
type held struct {
	key     uint64
	line    int64 // where it came
	rec     Record
	size    int  // bytes that count towards maxHeld
	ok      bool // Maddy: a recipient was taken, so the message may still be
	verdict bool // Maddy: rec.Reason is the rule of our own check
}

func (r *run) waiting() bool { return len(r.held) > 0 }

// hold keeps rec for key until its answer is known. When all take too much memory, the oldest
// eighth is given up; Stats counts it.
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

// resize counts what h takes after its record has grown.
func (r *run) resize(h *held) {
	const fixed = 512 // the record, its key in the index, the allocator's loss
	size := fixed + len(h.rec.Helo) + len(h.rec.PTR) + len(h.rec.From) + len(h.rec.Reason) +
		len(h.rec.MsgID) + len(h.rec.Server)
	for _, rcpt := range h.rec.Rcpts {
		size += 32 + len(rcpt)
	}
	r.bytes += size - h.size
	h.size = size
}

// take forgets what is held for key, and returns it until the next is held.
func (r *run) take(key uint64) *held {
	h := r.held[key]
	if h != nil {
		delete(r.held, key)
		r.bytes -= h.size
		r.spare = h
	}
	return h
}

// done forgets what is held for key and hands it out.
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

// keyOf makes a key of a server's name for something and the thing's.
func keyOf[T string | []byte](scope T, id []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(string(scope))
	h.WriteByte(0)
	h.Write(id)
	return h.Sum64()
}
