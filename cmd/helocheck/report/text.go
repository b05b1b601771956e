package report

import (
	"encoding/csv"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"maddy.example/checkhelo/module/heloname"
)

// textLost bounds the lost messages of a text.
const textLost = 50

// WriteText writes tables for people.
func (t *Tally) WriteText(w io.Writer) error {
	r := t.Report()
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "policy %s, %s messages\n", r.Policy, grouped(r.Messages))
	for _, note := range r.Notes {
		fmt.Fprintln(out, note)
	}
	r.Lost.text(out)
	for _, name := range slices.Sorted(maps.Keys(r.Classes)) {
		r.Classes[name].text(out, name, r)
	}
	if len(r.Refused) > 0 {
		fmt.Fprintf(out, "\nrefused most\nclient\tmessages\trule\tHELO\n")
		for _, c := range r.Refused[:min(examples, len(r.Refused))] {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", c.Client, grouped(c.Messages), c.Rule, c.Helo)
		}
	}
	if len(r.Exempt) > 0 {
		fmt.Fprintf(out, "\nnot judged\n")
		for _, why := range slices.Sorted(maps.Keys(r.Exempt)) {
			fmt.Fprintf(out, "%s\t%s\n", why, grouped(r.Exempt[why]))
		}
	}
	if r.TryLater > 0 {
		fmt.Fprintf(out, "\nrefused for the moment, as lookups failed: %s\n", grouped(r.TryLater))
	}
	if r.Against != nil {
		r.Against.text(out, r.Policy)
	}
	return out.Flush()
}

// text asks the first question of a report.
func (l *Lost) text(out io.Writer) {
	if l.Messages == 0 {
		return
	}
	fmt.Fprintf(out, "\nIs one of these a message you want? %s accepted messages would be refused,"+
		" quarantined or told to wait.\n", grouped(l.Messages))
	left := textLost
	for _, g := range l.Senders {
		if left <= 0 {
			break
		}
		fmt.Fprintf(out, "\n%s: %s messages\n", g.Sender, grouped(g.Messages))
		for _, m := range g.Greetings[:min(left, len(g.Greetings))] {
			fmt.Fprintf(out, "  %s %s:%s, HELO %s, client %s, PTR %s\n", m.When(), m.Action, m.Rule,
				m.Helo, m.IP, m.Name())
			fmt.Fprintf(out, "    from %s to %s, message %s\n    exempt: %s\n", m.From,
				strings.Join(m.Rcpt, " "), m.MsgID, m.Allow)
		}
		left -= len(g.Greetings)
	}
	if left < 0 || l.More > 0 {
		fmt.Fprintf(out, "\nThe list is cut; --format html and csv list up to %d, ndjson all.\n", maxLost)
	}
}

// When returns the time, "" for none.
func (g *Greeting) When() string {
	if g.Time == nil {
		return ""
	}
	return g.Time.UTC().Format(time.RFC3339)
}

// Name returns what is known of the PTR record.
func (g *Greeting) Name() string {
	switch {
	case g.RDNS == "":
		return g.PTR
	case g.PTR == "confirmed":
		return g.RDNS
	}
	return g.RDNS + " (" + g.PTR + ")"
}

func (c *Class) text(out io.Writer, name string, r *Report) {
	fmt.Fprintf(out, "\n%s: %s messages, %s names, %s organisations\n", heloname.Clean(name, maxName),
		grouped(c.Messages), r.AtLeast(c.Names), r.AtLeast(c.Orgs))
	fmt.Fprintf(out, "action\tmessages\tshare\tnames\torgs\n")
	for _, action := range slices.Backward(actionWords[:]) {
		a := c.Actions[action]
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\n", action, grouped(a.Messages),
			share(a.Messages, c.Messages), r.AtLeast(a.Names), r.AtLeast(a.Orgs))
	}
	for i, name := range c.ByHits() {
		if i == 0 {
			fmt.Fprintf(out, "\nrule\taction\tmessages\tshare\tnames\torgs\tmost common\n")
		}
		rule := c.Rules[name]
		var common []string
		for _, e := range rule.Examples[:min(3, len(rule.Examples))] {
			common = append(common, heloname.Clean(e, 48))
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, rule.Effect(), grouped(rule.Messages),
			share(rule.Messages, c.Messages), r.AtLeast(rule.Names), r.AtLeast(rule.Orgs),
			strings.Join(common, " "))
	}
}

// Effect is the action with its points.
func (r *Rule) Effect() string {
	if r.Score > 0 {
		return fmt.Sprintf("%s %d", r.Action, r.Score)
	}
	return r.Action
}

func (a *Against) text(out io.Writer, policy string) {
	fmt.Fprintf(out, "\nwith %s instead of %s\nfrom\tto\tmessages\n", a.Policy, policy)
	for _, m := range a.Moves {
		fmt.Fprintf(out, "%s\t%s\t%s\n", m.From, m.To, grouped(m.Messages))
	}
	if len(a.Changes) == 0 {
		fmt.Fprintf(out, "nothing changes\n")
		return
	}
	fmt.Fprintf(out, "\nHELO\tmessages\tfrom\tto\n")
	for _, ch := range a.Changes {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", ch.Helo, grouped(ch.Messages), ch.From, ch.To)
	}
	if a.More > 0 {
		fmt.Fprintf(out, "and %d more\n", a.More)
	}
}

// AtLeast writes a number of names or organisations, of which only the first may be known.
func (r *Report) AtLeast(n int) string {
	if r.Exact {
		return grouped(int64(n))
	}
	return "at least " + grouped(int64(n))
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

// grouped writes a number with a comma between thousands.
func grouped(n int64) string {
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

var csvHeader = []string{"class", "kind", "name", "action", "messages", "names", "examples", "orgs",
	"time", "from", "rcpt", "helo", "ip", "rdns", "ptr", "msg_id", "exempt"}

// WriteCSV writes one row for each class, action and rule, each lost message and each note.
// Examples and recipients are separated by spaces.
func (t *Tally) WriteCSV(w io.Writer) error {
	r, out := t.Report(), csv.NewWriter(w)
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
		for _, action := range slices.Backward(actionWords[:]) {
			counts(name, "action", action, action, c.Actions[action], nil)
		}
		for _, rule := range t.rules {
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
