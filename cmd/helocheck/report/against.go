package report

import (
	"fmt"
	"io"

	"maddy.example/checkhelo"
)

// comparison counts what a second policy does otherwise.
type comparison struct {
	policy  string
	rules   []checkhelo.Rule
	moves   [numActions][numActions]int64 // messages by first and second action
	changes top[string]                   // the note is the change
}

const keptChanges = 4096

// Compare makes Add count Message.Other too, the verdict of a second policy.
func (t *Tally) Compare(policy string, rules []checkhelo.Rule) {
	t.against = &comparison{policy: policy, rules: rules, changes: top[string]{keep: keptChanges}}
}

// change is one name that the policies treat differently.
type change struct {
	Helo     string
	Messages int64
	From, To string // action and rule
}

func (c *comparison) add(m *Message, first []checkhelo.Rule) {
	from, to := actionIndex(m.Action), actionIndex(m.Other.Action)
	c.moves[from][to] += m.Count
	if from == to && (from == none || m.decided(first) == m.Other.decided(c.rules)) {
		return
	}
	a, b := m.text(first), m.Other.text(c.rules)
	c.changes.add(shown(m.Helo)+" "+a+" "+b, m.Count, nil)
}

func (r *Result) decided(rules []checkhelo.Rule) string {
	if r.Decided < 0 {
		return ""
	}
	return rules[r.Decided].Name
}

// text is the action and, where there is one, the rule behind it.
func (r *Result) text(rules []checkhelo.Rule) string {
	action := actionWords[actionIndex(r.Action)]
	if rule := r.decided(rules); rule != "" && action != "none" {
		return action + ":" + rule
	}
	return action
}

// list returns the most common changes.
func (c *comparison) list(n int) (list []change) {
	for _, e := range c.changes.first(n) {
		var ch change
		// A shown name has no space in it.
		_, _ = fmt.Sscan(e.Key, &ch.Helo, &ch.From, &ch.To)
		ch.Messages = e.Messages
		list = append(list, ch)
	}
	return list
}

func (c *comparison) text(out io.Writer, policy string) {
	fmt.Fprintf(out, "\nwith %s instead of %s\nfrom\tto\tmessages\n", c.policy, policy)
	for from := numActions - 1; from >= 0; from-- {
		for to := numActions - 1; to >= 0; to-- {
			if n := c.moves[from][to]; n > 0 && from != to {
				fmt.Fprintf(out, "%s\t%s\t%s\n", actionWords[from], actionWords[to], grouped(n))
			}
		}
	}
	changes := c.list(shownChanges)
	if len(changes) == 0 {
		fmt.Fprintf(out, "nothing changes\n")
		return
	}
	fmt.Fprintf(out, "\nHELO\tmessages\tfrom\tto\n")
	for _, ch := range changes {
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", ch.Helo, grouped(ch.Messages), ch.From, ch.To)
	}
	if rest := len(c.changes.entries) - len(changes); rest > 0 {
		fmt.Fprintf(out, "and %d more\n", rest)
	}
}

// shownChanges bounds the list of a text.
const shownChanges = 200
