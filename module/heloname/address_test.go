package heloname

import (
	"net/netip"
	"strings"
	"testing"
)

func TestUnmap(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":               "192.0.2.1",
		"::ffff:192.0.2.1":        "192.0.2.1",
		"64:ff9b::192.0.2.1":      "192.0.2.1",
		"64:ff9b::":               "0.0.0.0",
		"64:ff9b::ffff:ffff":      "255.255.255.255",
		"64:ff9b::192.0.2.1%eth0": "192.0.2.1",
		"fe80::1%eth0":            "fe80::1",
		"64:ff9b::1:c000:201":     "64:ff9b::1:c000:201", // above the /96
		"64:ff9b:1::192.0.2.1":    "64:ff9b:1::c000:201", // RFC 8215: private translation
		"2002:c000:201::":         "2002:c000:201::",     // 6to4: not the IPv4 host itself
		"::192.0.2.1":             "::c000:201",          // IPv4-compatible, given up in RFC 4291
		"2001:db8::c000:201":      "2001:db8::c000:201",
	} {
		if got := Unmap(netip.MustParseAddr(in)).String(); got != want {
			t.Errorf("Unmap(%s) = %s, want %s", in, got, want)
		}
	}
	if got := Unmap(netip.Addr{}); got.IsValid() {
		t.Errorf("Unmap of no address = %s", got)
	}
}

func TestParsePrefix(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":                "192.0.2.1/32",
		"192.0.2.0/24":             "192.0.2.0/24",
		"0.0.0.0/0":                "0.0.0.0/0",
		"::/0":                     "::/0",
		"2001:db8::1":              "2001:db8::1/128",
		"2001:db8::/32":            "2001:db8::/32",
		"::ffff:192.0.2.1":         "192.0.2.1/32",
		"::ffff:192.0.2.1/128":     "192.0.2.1/32",
		"::ffff:192.0.2.0/120":     "192.0.2.0/24",
		"::ffff:0:0/96":            "0.0.0.0/0",
		"64:ff9b::192.0.2.1":       "192.0.2.1/32",
		"64:ff9b::192.0.2.0/120":   "192.0.2.0/24",
		"64:ff9b::/96":             "0.0.0.0/0",
		"64:ff9b::/95":             "64:ff9b::/95", // more than the translated addresses
		"64:ff9b:1::/96":           "64:ff9b:1::/96",
		"2001:DB8::C000:200/120":   "2001:db8::c000:200/120",
		"::fffe:0:0/95":            "::fffe:0:0/95",
		"64:ff9b::1:c000:0200/120": "64:ff9b::1:c000:200/120",
	} {
		if got, err := ParsePrefix(in); err != nil || got.String() != want {
			t.Errorf("ParsePrefix(%q) = %s, %v, want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                     `"" is not an address`,
		"mail.example.org":     "not an address",
		"192.0.2":              "not an address",
		"192.0.2.01":           "not an address",
		"192.0.2.1 x":          "not an address",
		"fe80::1%eth0":         "not an address",
		"fe80::%eth0/64":       "not a network",
		"192.0.2.0/":           "not a network",
		"192.0.2.0/33":         "not a network",
		"192.0.2.0/-1":         "not a network",
		"192.0.2.0/024":        "not a network",
		"192.0.2.0/255.0.0.0":  "not a network",
		"::ffff:192.0.2.0/129": "not a network",
		"192.0.2.1/24":         "bits beyond /24; write 192.0.2.0/24 for the network or 192.0.2.1 for",
		"2001:db8::1/64":       "bits beyond /64",
		"::ffff:192.0.2.1/120": "bits beyond /120",
		"::ffff:192.0.2.0/80":  "bits beyond /80",
	} {
		if got, err := ParsePrefix(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParsePrefix(%q) = %s, %v, want error %s", in, got, err, want)
		}
	}
}

func TestDomain(t *testing.T) {
	for in, want := range map[string]string{
		"Mail.Example.ORG.":     "mail.example.org",
		"b\u00fccher.example":   "xn--bcher-kva.example",
		"B\u00dcCHER.example.":  "xn--bcher-kva.example",
		"xn--bcher-kva.example": "xn--bcher-kva.example",
		"localhost":             "localhost",
		"_dmarc.example":        "_dmarc.example",
	} {
		if got, err := Domain(in); err != nil || got != want {
			t.Errorf("Domain(%q) = %q, %v, want %q", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		"":                     "it is empty",
		".":                    "starts with a dot",
		".example.org":         "starts with a dot",
		"*.example.org":        "other than letters",
		"192.0.2.1":            "is an address",
		"[192.0.2.1]":          "is an address",
		"a.\xff":               "is not a domain name",
		"b\u00fc cher.example": "is not a domain name",
	} {
		if got, err := Domain(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Domain(%q) = %q, %v, want error %s", in, got, err, want)
		}
	}
}

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
