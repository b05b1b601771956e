package app

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/docs"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
)

// writeText fits a usual outcome on a screen of 24 lines of 80 columns. All adds what did not
// decide, servers the settings of each mail server.
func (e *explained) writeText(s *screen, all, servers bool) {
	e.writeVerdict(s)
	if len(e.top.Hits) > 0 {
		fmt.Fprintln(s)
	}
	for i := range e.top.Hits {
		h := &e.top.Hits[i]
		writeRule(s, &h.Rule, judge.StateHit, h.Evidence)
	}
	e.writeWays(s, servers)
	if all {
		e.writeAll(s)
	} else if others := len(e.top.Rules) - len(e.top.Hits); others > 0 {
		fmt.Fprintf(s, "\n%d other rules: --all\n", others)
	}
}

func (e *explained) writeVerdict(s *screen) {
	kind := e.Helo.Kind
	if e.Helo.Name != e.all.Facts.Helo.Raw && e.Helo.Name != "" {
		kind += ", read as " + e.Helo.Name
	}
	s.field("HELO", fmt.Sprintf("%s (%s)", heloname.Clean(e.all.Facts.Helo.Raw, maxEvidence), kind))
	s.field("client", cmp.Or(e.IP, "not given; rules that need it are not asked"))
	if e.user != "" {
		s.field("login", heloname.Clean(e.user, maxEvidence))
	}
	s.field("policy", e.Policy)
	switch {
	case e.Memory.Error != "":
		s.field("memory", heloname.Line(e.Memory.Error, maxEvidence))
	case e.Memory.Place != "":
		s.field("memory", "the sender is "+e.Memory.Known)
	}
	text, colour := painted(&e.top.Outcome, e.Action)
	s.row(labelColumn, "verdict", colour, text)
	if len(e.Recipients) == 0 {
		s.field("reply", e.answer())
	}
	for i, to := range e.Recipients {
		text, colour := painted(&e.all.Recipients[i].Outcome, to.Action)
		s.row(labelColumn, "to", colour, heloname.Clean(to.Rcpt, maxEvidence)+": "+text)
		s.field("", to.answer())
	}
}

// painted returns the outcome in words, and their colour.
func painted(o *judge.Outcome, word string) (text, colour string) {
	text, colour = "accept", green
	if known, found := words[word]; found {
		text, colour = known.text, known.colour
	}
	switch {
	case o.Exempt != "":
		text += ", exempt: " + o.Exempt
	case o.Score > 0:
		text += fmt.Sprintf(", score %d", o.Score)
	}
	if o.Would > o.Action {
		text += fmt.Sprintf(" (max_action; else %s)", o.Would)
	}
	return text, colour
}

// answer is the reply to RCPT TO.
func (r replies) answer() string {
	switch {
	case r.Reply != nil:
		return r.Reply.String()
	case r.WouldReply != nil:
		return "accepted; without max_action " + r.WouldReply.String()
	}
	return "accepted"
}

func (r *replyJSON) String() string { return fmt.Sprintf("%d %s %s", r.Code, r.Enhanced, r.Text) }

func writeRule(s *screen, r *checkhelo.Rule, state, evidence string) {
	text := checkhelo.Effect{Action: r.Action, Score: r.Score}.String()
	colour := plain
	switch {
	case state != judge.StateHit:
		text, colour = text+": "+state, grey
	case r.Action == checkhelo.Reject:
		colour = red
	case r.Action >= checkhelo.Score:
		colour = yellow
	}
	if evidence != "" {
		text += ": " + heloname.Line(evidence, maxEvidence)
	}
	s.row(ruleColumn, r.Name, colour, text)
}

// writeWays tells what the operator and what the sender can do about the strongest hit.
func (e *explained) writeWays(s *screen, servers bool) {
	if len(e.Hits) == 0 || e.Exempt != "" {
		return
	}
	fmt.Fprintln(s)
	if e.Exemption == "" {
		s.field("operator", "--ip shows the line that lets the client pass")
	} else {
		s.field("operator", e.Exemption)
		s.field("", "in the helo_fqdn block; proof: "+e.proof)
	}
	rule := e.Hits[0].Rule
	page, err := docs.Rule(rule)
	if err != nil {
		return // the verdict stands without the page
	}
	fix, others, _ := strings.Cut(page.Fix, "\n### ")
	first, _, _ := strings.Cut(fix, "\n\n")
	s.field("sender", withoutMarkdown(first))
	if e.helpURL != "" {
		s.field("", e.helpURL+"#"+rule)
	}
	if servers {
		writePage(s, strings.TrimPrefix(fix, first)+"\n### "+others)
	} else {
		s.field("", "every mail server's settings: --fix")
	}
}

var markdown = regexp.MustCompile("`([^`]*)`|\\*\\*([^*]*)\\*\\*|\\[([^\\]]*)\\]\\([^)]*\\)")

// withoutMarkdown returns a paragraph as plain text.
func withoutMarkdown(text string) string {
	flat := strings.Join(strings.Fields(text), " ")
	return markdown.ReplaceAllString(flat, "$1$2$3")
}

var listItem = regexp.MustCompile(`^(-|\d+\.|#+) `)

// writePage writes Markdown as plain text: paragraphs and items of lists fit the screen, and code
// keeps its lines.
func writePage(s *screen, text string) {
	code, paragraph := false, ""
	flush := func() {
		if paragraph != "" {
			s.text(0, strings.TrimLeft(withoutMarkdown(paragraph), "# "))
		}
		paragraph = ""
	}
	for line := range strings.Lines(text) {
		inner := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(inner, "```"):
			flush()
			code = !code
		case code:
			s.text(4+len(line)-len(strings.TrimLeft(line, " \t")), inner)
		case inner == "":
			flush()
			fmt.Fprintln(s)
		default:
			if listItem.MatchString(inner) {
				flush()
			}
			paragraph += " " + inner
		}
	}
	flush()
}

// writeAll shows the rules that did not hit, the facts and the questions to the DNS.
func (e *explained) writeAll(s *screen) {
	fmt.Fprintln(s)
	for i := range e.top.Rules {
		if r := &e.top.Rules[i]; r.State != judge.StateHit {
			writeRule(s, &r.Rule, r.State, r.Evidence)
		}
	}
	fmt.Fprintln(s)
	for _, one := range factsOf(&e.all.Facts) {
		text := strings.ReplaceAll(one.State, "_", " ")
		if one.Error != "" {
			text += ": " + one.Error
		} else if one.Value != nil {
			text += ": " + strings.Trim(fmt.Sprint(one.Value), "[]")
		}
		s.row(ruleColumn, one.name, "", heloname.Line(text, maxEvidence))
	}
	if len(e.asked) > 0 {
		fmt.Fprintln(s)
	}
	for _, q := range e.asked {
		took := time.Duration(q.Seconds * float64(time.Second)).Round(100 * time.Microsecond)
		s.row(ruleColumn, q.Type, "", fmt.Sprintf("%s, %s", q.Result, took))
	}
}
