package manual

import (
	"bytes"
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
		"## Log fields":                        ".SH LOG FIELDS\n",
		"### policy `a` | `b`\n\nDefault: `a`": ".SS policy \\fBa\\fR | \\fBb\\fR\nDefault: \\fBa\\fR\n",
		"see [Actions](#actions) and more":     "see Actions and more\n",
		"a\n\n---\n\n<!-- x\ny -->\n\nb":       "a\n\n.PP\nb\n",
		"```maddy\n  a_b {\n  }\n```":          ".EX\n  a_b {\n  }\n.EE\n",
	} {
		got := strings.ReplaceAll(string(convert(page)), `\fB\fC`, `\fB`)
		_, got, found := strings.Cut(got, "\"Maddy, check of HELO names\"\n")
		if !found || strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%q\n got %q\nwant %q", page, got, want)
		}
	}
}

// Every heading of the reference is one of the page, and groff takes it.
func TestReference(t *testing.T) {
	var page, said bytes.Buffer
	if status := Main(t.Context(), []string{reference}, &page, &said); status != 0 {
		t.Fatalf("status %d: %s", status, said.String())
	}
	text := page.String()
	source, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	headings := regexp.MustCompile(`(?m)^#{2,3} (\S+)`)
	found := headings.FindAllStringSubmatch(string(source), -1)
	if len(found) < 40 {
		t.Errorf("only %d headings found", len(found))
	}
	for _, m := range found {
		section := "\n.SH " + strings.ToUpper(m[1])
		directive := "\n.SS " + strings.Trim(m[1], "`")
		if !strings.Contains(text, section) && !strings.Contains(text, directive) {
			t.Errorf("no heading %s", m[1])
		}
	}
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Skip("no groff: how the page looks is not tested")
	}
	cmd := exec.CommandContext(t.Context(), groff, "-Tutf8", "-man", "-t", "-ww", "-rLL=100n")
	cmd.Stdin = strings.NewReader(text)
	var warnings bytes.Buffer
	cmd.Stderr = &warnings
	out, err := cmd.Output()
	if err != nil || warnings.Len() > 0 || !strings.Contains(string(out), "enforce_at") {
		t.Errorf("%v\n%s", err, warnings.String())
	}
}
