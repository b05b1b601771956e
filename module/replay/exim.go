package replay

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"time"
)

// eximEvent reads a line in the form of Exim's main log. It returns false for other lines.
//
//	1abc-0002-XX <= a@example.net H=name (helo) [ip]:port P=esmtpsa A=plain:user for b@example.org
//	H=(helo) [ip] F=<a@example.net> rejected RCPT <b@example.org>: why
//	rejected EHLO from [ip]: syntactically invalid argument(s): helo
//	no MAIL in SMTP connection from name (helo) [ip] D=0.1s C=EHLO,QUIT
//
// Delivery lines ("=>", "**") have H= as well, but for the server that the mail went to.
func (r *run) eximEvent(e *entry) bool {
	id, rest := cutWord(e.msg)
	if !isEximID(id) || rest == nil {
		id, rest = nil, e.msg
	}
	r.rec = Record{Time: e.at, Server: e.host, MsgID: text(id), Outcome: Rejected, Count: e.times}
	arrived, taken := bytes.CutPrefix(rest, []byte("<= "))
	refused, about := bytes.CutPrefix(rest, []byte("H="))
	switch syntax := eximSyntax.Find(rest); {
	case taken && id != nil:
		from, fields := cutUnquoted(arrived, ' ')
		fields, host, remote := bytes.Cut(fields, []byte(" H="))
		if remote && !bytes.Contains(fields, []byte(" P=")) { // no local process and no bounce
			r.rec.From = sender(from)
			r.eximHost(host, " P=", r.eximArrival)
		}
	case about:
		r.eximHost(refused, " rejected ", r.eximRefusal)
	case syntax != nil:
		r.eximHost(rest[len(syntax):], eximArgument, r.eximForbidden)
	case id != nil: // deliveries, "Completed"
	case !eximNoMail.Match(rest):
		return false
	case bytes.Contains(rest, []byte(") [")): // it has a greeting
		r.st.Skipped[SkippedNoMail]++
	}
	return true
}

// isEximID reports whether b can be a message ID: 6-6-2 characters of base 62, or since Exim 4.97
// 6-11-4. It starts with the time, whose first character is a digit until 2260. A date is shorter.
func isEximID(b []byte) bool {
	return len(b) > len(time.DateOnly) && len(b) < 32 && b[0] <= '9' && isWord(b) &&
		bytes.Count(b, []byte("-")) == 2
}

// eximNoMail matches the start of lines about lost connections, protocol errors and failed logins
// of clients that never sent MAIL.
var eximNoMail = regexp.MustCompile(`^(no MAIL in |SMTP (connection|call) from |SMTP protocol |` +
	`SMTP syntax error in |SMTP command timeout |SMTP data timeout |unexpected disconnection |` +
	`TLS error on |unqualified |Connection from |[^(]* authenticator failed for )`)

// eximArrival reads what follows the client of an accepted message. The recipients come last, after
// "for". A quoted subject, which the sender chose, can be last instead.
func (r *run) eximArrival(rest []byte) bool {
	proto := eximField(rest, " P=")
	if bytes.HasPrefix(proto, []byte("local")) || bytes.HasPrefix(proto, []byte("lmtp")) {
		r.st.Skipped[SkippedClient]++
		return false
	}
	rec := &r.rec
	rec.Outcome = Accepted
	if _, list, _ := cutLast(rest, []byte(" for ")); !bytes.HasSuffix(list, []byte(`"`)) {
		rec.Rcpts = addRcpts(nil, strings.Fields(string(list))...)
	}
	own := unquoted(rest)
	rec.Auth = isAuthProtocol(string(proto)) || len(eximField(own, " A=")) > 0
	if rec.Helo == "" {
		rec.Helo = literal(rec.Client)
	}
	return true
}

// eximHost reads "name (helo) [ip]:port" and its shorter forms. Exim omits the greeting if it
// equals the name, and omits the name if no PTR name resolves back. Older versions also omit a
// greeting that is the literal of the client's address: then Helo stays "".
//
// A greeting may hold any octet. So a line is ambiguous, and counts as broken, if the address of
// another client stands before the last mark. That search ignores quoted strings, such as a subject
// or a sender, unless an unpaired quote remains: it may be part of the greeting. For other lines
// eximHost calls then for the rest, and emits the record if then returns true.
func (r *run) eximHost(b []byte, mark string, then func(rest []byte) bool) {
	rec := &r.rec
	rec.PTRState = None
	if name, after := cutWord(b); !bytes.ContainsAny(name[:min(len(name), 1)], "([") {
		rec.setPTR(name, Confirmed)
		r.named = r.named || rec.PTRState == Confirmed
		rec.Helo, b = text(name), after
	}
	tail, ok := bytes.CutPrefix(b, []byte("["))
	inside, said := bytes.CutPrefix(b, []byte("("))
	if said {
		var helo []byte
		helo, tail, ok = bytes.Cut(inside, []byte(") ["))
		rec.Helo = text(helo)
	}
	ip, rest, closed := bytes.Cut(tail, []byte("]"))
	client, valid := parseAddr(ip)
	rec.Client = client
	ok = ok && closed && valid
	if said && bytes.Contains(rest, []byte(") [")) {
		known := unquoted(rest)
		if bytes.ContainsAny(known, `"\`) {
			known = rest
		}
		known, _, _ = cutLast(known, []byte(mark))
		ok = ok && !others(eximClient, known, client)
	}
	if !ok {
		r.st.Broken++
		return
	}
	_, own := cutWord(rest) // after the port: the server's own address
	switch {
	case !then(rest):
	case bytes.HasPrefix(own, []byte("I=")) && eximUsers.Match(firstField(own)):
		r.st.Skipped[SkippedSubmission]++
	default:
		r.emit(rec)
	}
}

// eximUsers matches the server's ports for submission by users (RFC 6409; RFC 8314, 3.3).
var eximUsers = regexp.MustCompile(`\]:(?:587|465)$`)

// eximClient matches the end of a greeting and an address.
var eximClient = regexp.MustCompile(`\) \[([^][]*)\]`)

// eximQuoted matches a quoted string.
var eximQuoted = regexp.MustCompile(`"(?:\\.|[^"\\])*"`)

// eximStages are the words after "rejected" in refusals that can be about the
// greeting. Other words stand for AUTH and similar commands.
var eximStages = strings.Fields("RCPT MAIL DATA EHLO HELO after during by BDAT PRDR")

// eximRefusal reads what follows the client: " F=<a> rejected RCPT <b>: why".
func (r *run) eximRefusal(rest []byte) bool {
	rec := &r.rec
	fields, words, named := r.eximSender(rest)
	before, what, refused := bytes.Cut(words, []byte(" rejected "))
	command := string(firstField(what))
	if !slices.Contains(eximStages, command) {
		if named && !refused && r.eximEnded(words) {
			return true
		}
		greeted := refused || rec.Helo != "" && rec.Helo != rec.PTR
		if greeted && command != "connection" { // refused before any greeting
			r.st.Skipped[SkippedNoMail]++
		}
		return false
	}
	if bytes.HasSuffix(before, []byte(" temporarily")) {
		rec.Outcome = Deferred
	}
	rec.Auth = len(eximField(fields, " A=")) > 0 || len(eximField(before, " A=")) > 0
	what, reason, _ := bytes.Cut(what, []byte(": "))
	rec.Reason = text(reason)
	if rcpt, ok := bytes.CutPrefix(what, []byte("RCPT")); ok {
		rec.Rcpts = addRcpts(nil, string(bytes.Trim(rcpt, " <>")))
	}
	if from, ok := bytes.CutPrefix(what, []byte("MAIL <")); ok {
		from, _ = cutUnquoted(from, '>')
		rec.From = sender(from)
	}
	if _, said, ok := bytes.Cut(what, []byte("EHLO or HELO ")); ok {
		rec.Helo = text(said)
	}
	return true
}

// eximSender reads the sender in a refusal and returns the text before and after it.
func (r *run) eximSender(rest []byte) (fields, words []byte, ok bool) {
	fields, words, ok = bytes.Cut(rest, []byte(" F=<"))
	if !ok && bytes.Contains(rest, []byte(" incomplete transaction (")) {
		fields, words, ok = bytes.Cut(rest, []byte(" from <"))
	}
	if !ok || bytes.Contains(fields, []byte(": ")) {
		return nil, rest, false
	}
	from, words := cutUnquoted(words, '>')
	r.rec.From = sender(from)
	return fields, words, true
}

// eximEnded reads what follows the sender of a message that was neither rejected nor accepted:
// "> discarded RCPT <b>", "> for b". It returns false if no recipient was left: then earlier lines
// report the refusals.
func (r *run) eximEnded(words []byte) bool {
	list, lost := bytes.CutPrefix(words, []byte("> for "))
	if !lost {
		_, list, _ = bytes.Cut(words, []byte("RCPT <"))
		list, _ = cutUnquoted(list, '>')
	}
	r.rec.Outcome, r.rec.Rcpts = "", addRcpts(nil, strings.Fields(string(list))...)
	return lost || len(words) > len(">")
}

// eximSyntax matches the start of lines about a syntactically invalid greeting. eximArgument is the
// text before the greeting.
var eximSyntax = regexp.MustCompile(`^rejected (EHLO|HELO) from `)

const eximArgument = "argument(s): "

// eximForbidden reads what follows the client: ": syntactically invalid argument(s): helo".
func (r *run) eximForbidden(rest []byte) bool {
	_, helo, ok := bytes.Cut(rest, []byte(eximArgument))
	if !ok {
		r.st.Broken++
	}
	r.rec.Reason = "syntactically invalid argument"
	r.rec.Helo = text(bytes.TrimPrefix(helo, []byte("(no argument given)")))
	return ok
}

// cutUnquoted cuts b before the first octet end that is not in a quoted string.
func cutUnquoted(b []byte, end byte) (before, after []byte) {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == end && !quoted:
			return b[:i], b[i:]
		}
	}
	return b, nil
}

// unquoted returns b without its quoted strings.
func unquoted(b []byte) []byte {
	if bytes.IndexByte(b, '"') < 0 {
		return b
	}
	return eximQuoted.ReplaceAll(b, nil)
}

// eximField returns the value after a name such as " P=", or nil if there is none.
func eximField(b []byte, name string) []byte {
	_, value, _ := bytes.Cut(b, []byte(name))
	return firstField(value)
}
