package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/cmd/helocheck/fit"
)

var corpus2002 = filepath.Join("..", "testdata", "corpus-2002.csv")

// fitted runs fit with args and returns what it prints.
func fitted(t *testing.T, args ...string) (string, error) {
	t.Helper()
	command := fitCommand()
	finish(command)
	var out bytes.Buffer
	program := &cli.App{
		Writer: &out, ErrWriter: &out, Commands: []*cli.Command{command},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err := program.RunContext(t.Context(), append([]string{"helocheck", "fit"}, args...))
	return out.String(), err
}

// prints is fitted without an error.
func prints(t *testing.T, args ...string) string {
	t.Helper()
	out, err := fitted(t, args...)
	if err != nil {
		t.Fatalf("fit %q: %v", args, err)
	}
	return out
}

func fitJSON(t *testing.T, args ...string) (r fit.Result) {
	t.Helper()
	if err := json.Unmarshal([]byte(prints(t, append(args, "--format", "json")...)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// cells are the cells of a row of a Markdown table; nil for other lines.
func cells(line string) []string {
	line = strings.TrimSpace(line)
	if len(line) < 4 || !strings.HasPrefix(line, "| ") || !strings.HasSuffix(line, " |") {
		return nil
	}
	return strings.Split(line[2:len(line)-2], " | ")
}

// The points in force cost what replay counts, and the folds add up.
func TestFitCountsAsReplayDoes(t *testing.T) {
	for _, policy := range []string{"lenient", "rfc", "strict"} {
		r := fitJSON(t, "--policy", policy, corpus2002)
		now := r.InSample[0].Now
		var ham, spam string
		for line := range strings.Lines(prints(t, "--table", corpus2002)) {
			switch c := cells(line); {
			case len(c) > 5 && c[0] == policy && c[1] == "corpus-2002 ham":
				ham = c[5]
			case len(c) > 5 && c[0] == policy && c[1] == "corpus-2002 spam":
				spam = c[5]
			}
		}
		for what, pair := range map[string][2]string{
			"ham":  {ham, strings.Trim(part(now.Lost, now.Ham), ")")},
			"spam": {spam, strings.Trim(part(now.Caught, now.Spam), ")")},
		} {
			if want := strings.Replace(pair[1], " (", ", ", 1); pair[0] != want {
				t.Errorf("%s, %s: the table says %q, fit %q", policy, what, pair[0], want)
			}
		}
		if r.HeldOut[0].Now != now || len(r.Folds) != 5 {
			t.Errorf("%s: held out %+v in %d folds, in sample %+v",
				policy, r.HeldOut[0].Now, len(r.Folds), now)
		}
	}
}

// What fits half of the names of 2002 is no better on the rest of them, whatever the cut.
func TestFitSaysWhenItIsNoBetter(t *testing.T) {
	for _, seed := range []string{"1", "2", "3"} {
		out := prints(t, corpus2002, "--seed", seed)
		for _, want := range []string{
			"1688 ham, 970 spam, 0 of other classes; policy rfc\n",
			"corpus-2002: at most as much ham lost as now\n",
			"\nin sample ", "\npart 5, fitted to the others", "\nheld out, all parts",
			"keep those in force\n", "\n    default_host_action score ",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("seed %s: no %q in\n%s", seed, want, out)
			}
		}
		if strings.Contains(out, "For maddy.conf") {
			t.Errorf("seed %s: advises points that lose more\n%s", seed, out)
		}
	}
}

func TestFitLimits(t *testing.T) {
	for _, limit := range []string{"1%", "0.03", "10%"} {
		share, err := shareOf(limit)
		if err != nil {
			t.Fatal(err)
		}
		r := fitJSON(t, corpus2002, "--max-lost", limit)
		if got := r.InSample[0].Fitted.LostShare(); got > share {
			t.Errorf("limit %s: %v lost", limit, got)
		}
	}
	out := prints(t, corpus2002, "--max-lost", "3%")
	if !strings.Contains(out, "corpus-2002: at most 3 % of the ham lost\n") {
		t.Errorf("no limit in\n%s", out)
	}
}

const table = `helo,ip,rdns,ptr_confirmed,class,count
mail.example.org,192.0.2.1,mail.example.org,yes,ham,5
mail.example.org,192.0.2.1,mail.example.org,yes,unsure,4
host.example.net,192.0.2.2,,yes,HAM,3
bare,192.0.2.3,-,yes,ham,2
a|b,192.0.2.4,mx.example.com,no,ham,1
vps1.example.com,192.0.2.5,,yes,spam,9
`

func tableFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFitLost(t *testing.T) {
	path := tableFile(t, "mine.csv", table)
	want := "| mail | messages | HELO | PTR | action | rules |\n" +
		"| --- | ---: | --- | --- | --- | --- |\n" +
		"| mine | 3 | `host.example.net` | none | quarantine | no_ptr 3, default_host 2 |\n" +
		"| mine | 2 | `bare` | not recorded | reject | not_fqdn |\n" +
		"| mine | 1 | `a\\|b` | `mx.example.com`, unconfirmed | reject |" +
		" malformed, ptr_unconfirmed 3 |\n"
	if got := prints(t, "--lost", path); got != want {
		t.Errorf("got\n%s, want\n%s", got, want)
	}
	out := prints(t, path)
	if !strings.HasPrefix(out, "11 ham, 9 spam, 4 of other classes; policy rfc\n") {
		t.Errorf("got\n%s", out)
	}
}

func TestFitAdvises(t *testing.T) {
	var text strings.Builder
	text.WriteString("helo,ip,rdns,class\n")
	for i := range 60 {
		fmt.Fprintf(&text, "under_score.example.spam-bench%d.net,192.0.2.1,-,spam\n", i)
		fmt.Fprintf(&text, "mail.ham-bench%d.net,192.0.2.2,-,ham\n", i)
	}
	path := tableFile(t, "a.csv", text.String())
	out := prints(t, path, path) // the same file twice: a set of its own each time
	for _, want := range []string{"held out too\n", "\nFor maddy.conf",
		"\n    underscore_action score 5\n", "\na: at most", "\n" + path + ": at most"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	conf := tableFile(t, "maddy.conf", "check.helo_fqdn mx {\nreserved_tld_action score 4\n}\n")
	r := fitJSON(t, path, "--config", conf)
	own := func(p fit.Points) bool { return p.Rule == "reserved_tld" && p.Now == 4 }
	if !slices.ContainsFunc(r.Points, own) {
		t.Errorf("points of the configuration: %+v", r.Points)
	}
}

func TestFitUsage(t *testing.T) {
	good := tableFile(t, "t.csv", table)
	unclassed := tableFile(t, "u.csv", "helo,ip\na.example,192.0.2.1\n")
	for _, tc := range []struct {
		args []string
		want string
	}{
		{nil, "fit to what?"},
		{[]string{good, "--format", "csv"}, "text, json"},
		{[]string{good, "--folds", "1"}, "--folds 1; accepted: 2 to 100"},
		{[]string{good, "--folds", "101"}, "--folds 101"},
		{[]string{good, "--max-lost", "2"}, `--max-lost: "2"; accepted: 0 to 1`},
		{[]string{good, "--max-lost", "-1%"}, "accepted: 0 to 1"},
		{[]string{good, "--max-lost", "few"}, "accepted: 0 to 1"},
		{[]string{good, "--max-lost", "NaN"}, "accepted: 0 to 1"},
		{[]string{good, "--max-lost", "1%", "--max-lost", "1%"}, "2 times --max-lost for 1 files"},
		{[]string{good, "--policy", "mild"}, `no policy "mild"`},
		{[]string{good + ".not"}, "no such file"},
		{[]string{good + ".not", "--table"}, "no such file"},
		{[]string{good + ".not", "--lost"}, "no such file"},
		{[]string{unclassed}, "0 messages of class ham, 0 of class spam, 1 of others"},
	} {
		out, err := fitted(t, tc.args...)
		var coded cli.ExitCoder
		if !errors.As(err, &coded) || coded.ExitCode() != exitUsage ||
			!strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: %v, want status %d and %q", tc.args, err, exitUsage, tc.want)
		}
		if out != "" {
			t.Errorf("%q: prints %q", tc.args, out)
		}
	}
}

func TestOrgOf(t *testing.T) {
	for helo, want := range map[string]string{
		"mx.a.example.co.uk": "example.co.uk", "MAIL.Example.ORG.": "example.org",
		"[192.0.2.1]": "[192.0.2.1]", "WIN-1": "win-1", "a|B": "a|b",
	} {
		if got := orgOf(helo); got != want {
			t.Errorf("%q: got %q, want %q", helo, got, want)
		}
	}
}
