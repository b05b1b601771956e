package heloname

import (
	"net/netip"
	"strings"
	"testing"
)

// Texts of Name.Problem.
const (
	problemEmpty       = "it is empty"
	problem8Bit        = "it holds a byte outside ASCII"
	problemControl     = "it holds a control character"
	problemChar        = "it holds a character other than letters, digits, hyphens and dots"
	problemLeadingDot  = "it starts with a dot"
	problemEmptyLabel  = "it has two dots in a row"
	problemFinalDots   = "it ends with more than one dot"
	problemLongLabel   = "a part between dots is longer than 63 characters"
	problemLongName    = "it is longer than 253 characters"
	problemHyphenFirst = "a part between dots starts with a hyphen"
	problemHyphenLast  = "a part between dots ends with a hyphen"
	problemALabel      = "a part that starts with xn-- is not a valid encoded name"
	problemNumeric     = "its last part is a number, so it is neither a host name nor an address"

	problemUnclosed   = "it has no closing bracket at its end"
	problemNoAddress  = "its brackets are empty"
	problemNotIPv6    = "the text after its IPv6 tag is not an IPv6 address"
	problemNotIPv4    = "the text after its IPv4 tag is not an IPv4 address"
	problemNotAddress = "the text in its brackets is not an IP address"
)

// label returns n times c.
func label(c string, n int) string { return strings.Repeat(c, n) }

func TestParseNames(t *testing.T) {
	long := strings.Repeat(label("b", 63)+".", 3)
	for _, tc := range []struct {
		arg        string
		kind       Kind
		ascii      string
		underscore bool
		dot        bool
	}{
		{"mail.example.org", FQDN, "mail.example.org", false, false},
		{"MAIL.Example.ORG", FQDN, "mail.example.org", false, false},
		{"mail.example.org.", FQDN, "mail.example.org", false, true},
		{"a_b.example.org", FQDN, "a_b.example.org", true, false},
		{"_.example.org", FQDN, "_.example.org", true, false},
		{"a_B.example.org.", FQDN, "a_b.example.org", true, true},
		{"mail", SingleLabel, "mail", false, false},
		{"com.", SingleLabel, "com", false, true},
		{"WIN_1", SingleLabel, "win_1", true, false},
		{"a", SingleLabel, "a", false, false},
		{"163.com", FQDN, "163.com", false, false},
		{"1.example", FQDN, "1.example", false, false},
		{"10-1-2-3.example.net", FQDN, "10-1-2-3.example.net", false, false},
		{"0x1ffffffff", SingleLabel, "0x1ffffffff", false, false},
		{"0x", SingleLabel, "0x", false, false},
		{"1.2.3.4a", FQDN, "1.2.3.4a", false, false},
		{"10_0_24_7", SingleLabel, "10_0_24_7", true, false},
		{"xn--bcher-kva.example.org", FQDN, "xn--bcher-kva.example.org", false, false},
		{"XN--BCHER-KVA.example.org", FQDN, "xn--bcher-kva.example.org", false, false},
		{"mail.xn--p1ai", FQDN, "mail.xn--p1ai", false, false},
		{"mail.xn--mgberp4a5d4ar", FQDN, "mail.xn--mgberp4a5d4ar", false, false},
		{"xn--ls8h.example.com", FQDN, "xn--ls8h.example.com", false, false},
		{"xn--fa-hia.example", FQDN, "xn--fa-hia.example", false, false},
		{"r3---sn-q4fl6n.example.com", FQDN, "r3---sn-q4fl6n.example.com", false, false},
		{"s1--mail.example.com", FQDN, "s1--mail.example.com", false, false},
		{"axn--.a-b.example.com", Malformed, "", false, false},
		{label("a", 63) + ".example", FQDN, label("a", 63) + ".example", false, false},
		{long + label("c", 61), FQDN, long + label("c", 61), false, false},
		{long + label("c", 61) + ".", FQDN, long + label("c", 61), false, true},
	} {
		n := Parse(tc.arg)
		if n.Kind != tc.kind || n.ASCII != tc.ascii || n.Underscore != tc.underscore ||
			n.TrailingDot != tc.dot || n.Raw != tc.arg || n.Addr.IsValid() {
			t.Errorf("Parse(%q) = %+v", tc.arg, n)
		}
		if (n.Problem != "") != (tc.kind == Malformed) {
			t.Errorf("Parse(%q): problem %q", tc.arg, n.Problem)
		}
	}
}

func TestParseMalformed(t *testing.T) {
	long := strings.Repeat(label("b", 63)+".", 3)
	for _, tc := range []struct{ arg, problem string }{
		{"", problemEmpty},
		{".", problemLeadingDot},
		{"..", problemLeadingDot},
		{".com", problemLeadingDot},
		{"fake..com", problemEmptyLabel},
		{"fake..com.", problemEmptyLabel},
		{"example.com..", problemFinalDots},
		{"example.com...", problemFinalDots},
		{"-a.example.com", problemHyphenFirst},
		{"a.-b.example.com", problemHyphenFirst},
		{"-", problemHyphenFirst},
		{"a-.example.com", problemHyphenLast},
		{"example.com-", problemHyphenLast},
		{"example.com-.", problemHyphenLast},
		{label("a", 64) + ".example.com", problemLongLabel},
		{label("a", 2000), problemLongLabel},
		{long + label("c", 62), problemLongName},
		{strings.Repeat("a.", 2000) + "a", problemLongName},
		{"b\xc3\xbccher.example.com", problem8Bit},
		{"\xff", problem8Bit},
		{"mta01\texample.com", problemControl},
		{"mta01.example.com\rX", problemControl},
		{"a\x00b", problemControl},
		{"a\x7f", problemControl},
		{"@(&$", problemChar},
		{"mta01,example.com", problemChar},
		{"$domain", problemChar},
		{"user@example.com", problemChar},
		{"example.com:25", problemChar},
		{"192.0.2.1:25", problemChar},
		{"192.0.2.1]", problemChar},
		{"192.0.2.1/24", problemChar},
		{"192.0.2.", ""},
		{"IPv6:192.0.2.1", problemChar},
		{"2001:db8::g", problemChar},
		{"2001:db8:::1", problemChar},
		{"fe80::1%eth0", problemChar},
		{"IPv6:fe80::1%eth0", problemChar},
		{"a%eth0", problemChar},
		{"xn--a.example.com", problemALabel},
		{"95.ca.50.26", problemNumeric},
		{"mail.example.123", problemNumeric},
		{"a_b.1", problemNumeric},
		{"a:a:a:a:a:1.2.3.4", problemChar},
		{"xn--.example.com", problemHyphenLast},
		{"xn--example-.example.com", problemHyphenLast},
		{"xn--99999999999.example.com", problemALabel},
		{"xn--example-9.example.com", problemALabel},
		{"xn--a-ecp.ru", problemALabel},
		{"mail.xn--0", problemALabel},
	} {
		n := Parse(tc.arg)
		if tc.problem == "" {
			if n.Kind == Malformed {
				t.Errorf("Parse(%q): malformed, %s", tc.arg, n.Problem)
			}
			continue
		}
		if n.Kind != Malformed || n.Problem != tc.problem {
			t.Errorf("Parse(%q) = %v %q, want malformed %q", tc.arg, n.Kind, n.Problem, tc.problem)
		}
		if n.ASCII != "" || n.Underscore || n.TrailingDot || n.Addr.IsValid() {
			t.Errorf("Parse(%q) = %+v, want nothing but the problem", tc.arg, n)
		}
	}
}

// TestParseNumbers has arguments of numbers alone that no program reads as an address.
func TestParseNumbers(t *testing.T) {
	for _, arg := range []string{
		"321.255.255.255", "1.2.3.4.5", "1.2.3.4.5.", "10.1.2.999", "1.2.65536", "4294967296", "09", "127.09",
	} {
		if n := Parse(arg); n.Kind != BareIP || n.Addr.IsValid() || n.ASCII != "" || n.Problem != "" {
			t.Errorf("Parse(%q) = %+v, want bare_ip without address", arg, n)
		}
	}
}

func TestParseBareIP(t *testing.T) {
	for _, tc := range []struct{ arg, addr string }{
		{"192.0.2.1", "192.0.2.1"},
		{"192.0.2.1.", "192.0.2.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"2130706945", "127.0.2.1"},
		{"0", "0.0.0.0"},
		{"4294967295", "255.255.255.255"},
		{"0x7f000001", "127.0.0.1"},
		{"0X7F.1", "127.0.0.1"},
		{"0x7f.0.0.0x1", "127.0.0.1"},
		{"017700000001", "127.0.0.1"},
		{"0177.0.0.01", "127.0.0.1"},
		{"127.1", "127.0.0.1"},
		{"127.0.258", "127.0.1.2"},
		{"127.16777215", "127.255.255.255"},
		{"46.34.15.06", "46.34.15.6"},
		{"192.0.2.08", "192.0.2.8"},
		{"192.000.002.099", "192.0.2.99"},
		{"2001:db8::1", "2001:db8::1"},
		{"2001:DB8::A", "2001:db8::a"},
		{"2001:db8::1.", "2001:db8::1"},
		{"::", "::"},
		{"::1", "::1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"0000:0000:0000:0000:0000:ffff:255.255.255.255", "255.255.255.255"},
		{"IPv6:2001:db8::1", "2001:db8::1"},
		{"ipv6:::ffff:192.0.2.1", "192.0.2.1"},
	} {
		n := Parse(tc.arg)
		if n.Kind != BareIP || n.Addr != netip.MustParseAddr(tc.addr) || n.ASCII != "" {
			t.Errorf("Parse(%q) = %v %v %q, want bare_ip %s",
				tc.arg, n.Kind, n.Addr, n.ASCII, tc.addr)
		}
		if n.TrailingDot != strings.HasSuffix(tc.arg, ".") {
			t.Errorf("Parse(%q).TrailingDot = %v", tc.arg, n.TrailingDot)
		}
	}
}

func TestParseLiteral(t *testing.T) {
	for _, tc := range []struct{ arg, addr, problem string }{
		{"[192.0.2.1]", "192.0.2.1", ""},
		{"[0.0.0.0]", "0.0.0.0", ""},
		{"[IPv6:2001:db8::1]", "2001:db8::1", ""},
		{"[ipv6:2001:DB8::1]", "2001:db8::1", ""},
		{"[iPV6:::1]", "::1", ""},
		{"[IPv6:::ffff:192.0.2.1]", "192.0.2.1", ""},
		{"[2001:db8::1]", "2001:db8::1", ""},
		{"[::ffff:192.0.2.1]", "192.0.2.1", ""},
		{"[IPv6:64:ff9b::192.0.2.1]", "192.0.2.1", ""},
		{"[IPv4:203.0.113.104]", "203.0.113.104", ""},
		{"[ipv4:203.0.113.104]", "203.0.113.104", ""},
		{"[IPV4:203.0.113.104]", "203.0.113.104", ""},
		{"[IPv4:]", "", problemNotIPv4},
		{"[IPv4:203.0.113]", "", problemNotIPv4},
		{"[IPv4:2001:db8::1]", "", problemNotIPv4},
		{"[IPv4:::ffff:203.0.113.104]", "", problemNotIPv4},
		{"[IPv4:IPv6:2001:db8::1]", "", problemNotIPv4},
		{"[]", "", problemNoAddress},
		{"[", "", problemUnclosed},
		{"[127.0.2.1", "", problemUnclosed},
		{"[127.0.2.1].", "", problemUnclosed},
		{"[127.0.2.1]]", "", problemUnclosed},
		{"[127.0.2.1]x]", "", problemUnclosed},
		{"[[127.0.2.1]", "", problemNotAddress},
		{"[127.1]", "", problemNotAddress},
		{"[2130706945]", "", problemNotAddress},
		{"[192.0.2.01]", "", problemNotAddress},
		{"[192.0.2.256]", "", problemNotAddress},
		{"[example.com]", "", problemNotAddress},
		{"[x-tag:abc]", "", problemNotAddress},
		{"[\xff]", "", problemNotAddress},
		{"[" + label("1", 3000) + "]", "", problemNotAddress},
		{"[IPv6:bogus]", "", problemNotIPv6},
		{"[IPv6:]", "", problemNotIPv6},
		{"[IPv6:192.0.2.1]", "", problemNotIPv6},
		{"[IPv6:2001:db8::1::]", "", problemNotIPv6},
		{"[IPv6:fe80::1%eth0]", "", problemNotIPv6},
		{"[fe80::1%eth0]", "", problemNotAddress},
	} {
		n := Parse(tc.arg)
		want := Literal
		if tc.addr == "" {
			want = BadLiteral
		}
		if n.Kind != want || n.Addr != addr(tc.addr) || n.Problem != tc.problem || n.ASCII != "" {
			t.Errorf("Parse(%.40q) = %v %v %q, want %v %s %q",
				tc.arg, n.Kind, n.Addr, n.Problem, want, tc.addr, tc.problem)
		}
	}
}

// TestParseCases has the arguments of the project's case table as they
// arrive after the server has cut blanks and further words.
func TestParseCases(t *testing.T) {
	long := strings.Repeat(label("b", 63)+".", 3)
	for _, tc := range []struct {
		id, arg string
		kind    Kind
	}{
		{"good", "mta01.yourcompany.com", FQDN},
		{"good_upper", "MTA01.YOURCOMPANY.COM", FQDN},
		{"idn_alabel", "xn--bcher-kva.sender-bench.com", FQDN},
		{"name_253", long + label("c", 44) + ".sender-bench.com", FQDN},
		{"empty", "", Malformed},
		{"localhost", "localhost", SingleLabel},
		{"localhost_localdomain", "localhost.localdomain", FQDN},
		{"single_label", "hostnameonly", SingleLabel},
		{"bare_ip_private", "192.168.1.1", BareIP},
		{"literal_private", "[192.168.1.1]", Literal},
		{"leading_dot", ".com", Malformed},
		{"empty_label", "fake..com", Malformed},
		{"bad_chars", "@(&$", Malformed},
		{"tld_local", "foo.bar.local", FQDN},
		{"client_bare_ip", "127.0.2.1", BareIP},
		{"server_literal", "[127.0.0.25]", Literal},
		{"literal_v6_loopback", "[IPv6:::1]", Literal},
		{"literal_v6_bogus", "[IPv6:bogus]", BadLiteral},
		{"literal_v6_doc", "[IPv6:2001:db8::1]", Literal},
		{"bare_v6", "2001:db8::1", BareIP},
		{"literal_short", "[127.1]", BadLiteral},
		{"literal_unclosed", "[127.0.2.1", BadLiteral},
		{"literal_empty", "[]", BadLiteral},
		{"ip_decimal", "2130706945", BareIP},
		{"tld_numeric", "mail.sender-bench.123", Malformed},
		{"tld_unknown", "mail.sender.notatld", FQDN},
		{"tld_only", "com", SingleLabel},
		{"underscore", "under_score.sender-bench.com", FQDN},
		{"trailing_dot", "mta01.yourcompany.com.", FQDN},
		{"hyphen_first", "-leading.sender-bench.com", Malformed},
		{"utf8", "b\xc3\xbccher.sender-bench.com", Malformed},
		{"label_64", label("a", 64) + ".sender-bench.com", Malformed},
		{"name_256", long + label("c", 47) + ".sender-bench.com", Malformed},
		{"len_2000", label("a", 2000), Malformed},
		{"space_junk", "mta01.yourcompany.com", FQDN},
		{"space_inside", "mta01", SingleLabel},
		{"tab_inside", "mta01\tyourcompany.com", Malformed},
		{"bare_cr", "mta01.yourcompany.com\rX", Malformed},
		{"comma", "mta01,yourcompany.com", Malformed},
		{"dynamic_other", "192-0-2-1.dyn.isp.example", FQDN},
	} {
		if n := Parse(tc.arg); n.Kind != tc.kind {
			t.Errorf("%s: Parse(%.40q) = %v %q, want %v", tc.id, tc.arg, n.Kind, n.Problem, tc.kind)
		}
	}
}

// TestParseAgainstNetip holds Parse against the standard library: what it
// takes for an address is a bare IP and, in brackets, a literal.
func TestParseAgainstNetip(t *testing.T) {
	for _, s := range []string{
		"0.0.0.0", "1.2.3.4", "01.2.3.4", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.-4",
		"::", "::1", "1::", "1::8", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:8:9",
		"::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "::1.2.3", "12345::", ":", ":::", "1:::2",
	} {
		want, err := netip.ParseAddr(s)
		bare, lit := Parse(s), Parse("["+s+"]")
		if (lit.Kind == Literal) != (err == nil) || err == nil && lit.Addr != want.Unmap() {
			t.Errorf("[%s]: %v %v, netip says %v %v", s, lit.Kind, lit.Addr, want, err)
		}
		// Beyond netip, inet_aton takes short forms and leading zeros.
		if err == nil && (bare.Kind != BareIP || bare.Addr != want.Unmap()) {
			t.Errorf("%s: %v %v, netip says %v", s, bare.Kind, bare.Addr, want)
		}
	}
}

func TestKindString(t *testing.T) {
	for kind, want := range map[Kind]string{
		Malformed: "malformed", FQDN: "fqdn", SingleLabel: "single_label", BareIP: "bare_ip",
		Literal: "literal", BadLiteral: "bad_literal",
	} {
		if got := kind.String(); got != want {
			t.Errorf("Kind(%d) = %q, want %q", kind, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "mail.example.org", "MAIL.example.org.", "a_b.example", "[192.0.2.1]", "[IPv6:::1]",
		"127.1", "0x7f000001", "xn--bcher-kva.example", "xn--a", "a..b", "..", "fe80::1%0",
		"[", "\xff\x00\r\n", "10.1.2.999", "XN--P1AI", "ipv6:::1", "0.0.0.09",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n := Parse(s)
		if host := n.Kind == FQDN || n.Kind == SingleLabel; host != (n.ASCII != "") {
			t.Fatalf("kind %v, ASCII %q", n.Kind, n.ASCII)
		}
		numbers := strings.Trim(s, ".0123456789") == ""
		if has := n.Kind == BareIP || n.Kind == Literal; has != n.Addr.IsValid() && (!has || !numbers) {
			t.Fatalf("kind %v, address %v", n.Kind, n.Addr)
		}
		if n.Addr.Is4In6() || n.Addr.Zone() != "" || n.Raw != s {
			t.Fatalf("%+v", n)
		}
		if bad := n.Kind == Malformed || n.Kind == BadLiteral; bad != (n.Problem != "") {
			t.Fatalf("kind %v, problem %q", n.Kind, n.Problem)
		}
		if n.ASCII != "" {
			again := Parse(n.ASCII)
			if again.ASCII != n.ASCII || again.Kind != n.Kind || again.Underscore != n.Underscore ||
				again.TrailingDot {
				t.Fatalf("%+v parses again as %+v", n, again)
			}
			checkNameFuncs(t, n.ASCII)
		}
		for _, limit := range []int{0, 2, 3, 20, 5000} {
			checkClean(t, s, limit)
		}
	})
}

// checkNameFuncs holds what is true of every well-formed name.
func checkNameFuncs(t *testing.T, name string) {
	t.Helper()
	if org := OrgDomain(name); org == "" || !Below(name, org) || !SameOrg(name, org) {
		t.Fatalf("OrgDomain(%q) = %q", name, org)
	}
	if suffix := DefaultLists().Reserved(name); suffix != "" && !Below(name, suffix) {
		t.Fatalf("Reserved(%q) = %q", name, suffix)
	}
	if KnownTLD(name) && NumericTLD(name) {
		t.Fatalf("%q: a numeric TLD is known", name)
	}
	if evidence, ok := DefaultLists().DefaultHost(name); ok != (evidence != "") {
		t.Fatalf("DefaultHost(%q) = %q, %v", name, evidence, ok)
	}
	if NewTLD(name) && !KnownTLD(name) {
		t.Fatalf("%q: an unknown TLD is new", name)
	}
	if p := DefaultLists().Provider(name); p != nil && !p.Owns(name) {
		t.Fatalf("Provider(%q) = %v", name, p)
	}
	if evidence, ok := DefaultLists().Dynamic(name, addr("192.0.2.1")); ok != (evidence != "") {
		t.Fatalf("Dynamic(%q) = %q, %v", name, evidence, ok)
	}
}

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

func TestClean(t *testing.T) {
	for _, tc := range []struct {
		in   string
		max  int
		want string
	}{
		{"mail.example.org", 64, "mail.example.org"},
		{"[IPv6:2001:db8::1]", 64, "[IPv6:2001:db8::1]"},
		{"a_b,c@d$e%f{g}", 64, "a_b,c@d$e%f{g}"},
		{"", 64, ""},
		{"a b", 64, "a?b"},
		{"a\r\nRCPT TO:<x>", 64, "a??RCPT?TO:?x?"},
		{"<script>\"'&`\\;()", 64, "?script?????????"},
		{"\x00\x1b[31m\x7f", 64, "??[31m?"},
		{"b\xc3\xbccher", 64, "b??cher"},
		{"\x9b\xff", 64, "??"},
		{"0123456789", 10, "0123456789"},
		{"0123456789x", 10, "0123...89x"},
		{"0123456789xy", 9, "012...9xy"},
		{"01\r345678\n", 8, "01?...8?"},
		{"0123456789", 4, "0..."},
		{"0123456789", 3, "..."},
		{"0123456789", 1, "."},
		{"0123456789", 0, ""},
		{"0123456789", -1, ""},
	} {
		if got := Clean(tc.in, tc.max); got != tc.want {
			t.Errorf("Clean(%q, %d) = %q, want %q", tc.in, tc.max, got, tc.want)
		}
		checkClean(t, tc.in, tc.max)
	}
}

// checkClean holds what is true of all cleaned text.
func checkClean(t *testing.T, s string, octets int) {
	t.Helper()
	got := Clean(s, octets)
	if len(got) > max(octets, 0) || len(got) < min(len(s), max(octets, 0)) {
		t.Fatalf("Clean(%q, %d) = %q, wrong length", s, octets, got)
	}
	for i := range len(got) {
		if c := got[i]; c <= ' ' || c > '~' || strings.IndexByte("<>()\"\\;&'`", c) >= 0 {
			t.Fatalf("Clean(%q, %d) = %q, byte %q", s, octets, got, c)
		}
	}
	if Clean(got, octets) != got {
		t.Fatalf("Clean(%q, %d) is not stable", s, octets)
	}
}

func TestLine(t *testing.T) {
	for _, tc := range []struct {
		in   string
		max  int
		want string
	}{
		{"Say your name, \"a\"; see <url>", 64, "Say your name, \"a\"; see <url>"},
		{"a\r\nb\tc\x00\x7f\xc3\xbc", 64, "a??b?c????"},
		{"0123456789", 10, "0123456789"},
		{"0123456789", 9, "012345678"},
		{"0123456789", 0, ""},
		{"0123456789", -1, ""},
		{"", 5, ""},
	} {
		if got := Line(tc.in, tc.max); got != tc.want {
			t.Errorf("Line(%q, %d) = %q, want %q", tc.in, tc.max, got, tc.want)
		}
	}
}
