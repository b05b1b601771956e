package dnsfacts

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

func TestListings(t *testing.T) {
	zone := testZone + `
listed.example.net.two.example A 192.0.2.1
listed.example.net.two.example A 127.0.0.2
listed.example.net.two.example TXT line one <b>
listed.example.net.down.example A 127.0.0.2
down.example SERVFAIL
blocked.example.net.two.example A 127.0.0.2
blocked.example.net.two.example A 127.255.255.255
`
	g, _ := newGatherer(t, zone)
	g.Blocklists = append(g.Blocklists,
		Blocklist{Zone: "down.example"}, Blocklist{Zone: "two.example", Action: checkhelo.Reject})
	want := []checkhelo.Listing{
		{Zone: "dbl.example", Addr: netip.MustParseAddr("127.0.1.2"), Action: checkhelo.Score, Score: 7,
			Reason: "see https://dbl.example/q"},
		{Zone: "two.example", Addr: netip.MustParseAddr("127.0.0.2"), Action: checkhelo.Reject,
			Reason: "line one <b>"},
	}
	for _, pass := range []string{"cold", "warm"} {
		f := fill(t, g, "listed.example.net", goodClient)
		if f.Listed.State != found || !slices.Equal(f.Listed.Value, want) {
			t.Errorf("%s: %v, want %v", pass, f.Listed, want)
		}
	}
	if f := fill(t, g, "blocked.example.net", goodClient); f.Listed.State != failed {
		t.Errorf("an error beside a hit: %v, want Failed", f.Listed)
	}
	g.Blocklists = g.Blocklists[:1]
	label := strings.Repeat("b", 63)
	long := label + "." + label + "." + label + "." + strings.Repeat("c", 61)
	if f := fill(t, g, long, goodClient); f.Listed.State != absent || len(f.Helo.ASCII) != 253 {
		t.Errorf("no list can have a name of 253 octets: %v", f.Listed)
	}
	g.Blocklists = nil
	if f := fill(t, g, "listed.example.net", goodClient); f.Listed.State != absent {
		t.Errorf("without lists: %v", f.Listed)
	}
}

// The reason is for the log, so the verdict does not wait for it for long.
func TestListReason(t *testing.T) {
	g, s := newGatherer(t, testZone)
	g.Timeout = time.Second
	s.SetHook(func(_ dns.ResponseWriter, q *dns.Msg) bool {
		return q.Question[0].Qtype == dns.TypeTXT
	})
	f := factsOf("listed.example.net", goodClient)
	g.Fill(t.Context(), &f, checkhelo.NeedLists)
	if f.Listed.State != found || f.Listed.Value[0].Reason != "" {
		t.Errorf("%v, want a listing without a reason", f.Listed)
	}

	s.SetHook(nil)
	if err := s.Add("evil.example.net.dbl.example A 127.0.0.2\n" +
		"evil.example.net.dbl.example TXT a\x1b[31m\u00e9\x07b"); err != nil {
		t.Fatal(err)
	}
	f = factsOf("evil.example.net", goodClient)
	g.Fill(t.Context(), &f, checkhelo.NeedLists)
	for _, c := range []byte(f.Listed.Value[0].Reason) {
		if c < ' ' || c > '~' {
			t.Errorf("reason %q has a byte that no log should have", f.Listed.Value[0].Reason)
		}
	}
}

func TestAllowListed(t *testing.T) {
	g, s := newGatherer(t, testZone+
		"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.wl.example A 127.0.5.2\n"+
		"9.2.0.192.wl.example A 192.0.2.9\n8.2.0.192.wl.example A 127.255.255.254\n"+
		"7.2.0.192.second.example A 127.0.2.0\nbad.example SERVFAIL\n")
	g.Allowlists = []string{"wl.example", "second.example"}
	check := func(client, zone string, state checkhelo.State) {
		t.Helper()
		for _, pass := range []string{"cold", "warm"} {
			z, st := g.AllowListed(t.Context(), netip.MustParseAddr(client))
			if z != zone || st != state {
				t.Errorf("%s (%s): %q %v, want %q %v", client, pass, z, st, zone, state)
			}
		}
	}
	check("192.0.2.25", "wl.example", found)
	check("2001:db8::1", "wl.example", found)
	check("192.0.2.7", "second.example", found)
	check("192.0.2.1", "", absent)
	check("192.0.2.9", "", absent)  // no list answers outside of 127.0.0.0/8
	check("192.0.2.77", "", failed) // asked too much
	check("192.0.2.8", "", failed)
	if asked := s.Count(); asked != 14 {
		t.Errorf("%d questions for 7 clients in 2 zones", asked)
	}
	g.Allowlists = []string{"bad.example", "second.example"}
	check("192.0.2.7", "second.example", found)
	check("192.0.2.1", "", failed)
	if z, st := g.AllowListed(t.Context(), netip.Addr{}); z != "" || st != absent {
		t.Errorf("no client: %q %v", z, st)
	}
}

// What a list's answers mean, with and without responses of the operator.
func TestListAnswers(t *testing.T) {
	codes := func(list ...string) (p []netip.Prefix) {
		for _, c := range list {
			p = append(p, netip.MustParsePrefix(c))
		}
		return p
	}
	responses := []Response{
		{Codes: codes("127.0.0.2/32", "127.0.0.3/32"), Action: checkhelo.Score, Score: 2},
		{Codes: codes("127.0.1.0/24"), Action: checkhelo.Reject},
		{Codes: codes("127.0.2.0/24")},
	}
	for _, tt := range []struct {
		answers   string
		responses []Response
		state     checkhelo.State
		action    checkhelo.Action
		score     int
	}{
		{"127.0.0.2", nil, found, checkhelo.Score, 7},
		{"127.0.0.1", nil, failed, 0, 0},
		{"127.255.255.255", nil, failed, 0, 0},
		{"127.255.255.252", responses, failed, 0, 0},
		{"127.0.0.1 127.0.0.2", nil, failed, 0, 0},
		{"192.0.2.1", nil, absent, 0, 0},
		{"127.0.0.3", responses, found, checkhelo.Score, 2},
		{"127.0.0.4", responses, absent, 0, 0},
		{"127.0.1.9", responses, found, checkhelo.Reject, 0},
		{"127.0.0.2 127.0.1.9 127.0.2.1", responses, found, checkhelo.Reject, 0},
		{"127.0.2.1", responses, found, checkhelo.Score, 7},
		{"127.0.0.2 127.0.2.1", responses, found, checkhelo.Score, 7},
	} {
		var zone strings.Builder
		for _, a := range strings.Fields(tt.answers) {
			zone.WriteString("mail.example.net.dbl.example A " + a + "\n")
		}
		g, _ := newGatherer(t, zone.String())
		g.Blocklists[0].Responses = tt.responses
		f := fill(t, g, "mail.example.net", goodClient)
		if f.Listed.State != tt.state {
			t.Errorf("%s: %v", tt.answers, f.Listed)
			continue
		}
		if tt.state == found && (len(f.Listed.Value) != 1 || f.Listed.Value[0].Action != tt.action ||
			f.Listed.Value[0].Score != tt.score) {
			t.Errorf("%s: %v", tt.answers, f.Listed.Value)
		}
		if tt.state == failed && !strings.Contains(f.Listed.Err.Error(), KindListError) {
			t.Errorf("%s: %v", tt.answers, f.Listed.Err)
		}
	}
}

// A list of organisational domains hits every name below them, however long.
func TestListedOrganisation(t *testing.T) {
	g, s := newGatherer(t, "example.net.dbl.example A 127.0.0.2\n"+
		"example.net.dbl.example TXT the organisation\n")
	long := strings.Repeat("a.", 110) + "example.net"
	for _, helo := range []string{"mail.example.net", "example.net", long} {
		f := factsOf(helo, goodClient)
		g.Fill(t.Context(), &f, checkhelo.NeedLists)
		if f.Listed.State != found || len(f.Listed.Value) != 1 || f.Listed.Value[0].Reason != "the organisation" {
			t.Errorf("%s: %v", helo, f.Listed)
		}
	}
	s.Reset()
	for _, helo := range []string{goodClient, "[192.0.2.25]", "[IPv6:2001:db8::1]", "host.example.123", "321.255.255.255"} {
		f := factsOf(helo, goodClient)
		g.Fill(t.Context(), &f, checkhelo.NeedLists)
	}
	if s.Count() != 0 {
		t.Errorf("a list is asked about an address or a number: %v", s.Queries())
	}
}

const listKey = "abcdefghij0123456789"

// The customer's key in a zone shows neither in listings nor in errors nor in reports.
func TestListKeyIsHidden(t *testing.T) {
	for zone, want := range map[string]string{
		listKey + ".dbl.dq.example.net":      "***.dbl.dq.example.net",
		listKey + ".zone.example":            "***.zone.example",
		"dbl.dq.example.net":                 "dbl.dq.example.net",
		listKey + ".example":                 listKey + ".example",
		"a-name-of-more-than-20.dbl.example": "a-name-of-more-than-20.dbl.example",
	} {
		if got := shownZone(zone); got != want {
			t.Errorf("%s is shown as %s", zone, got)
		}
	}
	zone := listKey + ".dbl.example"
	g, _ := newGatherer(t, "mail.example.net."+zone+" A 127.0.0.2\nbad.example.net."+zone+" SERVFAIL\n"+
		"blocked.example.net."+zone+" A 127.255.255.254\ninvalid."+zone+" A 127.0.0.2\n"+
		"25.2.0.192."+zone+" A 127.0.0.2\n")
	g.Blocklists, g.Allowlists = []Blocklist{{Zone: zone}}, []string{zone}
	var shown []string
	for _, helo := range []string{"mail.example.net", "bad.example.net", "blocked.example.net"} {
		f := factsOf(helo, goodClient)
		g.Fill(t.Context(), &f, checkhelo.NeedLists)
		shown = append(shown, fmt.Sprintf("%+v", f.Listed))
	}
	name, state := g.AllowListed(t.Context(), netip.MustParseAddr(goodClient))
	if shown = append(shown, name); state != found {
		t.Errorf("allow list: %v", state)
	}
	g.testLists(t.Context(), func(zone, news string, _ bool) { shown = append(shown, zone+" "+news) })
	for _, s := range shown {
		if strings.Contains(s, listKey) || !strings.Contains(s, "***.dbl.example") {
			t.Errorf("%q", s)
		}
	}
}

// A list that lists everything is left out until it is well again.
func TestTestLists(t *testing.T) {
	g, s := newGatherer(t, `
invalid.all.example A 127.0.0.2
test.all.example A 127.0.0.2
mail.example.net.all.example A 127.0.0.2
test.good.example A 127.0.0.2
mail.example.net.good.example A 127.0.0.2
mail.example.net.untested.example A 127.0.0.2
down.example SERVFAIL
1.0.0.127.wl.example A 127.0.0.2
2.0.0.127.wl.example A 127.0.0.2
25.2.0.192.wl.example A 127.0.0.2
`)
	g.Blocklists, g.Allowlists = nil, []string{"wl.example"}
	for _, zone := range []string{"all.example", "good.example", "untested.example", "down.example"} {
		g.Blocklists = append(g.Blocklists, Blocklist{Zone: zone})
	}
	var reports []string
	test := func() bool {
		reports = nil
		return g.testLists(t.Context(), func(zone, news string, failed bool) {
			if news != "" {
				reports = append(reports, zone+" "+news)
			}
			if failed == (news == "" || strings.Contains(news, "again")) {
				t.Errorf("%s %q: failed %v", zone, news, failed)
			}
		})
	}
	answered := test()
	want := []string{
		"all.example lists invalid and is not asked", "untested.example does not list test",
		"down.example its test got no answer", "wl.example lists 1.0.0.127 and is not asked",
	}
	if answered || !slices.Equal(reports, want) {
		t.Errorf("%v, %q", answered, reports)
	}
	zones := func() (list []string) {
		f := factsOf("mail.example.net", goodClient)
		g.Fill(t.Context(), &f, checkhelo.NeedLists)
		for _, l := range f.Listed.Value {
			list = append(list, l.Zone)
		}
		return list
	}
	if got := zones(); !slices.Equal(got, []string{"good.example", "untested.example"}) {
		t.Errorf("listed by %v", got)
	}
	if _, state := g.AllowListed(t.Context(), netip.MustParseAddr(goodClient)); state != absent {
		t.Errorf("a list of everybody exempts: %v", state)
	}

	g.Cache = NewCache(0)
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		return strings.HasPrefix(q.Question[0].Name, "invalid.") &&
			w.WriteMsg(s.Answer(q, "NXDOMAIN", "udp")) == nil
	})
	test()
	if !slices.Contains(reports, "all.example lists invalid no more and is asked again") {
		t.Errorf("%q", reports)
	}
	if got := zones(); len(got) != 3 {
		t.Errorf("listed by %v", got)
	}
}
