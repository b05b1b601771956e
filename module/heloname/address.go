package heloname

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// maxAddr is the length of the longest text of an IP address in octets.
const maxAddr = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

// The tags of address literals, in any case. RFC 5321, 4.1.3 has the first one; some clients write
// the second one by analogy, and many write no tag.
const (
	ipv6Tag = "ipv6:"
	ipv4Tag = "ipv4:"
)

func cutTag(s, tag string) (rest string, tagged bool) {
	if len(s) >= len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		return s[len(tag):], true
	}
	return s, false
}

// parseLiteral fills n for an argument that starts with a bracket, RFC 5321, 4.1.3.
func (n *Name) parseLiteral() {
	n.Kind = BadLiteral
	s, closed := strings.CutSuffix(n.Raw[1:], "]")
	switch {
	case !closed || strings.Contains(s, "]"):
		n.Problem = "it has no closing bracket at its end"
		return
	case s == "":
		n.Problem = "its brackets are empty"
		return
	}
	text, is6 := cutTag(s, ipv6Tag)
	text, is4 := cutTag(text, ipv4Tag)
	switch addr := parseAddr(text); {
	case addr.IsValid() && (!is6 || addr.Is6()) && (!is4 || addr.Is4()):
		n.Kind, n.Addr = Literal, Unmap(addr)
	case hasZone(s):
		n.Problem = "the IPv6 address in its brackets has a zone"
	case is6:
		n.Problem = "the text after its IPv6 tag is not an IPv6 address"
	case is4:
		n.Problem = "the text after its IPv4 tag is not an IPv4 address"
	default:
		n.Problem = "the text in its brackets is not an IP address"
	}
}

// parseAddr is netip.ParseAddr without zones and without the cost of an
// error value for text that cannot be an address.
func parseAddr(s string) (addr netip.Addr) {
	if len(s) > 1 && len(s) <= maxAddr && !strings.Contains(s, "%") {
		addr, _ = netip.ParseAddr(s)
	}
	return addr
}

// hasZone tells whether s is an IPv6 address with a zone (RFC 4007), which
// has a meaning on one host only.
func hasZone(s string) bool {
	base, _, found := strings.Cut(s, "%")
	base, _ = cutTag(base, ipv6Tag)
	return found && parseAddr(base).Is6()
}

// bareIP reads s as an IPv6 address or as any text inet_aton(3) takes for an IPv4 address.
func bareIP(s string) netip.Addr {
	if strings.Contains(s, ":") {
		text, _ := cutTag(s, ipv6Tag)
		if addr := parseAddr(text); addr.Is6() {
			return Unmap(addr)
		}
	} else if last := TLD(s); last != "" && isDigit(last[0]) {
		return inetAton(s)
	}
	return netip.Addr{}
}

// inetAton reads one to four numbers, each decimal, octal or hexadecimal, of
// which the last fills all octets that are left. Four numbers in which a
// leading zero cannot mean octal (09) are read as decimal.
func inetAton(s string) netip.Addr {
	dots := strings.Count(s, ".")
	if dots > 3 {
		return netip.Addr{}
	}
	var all uint64
	left := dots
	for part := range strings.SplitSeq(s, ".") {
		bits := 8
		if left == 0 {
			bits = 32 - 8*dots
		}
		left--
		base := 10
		switch {
		case len(part) > 2 && part[0] == '0' && part[1]|0x20 == 'x':
			base, part = 16, part[2:]
		case len(part) > 1 && part[0] == '0' && (dots < 3 || !strings.ContainsAny(part, "89")):
			base = 8
		}
		number, err := strconv.ParseUint(part, base, bits)
		if err != nil {
			return netip.Addr{}
		}
		all = all<<bits | number
	}
	var octets [4]byte
	binary.BigEndian.PutUint32(octets[:], uint32(all)) // four octets in all, see bits
	return netip.AddrFrom4(octets)
}

// nat64 has the translated addresses, RFC 6052, 2.1.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Unmap returns the IPv4 address that an IPv4-mapped or NAT64 (64:ff9b::/96)
// address holds, and every other address as it is. The result has no zone.
func Unmap(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if nat64.Contains(addr) {
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
	addr, err := netip.ParseAddr(s)
	p, wanted := netip.PrefixFrom(addr, addr.BitLen()), "an address"
	if strings.Contains(s, "/") {
		p, err = netip.ParsePrefix(s)
		wanted = "a network"
	}
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not %s", s, wanted)
	}
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, fmt.Errorf(
			"%q: the address has bits beyond /%d; write %s for the network or %s for the address",
			s, p.Bits(), masked, p.Addr())
	}
	if addr := Unmap(p.Addr()); addr != p.Addr() && p.Bits() >= nat64.Bits() {
		p = netip.PrefixFrom(addr, p.Bits()-nat64.Bits())
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

// specialPrefixes are the blocks of the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC
// 6890) that are not globally reachable, with multicast and the relay anycast prefix of 6to4.
// 224.0.0.0/3 has class E and broadcast too; ::/8 is unspecified, loopback, IPv4-compatible and
// unassigned; 2001::/23 Teredo, benchmarking, ORCHID and other protocols.
var specialPrefixes = prefixes(`
	0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
	192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
	224.0.0.0/3
	::/8 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 3fff::/20 5f00::/16
	fc00::/7 fe80::/10 fec0::/10 ff00::/8`)

func prefixes(words string) (list []netip.Prefix) {
	for word := range strings.FieldsSeq(words) {
		list = append(list, netip.MustParsePrefix(word))
	}
	return list
}

// Special tells whether no mail can come from an address over the Internet. A 6to4 address
// (2002::/16, RFC 3056) and a translated one (64:ff9b::/96) count as the IPv4 address they hold.
// The zero Addr is special.
func Special(addr netip.Addr) bool {
	addr = Unmap(addr)
	if !addr.IsValid() {
		return true
	}
	if b := addr.As16(); b[0] == 0x20 && b[1] == 0x02 {
		addr = netip.AddrFrom4([4]byte(b[2:]))
	}
	within := func(p netip.Prefix) bool { return p.Contains(addr) }
	return slices.ContainsFunc(specialPrefixes, within)
}
