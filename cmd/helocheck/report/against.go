package report

import "maps"

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

// Compare makes Add count Message.Other too, the verdict of a second policy.
func (r *Report) Compare(policy string) {
	r.Against = &Against{
		Policy: policy, moves: make(map[Change]int64), changes: make(map[Change]int64),
	}
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
