package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"

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
	if r.peelTime(e) {
		return true
	}
	const maxWords = 6
	headed, words, start := e.who != nil, 0, 0
	var before []byte
	for i := 0; i < len(e.msg); i++ {
		c := e.msg[i]
		if marks[c] || words == maxWords {
			return false
		}
		if !stops[c] {
			continue
		}
		word, rest := e.msg[start:i], skipSpace(e.msg[i+1:])
		if len(rest) == 0 {
			return false
		}
		if host, ok := containerMark(before, word); ok && c == ' ' {
			e.host, e.who, e.msg = cmp.Or(string(host), e.host), nil, rest
			return true
		}
		if r.peelAt(e, i, before, word, rest, headed) {
			return true
		}
		if c == ' ' {
			colon := word[len(word)-1] == ':'
			if colon && headed {
				return false
			}
			before, start, headed = word, len(e.msg)-len(rest), headed || colon
			i = start - 1
			words++
		}
	}
	return false
}

func (r *run) peelTime(e *entry) bool {
	at, rest, ok := r.stamp.cut(e.msg)
	if ok {
		e.at, e.who, e.msg = at, nil, rest
		e.peel5424()
	}
	return ok
}

// peelAt cuts what stands up to a blank or a colon, behind which rest begins, if a prefix ends
// there. Grep writes "file:" or "file:line:" before a line, before JSON too.
func (r *run) peelAt(e *entry, i int, before, word, rest []byte, headed bool) bool {
	blank := e.msg[i] == ' '
	header := blank && word[len(word)-1] == ':'
	switch {
	case headed && (before != nil || header), !blank && e.msg[i+1] == ' ':
		return false
	case header && (isTag(word[:len(word)-1]) || rest[0] == '{' || r.timed(rest)):
		e.who, e.msg = e.msg[:i-1], rest
		e.named()
		return true
	case !header && (r.timed(rest) || !blank && bytes.HasPrefix(rest, []byte(`{"`))):
		e.who, e.msg = nil, rest
		return true
	}
	return false
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

// stops are the octets that a prefix can end at.
var stops = [256]bool{':': true, ' ': true}

// marks are the octets that stand in servers' own lines and in no prefix.
var marks = [256]bool{
	'<': true, '>': true, '(': true, ')': true, '{': true, '}': true,
	'"': true, '=': true, ';': true, ',': true,
}

// containerMark tells "NAME |" of docker compose, "[pod/NAME/...]" of kubectl and
// "stdout F" of Kubernetes' CRI by two words, and returns the host that they name.
func containerMark(before, word []byte) (host []byte, ok bool) {
	switch {
	case before == nil:
		return word, bytes.HasPrefix(word, []byte("[")) && word[len(word)-1] == ']'
	case string(word) == "|":
		return before, true
	}
	return nil, (string(word) == "F" || string(word) == "P") && bytes.HasPrefix(before, []byte("std"))
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

// header5424 is what stands behind a time in the form of RFC 5424, 6: host, program,
// process, kind of message, structured data and a byte order mark.
var header5424 = regexp.MustCompile(
	`^((?:[^ <>(){}"=;,]+ +){2}(?:\d+|-)) +[^ ]* +(?:- |\[.*?\] ) *(?:\x{FEFF})?`)

// peel5424 cuts "host postfix/smtpd 123 - - " behind a time.
func (e *entry) peel5424() {
	_, rest := cutWord(e.msg)
	_, rest = cutWord(rest)
	if pid := firstField(rest); !digits(pid) && string(pid) != "-" {
		return // as nearly always
	}
	if parts := header5424.FindSubmatch(e.msg); parts != nil {
		e.who, e.msg = parts[1], e.msg[len(parts[0]):]
		e.named()
	}
}

// wrapKeys are the names of the members that matter in "journalctl -o json", docker's
// json-file, "logcli -o jsonl" and the like.
var wrapKeys = map[string]string{
	"MESSAGE": "text", "log": "text", "line": "text", "message": "text",
	"msg": "text", "text": "text", "textPayload": "text", "body": "text",
	"__REALTIME_TIMESTAMP": "time", "time": "time", "timestamp": "time",
	"@timestamp": "time", "ts": "time",
	"_HOSTNAME": "host", "hostname": "host", "host": "host", "HOSTNAME": "host",
	"SYSLOG_IDENTIFIER": "program", "program": "program", "ident": "program", "appname": "program",
	"_PID": "process", "SYSLOG_PID": "process", "pid": "process", "procid": "process",
}

// unwrapJSON puts the line that a JSON object holds in the place of the object.
func (r *run) unwrapJSON(e *entry, wraps int) {
	in := make(map[string][]byte, 8)
	ok := scanJSON(e.msg, maxWraps, func(key, value []byte) {
		if name, known := wrapKeys[string(key)]; known {
			in[name] = value
		}
	})
	text := in["text"]
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
	if at, known := r.stamp.value(in["time"]); known {
		e.at = at
	}
	e.host = cmp.Or(string(in["host"]), e.host)
	text = chomp(text)
	if len(in["program"]) > 0 {
		text = fmt.Appendf(nil, "%s %s[%s]: %s", in["host"], in["program"], in["process"], text)
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
