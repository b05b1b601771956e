package pages

import (
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/docs"
)

// rulePage is one rule as its sender reads it.
type rulePage struct {
	Rule      string
	Lang      string        // set where the text is not in the site's language
	Heading   template.HTML // the summary, without its full stop
	Code      string        // SMTP code and enhanced code
	Reply     string        // what the server says
	Say       string        // parts of the reply, as the search knows them
	Said, Why template.HTML
	Fix       fixPart

	summary string // Markdown
	needs   checkhelo.Need
}

// group is a part of the index.
type group struct {
	Title string
	Rules []*rulePage
}

// groups sorts rules by what has to be fixed.
func (s *site) groups(rules []*rulePage) []group {
	list := []group{{Title: s.T.GroupName}, {Title: s.T.GroupReverse}, {Title: s.T.GroupRecords}}
	for _, r := range rules {
		at := 0
		switch r.needs & (checkhelo.NeedForward | checkhelo.NeedPTR) { // both: proof of a name
		case checkhelo.NeedPTR:
			at = 1
		case checkhelo.NeedForward:
			at = 2
		}
		list[at].Rules = append(list[at].Rules, r)
	}
	return list
}

// fixPart is the section about the fix: what comes before the first server,
// then all servers.
type fixPart struct {
	Intro, Body template.HTML
	Parts       []heading
}

func (s *site) rule(r *checkhelo.Rule) (*rulePage, error) {
	text, lang, err := s.ruleText(r.Name)
	if err != nil {
		return nil, err
	}
	p := &rulePage{
		Rule: r.Name, Code: code(r), Reply: reply(r), summary: text.Summary, needs: r.Needs,
	}
	if lang != s.T.Lang {
		p.Lang = lang
	}
	intro, body := text.Fix, ""
	if at := strings.Index("\n"+text.Fix, "\n### "); at >= 0 {
		intro, body = text.Fix[:at], text.Fix[at:]
	}
	title, err := s.inline(text.Summary)
	if err != nil {
		return nil, err
	}
	p.Heading = title
	for _, part := range []struct {
		to   *template.HTML
		from string
	}{{&p.Said, text.Said}, {&p.Why, text.Why}, {&p.Fix.Intro, intro}} {
		if *part.to, _, err = s.toHTML(part.from); err != nil {
			return nil, err
		}
	}
	p.Fix.Body, p.Fix.Parts, err = s.toHTML(body)
	return p, err
}

// reply is the answer of a server to a sender, but for the help address.
func reply(r *checkhelo.Rule) string {
	message := strings.NewReplacer("{helo}", "…", "{problem}", "…", "{rule}", r.Name, "{url}", "").
		Replace(r.Message)
	message = strings.TrimSuffix(strings.TrimSpace(message), ". See")
	return code(r) + " " + message
}

func code(r *checkhelo.Rule) string {
	return fmt.Sprintf("%d %d.%d.%d", r.Code, r.Code/100, r.Detail[0], r.Detail[1])
}

// ruleText returns a rule's page in the site's language, else in English.
func (s *site) ruleText(rule string) (page docs.Page, lang string, err error) {
	if s.T.Lang != english {
		page, err = translated(s.T.Lang, rule)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return page, s.T.Lang, err
		}
	}
	page, err = docs.Rule(rule)
	return page, english, err
}

// translated reads LANG/rules/RULE.md: title, summary, and the three sections
// for senders, whatever their headings say.
func translated(lang, rule string) (docs.Page, error) {
	path := lang + "/rules/" + rule + ".md"
	data, err := files.ReadFile(path)
	if err != nil {
		return docs.Page{}, err
	}
	parts := strings.Split(string(data), "\n## ")
	const sections = 4
	if len(parts) != sections || !strings.HasPrefix(parts[0], "# "+rule+"\n") {
		return docs.Page{}, fmt.Errorf("%s has not its title and %d sections", path, sections-1)
	}
	var text [sections]string
	for i, part := range parts {
		_, rest, _ := strings.Cut(part, "\n")
		text[i] = strings.TrimSpace(rest)
	}
	page := docs.Page{Rule: rule, Summary: text[0], Said: text[1], Why: text[2]}
	page.Fix, err = expand(lang, text[3])
	return page, err
}

// expand fills in the lines {{fix NAME}} from LANG/fix/NAME.md.
func expand(lang, text string) (string, error) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		name, found := strings.CutPrefix(line, "{{fix ")
		if !found {
			continue
		}
		data, err := files.ReadFile(lang + "/fix/" + strings.TrimSuffix(name, "}}") + ".md")
		if err != nil {
			return "", err
		}
		_, part, _ := strings.Cut(string(data), "\n") // after the title
		lines[i] = strings.TrimSpace(part)
	}
	return strings.Join(lines, "\n"), nil
}

// fragments returns for each rule the parts of its reply that no other rule
// has, in lower case and joined with "|", by which the search knows it. Rules whose whole text an
// operator made the same share their parts.
func fragments(table []checkhelo.Rule) map[string]string {
	const separator = "|"
	cut := strings.NewReplacer("{helo}", separator, "{problem}", separator, "{rule}", separator,
		"{url}", separator, ". ", separator)
	count := make(map[string]int)
	parts := make(map[string][]string, len(table))
	for _, r := range table {
		for part := range strings.SplitSeq(cut.Replace(strings.ToLower(r.Message)), separator) {
			part = strings.Trim(part, ` "().`)
			if len(part) < len("is on a block list") { // too short to be sure
				continue
			}
			count[part]++
			parts[r.Name] = append(parts[r.Name], part)
		}
	}
	joined := make(map[string]string, len(table))
	for rule, list := range parts {
		var own []string
		for _, part := range list {
			if count[part] == 1 {
				own = append(own, part)
			}
		}
		if own == nil {
			own = list
		}
		joined[rule] = strings.Join(own, separator)
	}
	return joined
}
