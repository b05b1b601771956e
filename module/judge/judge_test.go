package judge

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
)

var client = netip.MustParseAddr("192.0.2.9")

const zone = `
mail.example.net A 192.0.2.9
ptr 192.0.2.9 mail.example.net
other.example.net A 203.0.113.7
mxonly.example.net MX 10 mx.example.com
broken.example.net SERVFAIL
mail.example.top A 198.51.100.77
other.example.top A 203.0.113.9
`

// newJudge returns a judge of a preset whose lookups go to a DNS server on loopback.
func newJudge(t *testing.T, preset checkhelo.Preset) *Judge {
	t.Helper()
	recipients, err := exempt.ParseRecipients([]string{"postmaster"})
	if err != nil {
		t.Fatal(err)
	}
	j := &Judge{
		Policy:   checkhelo.NewPolicy(preset),
		Exempt:   exempt.List{Authenticated: true, Recipients: recipients},
		Gatherer: &dnsfacts.Gatherer{Cache: dnsfacts.NewCache(100)},
	}
	j.Policy.Override = map[string]checkhelo.Rule{"listed": {}, "neighbours": {}}
	server := dnstest.Serve(t, zone)
	j.Gatherer.Exchange = dnsfacts.NewClient([]string{server.Addr}).Exchange
	return j
}

// table is a table of an operator.
type table struct {
	entries map[string]string
	err     error
}

func (t table) Lookup(_ context.Context, key string) (string, bool, error) {
	value, found := t.entries[key]
	return value, found, t.err
}

func greet(t *testing.T, j *Judge, helo string) *Session {
	t.Helper()
	return j.Greet(t.Context(), Conn{Helo: helo, Client: client})
}

func wantCode(t *testing.T, j *Judge, o Outcome, code int) {
	t.Helper()
	if r := j.Reply(&o); r.Code != code {
		t.Errorf("reply %d %s, want %d", r.Code, r.Text, code)
	}
}

// A refused greeting is refused for every recipient and login: a server has answered it before.
func TestGreetingRefused(t *testing.T) {
	j := newJudge(t, checkhelo.RFC)
	j.AtEHLO = true
	for _, tc := range []struct{ helo, user, rcpt string }{
		{"friend", "", "user@example.org"}, {"friend", "", "postmaster@example.org"},
		{"friend", "bob", "user@example.org"},
	} {
		s := greet(t, j, tc.helo)
		if s.Early() == nil {
			t.Fatalf("%s is not refused at EHLO", tc.helo)
		}
		o := s.Rcpt(t.Context(), tc.user, "", tc.rcpt)
		wantCode(t, j, o, 504)
		wantCode(t, j, s.Message(t.Context()), 504)
	}
	s := greet(t, j, "mail.example.net")
	if s.Early() != nil {
		t.Error("a good greeting is refused")
	}
	wantCode(t, j, s.Rcpt(t.Context(), "", "", "user@example.org"), 0)
}

// TestMessage has the fates of one transaction with several recipients.
func TestMessage(t *testing.T) {
	const user, other, post = "user@example.org", "user@example.net", "postmaster@example.org"
	for _, tc := range []struct {
		why, helo string
		rcpts     []string
		word      string
	}{
		{"no recipient", "friend", nil, "none"},
		{"all refused", "friend", []string{user, other}, "reject"},
		{"refused beside an exempt one", "friend", []string{user, post}, "exempt"},
		{"only exempt", "friend", []string{post}, "exempt"},
		{"quarantined for all", "foo.bar.local", []string{user, other}, "quarantine"},
		{"quarantined beside an exempt one", "foo.bar.local", []string{user, post}, "quarantine"},
		{"quarantined for one of two", "example.org", []string{user, other}, "score"},
		{"good", "mail.example.net", []string{user}, "none"},
	} {
		j := newJudge(t, checkhelo.RFC)
		s := greet(t, j, tc.helo)
		for _, rcpt := range tc.rcpts {
			s.Rcpt(t.Context(), "", "", rcpt)
		}
		if o := s.Message(t.Context()); o.Word() != tc.word {
			t.Errorf("%s: %s, want %s", tc.why, o.Word(), tc.word)
		}
	}
}

// A refused recipient that is given again passes Maddy's checks unseen: the message then bears the
// verdict of the refusal.
func TestRefusedBesideAccepted(t *testing.T) {
	j := newJudge(t, checkhelo.RFC)
	j.Recipients = table{entries: map[string]string{"@example.net": "ignore"}}
	s := greet(t, j, "friend")
	wantCode(t, j, s.Rcpt(t.Context(), "", "", "user@example.org"), 504)
	wantCode(t, j, s.Rcpt(t.Context(), "", "", "user@example.net"), 0)
	o := s.Message(t.Context())
	if o.Action != checkhelo.Quarantine || o.Rule() != "not_fqdn" {
		t.Errorf("%s by %s", o.Word(), o.Rule())
	}
	next := s.Next()
	next.Rcpt(t.Context(), "", "", "user@example.net")
	if o := next.Message(t.Context()); o.Action != checkhelo.Ignore {
		t.Errorf("the next message of the session: %s", o.Word())
	}
}

// TestRecipientPolicy has every value of recipient_policy.
func TestRecipientPolicy(t *testing.T) {
	j := newJudge(t, checkhelo.RFC)
	var told []string
	j.Exempt.OnError = func(table string, err error) { told = append(told, table+": "+err.Error()) }
	j.Exempt.Clock = func() time.Time { return time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC) }
	j.Recipients = table{entries: map[string]string{
		"off@example.org": "off", "@off.example": "off", "ann@off.example": "strict",
		"ignore@example.org": "ignore", "lenient@example.org": "lenient", "strict@example.org": "strict",
		"typo@example.org": "stric", "past@example.org": "until=2026-11-25 off",
		"today@example.org": "until=2026-11-26 off",
	}}
	for rcpt, want := range map[string]string{
		"user@example.org": "quarantine", "off@example.org": "exempt", "Off@Example.ORG": "exempt",
		"user@off.example": "exempt", "ann@off.example": "reject", "ignore@example.org": "ignore",
		"lenient@example.org": "score", "strict@example.org": "reject", "typo@example.org": "quarantine",
		"past@example.org": "quarantine", "today@example.org": "exempt", "": "quarantine",
	} {
		o := greet(t, j, "foo.bar.local").Rcpt(t.Context(), "", "", rcpt)
		if o.Word() != want {
			t.Errorf("%q: %s, want %s", rcpt, o.Word(), want)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0], "accepted: one of [off ignore lenient rfc strict]") {
		t.Errorf("told %q", told)
	}
	// The ceiling of the instance holds for every recipient.
	j = newJudge(t, checkhelo.RFC)
	j.Policy.Ceiling = checkhelo.Ignore
	j.Recipients = table{entries: map[string]string{"strict@example.org": "strict"}}
	if o := greet(t, j, "localhost").Rcpt(t.Context(), "", "", "strict@example.org"); o.Refused() ||
		o.Would != checkhelo.Reject {
		t.Errorf("a dry run: %s, would %s", o.Word(), o.Would)
	}
	// A table that fails refuses nobody (law 1).
	j.Policy.Ceiling = checkhelo.Off
	j.Exempt.OnError, j.Recipients = nil, table{err: errors.New("connection refused")}
	if o := greet(t, j, "localhost").Rcpt(t.Context(), "", "", "user@example.org"); o.Exempt == "" {
		t.Errorf("table down: %s", o.Word())
	}
}

// TestTryLater: 451 only where the lost answer could still change this recipient's verdict, and for
// this recipient alone.
func TestTryLater(t *testing.T) {
	elsewhere := table{entries: map[string]string{"partner.example": ""}}
	for _, tc := range []struct {
		why    string
		preset checkhelo.Preset
		helo   string
		names  exempt.Table
		code   int
	}{
		{"the address may be missing", checkhelo.Strict, "broken.example.net", nil, 451},
		{"rfc: SPF may fail", checkhelo.RFC, "broken.example.net", nil, 451},
		{"lenient: three points change nothing", checkhelo.Lenient, "broken.example.net", nil, 0},
		{"refused anyway", checkhelo.Strict, "foo.bar.local", nil, 550},
		{"exempt name of somebody else", checkhelo.Lenient, "broken.example.net", elsewhere, 0},
	} {
		j := newJudge(t, tc.preset)
		j.TempFail = true
		j.Exempt.Names = tc.names
		// SPF reads the same name and is lost too; without its rule no lost answer matters.
		s := greet(t, j, tc.helo)
		wantCode(t, j, s.Rcpt(t.Context(), "", "", "user@example.org"), tc.code)

		j.Policy = j.Policy.With(tc.preset, checkhelo.Off)
		j.Policy.Override["spf_fail"] = checkhelo.Rule{}
		if tc.preset != checkhelo.Strict {
			wantCode(t, j, greet(t, j, tc.helo).Rcpt(t.Context(), "", "", "user@example.org"), 0)
		}
	}
	// The copy of postmaster passes unmarked.
	j := newJudge(t, checkhelo.Strict)
	j.TempFail = true
	s := greet(t, j, "broken.example.net")
	wantCode(t, j, s.Rcpt(t.Context(), "", "", "user@example.org"), 451)
	wantCode(t, j, s.Message(t.Context()), 451)
	s.Rcpt(t.Context(), "", "", "postmaster@example.org")
	if o := s.Message(t.Context()); o.Exempt == "" {
		t.Errorf("postmaster's copy: %s", o.Word())
	}
}

// TestDenyTables: evidence and reply name the entry that matched, and each table's failure bears its
// own name.
func TestDenyTables(t *testing.T) {
	j := newJudge(t, checkhelo.RFC)
	j.Policy.HelpURL = "https://example.org/helo"
	for _, tc := range []struct {
		helo         string
		names, hosts map[string]string
		code         int
		text, match  string
	}{
		{"mail.example.net", map[string]string{"example.net": ""}, nil, 554,
			`hosts that call themselves "mail.example.net"`, "mail.example.net"},
		{"other.example.net", nil, map[string]string{"203.0.113.7": ""}, 554,
			`takes no mail from "203.0.113.7", where "other.example.net" leads. See https://`, "203.0.113.7"},
		{"mxonly.example.net", nil, map[string]string{"example.com": "550 5.7.9 not you"}, 550, "not you",
			"mx.example.com"},
		{"mail.example.net", map[string]string{"mail.example.net": "OK", "example.net": "REJECT"}, nil, 0, "", ""},
		{"mail.example.net", map[string]string{"example.net": "DUNNO"}, nil, 0, "", ""},
		{"mail.example.net", map[string]string{"example.net": "REJECT go away"}, nil, 554, "go away", "mail.example.net"},
		{"mail.example.net", map[string]string{"example.net": "REJECT 4.7.9 later"}, nil, 454, "later", "mail.example.net"},
		{"mail.example.net", map[string]string{"example.net": "HOLD"}, nil, 0, "", ""},
		{"mail.example.net", map[string]string{"example.net": "until=2020-01-01 REJECT"}, nil, 0, "", ""},
	} {
		j.DenyNames, j.DenyHosts = table{entries: tc.names}, table{entries: tc.hosts}
		o := greet(t, j, tc.helo).Rcpt(t.Context(), "", "", "user@example.org")
		r := j.Reply(&o)
		if r.Code != tc.code || !strings.Contains(r.Text, tc.text) {
			t.Errorf("%s %v %v: %d %s", tc.helo, tc.names, tc.hosts, r.Code, r.Text)
		}
		if tc.code != 0 && o.Hits[0].Evidence != tc.match {
			t.Errorf("%s: evidence %q, want %q", tc.helo, o.Hits[0].Evidence, tc.match)
		}
	}
	var told []string
	j.Exempt.OnError = func(name string, _ error) { told = append(told, name) }
	j.DenyNames, j.DenyHosts = nil, table{err: errors.New("connection refused")}
	if o := greet(t, j, "other.example.net").Rcpt(t.Context(), "", "", "u@example.org"); o.Refused() {
		t.Error("refused by a table that failed")
	}
	if len(told) != 1 || told[0] != "deny_hosts" {
		t.Errorf("told %q", told)
	}
}

// A list of good clients that does not answer spares only the faults that need DNS.
func TestAllowListDown(t *testing.T) {
	for helo, code := range map[string]int{
		"friend": 504, "a..b": 501, "192.0.2.9": 501, "mx.example.org": 550, "nosuch.example.net": 0,
	} {
		j := newJudge(t, checkhelo.Strict)
		j.Self.Names = []string{"mx.example.org"}
		j.Policy.Override["self_name"] = checkhelo.Rule{Action: checkhelo.Reject}
		j.Gatherer.Allowlists = []string{"wl.example.org"}
		ask := j.Gatherer.Exchange
		j.Gatherer.Exchange = func(ctx context.Context, q *dns.Msg) (*dns.Msg, error) {
			if strings.HasSuffix(q.Question[0].Name, "wl.example.org.") {
				return nil, errors.New("no answer")
			}
			return ask(ctx, q)
		}
		if helo == "mx.example.org" {
			code = 0 // a name is shown to be another's only by the DNS
		}
		o := greet(t, j, helo).Rcpt(t.Context(), "", "", "user@example.org")
		if r := j.Reply(&o); r.Code != code {
			t.Errorf("%s: %d %s, want %d", helo, r.Code, r.Text, code)
		}
	}
}

// A generic PTR name, which a provider gives to every customer, exempts itself and no parent.
func TestGenericPTRExemptsNoParent(t *testing.T) {
	line := "192-0-2-9.dyn.isp-bench.net"
	for entry, want := range map[string]bool{".isp-bench.net": false, line: true} {
		j := newJudge(t, checkhelo.Strict)
		j.Exempt.Clients = table{entries: map[string]string{entry: ""}}
		known := &checkhelo.Facts{
			PTR:       checkhelo.Answer[[]string]{State: checkhelo.Found, Value: []string{line}},
			Confirmed: checkhelo.Answer[[]string]{State: checkhelo.Found, Value: []string{line}},
		}
		s := j.Greet(t.Context(), Conn{Helo: "friend", Client: client, Known: known})
		o := s.Rcpt(t.Context(), "", "", "user@example.org")
		if (o.Exempt != "") != want {
			t.Errorf("%s: %s", entry, o.Word())
		}
	}
}

// A caller's own facts are not looked up.
func TestKnownFacts(t *testing.T) {
	j := newJudge(t, checkhelo.Strict)
	j.Gatherer.Exchange = nil
	self := &checkhelo.Self{Names: []string{"mx.example.org"}}
	s := j.Greet(t.Context(), Conn{Helo: "mx.example.org", Client: client,
		Known: &checkhelo.Facts{Self: self}})
	if o := s.Rcpt(t.Context(), "", "", "user@example.org"); o.Rule() != "self_name" {
		t.Errorf("decided by %s", o.Rule())
	}
	if heloname.Parse("mx.example.org").ASCII != s.Facts().Helo.ASCII {
		t.Error("the greeting is not parsed")
	}
}
