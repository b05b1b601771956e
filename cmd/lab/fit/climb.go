package fit

import (
	"math/bits"
	"math/rand/v2"
	"slices"

	"maddy.example/checkhelo"
)

const (
	restarts  = 12 // how often the search begins anew from somewhere else
	maxValues = 20 // tried of one rule, about
)

// model is a policy in numbers.
type model struct {
	names              []string
	actions            []checkhelo.Action
	points             []int // in force; 0 for rules that do not score
	free               []int // rules whose points are to be chosen
	quarantine, reject int   // thresholds; reject 0: scores never reject
	values             []int // points to choose from
	same               []int // rules about one fault: only the most points of them count
}

func newModel(p *checkhelo.Policy) *model {
	m := &model{quarantine: p.QuarantineScore, reject: p.RejectScore}
	for i, r := range p.Rules() {
		points := 0
		if r.Action == checkhelo.Score {
			points = r.Score
			m.free = append(m.free, i)
		}
		if r.Name == "ptr_unconfirmed" || r.Name == "generic_ptr" {
			m.same = append(m.same, i)
		}
		m.names = append(m.names, r.Name)
		m.actions = append(m.actions, r.Action)
		m.points = append(m.points, points)
	}
	step := max(1, m.quarantine/maxValues)
	for v := 0; v < m.quarantine; v += step {
		m.values = append(m.values, v)
	}
	m.values = append(m.values, m.quarantine)
	return m
}

// pattern is all messages that hit the same rules.
type pattern struct {
	rules     uint64
	fixed     bool // lost or caught whatever the points are
	refused   bool // rejected with the points in force
	ham, spam []int64
}

func (m *model) pattern(rules uint64, sets int) *pattern {
	p := &pattern{rules: rules, ham: make([]int64, sets), spam: make([]int64, sets)}
	for at := rules; at != 0; at &= at - 1 {
		action := m.actions[bits.TrailingZeros64(at)]
		p.fixed = p.fixed || action >= checkhelo.Quarantine
		p.refused = p.refused || action == checkhelo.Reject
	}
	p.refused = p.refused || m.reject > 0 && p.sum(m, m.points) >= m.reject
	return p
}

func (p *pattern) sum(m *model, points []int) (total int) {
	most := 0
	for at := p.rules; at != 0; at &= at - 1 {
		rule := bits.TrailingZeros64(at)
		if slices.Contains(m.same, rule) {
			most = max(most, points[rule])
			continue
		}
		total += points[rule]
	}
	return total + most
}

// part is some of the samples.
type part struct {
	patterns []*pattern
	sets     int
}

// complete reports whether there is both ham and spam.
func (p *part) complete() bool {
	var ham, spam int64
	for _, at := range p.patterns {
		for set := range p.sets {
			ham, spam = ham+at.ham[set], spam+at.spam[set]
		}
	}
	return ham > 0 && spam > 0
}

// hits returns how many messages rule i hits.
func (p *part) hits(i int) (n int64) {
	for _, at := range p.patterns {
		for set := range p.sets {
			if at.rules>>i&1 == 1 {
				n += at.ham[set] + at.spam[set]
			}
		}
	}
	return n
}

// costs returns what points cost in each set.
func (p *part) costs(m *model, points []int) []Cost {
	costs := make([]Cost, p.sets)
	p.add(m, points, costs)
	return costs
}

// add adds to costs, and returns how many messages are rejected by points alone.
func (p *part) add(m *model, points []int, costs []Cost) (refused int64) {
	for _, at := range p.patterns {
		sum := at.sum(m, points)
		acts := at.fixed || sum >= m.quarantine
		newly := m.reject > 0 && sum >= m.reject && !at.refused
		for set := range costs {
			c, ham, spam := &costs[set], at.ham[set], at.spam[set]
			c.Ham, c.Spam = c.Ham+ham, c.Spam+spam
			if acts || newly {
				c.Lost, c.Caught = c.Lost+ham, c.Caught+spam
			}
			if newly {
				refused += ham + spam
			}
		}
	}
	return refused
}

// worth orders choices: the fields count in this order.
type worth struct {
	refused      int64   // messages that only these points reject
	over         float64 // share of ham above the limits
	caught, lost float64 // shares, summed over the sets
	moved        int     // points away from those in force
}

func (w worth) better(than worth) bool {
	switch {
	case w.refused != than.refused:
		return w.refused < than.refused
	case w.over != than.over:
		return w.over < than.over
	case w.caught != than.caught:
		return w.caught > than.caught
	case w.lost != than.lost:
		return w.lost < than.lost
	default:
		return w.moved < than.moved
	}
}

// search is one climb.
type search struct {
	*model
	part   *part
	limits []float64 // share of the ham of each set
	free   []int     // rules that hit anything
	costs  []Cost    // of the last question
}

// fit returns the best points that hill climbing finds, from those in force
// and from some others.
func (p *part) fit(m *model, limits []float64, random *rand.Rand) []int {
	s := &search{model: m, part: p, limits: limits, costs: make([]Cost, p.sets)}
	for _, i := range m.free {
		if p.hits(i) > 0 {
			s.free = append(s.free, i)
		}
	}
	best := slices.Clone(m.points)
	value := s.climb(best)
	for range restarts {
		start := slices.Clone(m.points)
		for _, i := range s.free {
			if random.IntN(2) == 0 {
				start[i] = m.values[random.IntN(len(m.values))]
			}
		}
		if v := s.climb(start); v.better(value) {
			best, value = start, v
		}
	}
	return best
}

// climb betters points, one rule or two at a time, until nothing helps.
func (s *search) climb(points []int) worth {
	value := s.worth(points)
	for s.single(points, &value) || s.double(points, &value) {
	}
	return value
}

// single tries every other value of every rule.
func (s *search) single(points []int, value *worth) (changed bool) {
	for _, i := range s.free {
		if s.try(points, i, func() bool { return s.betters(points, value) }) {
			changed = true
		}
	}
	return changed
}

// double tries two rules at once, for what neither of them betters alone.
func (s *search) double(points []int, value *worth) bool {
	for n, i := range s.free {
		if s.try(points, i, func() bool {
			return slices.ContainsFunc(s.free[n+1:], func(j int) bool {
				return s.try(points, j, func() bool { return s.betters(points, value) })
			})
		}) {
			return true
		}
	}
	return false
}

// try sets rule i to each value until good says so; else it sets it back.
func (s *search) try(points []int, i int, good func() bool) bool {
	old := points[i]
	for _, points[i] = range s.values {
		if points[i] != old && good() {
			return true
		}
	}
	points[i] = old
	return false
}

// betters reports whether points are worth more than value, and then sets it.
func (s *search) betters(points []int, value *worth) bool {
	v := s.worth(points)
	if !v.better(*value) {
		return false
	}
	*value = v
	return true
}

func (s *search) worth(points []int) (w worth) {
	clear(s.costs)
	w.refused = s.part.add(s.model, points, s.costs)
	for set, c := range s.costs {
		w.over += max(0, c.LostShare()-s.limits[set])
		w.caught += c.CaughtShare()
		w.lost += c.LostShare()
	}
	for _, i := range s.free {
		w.moved += max(points[i]-s.points[i], s.points[i]-points[i])
	}
	return w
}
