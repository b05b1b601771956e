// Package report counts what a policy does to a stream of greetings, in memory
// that does not grow with the stream, and writes the counts as text, JSON, CSV
// or a page of HTML.
package report

import (
	"net/netip"
	"slices"
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

// rule returns the name of the rule that decided, "" for none.
func (r *Result) rule() string {
	if len(r.Hits) == 0 {
		return ""
	}
	return r.Hits[0].Rule
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

func actionIndex(a checkhelo.Action) uint8 {
	return uint8(max(int(a)-int(checkhelo.Ignore), none)) //nolint:gosec // below numActions
}

func word(a checkhelo.Action) string { return actionWords[actionIndex(a)] }

// Tally counts. It is not safe for use by many goroutines.
type Tally struct {
	policy  string
	rules   []checkhelo.Rule
	against *against // nil: none

	// Notes tell the reader what the counts lack, NotEvaluated which tables they do without.
	Notes        []string
	NotEvaluated []maddyconf.Table

	classes  map[string]map[kind]int64 // messages
	kinds    int                       // of all classes
	overflow bool                      // more kinds came than are kept
	days     timeline
	clients  map[netip.Addr]*Refused
	exempt   map[string]int64 // messages by reason
	later    int64
	lost     lost
}

// kind is all that greetings counted together have in common, beside their class.
type kind struct {
	name   string // "" for all kinds that are not kept
	action uint8
	rules  uint64
}

// against counts what a second policy does otherwise.
type against struct {
	policy  string
	moves   [numActions][numActions]int64 // messages by first and second action
	changes map[Change]int64
}

// NewTally counts under a policy with these rules, in their order.
func NewTally(policy string, rules []checkhelo.Rule) *Tally {
	return &Tally{
		policy: policy, rules: rules,
		classes: make(map[string]map[kind]int64), clients: make(map[netip.Addr]*Refused),
		exempt: make(map[string]int64), lost: lost{groups: make(map[string]*Group)},
	}
}

// Compare makes Add count Message.Other too, the verdict of a second policy.
func (t *Tally) Compare(policy string) {
	t.against = &against{policy: policy, changes: make(map[Change]int64)}
}

// Add counts a message.
func (t *Tally) Add(m *Message) {
	n, name := int64(m.Count), shown(m.Helo)
	k := kind{name, actionIndex(m.Action), m.Rules}
	c := t.class(m.Class)
	if _, ok := c[k]; !ok {
		if t.kinds < maxKinds {
			t.kinds++
		} else {
			k.name, t.overflow = "", true
		}
	}
	c[k] += n
	t.days.add(m.Time, k.action, n)
	if m.Exempt != "" {
		t.exempt[m.Exempt] += n
	}
	if m.TryLater {
		t.later += n
	}
	if k.action == rejected && m.Client.IsValid() {
		t.refuse(m, name)
	}
	if m.isLost() {
		t.lost.add(m)
	}
	if t.against != nil && m.Other != nil {
		t.against.add(m, name)
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

func (a *against) add(m *Message, name string) {
	from, to := actionIndex(m.Action), actionIndex(m.Other.Action)
	a.moves[from][to] += int64(m.Count)
	if from == to && (from == none || m.rule() == m.Other.rule()) {
		return
	}
	ch := Change{Helo: name, From: m.change(), To: m.Other.change()}
	if _, ok := a.changes[ch]; ok || len(a.changes) < maxChanges {
		a.changes[ch] += int64(m.Count)
	}
}

// change is the action and, where there is one, the rule behind it.
func (r *Result) change() string {
	action := word(r.Action)
	if rule := r.rule(); rule != "" && action != actionWords[none] {
		return action + ":" + rule
	}
	return action
}

// shown is a name fit for reports.
func shown(helo string) string { return heloname.Clean(strings.ToLower(helo), maxName) }

func (t *Tally) class(name string) map[kind]int64 {
	c := t.classes[name]
	switch {
	case c != nil:
		return c
	case name == "":
		return t.class(DefaultClass)
	case len(t.classes) >= maxClasses && name != OtherClass:
		return t.class(OtherClass)
	}
	c = make(map[kind]int64)
	t.classes[name] = c
	return c
}

// sortedBy returns the values of a map, the largest numbers first, equal ones by their text.
func sortedBy[K comparable, V any](
	m map[K]V, number func(K, V) int64, text func(K, V) string,
) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b K) int {
		if x, y := number(a, m[a]), number(b, m[b]); x != y {
			if x > y {
				return -1
			}
			return 1
		}
		return strings.Compare(text(a, m[a]), text(b, m[b]))
	})
	return keys
}
