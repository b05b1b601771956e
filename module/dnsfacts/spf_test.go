package dnsfacts

import (
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
both.example.org TXT v=spf1 a:host.example.org exists:gone.example.org -all
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
			if f.SPF.Value != tt.want || (f.SPF.State == failed) != (tt.want == "") {
				t.Errorf("%s %s (%s): %v, want %q", tt.helo, tt.client, pass, f.SPF, tt.want)
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
// A record without an "exists" does not ask for it.
func TestSPFOtherFamilyFails(t *testing.T) {
	g, s := newGatherer(t, spfZone)
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		if q.Question[0].Name != "host.example.org." || q.Question[0].Qtype != dns.TypeA {
			return false
		}
		_ = w.WriteMsg(s.Answer(q, "SERVFAIL", "udp"))
		return true
	})
	for _, tt := range []struct {
		helo, client string
		want         checkhelo.State
	}{
		{"a.example.org", "2001:db8::30", found}, {"a.example.org", "2001:db8::99", found},
		{"both.example.org", "2001:db8::30", found}, {"both.example.org", "2001:db8::99", failed},
	} {
		f := factsOf(tt.helo, tt.client)
		g.Fill(t.Context(), &f, checkhelo.NeedSPF)
		if f.SPF.State != tt.want {
			t.Errorf("%s %s: %v, want %v", tt.helo, tt.client, f.SPF, tt.want)
		}
	}
}
