package replay

import (
	"bytes"
	"regexp"
)

// eximEvent reads a line that has the form of Exim's main log; false for others.
//
//	1abc-0002-XX <= a@example.net H=name (helo) [ip]:port P=esmtpsa A=plain:user for b@example.org
//	H=(helo) [ip] F=<a@example.net> rejected RCPT <b@example.org>: why
//	rejected EHLO from [ip]: syntactically invalid argument(s): helo
//	no MAIL in SMTP connection from name (helo) [ip] D=0.1s C=EHLO,QUIT
//
// Delivery lines ("=>", "**") have H= as well, for the server mail went to.
func (r *run) eximEvent(e *entry) bool {
	id, rest := cutWord(e.msg)
	if !isEximID(id) || rest == nil {
		id, rest = nil, e.msg
	}
	r.rec = Record{Time: e.at, Server: e.host, MsgID: text(id), Outcome: Rejected}
	arrived, taken := bytes.CutPrefix(rest, []byte("<= "))
	host, about := bytes.CutPrefix(rest, []byte("H="))
	switch {
	case taken && id != nil:
		r.eximArrival(arrived)
	case about:
		r.eximRefusal(host)
	case bytes.HasPrefix(rest, []byte("rejected EHLO from ")),
		bytes.HasPrefix(rest, []byte("rejected HELO from ")):
		r.eximSyntax(rest[len("rejected EHLO from "):])
	case id != nil: // deliveries, "Completed"
	case !eximNoMail.Match(rest):
		return false
	case bytes.Contains(rest, []byte(") [")): // it names a greeting
		r.st.Skipped[SkippedNoMail]++
	}
	return true
}

// isEximID reports whether b is a message ID: 6-6-2 characters of base 62, or
// since Exim 4.97 6-11-4.
func isEximID(b []byte) bool {
	n := 0
	for part := range bytes.SplitSeq(b, []byte("-")) {
		if n++; len(part) < 2 || len(part) > 11 || !isWord(part) || bytes.IndexByte(part, '_') >= 0 {
			return false
		}
	}
	return n == 3
}

// eximNoMail are the starts of lines about lost connections, protocol errors and failed logins:
// clients that never named a sender.
var eximNoMail = regexp.MustCompile(`^(no MAIL in |SMTP (connection|call) from |SMTP protocol |` +
	`SMTP syntax error in |SMTP command timeout |SMTP data timeout |unexpected disconnection |` +
	`TLS error on |unqualified |Connection from |[^(]* authenticator failed for )`)

// eximArrival reads what follows "<=" for a message that was taken.
func (r *run) eximArrival(b []byte) {
	from, host, ok := bytes.Cut(b, []byte(" H="))
	if !ok {
		return // from a local process, or a bounce
	}
	rest, ok := r.eximHost(host)
	if !ok {
		r.st.Broken++
		return
	}
	// What a sender chose, the subject, comes after these.
	proto := eximField(rest, " P=")
	if bytes.HasPrefix(proto, []byte("local")) || bytes.HasPrefix(proto, []byte("lmtp")) {
		r.st.Skipped[SkippedClient]++
		return
	}
	rec := &r.rec
	rec.Outcome, rec.From, rec.Rcpts = Accepted, sender(firstField(from)), eximRcpts(rest)
	rec.Auth = isAuthProtocol(string(proto)) || len(eximField(rest, " A=")) > 0
	if rec.Helo == "" {
		rec.Helo = literal(rec.Client)
	}
	r.eximEmit(rest)
}

// eximEmit hands out the record unless users came in through that port.
func (r *run) eximEmit(rest []byte) {
	own := eximField(rest, " I=")
	if bytes.HasSuffix(own, []byte("]:587")) || bytes.HasSuffix(own, []byte("]:465")) {
		r.st.Skipped[SkippedSubmission]++
		return
	}
	r.emit(&r.rec)
}

// eximRcpts returns the recipients, which stand last on the line after "for".
// The subject, in quotes, may hold such words as well.
func eximRcpts(b []byte) (rcpts []string) {
	_, list, _ := cutLast(b, []byte(" for "))
	if bytes.HasSuffix(list, []byte(`"`)) {
		return nil
	}
	for rcpt := range bytes.FieldsSeq(list) {
		if len(rcpts) < maxRcpts {
			rcpts = append(rcpts, text(rcpt))
		}
	}
	return rcpts
}

// eximHost reads "name (helo) [ip]:port" and its shorter forms. Exim leaves
// the greeting out when it equals the name, and the name when the address has
// none that resolves back. Older versions leave out a literal of the client's
// own address as well: Helo stays "" then.
//
// A greeting may hold any octet. One that could be read in two ways is not ok.
func (r *run) eximHost(b []byte) (rest []byte, ok bool) {
	rec := &r.rec
	rec.PTRState = None
	if name, after := cutWord(b); len(name) > 0 && name[0] != '(' && name[0] != '[' {
		rec.setPTR(name, Confirmed)
		r.named = r.named || rec.PTRState == Confirmed
		rec.Helo, b = text(name), after
	}
	inside, said := bytes.CutPrefix(b, []byte("("))
	if said {
		helo, _, named := bytes.Cut(inside, []byte(") ["))
		if !named {
			return nil, false
		}
		rec.Helo, b = text(helo), inside[len(helo)+len(") "):]
	}
	ip, rest, closed := bytes.Cut(b, []byte("]"))
	if !closed || !bytes.HasPrefix(ip, []byte("[")) {
		return nil, false
	}
	rec.Client, ok = parseAddr(ip)
	for _, other := range eximClient.FindAllSubmatch(rest, -1) {
		client, named := parseAddr(other[1])
		ok = ok && (!said || !named || client == rec.Client)
	}
	return rest, ok
}

// eximClient is the end of a greeting and an address.
var eximClient = regexp.MustCompile(`\) \[([^][]*)\]`)

// eximStages are the words behind "rejected" of refusals that can be about the
// greeting. Others are of AUTH and the like.
var eximStages = map[string]bool{
	"RCPT": true, "MAIL": true, "DATA": true, "EHLO": true, "HELO": true, "after": true,
	"during": true, "by": true, "BDAT": true, "PRDR": true,
}

// eximRefusal reads "(helo) [ip] F=<a> rejected RCPT <b>: why".
func (r *run) eximRefusal(host []byte) {
	rec := &r.rec
	rest, ok := r.eximHost(host)
	before, what, refused := bytes.Cut(rest, []byte(" rejected "))
	command := string(firstField(what))
	switch {
	case !ok:
		r.st.Broken++
		return
	case command == "connection": // before any greeting
		return
	case !eximStages[command]:
		if refused || rec.Helo != "" && rec.Helo != rec.PTR {
			r.st.Skipped[SkippedNoMail]++
		}
		return
	}
	if bytes.HasSuffix(before, []byte(" temporarily")) {
		rec.Outcome = Deferred
	}
	rec.Auth = len(eximField(before, " A=")) > 0
	rec.From = sender(eximField(before, " F="))
	what, reason, _ := bytes.Cut(what, []byte(": "))
	rec.Reason = text(reason)
	if rcpt, ok := bytes.CutPrefix(what, []byte("RCPT")); ok {
		if rcpt = bytes.Trim(rcpt, " <>"); len(rcpt) > 0 {
			rec.Rcpts = []string{text(rcpt)}
		}
	}
	if _, said, ok := bytes.Cut(what, []byte("EHLO or HELO ")); ok {
		rec.Helo = text(said)
	}
	r.eximEmit(before)
}

// eximSyntax reads "[ip]:port I=[ip]:25: syntactically invalid argument(s): helo".
func (r *run) eximSyntax(b []byte) {
	why, helo, ok := bytes.Cut(b, []byte("argument(s): "))
	rest, good := r.eximHost(why)
	if !ok || !good {
		r.st.Broken++
		return
	}
	r.rec.Reason, r.rec.Helo = "syntactically invalid argument", text(helo)
	if string(helo) == "(no argument given)" {
		r.rec.Helo = ""
	}
	r.eximEmit(rest)
}

// eximField returns the value after a name such as " P=".
func eximField(b []byte, name string) []byte {
	_, value, ok := bytes.Cut(b, []byte(name))
	if !ok {
		return nil
	}
	return firstField(value)
}
