package judge

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/exempt"
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

const echoAddress = "helo-test@example.org"

// echoJudge returns a judge that answers mail to echoAddress.
func echoJudge(t *testing.T, preset checkhelo.Preset) *Judge {
	t.Helper()
	j := newJudge(t, preset)
	j.Echo = exempt.Recipients{echoAddress: true}
	return j
}

// The answer tells what was said, from where, and each built-in rule that hits, whatever else the
// operator has set.
func TestEcho(t *testing.T) {
	networks, err := exempt.ParseNetworks([]string{"192.0.2.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	asIs := func(*Judge) {}
	for name, tc := range map[string]struct {
		helo string
		set  func(*Judge)
		want string
	}{
		"well kept": {"mail.example.net", asIs, "You are [192.0.2.9], said mail.example.net: no rule hits"},
		"one label": {"friend", asIs, "You are [192.0.2.9], said friend: not_fqdn; fix: "},
		"several":   {"other.example.top", asIs, "said other.example.top: new_tld, private_address, address_mismatch; fix: "},
		"dry run": {"friend", func(j *Judge) { j.Policy.Ceiling = checkhelo.Ignore },
			"said friend: not_fqdn; fix: "},
		"exempt network": {"friend", func(j *Judge) { j.Exempt.Networks = networks },
			"said friend: not_fqdn; fix: "},
		"exempt client": {"friend", func(j *Judge) {
			j.Exempt.Clients = table{entries: map[string]string{"192.0.2.9": ""}}
		}, "said friend: not_fqdn; fix: "},
		"denied name": {"mail.example.net", func(j *Judge) {
			j.DenyNames = table{entries: map[string]string{"mail.example.net": "554 secret"}}
		}, "said mail.example.net: no rule hits"},
		"help page": {"friend", func(j *Judge) { j.Policy.HelpURL = "https://example.org/helo" },
			"See https://example.org/helo#not_fqdn"},
		"failed lookups": {"broken.example.net", asIs, "some DNS lookups failed, test again later; "},
	} {
		t.Run(name, func(t *testing.T) {
			j := echoJudge(t, checkhelo.RFC)
			tc.set(j)
			s := greet(t, j, tc.helo)
			for range 2 { // the first judging of the name leaves nothing behind
				o := s.Rcpt(t.Context(), "bob", "", "Helo-Test@Example.org")
				reply := j.Reply(&o)
				if reply.Code != 550 || reply.Enhanced != [3]int{5, 7, 1} || !strings.Contains(reply.Text, tc.want) ||
					len(reply.Text) > checkhelo.MaxText || strings.Contains(reply.Text, "secret") {
					t.Errorf("got %+v, want %q", reply, tc.want)
				}
				if o.Word() != "echo" || o.Rule() != "echo" {
					t.Errorf("%s %s", o.Word(), o.Rule())
				}
				s.Rcpt(t.Context(), "", "", "ann@example.org")
			}
		})
	}
}

// Every octet of the longest names and advice leaves the line whole, with the page at its end.
func TestEchoFitsALine(t *testing.T) {
	j := echoJudge(t, checkhelo.Strict)
	j.Policy.HelpURL = "https://example.org/" + strings.Repeat("h", 140)
	o := greet(t, j, strings.Repeat("very-long-label-of-a-client.", 8)+"local").Rcpt(t.Context(), "", "", echoAddress)
	if text := j.Reply(&o).Text; len(text) > checkhelo.MaxText || !strings.Contains(text, j.Policy.HelpURL+"#") {
		t.Errorf("%d octets: %s", len(text), text)
	}
}

// The other recipients of the message are judged as if the echo address were not there, and mail to
// it alone is never taken, also where Maddy lets the repeated recipient through.
func TestEchoAndOthers(t *testing.T) {
	for name, tc := range map[string]struct {
		helo, other string
		want        string
	}{
		"alone":           {"mail.example.net", "", "echo"},
		"with a good one": {"mail.example.net", "ann@example.org", "none"},
		"exempt":          {"friend", "postmaster@example.org", "exempt"},
		"refused":         {"friend", "ann@example.org", "reject"},
	} {
		s := greet(t, echoJudge(t, checkhelo.RFC), tc.helo)
		s.Rcpt(t.Context(), "", "", echoAddress)
		if tc.other != "" {
			s.Rcpt(t.Context(), "", "", tc.other)
		}
		if o := s.Message(t.Context()); o.Word() != tc.want {
			t.Errorf("%s: %s, want %s", name, o.Word(), tc.want)
		}
	}
}

// One network gets six answers a minute, all together 120; more are told to come back.
func TestEchoIsRationed(t *testing.T) {
	j := echoJudge(t, checkhelo.RFC)
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	j.Exempt.Clock = func() time.Time { return now }
	j.Gatherer = nil
	ask := func(client string) int {
		s := j.Greet(t.Context(), Conn{Helo: "friend", Client: netip.MustParseAddr(client), AtRcpt: true})
		o := s.Rcpt(t.Context(), "", "", echoAddress)
		return j.Reply(&o).Code
	}
	for i := range 10 {
		want := 550
		if i >= echoOfNetwork {
			want = 451
		}
		if code := ask(fmt.Sprintf("2001:db8::%d", i+1)); code != want {
			t.Errorf("question %d of a network: %d", i+1, code)
		}
	}
	for i := range 200 {
		want := 550
		if i >= echoOfAll-echoOfNetwork {
			want = 451
		}
		if code := ask(fmt.Sprintf("192.0.2.%d", i+1)); code != want {
			t.Fatalf("question of network %d: %d", i+1, code)
		}
	}
	now = now.Add(time.Minute)
	if code := ask("192.0.2.1"); code != 550 {
		t.Errorf("a minute later: %d", code)
	}
}
