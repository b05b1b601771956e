package app

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/docs"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
)

// labelColumn is where the text beside a label begins.
const labelColumn = 10

// writeText fits a usual outcome on a screen of 24 lines of 80 columns. All adds what did not
// decide, servers the settings of each mail server.
func (e *explained) writeText(s *screen, all, servers bool) {
	e.writeVerdict(s)
	e.writeHits(s)
	e.writeWays(s, servers)
	if all {
		e.writeRules(s)
		e.writeFacts(s)
	} else if others := len(e.deciding().Rules) - len(e.deciding().Hits); others > 0 {
		fmt.Fprintf(s, "\n%d other rules: --all\n", others)
	}
}

func (e *explained) writeVerdict(s *screen) {
	f, top := &e.Facts, e.deciding()
	line := func(label, text string) { s.row(labelColumn, label, "", text) }
	kind := f.Helo.Kind.String()
	if name := nameOf(f); name != f.Helo.Raw && name != "" {
		kind += ", read as " + name
	}
	line("HELO", fmt.Sprintf("%s (%s)", heloname.Clean(f.Helo.Raw, maxEvidence), kind))
	client := "not given; rules that need it are not asked"
	if f.Client.IsValid() {
		client = f.Client.String()
	}
	line("client", client)
	if e.query.User != "" {
		line("login", heloname.Clean(e.query.User, maxEvidence))
	}
	line("policy", e.source)
	switch {
	case e.memory.Error != "":
		line("memory", heloname.Line(e.memory.Error, maxEvidence))
	case e.memory.Place != "":
		line("memory", "the sender is "+e.memory.Known)
	}
	text, colour := painted(&top.Outcome, e.summary())
	s.row(labelColumn, "verdict", colour, text)
	if len(e.query.Rcpts) == 0 {
		line("reply", replyText(top))
		return
	}
	for i := range e.Recipients {
		o := &e.Recipients[i]
		word, colour := painted(&o.Outcome, actionWord(&o.Outcome))
		s.row(labelColumn, "to", colour, heloname.Clean(o.Rcpt, maxEvidence)+": "+word)
		line("", replyText(o))
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

// replyText is the answer to RCPT TO, as the client reads it.
func replyText(o *judge.RcptOutcome) string {
	r, text := o.Reply, ""
	switch {
	case r.Code != 0:
	case o.Would == o.Action:
		return "accepted"
	default:
		r, text = o.WouldReply, "accepted; without max_action "
	}
	return fmt.Sprintf("%s%d %s %s", text, r.Code, enhanced(r.Enhanced), r.Text)
}

func (e *explained) writeHits(s *screen) {
	if top := e.deciding(); len(top.Hits) > 0 {
		fmt.Fprintln(s)
		for _, h := range top.Hits {
			writeRule(s, &h.Rule, judge.StateHit, h.Evidence)
		}
	}
}

func writeRule(s *screen, r *checkhelo.Rule, state, evidence string) {
	text := checkhelo.Effect{Action: r.Action, Score: r.Score}.String()
	colour := grey
	switch {
	case state != judge.StateHit:
		text += ": " + state
	case r.Action == checkhelo.Reject:
		colour = red
	case r.Action >= checkhelo.Score:
		colour = yellow
	default:
		colour = plain
	}
	if evidence != "" {
		text += ": " + heloname.Line(evidence, maxEvidence)
	}
	s.row(ruleColumn, r.Name, colour, text)
}

// writeWays tells what the operator and what the sender can do about the strongest hit.
func (e *explained) writeWays(s *screen, servers bool) {
	top := e.deciding()
	if len(top.Hits) == 0 || top.Exempt != "" {
		return
	}
	fmt.Fprintln(s)
	if e.exemption == "" {
		s.row(labelColumn, "operator", "", "--ip shows the line that lets the client pass")
	} else {
		s.row(labelColumn, "operator", "", e.exemption)
		s.row(labelColumn, "", "", "in the helo_fqdn block; proof: "+e.proof)
	}
	rule := top.Hits[0].Rule.Name
	page, err := docs.Rule(rule)
	if err != nil {
		return // the verdict stands without the page
	}
	fix, others, _ := strings.Cut(page.Fix, "\n### ")
	first, _, _ := strings.Cut(fix, "\n\n")
	s.row(labelColumn, "sender", "", withoutMarkdown(first))
	if e.helpURL != "" {
		s.row(labelColumn, "", "", e.helpURL+"#"+rule)
	}
	if servers {
		writePage(s, strings.TrimPrefix(fix, first)+"\n### "+others)
	} else {
		s.row(labelColumn, "", "", "every mail server's settings: --fix")
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

func (e *explained) writeRules(s *screen) {
	fmt.Fprintln(s)
	for _, r := range e.deciding().Rules {
		if r.State != judge.StateHit {
			writeRule(s, &r.Rule, r.State, r.Evidence)
		}
	}
}

func (e *explained) writeFacts(s *screen) {
	fmt.Fprintln(s)
	for _, one := range e.facts() {
		text := strings.ReplaceAll(stateWord(one.state), "_", " ")
		switch {
		case one.err != nil:
			text += ": " + one.err.Error()
		case one.state == checkhelo.Found:
			text += ": " + strings.Trim(fmt.Sprint(one.value), "[]")
		}
		s.row(ruleColumn, one.name, "", heloname.Line(text, maxEvidence))
	}
	if len(e.Questions) == 0 {
		return
	}
	fmt.Fprintln(s)
	for _, q := range e.Questions {
		s.row(ruleColumn, q.Type, "", fmt.Sprintf("%s, %s", q.Result, q.Took.Round(time.Microsecond*100)))
	}
}
