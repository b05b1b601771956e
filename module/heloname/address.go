package heloname

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// maxAddr is the length of the longest text of an IP address in octets.
const maxAddr = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

// The tags of address literals, in any case. RFC 5321, 4.1.3 has the first
// one; some clients write the second one by analogy.
const (
	ipv6Tag = "ipv6:"
	ipv4Tag = "ipv4:"
)

// untag cuts off a tag of that name.
func untag(s, tag string) string {
	if len(s) >= len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		return s[len(tag):]
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
	bare6, bare4 := untag(s, ipv6Tag), untag(s, ipv4Tag)
	switch {
	case s == "":
		n.Problem = problemNoAddress
		return
	case strings.IndexByte(s, ']') >= 0:
		n.Problem = problemUnclosed
		return
	}
	var addr netip.Addr
	ok := false
	switch {
	case len(bare6) < len(s):
		if addr, ok = parseAddr(bare6); !ok || !addr.Is6() {
			n.Problem = problemNotIPv6
		}
	case len(bare4) < len(s):
		if addr, ok = parseAddr(bare4); !ok || !addr.Is4() {
			n.Problem = problemNotIPv4
		}
	default:
		if addr, ok = parseAddr(s); !ok {
			n.Problem = problemNotAddress
		}
	}
	switch {
	case n.Problem == "":
		n.Kind, n.Addr = Literal, Unmap(addr)
	case hasZone(s):
		n.Problem = problemLiteralZone
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
	addr, ok := parseAddr(untag(s, ipv6Tag))
	if !ok || !addr.Is6() {
		return netip.Addr{}, false
	}
	return Unmap(addr), true
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

// embedded are the IPv6 networks whose last 32 bits are the address of an
// IPv4 host: IPv4-mapped (RFC 4291, 2.5.5.2) and NAT64 (RFC 6052, 2.1).
var embedded = [...]netip.Prefix{
	netip.MustParsePrefix("::ffff:0:0/96"), netip.MustParsePrefix("64:ff9b::/96"),
}

// Unmap returns the IPv4 address that an IPv4-mapped or NAT64 (64:ff9b::/96)
// address holds, and every other address as it is. The result has no zone.
func Unmap(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if embedded[1].Contains(addr) {
		b := addr.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}

// ClientNetwork returns the network that a client's share is counted for: its IPv4 address, or the
// /64 of its IPv6 address.
func ClientNetwork(client netip.Addr) netip.Prefix {
	client = Unmap(client)
	network, _ := client.Prefix(min(64, client.BitLen()))
	return network
}

// ParsePrefix reads an address (192.0.2.1, 2001:db8::1), which becomes a
// network of one, or a network (192.0.2.0/24). IPv4-mapped and NAT64 addresses
// and networks become IPv4: ::ffff:192.0.2.0/120 is 192.0.2.0/24. A zone and an
// address bit beyond the length of the network are errors.
func ParsePrefix(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is not an address", s)
		}
		addr = Unmap(addr)
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network", s)
	}
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, fmt.Errorf(
			"%q: the address has bits beyond /%d; write %s for the network or %s for the address",
			s, p.Bits(), masked, p.Addr())
	}
	for _, e := range embedded {
		if p.Bits() >= e.Bits() && netip.PrefixFrom(p.Addr(), e.Bits()).Masked() == e {
			return netip.PrefixFrom(Unmap(p.Addr()), p.Bits()-e.Bits()), nil
		}
	}
	return p, nil
}

// Domain returns a domain name of an operator's text in the form of Name.ASCII.
// It takes capitals, U-labels (RFC 5890, 2.3.2.1) and one final dot, and
// returns an error for everything that is not a host name.
func Domain(s string) (string, error) {
	ascii := s
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) >= 0 {
		var err error
		if ascii, err = idna.Lookup.ToASCII(strings.TrimSuffix(s, ".")); err != nil {
			return "", fmt.Errorf("%q is not a domain name: %w", s, err)
		}
	}
	switch n := Parse(ascii); {
	case n.ASCII != "":
		return n.ASCII, nil
	case n.Addr.IsValid():
		return "", fmt.Errorf("%q is an address, not a domain name", s)
	default:
		return "", fmt.Errorf("%q is not a domain name: %s", s, n.Problem)
	}
}

// specialPrefixes are the blocks of the IANA IPv4 and IPv6 Special-Purpose
// Address Registries (RFC 6890) that are not globally reachable, with
// multicast and the relay anycast prefix of 6to4.
var specialPrefixes = [...]netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("224.0.0.0/3"), // multicast, class E, broadcast

	netip.MustParsePrefix("::/8"), // unspecified, loopback, IPv4-compatible, unassigned
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("100:0:0:1::/64"),
	netip.MustParsePrefix("2001::/23"), // Teredo, benchmarking, ORCHID and other protocols
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("3fff::/20"),
	netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fc00::/7"),
	netip.MustParsePrefix("fe80::/10"),
	netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// Special tells whether no mail can come from an address over the Internet:
// it is unspecified, loopback, private, link-local, shared (RFC 6598), for
// documentation or benchmarking, multicast or reserved. A 6to4 address
// (2002::/16) and a translated one (64:ff9b::/96) count as the IPv4 address
// they hold. The zero Addr is special.
func Special(addr netip.Addr) bool {
	addr = Unmap(addr)
	if !addr.IsValid() {
		return true
	}
	if v4, ok := heldIPv4(addr); ok {
		addr = v4
	}
	for _, p := range specialPrefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// heldIPv4 returns the IPv4 address inside a 6to4 address (RFC 3056).
func heldIPv4(addr netip.Addr) (netip.Addr, bool) {
	if b := addr.As16(); addr.Is6() && b[0] == 0x20 && b[1] == 0x02 {
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}
