package maddyconf

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
	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/judge"
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

func mustLoad(t *testing.T, text, name string, files map[string]string) *Config {
	t.Helper()
	loaded, err := Load(conf(t, text, files), name)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
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
			loaded, err := Load(conf(t, test.text, nil), test.check)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("got error %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := loaded.Check.Judge().Policy.Preset; got != test.want {
				t.Errorf("got policy %q, want %q", got, test.want)
			}
		})
	}
	if _, err := Load(conf(t, "hostname a.example.org", nil), ""); !errors.Is(err, ErrNoCheck) {
		t.Errorf("%v is not ErrNoCheck", err)
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), ""); !errors.Is(err, os.ErrNotExist) {
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
		c := mustLoad(t, text, name, nil).Check
		var got []string
		for _, p := range c.Judge().Self.Addrs {
			got = append(got, p.String())
		}
		if !slices.Equal(got, want) || !slices.Equal(c.Judge().Self.Names, []string{"mx.example.org"}) {
			t.Errorf("%s: addresses %v, names %v, want %v", name, got, c.Judge().Self.Names, want)
		}
	}
	// Nobody refers to it: every endpoint that takes mail might.
	c := mustLoad(t, text+"check.helo_fqdn spare { policy rfc }", "spare", nil).Check
	if n := len(c.Judge().Self.Addrs); n != 4 {
		t.Errorf("%d addresses of endpoints, want 4", n)
	}
}

// outcome tells in short what the check makes of a greeting from 192.0.2.9.
func outcome(t *testing.T, c *module.Check, helo string) string {
	t.Helper()
	j := c.Judge()
	j.Gatherer.Exchange = nil
	e := j.Explain(t.Context(), judge.Query{Conn: judge.Conn{
		Helo: helo, Client: netip.MustParseAddr("192.0.2.9")}})
	o := e.Recipients[0]
	if o.Exempt != "" {
		return "exempt: " + o.Exempt
	}
	return o.Reply.Text
}

func TestNotEvaluated(t *testing.T) {
	const text = `
state_dir DIR
table.chain rewritten {
	step &accounts
}
table.sql_query sql { driver postgres }
storage.imapsql accounts { driver postgres }
check.helo_fqdn mx {
	TABLE
	not_fqdn_action reject 511 5.5.2 "No"
}
`
	tests := []struct {
		name, directive string
		want            *Table
	}{
		{"sql", "deny_names sql_query {\ndriver postgres\n}", &Table{"deny_names", "sql_query", errRunMaddy.Error()}},
		{"sql_table", "exempt_names sql_table {\ndriver postgres\n}", &Table{"exempt_names", "sql_table", errRunMaddy.Error()}},
		{"reference", `deny_names &sql`, &Table{"deny_names", "sql_query", errRunMaddy.Error()}},
		{"other module", `exempt_names &accounts`, &Table{"exempt_names", "storage.imapsql", errRunMaddy.Error()}},
		{"chain", "deny_hosts chain {\nstep identity\n}", &Table{"deny_hosts", "chain", errRunServer.Error()}},
		{"chain by reference", `deny_hosts &rewritten`, &Table{"deny_hosts", "chain", errRunServer.Error()}},
		{"identity", `deny_hosts identity`, &Table{"deny_hosts", "identity", errRunMaddy.Error()}},
		{"foreign", `exempt_clients ldap ldap://192.0.2.1`, &Table{"exempt_clients", "ldap", errRunMaddy.Error()}},
		{"unreadable", `deny_names file DIR/closed.txt/x`,
			&Table{"deny_names", "file", "open DIR/closed.txt/x: not a directory"}},
		{"all known", "deny_names static { entry a.example \"\" }", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := conf(t, strings.Replace(text, "TABLE", test.directive, 1), map[string]string{"closed.txt": ""})
			loaded, err := Load(path, "")
			if err != nil {
				t.Fatal(err)
			}
			var want []Table
			if test.want != nil {
				want = []Table{*test.want}
				want[0].Reason = strings.ReplaceAll(want[0].Reason, "DIR", filepath.Dir(path))
			}
			if !slices.Equal(loaded.NotEvaluated, want) || len(loaded.Warnings) != 0 {
				t.Errorf("not evaluated %q, want %q; warnings %q", loaded.NotEvaluated, want, loaded.Warnings)
			}
			// The other settings stay in force.
			if got := outcome(t, loaded.Check, "friend"); got != "No" {
				t.Errorf("friend gets %q, want the reply of not_fqdn_action", got)
			}
		})
	}
	want := "deny_names: table ldap: not evaluated: run `maddy helo explain`"
	if got := (Table{"deny_names", "ldap", errRunMaddy.Error()}).String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWarnings(t *testing.T) {
	c := mustLoad(t, `state_dir DIR
check.helo_fqdn mx {
	deny_names file none.txt
	ptr_mismatch_action reject
}`, "", nil)
	want := []string{"maddy.conf:3: deny_names: the table has no entries",
		"maddy.conf:4: ptr_mismatch_action is reject"}
	if len(c.Warnings) != len(want) {
		t.Fatalf("warnings %q, want %d", c.Warnings, len(want))
	}
	for i, part := range want {
		if !strings.Contains(c.Warnings[i], part) {
			t.Errorf("warning %q lacks %q", c.Warnings[i], part)
		}
	}
	// What the check logs later is for nobody.
	outcome(t, c.Check, "friend")
	if len(c.Warnings) != len(want) {
		t.Errorf("a judgement adds warnings: %q", c.Warnings[len(want):])
	}
}

// Relative paths are below the state directory, where the server runs.
func TestRelativePaths(t *testing.T) {
	c := mustLoad(t, `state_dir DIR
check.helo_fqdn mx {
	exempt_networks 192.0.2.77 file nets.txt file file
	deny_names file deny.txt
}`, "", map[string]string{
		"nets.txt": "192.0.2.0/29\n", "file": "192.0.2.9\n", "deny.txt": "bad.example.net: no\n",
	}).Check
	if got := outcome(t, c, "bad.example.net"); got != "exempt: network" {
		t.Errorf("got %q, want an exempt network", got)
	}
	c = mustLoad(t, `state_dir DIR
check.helo_fqdn mx { deny_names file deny.txt }`, "", map[string]string{"deny.txt": "bad.example.net: no\n"}).Check
	if got := outcome(t, c, "bad.example.net"); got != "no" {
		t.Errorf("got %q, want the value of the table", got)
	}
}

func TestMistakes(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"static", "deny_names static {\nentry a\n}", "maddy.conf:4: entry without a value; accepted: entry KEY VALUE..."},
		{"file", "deny_names file DIR/bad.txt", "bad.txt:2: no key before the colon; accepted: KEY or KEY: VALUE"},
		{"two files", "deny_names file DIR/bad.txt DIR/bad.txt", `maddy.conf:3: deny_names: found "file": more than one file`},
		{"directory", "deny_names file DIR", "is a directory"},
		{"pattern", `deny_names regexp "(" x`, "found \"regexp\": error parsing regexp: missing closing )"},
		{"no pattern", "deny_names regexp", "found \"regexp\": no pattern; accepted: regexp PATTERN VALUE..."},
		{"option", "deny_names regexp a b {\nfull_match maybe\n}", "maddy.conf:4: "},
		{"dangling", "deny_names &nobody", `maddy.conf:3: deny_names: found "&nobody": no such instance registered`},
		{"no table", "deny_names", "maddy.conf:3: deny_names: found no table; accepted: file, static, "},
		{"self_addresses", "self_addresses", "maddy.conf:3: "},
		{"network file", "exempt_networks file DIR/none.txt", "none.txt: no such file"},
		{"named", "deny_names &broken\n}\ntable.file broken {\nfile DIR/bad.txt", "bad.txt:2: no key"},
		{"named twice", "deny_names &broken\n}\ntable.file broken {\nfile a\n}\ntable.file broken {\nfile b",
			"maddy.conf:8: config block named broken already exists"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := conf(t, "smtp tcp://192.0.2.1:25 { }\ncheck.helo_fqdn mx {\n"+test.text+"\n}\n",
				map[string]string{"bad.txt": "a: b\n: nothing\n"})
			_, err := Load(path, "")
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want %q", err, test.want)
			}
		})
	}
}

func TestFromPolicy(t *testing.T) {
	for _, preset := range []string{"", "lenient", "rfc", "strict"} {
		c, err := FromPolicy(preset)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(c.Judge().Policy.Preset); got != preset && preset != "" || preset == "" && got != "rfc" {
			t.Errorf("policy %q became %q", preset, got)
		}
	}
	if _, err := FromPolicy("mild"); err == nil {
		t.Error("policy mild is accepted")
	}
}

// Imports, snippets and macros work as in Maddy.
func TestImports(t *testing.T) {
	c := mustLoad(t, `$(word) = bad
(denied) {
	deny_names static { entry $(word).example.net "from a snippet" }
}
check.helo_fqdn mx {
	import denied
	import more.conf
}
`, "", map[string]string{"more.conf": "not_fqdn_action reject 511 5.5.2 \"from a file\"\n"}).Check
	for helo, want := range map[string]string{"bad.example.net": "from a snippet", "friend": "from a file"} {
		if got := outcome(t, c, helo); got != want {
			t.Errorf("%s gets %q, want %q", helo, got, want)
		}
	}
	// An error names the imported file.
	path := conf(t, "check.helo_fqdn mx {\nimport more.conf\n}\n",
		map[string]string{"more.conf": "\npolciy rfc\n"})
	if _, err := Load(path, ""); err == nil || !strings.Contains(err.Error(), "more.conf:2: ") {
		t.Errorf("got error %v, want one of more.conf:2", err)
	}
}

// Maddy's parser panics on a macro of nothing but macros that nobody has set.
func TestLoadSurvivesTheParser(t *testing.T) {
	path := conf(t, "$(a) = $(nobody) $(set)\nhelo_fqdn {\n blocklists x.$(a)\n}\n", nil)
	_, err := Load(path, "")
	if err == nil || !strings.Contains(err.Error(), path+": Maddy's parser fails") {
		t.Errorf("got error %v, want one that names %s", err, path)
	}
}

// exempt_recipients and exempt_networks take a table of its own block by reference. Keys are read as
// the check asks for them: an address, then its domain, then the local part.
func TestListsByReference(t *testing.T) {
	const text = `
table.file rcpts { file DIR/rcpts }
table.file relays { file DIR/relays }
check.helo_fqdn mx {
	exempt_recipients &rcpts
	exempt_networks &relays
}
`
	c := mustLoad(t, text, "", map[string]string{
		"rcpts": "help@example.org\n@lab.example.org\nabuse: all domains\n", "relays": "192.0.2.7\n"})
	j := c.Check.Judge()
	j.Gatherer.Exchange = nil
	for _, tc := range []struct{ client, rcpt, want string }{
		{"192.0.2.9", "help@example.org", "rcpt"},
		{"192.0.2.9", "Help@Example.ORG", "rcpt"},
		{"192.0.2.9", "anyone@lab.example.org", "rcpt"},
		{"192.0.2.9", "abuse@example.com", "rcpt"},
		{"192.0.2.9", "help@example.com", ""},
		{"192.0.2.9", "postmaster@example.org", ""}, // a table replaces the default
		{"192.0.2.7", "help@example.com", "network"},
	} {
		e := j.Explain(t.Context(), judge.Query{Conn: judge.Conn{Helo: "friend",
			Client: netip.MustParseAddr(tc.client)}, Rcpts: []string{tc.rcpt}})
		if got := e.Recipients[0].Exempt; got != tc.want {
			t.Errorf("%s to %s: exempt %q, want %q", tc.client, tc.rcpt, got, tc.want)
		}
	}
	if len(c.NotEvaluated) != 0 {
		t.Errorf("not evaluated: %v", c.NotEvaluated)
	}
}
