package pages

import (
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"slices"
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
	Program   string        // the same to a program or container; "" for no difference
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
	list := []group{
		{Title: s.T["GroupName"]}, {Title: s.T["GroupReverse"]}, {Title: s.T["GroupRecords"]},
	}
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
		Rule: r.Name, Code: code(r), Reply: reply(r, r.Message), summary: text.Summary, needs: r.Needs,
	}
	if text := r.ProgramMessage(); text != "" {
		p.Program = reply(r, text)
	}
	if lang != s.T["Lang"] {
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
func reply(r *checkhelo.Rule, message string) string {
	message = strings.NewReplacer("{helo}", "…", "{problem}", "…", "{rule}", r.Name, "{url}", "").
		Replace(message)
	message = strings.TrimSuffix(strings.TrimSpace(message), ". See")
	return code(r) + " " + message
}

func code(r *checkhelo.Rule) string {
	return fmt.Sprintf("%d %d.%d.%d", r.Code, r.Code/100, r.Detail[0], r.Detail[1])
}

// ruleText returns a rule's page in the site's language, else in English.
func (s *site) ruleText(rule string) (page docs.Page, lang string, err error) {
	if lang = s.T["Lang"]; lang != english {
		page, err = translated(lang, rule)
		if !errors.Is(err, fs.ErrNotExist) {
			return page, lang, err
		}
	}
	page, err = docs.Rule(rule)
	return page, english, err
}

func translated(lang, rule string) (docs.Page, error) {
	folder, err := fs.Sub(files, lang)
	if err != nil {
		return docs.Page{}, err
	}
	return docs.RuleIn(folder, rule)
}

// fragments returns for each rule the parts of its reply by which the search knows it, in lower
// case and joined with "|": those that no other rule has, and those of its reply to a program.
// Rules whose whole text an operator made the same share their parts.
func fragments(table []checkhelo.Rule) map[string]string {
	count := make(map[string]int)      // of the rules that say a part
	usual := make(map[string]struct{}) // parts of replies to others than programs
	for i := range table {
		for _, part := range partsOf(table[i].Message) {
			usual[part] = struct{}{}
		}
		for _, part := range partsOf(table[i].Message + "|" + table[i].ProgramMessage()) {
			count[part]++
		}
	}
	joined := make(map[string]string, len(table))
	for i := range table {
		r := &table[i]
		all := partsOf(r.Message)
		own := slices.DeleteFunc(slices.Clone(all), func(part string) bool { return count[part] > 1 })
		if len(own) == 0 {
			own = all
		}
		for _, part := range partsOf(r.ProgramMessage()) {
			if _, found := usual[part]; !found {
				own = append(own, part)
			}
		}
		joined[r.Name] = strings.Join(own, "|")
	}
	return joined
}

var placeholders = strings.NewReplacer("{helo}", "|", "{problem}", "|", "{rule}", "|", "{url}", "|",
	". ", "|")

// partsOf cuts a reply at what differs from one to the next.
func partsOf(message string) (parts []string) {
	for part := range strings.SplitSeq(placeholders.Replace(strings.ToLower(message)), "|") {
		part = strings.Trim(part, ` "().`)
		if len(part) >= len("is on a block list") && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return parts
}
