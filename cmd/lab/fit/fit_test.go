package fit

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"maddy.example/checkhelo"
)

// rfc is the default policy.
func rfc() *checkhelo.Policy { return checkhelo.NewPolicy(checkhelo.RFC) }

// only is a policy in which no rules score but those named, with these points.
func only(points map[string]int) *checkhelo.Policy {
	p := rfc()
	p.Override = make(map[string]checkhelo.Rule)
	for _, r := range p.Rules() {
		if n, ok := points[r.Name]; ok {
			p.Override[r.Name] = checkhelo.Rule{Action: checkhelo.Score, Score: n}
		} else if r.Action == checkhelo.Score {
			p.Override[r.Name] = checkhelo.Rule{Action: checkhelo.Ignore}
		}
	}
	fresh := rfc() // the other one has made its table
	fresh.Override = p.Override
	return fresh
}

// hits is the set of the rules named, separated by spaces.
func hits(t *testing.T, names string) (set uint64) {
	t.Helper()
	for _, name := range strings.Fields(names) {
		found := false
		for i, r := range checkhelo.Rules() {
			if r.Name == name {
				set |= 1 << i
				found = true
			}
		}
		if !found {
			t.Fatalf("no rule %q", name)
		}
	}
	return set
}

// mail adds n messages, each of another organisation, that hit the rules named.
func (d *Data) mail(t *testing.T, set string, spam bool, n int, rules string) {
	t.Helper()
	for i := range n {
		org := fmt.Sprintf("%s%d.%t.example", strings.ReplaceAll(rules, " ", "-"), i, spam)
		d.Add(Sample{set, org, spam, hits(t, rules), 1})
	}
}

func options() Options { return Options{Folds: 5, Seed: 1} }

func (r *Result) points(rule string) (now, fitted int) {
	for _, p := range r.Points {
		if p.Rule == rule {
			return p.Now, p.Fitted
		}
	}
	return -1, -1
}

// lot is n messages, each of another organisation, that hit the rules named.
type lot struct {
	set   string
	spam  bool
	n     int
	rules string
}

func TestFit(t *testing.T) {
	for _, tc := range []struct {
		name   string
		lots   []lot
		policy func(*checkhelo.Policy)
		limit  map[string]float64
		better bool
		why    string // part of it
		rules  map[string]int
	}{
		{name: "a rule that only spam hits", better: true, why: "held out too",
			lots:  []lot{{"a", true, 50, "default_host"}},
			rules: map[string]int{"default_host": 5, "no_ptr": 3, "new_tld": 1}},
		{name: "two rules add up", better: true, why: "held out too",
			lots: []lot{
				{"a", true, 50, "default_host new_tld"},
				{"a", false, 9, "default_host no_address"},
				{"a", false, 9, "new_tld no_address"},
			},
			rules: map[string]int{"no_address": 1}},
		{name: "nothing to gain", why: "nothing better",
			lots:  []lot{{"a", true, 50, "no_ptr default_host"}, {"a", true, 50, "bare_ip"}},
			rules: map[string]int{"no_ptr": 3, "default_host": 2}},
		{name: "good mail hits it as well", why: "nothing better",
			lots:  []lot{{"a", true, 50, "default_host"}, {"a", false, 50, "default_host"}},
			rules: map[string]int{"default_host": 2}},
		{name: "so much may be lost", better: true, why: "held out too",
			limit: map[string]float64{"a": 0.5},
			lots:  []lot{{"a", true, 50, "default_host"}, {"a", false, 50, "default_host"}},
			rules: map[string]int{"default_host": 5}},
		{name: "less is lost", why: "catch no more", limit: map[string]float64{"a": 0},
			lots: []lot{{"a", false, 50, "default_host no_ptr"}}},
		{name: "one sender of spam", why: "catch no more",
			lots:  []lot{{"a", true, 1, "underscore"}},
			rules: map[string]int{"underscore": 5}},
		{name: "one sender of good mail", why: "lose more good mail",
			lots: []lot{
				{"a", true, 50, "default_host"},
				{"a", true, 50, "underscore"},
				{"a", false, 1, "default_host"},
			},
			rules: map[string]int{"default_host": 2, "underscore": 5}},
		{name: "each set by itself", why: "nothing better",
			lots: []lot{
				{"a", true, 500, "default_host"},
				{"a", false, 500, ""},
				{"b", false, 5, "default_host"},
			},
			rules: map[string]int{"default_host": 2}},
		{name: "no score rejects more", better: true, why: "held out too",
			policy: func(p *checkhelo.Policy) { p.RejectScore = 6 },
			lots: []lot{
				{"a", true, 50, "default_host"},
				{"a", true, 50, "default_host underscore"},
			},
			rules: map[string]int{"default_host": 5, "underscore": 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := rfc()
			if tc.policy != nil {
				tc.policy(p)
			}
			o := options()
			o.MaxLost = tc.limit
			d := NewData(o)
			d.mail(t, "a", false, 50, "") // mail without fault
			d.mail(t, "a", true, 50, "bare_ip")
			for _, l := range tc.lots {
				d.mail(t, l.set, l.spam, l.n, l.rules)
			}
			r, err := d.Fit(p)
			if err != nil {
				t.Fatal(err)
			}
			if r.Better != tc.better || !strings.Contains(r.Why, tc.why) {
				t.Errorf("better %v: %s", r.Better, r.Why)
			}
			for rule, want := range tc.rules {
				if _, got := r.points(rule); got != want {
					t.Errorf("%s: %d points, want %d", rule, got, want)
				}
			}
			adds(t, r)
		})
	}
}

// adds checks that the parts of r add up to the whole.
func adds(t *testing.T, r *Result) {
	t.Helper()
	for i, whole := range r.InSample {
		var now, fitted Cost
		for _, fold := range r.Folds {
			now, fitted = now.plus(fold[i].Now), fitted.plus(fold[i].Fitted)
		}
		if now != whole.Now || now != r.HeldOut[i].Now || fitted != r.HeldOut[i].Fitted {
			t.Errorf("folds have %+v and %+v, held out %+v, in sample %+v", now, fitted, r.HeldOut[i], whole)
		}
		if fitted.Ham != now.Ham || fitted.Spam != now.Spam {
			t.Errorf("%+v and %+v are not the same mail", now, fitted)
		}
	}
}

func TestNothingToFit(t *testing.T) {
	both := func(d *Data) {
		d.mail(t, "a", true, 9, "no_ptr")
		d.mail(t, "a", false, 9, "")
	}
	for name, tc := range map[string]struct {
		policy *checkhelo.Policy
		data   func(*Data)
	}{
		"no mail":      {rfc(), func(*Data) {}},
		"no ham":       {rfc(), func(d *Data) { d.mail(t, "a", true, 9, "no_ptr") }},
		"no spam":      {rfc(), func(d *Data) { d.mail(t, "a", false, 9, "no_ptr") }},
		"no scores":    {only(nil), both},
		"no threshold": {&checkhelo.Policy{}, both},
	} {
		d := NewData(options())
		tc.data(d)
		if r, err := d.Fit(tc.policy); !errors.Is(err, ErrNothing) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// random fills d with mail that hits some of the rules named.
func (d *Data) random(t *testing.T, random *rand.Rand, rules []string) {
	t.Helper()
	for range 60 {
		spam := random.IntN(2) == 0
		var names []string
		for _, rule := range rules {
			if random.IntN(3) == 0 || spam && random.IntN(3) == 0 {
				names = append(names, rule)
			}
		}
		org := fmt.Sprintf("%d.example", random.IntN(20))
		set := []string{"a", "b"}[random.IntN(2)]
		d.Add(Sample{set, org, spam, hits(t, strings.Join(names, " ")), int64(1 + random.IntN(5))})
	}
}

// The climb finds what trying everything finds.
func TestFitAgainstEverything(t *testing.T) {
	rules := []string{"no_ptr", "new_tld", "default_host"}
	p := only(map[string]int{"no_ptr": 3, "new_tld": 2, "default_host": 2})
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 9))
		o := options()
		if seed%2 == 0 {
			o.MaxLost = map[string]float64{"a": 0.3, "b": 0.1}
		}
		d := NewData(o)
		d.random(t, random, append(rules, "bare_ip"))
		r, err := d.Fit(p)
		if err != nil {
			t.Fatal(err)
		}
		adds(t, r)
		m := newModel(p)
		all := d.part(m, func(int) bool { return true })
		s := &search{model: m, part: all, free: m.free, costs: make([]Cost, all.sets),
			limits: d.limits(all.costs(m, m.points))}
		points := append([]int(nil), m.points...)
		best := s.worth(points)
		for n := range 6 * 6 * 6 {
			points[m.free[0]], points[m.free[1]], points[m.free[2]] = n%6, n/6%6, n/36
			if v := s.worth(points); v.better(best) {
				best = v
			}
		}
		for i, at := range m.free {
			points[at] = r.Points[i].Fitted
		}
		if got := s.worth(points); got != best {
			t.Errorf("seed %d: %+v, best %+v", seed, got, best)
		}
	}
}

// The order of the mail is nothing to the result.
func TestFitRepeats(t *testing.T) {
	samples := make([]Sample, 300)
	random := rand.New(rand.NewPCG(3, 3))
	rules := []string{
		"", "no_ptr", "new_tld no_ptr", "default_host", "underscore", "not_fqdn", "generic_ptr",
	}
	for i := range samples {
		samples[i] = Sample{"a", fmt.Sprintf("%d.example", random.IntN(50)), random.IntN(2) == 0,
			hits(t, rules[random.IntN(len(rules))]), 1}
	}
	var first *Result
	for range 3 {
		d := NewData(options())
		for _, i := range random.Perm(len(samples)) {
			d.Add(samples[i])
		}
		r, err := d.Fit(rfc())
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = r
		}
		if !reflect.DeepEqual(r, first) {
			t.Errorf("%+v\n%+v", r, first)
		}
	}
}

// An organisation is never in two folds, and the folds are not far from alike.
func TestFolds(t *testing.T) {
	for seed := range uint64(3) {
		d := NewData(Options{Folds: 5, Seed: seed})
		var sizes [5]int
		for i := range 2000 {
			org := fmt.Sprintf("%d.example", i)
			k := d.fold(org)
			if again := d.fold(org); again != k {
				t.Fatalf("%s in %d and %d", org, k, again)
			}
			sizes[k]++
		}
		for k, n := range sizes {
			if n < 300 || n > 500 {
				t.Errorf("seed %d: fold %d has %d of 2000", seed, k, n)
			}
		}
	}
}

// However high a threshold is, only so many points are tried.
func TestValues(t *testing.T) {
	for _, threshold := range []int{1, 5, 19, 20, 100, 1000, 100_000} {
		p := rfc()
		p.QuarantineScore = threshold
		v := newModel(p).values
		if len(v) > 2*maxValues+1 || v[0] != 0 || v[len(v)-1] != threshold {
			t.Errorf("threshold %d: %v", threshold, v)
		}
	}
}

func TestShares(t *testing.T) {
	if c := (Cost{}); c.LostShare() != 0 || c.CaughtShare() != 0 {
		t.Errorf("of nothing: %v, %v", c.LostShare(), c.CaughtShare())
	}
	c := Cost{Ham: 8, Lost: 2, Spam: 4, Caught: 3}
	if c.LostShare() != 0.25 || c.CaughtShare() != 0.75 {
		t.Errorf("%v, %v", c.LostShare(), c.CaughtShare())
	}
}

// Where raising one rule helps only once another one is lowered, the climb moves both.
func TestClimbMovesTwo(t *testing.T) {
	p := only(map[string]int{"no_ptr": 0, "new_tld": 4, "default_host": 1})
	d := NewData(options())
	d.mail(t, "a", true, 1, "new_tld default_host")
	d.mail(t, "a", true, 9, "no_ptr default_host")
	d.mail(t, "a", false, 9, "no_ptr new_tld")
	m := newModel(p)
	all := d.part(m, func(int) bool { return true })
	s := &search{model: m, part: all, limits: []float64{0}, costs: make([]Cost, 1)}
	for _, i := range m.free {
		if m.names[i] != "default_host" { // as if it could not be moved
			s.free = append(s.free, i)
		}
	}
	points := append([]int(nil), m.points...)
	s.climb(points)
	if got := all.costs(m, points)[0]; got.Caught != 9 || got.Lost != 0 {
		t.Errorf("%+v with %v", got, points)
	}
}
