package replay

import (
	"bytes"
	"time"
)

// postfixLine is a line in which Postfix names the greeting. It does so only
// for refusals and warnings:
//
//	ID: reject: RCPT from name[ip]: 504 5.5.2 why; from=<a> to=<b> proto=ESMTP helo=<c>
//	ID: warning: header Subject: x from name[ip]; from=<a> to=<b> proto=ESMTP helo=<c>: why
//
// with NOQUEUE for ID before a message is taken. A warning is followed by the
// answer: a refusal with the same names, or "ID: client=name[ip]".
type postfixLine struct {
	who, id, action, stage []byte
	client, why            []byte
	rcpt, helo, user       []byte
	content                bool // about a message that is taken in, not about a command
}

// parse takes "ID: action: text" apart from both ends, since words of others
// stand in its middle.
func (l *postfixLine) parse(who, id, action, msg []byte) bool {
	*l = postfixLine{who: who, id: id, action: action}
	i := bytes.LastIndex(msg, []byte(" proto="))
	if i < 0 {
		return false
	}
	for _, kind := range []string{"header ", "body ", "mime-header ", "nested-header "} {
		l.content = l.content || bytes.HasPrefix(msg, []byte(kind))
	}
	if !l.parseTail(msg[i+1:]) {
		return false
	}
	// postscreen puts commas between the names, smtpd does not.
	body := bytes.TrimRight(msg[:i], ";,")
	if j := bytes.LastIndex(msg[:i], []byte("; from=<")); j >= 0 {
		if k := bytes.LastIndex(msg[:i], []byte(" to=<")); k > j {
			l.rcpt = bytes.TrimRight(msg[k+len(" to=<"):i], ">,")
		}
		body = msg[:j]
	}
	return l.parseBody(body)
}

// parseTail reads "proto=ESMTP helo=<c>" and what follows it.
func (l *postfixLine) parseTail(b []byte) bool {
	_, b, ok := bytes.Cut(b, []byte("helo=<"))
	if !ok {
		return false
	}
	if l.content {
		if i := bytes.Index(b, []byte(">: ")); i >= 0 {
			b, l.why = b[:i+1], b[i+3:]
		}
	}
	if i := bytes.Index(b, []byte("> sasl_username=<")); i >= 0 {
		l.user = b[i+len("> sasl_username=<"):]
		b = b[:i+1]
	}
	l.helo, ok = bytes.CutSuffix(b, []byte(">"))
	return ok
}

// parseBody reads "RCPT from name[ip]: why" or "header text from name[ip]".
func (l *postfixLine) parseBody(b []byte) bool {
	from := []byte(" from ")
	if l.content {
		i := bytes.LastIndex(b, from)
		if i < 0 {
			return false
		}
		l.client = b[i+len(from):]
		return true
	}
	var ok bool
	if l.stage, b, ok = bytes.Cut(b, from); !ok {
		return false
	}
	l.client, l.why, ok = bytes.Cut(b, []byte(": "))
	return ok
}

// postfixGreeting reads a line that names a greeting.
func (r *run) postfixGreeting(at time.Time, l *postfixLine) {
	rec := &r.rec
	*rec = Record{
		Time: at, Helo: text(l.helo), Rcpt: text(l.rcpt), Count: 1, Auth: len(l.user) > 0,
	}
	if !r.postfixClient(rec, l.who, l.client) {
		return
	}
	switch {
	case string(l.action) == "reject" || string(l.action) == "milter-reject":
		rec.Outcome, rec.Reason = postfixAnswer(l.why), text(l.why)
		r.postfixRefused(l)
	case string(l.id) != "NOQUEUE": // one recipient at least was taken
		r.postfixTaken(l)
	default:
		r.postfixWarned(l)
	}
}

// postfixClient reads "name[ip]" or postscreen's "[ip]:port".
func (r *run) postfixClient(rec *Record, who, client []byte) bool {
	i := bytes.LastIndexByte(client, '[')
	j := bytes.LastIndexByte(client, ']')
	if i < 0 || j < i {
		r.st.Broken++
		return false
	}
	addr, ok := parseAddr(client[i : j+1])
	if !ok {
		return false // a local socket, or a client that was gone at once
	}
	rec.Client = addr
	name := client[:i]
	switch {
	case len(name) == 0:
	case string(name) != "unknown":
		rec.PTR, rec.PTRState = text(name), Confirmed
	default:
		rec.PTRState = None
		if note := r.ptrs.slot(who); note.client == addr {
			rec.PTR, rec.PTRState = note.name, note.state
		}
	}
	return true
}

// postfixAnswer tells the kind of "504 5.5.2 why" or a milter's "4.7.1 why".
func postfixAnswer(why []byte) string {
	if len(why) > 0 && why[0] == '4' {
		return TempFail
	}
	return Refuse
}

// postfixEvent reads any line of Postfix.
func (r *run) postfixEvent(e *entry) {
	who, msg := e.split()
	id, rest, ok := bytes.Cut(msg[:min(len(msg), 64)], []byte(": "))
	switch {
	case !ok || bytes.IndexByte(id, ' ') >= 0:
		r.postfixConnection(who, id)
		return
	case string(id) == "warning":
		r.postfixNote(who, msg)
		return
	case bytes.HasPrefix(rest, []byte("client=")):
		if !r.warned.empty() || bytes.Contains(msg, []byte(" sasl_username=")) {
			r.postfixAccepted(who, id, msg)
		}
		return
	case bytes.HasPrefix(rest, []byte("from=<")):
		if !r.queued.empty() && bytes.HasSuffix(msg, []byte(" (queue active)")) {
			r.postfixActive(who, id)
		}
		return
	}
	action, _, ok := bytes.Cut(rest, []byte(": "))
	if !ok || bytes.IndexByte(action, '=') >= 0 || !bytes.Contains(msg, markHelo) {
		return
	}
	r.seen[byPostfix] = true
	if l := &r.postfix; l.parse(who, id, action, msg[len(id)+len(action)+4:]) {
		r.postfixGreeting(e.at, l)
	} else {
		r.st.Broken++
	}
}

// postfixConnection notes that a client came or went: what it was warned of
// before has no answer.
func (r *run) postfixConnection(who, msg []byte) {
	if r.warned.empty() || !bytes.Contains(msg, []byte("connect from ")) {
		return
	}
	if h := r.warned.get(keyOf(who, nil)); h != nil {
		r.warned.done(h)
	}
}

// postfixNote reads "warning: hostname n does not resolve to address a", which
// Postfix writes before it calls the client unknown. A reason after it means
// that the look-up failed, and a failed look-up proves nothing.
func (r *run) postfixNote(who, msg []byte) {
	msg, ok := bytes.CutPrefix(msg, []byte("warning: hostname "))
	if !ok {
		return
	}
	name, rest, ok := bytes.Cut(msg, []byte(" does not resolve to address "))
	ip, why, failed := bytes.Cut(rest, []byte(": "))
	addr, good := parseAddr(ip)
	if !ok || !good || len(name) == 0 {
		return
	}
	note := ptrNote{client: addr, name: text(name), state: Unconfirmed}
	if failed && !bytes.Contains(why, []byte("not known")) {
		note.state = NotRecorded
	}
	*r.ptrs.slot(who) = note
}
