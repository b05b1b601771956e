package dnsfacts

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

const spfZone = `
host.example.org A 192.0.2.30
host.example.org AAAA 2001:db8::30
a.example.org TXT v=spf1 a:host.example.org -all
mx.example.org TXT v=spf1 mx -all
mx.example.org MX 10 host.example.org
ip.example.org TXT v=spf1 ip4:192.0.2.0/28 ip4:192.0.2.30 ip6:2001:db8::/64 ~all
soft.example.org TXT v=spf1 ~all
include.example.org TXT v=spf1 include:a.example.org -all
redirect.example.org TXT v=spf1 redirect=a.example.org
exists.example.org TXT v=spf1 exists:%{i}.ok.example.org -all
192.0.2.30.ok.example.org A 127.0.0.2
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ok.example.org A 127.0.0.2
ptr.example.org TXT v=spf1 ptr:example.org -all
ptr 192.0.2.30 host.example.org
ptr 192.0.2.31 host.example.org
bad.example.org TXT v=spf1 foo:bar -all
twice.example.org TXT v=spf1 -all
twice.example.org TXT v=spf1 +all
text.example.org TXT just some text
empty.example.org TXT v=spf1
fails.example.org TXT v=spf1 a:x.broken.example.com -all
maybe.example.org TXT v=spf1 a:x.broken.example.com +all
loop.example.org TXT v=spf1 include:loop.example.org -all
void.example.org TXT v=spf1 a:n1.example.org a:n2.example.org a:n3.example.org a:n4.example.org -all
odd.example.org TXT v=spf1 a:..x mx:%{x} include: -all
broken.example.com SERVFAIL
broken-txt.example.com SERVFAIL
`

func TestSPF(t *testing.T) {
	noLeak(t)
	g, _ := newGatherer(t, spfZone)
	tests := []struct{ helo, client, want string }{
		{"a.example.org", "192.0.2.30", "pass"},
		{"a.example.org", "2001:db8::30", "pass"},
		{"a.example.org", "192.0.2.31", "fail"},
		{"mx.example.org", "192.0.2.30", "pass"},
		{"mx.example.org", "2001:db8::30", "pass"},
		{"mx.example.org", "192.0.2.31", "fail"},
		{"ip.example.org", "192.0.2.30", "pass"},
		{"ip.example.org", "192.0.2.1", "pass"},
		{"ip.example.org", "2001:db8::1", "pass"},
		{"ip.example.org", "192.0.2.99", "softfail"},
		{"soft.example.org", "192.0.2.30", "softfail"},
		{"include.example.org", "192.0.2.30", "pass"},
		{"include.example.org", "192.0.2.31", "fail"},
		{"redirect.example.org", "192.0.2.31", "fail"},
		{"exists.example.org", "192.0.2.30", "pass"},
		{"exists.example.org", "192.0.2.31", "fail"},
		{"ptr.example.org", "192.0.2.30", "pass"},
		{"ptr.example.org", "192.0.2.31", "fail"}, // its PTR name belongs to another
		{"bad.example.org", "192.0.2.30", "permerror"},
		{"twice.example.org", "192.0.2.30", "permerror"},
		{"loop.example.org", "192.0.2.30", "permerror"},
		{"void.example.org", "192.0.2.30", "permerror"},
		{"odd.example.org", "192.0.2.30", "permerror"},
		{"text.example.org", "192.0.2.30", "none"},
		{"nothing.example.org", "192.0.2.30", "none"},
		{"empty.example.org", "192.0.2.30", "neutral"},
		{"fails.example.org", "192.0.2.30", ""},
		{"x.broken-txt.example.com", "192.0.2.30", ""},
		{"[192.0.2.30]", "192.0.2.30", "none"},
		{"hostname", "192.0.2.30", "none"},
	}
	for _, tt := range tests {
		f := factsOf(tt.helo, tt.client)
		for _, pass := range []string{"cold", "warm"} {
			f.SPF = checkhelo.Answer[string]{}
			g.Fill(t.Context(), &f, checkhelo.NeedSPF)
			want := known(tt.want)
			if tt.want == "" {
				want = lost[string](f.SPF.Err)
			}
			if f.SPF != want {
				t.Errorf("%s %s (%s): %v, want %v", tt.helo, tt.client, pass, f.SPF, want)
			}
		}
	}
}

// A PTR name that cannot be confirmed must not turn a pass into a fail.
func TestSPFHiddenFailure(t *testing.T) {
	g, s := newGatherer(t, spfZone)
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		if q.Question[0].Name != "host.example.org." {
			return false
		}
		_ = w.WriteMsg(s.Answer(q, "SERVFAIL", "udp"))
		return true
	})
	for _, helo := range []string{"ptr.example.org", "a.example.org", "mx.example.org", "include.example.org"} {
		f := factsOf(helo, "192.0.2.30")
		g.Fill(t.Context(), &f, checkhelo.NeedSPF)
		if f.SPF.State != failed || f.SPF.Err == nil {
			t.Errorf("%s: %v, want Failed", helo, f.SPF)
		}
	}
}

// The library cannot tell "a" from "exists", which needs A for an IPv6 client too.
func TestSPFOtherFamilyFails(t *testing.T) {
	g, s := newGatherer(t, spfZone)
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		if q.Question[0].Name != "host.example.org." || q.Question[0].Qtype != dns.TypeA {
			return false
		}
		_ = w.WriteMsg(s.Answer(q, "SERVFAIL", "udp"))
		return true
	})
	for client, want := range map[string]checkhelo.State{"2001:db8::30": found, "2001:db8::99": failed} {
		f := factsOf("a.example.org", client)
		g.Fill(t.Context(), &f, checkhelo.NeedSPF)
		if f.SPF.State != want {
			t.Errorf("%s: %v, want %v", client, f.SPF, want)
		}
	}
}

// What is asked ahead is bounded and stops where the evaluation will stop.
func TestSPFAhead(t *testing.T) {
	var many strings.Builder
	for range 40 {
		many.WriteString(" a:h" + string(rune('a'+many.Len()%26)) + ".example.net")
	}
	g, s := newGatherer(t, spfZone+"many.example.org TXT v=spf1"+many.String()+" -all\n")
	for txt, want := range map[string]int32{
		"v=spf1 a:h1.example.net a:h2.example.net -all a:h3.example.net": 2,
		"v=spf1 a:h1.example.net ip4:192.0.2.30 a:h2.example.net -all":   1,
		"v=spf1 ip4:192.0.2.31 ?a:h1.example.net a:%{i}.example.net":     1,
		"v=spf2 a:h1.example.net":                                        0, "": 0,
		"v=spf1" + many.String(): spfLookups,
	} {
		r := &spfResolver{asker: asker{g: g}, client: netip.MustParseAddr("192.0.2.30")}
		r.scout.budget.Store(spfLookups)
		r.scout.ahead(r, txt, "example.org")
		r.scout.wg.Wait()
		if got := spfLookups - max(r.scout.budget.Load(), 0); got != want {
			t.Errorf("%.70q: %d look-ups ahead, want %d", txt, got, want)
		}
	}
	f := factsOf("many.example.org", "192.0.2.30")
	g.Fill(t.Context(), &f, checkhelo.NeedSPF)
	if n := s.Count(); n > 1+spfLookups+1 || f.SPF.Value != "permerror" {
		t.Errorf("%d questions, %v", n, f.SPF)
	}
}

func TestSPFTerms(t *testing.T) {
	tests := []struct {
		term  string
		qtype uint16
		name  string
	}{
		{"a", dns.TypeA, "d.example"}, {"a/24", dns.TypeA, "d.example"},
		{"a:x.example/24//64", dns.TypeA, "x.example"}, {"mx", dns.TypeMX, "d.example"},
		{"mx:x.example", dns.TypeMX, "x.example"}, {"include:x.example", dns.TypeTXT, "x.example"},
		{"redirect=x.example", dns.TypeTXT, "x.example"}, {"exists:x.example", dns.TypeA, "x.example"},
		{"ptr", 0, ""}, {"ip4:192.0.2.1", 0, ""}, {"all", 0, ""}, {"", 0, ""}, {"exp=x.example", 0, ""},
	}
	for _, tt := range tests {
		if qtype, name := target(tt.term, "d.example"); qtype != tt.qtype || name != tt.name {
			t.Errorf("target(%q) = %d %q", tt.term, qtype, name)
		}
	}
	client := netip.MustParseAddr("192.0.2.1")
	for term, want := range map[string]bool{
		"ip4:192.0.2.1": true, "ip4:192.0.2.0/24": true, "ip4:192.0.2.2": false, "ip4:x": false,
		"ip6:::/0": false, "ip6:2001:db8::1": false, "a": false,
	} {
		if matchesIP(term, client) != want {
			t.Errorf("matchesIP(%q) is not %v", term, want)
		}
	}
}
