package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// entry is one log line, or what a line of JSON carries.
type entry struct {
	at  time.Time
	who []byte // host, program and process; nil when msg still starts with them
	msg []byte
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
	markTab      = []byte("\t{")
	markEscaped  = []byte("#011{") // rsyslog's way to write the tab
	markHost     = []byte("H=")
	markRejected = []byte("rejected ")
	markPostfix  = []byte("postfix")
)

// readLog reads a log, whoever wrote its lines.
func (r *run) readLog() error {
	r.seen = [numServers]bool{}
	err := r.logLines()
	for _, t := range []*table{&r.maddy, &r.warned, &r.queued} {
		t.flush()
	}
	for i, name := range serverNames {
		if r.seen[i] {
			r.st.Formats[name]++
		}
	}
	if r.seen == [numServers]bool{} {
		r.st.Formats[formatUnknown.String()]++
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
	if len(line) > 0 && line[0] == '{' {
		r.jsonLine(line)
		return
	}
	read := r.reader(line)
	if read == nil {
		return
	}
	at, msg := r.stamp.cut(line)
	r.line = entry{at: at, msg: msg}
	read(r, &r.line)
}

// reader returns what reads a line with such content, nil for a line that
// tells nothing about a greeting.
func (r *run) reader(line []byte) func(*run, *entry) {
	switch {
	case isPostfix(line):
		return (*run).postfixEvent
	case bytes.Contains(line, markTab) || bytes.Contains(line, markEscaped):
		return (*run).maddyEvent
	case bytes.Contains(line, markHost) || bytes.Contains(line, markRejected):
		return (*run).eximEvent
	case bytes.Contains(line, markHelo): // Postfix under another name
		return (*run).postfixEvent
	default:
		return nil
	}
}

// isPostfix looks for the program's name, "postfix/smtpd" or that of another
// instance, "postfix-in/smtpd", where syslog has it.
func isPostfix(line []byte) bool {
	i := bytes.Index(line[:min(len(line), 96)], markPostfix)
	if i < 0 {
		return false
	}
	for _, c := range line[i+len(markPostfix):] {
		if !isLetter(c) && c != '-' && c != '_' && (c < '0' || c > '9') {
			return c == '/'
		}
	}
	return false
}

// jsonLine reads a line of "journalctl -o json" or of docker's json-file log.
func (r *run) jsonLine(line []byte) {
	var j struct {
		Message json.RawMessage `json:"MESSAGE"`
		Micro   string          `json:"__REALTIME_TIMESTAMP"`
		Host    string          `json:"_HOSTNAME"`
		Program string          `json:"SYSLOG_IDENTIFIER"`
		PID     string          `json:"_PID"`
		Log     string          `json:"log"`
		Time    time.Time       `json:"time"`
	}
	if json.Unmarshal(line, &j) != nil {
		r.st.Broken++
		return
	}
	if j.Log != "" {
		msg := chomp([]byte(j.Log))
		if read := r.reader(msg); read != nil {
			read(r, &entry{at: j.Time, msg: msg})
		}
		return
	}
	msg, ok := journalText(j.Message)
	if !ok {
		return
	}
	who := j.Host + " " + j.Program + "[" + j.PID
	// The mark of an uneventful Postfix line stands in the program's name.
	read := r.reader([]byte(who + "]: " + msg))
	if read != nil {
		read(r, &entry{at: unixMicro(j.Micro), who: []byte(who), msg: []byte(msg)})
	}
}

// journalText returns MESSAGE, which the journal writes as an array of bytes
// when it is not valid UTF-8.
func journalText(raw json.RawMessage) (string, bool) {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s, true
	}
	var wide []int
	if json.Unmarshal(raw, &wide) != nil {
		return "", false
	}
	codes := make([]byte, 0, len(wide))
	for _, c := range wide {
		codes = append(codes, byte(c)) //nolint:gosec // journald writes octets as numbers
	}
	return string(codes), true
}

// split cuts host, program and process off a syslog line that has lost its
// time: "host postfix/smtpd[123]: text", or in the manner of RFC 5424
// "host postfix/smtpd 123 - - text".
func (e *entry) split() (who, msg []byte) {
	if e.who != nil {
		return e.who, e.msg
	}
	i := bytes.Index(e.msg, []byte("]: "))
	if i >= 0 && !bytes.Contains(e.msg[:i], []byte(": ")) {
		return e.msg[:i], e.msg[i+3:]
	}
	rest := e.msg
	for range 3 {
		i := bytes.IndexByte(rest, ' ')
		if i < 0 {
			return nil, e.msg
		}
		rest = rest[i+1:]
	}
	who = e.msg[:len(e.msg)-len(rest)]
	// Message name and structured data, "-" for none (RFC 5424, 6.3).
	if after, ok := bytes.CutPrefix(rest, []byte("- - ")); ok {
		return who, skipSpace(after)
	}
	return nil, e.msg
}
