package report

import (
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	html "html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/dustin/go-humanize"

	"maddy.example/checkhelo/module/heloname"
)

var (
	//go:embed report.txt
	textSource string
	//go:embed report.html
	pageSource string

	funcs = template.FuncMap{
		"grouped": humanize.Comma, "share": share, "join": strings.Join,
		"actions": func() []string { return strongest }, "clean": heloname.Clean,
	}
	text = template.Must(template.New("text").Funcs(funcs).Parse(textSource))
	// Texts of clients are cleaned, and the template of the page escapes them once more.
	page = html.Must(html.New("page").Funcs(funcs).Parse(pageSource))
)

// WriteText writes tables for people.
func (r *Report) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	return errors.Join(text.Execute(out, r.Sum()), out.Flush())
}

// WriteHTML writes one page that needs nothing but itself.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r.Sum()) }

// AtLeast writes a number of names or organisations, of which only the first may be known.
func (r *Report) AtLeast(n int) string {
	if r.Exact {
		return humanize.Comma(int64(n))
	}
	return "at least " + humanize.Comma(int64(n))
}

// share writes a part in percent.
func share(n, of int64) string {
	switch {
	case n == 0 || of == 0:
		return "0 %"
	case float64(n)/float64(of) < 0.0001:
		return "<0.01 %"
	default:
		return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(of))
	}
}

var csvHeader = []string{"class", "kind", "name", "action", "messages", "names", "examples", "orgs",
	"time", "from", "rcpt", "helo", "ip", "rdns", "ptr", "msg_id", "exempt"}

// WriteCSV writes one row for each class, action and rule, each lost message and each note.
// Examples and recipients are separated by spaces.
func (r *Report) WriteCSV(w io.Writer) error {
	r.Sum()
	out := csv.NewWriter(w)
	row := func(cells ...string) {
		// An error stays in out until the end.
		_ = out.Write(append(cells, make([]string, len(csvHeader)-len(cells))...))
	}
	counts := func(class, kind, name, action string, n *Count, common []string) {
		row(class, kind, name, action, strconv.FormatInt(n.Messages, 10), strconv.Itoa(n.Names),
			strings.Join(common, " "), strconv.Itoa(n.Orgs))
	}
	row(csvHeader...)
	for _, name := range slices.Sorted(maps.Keys(r.Classes)) {
		c := r.Classes[name]
		counts(name, "class", name, "", &c.Count, nil)
		for _, action := range strongest {
			counts(name, "action", action, action, c.Actions[action], nil)
		}
		for _, rule := range r.rules {
			if hit := c.Rules[rule.Name]; hit != nil {
				counts(name, "rule", rule.Name, hit.Action, &hit.Count, hit.Examples)
			}
		}
	}
	for _, g := range r.Lost.Senders {
		for _, m := range g.Greetings {
			row(m.Class, "lost", m.Rule, m.Action, strconv.Itoa(max(1, m.Count)), "", "", "", m.When(),
				m.From, strings.Join(m.Rcpt, " "), m.Helo, m.IP, m.RDNS, m.PTR, m.MsgID, m.Allow)
		}
	}
	for _, note := range r.Notes {
		row("", "note", note)
	}
	out.Flush()
	return out.Error()
}
