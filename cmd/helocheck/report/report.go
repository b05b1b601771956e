package report

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/maddyconf"
)

// How much of a list is shown.
const (
	examples     = 10  // names of a rule
	mostRefused  = 20  // clients
	shownChanges = 200 // names
)

// Report is what all formats show.
type Report struct {
	Policy   string   `json:"policy"`
	Messages int64    `json:"messages"`
	Notes    []string `json:"notes"` // what the counts lack
	// Exact: all names and organisations were counted, not only the first.
	Exact        bool              `json:"exact"`
	Lost         Lost              `json:"lost"`
	Classes      map[string]*Class `json:"classes"`
	Timeline     *Timeline         `json:"timeline,omitempty"` // nil: the input has no times
	Refused      []*Refused        `json:"refused"`
	Exempt       map[string]int64  `json:"exempt"` // messages by reason
	TryLater     int64             `json:"try_later"`
	Against      *Against          `json:"against,omitempty"`
	NotEvaluated []maddyconf.Table `json:"not_evaluated"`
}

// Count counts messages, their HELO names, and the organisational domains of these: the name itself
// where it has none.
type Count struct {
	Messages int64 `json:"messages"`
	Names    int   `json:"names"`
	Orgs     int   `json:"orgs"`
}

// Class is what became of one class of messages. An action counts each message once, a rule counts
// whatever it hit. Rules that are off are left out.
type Class struct {
	Count
	Actions map[string]*Count `json:"actions"`
	Rules   map[string]*Rule  `json:"rules"`
}

// Rule is what one rule hit.
type Rule struct {
	Count
	Action   string           `json:"action"`
	Score    int              `json:"score,omitempty"`
	Verdicts map[string]int64 `json:"verdicts"` // messages by action
	Examples []string         `json:"examples"` // the most common names
	index    int
	common   map[string]int64
}

// Times returns how many messages of a name the rule hit.
func (r *Rule) Times(name string) int64 { return r.common[name] }

// Refused is a client of refused messages, with the rule and the name of the first.
type Refused struct {
	Client   string `json:"client"`
	Messages int64  `json:"messages"`
	Rule     string `json:"rule"`
	Helo     string `json:"helo"`
}

// Against is what a second policy does otherwise.
type Against struct {
	Policy  string   `json:"policy"`
	Moves   []Change `json:"moves"`   // between actions
	Changes []Change `json:"changes"` // by name; the most common
	More    int      `json:"more"`    // names left out
}

// Change is a number of messages that a second policy treats differently.
type Change struct {
	Helo     string `json:"helo,omitempty"`
	From     string `json:"from"` // action, or action:rule
	To       string `json:"to"`
	Messages int64  `json:"messages"`
}

// Report sums up.
func (t *Tally) Report() *Report {
	r := &Report{
		Policy: t.policy, Notes: append([]string{}, t.Notes...), Exact: !t.overflow,
		Lost: t.lost.report(), Classes: make(map[string]*Class), Timeline: t.days.report(),
		Refused: []*Refused{}, Exempt: t.exempt, TryLater: t.later,
		NotEvaluated: append([]maddyconf.Table{}, t.NotEvaluated...),
	}
	for name, kinds := range t.classes {
		c := t.sum(kinds)
		r.Classes[name] = c
		r.Messages += c.Messages
	}
	clients := sortedBy(t.clients, func(_ netip.Addr, c *Refused) int64 { return c.Messages },
		func(_ netip.Addr, c *Refused) string { return c.Client })
	for _, client := range clients[:min(mostRefused, len(clients))] {
		r.Refused = append(r.Refused, t.clients[client])
	}
	if t.against != nil {
		r.Against = t.against.report()
	}
	return r
}

// newClass returns a class with its actions and the rules that are not off.
func (t *Tally) newClass() *Class {
	c := &Class{Actions: make(map[string]*Count), Rules: make(map[string]*Rule)}
	for _, action := range actionWords {
		c.Actions[action] = &Count{}
	}
	for i, r := range t.rules {
		if r.Action == checkhelo.Off {
			continue
		}
		c.Rules[r.Name] = &Rule{
			Action: r.Action.String(), Verdicts: make(map[string]int64), index: i,
			common: make(map[string]int64),
		}
		if r.Action == checkhelo.Score {
			c.Rules[r.Name].Score = r.Score
		}
	}
	return c
}

// sum counts one class. Its kinds are walked by organisation and name, so that each of these counts
// once for the class, for an action and for a rule.
func (t *Tally) sum(kinds map[kind]int64) *Class {
	c := t.newClass()
	orgs := make(map[string]string, len(kinds))
	list := make([]kind, 0, len(kinds))
	for k := range kinds {
		list = append(list, k)
		if _, ok := orgs[k.name]; !ok {
			orgs[k.name] = orgOf(k.name)
		}
	}
	slices.SortFunc(list, func(a, b kind) int {
		return cmp.Or(strings.Compare(orgs[a.name], orgs[b.name]), strings.Compare(a.name, b.name))
	})
	var name, org seen
	for _, k := range list {
		n := kinds[k]
		name.turn(k.name)
		org.turn(orgs[k.name])
		add := func(c *Count, bit int) {
			c.Messages += n
			if k.name == "" { // the kinds that are not kept
				return
			}
			c.Names += name.first(bit)
			c.Orgs += org.first(bit)
		}
		add(&c.Count, bits-1)
		add(c.Actions[actionWords[k.action]], bits-2-int(k.action)) // above the bits of all rules
		for _, r := range c.Rules {
			if k.rules>>r.index&1 != 0 {
				add(&r.Count, r.index)
				r.Verdicts[actionWords[k.action]] += n
				r.common[k.name] += n
			}
		}
	}
	for _, r := range c.Rules {
		r.mostCommon()
	}
	return c
}

// mostCommon keeps the most common names.
func (r *Rule) mostCommon() {
	delete(r.common, "")
	names := sortedBy(r.common, func(_ string, n int64) int64 { return n },
		func(name string, _ int64) string { return name })
	r.Examples = slices.Clone(names[:min(examples, len(names))])
	maps.DeleteFunc(r.common, func(name string, _ int64) bool {
		return !slices.Contains(r.Examples, name)
	})
}

const bits = 64 // of a set of rules and actions

// seen tells what came first of one name, or of one organisation.
type seen struct {
	text string
	bits uint64
}

// turn turns to another text.
func (s *seen) turn(text string) {
	if s.text != text {
		*s = seen{text: text}
	}
}

// first returns 1 when the bit was not set for this text.
func (s *seen) first(bit int) int {
	if s.bits>>bit&1 != 0 {
		return 0
	}
	s.bits |= 1 << bit
	return 1
}

// orgOf is the organisational domain of a HELO name, the name itself where there is none.
func orgOf(name string) string {
	return cmp.Or(heloname.OrgDomain(heloname.Parse(name).ASCII), name)
}

// ByHits returns the names of the rules that hit, the most hits first, equal ones in the order of
// the table.
func (c *Class) ByHits() (names []string) {
	for name, r := range c.Rules {
		if r.Messages > 0 {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := c.Rules[a], c.Rules[b]
		return cmp.Or(cmp.Compare(y.Messages, x.Messages), cmp.Compare(x.index, y.index))
	})
	return names
}

func (a *against) report() *Against {
	r := &Against{Policy: a.policy, Moves: []Change{}, Changes: []Change{}}
	for from := numActions - 1; from >= 0; from-- {
		for to := numActions - 1; to >= 0; to-- {
			if n := a.moves[from][to]; n > 0 && from != to {
				r.Moves = append(r.Moves, Change{From: actionWords[from], To: actionWords[to], Messages: n})
			}
		}
	}
	changes := sortedBy(a.changes, func(_ Change, n int64) int64 { return n },
		func(c Change, _ int64) string { return c.Helo + " " + c.From + " " + c.To })
	for _, c := range changes[:min(shownChanges, len(changes))] {
		n := a.changes[c]
		c.Messages = n
		r.Changes = append(r.Changes, c)
	}
	r.More = len(changes) - len(r.Changes)
	return r
}
