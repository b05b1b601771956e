package replay

import (
	"bytes"
	"errors"
	"io"
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
}

// The servers whose logs are understood.
const (
	byMaddy = iota
	byPostfix
	byExim
	numServers
)

var serverNames = [numServers]string{"maddy", "postfix", "exim"}

// Marks that tell what a line can hold; most lines of a log have none.
var (
	markHelo     = []byte("helo=<")
	markPolicy   = []byte("client-ip=")
	markArrived  = []byte(" <= ")
	markHost     = []byte("H=")
	markFrom     = []byte(" from ")
	markRejected = []byte("rejected ")
	markClient   = []byte(": client=")
	markActive   = []byte(" (queue active)")
	markConnect  = []byte("connect from ")
	markWarning  = []byte("warning: ")
	markProcess  = []byte("]: ")
)

// readLog reads a log, whoever wrote its lines.
func (r *run) readLog() error {
	r.seen, r.named = [numServers]bool{}, false
	err := r.logLines()
	for _, t := range []*table{&r.maddy, &r.warned, &r.queued, &r.policed} {
		t.flush()
	}
	r.decideNames()
	known := false
	for i, name := range serverNames {
		if r.seen[i] {
			r.st.Formats[name]++
			known = true
		}
	}
	if !known && err == nil {
		r.st.Formats[formatUnknown.String()]++
		err = errUnknown
	}
	return err
}

func (r *run) logLines() error {
	for {
		line, cut, err := r.in.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if cut {
			r.st.Broken++
		}
		if err != nil {
			return err
		}
		r.logLine(line)
	}
}

func (r *run) logLine(line []byte) {
	if !r.telling(line) {
		return
	}
	r.line = entry{}
	r.unwrap(line, 0)
	e := &r.line
	if r.postfixEvent(e) || r.maddyEvent(e) || r.eximEvent(e) {
		return
	}
	// Such a line names a greeting, and nothing here can read it.
	if bytes.Contains(e.msg, markHelo) || bytes.Contains(e.msg, []byte(`"src_host"`)) {
		r.st.Broken++
	} else if _, rest, ok := bytes.Cut(e.msg, markArrived); ok && bytes.Contains(rest, markHost) {
		r.st.Broken++
	}
}

// telling reports whether a line can tell of a greeting. It lets the common
// lines pass that tell of none.
//
//nolint:cyclop // one case a server
func (r *run) telling(line []byte) bool {
	if bytes.IndexByte(line, '{') >= 0 || bytes.Contains(line, markHelo) ||
		bytes.Contains(line, markHost) || !r.seen[byPostfix] && bytes.Contains(line, markProcess) {
		return true
	}
	if bytes.Contains(line, markFrom) {
		// Exim: "rejected EHLO from", "no MAIL in SMTP connection from".
		if bytes.Contains(line, markRejected) || bytes.Contains(line, []byte(") [")) {
			return true
		}
		if (!r.named || !r.warned.empty()) && bytes.Contains(line, markConnect) {
			return true
		}
	}
	return bytes.Contains(line, markClient) || bytes.Contains(line, markPolicy) ||
		!r.queued.empty() && bytes.HasSuffix(line, markActive) ||
		bytes.Contains(line, markWarning) || !r.seen[byExim] && bytes.Contains(line, markArrived)
}

// maxWraps bounds how many programs may have wrapped one line.
const maxWraps = 4

// unwrap cuts off what other programs have put before a server's line: times,
// names of containers, syslog headers and JSON, one within the other.
func (r *run) unwrap(b []byte, depth int) {
	e := &r.line
	for range 2 * maxWraps {
		b = skipSpace(b)
		if at, rest, ok := r.stamp.cut(b); ok {
			e.at, b = at, rest
			continue
		}
		rest := r.prefix(b)
		if rest == nil {
			break
		}
		b = rest
	}
	e.who, e.msg = header(b)
	if name := firstField(e.who); len(name) > 0 && len(name) < len(e.who) {
		e.host = string(name)
	}
	if len(e.msg) > 0 && e.msg[0] == '{' && depth < maxWraps {
		r.unwrapJSON(e.msg, depth)
	}
}

// prefix cuts off the few plain words that stand before a time, before JSON or,
// as docker compose writes them, before "|"; nil without. Behind the colon of a
// syslog header only those count: what follows there can be the sender's text.
//
//nolint:cyclop // one case a form of prefix
func (r *run) prefix(b []byte) []byte {
	headed := false
	for start, n := 0, 0; n < 6; n++ {
		word := b[start:]
		if i := bytes.IndexByte(word, ' '); i >= 0 {
			word = word[:i]
		}
		rest := skipSpace(b[start+len(word):])
		if len(word) == 0 || len(rest) == 0 || bytes.ContainsAny(word, `<>(){}"=;,`) {
			return nil
		}
		if i := bytes.IndexByte(word, ':'); i > 0 && !headed { // grep writes "file:line"
			if _, _, ok := r.stamp.cut(b[start+i+1:]); ok {
				return b[start+i+1:]
			}
		}
		_, _, timed := r.stamp.cut(rest)
		last := word[len(word)-1]
		switch {
		case string(word) == "|" && start > 0:
			words := bytes.Fields(b[:start])
			r.line.host = string(words[len(words)-1])
			return rest
		case word[0] == '[' && last == ']' && start == 0:
			r.line.host = string(word)
			return rest
		case (string(word) == "F" || string(word) == "P") && start > 0: // Kubernetes' CRI
			return rest
		case last == ':' && !headed:
			headed = true
			if timed || rest[0] == '{' {
				if start > 0 {
					r.line.host = string(firstField(b))
				}
				return rest
			}
		case headed && last == ':':
			return nil
		case timed && !headed:
			return rest
		}
		start = len(b) - len(rest)
	}
	return nil
}

// header cuts host, program and process off a syslog line that has lost its
// time: "host postfix/smtpd[123]: text", "postfix/smtpd: text", or in the manner
// of RFC 5424 "host postfix/smtpd 123 - - text".
//
//nolint:cyclop // one case a form of header
func header(b []byte) (who, msg []byte) {
	end := bytes.Index(b[:min(len(b), 256)], []byte(": "))
	if end > 0 && bytes.Count(b[:end], []byte(" ")) < 4 && !bytes.ContainsAny(b[:end], `<>(){}"=`) {
		who, msg = b[:end], skipSpace(b[end+2:])
		pid := bytes.LastIndexByte(who, '[')
		if pid > 0 && who[pid-1] != ' ' && who[end-1] == ']' &&
			(pid == end-2 || digits(who[pid+1:end-1])) {
			return who[:end-1], msg
		}
		// "host: logger: event" of Maddy has no process.
		if pid < 0 && bytes.IndexByte(who, '/') > 0 {
			return who, msg
		}
	}
	rest := b
	for i := range 4 {
		j := bytes.IndexByte(rest, ' ')
		if j <= 0 || i == 2 && !digits(rest[:j]) && string(rest[:j]) != "-" {
			return nil, b
		}
		rest = rest[j+1:]
		if i == 2 {
			who = b[:len(b)-len(rest)-1]
		}
	}
	// Structured data, "-" for none, and a byte order mark (RFC 5424, 6.3).
	if len(rest) > 0 && rest[0] == '[' {
		j := bytes.Index(rest, []byte("] "))
		if j < 0 {
			return nil, b
		}
		rest = rest[j+1:]
	} else if len(rest) < 2 || rest[0] != '-' || rest[1] != ' ' {
		return nil, b
	}
	return who, bytes.TrimPrefix(skipSpace(bytes.TrimPrefix(rest, []byte("-"))), byteOrderMark)
}

// unwrapJSON reads a line of "journalctl -o json", of docker's json-file log, of
// "logcli -o jsonl" and the like.
//
//nolint:cyclop // one case a form of JSON
func (r *run) unwrapJSON(b []byte, depth int) {
	var text, when, host, program, pid []byte
	ok := scanJSON(b, 0, func(key, value []byte) {
		switch string(key) {
		case "MESSAGE", "log", "line", "message", "msg", "text", "textPayload", "body":
			text = value
		case "__REALTIME_TIMESTAMP", "time", "timestamp", "@timestamp", "ts":
			when = value
		case "_HOSTNAME", "hostname", "host", "HOSTNAME":
			host = value
		case "SYSLOG_IDENTIFIER", "program", "ident", "appname":
			program = value
		case "_PID", "SYSLOG_PID", "pid", "procid":
			pid = value
		}
	})
	if !ok {
		r.line.msg = nil
		r.st.Broken++
		return
	}
	if len(text) == 0 {
		r.line.msg = nil
		return
	}
	if text[0] == '[' { // the journal writes what is not UTF-8 as an array of octets
		text = octets(text)
	}
	text = chomp(text)
	e := &r.line
	if at, _, ok := r.stamp.cut(when); ok {
		e.at = at
	} else if n, err := strconv.ParseInt(string(when), 10, 64); err == nil {
		e.at = unixTime(n)
	}
	outer := e.host
	if len(program) > 0 {
		head := string(program) + "[" + string(pid) + "]: "
		if len(host) > 0 {
			head = string(host) + " " + head
		}
		text = append([]byte(head), text...)
	}
	r.unwrap(text, depth+1)
	if e.host == "" {
		e.host = outer
	}
	if e.host == "" || e.host == outer && len(host) > 0 {
		e.host = strings.Clone(string(host))
	}
}

// unixTime reads seconds, milliseconds, microseconds or nanoseconds since 1970.
func unixTime(n int64) time.Time {
	switch {
	case n < 1e11:
		return time.Unix(n, 0)
	case n < 1e14:
		return time.UnixMilli(n)
	case n < 1e17:
		return time.UnixMicro(n)
	default:
		return time.Unix(0, n)
	}
}

// octets reads "[78,111,118]".
func octets(list []byte) []byte {
	var text []byte
	for f := range bytes.SplitSeq(bytes.Trim(list, "[]"), []byte(",")) {
		if f = bytes.TrimSpace(f); digits(f) && len(f) < 4 {
			text = append(text, byte(number(f))) //nolint:gosec // journald writes octets as numbers
		}
	}
	return text
}

// firstField returns what stands before the first blank.
func firstField(b []byte) []byte {
	if i := bytes.IndexByte(b, ' '); i >= 0 {
		return b[:i]
	}
	return b
}
