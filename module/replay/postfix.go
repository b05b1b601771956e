package replay

import (
	"bytes"
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// postfixLine is a line in which Postfix names the greeting. It does so only
// for refusals and warnings:
//
//	ID: reject: RCPT from name[ip]: 504 5.5.2 why; from=<a> to=<b> proto=ESMTP helo=<c>
//	ID: warning: header Subject: x from name[ip]; from=<a> to=<b> proto=ESMTP helo=<c>: why
//
// ID is NOQUEUE before a recipient is accepted. A warning is followed by the
// reply: a refusal with the same names, or "ID: client=name[ip]".
type postfixLine struct {
	id, action, stage, client, why []byte
	content                        bool // about a part of a message, not a command
}

var (
	markHelo = []byte("helo=<")
	markFrom = []byte(" from ")
	// contentKinds start a line about a part of a message.
	contentKinds = strings.Fields("header body mime-header nested-header")
)

// parse splits words from both ends, since the middle can be text of the sender. It returns
// false if it cannot. postscreen puts commas between the names, smtpd does not.
func (l *postfixLine) parse(words []byte, rec *Record) bool {
	body, tail, ok := cutLast(words, []byte(" proto="))
	_, tail, named := bytes.Cut(tail, markHelo)
	l.content = slices.Contains(contentKinds, string(firstField(body)))
	if i := bytes.Index(tail, []byte(">: ")); i >= 0 && l.content {
		tail, l.why = tail[:i+1], tail[i+3:]
	}
	if i := bytes.Index(tail, []byte("> sasl_")); i >= 0 {
		tail, rec.Auth = tail[:i+1], true
	}
	helo, closed := bytes.CutSuffix(tail, []byte(">"))
	ok = ok && named && closed
	mark := []byte("; from=<")
	body, names, _ := cutLast(bytes.TrimRight(body, ";,"), mark)
	from, to, _ := cutLast(names, []byte(" to=<"))
	if l.content {
		// If there is a second mark, the sender may have written one.
		_, l.client, named = cutLast(body, markFrom)
		ok = ok && named && !bytes.Contains(body, mark)
	} else {
		l.stage, body, named = bytes.Cut(body, markFrom)
		l.client, l.why, closed = bytes.Cut(body, []byte(": "))
		ok = ok && named && closed
	}
	rec.Helo = text(helo)
	rec.From = sender(bytes.TrimSuffix(bytes.TrimRight(from, ","), []byte(">")))
	rec.Rcpts = addRcpts(nil, string(bytes.TrimRight(to, ">,")))
	return ok
}

func cutLast(b, sep []byte) (before, after []byte, found bool) {
	i := bytes.LastIndex(b, sep)
	if i < 0 {
		return b, nil, false
	}
	return b[:i], b[i+len(sep):], true
}

// postfixEvent reads a line in the form of Postfix. It returns false for other lines.
func (r *run) postfixEvent(e *entry) bool {
	program, daemon := e.program()
	if bytes.Contains(program, []byte("policy")) && bytes.Contains(e.msg, []byte("client-ip=")) {
		r.policyEvent(e)
		return true
	}
	id, _, ok := bytes.Cut(e.msg[:min(len(e.msg), 64)], []byte(": "))
	if !ok || bytes.IndexByte(id, ' ') >= 0 {
		// At (dis)connect, a warning that this process has logged gets no reply any more.
		if _, client, ok := bytes.Cut(e.msg, []byte("connect from ")); ok && daemon {
			r.splitClient(firstField(client))
			r.done(keyOf(e.who, nil))
		}
		return daemon && !bytes.Contains(e.msg, markHelo)
	}
	rest := e.msg[len(id)+2:]
	client, accepted := bytes.CutPrefix(rest, []byte("client="))
	switch {
	case !daemon:
		return r.postfixNamed(e, id, rest, program, daemon)
	case string(id) == "warning":
		return r.postfixNote(e)
	case accepted:
		r.postfixAccepted(e, id, client, program)
	case bytes.HasPrefix(rest, []byte("from=<")):
		h := r.held[keyOf(e.host, id)]
		if h != nil && bytes.HasSuffix(rest, []byte(" (queue active)")) {
			h.rec.Outcome = Accepted
			r.done(h.key)
		}
	default:
		return r.postfixNamed(e, id, rest, program, daemon)
	}
	return true
}

// postfixNamed reads a line that names a greeting. Lines of deliveries quote other servers.
func (r *run) postfixNamed(e *entry, id, rest, program []byte, daemon bool) bool {
	action, words, ok := bytes.Cut(rest, []byte(": "))
	form := ok && isWord(action) && isWord(id) && bytes.Contains(e.msg, markHelo)
	proto := bytes.Contains(rest, []byte(" proto="))
	if !form || !daemon && !proto {
		return daemon && !proto
	}
	r.rec = Record{Time: e.at, Server: e.host, Count: e.times}
	l := postfixLine{id: id, action: action}
	switch {
	case !l.parse(words, &r.rec):
		r.st.Broken++
	case isSubmission(program):
		r.st.Skipped[SkippedSubmission]++
	case !l.content && !slices.Contains(mailStages, string(firstField(l.stage))):
		r.st.Skipped[SkippedNoMail]++
	case r.postfixClient(&r.rec, e.who, l.client):
		r.postfixGreeting(e, &l)
	}
	return true
}

// daemons are the programs of Postfix, the common ones first.
var daemons = strings.Fields(`smtpd cleanup qmgr smtp lmtp postscreen anvil bounce discard dnsblog
	error flush local master oqmgr pickup pipe postfix-script proxymap qmqpd relay retry scache showq
	tlsmgr tlsproxy trivial-rewrite verify virtual`)

// program returns the program's name in a syslog header and whether it is one of
// Postfix, "postfix/smtpd" or that of another instance, "postfix-in/smtpd".
func (e *entry) program() (name []byte, daemon bool) {
	name = e.who
	if _, rest := cutWord(name); len(rest) > 0 { // behind the host
		name = rest
	}
	name = firstField(name)
	i := bytes.LastIndexByte(name, '/')
	short, _, _ := bytes.Cut(name[i+1:], []byte("["))
	return name, i >= 0 && slices.Contains(daemons, string(short))
}

func isWord(b []byte) bool {
	for _, c := range b {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0
}

// isSubmission reports whether the service's name, such as "postfix/submission/smtpd",
// means that its clients are users, not servers (RFC 6409; RFC 8314, 3.3).
func isSubmission(program []byte) bool {
	return bytes.Contains(program, []byte("submission")) ||
		bytes.Contains(program, []byte("/587/")) || bytes.Contains(program, []byte("/465/"))
}

// mailStages are the commands at which a server's greeting can be refused. Others,
// such as AUTH, belong to no message.
var mailStages = strings.Fields("EHLO HELO MAIL RCPT DATA BDAT END-OF-MESSAGE")

// postfixGreeting records a greeting and the reply to it.
func (r *run) postfixGreeting(e *entry, l *postfixLine) {
	rec := &r.rec
	if string(l.id) != "NOQUEUE" {
		rec.MsgID = text(l.id)
	}
	switch {
	case string(l.action) == "reject" || string(l.action) == "milter-reject":
		rec.Outcome, rec.Reason = Rejected, text(l.why)
		if strings.HasPrefix(rec.Reason, "4") { // "450 4.7.1 why", a milter's "4.7.1 why"
			rec.Outcome = Deferred
		}
		r.postfixRefused(e, l)
	case rec.MsgID != "": // at least one recipient was accepted
		r.postfixTaken(e)
	default:
		// Keep the first warning until the reply.
		key := keyOf(e.who, nil)
		if h := r.held[key]; h == nil || !sameGreeting(&h.rec, rec) {
			r.hold(key, rec)
		}
	}
}

// splitClient reads "name[ip]" or postscreen's "[ip]:port".
func (r *run) splitClient(client []byte) (name []byte, addr netip.Addr, ok bool) {
	name, ip, _ := bytes.Cut(client, []byte("["))
	ip, _, ok = cutLast(ip, []byte("]"))
	if !ok || bytes.IndexByte(client, ' ') >= 0 {
		return nil, addr, false
	}
	r.named = r.named || bytes.IndexByte(name, '.') > 0
	addr, _ = parseAddr(ip)
	return name, addr, true
}

// postfixClient sets the client's address and PTR name. It returns false if there is no address.
func (r *run) postfixClient(rec *Record, who, client []byte) bool {
	name, addr, ok := r.splitClient(client)
	switch {
	case !ok:
		r.st.Broken++
		return false
	case !addr.IsValid():
		r.st.Skipped[SkippedClient]++ // a local socket, or a client that was gone at once
		return false
	case len(name) == 0:
	case string(name) != "unknown":
		rec.setPTR(name, Confirmed)
	default:
		rec.PTRState = None
		if note := r.notes[string(who)]; note.Client == addr {
			rec.PTR, rec.PTRState = note.PTR, note.PTRState
		}
	}
	rec.Client = addr
	return true
}

// resolverSaysNo matches the messages of getaddrinfo and older functions for "no such
// name" and "the name has no address" in glibc, musl, the BSDs and Solaris. Other
// messages mean that the lookup failed.
var resolverSaysNo = regexp.MustCompile(`(?i)^(` +
	`name or service( is)? not known|(host|node)name nor servname provided, or not known|` +
	`(specified )?node name or service name not known|unknown host|host not found|` +
	`name does not resolve|(host )?name has no( usable)? address|non-existent domain|` +
	`no address( associated with (host)?name)?|` +
	`address family (for (host)?name not supported|not supported for hostname))$`)

// maxNotes limits the number of processes in run.notes.
const maxNotes = 1024

// noteForms matches the warnings that Postfix writes before it calls a client unknown: the
// current form and two older ones.
var noteForms = regexp.MustCompile(`^warning: (?:` +
	`hostname (.+?) does not resolve to address ([^ ]+?)(?:: (.*))?|` +
	`([^ ]+): hostname (.+?) verification failed: (.*)|` +
	`([^ ]+): address not listed for hostname (.+))$`)

// postfixNote reads a warning about a PTR name that Postfix does not use. It returns false for
// a warning that names a greeting.
func (r *run) postfixNote(e *entry) bool {
	parts := noteForms.FindStringSubmatch(string(e.msg))
	if parts == nil {
		return !bytes.Contains(e.msg, markHelo)
	}
	addr, ok := parseAddr([]byte(cmp.Or(parts[2], parts[4], parts[7])))
	if !ok {
		return true
	}
	r.named = true // this server looks up PTR names
	name := text(cmp.Or(parts[1], parts[5], parts[8]))
	note := Record{Client: addr, PTR: name, PTRState: Unconfirmed}
	why := strings.TrimSpace(cmp.Or(parts[3], parts[6]))
	if why != "" && !resolverSaysNo.MatchString(why) {
		note.PTRState = NotRecorded
	}
	if len(r.notes) == maxNotes {
		clear(r.notes)
	}
	r.notes[string(e.who)] = note
	return true
}

// postfixRefused emits a refusal and removes the held warnings that it answers.
func (r *run) postfixRefused(e *entry, l *postfixLine) {
	rec := &r.rec
	stage := string(l.stage)
	h := r.held[keyOf(e.host, l.id)]
	switch {
	case h == nil:
	case l.content || stage == "END-OF-MESSAGE" || stage == "DATA":
		rec.Auth = rec.Auth || h.rec.Auth
		rec.Rcpts = addRcpts(h.rec.Rcpts, rec.Rcpts...)
		r.take(h.key)
	default: // a refusal of one recipient, which an earlier warning may have named
		h.rec.Rcpts = slices.DeleteFunc(h.rec.Rcpts, func(rcpt string) bool {
			return containsFold(rec.Rcpts, rcpt)
		})
		r.resize(h)
	}
	r.take(keyOf(e.host, rec.Client.AsSlice()))
	if h = r.take(keyOf(e.who, nil)); h != nil && !sameGreeting(&h.rec, rec) {
		r.emit(&h.rec)
	}
	r.emit(rec)
}

// sameGreeting reports whether the reply to b also answers the warning a: they
// have the same recipient, or a was logged before RCPT TO.
func sameGreeting(a, b *Record) bool {
	return a.Client == b.Client && (len(a.Rcpts) == 0 ||
		a.Helo == b.Helo && len(b.Rcpts) > 0 && containsFold(a.Rcpts, b.Rcpts[0]))
}

// postfixTaken records the greeting of a message with an accepted recipient.
func (r *run) postfixTaken(e *entry) {
	key, rec := keyOf(e.host, []byte(r.rec.MsgID)), &r.rec
	h := r.held[key]
	if h == nil {
		r.hold(key, rec)
		// The line "client=" before has counted this message in NoGreeting.
		if !rec.Auth && r.st.NoGreeting > 0 {
			r.st.NoGreeting--
		}
		return
	}
	if h.rec.Helo == "" {
		rec.Auth = h.rec.Auth
		h.rec = *rec
	}
	r.add(h, rec.Rcpts)
}

// postfixAccepted reads what follows "ID: client=", "name[ip], sasl_username=u": the
// first recipient of a message was accepted.
func (r *run) postfixAccepted(e *entry, id, client, program []byte) {
	client, more, _ := bytes.Cut(client, []byte(", "))
	_, addr, _ := r.splitClient(client)
	rec := &r.rec
	*rec = Record{}
	if h := r.take(keyOf(e.who, nil)); h != nil {
		*rec = h.rec
	}
	if !addr.IsValid() || isSubmission(program) {
		return
	}
	h := r.take(keyOf(e.host, addr.AsSlice()))
	if h != nil && rec.Helo == "" && r.postfixClient(&h.rec, e.who, client) {
		*rec = h.rec
	}
	rec.Auth = rec.Auth || bytes.Contains(more, []byte("sasl_"))
	if rec.Helo == "" && !rec.Auth {
		// Filters return mail from a loopback address, or with the original client.
		if !addr.IsLoopback() && !bytes.Contains(more, []byte("orig_")) {
			r.st.NoGreeting++
		}
		return
	}
	rec.MsgID = text(id)
	key := keyOf(e.host, id)
	r.take(key)
	r.hold(key, rec)
}

// policyNames matches the names and values that policy servers write, in any order.
var policyNames = regexp.MustCompile(`(?:^|[ ;])(client-ip|helo|envelope-from|receiver)=([^ ;]*)`)

// policyEvent reads what SPF policy servers of Postfix write:
//
//	prepend Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=192.0.2.7; helo=c; receiver=b
//
// These lines have no queue ID. The next "client=" line of that address on the
// same host is about this message.
func (r *run) policyEvent(e *entry) {
	got := make(map[string]string)
	for _, parts := range policyNames.FindAllStringSubmatch(string(e.msg), -1) {
		name, value := parts[1], text(strings.Trim(parts[2], `"`))
		if earlier, twice := got[name]; twice && earlier != value {
			name, value = "client-ip", "unclear" // a sender's address may hold such words
		}
		got[name] = value
	}
	if got["client-ip"] == "" || got["helo"] == "" {
		return
	}
	addr, ok := parseAddr([]byte(got["client-ip"]))
	if !ok {
		r.st.Broken++
		return
	}
	rec := Record{Time: e.at, Server: e.host, Helo: got["helo"], Client: addr}
	rec.From = got["envelope-from"]
	if to := got["receiver"]; strings.Index(to, "@") > 0 {
		rec.Rcpts = []string{to}
	}
	key := keyOf(e.host, addr.AsSlice())
	if h := r.held[key]; h != nil && h.rec.Helo == rec.Helo {
		r.add(h, rec.Rcpts)
	} else {
		r.hold(key, &rec)
	}
}
