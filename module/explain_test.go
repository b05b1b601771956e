package module

import (
	"net/netip"
	"testing"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

func explain(t *testing.T, text string, q Query) Explanation {
	t.Helper()
	c, _ := mustConfigure(t, text)
	c.UseDNS([]string{dnstest.Serve(t, `
mail.example.net A 192.0.2.9
ptr 192.0.2.9 mail.example.net
other.example.net A 203.0.113.7
broken.example.net SERVFAIL
`).Addr})
	return c.Explain(t.Context(), q)
}

func TestExplain(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.9")
	const mx = "helo_fqdn {\naddress_mismatch_action quarantine\n}"
	const slow = "helo_fqdn {\npolicy strict\ndns_error_action tempfail\n}"
	tests := []struct {
		name, conf string
		query      Query
		action     checkhelo.Action
		deciding   int
		code       int    // of the deciding recipient
		exempt     string // the same
		states     map[string]string
	}{
		{"good", mx, Query{Helo: "mail.example.net", Client: client}, checkhelo.Off, 0, 0, "",
			map[string]string{"address_mismatch": StateMiss, "no_ptr": StateMiss, "listed": StateOff}},
		{"refused", mx, Query{Helo: "friend", Client: client}, checkhelo.Reject, 0, 504, "",
			map[string]string{"not_fqdn": StateHit, "bare_ip": StateMiss, "no_ptr": StateNotAsked}},
		{"quarantined", mx, Query{Helo: "other.example.net", Client: client}, checkhelo.Quarantine, 0, 0, "",
			map[string]string{"address_mismatch": StateHit}},
		{"no client", mx, Query{Helo: "other.example.net"}, checkhelo.Off, 0, 0, "",
			map[string]string{"address_mismatch": StateNotAsked, "no_ptr": StateNotAsked, "self_name": StateNotAsked}},
		{"user", mx, Query{Helo: "friend", Client: client, User: "bob"}, checkhelo.Off, 0, 0, "auth", nil},
		{"one of two", mx, Query{Helo: "friend", Client: client, Rcpts: []string{
			"postmaster@example.org", "bob@example.org"}}, checkhelo.Quarantine, 1, 504, "", nil},
		{"both", mx, Query{Helo: "friend", Client: client, Rcpts: []string{
			"ann@example.org", "bob@example.org"}}, checkhelo.Reject, 0, 504, "", nil},
		{"recipient's name", mx, Query{Helo: "example.org", Client: client, Rcpts: []string{
			"ann@example.net", "bob@example.org"}}, checkhelo.Quarantine, 1, 0, "", nil},
		{"later", slow, Query{Helo: "broken.example.net", Client: client}, checkhelo.Reject, 0, 451, "",
			map[string]string{"no_address": StateMiss}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := explain(t, test.conf, test.query)
			got := e.Recipients[e.Deciding]
			if max(e.Action, checkhelo.Score) != max(test.action, checkhelo.Score) || e.Deciding != test.deciding ||
				got.Reply.Code != test.code || got.Exempt != test.exempt {
				t.Errorf("action %v, recipient %d, %+v", e.Action, e.Deciding, got)
			}
			for _, r := range got.Rules {
				if want := test.states[r.Name]; want != "" && r.State != want {
					t.Errorf("rule %s: %s, want %s", r.Name, r.State, want)
				}
			}
			if want := len(checkhelo.Rules()); got.Exempt == "" && len(got.Rules) != want {
				t.Errorf("%d rules, want %d", len(got.Rules), want)
			}
		})
	}
}

func TestExplainTellsQuestions(t *testing.T) {
	const text = "helo_fqdn { policy strict }"
	e := explain(t, text, Query{Helo: "mail.example.net", Client: netip.MustParseAddr("192.0.2.9")})
	types := make(map[string]bool)
	for _, q := range e.Questions {
		types[q.Type] = true
		if q.Took <= 0 || q.Result == "" {
			t.Errorf("question %+v has no time or no result", q)
		}
	}
	if !types["A"] || !types["PTR"] {
		t.Errorf("questions %v lack A or PTR", e.Questions)
	}
	if e = explain(t, text, Query{Helo: "friend"}); len(e.Questions) != 0 {
		t.Errorf("a single label needs no DNS: %v", e.Questions)
	}
}

// What the tool says must be what the server does, so both go through judge.
func TestJudgeTakesGivenAnswers(t *testing.T) {
	c, _ := mustConfigure(t, "helo_fqdn strict")
	c.NoDNS()
	f := factsOf(c, "mail.example.net", netip.MustParseAddr("192.0.2.9"), netip.Addr{})
	f.PTR.State, f.Confirmed.State = checkhelo.NotFound, checkhelo.NotFound
	o := c.Judge(t.Context(), &f, "", "example.org")
	if len(o.Hits) == 0 || o.Hits[0].Rule.Name != "no_ptr" {
		t.Errorf("hits %v, want no_ptr", o.Hits)
	}
	if f.Forward.State != checkhelo.NotAsked {
		t.Error("NoDNS asked for an address")
	}
	for _, rcpt := range []string{"postmaster", "postmaster@example.org", "Abuse@example.net"} {
		if o := c.Judge(t.Context(), &f, "", rcpt); o.Exempt != "rcpt" {
			t.Errorf("%s: %+v, want exempt", rcpt, o)
		}
	}
}
