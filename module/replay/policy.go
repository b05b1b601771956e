package replay

import (
	"net/netip"
	"regexp"
	"strings"
)

// policyNames are the names of which policy servers write values, in any order.
var policyNames = regexp.MustCompile(`(?:^|[ ;])(client-ip|helo|envelope-from|receiver)=([^ ;]*)`)

// policyEvent reads what SPF policy servers of Postfix write:
//
//	prepend Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=192.0.2.7; helo=c; receiver=b
//
// Postfix names the queue ID to none of them; the next "client=" of that address
// on the same host is about this message.
func (r *run) policyEvent(e *entry) {
	got := make(map[string]string)
	unclear := false
	for _, parts := range policyNames.FindAllSubmatch(e.msg, -1) {
		name, value := string(parts[1]), strings.Trim(text(parts[2]), `"`)
		// A name that comes twice: a sender's address may hold such words.
		earlier, twice := got[name]
		unclear = unclear || twice && earlier != value
		got[name] = value
	}
	_, addressed := got["client-ip"]
	if !addressed || got["helo"] == "" {
		return
	}
	addr, ok := parseAddr([]byte(got["client-ip"]))
	if !ok || unclear {
		r.st.Broken++
		return
	}
	rec := Record{Time: e.at, Server: e.host, Helo: got["helo"], Client: addr}
	rec.From = got["envelope-from"]
	if to := got["receiver"]; strings.Index(to, "@") > 0 {
		rec.Rcpts = []string{to}
	}
	key := policyKey(e.host, addr)
	if h := r.pending.index[key]; h != nil && h.rec.Helo == rec.Helo {
		r.pending.add(h, rec.Rcpts)
	} else {
		r.hold(key, &rec)
	}
}

func policyKey(host string, client netip.Addr) uint64 {
	a := client.As16()
	return keyOf(host, a[:])
}
