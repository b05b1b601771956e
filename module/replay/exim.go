package replay

import "bytes"

// eximEvent reads a line that has the form of Exim's main log; false for others.
//
//	1abc-0002-XX <= a@example.net H=name (helo) [ip]:port P=esmtpsa A=plain:user for b@example.org
//	H=(helo) [ip] F=<a@example.net> rejected RCPT <b@example.org>: why
//	rejected EHLO from [ip]: syntactically invalid argument(s): helo
//	no MAIL in SMTP connection from name (helo) [ip] D=0.1s C=EHLO,QUIT
//
// Delivery lines ("=>", "**") have H= as well, for the server mail went to.
func (r *run) eximEvent(e *entry) bool {
	id, rest := []byte(nil), e.msg
	if word := firstField(e.msg); isEximID(word) && len(word) < len(e.msg) {
		id, rest = word, e.msg[len(word)+1:]
	}
	if arrived, ok := bytes.CutPrefix(rest, []byte("<= ")); ok && id != nil {
		r.seen[byExim] = true
		r.eximArrival(e, id, arrived)
		return true
	}
	if what, ok := bytes.CutPrefix(rest, markRejected); ok {
		if bytes.HasPrefix(what, []byte("EHLO from ")) || bytes.HasPrefix(what, []byte("HELO from ")) {
			r.seen[byExim] = true
			r.eximSyntax(e, what[len("EHLO from "):])
			return true
		}
		return false
	}
	if bytes.HasPrefix(rest, markHost) {
		r.eximRefusal(e, id, rest[len(markHost):])
		return true
	}
	if id != nil { // deliveries, "Completed"
		r.seen[byExim] = true
		return true
	}
	return r.eximConnection(e)
}

// isEximID reports whether b is a message ID: 6-6-2 characters of base 62, or
// since Exim 4.97 6-11-4.
func isEximID(b []byte) bool {
	n := 0
	for part := range bytes.SplitSeq(b, []byte("-")) {
		for _, c := range part {
			if !isLetter(c) && (c < '0' || c > '9') {
				return false
			}
		}
		if n++; len(part) < 2 || len(part) > 11 {
			return false
		}
	}
	return n == 3
}

// eximConnection counts the greeting of a client that never named a sender, as
// lines about lost connections, failed logins and protocol errors tell of it.
func (r *run) eximConnection(e *entry) bool {
	words := []string{
		"no MAIL in ", "SMTP connection from ", "SMTP call from ", "SMTP protocol ",
		"SMTP syntax error in ", "SMTP command timeout ", "unexpected disconnection ",
		"TLS error on ", "SMTP data timeout ", "unqualified ", "Connection from ",
	}
	known := bytes.Contains(e.msg[:min(len(e.msg), 80)], []byte(" authenticator failed for "))
	for _, w := range words {
		known = known || bytes.HasPrefix(e.msg, []byte(w))
	}
	if known {
		r.seen[byExim] = true
		if bytes.Contains(e.msg, []byte(") [")) {
			r.st.Skipped[SkippedNoMail]++
		}
	}
	return known
}

// eximArrival reads what follows "<=" for a message that was taken.
func (r *run) eximArrival(e *entry, id, b []byte) {
	from, host, ok := bytes.Cut(b, []byte(" H="))
	if !ok {
		return // from a local process, or a bounce
	}
	rec := &r.rec
	*rec = Record{
		Time: e.at, Server: e.host, From: text(firstField(from)), MsgID: text(id), Count: 1,
		Outcome: Accepted,
	}
	rest, ok := r.eximHost(rec, host)
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
	rec.Auth = bytes.HasPrefix(proto, []byte("e")) && bytes.HasSuffix(proto, []byte("a")) ||
		bytes.HasPrefix(proto, []byte("asmtp")) || len(eximField(rest, " A=")) > 0
	if rec.Helo == "" {
		rec.Helo = literal(rec.Client)
	}
	rec.Rcpts = eximRcpts(rest)
	r.eximEmit(rest)
}

// eximEmit hands out the record unless users came in through that port.
func (r *run) eximEmit(rest []byte) {
	if own := eximField(rest, " I="); bytes.HasSuffix(own, []byte("]:587")) ||
		bytes.HasSuffix(own, []byte("]:465")) {
		r.st.Skipped[SkippedSubmission]++
		return
	}
	r.emit(&r.rec)
}

// eximRcpts returns the recipients, which stand last on the line after "for".
// The subject, in quotes, may hold such words as well.
func eximRcpts(b []byte) (rcpts []string) {
	i := bytes.LastIndex(b, []byte(" for "))
	if i < 0 || b[len(b)-1] == '"' {
		return nil
	}
	list := b[i+len(" for "):]
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
//
//nolint:cyclop // one case a form of H=
func (r *run) eximHost(rec *Record, b []byte) (rest []byte, ok bool) {
	rec.PTRState = None
	if len(b) > 0 && b[0] != '(' && b[0] != '[' {
		i := bytes.IndexByte(b, ' ')
		if i <= 0 {
			return nil, false
		}
		rec.setPTR(b[:i], Confirmed)
		r.named = r.named || rec.PTRState == Confirmed
		rec.Helo = text(b[:i])
		b = b[i+1:]
	}
	said := len(b) > 0 && b[0] == '('
	if said {
		i := bytes.Index(b, []byte(") ["))
		if i < 0 {
			return nil, false
		}
		rec.Helo = text(b[1:i])
		b = b[i+2:]
	}
	end := bytes.IndexByte(b, ']')
	if end < 0 || b[0] != '[' {
		return nil, false
	}
	rec.Client, ok = parseAddr(b[:end+1])
	rest = b[end+1:]
	for more := rest; said && ok; {
		_, more, said = bytes.Cut(more, []byte(") ["))
		ip, _, closed := bytes.Cut(more, []byte("]"))
		if other, good := parseAddr(ip); said && closed && good && other != rec.Client {
			return nil, false
		}
	}
	return rest, ok
}

// eximRefusal reads "(helo) [ip] F=<a> rejected RCPT <b>: why".
func (r *run) eximRefusal(e *entry, id, host []byte) {
	r.seen[byExim] = true
	rec := &r.rec
	*rec = Record{Time: e.at, Server: e.host, MsgID: text(id), Count: 1, Outcome: Rejected}
	rest, ok := r.eximHost(rec, host)
	if !ok {
		r.st.Broken++
		return
	}
	i := bytes.Index(rest, markRejected)
	if i <= 0 || rest[i-1] != ' ' {
		if len(rec.Helo) > 0 && rec.Helo != rec.PTR {
			r.st.Skipped[SkippedNoMail]++
		}
		return
	}
	before, what := rest[:i], rest[i+len(markRejected):]
	command := string(firstField(what))
	switch command {
	case "RCPT", "MAIL", "DATA", "EHLO", "HELO", "after", "during", "by", "BDAT", "PRDR":
	case "connection": // before any greeting
		return
	default: // of AUTH and the like
		r.st.Skipped[SkippedNoMail]++
		return
	}
	if bytes.HasSuffix(before, []byte("temporarily ")) {
		rec.Outcome = Deferred
	}
	rec.Auth = len(eximField(before, " A=")) > 0
	rec.From = senderOf(eximField(before, " F="))
	if j := bytes.Index(what, []byte(": ")); j >= 0 {
		rec.Reason = text(what[j+2:])
		what = what[:j]
	}
	switch command {
	case "RCPT":
		if rcpt := bytes.Trim(what[len("RCPT"):], " <>"); len(rcpt) > 0 {
			rec.Rcpts = []string{text(rcpt)}
		}
	case "EHLO", "HELO":
		if said, ok := bytes.CutPrefix(what, []byte("EHLO or HELO ")); ok {
			rec.Helo = text(said)
		}
	}
	r.eximEmit(before)
}

// senderOf takes the angle brackets off a sender's address.
func senderOf(b []byte) string {
	if string(b) == NullSender {
		return NullSender
	}
	return text(bytes.Trim(b, "<>"))
}

// eximSyntax reads "[ip]:port I=[ip]:25: syntactically invalid argument(s): helo".
func (r *run) eximSyntax(e *entry, b []byte) {
	why, helo, ok := bytes.Cut(b, []byte("argument(s): "))
	rec := &r.rec
	*rec = Record{
		Time: e.at, Server: e.host, Count: 1, Outcome: Rejected,
		Reason: "syntactically invalid argument",
	}
	rest, good := r.eximHost(rec, why)
	if !ok || !good {
		r.st.Broken++
		return
	}
	rec.Helo = text(helo)
	if string(helo) == "(no argument given)" {
		rec.Helo = ""
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
