package heloname

import "net/netip"

// addr is netip.MustParseAddr with "" for no address.
func addr(s string) netip.Addr {
	if s == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(s)
}
