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
