package report

import (
	"cmp"
	"iter"
	"maps"
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
	Effect   string           `json:"-"`        // the action with its points
	Verdicts map[string]int64 `json:"verdicts"` // messages by action
	Examples []string         `json:"examples"` // the most common names
	index    int
	common   map[string]int64 // messages by name
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

	moves, changes map[Change]int64 // messages
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
	r := t.report
	r.Notes = append([]string{}, t.Notes...)
	r.NotEvaluated = append([]maddyconf.Table{}, t.NotEvaluated...)
	r.Classes, r.Timeline = make(map[string]*Class), t.days.report()
	for name, kinds := range t.classes {
		r.Classes[name] = t.sum(kinds)
		r.Messages += r.Classes[name].Messages
	}
	r.Lost.Senders = ranked(slices.Values(r.Lost.Senders),
		func(g *Group) int64 { return g.Messages }, func(g *Group) string { return g.Sender })
	r.Refused = ranked(maps.Values(t.clients),
		func(c *Refused) int64 { return c.Messages }, func(c *Refused) string { return c.Client })
	r.Refused = r.Refused[:min(mostRefused, len(r.Refused))]
	if r.Against != nil {
		r.Against.sum()
	}
	return &r
}

// ranked sorts by messages, the most first, and equal ones by text. It never returns nil.
func ranked[T any](all iter.Seq[T], messages func(T) int64, text func(T) string) []T {
	list := slices.AppendSeq([]T{}, all)
	slices.SortFunc(list, func(a, b T) int {
		return cmp.Or(cmp.Compare(messages(b), messages(a)), strings.Compare(text(a), text(b)))
	})
	return list
}

// newClass returns a class with its actions and the rules that are not off.
func (t *Tally) newClass() *Class {
	c := &Class{Actions: make(map[string]*Count), Rules: make(map[string]*Rule)}
	for _, action := range strongest {
		c.Actions[action] = &Count{}
	}
	for i, r := range t.rules {
		if r.Action == checkhelo.Off {
			continue
		}
		rule := &Rule{
			Action: r.Action.String(), Effect: checkhelo.Effect{Action: r.Action, Score: r.Score}.String(),
			Verdicts: make(map[string]int64), index: i, common: make(map[string]int64),
		}
		if r.Action == checkhelo.Score {
			rule.Score = r.Score
		}
		c.Rules[r.Name] = rule
	}
	return c
}

// sum counts one class. Its kinds are walked by organisation and name, so that each of these counts
// once for the class, for an action and for a rule.
func (t *Tally) sum(kinds map[kind]int64) *Class {
	type row struct {
		kind
		org string
	}
	rows := make([]row, 0, len(kinds))
	for k := range kinds {
		rows = append(rows, row{k, orgOf(k.name)})
	}
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(strings.Compare(a.org, b.org), strings.Compare(a.name, b.name))
	})
	c, last := t.newClass(), make(map[*Count]row)
	for _, k := range rows {
		n := kinds[k.kind]
		add := func(c *Count) {
			c.Messages += n
			before := last[c]
			if k.name == "" || k.name == before.name { // the kinds that are not kept have no name
				return
			}
			c.Names++
			if k.org != before.org {
				c.Orgs++
			}
			last[c] = k
		}
		add(&c.Count)
		add(c.Actions[word(k.action)])
		for _, r := range c.Rules {
			if k.rules>>r.index&1 != 0 {
				add(&r.Count)
				r.Verdicts[word(k.action)] += n
				r.common[k.name] += n
			}
		}
	}
	for _, r := range c.Rules {
		delete(r.common, "")
		names := ranked(maps.Keys(r.common), r.Times, func(name string) string { return name })
		r.Examples = slices.Clone(names[:min(examples, len(names))])
	}
	return c
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

func (a *Against) sum() {
	a.Moves, a.Changes = []Change{}, []Change{}
	for _, from := range strongest {
		for _, to := range strongest {
			move := Change{From: from, To: to}
			if move.Messages = a.moves[move]; move.Messages > 0 {
				a.Moves = append(a.Moves, move)
			}
		}
	}
	changes := ranked(maps.Keys(a.changes), func(c Change) int64 { return a.changes[c] },
		func(c Change) string { return c.Helo + " " + c.From + " " + c.To })
	for _, c := range changes[:min(shownChanges, len(changes))] {
		c.Messages = a.changes[c]
		a.Changes = append(a.Changes, c)
	}
	a.More = len(changes) - len(a.Changes)
}
