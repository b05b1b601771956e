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
