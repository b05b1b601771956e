package heloname

import (
	"strings"
	"testing"
)

// TestTraps has names of good servers on which other checks fail. No rule
// that looks at a name alone may hit one of them, unless by its TLD's age or
// its default name, which are never enough to act on.
func TestTraps(t *testing.T) {
	client := addr("192.0.2.1")
	// A rented server may be a good one: its default name is a fact, but no
	// access line.
	rented := map[string]bool{
		"1.ip-192-0-2.eu": true, "vps-c0000201.vps.ovh.net": true,
		"ec2-192-0-2-1.compute-1.amazonaws.com": true,
	}
	for _, tc := range []struct{ trap, arg string }{
		{"one trailing dot", "mail.example.net."},
		{"upper case", "TWMBX01.EXAMPLE.COM"},
		{"upper case", "NAM10-BN7-OBE.outbound.protection.outlook.com"},
		{"underscore", "exchange_1.example.net"},
		{"encoded label", "mail.xn--bcher-kva.com"},
		{"double hyphen", "r3---sn-4g5e.example.com"},
		{"digits first", "163.com"},
		{"digits first", "1und1.de"},
		{"digits first", "126.com"},
		{"digits first", "12345.com"},
		{"digits first", "3com.com"},
		{"numbers for labels", "10-1-2-3.example.com"},
		{"numbers for labels", "1234.example.com"},
		{"numbers for labels", "10.1.2.example.com"},
		{"new top-level domain", "mail.example.online"},
		{"new top-level domain", "mail.example.email"},
		{"new top-level domain", "mail.example.cloud"},
		{"new top-level domain", "mail.example.network"},
		{"new top-level domain", "mail.example.zip"},
		{"name of a private suffix", "github.io"},
		{"name of a private suffix", "eu.org"},
		{"address of a sender", "a2-1.smtp-out.us-west-2.amazonses.com"},
		{"address of a sender", "o192x0x2x1.outbound-mail.sendgrid.net"},
		{"address of a sender", "192-0-2-1.mail-mxout.facebook.com"},
		{"address of a sender", "out192-0-2-1.mail.qq.com"},
		{"address of a server", "1.ip-192-0-2.eu"},
		{"address of a server", "vps-c0000201.vps.ovh.net"},
		{"address of a server", "static.192-0-2-1.clients.your-server.de"},
		{"address of a server", "static.1.2.0.192.clients.your-server.de"},
		{"address of a server", "192-0-2-1-static.hfc.comcastbusiness.net"},
		{"address of a server", "ec2-192-0-2-1.compute-1.amazonaws.com"},
		{"customer of an access provider", "mail.business.comcast.net"},
		{"word of a default name", "mailserver1.example.com"},
		{"word of a default name", "server.com"},
		{"word of a default name", "nodes.example.com"},
		{"word of a default name", "vpsmail.example.com"},
		{"access word in a domain", "mail.home.pl"},
		{"access word in a domain", "mx12345.dsl.net"},
		{"access word for a server", "pool1.example.com"},
		{"access word for a server", "wifi24.example.com"},
		{"localhost in a name", "mylocalhost.example.com"},
		{"reserved word in a name", "local.example.com"},
		{"reserved word in a name", "mail.home.example.com"},
	} {
		t.Run(tc.trap+"/"+tc.arg, func(t *testing.T) {
			n := Parse(tc.arg)
			if n.Kind != FQDN || n.ASCII != strings.ToLower(strings.TrimSuffix(tc.arg, ".")) {
				t.Fatalf("Parse = %+v", n)
			}
			if suffix := (*Lists)(nil).Reserved(n.ASCII); suffix != "" {
				t.Errorf("reserved below %s", suffix)
			}
			if evidence, ok := (*Lists)(nil).Dynamic(n.ASCII, client); ok {
				t.Errorf("dynamic: %s", evidence)
			}
			if evidence, ok := (*Lists)(nil).DefaultHost(n.ASCII); ok != rented[tc.arg] {
				t.Errorf("default host: %s", evidence)
			}
			if !KnownTLD(n.ASCII) || NumericTLD(n.ASCII) || Localhost(n.ASCII) {
				t.Errorf("known TLD %v, numeric %v, localhost %v",
					KnownTLD(n.ASCII), NumericTLD(n.ASCII), Localhost(n.ASCII))
			}
		})
	}
}

// TestTrapLiterals: a literal is no bare IP, the tag is optional, and
// addresses are compared as addresses.
func TestTrapLiterals(t *testing.T) {
	for _, tc := range []struct{ trap, arg, addr string }{
		{"literal is no bare address", "[192.0.2.1]", "192.0.2.1"},
		{"tagged IPv6", "[IPv6:2001:db8::1]", "2001:db8::1"},
		{"tag in any case", "[ipV6:2001:DB8:0::1]", "2001:db8::1"},
		{"untagged IPv6", "[2001:db8::1]", "2001:db8::1"},
		{"mapped IPv4", "[IPv6:::ffff:192.0.2.1]", "192.0.2.1"},
		{"prefix of another address", "[192.0.2.10]", "192.0.2.10"},
	} {
		t.Run(tc.trap, func(t *testing.T) {
			if n := Parse(tc.arg); n.Kind != Literal || n.Addr != addr(tc.addr) || n.Problem != "" {
				t.Errorf("Parse(%q) = %+v", tc.arg, n)
			}
		})
	}
}

// TestTrapPTR: PTR names that differ from the HELO name and still speak for
// the client.
func TestTrapPTR(t *testing.T) {
	l := DefaultLists()
	for _, tc := range []struct{ trap, helo, ptr string }{
		{"pool of one domain", "mail-lj1-f41.google.com", "mail-lj1-x236.google.com"},
		{"pool below a country's suffix", "mx1.example.co.uk", "out7.example.co.uk"},
		{"domain for a host", "example.com", "mail.example.com"},
		{"provider with another domain", "mout.web.de", "mout.gmx.net"},
		{"provider with another domain", "fallback17.mail.ru", "fallback17.m.smailru.net"},
		{"provider of many countries", "yahoo.co.uk", "mta1.mail.bf1.yahoo.com"},
		{"provider of many countries", "mta1.mail.yahoo.com.ar", "mx.yahoo.com.ar"},
		{"one house, two domains", "mail.example.org", "mx.example.net"},
		{"customer's label in a provider's name", "example.org", "example.customer.isp.test"},
		{"same host, two domains", "relay12.first.test", "relay12.second.test"},
	} {
		t.Run(tc.trap, func(t *testing.T) {
			p := l.Provider(tc.helo)
			if !SameOrg(tc.helo, tc.ptr) && !Related(tc.helo, tc.ptr) && (p == nil || !p.Owns(tc.ptr)) {
				t.Errorf("%s does not speak for %s", tc.ptr, tc.helo)
			}
		})
	}
}

// TestTrapPrivateTLD: an operator can take a private TLD off the list.
func TestTrapPrivateTLD(t *testing.T) {
	const name = "exchange.example.local"
	l := with(t, Extension{NotReserved: []string{"local"}})
	if !reserved(DefaultLists(), name) || reserved(l, name) || !reserved(l, "exchange.example.lan") {
		t.Errorf("%s: reserved %v, taken out %v", name, reserved(DefaultLists(), name), reserved(l, name))
	}
}
