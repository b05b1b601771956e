package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/mailru/easyjson/jlexer"
)

// maxLevels limits the levels of nested objects that are read in one JSON object.
const maxLevels = 4

// unwrap removes the prefixes that other programs have added to a server's line:
// times, names of containers, syslog headers and JSON, also nested. Of the line
//
//	mx-1  | {"log":"Nov 23 13:00:00 mx postfix/smtpd[9]: connect from x","time":"..."}
//
// "connect from x" remains. The last time and the last host found are used.
func (r *run) unwrap(b []byte) {
	e := &r.line
	e.who, e.msg = nil, skipSpace(b)
	for len(e.msg) > 0 && (r.peelTime(e) || r.peelFile(e) || e.peelContainer() ||
		r.peelHeader(e) || e.peelRepeated()) {
		e.msg = skipSpace(e.msg)
	}
	if len(e.msg) > 0 && e.msg[0] == '{' {
		r.unwrapJSON(e)
	}
}

// ownMarks are octets that occur in the text of servers, but in no word of a prefix.
var ownMarks = [256]bool{
	' ': true, '<': true, '>': true, '(': true, ')': true, '{': true, '}': true,
	'"': true, '=': true, ';': true, ',': true,
}

func isOwn(c byte) bool { return ownMarks[c] }

// peelTime removes a time, and the header of RFC 5424 that follows it.
func (r *run) peelTime(e *entry) bool {
	at, rest, ok := r.stamp.cut(e.msg)
	if !ok {
		return false
	}
	e.at = at
	e.cut(nil, rest)
	host, behind := cutWord(rest)
	word, behind := cutWord(behind)
	if level, syslog := bytes.CutPrefix(word, []byte("mail.")); syslog && isWord(level) { // busybox
		if e.msg = behind; isHost(host) {
			e.host = string(host)
		}
		return true
	}
	if process := firstField(behind); digits(process) || string(process) == "-" {
		if parts := header5424.FindSubmatch(rest); parts != nil {
			e.cut(parts[1], rest[len(parts[0]):])
		}
	}
	return true
}

// header5424 matches what follows the time in RFC 5424, 6, such as "host program 123 - - ":
// host, program, process, message ID, structured data and a byte order mark.
var header5424 = regexp.MustCompile(
	`^((?:[^ <>(){}"=;,]+ +){2}(?:\d+|-)) +[^ ]* +(?:- |\[.*?\] ) *(?:\x{FEFF})?`)

// repeated matches what rsyslog writes in place of lines that equal the line before.
var repeated = regexp.MustCompile(`^message repeated (\d{1,9}) times: \[(.*)\]$`)

func (e *entry) peelRepeated() bool {
	if !bytes.HasPrefix(e.msg, []byte("message repeated ")) {
		return false
	}
	parts := repeated.FindSubmatch(e.msg)
	if parts != nil {
		e.times, _ = strconv.Atoi(string(parts[1]))
		e.msg = parts[2]
	}
	return parts != nil
}

// peelContainer removes "NAME |" of docker compose, "[pod/NAME/...]" of kubectl and "stdout F" of
// Kubernetes' CRI. The first two set the host.
func (e *entry) peelContainer() bool {
	host, rest := cutWord(e.msg)
	mark, behind := cutWord(rest)
	switch {
	case string(mark) == "|":
		rest = behind
	case (string(mark) == "F" || string(mark) == "P") && bytes.HasPrefix(host, []byte("std")):
		host, rest = nil, behind
	case host[0] != '[' || host[len(host)-1] != ']':
		return false
	case digits(host[1 : len(host)-1]): // a process ID of Exim
		host = nil
	}
	if len(rest) == 0 || slices.ContainsFunc(host, isOwn) {
		return false
	}
	e.host = cmp.Or(string(host), e.host)
	return e.cut(nil, rest)
}

// peelFile removes "file:" or "file:line:" of grep if a time or JSON follows.
func (r *run) peelFile(e *entry) bool {
	for i, c := range e.msg {
		line := e.msg[i+1:]
		switch {
		case isOwn(c):
			return false
		case c == ':' && (r.timed(line) || bytes.HasPrefix(line, []byte(`{"`))):
			return e.cut(nil, line)
		}
	}
	return false
}

// peelHeader removes a syslog header from e.msg, or plain words before a time. After the colon of
// a header it removes no words before a time: they can be text of the sender.
func (r *run) peelHeader(e *entry) bool {
	const maxWords = 6
	before, from, left := []byte(nil), e.msg, e.msg // the previous word, and the text from it on
	for i := range maxWords {
		word, rest := cutWord(left)
		if len(rest) == 0 || slices.ContainsFunc(word, isOwn) {
			return false
		}
		switch colon := word[len(word)-1] == ':'; {
		case colon && e.who == nil && r.ends(i, before, word, rest):
			return e.cut(from[:len(from)-len(left)+len(word)-1], rest)
		case !colon && r.timed(rest):
			return e.cut(nil, rest)
		case colon || e.who != nil:
			return false
		}
		before, from, left = word, left, rest
	}
	return false
}

// cut sets the header and the rest of e. A header of at least two words starts with the host.
func (e *entry) cut(header, rest []byte) bool {
	e.who, e.msg = header, rest
	if host, program := cutWord(header); len(program) > 0 && isHost(host) {
		e.host = string(host)
	}
	return true
}

// isHost reports whether b is a host's name or address, not a part of a date.
func isHost(b []byte) bool {
	for _, c := range b {
		if c|0x20 >= 'a' && c|0x20 <= 'z' && bytes.IndexByte(b, ':') < 0 {
			return true
		}
	}
	_, ok := parseAddr(b)
	return ok
}

func (r *run) timed(b []byte) bool {
	if len(b) > 0 && b[0] >= 'a' { // true of most words
		return false
	}
	_, _, ok := r.stamp.cut(b)
	return ok
}

// ends reports whether a word with a colon ends a header. A tag does (RFC 3164, 4.1.3), such as
// "postfix/smtpd[123]" or "postfix/smtpd". Any word does after a time and a host, or before a time
// or JSON. "host: logger: event" of Maddy has no header.
func (r *run) ends(i int, before, word, rest []byte) bool {
	program, id, process := bytes.Cut(word[:len(word)-1], []byte("["))
	id, closed := bytes.CutSuffix(id, []byte("]"))
	tag := closed && len(program) > 0 && (len(id) == 0 || digits(id)) ||
		!process && bytes.IndexByte(word, '/') > 0 ||
		i == 1 && isHost(before) && !isEximID(before) && !r.line.at.IsZero()
	return tag || rest[0] == '{' || r.timed(rest)
}

// members are the members of a JSON object and of its nested objects. Strings are decoded.
type (
	members []member
	member  struct{ key, value []byte }
)

// get returns the value of the first key that has one, or nil.
func (m members) get(keys ...string) []byte {
	for _, key := range keys {
		for i := range m {
			if string(m[i].key) == key {
				return m[i].value
			}
		}
	}
	return nil
}

// read appends the members of an object and of its nested objects down to levels. It returns false
// if b is no valid object. It takes a tenth of the time of encoding/json.
func (m *members) read(b []byte, levels int) bool {
	in := jlexer.Lexer{Data: b}
	in.Delim('{')
	for in.Ok() && !in.IsDelim('}') {
		key := in.UnsafeBytes()
		in.WantColon()
		switch {
		case in.IsDelim('{') && levels > 0:
			m.read(in.Raw(), levels-1)
		case in.CurrentToken() == jlexer.TokenString:
			*m = append(*m, member{key, in.UnsafeBytes()})
		default:
			*m = append(*m, member{key, in.Raw()})
		}
		in.WantComma()
	}
	in.Delim('}')
	return in.Ok()
}

// unwrapJSON replaces a JSON object by the log line in it. It reads the forms of "journalctl -o
// json", docker's json-file, "logcli -o jsonl" and similar programs.
func (r *run) unwrapJSON(e *entry) {
	r.members = r.members[:0]
	ok := r.members.read(e.msg, maxLevels)
	m := r.members
	if !ok {
		e.msg = nil
		r.st.Broken++
		return
	}
	text := m.get("MESSAGE", "message", "log", "line", "msg", "text", "textPayload", "body")
	if len(text) > 0 && text[0] == '[' { // the journal writes text that is not UTF-8 as octets
		_ = json.Unmarshal(text, &text)
	}
	if len(text) == 0 {
		return
	}
	at := m.get("__REALTIME_TIMESTAMP", "time", "timestamp", "@timestamp", "ts")
	if at, known := r.stamp.value(at); known {
		e.at = at
	}
	host := m.get("_HOSTNAME", "hostname", "host", "HOSTNAME")
	e.host = cmp.Or(string(host), e.host)
	text = chomp(text)
	if program := m.get("SYSLOG_IDENTIFIER", "program", "ident", "appname"); len(program) > 0 {
		process := m.get("_PID", "SYSLOG_PID", "pid", "procid")
		text = fmt.Appendf(nil, "%s %s[%s]: %s", host, program, process, text)
	}
	r.unwrap(text)
}

// cutWord returns the text before the first blank and the text after the blanks.
func cutWord(b []byte) (word, rest []byte) {
	i := bytes.IndexByte(b, ' ')
	if i < 0 {
		return b, nil
	}
	return b[:i], skipSpace(b[i:])
}

// firstField returns the text before the first blank.
func firstField(b []byte) []byte {
	word, _ := cutWord(b)
	return word
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && b[0] == ' ' {
		b = b[1:]
	}
	return b
}

// stampForms are the forms of a time at the start of a log line, up to the seconds.
var stampForms = []string{
	"2006-01-02T15:04:05", // RFC 3339: syslog, docker, Maddy
	time.Stamp,            // "Jan _2 15:04:05", RFC 3164, 4.1.2
	time.DateTime,         // Exim, journalctl -o short-full
	"Jan _2 2006 15:04:05",
	"02-Jan-2006 15:04:05",
	"2006/01/02 15:04:05",
}

// stamper reads the time at the start of log lines.
type stamper struct {
	now time.Time // no line has a later time
	// The latest text read, as a local time and in UTC: many lines share a
	// second, and time.Parse would cost more than the rest of the line.
	text       string
	local, utc time.Time
}

// priority matches the priority of a syslog message, and the version of RFC 5424, 6.2.
var priority = regexp.MustCompile(`^<\d{1,3}>(?:1 )?`)

// cut returns the time that line starts with and what follows it.
func (s *stamper) cut(line []byte) (at time.Time, rest []byte, ok bool) {
	if bytes.HasPrefix(line, []byte("<")) {
		line = line[len(priority.Find(line)):]
	}
	if len(line) > 6 && line[3] == ' ' && line[6] != ' ' { // the day of the week
		line = line[4:]
	}
	b, bracket := bytes.CutPrefix(line, []byte("["))
	for _, form := range stampForms {
		n := len(form)
		if len(b) < n || b[n-3] != ':' || b[n-9] != form[n-9] ||
			string(b[:n]) != s.text && !s.parse(form, string(b[:n])) {
			continue
		}
		frac, rest := cutFraction(b[n:])
		at = s.local.Add(frac)
		if east, after, zoned := cutZone(rest); zoned {
			at, rest = s.utc.Add(frac-east), after
		}
		rest, closed := bytes.CutPrefix(rest, []byte("]"))
		return at, skipSpace(rest), closed == bracket
	}
	if len(b) > 10 && b[10] == '.' && !bracket { // journalctl -o short-unix
		word, rest := cutWord(b)
		at, ok = unixTime(word)
		return at, rest, ok
	}
	return at, nil, false
}

// value reads a time that stands alone: a number since 1970 or a form of cut.
func (s *stamper) value(b []byte) (time.Time, bool) {
	if at, ok := unixTime(b); ok {
		return at, true
	}
	at, rest, ok := s.cut(b)
	return at, ok && len(rest) == 0
}

// parse reads a time without a zone. A date without a year gets the latest year in which it is at
// most one day in the future, as clocks and zones differ.
func (s *stamper) parse(form, text string) bool {
	local, err := time.ParseInLocation(form, text, time.Local)
	if err != nil {
		return false
	}
	utc, _ := time.Parse(form, text) // as valid as local
	if local.Year() == 0 {
		year, latest := s.now.Local().Year(), s.now.Add(24*time.Hour)
		for at := local.AddDate(year, 0, 0); at.After(latest) || at.Day() != local.Day(); {
			year-- // which may have no February 29
			at = local.AddDate(year, 0, 0)
		}
		local, utc = local.AddDate(year, 0, 0), utc.AddDate(year, 0, 0)
	}
	s.text, s.local, s.utc = text, local, utc
	return true
}

// cutZone reads "Z", " UTC ", "+01:00", "+0100" or " +0100".
func cutZone(b []byte) (east time.Duration, rest []byte, ok bool) {
	for _, utc := range []string{"Z", " UTC "} {
		if rest, ok = bytes.CutPrefix(b, []byte(utc)); ok {
			return 0, rest, true
		}
	}
	zone, form := skipSpace(b), "-0700"
	if len(zone) > 3 && zone[3] == ':' {
		form = "-07:00"
	}
	if len(zone) < len(form) || zone[0] != '+' && zone[0] != '-' {
		return 0, nil, false
	}
	t, err := time.Parse(form, string(zone[:len(form)]))
	_, seconds := t.Zone()
	return time.Duration(seconds) * time.Second, zone[len(form):], err == nil
}

// cutFraction reads a fraction of a second, ".123456" or ",123456".
func cutFraction(b []byte) (time.Duration, []byte) {
	if len(b) < 2 || b[0] != '.' && b[0] != ',' || b[1]-'0' > 9 {
		return 0, b
	}
	i, unit, sum := 1, time.Second, time.Duration(0)
	for ; i < len(b) && b[i]-'0' < 10; i++ {
		unit /= 10
		sum += time.Duration(b[i]-'0') * unit
	}
	return sum, b[i:]
}

// unixTime reads a Unix time in seconds, with or without a fraction, or in
// milliseconds, microseconds or nanoseconds.
func unixTime(b []byte) (time.Time, bool) {
	n, err := strconv.ParseFloat(string(b), 64)
	if err != nil || n < 0 || n >= 1e20 || n != n {
		return time.Time{}, false
	}
	for n >= 1e11 {
		n /= 1000
	}
	return time.UnixMicro(int64(math.Round(n * 1e6))), true
}
