package replay

import "bytes"

// postfixRefused hands out a refusal with the warnings that led to it.
func (r *run) postfixRefused(l *postfixLine) {
	rec := &r.rec
	if l.content || string(l.stage) == "END-OF-MESSAGE" || string(l.stage) == "DATA" {
		if h := r.queued.get(l.message()); h != nil {
			rec.Auth = rec.Auth || h.rec.Auth
			r.queued.drop(h)
		}
	}
	if h := r.warned.get(keyOf(l.who, nil)); h != nil {
		if sameGreeting(&h.rec, rec) {
			r.warned.drop(h)
		} else {
			r.warned.done(h)
		}
	}
	r.emit(rec)
}

// sameGreeting tells whether the answer to b settles a: the warning is about
// the same recipient, or from before there was one.
func sameGreeting(a, b *Record) bool {
	return a.Client == b.Client && (a.Rcpt == "" || a.Helo == b.Helo && a.Rcpt == b.Rcpt)
}

// postfixWarned keeps a warning until the answer.
func (r *run) postfixWarned(l *postfixLine) {
	key := keyOf(l.who, nil)
	if h := r.warned.get(key); h != nil {
		if sameGreeting(&h.rec, &r.rec) {
			return
		}
		r.warned.done(h)
	}
	r.warned.put(key).rec = r.rec
}

// postfixTaken notes the greeting of a message that is taken in.
func (r *run) postfixTaken(l *postfixLine) {
	h := r.queued.get(l.message())
	if h == nil {
		r.queued.put(l.message()).rec = r.rec
		return
	}
	if h.rec.Helo == "" {
		auth := h.rec.Auth
		h.rec = r.rec
		h.rec.Auth = auth
	}
}

func (l *postfixLine) message() uint64 { return messageKey(l.who, l.id) }

// messageKey names a message by queue ID. Hosts may share one log, so the host
// is part of it.
func messageKey(who, id []byte) uint64 {
	host, _, _ := bytes.Cut(who, []byte(" "))
	return keyOf(host, id)
}

// postfixActive notes that a message was taken for good.
func (r *run) postfixActive(who, id []byte) {
	if h := r.queued.get(messageKey(who, id)); h != nil {
		h.rec.Outcome = Accept
		r.queued.done(h)
	}
}

// postfixAccepted reads "ID: client=name[ip], sasl_username=u": the first
// recipient of a message was taken.
func (r *run) postfixAccepted(who, id, msg []byte) {
	var rec Record
	if h := r.warned.get(keyOf(who, nil)); h != nil {
		rec = h.rec
		r.warned.drop(h)
	}
	rec.Auth = rec.Auth || bytes.Contains(msg, []byte(" sasl_username="))
	if rec.Helo == "" && !rec.Auth {
		return
	}
	key := messageKey(who, id)
	h := r.queued.get(key)
	if h == nil {
		h = r.queued.put(key)
	}
	h.rec = rec
}
