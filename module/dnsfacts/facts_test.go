package dnsfacts

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

// TestAliases looks at chains of CNAME records of every length, in one answer
// and spread over two.
func TestAliases(t *testing.T) {
	chain := func(n int) (rrs []dns.RR) {
		at := "mail.example.org."
		for i := range n {
			next := fmt.Sprintf("c%d.example.org.", i)
			rrs = append(rrs, alias2(at, next))
			at = next
		}
		return append(rrs, rr(t, at+" 60 IN MX 1 mx.example.net."))
	}
	tests := map[string]struct {
		answers map[string][]dns.RR // by question
		state   checkhelo.State
		asked   int
	}{
		"none":          {map[string][]dns.RR{"mail.example.org.": chain(0)}, found, 1},
		"one":           {map[string][]dns.RR{"mail.example.org.": chain(1)}, found, 1},
		"eight":         {map[string][]dns.RR{"mail.example.org.": chain(8)}, found, 1},
		"nine":          {map[string][]dns.RR{"mail.example.org.": chain(9)}, failed, 1},
		"upper case":    {map[string][]dns.RR{"mail.example.org.": {alias2("MAIL.example.ORG.", "C.example."), rr(t, "c.EXAMPLE. 1 IN MX 1 a.example.")}}, found, 1},
		"reverse order": {map[string][]dns.RR{"mail.example.org.": reversed(chain(3))}, found, 1},
		"target missing": {map[string][]dns.RR{
			"mail.example.org.": chain(3)[:3], "c2.example.org.": chain(3)[3:],
		}, found, 2},
		"target missing, nodata": {map[string][]dns.RR{"mail.example.org.": chain(3)[:3]}, absent, 2},
		"target missing twice": {map[string][]dns.RR{
			"mail.example.org.": {alias2("mail.example.org.", "a.example.")},
			"a.example.":        {alias2("a.example.", "b.example.")},
		}, failed, 2},
		"loop over two": {map[string][]dns.RR{
			"mail.example.org.": {alias2("mail.example.org.", "a.example.")},
			"a.example.":        {alias2("a.example.", "mail.example.org."), alias2("mail.example.org.", "a.example.")},
		}, failed, 2},
		"foreign owner": {map[string][]dns.RR{"mail.example.org.": {rr(t, "evil.example. 60 IN MX 1 a.example.")}}, absent, 1},
		"other class":   {map[string][]dns.RR{"mail.example.org.": {rr(t, "mail.example.org. 60 CH MX 1 a.example.")}}, absent, 1},
		"other type":    {map[string][]dns.RR{"mail.example.org.": {rr(t, "mail.example.org. 60 IN A 192.0.2.1")}}, absent, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := 0
			g := &Gatherer{Exchange: exchangeOf(func(q dns.Question) []dns.RR {
				asked++
				return tt.answers[q.Name]
			})}
			f := factsOf("mail.example.org", goodClient)
			g.Fill(t.Context(), &f, checkhelo.NeedMX)
			if f.MX.State != tt.state || asked != tt.asked {
				t.Errorf("%v after %d questions, want %v after %d", f.MX, asked, tt.state, tt.asked)
			}
		})
	}
}

func reversed(rrs []dns.RR) []dns.RR {
	slices.Reverse(rrs)
	return rrs
}

func TestAnswerTexts(t *testing.T) {
	long := "V=SPF1 " + strings.Repeat("ip4:192.0.2.1 ", 500) + "-all"
	var r record
	r.collect([]dns.RR{&dns.TXT{Txt: []string{long[:200], long[200:]}}})
	r.collect([]dns.RR{&dns.TXT{Txt: []string{strings.Repeat("y", 5000)}}})
	for range 100 {
		r.collect([]dns.RR{&dns.TXT{Txt: []string{"z"}}})
	}
	if r.texts[0] != long {
		t.Error("an SPF record is cut")
	}
	if len(r.texts[1]) != maxTXTOctet || len(r.texts) > maxTXT {
		t.Errorf("%d texts, the second of %d octets", len(r.texts), len(r.texts[1]))
	}
}

func TestHostName(t *testing.T) {
	for in, want := range map[string]string{
		"mail.example.org.": "mail.example.org", "MAIL.Example.ORG": "mail.example.org",
		"localhost.": "localhost", "under_score.example.": "under_score.example",
		".": "", "": "", "a..b.": "", "a.example..": "", "-x.example.": "",
		`a\.b.example.`: "", "192.0.2.1.": "", "[192.0.2.1]": "", "\\007.example.": "",
	} {
		if got := hostName(in); got != want {
			t.Errorf("hostName(%q) = %q, want %q", in, got, want)
		}
	}
}

// Of too many PTR names those count that can speak for the client.
func TestNearest(t *testing.T) {
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("p%d.example.net", i))
	}
	names = append(names, "other.example.org", "mail.example.org")
	got := nearest(names, "mail.example.org")
	if len(got) != maxPTR || got[0] != "mail.example.org" || got[1] != "other.example.org" || got[2] != "p0.example.net" {
		t.Errorf("%v", got)
	}
	if got = nearest(names, ""); len(got) != maxPTR || got[0] != "p0.example.net" {
		t.Errorf("without a name: %v", got)
	}
}

// A TXT record's octets are what was sent, not the library's presentation of them.
func TestTextOctets(t *testing.T) {
	for _, want := range []string{"plain", `back\slash`, `\065`, `a"b`, "tab\there", "\u00e4\x00\xff", `end\`} {
		m := new(dns.Msg)
		m.SetQuestion("x.example.org.", dns.TypeTXT)
		sent := make([]byte, 0, len(want))
		for _, c := range []byte(want) {
			sent = fmt.Appendf(sent, `\%03d`, c)
		}
		m.Answer = []dns.RR{&dns.TXT{
			Hdr: dns.RR_Header{Name: "x.example.org.", Rrtype: dns.TypeTXT, Class: dns.ClassINET},
			Txt: []string{string(sent)},
		}}
		packet, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		got := new(dns.Msg)
		if err := got.Unpack(packet); err != nil {
			t.Fatal(err)
		}
		var r record
		if r.collect(got.Answer[:1]); r.texts[0] != want {
			t.Errorf("%q, want %q", r.texts[0], want)
		}
	}
}
