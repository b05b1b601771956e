// Package report counts what a policy does to a stream of greetings, in memory
// that does not grow with the stream, and writes the counts as text, JSON, CSV
// or a page of HTML.
package report

import (
	"slices"
	"strings"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/maddyconf"
)

// Bounds of what is kept. Names above them are estimated.
const (
	classNames   = 100_000 // different names of a class counted exactly
	actionNames  = 32_768  // the same of an action
	ruleNames    = 16_384  // the same of a rule
	maxClasses   = 8       // further classes count as OtherClass
	commonNames  = 512     // names of a rule from which the most common are taken
	examples     = 10      // names shown of a rule
	senders      = 20      // clients shown
	maxNameOctet = 255     // of a name shown
)

// OtherClass has the messages of all classes after the first few.
const OtherClass = "other"

// DefaultClass is that of messages whose input names none.
const DefaultClass = "all"

// Message is one judged greeting, or several alike.
type Message struct {
	Class  string
	Helo   string // as said
	Client string // address; asked only of what is refused
	Time   time.Time
	Count  int64 // messages
	Result
	Other *Result // of a second policy, see Tally.Compare; nil: none
}

// Result is a verdict, as far as it is counted.
type Result struct {
	Action   checkhelo.Action
	Rules    uint64 // bit i: rule i of the table hit
	Decided  int    // index of the rule that decided; -1: none
	Exempt   string // why it is not judged; "" when it is
	TryLater bool   // refused for the moment, as a look-up failed
}

// What can become of a message, in the order of count arrays.
const (
	none = iota
	scored
	greylisted
	quarantined
	rejected
	numActions
)

var actionWords = [numActions]string{"none", "score", "greylist", "quarantine", "reject"}

func actionIndex(a checkhelo.Action) int {
	return max(int(a)-int(checkhelo.Ignore), none)
}

// Tally counts. It is not safe for use by many goroutines.
type Tally struct {
	Policy string // what judged, for the reader
	// NotEvaluated lists the tables that the judgement did without.
	NotEvaluated []maddyconf.Table

	rules   []checkhelo.Rule
	classes map[string]*class
	order   []string // class names as they came
	days    timeline
	senders top[string]
	exempt  map[string]int64 // messages by reason
	later   int64
	against *comparison // nil: none
}

type class struct {
	messages int64
	names    distinct
	actions  [numActions]count
	rules    []ruleCount
}

type count struct {
	messages int64
	names    distinct
}

type ruleCount struct {
	count
	byAction [numActions]int64 // messages by their verdict
	common   top[string]
}

// NewTally counts under a policy with these rules, in their order.
func NewTally(policy string, rules []checkhelo.Rule) *Tally {
	return &Tally{
		Policy: policy, rules: rules,
		classes: make(map[string]*class),
		exempt:  make(map[string]int64),
		senders: top[string]{keep: 2 * commonNames},
	}
}

// Add counts a message.
func (t *Tally) Add(m *Message) {
	c, h := t.class(m.Class), hash(m.Helo)
	c.messages += m.Count
	c.names.add(h)
	action := actionIndex(m.Action)
	c.actions[action].add(h, m.Count)
	if m.Exempt != "" {
		t.exempt[m.Exempt] += m.Count
	}
	if m.TryLater {
		t.later += m.Count
	}
	if t.against != nil && m.Other != nil {
		t.against.add(m, t.rules)
	}
	if m.Rules == 0 {
		t.days.add(m.Time, action, m.Count)
		return
	}
	name := shown(m.Helo)
	for i := range t.rules {
		if m.Rules&(1<<i) == 0 {
			continue
		}
		r := &c.rules[i]
		r.add(h, m.Count)
		r.byAction[action] += m.Count
		r.common.add(name, m.Count, nil)
	}
	t.days.add(m.Time, action, m.Count)
	if action == rejected && m.Client != "" {
		t.senders.add(m.Client, m.Count, func() string { return t.rules[m.Decided].Name + " " + name })
	}
}

func (c *count) add(hash uint64, n int64) {
	c.messages += n
	c.names.add(hash)
}

// shown is a name fit for reports.
func shown(helo string) string {
	return heloname.Clean(strings.ToLower(helo), maxNameOctet)
}

func (t *Tally) class(name string) *class {
	if c := t.classes[name]; c != nil {
		return c
	}
	if name == "" {
		return t.class(DefaultClass)
	}
	if len(t.classes) >= maxClasses && name != OtherClass {
		return t.class(OtherClass)
	}
	c := &class{names: distinct{limit: classNames}, rules: make([]ruleCount, len(t.rules))}
	for i := range c.actions {
		c.actions[i].names.limit = actionNames
	}
	for i := range c.rules {
		c.rules[i].names.limit = ruleNames
		c.rules[i].common.keep = commonNames
	}
	t.classes[name] = c
	t.order = append(t.order, name)
	slices.Sort(t.order)
	return c
}

// Messages returns how many were counted.
func (t *Tally) Messages() (n int64) {
	for _, c := range t.classes {
		n += c.messages
	}
	return n
}
