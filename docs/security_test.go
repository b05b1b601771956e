package docs

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const threats = "security.md"

// testNames collects the test and fuzz functions of the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(\w+ \*testing\.[TF]\)`)
	root := os.DirFS("..")
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || p != "." && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case !strings.HasSuffix(p, "_test.go"):
			return nil
		}
		source, err := fs.ReadFile(root, p)
		for _, m := range function.FindAllStringSubmatch(string(source), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func readThreats(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(threats)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Each test that the page names is in the tree, and each fuzz target is on the page.
func TestThreatsNameRealTests(t *testing.T) {
	text, have := readThreats(t), testNames(t)
	named := make(map[string]bool)
	for _, m := range regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(text, -1) {
		named[m[1]] = true
		if !have[m[1]] {
			t.Errorf("%s names %s, which does not exist", threats, m[1])
		}
	}
	for name := range have {
		if strings.HasPrefix(name, "Fuzz") && !named[name] {
			t.Errorf("%s does not say what %s shows", threats, name)
		}
	}
}

// Each threat has a bound and a test that shows it.
func TestThreatsAreBounded(t *testing.T) {
	bounded, _, _ := strings.Cut(readThreats(t), "## What stays open")
	rows := 0
	for line := range strings.Lines(bounded) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || strings.Contains(line, "---") || len(cells) < 2 ||
			strings.HasSuffix(strings.TrimSpace(cells[0]), " do") ||
			strings.HasSuffix(strings.TrimSpace(cells[0]), " does") {
			continue
		}
		rows++
		if len(cells) != 4 || slices.Contains(cells, "") {
			t.Errorf("not four cells: %s", line)
		} else if shown := cells[3]; !strings.Contains(shown, "`Test") &&
			!strings.Contains(shown, "`Fuzz") && !strings.Contains(shown, "](") {
			t.Errorf("shown by nothing: %s", line)
		}
	}
	if rows < 30 {
		t.Errorf("%d threats found", rows)
	}
}

// declaration matches what stands before the name of a function, type, variable or constant.
const declaration = `(?m)^(func (\([^)]*\) )?|type |var |const |\t)([\w, ]+, )?`

// What is said to bound a threat is in the file that is named.
func TestThreatsNameRealBounds(t *testing.T) {
	text := readThreats(t)
	list := regexp.MustCompile("((?:`\\w+`(?:, | and )?)+) \\(((?:[\\w/]+)\\.go)\\)")
	found := list.FindAllStringSubmatch(text, -1)
	for _, m := range found {
		source, err := os.ReadFile(path.Join("..", m[2]))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(m[1], -1) {
			declared := regexp.MustCompile(declaration + name[1] + `\b`)
			if !declared.Match(source) {
				t.Errorf("%s does not declare %s", m[2], name[1])
			}
		}
	}
	if len(found) < 30 {
		t.Errorf("%d bounds found", len(found))
	}
}
