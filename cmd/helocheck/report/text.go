package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"maddy.example/checkhelo/module/heloname"
)

// WriteText writes tables for people: for each class the actions, the rules
// that hit with their most common names, and who would be refused most.
func (t *Tally) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "policy %s, %s messages\n", t.Policy, grouped(t.Messages()))
	for _, name := range t.order {
		t.classes[name].text(out, name, t)
	}
	if refused := t.senders.first(examples); len(refused) > 0 {
		fmt.Fprintf(out, "\nrefused most\nclient\tmessages\trule\tHELO\n")
		for _, s := range refused {
			rule, helo, _ := strings.Cut(s.Note, " ")
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", s.Key, grouped(s.Messages), rule, helo)
		}
	}
	if len(t.exempt) > 0 {
		fmt.Fprintf(out, "\nnot judged\n")
		for _, e := range sorted(t.exempt) {
			fmt.Fprintf(out, "%s\t%s\n", e.Key, grouped(e.Messages))
		}
	}
	if t.later > 0 {
		fmt.Fprintf(out, "\nrefused for the moment, as look-ups failed: %s\n", grouped(t.later))
	}
	if t.against != nil {
		t.against.text(out, t.Policy)
	}
	return out.Flush()
}

func (c *class) text(out io.Writer, name string, t *Tally) {
	fmt.Fprintf(out, "\n%s: %s messages, %s names\n", heloname.Clean(name, maxNameOctet),
		grouped(c.messages), c.names.text())
	fmt.Fprintf(out, "action\tmessages\tshare\tnames\n")
	for i := numActions - 1; i >= 0; i-- {
		a := &c.actions[i]
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", actionWords[i], grouped(a.messages),
			share(a.messages, c.messages), a.names.text())
	}
	hit := c.hitRules()
	if len(hit) == 0 {
		return
	}
	fmt.Fprintf(out, "\nrule\taction\tmessages\tshare\tnames\tmost common\n")
	for _, i := range hit {
		r := &c.rules[i]
		var common []string
		for _, e := range r.common.first(3) {
			common = append(common, heloname.Clean(e.Key, 48))
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\n", t.rules[i].Name, effect(&t.rules[i]),
			grouped(r.messages), share(r.messages, c.messages), r.names.text(), strings.Join(common, " "))
	}
}

// hitRules returns the indexes of the rules that hit, the most hits first.
func (c *class) hitRules() (hit []int) {
	for i := range c.rules {
		if c.rules[i].messages > 0 {
			hit = append(hit, i)
		}
	}
	slices.SortStableFunc(hit, func(a, b int) int {
		return cmp.Compare(c.rules[b].messages, c.rules[a].messages)
	})
	return hit
}

func (d *distinct) text() string {
	n, exact := d.count()
	if exact {
		return grouped(int64(n))
	}
	return "about " + grouped(int64(n))
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

func sorted(counts map[string]int64) (list []counted[string]) {
	for key, n := range counts {
		list = append(list, counted[string]{Key: key, Messages: n})
	}
	slices.SortFunc(list, func(a, b counted[string]) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Key, b.Key))
	})
	return list
}
