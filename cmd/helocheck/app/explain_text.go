package app

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/docs"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
)

// The colours of a terminal (ECMA-48, 8.3.117). All have as many octets, so
// that columns stay in line.
const (
	plain  = "\x1b[39m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	grey   = "\x1b[90m"
)

// coloured reports whether w is a terminal and nobody asks for plain text
// (https://no-color.org).
func coloured(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// printer writes columns, in colour or not.
type printer struct {
	*tabwriter.Writer
	colour bool
}

func (p *printer) paint(colour, text string) string {
	if !p.colour {
		return text
	}
	return colour + text + plain
}

func (p *printer) line(format string, args ...any) { fmt.Fprintf(p.Writer, format+"\n", args...) }

func (e *explained) writeText(w io.Writer, colour, all bool) error {
	p := &printer{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0), colour}
	e.writeVerdict(p)
	// Columns of one table say nothing about those of the next.
	for _, table := range []func(*printer){e.writeRules, e.writeFacts} {
		if err := p.Flush(); err != nil {
			return err
		}
		table(p)
	}
	e.writeFix(p, all)
	return p.Flush()
}

func (e *explained) writeVerdict(p *printer) {
	f, top := &e.Facts, e.deciding()
	p.line("HELO\t%s", heloname.Clean(f.Helo.Raw, maxEvidence))
	if name := nameOf(f); name != f.Helo.Raw && name != "" {
		p.line("read as\t%s", name)
	}
	p.line("kind\t%s", f.Helo.Kind)
	client := "not given; rules that need it are not asked"
	if f.Client.IsValid() {
		client = f.Client.String()
	}
	p.line("client\t%s", client)
	p.line("policy\t%s", e.source)
	if e.query.User != "" {
		p.line("login\t%s", heloname.Clean(e.query.User, maxEvidence))
	}
	p.line("verdict\t%s", e.painted(p, &top.Outcome, e.summary()))
	if len(e.query.Rcpts) == 0 {
		p.line("reply\t%s", replyText(top))
		return
	}
	for i := range e.Recipients {
		o := &e.Recipients[i]
		p.line("%s\t%s: %s", heloname.Clean(o.Rcpt, maxEvidence),
			e.painted(p, &o.Outcome, actionWord(&o.Outcome)), replyText(o))
	}
}

func (e *explained) painted(p *printer, o *judge.Outcome, word string) string {
	text := map[string]string{
		"none": "accept", "off": "accept", "ignore": "accept", "score": "accept",
		"quarantine": "quarantine", "reject": "reject", "tempfail": "try later",
	}[word]
	switch {
	case o.Exempt != "":
		text += ", exempt: " + o.Exempt
	case o.Score > 0:
		text += fmt.Sprintf(", score %d", o.Score)
	}
	if o.Would > o.Action {
		text += fmt.Sprintf(" (max_action; else %s)", o.Would)
	}
	switch word {
	case "reject", "tempfail":
		return p.paint(red, text)
	case "quarantine":
		return p.paint(yellow, text)
	default:
		return p.paint(green, text)
	}
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

func (e *explained) writeRules(p *printer) {
	rules := e.deciding().Rules
	if rules == nil {
		return
	}
	p.line("\nrule\taction\t%s\tevidence", p.paint(plain, "result"))
	for _, r := range rules {
		action := r.Action.String()
		if r.Action == checkhelo.Score {
			action = fmt.Sprintf("score %d", r.Score)
		}
		colour := plain
		switch {
		case r.State != judge.StateHit:
			colour = grey
		case r.Action == checkhelo.Reject:
			colour = red
		case r.Action >= checkhelo.Score:
			colour = yellow
		}
		p.line("%s\t%s\t%s\t%s", r.Name, action, p.paint(colour, spelled(r.State)),
			heloname.Line(r.Evidence, maxEvidence))
	}
}

func (e *explained) writeFacts(p *printer) {
	p.line("\nfact\tstate\tvalue")
	for _, one := range e.facts() {
		value := ""
		switch {
		case one.err != nil:
			value = one.err.Error()
		case one.state == checkhelo.Found:
			value = strings.Trim(fmt.Sprint(one.value), "[]")
		}
		p.line("%s\t%s\t%s", one.name, strings.ReplaceAll(stateWord(one.state), "_", " "),
			heloname.Line(value, maxEvidence))
	}
	if len(e.Questions) == 0 {
		return
	}
	p.line("\nquestion\tanswer\ttime")
	for _, q := range e.Questions {
		p.line("%s\t%s\t%s", q.Type, q.Result, q.Took.Round(time.Microsecond*100))
	}
}

// writeFix tells the sender what to do about the strongest hit.
func (e *explained) writeFix(p *printer, all bool) {
	top := e.deciding()
	if len(top.Hits) == 0 || top.Exempt != "" {
		return
	}
	page, err := docs.Rule(top.Hits[0].Rule.Name)
	if err != nil {
		return // the verdict stands without the page
	}
	fix, servers, _ := strings.Cut(page.Fix, "\n### ")
	p.line("\nHow to fix it (%s)\n\n%s", page.Rule, strings.TrimSpace(fix))
	if all && servers != "" {
		p.line("\n### %s", servers)
	}
}
