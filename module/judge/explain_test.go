package judge

import (
	"net/netip"
	"testing"

	"maddy.example/checkhelo"
)

// explain asks a judge with changes about one greeting.
func explain(t *testing.T, preset checkhelo.Preset, change func(*Judge), q Query) Explanation {
	t.Helper()
	j := newJudge(t, preset)
	change(j)
	return j.Explain(t.Context(), q)
}

func TestExplain(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.9")
	mx := func(j *Judge) {
		j.Policy.Override["address_mismatch"] = checkhelo.Rule{Action: checkhelo.Quarantine}
	}
	slow := func(j *Judge) { j.Policy, j.TempFail = j.Policy.With(checkhelo.Strict, 0), true }
	tests := []struct {
		name     string
		conf     func(*Judge)
		query    Query
		action   checkhelo.Action
		deciding int
		code     int    // of the deciding recipient
		exempt   string // the same
		states   map[string]string
	}{
		{"good", mx, Query{Conn: Conn{Helo: "mail.example.net", Client: client}}, checkhelo.Off, 0, 0, "",
			map[string]string{"address_mismatch": StateMiss, "no_ptr": StateMiss, "listed": StateOff}},
		{"refused", mx, Query{Conn: Conn{Helo: "friend", Client: client}}, checkhelo.Reject, 0, 504, "",
			map[string]string{"not_fqdn": StateHit, "bare_ip": StateMiss, "no_ptr": StateNotAsked}},
		{"quarantined", mx, Query{Conn: Conn{Helo: "other.example.net", Client: client}}, checkhelo.Quarantine, 0, 0, "",
			map[string]string{"address_mismatch": StateHit}},
		{"no client", mx, Query{Conn: Conn{Helo: "other.example.net"}}, checkhelo.Off, 0, 0, "",
			map[string]string{"address_mismatch": StateNotAsked, "no_ptr": StateNotAsked, "self_name": StateMiss}},
		{"user", mx, Query{Conn: Conn{Helo: "friend", Client: client}, User: "bob"}, checkhelo.Off, 0, 0, "auth", nil},
		{"one of two", mx, Query{Conn: Conn{Helo: "friend", Client: client}, Rcpts: []string{
			"postmaster@example.org", "bob@example.org"}}, checkhelo.Off, 1, 504, "", nil},
		{"both", mx, Query{Conn: Conn{Helo: "friend", Client: client}, Rcpts: []string{
			"ann@example.org", "bob@example.org"}}, checkhelo.Reject, 0, 504, "", nil},
		{"recipient's name", mx, Query{Conn: Conn{Helo: "example.org", Client: client}, Rcpts: []string{
			"ann@example.net", "bob@example.org"}}, checkhelo.Off, 1, 0, "", nil},
		{"later", slow, Query{Conn: Conn{Helo: "broken.example.net", Client: client}}, checkhelo.Off, 0, 451, "",
			map[string]string{"no_address": StateMiss}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e := explain(t, checkhelo.RFC, test.conf, test.query)
			got := e.Recipients[e.Deciding]
			if max(e.Message.Action, checkhelo.Score) != max(test.action, checkhelo.Score) || e.Deciding != test.deciding ||
				got.Reply.Code != test.code || got.Exempt != test.exempt {
				t.Errorf("action %v, recipient %d, %+v", e.Message.Action, e.Deciding, got)
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
