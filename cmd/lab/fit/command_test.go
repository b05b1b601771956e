package fit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var corpus2002 = filepath.Join("..", "..", "helocheck", "testdata", "corpus-2002.csv")

// prints runs the command, which has to succeed.
func prints(t *testing.T, args ...string) string {
	t.Helper()
	var out, said bytes.Buffer
	if status := Main(t.Context(), args, &out, &said); status != 0 || said.Len() > 0 {
		t.Fatalf("fit %q: status %d, %s", args, status, said.String())
	}
	return out.String()
}

func fitJSON(t *testing.T, args ...string) (r Result) {
	t.Helper()
	if err := json.Unmarshal([]byte(prints(t, append([]string{"-json"}, args...)...)), &r); err != nil {
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
			"ham":  {ham, strings.Trim(partOf(now.Lost, now.Ham), ")")},
			"spam": {spam, strings.Trim(partOf(now.Caught, now.Spam), ")")},
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
		out := prints(t, "-seed", seed, corpus2002)
		for _, want := range []string{
			"1688 ham, 970 spam, 0 of other classes; policy rfc\n",
			"corpus-2002: at most as much ham lost as now\n",
			"\nin sample ", "\npart 5, fitted to the others", "\nheld out, all parts",
			"keep those in force\n", "\n    underscore_action score ",
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
	for _, limit := range []string{"5%", "0.06", "10%"} {
		share, err := shareOf(limit)
		if err != nil {
			t.Fatal(err)
		}
		r := fitJSON(t, "-max-lost", limit, corpus2002)
		if got := r.InSample[0].Fitted.LostShare(); got > share {
			t.Errorf("limit %s: %v lost", limit, got)
		}
	}
	out := prints(t, "-max-lost", "6%", corpus2002)
	if !strings.Contains(out, "corpus-2002: at most 6 % of the ham lost\n") {
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
	r := fitJSON(t, "-policy", conf, path)
	own := func(p Points) bool { return p.Rule == "reserved_tld" && p.Now == 4 }
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
		{[]string{"-nothing", good}, "-nothing"},
		{[]string{"-folds", "1", good}, "--folds 1; accepted: 2 to 100"},
		{[]string{"-folds", "101", good}, "--folds 101"},
		{[]string{"-max-lost", "2", good}, `--max-lost: "2"; accepted: 0 to 1`},
		{[]string{"-max-lost", "-1%", good}, "accepted: 0 to 1"},
		{[]string{"-max-lost", "few", good}, "accepted: 0 to 1"},
		{[]string{"-max-lost", "NaN", good}, "accepted: 0 to 1"},
		{[]string{"-max-lost", "1%", "-max-lost", "1%", good}, "2 times --max-lost for 1 files"},
		{[]string{"-policy", "mild", good}, "--policy: "},
		{[]string{good + ".not"}, "no such file"},
		{[]string{"-table", good + ".not"}, "no such file"},
		{[]string{"-lost", good + ".not"}, "no such file"},
		{[]string{unclassed}, "0 messages of class ham, 0 of class spam, 1 of others"},
	} {
		var out, said bytes.Buffer
		status := Main(t.Context(), tc.args, &out, &said)
		if status != 2 || !strings.Contains(said.String(), tc.want) {
			t.Errorf("%q: status %d, %q, want %q", tc.args, status, said.String(), tc.want)
		}
		if out.Len() > 0 {
			t.Errorf("%q: prints %q", tc.args, out.String())
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
