package docs

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// Pages for readers whose first language is not English: short sentences, no
// metaphors, no "he" for a sender or an operator.
func TestProse(t *testing.T) {
	const longest = 25 // words of a sentence
	banned := regexp.MustCompile(`(?i)\b(mend\w*|acquit\w*|owe[sd]?|speaks? against|accuse\w*|him|he|his)\b`)
	left := regexp.MustCompile("(?s)```.*?```|<!--.*?-->|(?m:^\\|.*$)")
	code := regexp.MustCompile("`[^`]*`")
	blocks := regexp.MustCompile(`\n\n|\n- |\n\d+\. `)
	ends := regexp.MustCompile(`[.:;?]\s`)
	pages, err := fs.Glob(Files, "*/*.md")
	if err != nil || len(pages) < 30 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		data, err := fs.ReadFile(Files, page)
		if err != nil {
			t.Fatal(err)
		}
		text := code.ReplaceAllString(left.ReplaceAllString(string(data), ""), "X")
		for _, block := range blocks.Split(text, -1) {
			for _, sentence := range ends.Split(strings.Join(strings.Fields(block), " "), -1) {
				if n := len(strings.Fields(sentence)); n > longest {
					t.Errorf("%s: %d words: %s", page, n, sentence)
				}
				if word := banned.FindString(sentence); word != "" {
					t.Errorf("%s: %q in: %s", page, word, sentence)
				}
			}
		}
	}
}
