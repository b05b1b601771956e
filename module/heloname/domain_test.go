package heloname

import (
	"testing"
	"time"
)

func TestTLD(t *testing.T) {
	for _, tc := range []struct {
		name, tld      string
		known, numeric bool
	}{
		{"mail.example.com", "com", true, false},
		{"com", "com", true, false},
		{"mail.example.co.uk", "uk", true, false},
		{"github.io", "io", true, false},
		{"a.github.io", "io", true, false},
		{"mail.example.ck", "ck", true, false},
		{"www.ck", "ck", true, false},
		{"ck", "ck", true, false},
		{"mail.city.kawasaki.jp", "jp", true, false},
		{"mail.example.online", "online", true, false},
		{"mail.example.xn--p1ai", "xn--p1ai", true, false},
		{"203.2.0.192.in-addr.arpa", "arpa", true, false},
		{"mail.example.notatld", "notatld", false, false},
		{"mail.example.local", "local", false, false},
		{"mail.example.co_m", "co_m", false, false},
		{"localhost", "localhost", false, false},
		{"mail.example.org", "org", true, false},
		{"mail.example.de", "de", true, false},
		{"mail.example.zz", "zz", false, false},
		{"mail.example.aa", "aa", false, false},
		{"mail.example.d_", "d_", false, false},
		{"mail.example.d1", "d1", false, false},
		{"10.1.2.999", "999", false, true},
		{"mail.example.123", "123", false, true},
		{"mail.example.0x7f", "0x7f", false, true},
		{"mail.example.0x", "0x", false, false},
		{"mail.example.0xfg", "0xfg", false, false},
		{"mail.example.7f", "7f", false, false},
		{"163.com", "com", true, false},
		{"4294967296", "4294967296", false, true},
		{"", "", false, false},
	} {
		if got := TLD(tc.name); got != tc.tld {
			t.Errorf("TLD(%q) = %q, want %q", tc.name, got, tc.tld)
		}
		if got := KnownTLD(tc.name); got != tc.known {
			t.Errorf("KnownTLD(%q) = %v", tc.name, got)
		}
		if got := NumericTLD(tc.name); got != tc.numeric {
			t.Errorf("NumericTLD(%q) = %v", tc.name, got)
		}
	}
}

func TestOrgDomain(t *testing.T) {
	for name, want := range map[string]string{
		"mail.example.com":       "example.com",
		"a.b.example.com":        "example.com",
		"example.com":            "example.com",
		"com":                    "com",
		"mail.example.co.uk":     "example.co.uk",
		"co.uk":                  "co.uk",
		"a.github.io":            "a.github.io",
		"mx.a.github.io":         "a.github.io",
		"github.io":              "github.io",
		"a.example.ck":           "a.example.ck",
		"x.a.example.ck":         "a.example.ck",
		"mail.www.ck":            "www.ck",
		"mail.example.local":     "example.local",
		"localhost":              "localhost",
		"":                       "",
		"mail.xn--bcher-kva.com": "xn--bcher-kva.com",
	} {
		if got := OrgDomain(name); got != want {
			t.Errorf("OrgDomain(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestSameOrg(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"mail.example.com", "out.example.com", true},
		{"example.com", "out.example.com", true},
		{"example.com", "example.com", true},
		{"mail.example.com", "mail.example.net", false},
		{"mail.example.com", "mail.notexample.com", false},
		{"a.co.uk", "b.co.uk", false},
		{"a.github.io", "b.github.io", false},
		{"a.github.io", "x.a.github.io", true},
		{"github.io", "a.github.io", false},
		{"a.local", "b.local", false},
		{"", "", true},
		{"", "com", false},
	} {
		if got := SameOrg(tc.a, tc.b); got != tc.want {
			t.Errorf("SameOrg(%q, %q) = %v", tc.a, tc.b, got)
		}
		if got := SameOrg(tc.b, tc.a); got != tc.want {
			t.Errorf("SameOrg(%q, %q) = %v", tc.b, tc.a, got)
		}
	}
}

func TestBelow(t *testing.T) {
	for _, tc := range []struct {
		name, domain string
		want         bool
	}{
		{"example.com", "example.com", true},
		{"mail.example.com", "example.com", true},
		{"a.mail.example.com", "example.com", true},
		{"notexample.com", "example.com", false},
		{"-example.com", "example.com", false},
		{"example.com", "mail.example.com", false},
		{"example.com.example.net", "example.com", false},
		{"com", "example.com", false},
		{"example.com", "", false},
		{"", "", false},
		{"", "com", false},
	} {
		if got := Below(tc.name, tc.domain); got != tc.want {
			t.Errorf("Below(%q, %q) = %v", tc.name, tc.domain, got)
		}
	}
}

func TestLocalhost(t *testing.T) {
	for name, want := range map[string]bool{
		"localhost":                 true,
		"localhost.localdomain":     true,
		"localhost.example.com":     true,
		"mail.localhost":            true,
		"a.b.localhost":             true,
		"localhosts":                false,
		"mylocalhost":               false,
		"mylocalhost.example.com":   false,
		"localhost-1.example.com":   false,
		"mail.localhost.com":        false,
		"mail.localhost.localhost1": false,
		"mail.localdomain":          false,
		"local":                     false,
		"":                          false,
	} {
		if got := Localhost(name); got != want {
			t.Errorf("Localhost(%q) = %v", name, got)
		}
	}
}

func TestTLDDate(t *testing.T) {
	date, err := time.Parse(time.DateOnly, TLDDate())
	if err != nil || date.Year() < 2025 {
		t.Errorf("TLDDate() = %s, %v", TLDDate(), err)
	}
	if n := len(knownTLDs()); n < 1400 {
		t.Errorf("%d top-level domains", n)
	}
	for tld := range knownTLDs() {
		if n := Parse("example." + tld); n.Kind != FQDN || n.ASCII != "example."+tld {
			t.Errorf("TLD %q: %+v", tld, n)
		}
	}
}

func TestRelated(t *testing.T) {
	for _, tc := range []struct {
		helo, ptr string
		want      bool
	}{
		{"mail.example.org", "mx.example.net", true},
		{"mail.example.co.uk", "mx.example.net", true},
		{"mail.example.org", "a.examplemail.net", true},
		{"mail.example-tech.org", "a.example.net", true},
		{"example.org", "example.isp.test", true},
		{"example.org", "mx.example.pop.isp.test", true},
		{"mail5.first.test", "mail5.second.test", true},
		{"smtp-out1.first.test", "smtp-out1.second.test", true},
		{"abcd.test", "xabcdx.invalid", true},

		{"mail.first.test", "mail.second.test", false}, // no digit: everybody's
		{"mx1.first.test", "mx1.second.test", false},   // two letters
		{"123.first.test", "123.second.test", false},
		{"mail5.first.test", "mail50.second.test", false},
		{"mail.first.test", "mx.second.test", false},
		{"mail.abc.test", "mx.abc.invalid", false}, // three letters of a domain
		{"mail.abc.test", "abc.isp.test", false},
		{"mail.abcdef.test", "mx.abc.invalid", false},
		{"mail.abc.test", "mx.abcdef.invalid", false},
		{"mail.example.org", "examples.isp.test", false},
		{"example.isp.test", "mx.example.org", false}, // the label counts one way only
		{"first.co.uk", "second.co.uk", false},
		{"", "mx.example.net", false},
		{"mail.example.org", "", false},
		{"", "", false},
	} {
		if got := Related(tc.helo, tc.ptr); got != tc.want {
			t.Errorf("Related(%q, %q) = %v", tc.helo, tc.ptr, got)
		}
	}
}

func TestNewTLD(t *testing.T) {
	for name, want := range map[string]bool{
		"mail.example.online": true,
		"mail.example.xyz":    true,
		"mail.example.email":  true,
		"mail.example.zip":    true,
		"mail.example.box":    true,
		"mail.example.tk":     true,
		"example.ml":          true,
		"online":              true,

		"mail.example.com":         false,
		"mail.example.net":         false,
		"mail.example.info":        false,
		"mail.example.museum":      false,
		"mail.example.asia":        false,
		"mail.example.xxx":         false,
		"mail.example.de":          false,
		"mail.example.io":          false,
		"mail.example.co.uk":       false,
		"mail.example.ck":          false,
		"a.github.io":              false,
		"203.2.0.192.in-addr.arpa": false,
		"mail.example.xn--p1ai":    false,
		"mail.example.notatld":     false,
		"mail.example.local":       false,
		"mail.example.test":        false,
		"mail.example.123":         false,
		"mail.online.com":          false,
		"":                         false,
	} {
		if got := NewTLD(name); got != want {
			t.Errorf("NewTLD(%q) = %v", name, got)
		}
	}
}
