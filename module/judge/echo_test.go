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

const echoAddress = "helo-test@example.org"

// echoJudge returns a judge that answers mail to echoAddress.
func echoJudge(t *testing.T, preset checkhelo.Preset) *Judge {
	t.Helper()
	j := newJudge(t, preset)
	j.Echo = exempt.Recipients{echoAddress: {}}
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
	if n := len(j.echoes.networks); n > echoOfAll {
		t.Errorf("%d networks are kept", n)
	}
	now = now.Add(time.Minute)
	if code := ask("192.0.2.1"); code != 550 {
		t.Errorf("a minute later: %d", code)
	}
}
