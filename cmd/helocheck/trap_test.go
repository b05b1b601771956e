package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const traps = 30

var (
	trapRow  = regexp.MustCompile(`(?m)^\| (\d+) \| (.+) \| (.+) \|$`)
	trapTest = regexp.MustCompile("^`([^`]+_test\\.go)` (Test[A-Za-z0-9]+)(?:/([a-z0-9_]+))?$")
)

// Every false-positive trap has a test, and the page names one that is there.
func TestEveryTrapIsHeld(t *testing.T) {
	root := filepath.Join("..", "..")
	page, err := os.ReadFile(filepath.Join(root, "docs", "accuracy.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## False-positive traps\n")
	if !found {
		t.Fatal("the page has no section about traps")
	}
	rows := trapRow.FindAllStringSubmatch(section, -1)
	if len(rows) != traps {
		t.Errorf("%d traps, want %d", len(rows), traps)
	}
	for i, row := range rows {
		if row[1] != strconv.Itoa(i+1) {
			t.Errorf("row %d has number %s", i+1, row[1])
		}
		for _, name := range strings.Split(row[3], ", ") {
			if problem := missing(root, name); problem != "" {
				t.Errorf("trap %s, %s: %s: %s", row[1], row[2], name, problem)
			}
		}
	}
}

// missing tells what is not there of a test that a page names.
func missing(root, name string) string {
	m := trapTest.FindStringSubmatch(name)
	if m == nil {
		return "no name of a test"
	}
	source, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m[1])))
	switch {
	case err != nil:
		return err.Error()
	case !strings.Contains(string(source), "\nfunc "+m[2]+"(t *testing.T) {"):
		return "no such test"
	case m[3] != "" && !strings.Contains(string(source), strconv.Quote(m[3])):
		return "no such part of the test"
	default:
		return ""
	}
}

func TestMissing(t *testing.T) {
	for name, want := range map[string]string{
		"`cmd/helocheck/trap_test.go` TestMissing":            "",
		"`cmd/helocheck/trap_test.go` TestMiss":               "no such test",
		"`cmd/helocheck/trap_test.go` TestMissing/not" + "00": "no such part",
		"`cmd/helocheck/no_test.go` TestMissing":              "no such file",
		"`cmd/helocheck/trap.go` TestMissing":                 "no name",
		"TestMissing":                                         "no name",
	} {
		got := missing(filepath.Join("..", ".."), name)
		if !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
