package module

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// conf writes a maddy.conf and what stands beside it; "DIR" in the texts is where.
func conf(t *testing.T, text string, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	all := map[string]string{"maddy.conf": text}
	maps.Copy(all, files)
	for name, content := range all {
		content = strings.ReplaceAll(content, "DIR", dir)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "maddy.conf")
}

func mustLoad(t *testing.T, text, name string, files map[string]string) (*Check, Notes) {
	t.Helper()
	c, notes, err := Load(conf(t, text, files), name)
	if err != nil {
		t.Fatal(err)
	}
	return c, notes
}

func TestLoadFindsTheCheck(t *testing.T) {
	const two = `
smtp tcp://192.0.2.1:25 {
	check { helo_fqdn strict }
}
check.helo_fqdn mild { policy lenient }
checks incoming {
	helo_fqdn { policy rfc }
}
`
	tests := []struct {
		name, text, check string
		want              checkhelo.Preset
		err               string
	}{
		{"endpoint", "smtp tcp://192.0.2.1:25 {\ncheck { helo_fqdn strict }\n}", "", checkhelo.Strict, ""},
		{"submission", "submission tls://192.0.2.1:465 {\ncheck { check.helo_fqdn lenient }\n}", "",
			checkhelo.Lenient, ""},
		{"source block", "smtp tcp://192.0.2.1:25 {\nsource example.org {\ncheck { helo_fqdn strict }\n}\n}",
			"", checkhelo.Strict, ""},
		{"destination in pipeline", "msgpipeline in {\ndestination example.org {\ncheck { helo_fqdn strict }" +
			"\n}\n}", "", checkhelo.Strict, ""},
		{"top level", "check.helo_fqdn mild { policy lenient }", "", checkhelo.Lenient, ""},
		{"group", "checks incoming {\nhelo_fqdn { policy strict }\n}", "", checkhelo.Strict, ""},
		{"macro", "$(p) = strict\nsmtp tcp://192.0.2.1:25 {\ncheck { helo_fqdn $(p) }\n}", "",
			checkhelo.Strict, ""},
		{"by name", two, "mild", checkhelo.Lenient, ""},
		{"by group", two, "incoming", checkhelo.RFC, ""},
		{"by file and line", two, "maddy.conf:3", checkhelo.Strict, ""},
		{"by line", two, "3", checkhelo.Strict, ""},
		{"twice the same", "smtp tcp://192.0.2.1:25 {\ncheck { helo_fqdn strict }\n}\n" +
			"smtp tcp://192.0.2.2:25 {\ncheck { helo_fqdn strict }\n}", "", checkhelo.Strict, ""},
		{"several", two, "", "", "maddy.conf:3, mild ("},
		{"unknown name", two, "other", "", `no helo_fqdn check "other"; there are `},
		{"none", "smtp tcp://192.0.2.1:25 {\ncheck { spf }\n}", "", "", "no helo_fqdn check"},
		{"syntax", "smtp {", "", "", "maddy.conf:"},
		{"wrong directive", "check.helo_fqdn a { polciy rfc }", "", "", `maddy.conf:1: unknown directive "polciy"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, _, err := Load(conf(t, test.text, nil), test.check)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil || c.Policy().Preset != test.want {
				t.Fatalf("got %v, %v, want %q", c, err, test.want)
			}
		})
	}
	if _, _, err := Load(conf(t, "hostname a.example.org", nil), ""); !errors.Is(err, ErrNoCheck) {
		t.Errorf("%v is not ErrNoCheck", err)
	}
	if _, _, err := Load(filepath.Join(t.TempDir(), "none"), ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v is not ErrNotExist", err)
	}
}

func TestLoadKnowsSelf(t *testing.T) {
	const text = `
hostname mx.example.org
smtp tcp://192.0.2.1:25 tcp://[2001:db8::1]:25 tcp://0.0.0.0:2525 unix:///run/a.sock {
	check {
		helo_fqdn { self_addresses 198.51.100.0/24 }
	}
}
smtp tcp://192.0.2.2:25 { check &in }
submission tcp://192.0.2.3:587 { deliver_to dummy }
imap tcp://192.0.2.4:143 { }
checks in {
	helo_fqdn { policy strict }
}
`
	tests := map[string][]string{
		"maddy.conf:5": {"198.51.100.0/24", "192.0.2.1/32", "2001:db8::1/128"},
		"in":           {"192.0.2.2/32"},
	}
	for name, want := range tests {
		c, _ := mustLoad(t, text, name, nil)
		var got []string
		for _, p := range c.Self().Addrs {
			got = append(got, p.String())
		}
		if !slices.Equal(got, want) || !slices.Equal(c.Self().Names, []string{"mx.example.org"}) {
			t.Errorf("%s: addresses %v, names %v, want %v", name, got, c.Self().Names, want)
		}
	}
	// Nobody refers to it: every endpoint that takes mail might.
	c, _ := mustLoad(t, text+"check.helo_fqdn spare { policy rfc }", "spare", nil)
	if n := len(c.Self().Addrs); n != 4 {
		t.Errorf("%d addresses of endpoints, want 4", n)
	}
}

func TestLoadTables(t *testing.T) {
	const text = `
state_dir DIR
table.file shared { file deny.txt }
table.static local { entry bad.example.net "554 5.7.1 No" }
table.sql_query sql { driver postgres }
check.helo_fqdn mx {
	TABLE
}
`
	files := map[string]string{
		"deny.txt": "# remark\n\nbad.example.net: 554 5.7.1 Go away, twice\nother.example.net\n",
		"bad.txt":  ": nothing\n",
	}
	tests := []struct {
		name, directive string
		hit             bool
		note            string
	}{
		{"static", `deny_names static { entry bad.example.net "" }`, true, ""},
		{"file", `deny_names file DIR/deny.txt`, true, ""},
		{"file below state_dir", `deny_names file deny.txt`, true, ""},
		{"file in a block", "deny_names file {\nfile deny.txt\n}", true, ""},
		{"full name", `deny_names table.file deny.txt`, true, ""},
		{"reference to file", `deny_names &shared`, true, ""},
		{"reference to static", `deny_names &local`, true, ""},
		{"sql", "deny_names sql_query {\ndriver postgres\n}", false, "deny_names: table sql_query: not evaluated"},
		{"reference to sql", `deny_names &sql`, false, "deny_names: table sql_query: not evaluated"},
		{"dangling", `deny_names &nobody`, false, "deny_names: table &nobody: not evaluated"},
		{"missing file", `deny_names file none.txt`, false, "deny_names: table file: not evaluated: open DIR/none.txt"},
		{"broken file", `deny_names file bad.txt`, false, "deny_names: table file: not evaluated: line 1: empty"},
		{"broken static", "deny_names static {\nentry a\n}", false, "deny_names: table static: not evaluated: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := conf(t, strings.Replace(text, "TABLE", test.directive, 1), files)
			c, notes, err := Load(path, "")
			if err != nil {
				t.Fatal(err)
			}
			c.NoDNS()
			f := factsOf(c, "bad.example.net", netip.MustParseAddr("192.0.2.9"), netip.Addr{})
			o := c.Judge(t.Context(), &f, "", "")
			if hit := len(o.Hits) > 0 && o.Hits[0].Rule.Name == "deny_name"; hit != test.hit {
				t.Errorf("hits %v, want deny_name: %v", o.Hits, test.hit)
			}
			note := strings.ReplaceAll(test.note, "DIR", filepath.Dir(path))
			if got := strings.Join(notes, "\n"); note == "" && got != "" || !strings.HasPrefix(got, note) {
				t.Errorf("notes %q, want %q", got, note)
			}
		})
	}
}

// A table that is not evaluated must not take the other settings with it.
func TestLoadKeepsTheRest(t *testing.T) {
	c, notes := mustLoad(t, `check.helo_fqdn mx {
	exempt_names regexp "a" "b"
	exempt_clients static { entry 192.0.2.9 "" }
	ptr_mismatch_action reject
}`, "", nil)
	c.NoDNS()
	f := factsOf(c, "friend", netip.MustParseAddr("192.0.2.9"), netip.Addr{})
	if o := c.Judge(t.Context(), &f, "", ""); o.Exempt != "client" {
		t.Errorf("outcome %+v, want exempt: client", o)
	}
	want := []string{"exempt_names: table regexp: not evaluated", "ptr_mismatch_action is reject"}
	for _, part := range want {
		if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, part) }) {
			t.Errorf("notes %q lack %q", notes, part)
		}
	}
}

func TestFromPolicy(t *testing.T) {
	for _, preset := range []string{"", "lenient", "rfc", "strict"} {
		c, err := FromPolicy(preset)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(c.Policy().Preset); got != preset && preset != "" || preset == "" && got != "rfc" {
			t.Errorf("policy %q became %q", preset, got)
		}
	}
	if _, err := FromPolicy("mild"); err == nil {
		t.Error("policy mild is accepted")
	}
}

func explain(t *testing.T, text string, q Query) Explanation {
	t.Helper()
	c, _ := mustLoad(t, text, "", nil)
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
	const mx = "hostname mx.example.org\ncheck.helo_fqdn mx {\naddress_mismatch_action quarantine\n}"
	const slow = "check.helo_fqdn mx {\npolicy strict\ndns_error_action tempfail\n}"
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
	const text = "check.helo_fqdn mx { policy strict }"
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
	c, err := FromPolicy("strict")
	if err != nil {
		t.Fatal(err)
	}
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

// Maddy's parser panics on a macro of nothing but macros that nobody has set.
func TestLoadSurvivesTheParser(t *testing.T) {
	path := conf(t, "$(a) = $(nobody) $(set)\nhelo_fqdn {\n blocklists x.$(a)\n}\n", nil)
	_, _, err := Load(path, "")
	if err == nil || !strings.Contains(err.Error(), path+": Maddy's parser fails") {
		t.Errorf("got error %v, want one that names %s", err, path)
	}
}
