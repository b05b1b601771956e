package heloname

import "net/netip"

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
