package replay

import (
	"bytes"
	"strings"
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
	id, action, stage []byte
	client, why       []byte
	from, to          []byte
	helo, user        []byte
	content           bool // about a message that is taken in, not about a command
}

// parse takes "ID: action: text" apart from both ends, since words of others
// stand in its middle.
func (l *postfixLine) parse(id, action, msg []byte) bool {
	*l = postfixLine{id: id, action: action}
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
	mark := []byte("; from=<")
	if j := bytes.LastIndex(body, mark); j >= 0 {
		l.from = body[j+len(mark):]
		if k := bytes.LastIndex(l.from, []byte(" to=<")); k >= 0 {
			l.to = bytes.TrimRight(l.from[k+len(" to=<"):], ">,")
			l.from = l.from[:k]
		}
		l.from = bytes.TrimSuffix(bytes.TrimRight(l.from, ","), []byte(">"))
		body = body[:j]
	}
	// Of two such marks a content line's may be one of the sender's making.
	return l.parseBody(body) && (!l.content || !bytes.Contains(body, mark))
}

// parseTail reads "proto=ESMTP helo=<c>" and what follows it.
func (l *postfixLine) parseTail(b []byte) bool {
	_, b, ok := bytes.Cut(b, markHelo)
	if !ok {
		return false
	}
	if l.content {
		if i := bytes.Index(b, []byte(">: ")); i >= 0 {
			b, l.why = b[:i+1], b[i+3:]
		}
	}
	if i := bytes.Index(b, []byte("> sasl_")); i >= 0 {
		l.user = b[i+1:]
		b = b[:i+1]
	}
	l.helo, ok = bytes.CutSuffix(b, []byte(">"))
	return ok
}

// parseBody reads "RCPT from name[ip]: why" or "header text from name[ip]".
func (l *postfixLine) parseBody(b []byte) (ok bool) {
	if l.content {
		i := bytes.LastIndex(b, markFrom)
		if i < 0 {
			return false
		}
		l.client = b[i+len(markFrom):]
		return true
	}
	if l.stage, b, ok = bytes.Cut(b, markFrom); !ok {
		return false
	}
	l.client, l.why, ok = bytes.Cut(b, []byte(": "))
	return ok
}

// postfixEvent reads a line that has the form of Postfix's; false for others.
//
//nolint:cyclop // one case a daemon of Postfix
func (r *run) postfixEvent(e *entry) bool {
	program, daemon := e.program()
	if bytes.Contains(program, []byte("policy")) && bytes.Contains(e.msg, markPolicy) {
		r.policyEvent(e)
		return true
	}
	r.seen[byPostfix] = r.seen[byPostfix] || daemon
	id, rest, ok := bytes.Cut(e.msg[:min(len(e.msg), 64)], []byte(": "))
	switch {
	case !ok || bytes.IndexByte(id, ' ') >= 0:
		if daemon {
			r.postfixConnection(e)
		}
		return daemon && !bytes.Contains(e.msg, markHelo)
	case string(id) == "warning":
		r.postfixNote(e)
		return daemon
	case bytes.HasPrefix(rest, []byte("client=")):
		return daemon && r.postfixAccepted(e, id, program)
	case bytes.HasPrefix(rest, []byte("from=<")):
		if daemon && bytes.HasSuffix(e.msg, markActive) {
			r.postfixActive(e, id)
		}
		return daemon
	}
	action, _, ok := bytes.Cut(rest, []byte(": "))
	if !ok || !isWord(action) || !isWord(id) || !bytes.Contains(e.msg, markHelo) {
		return daemon && !bytes.Contains(e.msg, []byte(" proto=")) // deliveries quote others
	}
	l := &r.postfix
	parsed := l.parse(id, action, e.msg[len(id)+len(action)+4:])
	if !parsed && !daemon && !bytes.Contains(e.msg, []byte(" proto=")) {
		return false
	}
	r.seen[byPostfix] = true
	switch {
	case !parsed:
		r.st.Broken++
	case isSubmission(program):
		r.st.Skipped[SkippedSubmission]++
	case !l.content && !mailStage(l.stage):
		r.st.Skipped[SkippedNoMail]++
	default:
		r.postfixGreeting(e)
	}
	return true
}

// daemons are the programs of Postfix.
var daemons = map[string]bool{
	"smtpd": true, "postscreen": true, "cleanup": true, "qmgr": true, "oqmgr": true, "smtp": true,
	"lmtp": true, "local": true, "pipe": true, "virtual": true, "bounce": true, "pickup": true,
	"anvil": true, "trivial-rewrite": true, "tlsproxy": true, "dnsblog": true, "scache": true,
	"error": true, "retry": true, "discard": true, "master": true, "verify": true, "proxymap": true,
	"flush": true, "showq": true, "tlsmgr": true, "relay": true, "qmqpd": true, "postfix-script": true,
}

// program returns the program's name in a syslog header and whether it is one of
// Postfix, "postfix/smtpd" or that of another instance, "postfix-in/smtpd".
func (e *entry) program() (name []byte, daemon bool) {
	name = e.who
	if len(e.host) > 0 {
		if i := bytes.IndexByte(name, ' '); i >= 0 {
			name = name[i+1:]
		}
	}
	name = firstField(name)
	i := bytes.LastIndexByte(name, '/')
	if i < 0 {
		return name, false
	}
	short, _, _ := bytes.Cut(name[i+1:], []byte("["))
	return name, daemons[string(short)]
}

func isWord(b []byte) bool {
	for _, c := range b {
		if !isLetter(c) && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return len(b) > 0
}

// isSubmission tells by the name of the service, "postfix/submission/smtpd", that
// its clients are users and no servers (RFC 6409; RFC 8314, 3.3).
func isSubmission(program []byte) bool {
	for part := range bytes.SplitSeq(program, []byte("/")) {
		part, _, _ = bytes.Cut(part, []byte("["))
		switch s := string(part); {
		case strings.HasPrefix(s, "submission"), strings.HasSuffix(s, "submission"),
			strings.HasSuffix(s, "submissions"), s == "587", s == "465":
			return true
		}
	}
	return false
}

// mailStage tells the commands that a server's greeting can be refused at from
// those that lead to no message, such as AUTH.
func mailStage(stage []byte) bool {
	switch string(stage) {
	case "EHLO", "HELO", "MAIL", "RCPT", "DATA", "BDAT", "END-OF-MESSAGE", "DATA content",
		"END-OF-MESSAGE content":
		return true
	}
	return false
}

// postfixGreeting reads a line that names a greeting.
func (r *run) postfixGreeting(e *entry) {
	l, rec := &r.postfix, &r.rec
	*rec = Record{
		Time: e.at, Server: e.host, Helo: text(l.helo), From: text(l.from), Count: 1,
		Auth: len(l.user) > 0,
	}
	if l.from != nil && len(l.from) == 0 {
		rec.From = NullSender
	}
	if len(l.to) > 0 {
		rec.Rcpts = []string{text(l.to)}
	}
	if string(l.id) != "NOQUEUE" {
		rec.MsgID = text(l.id)
	}
	if !r.postfixClient(rec, e.who, l.client) {
		return
	}
	switch {
	case string(l.action) == "reject" || string(l.action) == "milter-reject":
		rec.Outcome, rec.Reason = Rejected, text(l.why)
		if len(l.why) > 0 && l.why[0] == '4' { // "450 4.7.1 why", a milter's "4.7.1 why"
			rec.Outcome = Deferred
		}
		r.postfixRefused(e)
	case rec.MsgID != "": // one recipient at least was taken
		r.postfixTaken(e)
	default:
		r.postfixWarned(e)
	}
}

// splitClient reads "name[ip]" or postscreen's "[ip]:port". Neither part has a
// blank in it.
func splitClient(client []byte) (name, addr []byte, ok bool) {
	i := bytes.IndexByte(client, '[')
	j := bytes.LastIndexByte(client, ']')
	if i < 0 || j < i || bytes.IndexByte(client, ' ') >= 0 {
		return nil, nil, false
	}
	return client[:i], client[i : j+1], true
}

// postfixClient fills in who the client is.
func (r *run) postfixClient(rec *Record, who, client []byte) bool {
	name, ip, ok := splitClient(client)
	if !ok {
		r.st.Broken++
		return false
	}
	addr, ok := parseAddr(ip)
	if !ok {
		r.st.Skipped[SkippedClient]++ // a local socket, or a client that was gone at once
		return false
	}
	rec.Client = addr
	switch {
	case len(name) == 0:
	case string(name) != "unknown":
		rec.setPTR(name, Confirmed)
		r.named = r.named || rec.PTRState == Confirmed
	default:
		rec.PTRState = None
		if note := r.ptrs.slot(who); note.client == addr {
			rec.PTR, rec.PTRState = note.name, note.state
		}
	}
	return true
}

// postfixConnection notes that a client came or went: what it was warned of
// before has no answer.
func (r *run) postfixConnection(e *entry) {
	i := bytes.Index(e.msg, markConnect)
	if i < 0 {
		return
	}
	name, _, ok := splitClient(firstField(e.msg[i+len(markConnect):]))
	r.named = r.named || ok && bytes.IndexByte(name, '.') > 0
	if h := r.warned.get(keyOf(e.who, nil)); h != nil {
		r.warned.done(h)
	}
}

// resolverSaysNo are the texts of getaddrinfo and its forerunner for "there is no
// such name" and "the name has no address": glibc, musl, the BSDs, Solaris. All
// others mean that the look-up failed.
var resolverSaysNo = map[string]bool{
	"name or service not known": true, "no address associated with hostname": true,
	"address family for hostname not supported": true,
	"name does not resolve":                     true, "name has no usable address": true,
	"hostname nor servname provided, or not known":  true,
	"nodename nor servname provided, or not known":  true,
	"name or service is not known":                  true,
	"no address associated with name":               true,
	"address family for name not supported":         true,
	"node name or service name not known":           true,
	"specified node name or service name not known": true,
	"unknown host":                              true,
	"host not found":                            true,
	"non-existent domain":                       true,
	"host name has no address":                  true,
	"address family not supported for hostname": true,
	"no address":                                true,
}

// postfixNote reads "warning: hostname n does not resolve to address a", which
// Postfix writes before it calls the client unknown, and the older "warning: a:
// hostname n verification failed: why" and "warning: a: address not listed for
// hostname n".
func (r *run) postfixNote(e *entry) {
	msg := bytes.TrimPrefix(e.msg, []byte("warning: "))
	var name, ip, why []byte
	failed := false
	if rest, ok := bytes.CutPrefix(msg, []byte("hostname ")); ok {
		name, rest, _ = bytes.Cut(rest, []byte(" does not resolve to address "))
		ip, why, failed = bytes.Cut(rest, []byte(": "))
	} else if ip, rest, ok = bytes.Cut(msg, []byte(": hostname ")); ok {
		name, why, failed = bytes.Cut(rest, []byte(" verification failed: "))
	} else {
		ip, name, _ = bytes.Cut(msg, []byte(": address not listed for hostname "))
	}
	addr, ok := parseAddr(ip)
	if !ok || len(name) == 0 {
		return
	}
	r.named = true // it looks up names
	note := ptrNote{client: addr, name: text(name), state: Unconfirmed}
	if failed && !resolverSaysNo[strings.ToLower(string(bytes.TrimSpace(why)))] {
		note.state = NotRecorded
	}
	*r.ptrs.slot(e.who) = note
}

// postfixRefused hands out a refusal with the warnings that led to it.
func (r *run) postfixRefused(e *entry) {
	l, rec := &r.postfix, &r.rec
	if l.content || string(l.stage) == "END-OF-MESSAGE" || string(l.stage) == "DATA" {
		if h := r.queued.get(keyOf(e.host, l.id)); h != nil {
			rec.Auth = rec.Auth || h.rec.Auth
			rec.Rcpts = merged(h.rec.Rcpts, rec.Rcpts)
			r.queued.drop(h)
		}
	}
	if h := r.policed.get(policyKey(e.host, rec)); h != nil {
		r.policed.drop(h)
	}
	if h := r.warned.get(keyOf(e.who, nil)); h != nil {
		if sameGreeting(&h.rec, rec) {
			r.warned.drop(h)
		} else {
			r.warned.done(h)
		}
	}
	r.emit(rec)
}

// merged adds the recipients that are not there yet.
func merged(to, from []string) []string {
	for _, rcpt := range from {
		if len(to) < maxRcpts && !containsFold(to, rcpt) {
			to = append(to, rcpt)
		}
	}
	return to
}

func containsFold(list []string, s string) bool {
	for _, other := range list {
		if strings.EqualFold(other, s) {
			return true
		}
	}
	return false
}

// sameGreeting tells whether the answer to b settles a: the warning is about
// the same recipient, or from before there was one.
func sameGreeting(a, b *Record) bool {
	return a.Client == b.Client && (len(a.Rcpts) == 0 ||
		a.Helo == b.Helo && len(b.Rcpts) > 0 && containsFold(a.Rcpts, b.Rcpts[0]))
}

// postfixWarned keeps a warning until the answer.
func (r *run) postfixWarned(e *entry) {
	key := keyOf(e.who, nil)
	if h := r.warned.get(key); h != nil {
		if sameGreeting(&h.rec, &r.rec) {
			return
		}
		r.warned.done(h)
	}
	r.warned.put(key, r.rec)
}

// postfixTaken notes the greeting of a message that is taken in.
func (r *run) postfixTaken(e *entry) {
	key := keyOf(e.host, r.postfix.id)
	h := r.queued.get(key)
	switch {
	case h == nil:
		r.queued.put(key, r.rec)
		// A line after "client=" names the greeting after all.
		if !r.rec.Auth && r.st.NoGreeting > 0 {
			r.st.NoGreeting--
		}
	case h.rec.Helo == "":
		auth := h.rec.Auth
		h.rec = r.rec
		h.rec.Auth = auth
		r.queued.resize(h)
	default:
		h.rec.Rcpts = merged(h.rec.Rcpts, r.rec.Rcpts)
		r.queued.resize(h)
	}
}

// postfixActive notes that a message was taken for good.
func (r *run) postfixActive(e *entry, id []byte) {
	if h := r.queued.get(keyOf(e.host, id)); h != nil {
		h.rec.Outcome = Accepted
		r.queued.done(h)
	}
}

// postfixAccepted reads "ID: client=name[ip], sasl_username=u": the first
// recipient of a message was taken.
func (r *run) postfixAccepted(e *entry, id, program []byte) bool {
	_, client, _ := bytes.Cut(e.msg, markClient)
	client, more, _ := bytes.Cut(client, []byte(", "))
	var rec Record
	if h := r.warned.get(keyOf(e.who, nil)); h != nil {
		rec = h.rec
		r.warned.drop(h)
	}
	name, ip, _ := splitClient(client)
	addr, ok := parseAddr(ip)
	r.named = r.named || bytes.IndexByte(name, '.') > 0
	if !ok || isSubmission(program) {
		return true
	}
	if !r.policed.empty() {
		r.rec = Record{Client: addr}
		if h := r.policed.get(policyKey(e.host, &r.rec)); h != nil {
			r.policed.drop(h)
			if rec.Helo == "" && r.postfixClient(&h.rec, e.who, client) {
				rec = h.rec
			}
		}
	}
	rec.Auth = rec.Auth || bytes.Contains(more, []byte("sasl_"))
	if rec.Helo == "" && !rec.Auth {
		// Filters hand mail back from the machine itself, or name the first client.
		if !addr.IsLoopback() && !bytes.Contains(more, []byte("orig_")) {
			r.st.NoGreeting++
		}
		return true
	}
	rec.MsgID = text(id)
	key := keyOf(e.host, id)
	if h := r.queued.get(key); h != nil {
		h.rec = rec
		r.queued.resize(h)
	} else {
		r.queued.put(key, rec)
	}
	return true
}

// policyEvent reads what SPF policy servers of Postfix write, with the names in
// any order:
//
//	prepend Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=192.0.2.7; helo=c; receiver=b
//
// Postfix names the queue ID to none of them; the next "client=" of that address
// on the same host is about this message.
func (r *run) policyEvent(e *entry) {
	ip, ok := policyField(e.msg, "client-ip=")
	helo, named := policyField(e.msg, "helo=")
	if ip == nil || len(helo) == 0 {
		return
	}
	r.seen[byPostfix] = true
	addr, good := parseAddr(ip)
	if !ok || !named || !good {
		r.st.Broken++
		return
	}
	from, _ := policyField(e.msg, "envelope-from=")
	to, _ := policyField(e.msg, "receiver=")
	r.rec = Record{
		Time: e.at, Server: e.host, Helo: text(helo), Client: addr, From: text(from), Count: 1,
	}
	if bytes.IndexByte(to, '@') > 0 {
		r.rec.Rcpts = []string{text(to)}
	}
	key := policyKey(e.host, &r.rec)
	if h := r.policed.get(key); h == nil {
		r.policed.put(key, r.rec)
	} else if h.rec.Helo != r.rec.Helo {
		r.policed.done(h)
		r.policed.put(key, r.rec)
	} else {
		h.rec.Rcpts = merged(h.rec.Rcpts, r.rec.Rcpts)
		r.policed.resize(h)
	}
}

func policyKey(host string, rec *Record) uint64 {
	a := rec.Client.As16()
	return keyOf(host, a[:])
}

// policyField returns the value of a name, nil without. A name that comes twice
// with different values is not ok: a sender's address may hold such words.
func policyField(b []byte, name string) (value []byte, ok bool) {
	for rest := b; ; {
		i := bytes.Index(rest, []byte(name))
		if i < 0 {
			return value, true
		}
		whole := i == 0 || rest[i-1] == ' ' || rest[i-1] == ';'
		rest = rest[i+len(name):]
		word := bytes.Trim(firstField(rest), `;"`)
		if whole && value != nil && !bytes.Equal(value, word) {
			return value, false
		}
		if whole {
			value = word
		}
	}
}
