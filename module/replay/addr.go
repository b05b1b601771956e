package replay

import (
	"bytes"
	"net/netip"
	"strings"
)

// addrPort reads "192.0.2.7:2525", "[2001:db8::7]:2525" or an address alone.
func addrPort(b []byte) (netip.Addr, bool) {
	if i := bytes.LastIndexByte(b, ':'); i >= 0 && digits(b[i+1:]) {
		if a, ok := parseAddr(b[:i]); ok && (a.Is4() || b[0] == '[') {
			return a, true
		}
	}
	return parseAddr(b)
}

// parseAddr reads an address with or without brackets, as literals have them
// (RFC 5321, 4.1.3).
func parseAddr(b []byte) (netip.Addr, bool) {
	b = bytes.TrimSuffix(bytes.TrimPrefix(b, []byte("[")), []byte("]"))
	if len(b) > 5 && strings.EqualFold(string(b[:5]), "IPv6:") {
		b = b[5:]
	}
	if len(b) > 64 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	return a.Unmap(), err == nil
}

// literal writes a client's address as it greets with it (RFC 5321, 4.1.3).
func literal(a netip.Addr) string {
	if a.Is6() {
		return "[IPv6:" + a.String() + "]"
	}
	return "[" + a.String() + "]"
}
