package dnsfacts

import (
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
	begun := time.Now()
	g.Fill(t.Context(), &f, checkhelo.NeedLists)
	if took := time.Since(begun); took > g.Timeout/2 || f.Listed.State != found {
		t.Errorf("%v after %v", f.Listed, took)
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
