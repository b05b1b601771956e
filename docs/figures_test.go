package docs

import (
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

func page(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The pages with figures of "lab fit --table" have those of accuracy.md, where another test
// compares the ones of 2002 with what the command prints.
func TestFiguresOfRules(t *testing.T) {
	accuracy := page(t, "accuracy.md")
	sets := []string{
		"good, 2019-2026", "spam, 2019-2026", "good, 2002", "spam, 2002",
	}
	totals := make([]string, 0, len(sets))
	for _, line := range regexp.MustCompile(`(?m)^\| corpus-\w+ \| .*`).FindAllString(accuracy, -1) {
		for _, m := range regexp.MustCompile(`([\d,]+) messages`).FindAllStringSubmatch(line, -1) {
			totals = append(totals, m[1])
		}
	}
	pages, err := fs.Glob(Files, "rules/*.md")
	if err != nil || len(totals) != len(sets) {
		t.Fatal(err, totals)
	}
	tested := 0
	for _, path := range pages {
		text := page(t, path)
		if !strings.Contains(text, "by `go run ./cmd/lab fit --table`.") {
			continue
		}
		tested++
		rule := strings.TrimSuffix(strings.TrimPrefix(path, "rules/"), ".md")
		row := regexp.MustCompile(`(?m)^\| `+rule+` \| (.*) \|$`).FindAllStringSubmatch(accuracy, -1)
		if len(row) != 1 {
			t.Errorf("accuracy.md has %d rows for %s", len(row), rule)
			continue
		}
		for i, cell := range strings.Split(row[0][1], " | ") {
			hits, share, hit := strings.Cut(cell, ", ")
			share, _, _ = strings.Cut(share, " / ")
			if !hit {
				share = "0 %"
			}
			want := "| " + sets[i] + " | " + totals[i] + " | " + hits + " | " + share + " |\n"
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %s", path, want)
			}
		}
	}
	if tested < 20 {
		t.Errorf("only %d pages have such figures", tested)
	}
}
