package replay

import "bytes"

// maddyFields are the fields of a Maddy log line that matter here, as raw text.
type maddyFields struct {
	srcHost, helo, srcIP, msgID, user    []byte
	rcpt, check, rule, action, code, why []byte
}

func (f *maddyFields) at(key []byte) *[]byte {
	switch string(key) {
	case "src_host":
		return &f.srcHost
	case "helo":
		return &f.helo
	case "src_ip":
		return &f.srcIP
	case "msg_id":
		return &f.msgID
	case "username":
		return &f.user
	case "rcpt":
		return &f.rcpt
	case "check":
		return &f.check
	case "rule":
		return &f.rule
	case "action":
		return &f.action
	case "smtp_code":
		return &f.code
	case "smtp_msg":
		return &f.why
	}
	return nil
}

// maddyEvent reads "smtp: incoming message\t{...}" and what becomes of that
// message later.
func (r *run) maddyEvent(e *entry) {
	i := bytes.Index(e.msg, markTab)
	width := len(markTab)
	if i < 0 {
		i, width = bytes.Index(e.msg, markEscaped), len(markEscaped)
	}
	if i < 0 {
		return
	}
	name, event := maddyName(e.msg[:i])
	if !isMaddyEvent(event) || bytes.HasPrefix(name, []byte("lmtp")) {
		return
	}
	r.seen[byMaddy] = true
	f := &r.fields
	*f = maddyFields{}
	if !f.parse(e.msg[i+width-1:]) {
		r.st.Broken++
		return
	}
	switch string(event) {
	case "incoming message":
		r.maddyStart(e, f)
	case "helo verdict":
		r.maddyVerdict(e, f)
	default:
		if h := r.maddy.get(keyOf(nil, f.msgID)); h != nil {
			r.maddyAnswer(h, string(event), f)
		}
	}
}

// maddyName splits "host maddy[1]: smtp: RCPT ok" into the logger's name and
// the event. A logger without a name writes the event alone.
func maddyName(head []byte) (name, event []byte) {
	i := bytes.LastIndex(head, []byte(": "))
	if i < 0 {
		return nil, head[bytes.LastIndexByte(head, ' ')+1:]
	}
	return head[bytes.LastIndexByte(head[:i], ' ')+1 : i], head[i+2:]
}

// isMaddyEvent reports the lines that matter.
func isMaddyEvent(event []byte) bool {
	switch string(event) {
	case "incoming message", "helo verdict", "RCPT ok", "RCPT error", "MAIL FROM error",
		"MAIL FROM error (deferred)", "DATA error", "accepted", "aborted", "quarantined":
		return true
	}
	return false
}

// maddyStart notes a message; its answer comes on later lines.
func (r *run) maddyStart(e *entry, f *maddyFields) {
	client, ok := addrPort(f.srcIP)
	if !ok && len(f.srcIP) > 0 && f.srcIP[0] != '@' && f.srcIP[0] != '/' {
		r.st.Broken++
	}
	if !ok || len(f.srcHost) == 0 {
		return
	}
	key := keyOf(nil, f.msgID)
	if h := r.maddy.get(key); h != nil {
		r.maddy.done(h)
	}
	h := r.maddy.put(key)
	h.rec = Record{
		Time: e.at, Helo: text(f.srcHost), Client: client, Count: 1, Auth: len(f.user) > 0,
	}
}

// maddyVerdict reads the check's own line. One without a message ID is a
// refusal at EHLO, after which no other line tells of that greeting.
func (r *run) maddyVerdict(e *entry, f *maddyFields) {
	if len(f.msgID) > 0 {
		h := r.maddy.get(keyOf(nil, f.msgID))
		if h != nil && (string(f.action) == "reject" || string(f.action) == "quarantine") {
			h.rec.Reason, h.verdict = text(f.rule), true
		}
		return
	}
	if string(f.action) != "reject" {
		return
	}
	client, ok := addrPort(f.srcIP)
	if !ok {
		r.st.Broken++
		return
	}
	r.rec = Record{
		Time: e.at, Helo: text(f.helo), Client: client, Count: 1,
		Outcome: Refuse, Reason: text(f.rule),
	}
	r.emit(&r.rec)
}

// maddyAnswer notes one of Maddy's replies to a message under way.
func (r *run) maddyAnswer(h *held, event string, f *maddyFields) {
	if h.rec.Rcpt == "" {
		h.rec.Rcpt = text(f.rcpt)
	}
	switch event {
	case "RCPT ok":
		h.ok, h.rec.Outcome = true, ""
	case "accepted":
		h.rec.Outcome = Accept
		r.maddy.done(h)
	case "aborted":
		r.maddy.done(h)
	case "quarantined":
		h.because(f)
	case "RCPT error":
		// The message goes on for the other recipients.
		if !h.ok {
			h.refuse(f)
		}
	default:
		h.refuse(f)
		r.maddy.done(h)
	}
}

// refuse notes a refusal. Maddy answers 554 when the error names no code.
func (h *held) refuse(f *maddyFields) {
	h.rec.Outcome = Refuse
	if len(f.code) > 0 && f.code[0] == '4' {
		h.rec.Outcome = TempFail
	}
	h.because(f)
}

// because notes what decided: our own verdict rather than the reply to it.
func (h *held) because(f *maddyFields) {
	if h.verdict {
		return
	}
	if h.rec.Reason = text(f.check); h.rec.Reason == "" {
		h.rec.Reason = text(f.why)
	}
}
