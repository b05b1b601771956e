package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/mailru/easyjson/jlexer"
)

// maxWraps bounds how many programs may have wrapped one line in JSON.
const maxWraps = 4

// unwrap cuts off what other programs have put before a server's line: times,
// names of containers, syslog headers and JSON, one within the other, so that of
//
//	mx-1  | {"log":"Nov 23 13:00:00 mx postfix/smtpd[9]: connect from x","time":"..."}
//
// "connect from x" remains. The last time and the last host found count.
func (r *run) unwrap(b []byte, wraps int) {
	e := &r.line
	for e.who, e.msg = nil, skipSpace(b); len(e.msg) > 0 && r.peel(e); {
	}
	if len(e.msg) > 0 && e.msg[0] == '{' && wraps > 0 {
		r.unwrapJSON(e, wraps)
	}
}

// peel cuts one prefix off e.msg: a time, a syslog header, the plain words before a
// time, or those before a mark of container tools. Behind the colon of a header only
// times at once and such marks count: other words can be the sender's.
func (r *run) peel(e *entry) bool {
	if at, rest, ok := r.stamp.cut(e.msg); ok {
		e.at, e.who, e.msg = at, nil, rest
		e.peel5424()
		return true
	}
	const maxWords = 6
	headed, rest := e.who != nil, e.msg
	var before []byte
	for range maxWords {
		word, after := cutWord(rest)
		start := len(e.msg) - len(rest)
		if host, ok := containerMark(before, word); ok && len(after) > 0 {
			e.host, e.who, e.msg = cmp.Or(string(host), e.host), nil, after
			return true
		}
		if (!headed || start == 0) && r.peelFile(e, start, start+len(word)) {
			return true
		}
		if len(after) == 0 || !plain(word) {
			return false
		}
		head, colon := bytes.CutSuffix(word, []byte(":"))
		switch {
		case colon && headed:
			return false
		case colon && r.peelTag(e, e.msg[:start+len(head)], head, after):
			return true
		case colon:
			headed = true
		}
		before, rest = word, after
	}
	return false
}

// peelTag cuts who, of which tag is the last word, when it ends a syslog header or
// stands before a time or JSON.
func (r *run) peelTag(e *entry, who, tag, after []byte) bool {
	if !isTag(tag) && after[0] != '{' && !r.timed(after) {
		return false
	}
	e.who, e.msg = who, after
	e.named()
	return true
}

// named takes the host from a header of two words or more.
func (e *entry) named() {
	if host, rest := cutWord(e.who); len(rest) > 0 {
		e.host = string(host)
	}
}

func (r *run) timed(b []byte) bool {
	_, _, ok := r.stamp.cut(b)
	return ok
}

// peelFile cuts the words up to a time. In the last of them, from start to end, grep
// writes "file:" or "file:line:", before JSON too.
func (r *run) peelFile(e *entry, start, end int) bool {
	for i := start; i <= end && i < len(e.msg); i++ {
		c := e.msg[i]
		if marks[c] {
			return false
		}
		if i == end && e.msg[i-1] == ':' || i != end && (c != ':' || i == end-1) {
			continue // a syslog header may end here
		}
		rest := skipSpace(e.msg[i+1:])
		if r.timed(rest) || c == ':' && bytes.HasPrefix(rest, []byte(`{"`)) {
			e.who, e.msg = nil, rest
			return true
		}
	}
	return false
}

var marks = [256]bool{
	'<': true, '>': true, '(': true, ')': true, '{': true, '}': true,
	'"': true, '=': true, ';': true, ',': true,
}

// plain reports a word without the marks of servers' own lines.
func plain(word []byte) bool {
	for _, c := range word {
		if marks[c] {
			return false
		}
	}
	return true
}

// containerMark tells "NAME |" of docker compose, "[pod/NAME/...]" of kubectl and
// "stdout F" of Kubernetes' CRI by two words, and returns the host that they name.
func containerMark(before, word []byte) (host []byte, ok bool) {
	switch {
	case before == nil:
		return word, word[0] == '[' && word[len(word)-1] == ']' && plain(word)
	case len(word) > 1:
		return nil, false
	case word[0] == '|':
		return before, true
	}
	return nil, (word[0] == 'F' || word[0] == 'P') && bytes.HasPrefix(before, []byte("std"))
}

// isTag reports the tag of a syslog header (RFC 3164, 4.1.3): "postfix/smtpd[123]"
// or "postfix/smtpd". "host: logger: event" of Maddy has none.
func isTag(word []byte) bool {
	program, id, ok := bytes.Cut(word, []byte("["))
	if !ok {
		return bytes.IndexByte(word, '/') > 0
	}
	id, closed := bytes.CutSuffix(id, []byte("]"))
	return closed && len(program) > 0 && (len(id) == 0 || digits(id))
}

// peel5424 cuts "host postfix/smtpd 123 - - " behind a time (RFC 5424, 6): host,
// program, process, kind of message, structured data and a byte order mark.
func (e *entry) peel5424() {
	host, rest := cutWord(e.msg)
	if bytes.HasSuffix(host, []byte(":")) {
		return
	}
	program, rest := cutWord(rest)
	pid, rest := cutWord(rest)
	if !digits(pid) && string(pid) != "-" || !plain(host) || !plain(program) {
		return
	}
	who := e.msg[:len(e.msg)-len(rest)-1]
	_, rest = cutWord(rest)
	if msg, ok := bytes.CutPrefix(rest, []byte("- ")); ok {
		rest = msg
	} else if _, msg, ok = bytes.Cut(rest, []byte("] ")); ok && rest[0] == '[' {
		rest = msg
	} else {
		return
	}
	e.who, e.msg = who, bytes.TrimPrefix(skipSpace(rest), byteOrderMark)
	e.named()
}

// The members of a log line in JSON that matter.
const (
	wrapText = iota
	wrapTime
	wrapHost
	wrapProgram
	wrapPID
	numWraps
)

// wrapKeys are the names of these members in "journalctl -o json", docker's json-file,
// "logcli -o jsonl" and the like.
var wrapKeys = map[string]int{
	"MESSAGE": wrapText, "log": wrapText, "line": wrapText, "message": wrapText,
	"msg": wrapText, "text": wrapText, "textPayload": wrapText, "body": wrapText,
	"__REALTIME_TIMESTAMP": wrapTime, "time": wrapTime, "timestamp": wrapTime,
	"@timestamp": wrapTime, "ts": wrapTime,
	"_HOSTNAME": wrapHost, "hostname": wrapHost, "host": wrapHost, "HOSTNAME": wrapHost,
	"SYSLOG_IDENTIFIER": wrapProgram, "program": wrapProgram, "ident": wrapProgram,
	"appname": wrapProgram,
	"_PID":    wrapPID, "SYSLOG_PID": wrapPID, "pid": wrapPID, "procid": wrapPID,
}

// unwrapJSON puts the line that a JSON object holds in the place of the object.
func (r *run) unwrapJSON(e *entry, wraps int) {
	var in [numWraps][]byte
	ok := scanJSON(e.msg, maxWraps, func(key, value []byte) {
		if i, known := wrapKeys[string(key)]; known {
			in[i] = value
		}
	})
	text := in[wrapText]
	e.msg = nil
	if !ok {
		r.st.Broken++
		return
	}
	if len(text) > 0 && text[0] == '[' { // the journal writes what is not UTF-8 as octets
		_ = json.Unmarshal(text, &text)
	}
	if len(text) == 0 {
		return
	}
	if at, known := r.stamp.value(in[wrapTime]); known {
		e.at = at
	}
	if len(in[wrapHost]) > 0 {
		e.host = string(in[wrapHost])
	}
	text = chomp(text)
	if len(in[wrapProgram]) > 0 {
		text = fmt.Appendf(nil, "%s %s[%s]: %s", in[wrapHost], in[wrapProgram], in[wrapPID], text)
	}
	r.unwrap(text, wraps-1)
}

// scanJSON calls field for every member of an object, strings decoded, and for the
// members of objects in it, so many levels down. It costs a tenth of encoding/json.
func scanJSON(b []byte, levels int, field func(key, value []byte)) bool {
	in := jlexer.Lexer{Data: b}
	in.Delim('{')
	for in.Ok() && !in.IsDelim('}') {
		key := in.UnsafeBytes()
		in.WantColon()
		raw := in.Raw()
		switch {
		case !in.Ok():
			return false
		case raw[0] == '{' && levels > 0:
			scanJSON(raw, levels-1, field)
		case raw[0] != '"':
			field(key, raw)
		case bytes.IndexByte(raw, '\\') < 0:
			field(key, raw[1:len(raw)-1])
		default:
			text := jlexer.Lexer{Data: raw}
			field(key, text.UnsafeBytes())
		}
		in.WantComma()
	}
	in.Delim('}')
	return in.Ok()
}

// cutWord cuts off what stands before the first blank, and the blanks.
func cutWord(b []byte) (word, rest []byte) {
	i := bytes.IndexByte(b, ' ')
	if i < 0 {
		return b, nil
	}
	return b[:i], skipSpace(b[i:])
}

// firstField returns what stands before the first blank.
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
