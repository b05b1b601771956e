package dnsfacts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"gopkg.in/yaml.v3"

	"maddy.example/checkhelo"
)

// spfCases has cases for every section of RFC 7208 that says what a record means. A
// case is: what it shows, its zone, the HELO name, the client and what the RFC allows
// as result. "" stands for a failed look-up (temperror).
var spfCases = []struct{ name, zone, helo, client, want string }{
	// 4.3, 4.4: initial processing and record look-up.
	{"no such domain", "", "gone.example.org", "192.0.2.1", "none"},
	{"one label", "", "localhost", "192.0.2.1", "none"},
	{"literal", "", "[192.0.2.1]", "192.0.2.1", "none"},
	{"server failure", "x.example.org SERVFAIL", "x.example.org", "192.0.2.1", ""},
	{"refused", "x.example.org REFUSED", "x.example.org", "192.0.2.1", ""},
	{"alias", "x.example.org CNAME y.example.org\ny.example.org TXT v=spf1 -all", "x.example.org", "192.0.2.1", "fail"},
	// 4.5: selecting records.
	{"version in upper case", "x.example.org TXT V=sPf1 -all", "x.example.org", "192.0.2.1", "fail"},
	{"longer version", "x.example.org TXT v=spf10 -all", "x.example.org", "192.0.2.1", "none"},
	{"no blank after the version", "x.example.org TXT v=spf1-all", "x.example.org", "192.0.2.1", "none"},
	{"version alone", "x.example.org TXT v=spf1", "x.example.org", "192.0.2.1", "neutral"},
	{"two records", "x.example.org TXT v=spf1 -all\nx.example.org TXT v=spf1 +all", "x.example.org", "192.0.2.1", "permerror"},
	{"other texts beside", "x.example.org TXT hello\nx.example.org TXT v=spf1 -all\nx.example.org TXT v=spf2.0/pra +all",
		"x.example.org", "192.0.2.1", "fail"},
	{"record of several strings", "x.example.org TXT v=spf1 " + strings.Repeat("ip4:198.51.100.1 ", 30) + "-all",
		"x.example.org", "192.0.2.1", "fail"},
	// 4.6: evaluation. Any syntax error anywhere is a permerror.
	{"error after the match", "x.example.org TXT v=spf1 -all nonsense", "x.example.org", "192.0.2.1", "permerror"},
	{"unknown mechanism", "x.example.org TXT v=spf1 foo -all", "x.example.org", "192.0.2.1", "permerror"},
	{"unknown mechanism with a value", "x.example.org TXT v=spf1 foo:bar -all", "x.example.org", "192.0.2.1", "permerror"},
	{"unknown modifier", "x.example.org TXT v=spf1 foo=bar moo.cow-2_x=%{d}/ -all", "x.example.org", "192.0.2.1", "fail"},
	{"modifier that begins with a digit", "x.example.org TXT v=spf1 2x=y -all", "x.example.org", "192.0.2.1", "permerror"},
	{"modifier without a name", "x.example.org TXT v=spf1 =y -all", "x.example.org", "192.0.2.1", "permerror"},
	{"modifier with a broken macro", "x.example.org TXT v=spf1 foo=%abc -all", "x.example.org", "192.0.2.1", "permerror"},
	{"unknown modifier beside pass", "x.example.org TXT v=spf1 Foo=bar ip4:192.0.2.1 -all", "x.example.org", "192.0.2.1", "pass"},
	{"redirect in upper case", "x.example.org TXT v=spf1 REDIRECT=y.example.org ?ip4:192.0.2.1\ny.example.org TXT v=spf1 -all",
		"x.example.org", "192.0.2.1", "neutral"},
	{"qualifier before a modifier", "x.example.org TXT v=spf1 -redirect=y.example.org", "x.example.org", "192.0.2.1", "permerror"},
	{"octet above 127", "x.example.org TXT v=spf1 a:\u00e4.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"first match wins", "x.example.org TXT v=spf1 ip4:192.0.2.1 -ip4:192.0.2.0/24 -all", "x.example.org", "192.0.2.1", "pass"},
	{"no match", "x.example.org TXT v=spf1 ip4:192.0.2.2", "x.example.org", "192.0.2.1", "neutral"},
	{"qualifiers", "x.example.org TXT v=spf1 ?ip4:192.0.2.1 -all", "x.example.org", "192.0.2.1", "neutral"},
	{"softfail", "x.example.org TXT v=spf1 ~all", "x.example.org", "192.0.2.1", "softfail"},
	// 4.6.4: limits.
	{"includes without end", "x.example.org TXT v=spf1 include:x.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"redirect without end", "x.example.org TXT v=spf1 redirect=x.example.org", "x.example.org", "192.0.2.1", "permerror"},
	{"eleven look-ups", "x.example.org TXT v=spf1" + strings.Repeat(" a:y.example.org", 11) + " -all\ny.example.org A 192.0.2.9",
		"x.example.org", "192.0.2.1", "permerror fail"},
	{"ten look-ups", "x.example.org TXT v=spf1" + strings.Repeat(" a:y.example.org", 10) + " -all\ny.example.org A 192.0.2.9",
		"x.example.org", "192.0.2.1", "fail"},
	{"three void look-ups", "x.example.org TXT v=spf1 a:a.example.org a:b.example.org a:c.example.org -all",
		"x.example.org", "192.0.2.1", "permerror fail"},
	{"eleven MX hosts", "x.example.org TXT v=spf1 mx:y.example.org -all\n" +
		strings.Repeat("y.example.org MX 1 m.example.org\n", 1) + mxHosts(11), "x.example.org", "192.0.2.1", "permerror"},
	{"ten MX hosts", "x.example.org TXT v=spf1 mx:y.example.org -all\n" + mxHosts(10), "x.example.org", "192.0.2.1", "fail"},
	// 5.1: all.
	{"all with a value", "x.example.org TXT v=spf1 -all:y.example.org", "x.example.org", "192.0.2.1", "permerror"},
	{"all with a prefix length", "x.example.org TXT v=spf1 -all/8", "x.example.org", "192.0.2.1", "permerror"},
	{"all with a dot", "x.example.org TXT v=spf1 -all.", "x.example.org", "192.0.2.1", "permerror"},
	{"all in upper case", "x.example.org TXT v=spf1 -ALL", "x.example.org", "192.0.2.1", "fail"},
	{"redirect after all", "x.example.org TXT v=spf1 redirect=gone.example.org ~all", "x.example.org", "192.0.2.1", "softfail"},
	// 5.2: include.
	{"include of pass", "x.example.org TXT v=spf1 include:y.example.org -all\ny.example.org TXT v=spf1 +all", "x.example.org", "192.0.2.1", "pass"},
	{"include of fail", "x.example.org TXT v=spf1 include:y.example.org ~all\ny.example.org TXT v=spf1 -all", "x.example.org", "192.0.2.1", "softfail"},
	{"include of softfail", "x.example.org TXT v=spf1 include:y.example.org -all\ny.example.org TXT v=spf1 ~all", "x.example.org", "192.0.2.1", "fail"},
	{"include of neutral", "x.example.org TXT v=spf1 -include:y.example.org ?all\ny.example.org TXT v=spf1 ?all", "x.example.org", "192.0.2.1", "neutral"},
	{"include of none", "x.example.org TXT v=spf1 include:y.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"include of a broken record", "x.example.org TXT v=spf1 include:y.example.org -all\ny.example.org TXT v=spf1 oops", "x.example.org", "192.0.2.1", "permerror"},
	{"include of a failure", "x.example.org TXT v=spf1 include:y.example.org -all\ny.example.org SERVFAIL", "x.example.org", "192.0.2.1", ""},
	{"include without a domain", "x.example.org TXT v=spf1 include: -all", "x.example.org", "192.0.2.1", "permerror"},
	{"include alone", "x.example.org TXT v=spf1 include -all", "x.example.org", "192.0.2.1", "permerror"},
	{"include with a prefix length", "x.example.org TXT v=spf1 include:y.example.org/24 -all", "x.example.org", "192.0.2.1", "permerror"},
	// 5.3: a.
	{"a of the name", "x.example.org TXT v=spf1 a -all\nx.example.org A 192.0.2.1", "x.example.org", "192.0.2.1", "pass"},
	{"a in the network", "x.example.org TXT v=spf1 a/24 -all\nx.example.org A 192.0.2.200", "x.example.org", "192.0.2.1", "pass"},
	{"a outside of the network", "x.example.org TXT v=spf1 a/25 -all\nx.example.org A 192.0.2.200", "x.example.org", "192.0.2.1", "fail"},
	{"a /0", "x.example.org TXT v=spf1 a/0 -all\nx.example.org A 198.51.100.1", "x.example.org", "192.0.2.1", "pass"},
	{"a /33", "x.example.org TXT v=spf1 a/33 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a //129", "x.example.org TXT v=spf1 a//129 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a with both lengths", "x.example.org TXT v=spf1 a:y.example.org/24//64 -all\ny.example.org AAAA 2001:db8::99", "x.example.org", "2001:db8::1", "pass"},
	{"a of the other family", "x.example.org TXT v=spf1 a -all\nx.example.org A 192.0.2.1", "x.example.org", "2001:db8::1", "fail"},
	{"a with an empty length", "x.example.org TXT v=spf1 a:y.example.org/ -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a without a domain", "x.example.org TXT v=spf1 a: -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a with an address", "x.example.org TXT v=spf1 a:192.0.2.61 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a with a comma", "x.example.org TXT v=spf1 a:mail.x.example.org, -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a with a port", "x.example.org TXT v=spf1 a:y.example.org:8080 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a with one label", "x.example.org TXT v=spf1 a:museum -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a with one label and a dot", "x.example.org TXT v=spf1 a:museum. -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a with a numeric TLD", "x.example.org TXT v=spf1 a:y.example.123 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a with a TLD that ends in a hyphen", "x.example.org TXT v=spf1 a:y.exam- -all", "x.example.org", "192.0.2.1", "permerror"},
	{"a with odd characters", "x.example.org TXT v=spf1 a:a+b_c.example.org -all\na+b_c.example.org A 192.0.2.1", "x.example.org", "192.0.2.1", "pass"},
	{"a with a final dot", "x.example.org TXT v=spf1 a:y.example.org. -all\ny.example.org A 192.0.2.1", "x.example.org", "192.0.2.1", "pass"},
	{"a of a failure", "x.example.org TXT v=spf1 a:y.example.org -all\ny.example.org SERVFAIL", "x.example.org", "192.0.2.1", ""},
	// 5.4: mx.
	{"mx of the name", "x.example.org TXT v=spf1 mx -all\nx.example.org MX 1 m.example.org\nm.example.org A 192.0.2.1", "x.example.org", "192.0.2.1", "pass"},
	{"mx does not fall back to A", "x.example.org TXT v=spf1 mx -all\nx.example.org A 192.0.2.1", "x.example.org", "192.0.2.1", "fail"},
	{"null MX", "x.example.org TXT v=spf1 mx -all\nx.example.org MX 0 .", "x.example.org", "192.0.2.1", "fail"},
	{"mx without a domain", "x.example.org TXT v=spf1 mx: -all", "x.example.org", "192.0.2.1", "permerror"},
	{"mx with a length", "x.example.org TXT v=spf1 mx/24 -all\nx.example.org MX 1 m.example.org\nm.example.org A 192.0.2.99", "x.example.org", "192.0.2.1", "pass"},
	{"mx host fails", "x.example.org TXT v=spf1 mx -all\nx.example.org MX 1 m.example.net\nm.example.net SERVFAIL", "x.example.org", "192.0.2.1", ""},
	{"mx host without an address", "x.example.org TXT v=spf1 mx -all\nx.example.org MX 1 m.example.org", "x.example.org", "192.0.2.1", "fail"},
	// 5.5: ptr.
	{"ptr below the name", "x.example.org TXT v=spf1 ptr -all\nptr 192.0.2.1 m.x.example.org\nm.x.example.org A 192.0.2.1", "x.example.org", "192.0.2.1", "pass"},
	{"ptr that does not resolve back", "x.example.org TXT v=spf1 ptr -all\nptr 192.0.2.1 m.x.example.org\nm.x.example.org A 192.0.2.9", "x.example.org", "192.0.2.1", "fail"},
	{"no ptr", "x.example.org TXT v=spf1 ptr -all", "x.example.org", "192.0.2.1", "fail"},
	{"ptr without a domain", "x.example.org TXT v=spf1 ptr: -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ptr of another domain", "x.example.org TXT v=spf1 ptr:example.net -all\nptr 2001:db8::1 m.example.net\nm.example.net AAAA 2001:db8::1",
		"x.example.org", "2001:db8::1", "pass"},
	// 5.6: ip4 and ip6.
	{"ip4 with spare zeros", "x.example.org TXT v=spf1 ip4:192.0.2.001 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ip4 of three parts", "x.example.org TXT v=spf1 ip4:192.0.2 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ip4 with a port", "x.example.org TXT v=spf1 ip4:192.0.2.1:8080 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ip4 /33", "x.example.org TXT v=spf1 ip4:192.0.2.1/33 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ip4 /032", "x.example.org TXT v=spf1 ip4:192.0.2.1/032 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ip4 alone", "x.example.org TXT v=spf1 ip4 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ip4 with two lengths", "x.example.org TXT v=spf1 ip4:192.0.2.1//32 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ip4 with an IPv6 address", "x.example.org TXT v=spf1 ip4:2001:db8::1 -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ip6 with a name", "x.example.org TXT v=spf1 ip6:y.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"ip6 /129", "x.example.org TXT v=spf1 ip6:2001:db8::/129 -all", "x.example.org", "2001:db8::1", "permerror"},
	{"ip6 network", "x.example.org TXT v=spf1 ip6:2001:db8::/32 -all", "x.example.org", "2001:db8::1", "pass"},
	{"ip6 with an IPv4 client", "x.example.org TXT v=spf1 ip6:::/0 -all", "x.example.org", "192.0.2.1", "fail"},
	{"ip4 with an IPv6 client", "x.example.org TXT v=spf1 ip4:0.0.0.0/0 -all", "x.example.org", "2001:db8::1", "fail"},
	// 5.7: exists.
	{"exists", "x.example.org TXT v=spf1 exists:y.example.org -all\ny.example.org A 127.0.0.2", "x.example.org", "192.0.2.1", "pass"},
	{"exists asks for A", "x.example.org TXT v=spf1 exists:y.example.org -all\ny.example.org AAAA 2001:db8::1", "x.example.org", "2001:db8::1", "fail"},
	{"exists for an IPv6 client", "x.example.org TXT v=spf1 exists:y.example.org -all\ny.example.org A 127.0.0.2", "x.example.org", "2001:db8::1", "pass"},
	{"exists without a domain", "x.example.org TXT v=spf1 exists: -all", "x.example.org", "192.0.2.1", "permerror"},
	{"exists with a length", "x.example.org TXT v=spf1 exists:y.example.org/24 -all", "x.example.org", "192.0.2.1", "permerror"},
	// 6: modifiers.
	{"redirect", "x.example.org TXT v=spf1 redirect=y.example.org\ny.example.org TXT v=spf1 -all", "x.example.org", "192.0.2.1", "fail"},
	{"redirect to none", "x.example.org TXT v=spf1 redirect=y.example.org", "x.example.org", "192.0.2.1", "permerror"},
	{"redirect twice", "x.example.org TXT v=spf1 redirect=y.example.org redirect=y.example.org\ny.example.org TXT v=spf1 -all",
		"x.example.org", "192.0.2.1", "permerror"},
	{"redirect without a domain", "x.example.org TXT v=spf1 redirect=", "x.example.org", "192.0.2.1", "permerror"},
	{"exp without a domain", "x.example.org TXT v=spf1 exp= -all", "x.example.org", "192.0.2.1", "permerror"},
	{"exp twice", "x.example.org TXT v=spf1 exp=e.example.org -all exp=e.example.org", "x.example.org", "192.0.2.1", "permerror"},
	{"exp that is not there", "x.example.org TXT v=spf1 exp=e.example.org -all", "x.example.org", "192.0.2.1", "fail"},
	// 7: macros.
	{"macro i", "x.example.org TXT v=spf1 exists:%{ir}.list.%{d2} -all\n1.2.0.192.list.example.org A 127.0.0.2", "x.example.org", "192.0.2.1", "pass"},
	{"macros h, l, o, s, v", "x.example.org TXT v=spf1 exists:%{l}.%{v}.%{o} -all\npostmaster.in-addr.x.example.org A 127.0.0.2", "x.example.org", "192.0.2.1", "pass"},
	{"macro of an IPv6 client", "x.example.org TXT v=spf1 exists:%{ir}.%{v}.y.example.org -all\n" +
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.y.example.org A 127.0.0.2", "x.example.org", "2001:db8::1", "pass"},
	{"unknown letter", "x.example.org TXT v=spf1 exists:%{x}.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"letter of explanations", "x.example.org TXT v=spf1 exists:%{t}.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"zero parts", "x.example.org TXT v=spf1 exists:%{d0}.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"open brace", "x.example.org TXT v=spf1 exists:%{d.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"lone percent", "x.example.org TXT v=spf1 exists:50%.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"reversed first", "x.example.org TXT v=spf1 exists:%{dr2}.example.org -all", "x.example.org", "192.0.2.1", "permerror"},
	{"macro at the end", "x.example.org TXT v=spf1 a:%{d} -all\nx.example.org A 192.0.2.1", "x.example.org", "192.0.2.1", "pass"},
	{"long expansion", "x.example.org TXT v=spf1 exists:" + strings.Repeat("%{d}.", 25) + "example.org -all", "x.example.org", "192.0.2.1", "fail"},
}

func mxHosts(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("y.example.org MX 1 m" + string(rune('a'+i)) + ".example.org\n")
		b.WriteString("m" + string(rune('a'+i)) + ".example.org A 192.0.2.9\n")
	}
	return b.String()
}

// TestSPFSections compares the HELO identity with what RFC 7208 says. No case may be
// harsher, which is "fail" where the RFC has no fail.
func TestSPFSections(t *testing.T) {
	for _, tt := range spfCases {
		t.Run(tt.name, func(t *testing.T) {
			g, _ := newGatherer(t, tt.zone)
			f := factsOf(tt.helo, tt.client)
			g.Fill(t.Context(), &f, checkhelo.NeedSPF)
			if f.SPF.State == failed != (tt.want == "") ||
				tt.want != "" && !slices.Contains(strings.Fields(tt.want), f.SPF.Value) {
				t.Errorf("SPF %v %q, want %q", f.SPF.Err, f.SPF.Value, tt.want)
			}
		})
	}
}

// otherwise has the tests of the RFC 7208 suite in which the HELO identity gives another result, with
// the reason.
var otherwise = map[string]string{
	"a-colon-domain":              "the library takes no / in a domain",
	"a-colon-domain-ip4mapped":    "the same",
	"mx-colon-domain":             "the same",
	"mx-colon-domain-ip4mapped":   "the same",
	"ptr-cname-loop":              "a loop of aliases is a failed look-up, which accuses nobody",
	"p-macro-multiple":            "the library does not validate %{p}",
	"hello-macro":                 "about %{h} beside another sender, and here both are the HELO name",
	"macro-reverse-split-on-dash": "about a local part, which is postmaster for a HELO name",
	"macro-multiple-delimiters":   "the same",
}

// suite is one section of the RFC 7208 test suite (openspf.org, release 2014.04).
type suite struct {
	Tests map[string]struct {
		Helo, Host, MailFrom string
		Result               any // a result, or a list of those that are right
	}
	Zone map[string][]map[string]any `yaml:"zonedata"`
}

// TestRFC7208Suite runs the suite that the SPF library carries. The sender's domain is the HELO name
// (RFC 7208, 2.3). No result may be harsher than the suite's.
func TestRFC7208Suite(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "blitiri.com.ar/go/spf").Output()
	file, openErr := os.Open(filepath.Join(strings.TrimSpace(string(dir)), "testdata", "rfc7208-tests.yml"))
	if err := cmp.Or(err, openErr); err != nil {
		t.Skipf("left out: the SPF library's source, which has the suite, is not here: %v", err)
	}
	defer file.Close()
	ran, unlike := 0, make(map[string]string)
	for dec := yaml.NewDecoder(file); ; {
		var s suite
		if err := dec.Decode(&s); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		for name, tt := range s.Tests {
			ran++
			helo := tt.Helo
			if _, domain, found := strings.Cut(tt.MailFrom, "@"); found {
				helo = domain
			}
			want := strings.Fields(strings.Trim(fmt.Sprint(tt.Result), "[]"))
			got := s.result(t, helo, tt.Host)
			if !slices.Contains(want, got) {
				unlike[name] = otherwise[name]
			}
			if unlike[name] == "" && !slices.Contains(want, got) || got == "fail" && otherwise[name] == "the same" {
				t.Errorf("%s: %s, the suite wants %v", name, got, want)
			}
		}
	}
	if ran < 200 || !maps.Equal(unlike, otherwise) {
		t.Errorf("%d tests, these with another result: %q", ran, unlike)
	}
}

func (s *suite) result(t *testing.T, helo, client string) string {
	t.Helper()
	g := &Gatherer{Exchange: s.exchange, Timeout: time.Minute, Cache: NewCache(1)}
	f := factsOf(helo, client)
	g.Fill(t.Context(), &f, checkhelo.NeedSPF)
	if f.SPF.State == failed {
		return "temperror"
	}
	return f.SPF.Value
}

// exchange answers from the suite's zone, in which SPF stands for TXT unless the name has TXT too.
func (s *suite) exchange(_ context.Context, m *dns.Msg) (*dns.Msg, error) {
	r, q := new(dns.Msg).SetReply(m), m.Question[0]
	r.Rcode = dns.RcodeNameError
	for name, records := range s.Zone {
		if !strings.EqualFold(dns.Fqdn(name), q.Name) {
			continue
		}
		r.Rcode = dns.RcodeSuccess
		isTXT := func(record map[string]any) bool { return record["TXT"] != nil }
		hasTXT := slices.ContainsFunc(records, isTXT)
		for _, record := range records {
			for kind, value := range record {
				switch {
				case kind == "TIMEOUT":
					r.Rcode = dns.RcodeServerFailure
				case kind == "SPF" && !hasTXT:
					kind = "TXT"
				}
				if rr := suiteRecord(q, kind, value); rr != nil {
					r.Answer = append(r.Answer, rr)
				}
			}
		}
	}
	if len(r.Answer) > 0 {
		r.Rcode = dns.RcodeSuccess
	}
	return r, nil
}

// suiteRecord returns nil for a record of another type than the one that q asks for.
func suiteRecord(q dns.Question, kind string, value any) dns.RR {
	text := fmt.Sprint(value)
	switch kind {
	case "CNAMELOOP":
		kind, text = "CNAME", q.Name
	case "MX":
		text = strings.Trim(text, "[]")
	}
	if kind != dns.TypeToString[q.Qtype] && kind != "CNAME" || text == "NONE" {
		return nil
	}
	if kind != "TXT" {
		rr, _ := dns.NewRR(". 60 IN " + kind + " " + text)
		rr.Header().Name = q.Name
		return rr
	}
	txt := &dns.TXT{Hdr: dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 60}}
	parts, several := value.([]any)
	if !several {
		parts = []any{value}
	}
	for _, part := range parts {
		txt.Txt = append(txt.Txt, fmt.Sprint(part))
	}
	return txt
}
