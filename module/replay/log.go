package replay

import (
	"bytes"
	"errors"
	"io"
	"time"
)

// entry is one log line without what other programs put before it.
type entry struct {
	at   time.Time // the last time before the text
	host string    // the server's name in the log, "" without
	who  []byte    // host, program and process, as written
	msg  []byte    // the server's own words
}

// servers read the lines of their logs. Each reports whether a line has its form.
var servers = []struct {
	name string
	read func(*run, *entry) bool
}{
	{"postfix", (*run).postfixEvent},
	{"maddy", (*run).maddyEvent},
	{"exim", (*run).eximEvent},
}

// tells are the marks of lines that can tell of a greeting, or of the server; most
// lines of a log have none.
var tells = []struct {
	mark []byte
	when func(*run) bool // nil: always
}{
	{mark: []byte("{")},
	{mark: markHelo},
	{mark: []byte("H=")},
	{mark: []byte(") [")},
	{mark: []byte("client=")},
	{mark: []byte("client-ip=")},
	{mark: []byte("warning: ")},
	{mark: []byte("rejected ")},
	{[]byte("connect from "), func(r *run) bool { return !r.named || r.waiting() }},
	{[]byte("(queue active)"), (*run).waiting},
	{[]byte("]: "), func(r *run) bool { return !r.seen["postfix"] }},
	{[]byte(" <= "), func(r *run) bool { return !r.seen["exim"] }},
}

// readLog reads a log, whoever wrote its lines.
func (r *run) readLog() error {
	r.seen, r.named = make(map[string]bool), false
	err := r.lines(func(line []byte) {
		if r.opt.Line != nil {
			r.opt.Line(line)
		}
		if r.telling(line) {
			r.logLine(line)
		}
	})
	r.giveUp(len(r.pending.index))
	r.decideNames()
	if len(r.seen) == 0 && errors.Is(err, io.EOF) {
		return errUnknown
	}
	return err
}

// telling lets the common lines pass that tell of no greeting.
func (r *run) telling(line []byte) bool {
	for i := range tells {
		t := &tells[i]
		if (t.when == nil || t.when(r)) && bytes.Contains(line, t.mark) {
			return true
		}
	}
	return false
}

func (r *run) logLine(line []byte) {
	r.line = entry{}
	r.unwrap(line)
	e := &r.line
	for _, server := range servers {
		if server.read(r, e) {
			r.seen[server.name] = true
			return
		}
	}
	// Such a line names a greeting, and nothing here can read it.
	_, arrived, _ := bytes.Cut(e.msg, []byte(" <= "))
	if bytes.Contains(e.msg, markHelo) || bytes.Contains(e.msg, []byte(`"src_host"`)) ||
		bytes.Contains(arrived, []byte("H=")) {
		r.st.Broken++
	}
}
