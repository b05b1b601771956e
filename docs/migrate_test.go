package docs

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// What migrate.md names in the column "here" are directives of the reference.
func TestMigrateNamesDirectives(t *testing.T) {
	page, err := os.ReadFile("migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	manual, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"ignore": true, "reject": true, "score": true, "rcpt": true, "action": true}
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)`).FindAllStringSubmatch(string(manual), -1) {
		known[m[1]] = true
	}
	column, rows := 0, 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "|") {
			column = 0
			continue
		}
		if column == 0 {
			for i, cell := range cells {
				if strings.TrimSpace(cell) == "here" {
					column = i
				}
			}
			continue
		}
		rows++
		for _, m := range codeSpan.FindAllStringSubmatch(cells[column], -1) {
			if word, _, _ := strings.Cut(m[1], " "); !known[word] {
				t.Errorf("no directive %s: %s", word, line)
			}
		}
	}
	if rows < 80 {
		t.Errorf("found only %d rows", rows)
	}
}
