package docs

import (
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

var update = flag.Bool("update", false, "write actions and replies of the table into the pages")

const (
	reference = "check.helo_fqdn.md"
	client    = "192.0.2.7" // of all examples in the pages
	tableHead = "| rule | lenient | rfc | strict | reply |\n| --- | --- | --- | --- | --- |\n"
)

// Each rule has its page, and each page its rule.
func TestPagesMirrorTheTable(t *testing.T) {
	var want, got []string
	for _, r := range checkhelo.Rules() {
		want = append(want, "rules/"+r.Name+".md")
	}
	got, err := fs.Glob(Files, "rules/*.md")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("pages %q, rules %q", got, want)
	}
}

func TestPageForm(t *testing.T) {
	headings := []string{"Hits", "Does not hit", "Action", "On real mail", "To exempt"}
	for _, r := range checkhelo.Rules() {
		t.Run(r.Name, func(t *testing.T) {
			p, err := Rule(Files, r.Name)
			if err != nil {
				t.Fatal(err)
			}
			for name, text := range map[string]string{"said": p.Said, "why": p.Why, "fix": p.Fix} {
				if text == "" || strings.Contains(text, "\n## ") || strings.Contains(text, "{{") {
					t.Errorf("section %s is empty or not split: %q", name, text)
				}
			}
			if strings.Contains(p.Summary, "\n\n") || strings.Count(p.Summary, ". ") != 0 ||
				!strings.HasSuffix(p.Summary, ".") {
				t.Errorf("summary is not one sentence: %q", p.Summary)
			}
			if basis, _, _ := strings.Cut(r.Basis, ","); !strings.Contains(p.Why, basis) {
				t.Errorf("the reason does not name %s", basis)
			}
			var got []string
			for _, m := range regexp.MustCompile(`(?m)^### (.+)$`).FindAllStringSubmatch(operators(t, r.Name), -1) {
				got = append(got, m[1])
			}
			if !slices.Equal(got, headings) {
				t.Errorf("operator headings %q, want %q", got, headings)
			}
		})
	}
}

// operators returns the section of a page that only operators read.
func operators(t *testing.T, rule string) string {
	t.Helper()
	_, text, err := Text(Files, "rules/"+rule+".md")
	if err != nil {
		t.Fatal(err)
	}
	parts := section.Split(text, -1)
	return parts[len(parts)-1]
}

func TestRuleErrors(t *testing.T) {
	for _, name := range []string{"nosuch", "../fix/helo", ""} {
		want := fmt.Sprintf("no page %q", name)
		if p, err := Rule(Files, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Rule(%q) = %+v, %v, want an error with %q", name, p, err, want)
		}
	}
	page := func(fix string) fstest.MapFS {
		return fstest.MapFS{
			"rules/x.md": {Data: []byte("# x\n\nOne.\n\n## A\n\na\n\n## B\n\nb\n\n## C\n\n" + fix)},
			"fix/y.md":   {Data: []byte("# y\n\ny\n")},
		}
	}
	if p, err := Rule(page("one\n{{fix nosuch}}\ntwo"), "x"); err == nil {
		t.Errorf("an unknown fix part became %q", p.Fix)
	}
	if p, err := Rule(page("{{fix y}}\nend"), "x"); err != nil || p.Fix != "y\nend" {
		t.Errorf("Rule = %+v, %v", p, err)
	}
}

func TestGuides(t *testing.T) {
	for _, name := range Guides {
		title, text, err := Text(Files, "fix/"+name+".md")
		if err != nil || len(title) < 10 || !strings.Contains(text, "## ") || strings.Contains(text, "<!--") {
			t.Errorf("%s: %q, %.60q, %v", name, title, text, err)
		}
	}
	if title, text, err := Text(Files, "fix/nosuch.md"); err == nil {
		t.Errorf("no guide: %q, %q", title, text)
	}
}

// A step for a system says which manual it was held against, or that it was none.
func TestStepsNameTheirManual(t *testing.T) {
	systems := regexp.MustCompile(`^(Postfix|Exim|Sendmail|OpenSMTPD|IIS|hMail|Zimbra|cPanel|Plesk|` +
		`Microsoft Exchange|WordPress|Container|Program)`)
	for _, path := range []string{"fix/helo.md", "fix/relay.md"} {
		data, err := Files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		checked := 0
		for _, part := range regexp.MustCompile(`\n##+ `).Split(string(data), -1)[1:] {
			if !systems.MatchString(part) || !strings.Contains(part, "```") {
				continue
			}
			if checked++; !regexp.MustCompile(`(?i)<!--[^>]*\bheld against\b`).MatchString(part) {
				t.Errorf("%s: %.20q does not say what it was held against", path, part)
			}
		}
		if checked < 5 {
			t.Errorf("%s: %d sections found", path, checked)
		}
	}
}

// facts is what a page says of its rule's actions and reply.
func facts(rule string) string {
	set := byPreset(rule)
	r := set[1]
	var b strings.Builder
	b.WriteString("| lenient | rfc | strict | reply |\n| --- | --- | --- | --- |\n")
	fmt.Fprintf(&b, "| %s | %s | %s | %s |\n",
		action(set[0]), action(set[1]), action(set[2]), codes(r))
	b.WriteString("\n```text\n" + r.Message + "\n```\n")
	if r.NoReject {
		fmt.Fprintf(&b, "\nThe standard (%s) forbids refusing on this ground alone; the check warns at"+
			"\nstart-up when `reject` is set.\n", r.Basis)
	}
	return b.String()
}

func byPreset(rule string) (set [3]checkhelo.Rule) {
	for i, p := range []checkhelo.Preset{checkhelo.Lenient, checkhelo.RFC, checkhelo.Strict} {
		for _, r := range checkhelo.NewPolicy(p).Rules() {
			if r.Name == rule {
				set[i] = r
			}
		}
	}
	return set
}

func action(r checkhelo.Rule) string {
	text := checkhelo.Effect{Action: r.Action, Score: r.Score}.String()
	if r.IPv6 != (checkhelo.Effect{}) {
		text += fmt.Sprintf(" (IPv6 %d)", r.IPv6.Score)
	}
	return text
}

func codes(r checkhelo.Rule) string {
	return fmt.Sprintf("%d %d.%d.%d", r.Code, r.Code/100, r.Detail[0], r.Detail[1])
}

// Actions and replies in the pages are those of the table; -update writes them.
func TestPagesTellTheActions(t *testing.T) {
	for _, r := range checkhelo.Rules() {
		between(t, "rules/"+r.Name+".md", "### Action\n\n", "\n### On real mail\n", facts(r.Name))
	}
}

func TestReferenceTellsTheRules(t *testing.T) {
	var b strings.Builder
	b.WriteString(tableHead)
	for _, r := range checkhelo.Rules() {
		set := byPreset(r.Name)
		fmt.Fprintf(&b, "| [%s](rules/%s.md) | %s | %s | %s | %s |\n", r.Name, r.Name,
			action(set[0]), action(set[1]), action(set[2]), codes(r))
	}
	between(t, reference, "<!-- rules -->\n\n", "\n<!-- /rules -->", b.String())

	b.Reset()
	for i, r := range checkhelo.Rules() {
		if i > 0 {
			b.WriteString("\n---\n\n")
		}
		page, err := Rule(Files, r.Name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "### %s_action _action_\nDefault: %s\n\n%s\nSee [%s](rules/%s.md).\n",
			r.Name, "`"+strings.Replace(action(byPreset(r.Name)[1]), " (IPv6 1)", "`, over IPv6 `score 1", 1)+"`", page.Summary, r.Name, r.Name)
	}
	between(t, reference, "<!-- actions -->\n\n", "\n<!-- /actions -->", b.String())
}

// between compares what stands between two marks of a file with want.
func between(t *testing.T, path, from, to, want string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), from)
	got, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s: no %q or %q", path, from, to)
	}
	if got == want {
		return
	}
	if !*update {
		t.Errorf("%s: stale; run go test ./docs -update\nhave:\n%s\nwant:\n%s", path, got, want)
		return
	}
	if err := os.WriteFile(path, []byte(before+from+want+to+after), 0o600); err != nil {
		t.Fatal(err)
	}
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

// spans returns the names that a list of examples begins its lines with.
func spans(operators, heading string) (names []string) {
	_, text, _ := strings.Cut(operators, "### "+heading+"\n")
	text, _, _ = strings.Cut(text, "\n### ")
	text = strings.ReplaceAll(text, "\n  ", " ")
	for line := range strings.Lines(text) {
		list, _, _ := strings.Cut(line, ": ")
		if !strings.HasPrefix(list, "- `") {
			continue
		}
		for _, m := range codeSpan.FindAllStringSubmatch(list, -1) {
			names = append(names, m[1])
		}
	}
	return names
}

// The examples of the rules that need neither DNS nor settings are true.
func TestExamplesHitAsTold(t *testing.T) {
	rules := []string{"malformed", "localhost", "bare_ip", "literal_mismatch", "address_literal",
		"not_fqdn", "underscore", "trailing_dot", "reserved_tld", "unknown_tld", "dynamic_name",
		"default_host", "new_tld", "bare_domain"}
	for _, rule := range rules {
		for heading, want := range map[string]bool{"Hits": true, "Does not hit": false} {
			names := spans(operators(t, rule), heading)
			if len(names) < 2 {
				t.Errorf("%s, %s: examples %q", rule, heading, names)
			}
			for _, name := range names {
				if name != client && hits(rule, name) != want {
					t.Errorf("%s: %q does not belong under %q", rule, name, heading)
				}
			}
		}
	}
}

func hits(rule, helo string) bool {
	f := &checkhelo.Facts{Helo: heloname.Parse(helo), Client: netip.MustParseAddr(client)}
	p := checkhelo.NewPolicy(checkhelo.RFC)
	p.Override = map[string]checkhelo.Rule{rule: {Action: checkhelo.Ignore}} // never off
	v := p.Evaluate(f)
	return slices.ContainsFunc(v.Hits, func(h checkhelo.Hit) bool { return h.Rule.Name == rule })
}

// Links between the pages lead somewhere.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	root := os.DirFS(".")
	err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".md") {
			return err
		}
		data, err := fs.ReadFile(root, path)
		if err != nil {
			return err
		}
		dir := path[:strings.LastIndex(path, "/")+1]
		for _, m := range link.FindAllStringSubmatch(string(data), -1) {
			if _, err := os.Stat(dir + m[1]); err != nil {
				t.Errorf("%s: dead link %s", path, m[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
