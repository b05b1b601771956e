package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

const reference = "../../../docs/check.helo_fqdn.md"

func TestConvert(t *testing.T) {
	for page, want := range map[string]string{
		"# Title\n\ntext":                      "text\n",
		"## Log fields":                        "# LOG FIELDS\n",
		"### policy `a` | `b`\nDefault: `a`":   "## policy a | b\n\nDefault: *a*\n",
		"### no_ptr_action _action_":           "## no_ptr_action action\n",
		"a `b_c` and **d** and _e_ but f_g*":   "a *b\\_c* and *d* and _e_ but f\\_g\\*\n",
		"see [Actions](#actions) and more":     "see Actions and more\n",
		"see [Maddy](https://maddy.example/x)": "see Maddy <https://maddy.example/x>\n",
		"- one\n  more\n- two":                 "- one\n  more\n- two\n",
		"1. one\n   more\n2. two":              ". one\n  more\n. two\n",
		"a\n\n---\n\n<!-- x\ny -->\n\nb":       "a\n\nb\n",
		"```maddy\n  a_b {\n  }\n```":          "```\n  a_b {\n  }\n```\n",
		"| a | b |\n| --- | --- |\n| `c` |  |": "[[ a\n:[ b\n|[ *c*\n:[\n",
		"| a \\| b |":                          "[[ a | b\n",
	} {
		if got := convert(page); got != head+want && got != head+"\n"+want {
			t.Errorf("%q\n got %q\nwant %q", page, got, head+want)
		}
	}
}

// Every heading of the reference is one of the page, and scdoc takes it.
func TestReference(t *testing.T) {
	page, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	text := convert(string(page))
	headings := regexp.MustCompile(`(?m)^#{2,3} (\S+)`)
	found := headings.FindAllStringSubmatch(string(page), -1)
	if len(found) < 40 {
		t.Errorf("only %d headings found", len(found))
	}
	for _, m := range found {
		section, directive := "\n# "+strings.ToUpper(m[1]), "\n## "+m[1]
		if !strings.Contains(text, section) && !strings.Contains(text, directive) {
			t.Errorf("no heading %s", m[1])
		}
	}
	scdoc, err := exec.LookPath("scdoc")
	if err != nil {
		t.Skip("no scdoc: the page itself is not made")
	}
	cmd := exec.CommandContext(t.Context(), scdoc)
	cmd.Stdin = strings.NewReader(text)
	roff, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, roff)
	}
	if n := strings.Count(string(roff), ".SH "); n != strings.Count(text, "\n# ") {
		t.Errorf("the page has %d sections", n)
	}
}
