package replay

import "bytes"

// maddyFields are the fields of a Maddy log line that matter here, as raw text.
type maddyFields struct {
	srcHost, helo, srcIP, msgID, user    []byte
	sender                               []byte
	rcpt, check, rule, action, code, why []byte
}

func (f *maddyFields) at(key []byte) *[]byte {
	switch string(key) {
	case "sender":
		return &f.sender
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
// message later; false for lines of another form. Programs between write the
// tab as "#011" or the like, or as blanks.
func (r *run) maddyEvent(e *entry) bool {
	i := bytes.IndexByte(e.msg, '{')
	if i < 0 {
		return false
	}
	head := bytes.TrimRight(e.msg[:i], " \t")
	for _, tab := range []string{"#011", `\t`, "^I", "<009>", "<09>"} {
		head = bytes.TrimRight(bytes.TrimSuffix(head, []byte(tab)), " ")
	}
	name, event := maddyName(head)
	if !isMaddyEvent(event) || len(head) == i {
		return false
	}
	r.seen[byMaddy] = true
	if bytes.HasPrefix(name, []byte("lmtp")) {
		return true
	}
	f := &r.fields
	*f = maddyFields{}
	ok := scanJSON(e.msg[i:], maxWraps, func(key, value []byte) {
		if dst := f.at(key); dst != nil {
			*dst = value
		}
	})
	if !ok {
		r.st.Broken++
		return true
	}
	switch string(event) {
	case "incoming message":
		if isSubmission(name) {
			r.st.Skipped[SkippedSubmission]++
		} else {
			r.maddyStart(e, f)
		}
	case "helo verdict":
		r.maddyVerdict(e, f)
	default:
		if h := r.maddy.get(keyOf(e.host, f.msgID)); h != nil {
			r.maddyAnswer(h, string(event), f)
		}
	}
	return true
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
		return
	}
	switch {
	case !ok:
		r.st.Skipped[SkippedClient]++
		return
	case len(f.srcHost) == 0:
		r.st.Skipped[SkippedEmpty]++
		return
	}
	key := keyOf(e.host, f.msgID)
	if h := r.maddy.get(key); h != nil {
		r.maddy.done(h)
	}
	rec := Record{
		Time: e.at, Server: e.host, Helo: text(f.srcHost), Client: client, From: text(f.sender),
		MsgID: text(f.msgID), Count: 1, Auth: len(f.user) > 0,
	}
	if f.sender != nil && rec.From == "" {
		rec.From = NullSender
	}
	r.maddy.put(key, rec)
}

// maddyVerdict reads the check's own line. One without a message ID is a
// refusal at EHLO, after which no other line tells of that greeting.
func (r *run) maddyVerdict(e *entry, f *maddyFields) {
	if len(f.msgID) > 0 {
		h := r.maddy.get(keyOf(e.host, f.msgID))
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
		Time: e.at, Server: e.host, Helo: text(f.helo), Client: client, Count: 1,
		Outcome: Rejected, Reason: text(f.rule),
	}
	r.emit(&r.rec)
}

// maddyAnswer notes one of Maddy's replies to a message under way.
func (r *run) maddyAnswer(h *held, event string, f *maddyFields) {
	if len(f.rcpt) > 0 {
		h.rec.Rcpts = merged(h.rec.Rcpts, []string{text(f.rcpt)})
		r.maddy.resize(h)
	}
	switch event {
	case "RCPT ok":
		h.ok, h.rec.Outcome = true, ""
	case "accepted":
		h.rec.Outcome = Accepted
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
	h.rec.Outcome = Rejected
	if len(f.code) > 0 && f.code[0] == '4' {
		h.rec.Outcome = Deferred
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
