// Package fit chooses the points of those rules that score, from messages
// whose class is known, and tells by cross-validation whether the chosen
// points would have done better on mail they were not chosen by.
package fit

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"

	"maddy.example/checkhelo"
)

// ErrNothing says that there is nothing to choose points by.
var ErrNothing = errors.New("fit: no rule scores, or no ham or no spam to fit to")

// Sample is several messages of one sender that hit the same rules.
type Sample struct {
	Set   string // where they come from; each set keeps the limit by itself
	Org   string // what stays together in one fold
	Spam  bool
	Rules uint64 // bit i: rule i of the policy hit
	Count int64  // messages
}

// Options says how to choose.
type Options struct {
	// MaxLost has, by set, the share of its ham, 0 to 1, that may be rejected
	// or quarantined. A set without one may lose what the points in force cost.
	MaxLost map[string]float64
	Folds   int // at least 2
	Seed    uint64
}

// Data holds samples in memory that does not grow with their number.
type Data struct {
	options Options
	sets    []string
	cells   map[cell]int64
}

type cell struct {
	set, fold int
	spam      bool
	rules     uint64
}

// NewData makes an empty Data.
func NewData(o Options) *Data { return &Data{options: o, cells: make(map[cell]int64)} }

// Add takes one sample in. The order of samples is of no importance but for that of the sets.
func (d *Data) Add(s Sample) {
	set := slices.Index(d.sets, s.Set)
	if set < 0 {
		set = len(d.sets)
		d.sets = append(d.sets, s.Set)
	}
	d.cells[cell{set, d.fold(s.Org), s.Spam, s.Rules}] += s.Count
}

// fold tells in which part an organisation is, whatever else there is.
func (d *Data) fold(org string) int {
	h := fnv.New64a()
	// A hash takes everything.
	_ = binary.Write(h, binary.BigEndian, d.options.Seed)
	_, _ = h.Write([]byte(org))
	sum := h.Sum64()
	sum = (sum ^ sum>>33) * 0xff51afd7ed558ccd
	return int((sum ^ sum>>33) % uint64(max(d.options.Folds, 1))) //nolint:gosec // both small
}

// Cost is what one choice of points does to one set, in messages.
type Cost struct {
	Ham    int64 `json:"ham"`
	Lost   int64 `json:"lost"` // ham rejected or quarantined
	Spam   int64 `json:"spam"`
	Caught int64 `json:"caught"` // spam rejected or quarantined
}

// LostShare is the share of the ham, 0 to 1.
func (c Cost) LostShare() float64 { return share(c.Lost, c.Ham) }

// CaughtShare is the share of the spam, 0 to 1.
func (c Cost) CaughtShare() float64 { return share(c.Caught, c.Spam) }

func share(part, whole int64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func (c Cost) plus(o Cost) Cost {
	return Cost{c.Ham + o.Ham, c.Lost + o.Lost, c.Spam + o.Spam, c.Caught + o.Caught}
}

// Pair compares the points in force with chosen ones on one set.
type Pair struct {
	Set    string `json:"set"`
	Now    Cost   `json:"now"`
	Fitted Cost   `json:"fitted"`
}

// Points is one rule that scores. Fitted is 0 where the rule is better ignored.
type Points struct {
	Rule     string `json:"rule"`
	Messages int64  `json:"messages"` // that it hits; 0: its points stay as they are
	Now      int    `json:"now"`
	Fitted   int    `json:"fitted"`
}

// Result is a choice and what it is worth.
type Result struct {
	Points   []Points `json:"points"`    // in the order of the table
	InSample []Pair   `json:"in_sample"` // on the mail that Points were chosen by
	Folds    [][]Pair `json:"folds"`     // on a part of it, with points chosen by the others
	HeldOut  []Pair   `json:"held_out"`  // sum of Folds
	Better   bool     `json:"better"`    // catches more held out, and keeps the limit there
	Why      string   `json:"why"`
}

// Fit chooses points for the rules of p that score, and leaves all other
// actions and the thresholds alone. It lets no score reject what the points in
// force do not. The same data and options always get the same result.
func (d *Data) Fit(p *checkhelo.Policy) (*Result, error) {
	m := newModel(p)
	all := d.part(m, func(int) bool { return true })
	if len(m.free) == 0 || !all.complete() || p.QuarantineScore <= 0 {
		return nil, ErrNothing
	}
	random := rand.New(rand.NewPCG(d.options.Seed, 0)) //nolint:gosec // has to repeat
	best := all.fit(m, d.limits(all.costs(m, m.points)), random)
	r := &Result{InSample: d.pairs(m, all, best)}
	for _, i := range m.free {
		r.Points = append(r.Points, Points{m.names[i], all.hits(i), m.points[i], best[i]})
	}
	d.crossValidate(m, r)
	now := make([]Cost, len(d.sets))
	for i, p := range r.HeldOut {
		now[i] = p.Now
	}
	r.judge(d.limits(now))
	return r, nil
}

// crossValidate fits to all folds but one, and looks at that one.
func (d *Data) crossValidate(m *model, r *Result) {
	r.HeldOut = make([]Pair, len(d.sets))
	for i, name := range d.sets {
		r.HeldOut[i].Set = name
	}
	for k := range d.options.Folds {
		random := rand.New(rand.NewPCG(d.options.Seed, uint64(k)+1)) //nolint:gosec // has to repeat
		others := d.part(m, func(fold int) bool { return fold != k })
		chosen := others.fit(m, d.limits(others.costs(m, m.points)), random)
		held := d.pairs(m, d.part(m, func(fold int) bool { return fold == k }), chosen)
		r.Folds = append(r.Folds, held)
		for i := range held {
			r.HeldOut[i].Now = r.HeldOut[i].Now.plus(held[i].Now)
			r.HeldOut[i].Fitted = r.HeldOut[i].Fitted.plus(held[i].Fitted)
		}
	}
}

// limits returns the share of ham that may be lost in each set, where the points in force cost now.
func (d *Data) limits(now []Cost) []float64 {
	limits := make([]float64, len(d.sets))
	for i, name := range d.sets {
		limit, given := d.options.MaxLost[name]
		if !given {
			limit = now[i].LostShare()
		}
		limits[i] = limit
	}
	return limits
}

// pairs compares chosen points with those in force.
func (d *Data) pairs(m *model, p *part, chosen []int) []Pair {
	now, fitted := p.costs(m, m.points), p.costs(m, chosen)
	pairs := make([]Pair, len(d.sets))
	for i, name := range d.sets {
		pairs[i] = Pair{name, now[i], fitted[i]}
	}
	return pairs
}

// part returns the samples of some folds, in an order that never changes.
func (d *Data) part(m *model, in func(fold int) bool) *part {
	at := make(map[uint64]*pattern)
	for c, n := range d.cells {
		if !in(c.fold) {
			continue
		}
		p := at[c.rules]
		if p == nil {
			p = m.pattern(c.rules, len(d.sets))
			at[c.rules] = p
		}
		if c.spam {
			p.spam[c.set] += n
		} else {
			p.ham[c.set] += n
		}
	}
	sorted := slices.SortedFunc(maps.Values(at), func(a, b *pattern) int {
		return cmp.Compare(a.rules, b.rules)
	})
	return &part{sorted, len(d.sets)}
}

// judge says whether the chosen points are worth taking.
func (r *Result) judge(limits []float64) {
	var more float64
	within := true
	for i, p := range r.HeldOut {
		more += p.Fitted.CaughtShare() - p.Now.CaughtShare()
		within = within && p.Fitted.LostShare() <= limits[i]
	}
	same := !slices.ContainsFunc(r.Points, func(p Points) bool { return p.Now != p.Fitted })
	switch {
	case same:
		r.Why = "nothing better was found: keep the points in force"
	case more <= 0:
		r.Why = "held out, the fitted points catch no more spam: keep those in force"
	case !within:
		r.Why = "held out, the fitted points lose more good mail than allowed: keep those in force"
	default:
		r.Better = true
		r.Why = "the fitted points catch more spam within the limit, held out too"
	}
}
