package heloname

import (
	"net/netip"
	"testing"
)

func TestSpecial(t *testing.T) {
	for _, tc := range []struct {
		addr string
		want bool
	}{
		{"", true},
		{"0.0.0.0", true}, {"0.255.255.255", true}, {"1.0.0.0", false},
		{"9.255.255.255", false}, {"10.0.0.0", true}, {"10.255.255.255", true}, {"11.0.0.0", false},
		{"100.63.255.255", false}, {"100.64.0.0", true}, {"100.127.255.255", true},
		{"100.128.0.0", false},
		{"126.255.255.255", false}, {"127.0.2.1", true}, {"128.0.0.0", false},
		{"169.253.255.255", false}, {"169.254.1.1", true}, {"169.255.0.0", false},
		{"172.15.255.255", false}, {"172.16.0.0", true}, {"172.31.255.255", true},
		{"172.32.0.0", false},
		{"192.0.0.1", true}, {"192.0.1.0", false}, {"192.0.2.1", true}, {"192.0.3.0", false},
		{"192.88.99.1", true}, {"192.88.98.1", false},
		{"192.167.255.255", false}, {"192.168.1.1", true}, {"192.169.0.0", false},
		{"198.17.255.255", false}, {"198.18.0.0", true}, {"198.19.255.255", true},
		{"198.20.0.0", false}, {"198.51.99.255", false}, {"198.51.100.7", true},
		{"203.0.112.255", false}, {"203.0.113.7", true}, {"203.0.114.0", false},
		{"223.255.255.255", false}, {"224.0.0.1", true}, {"239.1.2.3", true},
		{"240.0.0.1", true}, {"255.255.255.255", true}, {"8.8.8.8", false},
		{"::ffff:10.0.0.1", true}, {"::ffff:8.8.8.8", false},

		{"::", true}, {"::1", true}, {"::8.8.8.8", true},
		{"64:ff9b::808:808", false}, {"64:ff9b::a00:1", true}, {"64:ff9b:1::1", true},
		{"100::1", true}, {"100:0:0:1::1", true}, {"2001::1", true}, {"2001:1ff::1", true},
		{"2001:200::1", false}, {"2001:db8::1", true}, {"2001:db9::1", false},
		{"2002:808:808::1", false}, {"2002:a00:1::1", true}, {"2003::1", false},
		{"2a00:1450:4864:20::1", false}, {"3fff::1", true}, {"3ffe::1", false},
		{"5f00::1", true}, {"fbff::1", false}, {"fc00::1", true}, {"fdff::1", true},
		{"fe80::1", true}, {"fe80::1%eth0", true}, {"fec0::1", true}, {"ff02::1", true},
	} {
		if got := Special(addr(tc.addr)); got != tc.want {
			t.Errorf("Special(%s) = %v", tc.addr, got)
		}
	}
}

// TestSpecialAgainstNetip: what the standard library calls local or
// multicast is special.
func TestSpecialAgainstNetip(t *testing.T) {
	for i := range 1 << 16 {
		a := netip.AddrFrom4([4]byte{byte(i >> 8), byte(i), 1, 1})
		b := [16]byte{byte(i >> 8), byte(i), 15: 1}
		for _, a := range []netip.Addr{a, netip.AddrFrom16(b)} {
			std := a.IsPrivate() || a.IsLoopback() || a.IsMulticast() || a.IsUnspecified() ||
				a.IsLinkLocalUnicast()
			if std && !Special(a) {
				t.Fatalf("%s is not special", a)
			}
		}
	}
}
