package heloname

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// maxAddr is the length of the longest text of an IP address in octets.
const maxAddr = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

const ipv6Tag = "ipv6:"

// untag cuts off the tag of an IPv6 address literal, RFC 5321, 4.1.3; the
// tag is matched in any case.
func untag(s string) string {
	if len(s) >= len(ipv6Tag) && strings.EqualFold(s[:len(ipv6Tag)], ipv6Tag) {
		return s[len(ipv6Tag):]
	}
	return s
}

// parseLiteral fills n for an argument that starts with a bracket, RFC 5321,
// 4.1.3. An IPv6 address without its tag is taken too: many clients send it.
func parseLiteral(n *Name) {
	n.Kind = BadLiteral
	s := n.Raw
	if len(s) < 2 || s[len(s)-1] != ']' {
		n.Problem = problemUnclosed
		return
	}
	s = s[1 : len(s)-1]
	bare := untag(s)
	tagged := len(bare) < len(s)
	switch {
	case s == "":
		n.Problem = problemNoAddress
		return
	case strings.IndexByte(s, ']') >= 0:
		n.Problem = problemUnclosed
		return
	}
	addr, ok := parseAddr(bare)
	switch {
	case ok && (!tagged || addr.Is6()):
		n.Kind, n.Addr = Literal, addr.Unmap()
	case hasZone(bare):
		n.Problem = problemLiteralZone
	case tagged:
		n.Problem = problemNotIPv6
	default:
		n.Problem = problemNotAddress
	}
}

// parseAddr is netip.ParseAddr without zones and without the cost of an
// error value for text that cannot be an address.
func parseAddr(s string) (netip.Addr, bool) {
	if len(s) < 2 || len(s) > maxAddr || strings.IndexByte(s, '%') >= 0 {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(s)
	return addr, err == nil
}

// bareIP reads s as an IPv6 address or as any text inet_aton(3) takes for an
// IPv4 address.
func bareIP(s string) (netip.Addr, bool) {
	if c := s[0]; c >= '0' && c <= '9' {
		if addr, ok := inetAton(s); ok {
			return addr, true
		}
	}
	if len(s) > len(ipv6Tag)+maxAddr || strings.IndexByte(s, ':') < 0 {
		return netip.Addr{}, false
	}
	addr, ok := parseAddr(untag(s))
	if !ok || !addr.Is6() {
		return netip.Addr{}, false
	}
	return addr.Unmap(), true
}

// inetAton reads one to four numbers, each decimal, octal or hexadecimal, of
// which the last fills all octets that are left. Four numbers in which a
// leading zero cannot mean octal (09) are read as decimal.
func inetAton(s string) (netip.Addr, bool) {
	var parts [4]uint64
	n, octal := 0, true
	for more := true; more; n++ {
		if n == len(parts) {
			return netip.Addr{}, false
		}
		var text string
		text, s, more = strings.Cut(s, ".")
		v, oct, ok := number(text)
		if !ok {
			return netip.Addr{}, false
		}
		parts[n], octal = v, octal && oct
	}
	if !octal && n != len(parts) {
		return netip.Addr{}, false
	}
	return joinParts(parts, n)
}

func joinParts(parts [4]uint64, n int) (netip.Addr, bool) {
	last := parts[n-1]
	if last >= 1<<(8*(5-n)) {
		return netip.Addr{}, false
	}
	for i, v := range parts[:n-1] {
		if v > 255 {
			return netip.Addr{}, false
		}
		last |= v << (24 - 8*i)
	}
	var octets [4]byte
	binary.BigEndian.PutUint32(octets[:], uint32(last)) //nolint:gosec // below 1<<32, see above
	return netip.AddrFrom4(octets), true
}

// number reads one part of an inet_aton address. octal is false when a
// leading zero is followed by an 8 or 9 and the value is therefore decimal.
func number(s string) (v uint64, octal, ok bool) {
	base := uint64(10)
	octal = true
	if len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		base, s = 16, s[2:]
	} else if len(s) > 1 && s[0] == '0' {
		base = 8
		if strings.ContainsAny(s, "89") {
			base, octal = 10, false
		}
	}
	for i := range len(s) {
		d := uint64(hexValue(s[i]))
		if d >= base {
			return 0, octal, false
		}
		if v = v*base + d; v > 1<<32-1 {
			return 0, octal, false
		}
	}
	return v, octal, s != ""
}

// hexValue returns the value of a hexadecimal digit in any case, 255 for
// other bytes.
func hexValue(c byte) uint8 {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 255
}
