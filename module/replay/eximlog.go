package replay

import "bytes"

// eximEvent reads a line of Exim's main log about a client:
//
//	1abc-0002-XX <= a@example.net H=name (helo) [ip]:port P=esmtpsa A=plain:user for b@example.org
//	H=(helo) [ip] F=<a@example.net> rejected RCPT <b@example.org>: why
//	rejected EHLO from [ip]: syntactically invalid argument(s): helo
//
// Delivery lines ("=>", "**") have H= as well, for the server mail went to.
func (r *run) eximEvent(e *entry) {
	if i := bytes.Index(e.msg, []byte(" <= ")); i >= 0 && i < 96 {
		r.eximArrival(e, e.msg[i+len(" <= "):])
		return
	}
	if bytes.Contains(e.msg, []byte("SMTP protocol ")) {
		return
	}
	i := bytes.Index(e.msg, markRejected)
	if i < 0 || i > 0 && e.msg[i-1] != ' ' {
		return
	}
	before, what := e.msg[:i], e.msg[i+len(markRejected):]
	if bytes.HasPrefix(what, []byte("EHLO from ")) || bytes.HasPrefix(what, []byte("HELO from ")) {
		r.eximSyntax(e, what[len("EHLO from "):])
		return
	}
	r.eximRefusal(e, before, what)
}

// eximArrival reads what follows "<=" for a message that was taken.
func (r *run) eximArrival(e *entry, b []byte) {
	_, host, ok := bytes.Cut(b, []byte(" H="))
	if !ok {
		return // from a local process, or a bounce
	}
	r.seen[byExim] = true
	rec := &r.rec
	*rec = Record{Time: e.at, Count: 1, Outcome: Accept}
	rest, ok := rec.eximHost(host)
	if !ok {
		r.st.Broken++
		return
	}
	// What a sender chose, the subject, comes after these.
	proto := eximField(rest, " P=")
	if bytes.HasPrefix(proto, []byte("local")) || bytes.HasPrefix(proto, []byte("lmtp")) {
		return
	}
	rec.Auth = bytes.HasPrefix(proto, []byte("e")) && bytes.HasSuffix(proto, []byte("a")) ||
		len(eximField(rest, " A=")) > 0
	if rec.Helo == "" {
		rec.Helo = literal(rec.Client)
	}
	if i := bytes.LastIndex(rest, []byte("> for ")); i >= 0 {
		rec.Rcpt = text(firstField(rest[i+len("> for "):]))
	}
	r.emit(rec)
}

// eximHost reads "name (helo) [ip]:port" and its shorter forms. Exim leaves
// the greeting out when it equals the name, and the name when the address has
// none that resolves back. Older versions leave out a literal of the client's
// own address as well: Helo stays "" then.
func (rec *Record) eximHost(b []byte) (rest []byte, ok bool) {
	if len(b) > 0 && b[0] != '(' && b[0] != '[' {
		i := bytes.IndexByte(b, ' ')
		if i <= 0 {
			return nil, false
		}
		rec.PTR, rec.PTRState = text(b[:i]), Confirmed
		rec.Helo = rec.PTR
		b = b[i+1:]
	} else {
		rec.PTRState = None
	}
	if len(b) > 0 && b[0] == '(' {
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
	return b[end+1:], ok
}

// eximRefusal reads "H=(helo) [ip] F=<a> rejected RCPT <b>: why".
func (r *run) eximRefusal(e *entry, before, what []byte) {
	i := bytes.LastIndex(before, markHost)
	if i < 0 || i > 0 && before[i-1] != ' ' {
		return
	}
	command := string(firstField(what))
	switch command {
	case "RCPT", "MAIL", "DATA", "EHLO", "HELO", "after", "during", "by":
	default:
		return // of a connection before the greeting, or of AUTH and the like
	}
	r.seen[byExim] = true
	rec := &r.rec
	*rec = Record{Time: e.at, Count: 1, Outcome: Refuse}
	rest, ok := rec.eximHost(before[i+len(markHost):])
	if !ok {
		r.st.Broken++
		return
	}
	if bytes.HasSuffix(before, []byte("temporarily ")) {
		rec.Outcome = TempFail
	}
	rec.Auth = len(eximField(rest, " A=")) > 0
	if j := bytes.Index(what, []byte(": ")); j >= 0 {
		rec.Reason = text(what[j+2:])
		what = what[:j]
	}
	switch command {
	case "RCPT":
		rec.Rcpt = text(bytes.Trim(what[len("RCPT"):], " <>"))
	case "EHLO", "HELO":
		if said, ok := bytes.CutPrefix(what, []byte("EHLO or HELO ")); ok {
			rec.Helo = text(said)
		}
	}
	r.emit(rec)
}

// eximSyntax reads "[ip]:port I=[ip]:25: syntactically invalid argument(s): helo".
func (r *run) eximSyntax(e *entry, b []byte) {
	r.seen[byExim] = true
	why, helo, ok := bytes.Cut(b, []byte("argument(s): "))
	rec := &r.rec
	*rec = Record{Time: e.at, Count: 1, Outcome: Refuse, Reason: "syntactically invalid argument"}
	_, good := rec.eximHost(why)
	if !ok || !good {
		r.st.Broken++
		return
	}
	rec.Helo = text(helo)
	r.emit(rec)
}

// eximField returns the value after a name such as " P=".
func eximField(b []byte, name string) []byte {
	_, value, ok := bytes.Cut(b, []byte(name))
	if !ok {
		return nil
	}
	return firstField(value)
}

func firstField(b []byte) []byte {
	if i := bytes.IndexByte(b, ' '); i >= 0 {
		return b[:i]
	}
	return b
}
