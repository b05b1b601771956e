package fit

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the counts of 2002 into docs/accuracy.md")

// printed is what the tool says about the mail of 2002.
type printed struct {
	costs map[string]string   // rows of the policies, by policy and mail
	rules map[string][]string // cells of ham and spam, by rule
	both  map[string][]string // shares lost and caught, by policy
	fit   string
	used  map[string]bool // what the page has of all that
}

func printed2002(t *testing.T) *printed {
	t.Helper()
	p := &printed{make(map[string]string), make(map[string][]string), make(map[string][]string),
		prints(t, corpus2002), make(map[string]bool)}
	for line := range strings.Lines(prints(t, "-table", corpus2002)) {
		switch c := cells(line); {
		case len(c) == 6 && strings.HasPrefix(c[1], "corpus-2002"):
			p.costs[c[0]+" "+c[1]] = strings.TrimSpace(line)
			_, share, _ := strings.Cut(c[5], ", ")
			p.both[c[0]] = append(p.both[c[0]], share)
		case len(c) == 3 && c[0] != "rule" && c[0] != "---":
			p.rules[c[0]] = c[1:]
		}
	}
	if len(p.costs) != 6 || len(p.rules) < 20 || len(p.both) != 3 {
		t.Fatalf("the tool prints %+v", p)
	}
	return p
}

// renew puts what the tool prints now into the page, wherever it tells about 2002.
func (p *printed) renew(page string) string {
	var out strings.Builder
	var head []string
	for line := range strings.Lines(page) {
		c := cells(line)
		switch {
		case c == nil:
			head = nil
		case slices.Contains(c, "corpus-2002 ham") && c[0] == "rule":
			head = c
		default:
			line = p.row(c, head)
		}
		out.WriteString(line)
	}
	return p.block(out.String())
}

// row renews one row of a table with that head.
func (p *printed) row(c, head []string) string {
	if row, ok := p.costs[c[0]+" "+c[1]]; ok && len(c) == 6 {
		p.used[c[0]+" "+c[1]] = true
		return row + "\n"
	}
	policy, ours := strings.CutPrefix(c[0], "this check, ")
	both, hits := p.both[policy], p.rules[c[0]]
	switch {
	case ours && len(both) == 2:
		p.used["both "+policy] = true
		copy(c[len(c)-2:], both)
	case head != nil && hits != nil:
		p.used["rule "+c[0]] = true
		for i, set := range []string{"corpus-2002 ham", "corpus-2002 spam"} {
			c[slices.Index(head, set)] = hits[i]
		}
	}
	return "| " + strings.Join(c, " | ") + " |\n"
}

// block renews the block with the result of the fit.
func (p *printed) block(page string) string {
	const from, to = "<!-- fit -->\n\n```text\n", "```\n\n<!-- /fit -->"
	before, rest, ok := strings.Cut(page, from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		return page
	}
	p.used["fit"] = true
	text := regexp.MustCompile(`(?m) +$`).ReplaceAllString(p.fit, "")
	return before + from + text + to + after
}

// The page has the counts of 2002 that the tool prints, and nothing of it is left out.
func TestAccuracyPage(t *testing.T) {
	if _, err := os.Stat(filepath.Join("..", "..", "..", "server", "go.mod")); err == nil {
		t.Skip("left out: a source archive has another list of public suffixes than the page's figures")
	}
	path := filepath.Join("..", "..", "..", "docs", "accuracy.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page, p := string(text), printed2002(t)
	want := p.renew(page)
	if all := len(p.costs) + len(p.both) + len(p.rules) + 1; len(p.used) != all {
		t.Errorf("the page has %d of %d parts: %v", len(p.used), all, p.used)
	}
	if *update && page != want {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		page = want
	}
	have := strings.Split(page, "\n")
	for i, line := range strings.Split(want, "\n") {
		if i >= len(have) || have[i] != line {
			t.Errorf("%s is stale; run go test ./cmd/lab/fit -run TestAccuracyPage -update\nwant %q",
				path, line)
			break
		}
	}
}

// Each name of good mail that is lost stands in the page, with the reason.
func TestAccuracyPageNamesTheLost(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "accuracy.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, want := string(text), 0
	for line := range strings.Lines(prints(t, "--lost", corpus2002)) {
		if c := cells(line); c != nil && c[0] == "corpus-2002" {
			want++
			row := fmt.Sprintf(`(?m)^%s [A-Za-z].+ \|$`, regexp.QuoteMeta(strings.TrimSpace(line)))
			if !regexp.MustCompile(row).MatchString(page) {
				t.Errorf("the page lacks, with a reason behind it, %s", line)
			}
		}
	}
	rows := regexp.MustCompile("(?m)^\\| corpus-2002 \\| [0-9]+ \\| `").FindAllString(page, -1)
	if got := len(rows); got != want || want == 0 {
		t.Errorf("%d rows of lost names, want %d", got, want)
	}
}
