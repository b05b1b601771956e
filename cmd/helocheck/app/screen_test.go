package app

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	_ "modernc.org/sqlite"

	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/memory"
)

const widthConf = `state_dir STATE
hostname mx.example.org
smtp tcp://192.0.2.1:25 {
	check {
		helo_fqdn {
			help_url https://www.example.org/helo
			not_fqdn_action reject 554 5.1.9 "A name that has no domain is not taken here. See {url}"
		}
	}
}
`

const widthLog = "Nov 20 10:00:00 mx postfix/smtpd[1]: 4Fz1Qy2abc: client=unknown[192.0.2.9]\n" +
	`2026-11-23T13:40:09.694Z smtp: incoming message	{"msg_id":"7f03f80a","sender":"a@example.net",` +
	`"src_host":"friend","src_ip":"192.0.2.9:53203"}` + "\n" +
	`2026-11-23T13:40:09.695Z smtp: RCPT error	{"msg_id":"7f03f80a","rcpt":"bob@example.org"}` + "\n"

// Every line of every command and of its help fits the width. An error is one line of any length.
func TestLinesFit(t *testing.T) {
	dir, long := t.TempDir(), strings.Repeat("a-long-label-of-a-name.", 9)+"local"
	conf, log := filepath.Join(dir, "m.conf"), filepath.Join(dir, "l.log")
	for path, text := range map[string]string{
		conf: strings.ReplaceAll(widthConf, "STATE", dir), log: widthLog,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	corpus, err := filepath.Abs("../testdata/corpus-2002.csv")
	if err != nil {
		t.Fatal(err)
	}
	db, err := memory.OpenTool(t.Context(), "sqlite3", filepath.Join(dir, "helo_fqdn.db"), true)
	if err != nil {
		t.Fatal(err)
	}
	(&memory.Memory{Store: db}).Accept(memory.Sender{
		Helo: heloname.Parse(long), Client: netip.MustParseAddr("2001:db8::25"),
	})
	if err := errors.Join(db.Flush(t.Context()), db.Close()); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir) // so that the paths are short
	t.Setenv("MADDY_CONFIG", "m.conf")
	lines := []string{
		"", "--version", "version", "rules", "rules --changed", "rules --policy strict",
		"explain --dns off friend", "explain --dns off --ip 192.0.2.9 --all friend",
		"explain --dns off --ip 192.0.2.9 --fix friend", "explain --dns off --ip 2001:db8::9 " + long,
		"explain --dns off --ip 192.0.2.9 --rcpt bob@example.org --rcpt postmaster@example.org " + long,
		"explain --dns off --log l.log 7f03f80a",
		"replay --config m.conf l.log", "replay --config m.conf --against strict " + corpus,
		"memory list", "memory stats", "pages -o site --name x --contact postmaster@example.org",
		"self --helo mail.example.org --ip 192.0.2.25 --dns 127.0.0.1:1", "self --helo x --ip 10.0.0.5",
		"self --helo " + long + " --ip 192.0.2.25 --dns 127.0.0.1:1",
	}
	for _, command := range append(Mounted().Subcommands, Mounted()) {
		lines = append(lines, command.Name+" --help", command.Name+" --version")
	}
	lines = append(lines, "--help")
	for _, width := range []int{60, 80, 120} {
		t.Setenv("COLUMNS", strconv.Itoa(width))
		for _, line := range lines {
			var out, problem bytes.Buffer
			if status := Main(append([]string{"helocheck"}, strings.Fields(line)...), &out, &problem); status < 0 {
				t.Errorf("%s: status %d", line, status)
			}
			for text := range strings.Lines(out.String()) {
				text = strings.TrimRight(text, "\n")
				if utf8.RuneCountInString(text) > width {
					t.Errorf("%s: wider than %d: %s", line, width, text)
				}
			}
		}
	}
}

// A usual refusal fits a screen of 24 lines, with what operator and sender can do.
func TestExplainFitsOneScreen(t *testing.T) {
	t.Setenv("COLUMNS", "80")
	for _, args := range []string{
		"--policy rfc --dns off --ip 192.0.2.9 friend", "--policy strict --dns off --ip 192.0.2.9 foo.bar.local",
		"--policy strict --dns off --ip 192.0.2.9 [192.0.2.1]", "--policy rfc --dns off --ip 192.0.2.9 localhost",
	} {
		var out, problem bytes.Buffer
		Main(append([]string{"helocheck", "explain"}, strings.Fields(args)...), &out, &problem)
		text := out.String() + problem.String()
		if n := strings.Count(text, "\n"); n > 23 { // and the prompt
			t.Errorf("%s: %d lines:\n%s", args, n, text)
		}
		for _, part := range []string{"\nverdict   ", "\nreply     ", "\noperator  exempt_", "\nsender    "} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: no %q:\n%s", args, part, text)
			}
		}
		if strings.ContainsAny(text, "`*#") {
			t.Errorf("%s: Markdown:\n%s", args, text)
		}
	}
}

func TestFold(t *testing.T) {
	tests := []struct {
		text  string
		width int
		want  []string
	}{
		{"", 5, []string{""}},
		{"one  two\nthree", 7, []string{"one two", "three"}},
		{"a abcdefgh b", 4, []string{"a", "abcd", "efgh", "b"}},
		{"abcdefghij kl", 4, []string{"abcd", "efgh", "ij", "kl"}},
		{"äöü äöü", 3, []string{"äöü", "äöü"}},
	}
	for _, test := range tests {
		if got := fold(test.text, test.width); !slices.Equal(got, test.want) {
			t.Errorf("fold(%q, %d) = %q, want %q", test.text, test.width, got, test.want)
		}
	}
}

func TestWidth(t *testing.T) {
	for columns, want := range map[string]int{"": 80, "132": 132, "5": 40, "-1": 80, "x": 80} {
		t.Setenv("COLUMNS", columns)
		// Standard output of a test is no terminal.
		if got := newScreen(&bytes.Buffer{}).width; got != want {
			t.Errorf("COLUMNS=%q: %d, want %d", columns, got, want)
		}
	}
}

func TestPageAsText(t *testing.T) {
	t.Setenv("COLUMNS", "40")
	got := newScreen(io.Discard).Page("First `one`\nof a [link](x.md).\n\n### Head\n\n```sh\na\n  b\n```\n1. x\n2. y\n")
	const want = "First one of a link.\n\nHead\n\n    a\n      b\n1. x\n2. y\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTable(t *testing.T) {
	t.Setenv("COLUMNS", "40")
	got := newScreen(io.Discard).table("Is one of these a message that you do want?\n" +
		"  indented, and wider than the forty columns\n" +
		"rule  12  one two three four five six seven eight nine\n" +
		"a-very-long-name-of-a-rule  12  one two three four\n")
	const want = "Is one of these a message that you do\nwant?\n" +
		"  indented, and wider than the forty\n  columns\n" +
		"rule  12  one two three four five six\n          seven eight nine\n" +
		"a-very-long-name-of-a-rule  12\n    one two three four\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
