// Package report counts what a policy does to a stream of greetings, in memory
// that does not grow with the stream, and writes the counts as text, JSON, CSV
// or a page of HTML.
package report

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/maddyconf"
)

// Bounds of what is kept. Of further kinds, clients and changes only messages are counted.
const (
	maxKinds   = 100_000 // different combinations of class, HELO name, action and rules
	maxClasses = 8       // further classes count as OtherClass
	maxClients = 10_000  // refused clients
	maxChanges = 10_000  // names that a second policy treats differently
	maxName    = 255     // octets of a name shown
)

// How much of a list is shown.
const (
	examples     = 10  // names of a rule
	mostRefused  = 20  // clients
	shownChanges = 200 // names
)

// OtherClass has the messages of all classes after the first few.
const OtherClass = "other"

// DefaultClass is that of messages whose input names none.
const DefaultClass = "all"

// Report counts messages. Sum fills in what the formats show. It is not safe for use by many
// goroutines.
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
	NotEvaluated []maddyconf.Table `json:"not_evaluated"` // tables that the counts do without

	rules   []checkhelo.Rule
	kinds   map[kind]int64 // messages
	clients map[netip.Addr]*Refused
}

// kind is all that greetings counted together have in common.
type kind struct {
	class  *Class
	name   string           // "" for all kinds that are not kept
	action checkhelo.Action // Ignore also for Off
	rules  uint64
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
	Table   []*Rule           `json:"-"` // Rules in the order of the policy
}

// Rule is what one rule hit.
type Rule struct {
	Count
	Name     string           `json:"-"`
	Action   string           `json:"action"`
	Score    int              `json:"score,omitempty"`
	Effect   string           `json:"-"`        // the action with its points
	Verdicts map[string]int64 `json:"verdicts"` // messages by action
	Examples []string         `json:"examples"` // the most common names
	Common   map[string]int64 `json:"-"`        // messages by name
}

// Refused is a client of refused messages, with the rule and the name of the first.
type Refused struct {
	Client   string `json:"client"`
	Messages int64  `json:"messages"`
	Rule     string `json:"rule"`
	Helo     string `json:"helo"`
}

// New counts under a policy with these rules, in their order.
func New(policy string, rules []checkhelo.Rule) *Report {
	return &Report{
		Policy: policy, Exact: true, Notes: []string{}, NotEvaluated: []maddyconf.Table{},
		Classes: make(map[string]*Class), Exempt: make(map[string]int64), rules: rules,
		kinds: make(map[kind]int64), clients: make(map[netip.Addr]*Refused),
		Lost: Lost{groups: make(map[string]*Group)},
	}
}

// Add counts a message.
func (r *Report) Add(m *Message) {
	n, name := int64(m.Count), shown(m.Helo)
	r.Messages += n
	k := kind{r.class(m.Class), name, max(m.Action, checkhelo.Ignore), m.Rules}
	if _, ok := r.kinds[k]; !ok && len(r.kinds) >= maxKinds {
		k.name, r.Exact = "", false
	}
	r.kinds[k] += n
	if !m.Time.IsZero() {
		if r.Timeline == nil {
			r.Timeline = new(Timeline)
		}
		r.Timeline.add(m.Time, word(m.Action), n)
	}
	if m.Exempt != "" {
		r.Exempt[m.Exempt] += n
	}
	if m.TryLater {
		r.TryLater += n
	}
	if m.Action == checkhelo.Reject && m.Client.IsValid() {
		r.refuse(m, name)
	}
	if m.isLost() {
		r.Lost.add(m)
	}
	if r.Against != nil && m.Other != nil {
		r.Against.add(m, name)
	}
}

// shown is a name fit for reports.
func shown(helo string) string { return heloname.Clean(strings.ToLower(helo), maxName) }

func (r *Report) class(name string) *Class {
	name = cmp.Or(name, DefaultClass)
	if r.Classes[name] == nil && len(r.Classes) >= maxClasses {
		name = OtherClass
	}
	if r.Classes[name] == nil {
		r.Classes[name] = new(Class)
	}
	return r.Classes[name]
}

func (r *Report) refuse(m *Message, name string) {
	c := r.clients[m.Client]
	if c == nil {
		if len(r.clients) >= maxClients {
			return
		}
		c = &Refused{Client: m.Client.String(), Rule: m.rule(), Helo: name}
		r.clients[m.Client] = c
	}
	c.Messages += int64(m.Count)
}

// Sum fills in what is shown of the messages so far.
func (r *Report) Sum() *Report {
	rows := make(map[*Class][]row)
	for k, n := range r.kinds {
		rows[k.class] = append(rows[k.class], row{k, orgOf(k.name), n})
	}
	for class, own := range rows {
		class.sum(own, r.rules)
	}
	if r.Timeline != nil {
		r.Timeline.sum()
	}
	r.Lost.sum()
	r.Refused = ranked(maps.Values(r.clients),
		func(c *Refused) int64 { return c.Messages }, func(c *Refused) string { return c.Client })
	r.Refused = r.Refused[:min(mostRefused, len(r.Refused))]
	if r.Against != nil {
		r.Against.sum()
	}
	return r
}

// ranked sorts by messages, the most first, and equal ones by text. It never returns nil.
func ranked[T any](all iter.Seq[T], messages func(T) int64, text func(T) string) []T {
	list := slices.AppendSeq([]T{}, all)
	slices.SortFunc(list, func(a, b T) int {
		return cmp.Or(cmp.Compare(messages(b), messages(a)), strings.Compare(text(a), text(b)))
	})
	return list
}

// row is the messages of one kind.
type row struct {
	kind
	org string
	n   int64
}

// orgOf is the organisational domain of a HELO name, the name itself where there is none.
func orgOf(name string) string {
	return cmp.Or(heloname.OrgDomain(heloname.Parse(name).ASCII), name)
}

// sum counts the kinds of one class.
func (c *Class) sum(rows []row, rules []checkhelo.Rule) {
	*c = Class{Actions: make(map[string]*Count), Rules: make(map[string]*Rule)}
	c.Count = *count(rows, func(*row) bool { return true })
	for _, action := range strongest {
		c.Actions[action] = count(rows, func(k *row) bool { return word(k.action) == action })
	}
	for i, set := range rules {
		if set.Action == checkhelo.Off {
			continue
		}
		hit := func(k *row) bool { return k.rules>>i&1 != 0 }
		r := &Rule{
			Count: *count(rows, hit), Name: set.Name, Action: set.Action.String(),
			Effect:   checkhelo.Effect{Action: set.Action, Score: set.Score}.String(),
			Verdicts: make(map[string]int64), Common: make(map[string]int64),
		}
		if set.Action == checkhelo.Score {
			r.Score = set.Score
		}
		for at := range rows {
			if k := &rows[at]; hit(k) {
				r.Verdicts[word(k.action)] += k.n
				r.Common[k.name] += k.n
			}
		}
		delete(r.Common, "")
		names := ranked(maps.Keys(r.Common),
			func(name string) int64 { return r.Common[name] }, func(name string) string { return name })
		r.Examples = slices.Clone(names[:min(examples, len(names))])
		c.Rules[r.Name], c.Table = r, append(c.Table, r)
	}
}

// ByHits returns the rules that hit, the most hits first, equal ones in the order of the table.
func (c *Class) ByHits() []*Rule {
	none := func(r *Rule) bool { return r.Messages == 0 }
	list := slices.DeleteFunc(slices.Clone(c.Table), none)
	slices.SortStableFunc(list, func(a, b *Rule) int { return cmp.Compare(b.Messages, a.Messages) })
	return list
}

// count counts the rows that are in. The kinds that are not kept have no name.
func count(rows []row, in func(*row) bool) *Count {
	c, names, orgs := new(Count), make(map[string]bool), make(map[string]bool)
	for i := range rows {
		if k := &rows[i]; in(k) {
			c.Messages += k.n
			names[k.name], orgs[k.org] = true, true
		}
	}
	delete(names, "")
	delete(orgs, "")
	c.Names, c.Orgs = len(names), len(orgs)
	return c
}
