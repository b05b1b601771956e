package replay

import (
	"bytes"
	"cmp"
	"regexp"
)

// maddyEvents are the events that are read. The value is true if the event ends a message.
var maddyEvents = map[string]bool{
	"incoming message": false, "helo verdict": false, "RCPT ok": false, "RCPT error": false,
	"quarantined": false, "accepted": true, "aborted": true, "DATA error": true,
	"MAIL FROM error": true, "MAIL FROM error (deferred)": true,
}

// maddyEvent reads "smtp: incoming message\t{...}" and later events of that message. It returns
// false for other lines. Log programs may have replaced the tab by blanks or a form such as "#011".
func (r *run) maddyEvent(e *entry) bool {
	head, _, ok := bytes.Cut(e.msg, []byte("{"))
	if !ok {
		return false
	}
	fields := e.msg[len(head):]
	name, event, tab := maddyName(head)
	last, known := maddyEvents[string(event)]
	if !known || !tab {
		return false
	}
	r.members = r.members[:0]
	ok = r.members.read(fields, 0)
	f := r.members
	key := keyOf(e.host, f.get("msg_id"))
	switch h := r.held[key]; {
	case bytes.HasPrefix(name, []byte("lmtp")):
	case !ok:
		r.st.Broken++
	case string(event) == "incoming message" && isSubmission(name):
		r.st.Skipped[SkippedSubmission]++
	case string(event) == "incoming message":
		if r.maddyGreeting(e, f) { // its answer comes on later lines
			r.hold(key, &r.rec)
		}
	case string(event) == "helo verdict":
		r.maddyVerdict(e, h, f)
	case h != nil:
		h.answer(string(event), f)
		r.resize(h)
		if last {
			r.done(key)
		}
	}
	return true
}

// maddyTab matches the forms in which log programs write a tab.
var maddyTab = regexp.MustCompile(` *(?:#011|\\t|\^I|<0?09>)$`)

// maddyName splits "smtp: RCPT ok\t" into the logger's name and the event. A logger
// without a name writes the event alone.
func maddyName(head []byte) (name, event []byte, tab bool) {
	bare := bytes.TrimRight(head, " \t")
	if !bytes.HasSuffix(head, []byte("\t")) {
		bare = bare[:len(bare)-len(maddyTab.Find(bare))]
	}
	name, event, ok := cutLast(bare, []byte(": "))
	if !ok {
		name, event = nil, bare
	}
	return name[bytes.LastIndexByte(name, ' ')+1:], event, len(bare) < len(head)
}

// maddyGreeting reads a greeting into r.rec. It returns false if that or the client is missing.
func (r *run) maddyGreeting(e *entry, f members) bool {
	ip, helo := f.get("src_ip"), f.get("src_host", "helo")
	client, ok := addrPort(ip)
	switch {
	case !ok && bytes.IndexAny(ip, "@/") == 0: // a local socket
		r.st.Skipped[SkippedClient]++
		return false
	case !ok:
		r.st.Broken++
		return false
	case len(helo) == 0:
		r.st.Skipped[SkippedEmpty]++
		return false
	}
	r.rec = Record{
		Time: e.at, Server: e.host, Helo: text(helo), Client: client, From: sender(f.get("sender")),
		MsgID: text(f.get("msg_id")), Auth: len(f.get("username")) > 0,
	}
	return true
}

// maddyVerdict reads a verdict of check.helo_fqdn. Without a message ID it is a
// refusal at EHLO, and no other line is about that greeting.
func (r *run) maddyVerdict(e *entry, h *held, f members) {
	action, rule := string(f.get("action")), text(f.get("rule"))
	switch {
	case len(f.get("msg_id")) > 0:
		if h != nil && (action == "reject" || action == "quarantine") {
			h.rec.Reason, h.verdict = rule, true
		}
	case action == "reject" && r.maddyGreeting(e, f):
		r.rec.Outcome, r.rec.Reason = Rejected, rule
		r.emit(&r.rec)
	}
}

// answer records one of Maddy's replies to the message of h.
func (h *held) answer(event string, f members) {
	h.rec.Rcpts = addRcpts(h.rec.Rcpts, string(f.get("rcpt")))
	switch {
	case event == "RCPT ok":
		h.ok, h.rec.Outcome = true, ""
		return
	case event == "accepted":
		h.rec.Outcome = Accepted
		return
	case event == "aborted", event == "RCPT error" && h.ok: // other recipients remain
		return
	case event != "quarantined":
		// Maddy answers 554 when the error names no code.
		h.rec.Outcome = Rejected
		if bytes.HasPrefix(f.get("smtp_code"), []byte("4")) {
			h.rec.Outcome = Deferred
		}
	}
	// If check.helo_fqdn has decided, its rule stays the reason.
	if !h.verdict {
		h.rec.Reason = cmp.Or(text(f.get("check")), text(f.get("smtp_msg")))
	}
}
