package replay

import (
	"bytes"
	"net/netip"
)

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
	addr, good := parseAddr(ip)
	if !ok || !named || !good {
		r.st.Broken++
		return
	}
	from, _ := policyField(e.msg, "envelope-from=")
	to, _ := policyField(e.msg, "receiver=")
	rec := Record{Time: e.at, Server: e.host, Helo: text(helo), Client: addr, From: text(from)}
	if bytes.IndexByte(to, '@') > 0 {
		rec.Rcpts = []string{text(to)}
	}
	key := policyKey(e.host, addr)
	if h := r.pending.get(key); h != nil && h.rec.Helo == rec.Helo {
		h.rec.Rcpts = merged(h.rec.Rcpts, rec.Rcpts)
		r.pending.resize(h)
	} else {
		r.hold(key, &rec)
	}
}

func policyKey(host string, client netip.Addr) uint64 {
	a := client.As16()
	return keyOf(host, a[:])
}

// policyField returns the value of a name, nil without. A name that comes twice
// with different values is not ok: a sender's address may hold such words.
func policyField(b []byte, name string) (value []byte, ok bool) {
	for word := range bytes.FieldsFuncSeq(b, func(c rune) bool { return c == ' ' || c == ';' }) {
		if v, found := bytes.CutPrefix(word, []byte(name)); found {
			v = bytes.Trim(v, `"`)
			if value != nil && !bytes.Equal(value, v) {
				return value, false
			}
			value = v
		}
	}
	return value, true
}
