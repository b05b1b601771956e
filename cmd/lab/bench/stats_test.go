package bench

import (
	"math"
	"slices"
	"testing"
)

func TestQuartiles(t *testing.T) {
	for _, tc := range []struct {
		values []float64
		want   quartiles
	}{
		{[]float64{7}, quartiles{7, 7, 7}},
		{[]float64{3, 1}, quartiles{1.5, 2, 2.5}},
		{[]float64{5, 1, 4, 2, 3}, quartiles{2, 3, 4}},
		{[]float64{4, 3, 2, 1}, quartiles{1.75, 2.5, 3.25}},
	} {
		before := slices.Clone(tc.values)
		if got := quartilesOf(tc.values); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.values, got, tc.want)
		}
		if !slices.Equal(before, tc.values) {
			t.Errorf("%v was sorted in place", before)
		}
	}
	for _, v := range quartilesOf(nil) {
		if !math.IsNaN(v) {
			t.Errorf("of nothing: %v", v)
		}
	}
}

// someResults are three pairs of one contest and one of another; a pair without its other half
// does not count.
func someResults() []result {
	run := func(setting, side string, pair int, seconds, cpu float64) result {
		return result{Server: "Maddy", Setting: setting, Cache: "warm", Side: side, Pair: pair, Order: 1,
			Messages: 100, Seconds: seconds, CPU: cpu, Load: float64(pair)}
	}
	return []result{
		run("policy rfc", "off", 1, 1, 2), run("policy rfc", "rfc", 1, 2, 4),
		run("policy strict", "strict", 1, 4, 3), run("policy strict", "off", 1, 1, 1),
		run("policy rfc", "rfc", 2, 1, 3), run("policy rfc", "off", 2, 1, 2),
		run("policy rfc", "off", 3, 4, 1), run("policy rfc", "rfc", 3, 1, 1),
		run("policy rfc", "off", 4, 1, 1),
	}
}

func TestSumUp(t *testing.T) {
	want := []row{
		{Server: "Maddy", Setting: "policy rfc", Cache: "warm", Pairs: 3, RateOff: 100, RateOn: 100,
			CPUOff: 2, CPUOn: 3, RateRatio: quartiles{0.75, 1, 2.5}, CPURatio: quartiles{1.25, 1.5, 1.75}},
		{Server: "Maddy", Setting: "policy strict", Cache: "warm", Pairs: 1, RateOff: 100, RateOn: 25,
			CPUOff: 1, CPUOn: 3, RateRatio: quartiles{0.25, 0.25, 0.25}, CPURatio: quartiles{3, 3, 3}},
	}
	if got := sumUp(someResults()); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
