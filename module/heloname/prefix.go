package heloname

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

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
