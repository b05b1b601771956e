package heloname

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"testing"
)

func TestDynamic(t *testing.T) {
	const v6 = "2001:db8:0:1::25"
	for _, tc := range []struct{ name, client, evidence string }{
		// The address and a word.
		{"192-0-2-1.dyn.isp.example", "192.0.2.1", "the client's address and dyn"},
		{"adsl-192-0-2-1.example.net", "192.0.2.1", "the client's address and adsl"},
		{"pool192.0.2.1.example.net", "192.0.2.1", "the client's address and pool"},
		{"1.2.0.192.dialup.example.net", "192.0.2.1", "the client's address and dialup"},
		{"pc0000201.dip.example.net", "192.0.2.1", "the client's address and dip"},
		{"ip-192-0-2-1.customer.example.net", "192.0.2.1", "the client's address and customer"},
		{"2001-db8-0-1--25.dsl.example.net", v6, "the client's address and dsl"},
		{"192-0-2-1.cable.example.co.uk", "192.0.2.1", "the client's address and cable"},
		// The customer of a provider that also sells lines.
		{"dsl-192-0-2-1.rr.com", "192.0.2.1", "the client's address and dsl"},
		// A word next to numbers, whatever the address.
		{"dsl-65-188-25.example.net", "192.0.2.1", "dsl next to a number"},
		{"cpe013060001360.example.net", "192.0.2.1", "cpe next to a number"},
		{"12.34.ppp.example.net", "192.0.2.1", "ppp next to a number"},
		{"dhcp-44-201.example.net", "192.0.2.1", "dhcp next to a number"},

		// The address alone is what clouds and senders use.
		{"192-0-2-1.example.net", "192.0.2.1", ""},
		{"ip-192-0-2-1.example.net", "192.0.2.1", ""},
		{"192-0-2-1-host.example.net", "192.0.2.1", ""},
		{"ip1.ip-192-0-2.example.net", "192.0.2.1", ""},
		{"o192x0x2x1.example.net", "192.0.2.1", ""},
		{"a2-1.smtp-out.example.net", "192.0.2.1", ""},
		// Words of the organisation do not count.
		{"192-0-2-1.cable.com", "192.0.2.1", ""},
		{"192-0-2-1.dsl.co.uk", "192.0.2.1", ""},
		{"mail-192-0-2-1.home.pl", "192.0.2.1", ""},
		{"1.ip-192-0-2.eu", "192.0.2.1", ""},
		{"host12345.fiber.com", "192.0.2.1", ""},
		// Static, mail and provider names.
		{"static.192-0-2-1.clients.example.net", "192.0.2.1", ""},
		{"192-0-2-1.static.dsl.example.net", "192.0.2.1", ""},
		{"192-0-2-1.dsl.comcastbusiness.example", "192.0.2.1", ""},
		{"dsl-192-0-2-1.smtp.example.net", "192.0.2.1", ""},
		{"mail.dsl-192-0-2-1.example.net", "192.0.2.1", ""},
		{"mx1.dsl-192-0-2-1.example.net", "192.0.2.1", ""},
		{"mailout-192-0-2-1.pool.example.net", "192.0.2.1", ""},
		{"vps-192-0-2-1.client.example.net", "192.0.2.1", ""},
		{"out192-0-2-1.pool.qq.com", "192.0.2.1", ""},
		{"192-0-2-1.dyn.facebook.com", "192.0.2.1", ""},
		// The public suffix is nobody's word.
		{"dsl-192-0-2-1.example.mx", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.com.mx", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.email", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.gw", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.biz", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.news", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.cloud", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.hosting", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.post", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.exchange", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.business", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.delivery", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.br", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.mail.mx", "192.0.2.1", ""},
		{"dsl-192-0-2-1.mx.example.email", "192.0.2.1", ""},
		// Words inside words.
		{"192-0-2-1.stripped.example.net", "192.0.2.1", ""},
		{"192-0-2-1.dynamite.example.net", "192.0.2.1", ""},
		{"carpool12345.example.net", "192.0.2.1", ""},
		// Few digits, or not next to the word.
		{"dsl.example.net", "192.0.2.1", ""},
		{"dsl1.example.net", "192.0.2.1", ""},
		{"wifi24.example.net", "192.0.2.1", ""},
		{"dynamic2000.example.net", "192.0.2.1", ""},
		{"pool-1-2.example.net", "192.0.2.1", ""},
		{"dsl-a12345.example.net", "192.0.2.1", ""},
		{"host-44-201-12.example.net", "192.0.2.1", ""},
		{"163.com", "192.0.2.1", ""},
		{"1und1.de", "192.0.2.1", ""},
		{"", "192.0.2.1", ""},
	} {
		evidence, ok := (*Lists)(nil).Dynamic(tc.name, addr(tc.client))
		if evidence != tc.evidence || ok != (tc.evidence != "") {
			t.Errorf("Dynamic(%q, %s) = %q, %v, want %q",
				tc.name, tc.client, evidence, ok, tc.evidence)
		}
	}
}

func TestDefaultHost(t *testing.T) {
	for name, want := range map[string]string{
		"server1.example.com":         "default name of a rented server",
		"vps-12345678.example.com":    "default name of a rented server",
		"ubuntu.example.com":          "name of a system image",
		"debian12.example.com":        "name of a system image",
		"ubuntu-2gb-a-1.example.com":  "name of a system image",
		"win-aq9496e73vv.example.com": "name made by Windows set-up",
		"desktop-1a2b3c4.example.com": "name made by Windows set-up",
		"laptop-1a2b3c4d.example.com": "name made by Windows set-up",
		"ip-10-0-0-1.example.com":     "name made of an address",
		"ip-192-0-2-1.example.com":    "name made of an address",
		"ecs-42a4.example.com":        "name made by a cloud",
		"i-0a1b2c3d4e5f.example.com":  "name made by a cloud",
		"iz23ta32q5yxz.example.com":   "id or serial number",
		"a8f121480e1d.example.com":    "id or serial number",
		"12345.example.com":           "id or serial number",
		"hwsrv-1234567.example.com":   "id or serial number",
		"abc123456.example.com":       "id or serial number",
		"mail.plesk.page":             "default domain of rented machines",
		"a.b.plesk.page":              "default domain of rented machines",
		"plesk.page":                  "default domain of rented machines",
		"x.vps.ovh.net":               "default domain of rented machines",
		"ns1.ip-192-0-2.eu":           "default domain of rented machines",
		"ip-192-0-2.net":              "default domain of rented machines",

		"mail.example.com":           "",
		"mta01.yourcompany.com":      "",
		"server1.com":                "", // an organisational domain
		"12345.com":                  "",
		"vps.co.uk":                  "",
		"server":                     "",
		"12345":                      "",
		"":                           "",
		"servers.example.com":        "",
		"server-mail.example.com":    "",
		"server-123456789.test":      "",
		"vps--1.example.com":         "",
		"myserver1.example.com":      "",
		"debian_1.example.com":       "",
		"ubuntu-a_b.example.com":     "",
		"debian1a.example.com":       "",
		"win-mail.example.com":       "",
		"windows.example.com":        "",
		"desktop-1.example.com":      "",
		"ip-10-0-0.example.com":      "",
		"ip-10-0-0-1-1.example.com":  "",
		"ip-10-0-0-1000.example.com": "",
		"ip-10-0--1.example.com":     "",
		"ip10-0-0-1.example.com":     "",
		"i-0a1b2c3g.example.com":     "",
		"i-0a1b2c3.example.com":      "",
		"a8f121480e1.example.com":    "",
		"a8f121480e1g.example.com":   "",
		"1234.example.com":           "",
		"mail12345.example.com":      "",
		"mailout123456.example.com":  "",
		"izmailovskiy.example.com":   "",
		"iz23ta32q5yz.example.com":   "",
		"mail.server1.example.com":   "",
		"srv12.a.example.co.uk":      "default name of a rented server",
		"vps-123.example.com":        "default name of a rented server",
		"host.example.com":           "default name of a rented server",
		"v123456.example.com":        "id or serial number",
		// The word alone, or counted by its owner, is no default.
		"server.example.com":  "",
		"srv.a.example.co.uk": "",
		"server-.example.com": "",
		"vps.example.com":     "",
		"vps0.example.com":    "",
		"vm-12.example.com":   "",
		"node.example.com":    "",
		"node7.example.com":   "",
		// Numbered mail servers, and hosts of providers.
		"mail-123456.example.com":     "",
		"mx123456.example.com":        "",
		"out-1234567.example.com":     "",
		"smtp123456.example.com":      "",
		"mail-106102.protonmail.ch":   "",
		"m176115.mail.qiye.163.com":   "",
		"12345.mail.ru":               "",
		"notplesk.page":               "",
		"my.plesk.page.example.com":   "",
		"mail.vps.ovh.example":        "",
		"ns1.ip-192-0-2.org":          "",
		"ns1.ip-192-0-2000.eu":        "",
		"ns1.ip-192-0-2-1.eu":         "",
		"ns1.myip-192-0-2.eu":         "",
		"ip-192-0-2.mail.example.com": "",
	} {
		if got, ok := (*Lists)(nil).DefaultHost(name); got != want || ok != (want != "") {
			t.Errorf("DefaultHost(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
}

func TestEmbedsAddr(t *testing.T) {
	const v6 = "2001:db8:0:1::25"
	for _, tc := range []struct {
		name, client string
		want         bool
	}{
		{"192.0.2.1.dsl.example.net", "192.0.2.1", true},
		{"192-0-2-1.dsl.example.net", "192.0.2.1", true},
		{"192_0_2_1.example.net", "192.0.2.1", true},
		{"192x0x2x1.example.net", "192.0.2.1", true},
		{"192-0-2.1.example.net", "192.0.2.1", true},
		{"ip192-0-2-1.example.net", "192.0.2.1", true},
		{"h192-0-2-1n.example.net", "192.0.2.1", true},
		{"a192b0c2d1.example.net", "192.0.2.1", true},
		{"192-000-002-001.example.net", "192.0.2.1", true},
		{"1.2.0.192.example.net", "192.0.2.1", true},
		{"1-2-0-192.example.net", "192.0.2.1", true},
		{"1.ip-192-0-2.example.net", "192.0.2.1", true},
		{"pool-7-192-0-2-1.example.net", "192.0.2.1", true},
		{"192000002001.example.net", "192.0.2.1", true},
		{"001002000192.example.net", "192.0.2.1", true},
		{"ip-198051100200.example.net", "198.51.100.200", true},
		{"198511002.example.net", "198.51.100.2", true},
		{"203011377.example.net", "203.0.113.77", false}, // 20.30.113.77 is spelled so too
		{"255255255255.example.net", "255.255.255.255", true},
		{"203254199253.example.net", "203.254.199.253", true},
		{"c0000201.example.net", "192.0.2.1", true},
		{"pc0000201.dip.example.net", "192.0.2.1", true},
		{"x010200c0.example.net", "192.0.2.1", true},
		{"192-0-2-1.example.net", "::ffff:192.0.2.1", true},
		{"192-0-2-1", "192.0.2.1", true},

		{"192-0-2-10.example.net", "192.0.2.1", false},
		{"192-0-2-10.example.net", "192.0.2.100", false},
		{"1192-0-2-1.example.net", "192.0.2.1", false},
		{"192-0-2.example.net", "192.0.2.1", false},
		{"0-2-1.example.net", "192.0.2.1", false},
		{"192-0-1-2.example.net", "192.0.2.1", false},
		{"192-0-5-2-1.example.net", "192.0.2.1", false},
		{"192-0-2-0001.example.net", "192.0.2.1", false},
		{"192-0-2-257.example.net", "192.0.2.1", false},
		{"192021.example.net", "192.0.2.1", false},
		{"1920002001.example.net", "192.0.2.1", false},
		{"1192000002001.example.net", "192.0.2.1", false},
		{"1920000020010.example.net", "192.0.2.1", false},
		{"ac0000201.example.net", "192.0.2.1", false},
		{"c00002011.example.net", "192.0.2.1", false},
		{"c000021.example.net", "192.0.2.1", false},
		{"mail.example.net", "192.0.2.1", false},
		{"0.example.net", "0.0.0.0", false},
		{"", "192.0.2.1", false},
		{"192-0-2-1.example.net", "", false},
		{"192-0-2-1.example.net", v6, false},

		{"2001-db8-0-1--25.example.net", v6, true},
		{"ip6-2001-db8-0-1--25.example.net", v6, true},
		{"2001.db8.0.1.0.0.0.25.example.net", v6, true},
		{"2001-db8-0-1-0-0-0-25.example.net", v6, true},
		{"2001-0db8-0000-0001-0000-0000-0000-0025.example.net", v6, true},
		{"20010db8000000010000000000000025.example.net", v6, true},
		{"h20010db8000000010000000000000025.example.net", v6, true},
		{"52000000000000001000000008bd01002.example.net", v6, false},
		{"5200000000000000100000008bd01002.example.net", v6, true},
		{"5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.example.net", v6, true},
		{"2.0.0.1.0.d.b.8.0.0.0.0.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.5.example.net", v6, true},
		{"2001-db8-0-1--251.example.net", v6, false},
		{"a2001-db8-0-1--25.example.net", v6, false},
		{"2001-db8-0-1--2.example.net", v6, false},
		{"2001-db8--25.example.net", v6, false},
		{"a20010db8000000010000000000000025.example.net", v6, false},
		{"mail25.example.net", v6, false},
		{"", v6, false},
		{"2001-db8--.example.net", "2001:db8::", true},
	} {
		if got := EmbedsAddr(tc.name, addr(tc.client)); got != tc.want {
			t.Errorf("EmbedsAddr(%q, %s) = %v", tc.name, tc.client, got)
		}
		if tc.want && !spells(tc.name, addr(tc.client), true) {
			t.Errorf("ShowsAddr(%q, %s) = false", tc.name, tc.client)
		}
	}
}

// spellings4 are spellings of an IPv4 address; each has to be found in front
// of a domain, and none may be found for a neighbour of the address.
func spellings4(a netip.Addr) []string {
	b := a.As4()
	return []string{
		fmt.Sprintf("%d.%d.%d.%d", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d-%d-%d-%d", b[3], b[2], b[1], b[0]),
		fmt.Sprintf("dsl_%03d_%03d_%03d_%03d", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d.ip-%d-%d-%d", b[3], b[0], b[1], b[2]),
		fmt.Sprintf("%03d%03d%03d%03d", b[0], b[1], b[2], b[3]),
		"p" + hex.EncodeToString(b[:]),
	}
}

// spellings6 are spellings of an IPv6 address.
func spellings6(a netip.Addr) []string {
	b := a.As16()
	joined := hex.EncodeToString(b[:])
	dotted := strings.Join(strings.Split(joined, ""), ".")
	return []string{
		"ip-" + strings.ReplaceAll(a.StringExpanded(), ":", "-"),
		"ip-" + strings.ReplaceAll(a.String(), ":", "-"), joined, "n." + dotted,
	}
}

func FuzzEmbedsAddr(f *testing.F) {
	f.Add("mail-192-0-2-1.example.net", []byte{192, 0, 2, 1})
	f.Add("2001-db8--1", []byte("\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Add("\xff..--", []byte{0, 0, 0, 0})
	f.Add("111111111111", []byte{11, 111, 111, 111})
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, name string, octets []byte) {
		client, ok := netip.AddrFromSlice(octets)
		EmbedsAddr(name, client)
		if !ok {
			if EmbedsAddr(name, client) {
				t.Fatalf("%q holds no address", name)
			}
			return
		}
		client = client.Unmap()
		spellings := spellings6
		if client.Is4() {
			spellings = spellings4
		}
		for _, s := range spellings(client) {
			if !EmbedsAddr(s+".example.net", client) {
				t.Fatalf("%s is not found in %s", client, s)
			}
			if next := client.Next(); next.IsValid() && digitsOf(next) != digitsOf(client) &&
				EmbedsAddr(s+".example.net", next) {
				t.Fatalf("%s is found in %s", next, s)
			}
		}
	})
}

// digitsOf counts the hexadecimal digits of an address. Addresses with the
// same digits may share a reversed spelling.
func digitsOf(a netip.Addr) (n [256]int) {
	for _, c := range []byte(hex.EncodeToString(a.AsSlice())) {
		n[c]++
	}
	return n
}

func TestGenericPTR(t *testing.T) {
	const v6 = "2001:db8:7:1a::25"
	for _, tc := range []struct {
		ptr, client   string
		shows, rented bool
	}{
		// three neighbouring octets
		{"192-0-2.example.net", "192.0.2.77", true, false},
		{"192-0-2-77.dyn.isp.example", "192.0.2.77", true, true},
		{"192-0-2-77.dyn.isp.example", "::ffff:192.0.2.77", true, true},
		{"192-0-2-77.dyn.isp.example", "64:ff9b::192.0.2.77", true, true},
		{"0-2-77.example.net", "192.0.2.77", true, false},
		{"77.2.0.example.net", "192.0.2.77", true, false},
		{"a2b0c192.example.net", "192.0.2.77", true, false},
		{"host-000-002-077.example.net", "192.0.2.77", true, true},
		{"ns502.ip-192-0-2.eu", "192.0.2.77", true, false},
		{"1.77-2-0-192-5.example.net", "192.0.2.77", true, false},
		{"192-0-77.example.net", "192.0.2.77", false, false},
		{"2-192-0.example.net", "192.0.2.77", false, false},
		{"192-0.example.net", "192.0.2.77", false, false},
		{"192-0-20.example.net", "192.0.2.77", false, false},
		{"192-0-0002.example.net", "192.0.2.77", false, false},
		{"192-1-0-2.example.net", "192.0.2.77", false, false},
		// digits without separators
		{"x192000002077.example.net", "192.0.2.77", true, false},
		{"5077002000192.example.net", "192.0.2.77", true, false},
		{"192000002078.example.net", "192.0.2.77", false, false},
		{"vps-ac000024d.example.net", "192.0.2.77", true, true},
		{"h4d0200c0f.example.net", "192.0.2.77", true, false},
		{"c000024e.example.net", "192.0.2.77", false, false},
		{"198511002.example.net", "198.51.100.2", true, false},
		// IPv6
		{"2001-0db8-0007-001a-x.example.net", v6, true, false},
		{"h20010db80007001a.example.net", v6, true, false},
		{"a1007000.8bd01002.example.net", v6, true, false},
		{"2001-db8-7-1a--25.example.net", v6, true, false},
		{"20010db80007001.example.net", v6, false, false},
		{"20010db80007002a.example.net", v6, false, false},
		{"0000000000000025.example.net", v6, false, false}, // too few different digits
		{"192-0-2-77.example.net", v6, false, false},
		// rented machines and lines
		{"vps-1234.example.net", "192.0.2.77", false, true},
		{"vm5.pool.example.net", "192.0.2.77", false, true},
		{"a1.customer.example.net", v6, false, true},
		{"unused.a4.example.net", "192.0.2.77", false, true},
		{"vps.example.net", "192.0.2.77", false, false}, // no digit
		{"vpsa1.example.net", "192.0.2.77", false, false},
		{"mail1.example.net", "192.0.2.77", false, false},
		{"mx-out-7.example.net", "192.0.2.77", false, false},
		{"vps1.example.net", "", false, true},
		{"192-0-2.example.net", "", false, false},
		{"", "192.0.2.77", false, false},
	} {
		client := addr(tc.client)
		if got := spells(tc.ptr, client, true); got != tc.shows {
			t.Errorf("ShowsAddr(%q, %s) = %v", tc.ptr, tc.client, got)
		}
		if got := DefaultLists().GenericPTR(tc.ptr, netip.Addr{}); got != tc.rented {
			t.Errorf("rented(%q) = %v", tc.ptr, got)
		}
		if got := (*Lists)(nil).GenericPTR(tc.ptr, client); got != (tc.shows || tc.rented) {
			t.Errorf("GenericPTR(%q, %s) = %v", tc.ptr, tc.client, got)
		}
	}
}

// TestShowsRandom: what EmbedsAddr finds ShowsAddr finds too, it finds half an
// address, and it does not find a random other one.
func TestShowsRandom(t *testing.T) {
	r := random()
	for range rounds {
		four, six := randomAddr(r, 4), randomAddr(r, 16)
		b, c := four.As4(), six.As16()
		half := hex.EncodeToString(c[4:12])
		for _, s := range []string{
			fmt.Sprintf("%d-%d-%d", b[0], b[1], b[2]), fmt.Sprintf("x%d.%d.%d", b[3], b[2], b[1]),
			fmt.Sprintf("%d-%d-%d-isp", b[2], b[1], b[0]), "ab" + hex.EncodeToString(b[:]) + "cd",
		} {
			if !spells(s+".example.net", four, true) {
				t.Fatalf("%s is not found in %s", four, s)
			}
		}
		if enough := countDigits(half) >= minNibbles; spells("x-"+half, six, true) != enough && enough {
			t.Fatalf("%s is not found in %s", six, half)
		}
		other := randomAddr(r, 16)
		for _, s := range spellings6(six) {
			if !spells(s, six, true) {
				t.Fatalf("%s is not found in %s", six, s)
			}
			if digitsOf(other) != digitsOf(six) && spells(s, other, true) {
				t.Fatalf("%s is found in %s", other, s)
			}
		}
	}
}

func countDigits(s string) int {
	seen := map[rune]bool{}
	for _, c := range s {
		seen[c] = true
	}
	return len(seen)
}

func TestLineName(t *testing.T) {
	for _, tc := range []struct {
		ptr, client string
		want        bool
	}{
		{"45-10-1-2.dyn.isp.example", "45.10.1.2", true},
		{"static-45-10-1-2.isp.example", "45.10.1.2", true},
		{"45-10-1-2.isp.mail", "45.10.1.2", true},
		{"45-10-1-2.dyn.isp.example", "64:ff9b::45.10.1.2", true},
		{"out45-10-1-2.mail.example.com", "45.10.1.2", false},
		{"host9-rack4-5.eps.example.com", "45.10.1.2", false},
		{"mail.example.com", "45.10.1.2", false},
	} {
		client := netip.MustParseAddr(tc.client)
		if got := DefaultLists().LineName(tc.ptr, client); got != tc.want {
			t.Errorf("%s of %s: %t", tc.ptr, tc.client, got)
		}
	}
}
