package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

//go:embed report.html
var pageText string

var page = template.Must(template.New("report").Parse(pageText))

// htmlPage is what report.html shows. Texts of clients are cleaned, and the
// template escapes them once more.
type htmlPage struct {
	Policy, Messages string
	Classes          []htmlClass
	Line             *htmlLine // nil: the input has no times
	Senders          []htmlSender
	Exempt           []htmlRow
	Later            string // "" for none
	Against          *htmlAgainst
}

type htmlClass struct {
	Name, Messages, Names string
	Actions               []htmlAction
	Bar                   []htmlPart
	Rules                 []htmlRule
}

type htmlAction struct{ Action, Messages, Share, Names string }

// htmlPart is a piece of a bar, in percent of its width or height.
type htmlPart struct {
	Action         string
	X, Y, W, H     float64
	Messages, Text string
}

type htmlRule struct {
	Rule, Action, Share string
	Messages            htmlNumber
	Names               htmlNumber
	Bar                 []htmlPart
	Common              []htmlRow
	Rough               bool // the counts of names are not exact
}

// htmlNumber is a number as people read it and as columns are sorted by it.
type htmlNumber struct {
	Text string
	Sort int64
}

type htmlRow struct {
	Name     string
	Messages htmlNumber
}

type htmlSender struct {
	Client, Rule, Helo string
	Messages           htmlNumber
}

type htmlLine struct {
	Span            string
	From, Mid, Till string
	Most            string
	Parts           []htmlPart
	Rows            []htmlSpan
}

type htmlSpan struct {
	From    string
	Actions [numActions]htmlNumber
}

type htmlAgainst struct {
	Policy  string
	Moves   []htmlMove
	Changes []htmlMove
	More    int
}

type htmlMove struct {
	Helo, From, To string
	Messages       htmlNumber
}

func number(n int64) htmlNumber { return htmlNumber{grouped(n), n} }

// WriteHTML writes one page that needs nothing but itself.
func (t *Tally) WriteHTML(w io.Writer) error {
	p := htmlPage{Policy: t.Policy, Messages: grouped(t.Messages()), Line: t.days.html()}
	for _, name := range t.order {
		p.Classes = append(p.Classes, t.classes[name].html(name, t.rules))
	}
	for _, s := range t.senders.first(senders) {
		var h htmlSender
		// A rule and a shown name have no space in them.
		_, _ = fmt.Sscan(s.Note, &h.Rule, &h.Helo)
		h.Client, h.Messages = s.Key, number(s.Messages)
		p.Senders = append(p.Senders, h)
	}
	for _, e := range sorted(t.exempt) {
		p.Exempt = append(p.Exempt, htmlRow{e.Key, number(e.Messages)})
	}
	if t.later > 0 {
		p.Later = grouped(t.later)
	}
	if t.against != nil {
		p.Against = t.against.html()
	}
	return page.Execute(w, p)
}

func (c *class) html(name string, rules []checkhelo.Rule) htmlClass {
	h := htmlClass{
		Name: heloname.Clean(name, maxNameOctet), Messages: grouped(c.messages), Names: c.names.text(),
	}
	var whole [numActions]int64
	for i := numActions - 1; i >= 0; i-- {
		a := &c.actions[i]
		whole[i] = a.messages
		h.Actions = append(h.Actions,
			htmlAction{actionWords[i], grouped(a.messages), share(a.messages, c.messages), a.names.text()})
	}
	h.Bar = bar(whole, c.messages)
	hit := c.hitRules()
	for _, i := range hit {
		r := &c.rules[i]
		n, exact := r.names.count()
		row := htmlRule{
			Rule: rules[i].Name, Action: effect(&rules[i]), Share: share(r.messages, c.messages),
			Messages: number(r.messages), Names: htmlNumber{r.names.text(), int64(n)},
			Bar: bar(r.byAction, c.rules[hit[0]].messages), Rough: !exact || r.common.inexact,
		}
		for _, e := range r.common.first(examples) {
			row.Common = append(row.Common, htmlRow{e.Key, number(e.Messages)})
		}
		h.Rules = append(h.Rules, row)
	}
	return h
}

func effect(r *checkhelo.Rule) string {
	if r.Action == checkhelo.Score {
		return fmt.Sprintf("score %d", r.Score)
	}
	return r.Action.String()
}

// bar divides a row by action, strongest first; whole fills its width.
func bar(counts [numActions]int64, whole int64) (parts []htmlPart) {
	x := 0.0
	for i := numActions - 1; i >= 0; i-- {
		if counts[i] == 0 {
			continue
		}
		const visible = 0.4 // percent
		w := max(100*float64(counts[i])/float64(whole), visible)
		parts = append(parts, htmlPart{
			Action: actionWords[i], X: x, W: w, H: 100, Messages: grouped(counts[i]),
		})
		x += w
	}
	return parts
}

// html draws what was not let through untouched: messages without a hit would
// hide the others.
func (t *timeline) html() *htmlLine {
	if len(t.points) == 0 {
		return nil
	}
	width := spans[t.span]
	at := func(i int64) string { return t.stamp(i * width) }
	var most int64
	for _, p := range t.points {
		most = max(most, p[scored]+p[greylisted]+p[quarantined]+p[rejected])
	}
	h := &htmlLine{
		Span: spanWords[t.span], Most: grouped(most),
		From: at(t.lo), Mid: at((t.lo + t.hi) / 2), Till: at(t.hi),
	}
	const widest = 12 // percent
	step := 100 / float64(t.hi-t.lo+1)
	column := min(step*0.86, widest)
	for i := t.lo; i <= t.hi; i++ {
		p := t.points[i]
		if p == nil {
			continue
		}
		row := htmlSpan{From: at(i)}
		y := 100.0
		for a, n := range p {
			row.Actions[a] = number(n)
			if a == none || n == 0 {
				continue
			}
			height := 100 * float64(n) / float64(most)
			y -= height
			h.Parts = append(h.Parts, htmlPart{
				Action: actionWords[a], X: float64(i-t.lo)*step + (step-column)/2, Y: y, W: column,
				H: height, Messages: grouped(n), Text: at(i),
			})
		}
		h.Rows = append(h.Rows, row)
	}
	return h
}

var spanWords = [...]string{"hour", "6 hours", "day", "week", "4 weeks", "year", "century"}

func (t *timeline) stamp(seconds int64) string {
	at := time.Unix(seconds, 0).UTC()
	if spans[t.span] < day {
		return at.Format("2006-01-02 15:04")
	}
	return at.Format(time.DateOnly)
}

func (c *comparison) html() *htmlAgainst {
	h := &htmlAgainst{Policy: c.policy}
	for from := numActions - 1; from >= 0; from-- {
		for to := numActions - 1; to >= 0; to-- {
			if n := c.moves[from][to]; n > 0 && from != to {
				h.Moves = append(h.Moves,
					htmlMove{From: actionWords[from], To: actionWords[to], Messages: number(n)})
			}
		}
	}
	for _, ch := range c.list(shownChanges) {
		h.Changes = append(h.Changes, htmlMove{ch.Helo, ch.From, ch.To, number(ch.Messages)})
	}
	h.More = len(c.changes.entries) - len(h.Changes)
	return h
}
