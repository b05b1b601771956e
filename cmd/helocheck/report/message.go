// Package report counts what a policy does to a stream of greetings, in memory
// that does not grow with the stream, and writes the counts as text, JSON, CSV
// or a page of HTML.
package report

import (
	"cmp"
	"net/netip"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/replay"
)

// Bounds of what is kept. Of further kinds, clients and changes only messages are counted.
const (
	maxKinds   = 100_000 // different combinations of HELO name, action and rules
	maxClasses = 8       // further classes count as OtherClass
	maxClients = 10_000  // refused clients
	maxChanges = 10_000  // names that a second policy treats differently
	maxName    = 255     // octets of a name shown
)

// OtherClass has the messages of all classes after the first few.
const OtherClass = "other"

// DefaultClass is that of messages whose input names none.
const DefaultClass = "all"

// Message is one judged greeting, or several alike.
type Message struct {
	*replay.Record
	Result
	Other *Result // of a second policy, see Tally.Compare; nil: none
}

// Result is a verdict, as far as it is reported.
type Result struct {
	Action   checkhelo.Action
	Would    checkhelo.Action // without max_action
	Score    int
	Hits     []Hit  // strongest first
	Rules    uint64 // bit i: rule i of the table hit
	Exempt   string // why it is not judged; "" when it is
	TryLater bool   // refused for the moment, as a look-up failed
	Known    checkhelo.Known
}

// Hit is a rule that hit.
type Hit struct {
	Rule   string `json:"rule"`
	Action string `json:"action"`
	Score  int    `json:"score"`
}

// HitOf returns a hit as it is reported.
func HitOf(h *checkhelo.Hit) Hit { return Hit{h.Rule.Name, h.Rule.Action.String(), h.Rule.Score} }

// rule returns the name of the rule that decided, "" for none.
func (r *Result) rule() string {
	if len(r.Hits) == 0 {
		return ""
	}
	return r.Hits[0].Rule
}

// strongest has what can become of a message, the strongest first.
var strongest = []string{"reject", "quarantine", "greylist", "score", untouched}

const untouched = "none"

func word(a checkhelo.Action) string {
	if a <= checkhelo.Ignore {
		return untouched
	}
	return a.String()
}

// Tally counts. It is not safe for use by many goroutines.
type Tally struct {
	// Notes tell the reader what the counts lack, NotEvaluated which tables they do without.
	Notes        []string
	NotEvaluated []maddyconf.Table

	rules   []checkhelo.Rule
	report  Report                    // what is counted as it is shown
	classes map[string]map[kind]int64 // messages
	kinds   int                       // of all classes
	days    Timeline
	clients map[netip.Addr]*Refused
}

// kind is all that greetings counted together have in common, beside their class.
type kind struct {
	name   string           // "" for all kinds that are not kept
	action checkhelo.Action // Ignore also for Off
	rules  uint64
}

// NewTally counts under a policy with these rules, in their order.
func NewTally(policy string, rules []checkhelo.Rule) *Tally {
	return &Tally{
		rules: rules, classes: make(map[string]map[kind]int64),
		clients: make(map[netip.Addr]*Refused),
		report: Report{
			Policy: policy, Exact: true, Exempt: make(map[string]int64),
			Lost: Lost{Senders: []*Group{}, groups: make(map[string]*Group)},
		},
	}
}

// Compare makes Add count Message.Other too, the verdict of a second policy.
func (t *Tally) Compare(policy string) {
	t.report.Against = &Against{
		Policy: policy, moves: make(map[Change]int64), changes: make(map[Change]int64),
	}
}

// Add counts a message.
func (t *Tally) Add(m *Message) {
	n, name := int64(m.Count), shown(m.Helo)
	k := kind{name, max(m.Action, checkhelo.Ignore), m.Rules}
	c := t.class(m.Class)
	if _, ok := c[k]; !ok {
		if t.kinds < maxKinds {
			t.kinds++
		} else {
			k.name, t.report.Exact = "", false
		}
	}
	c[k] += n
	t.days.add(m.Time, k.action, n)
	if m.Exempt != "" {
		t.report.Exempt[m.Exempt] += n
	}
	if m.TryLater {
		t.report.TryLater += n
	}
	if k.action == checkhelo.Reject && m.Client.IsValid() {
		t.refuse(m, name)
	}
	if m.isLost() {
		t.report.Lost.add(m)
	}
	if t.report.Against != nil && m.Other != nil {
		t.report.Against.add(m, name)
	}
}

func (t *Tally) refuse(m *Message, name string) {
	c := t.clients[m.Client]
	if c == nil {
		if len(t.clients) >= maxClients {
			return
		}
		c = &Refused{Client: m.Client.String(), Rule: m.rule(), Helo: name}
		t.clients[m.Client] = c
	}
	c.Messages += int64(m.Count)
}

func (a *Against) add(m *Message, name string) {
	n, from, to := int64(m.Count), word(m.Action), word(m.Other.Action)
	if from != to {
		a.moves[Change{From: from, To: to}] += n
	} else if from == untouched || m.rule() == m.Other.rule() {
		return
	}
	ch := Change{Helo: name, From: m.change(), To: m.Other.change()}
	if _, ok := a.changes[ch]; ok || len(a.changes) < maxChanges {
		a.changes[ch] += n
	}
}

// change is the action and, where there is one, the rule behind it.
func (r *Result) change() string {
	action := word(r.Action)
	if rule := r.rule(); rule != "" && action != untouched {
		return action + ":" + rule
	}
	return action
}

// shown is a name fit for reports.
func shown(helo string) string { return heloname.Clean(strings.ToLower(helo), maxName) }

func (t *Tally) class(name string) map[kind]int64 {
	name = cmp.Or(name, DefaultClass)
	if t.classes[name] == nil && len(t.classes) >= maxClasses {
		name = OtherClass
	}
	if t.classes[name] == nil {
		t.classes[name] = make(map[kind]int64)
	}
	return t.classes[name]
}
