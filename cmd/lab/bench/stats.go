package bench

import (
	"math"
	"slices"
)

// quartiles are the first quartile, the median and the third.
type quartiles [3]float64

// quartilesOf interpolates between the two nearest values. All are NaN when there is no value.
func quartilesOf(values []float64) (q quartiles) {
	sorted := slices.Sorted(slices.Values(values))
	for i := range q {
		q[i] = math.NaN()
		if len(sorted) == 0 {
			continue
		}
		at := float64(len(sorted)-1) * float64(i+1) / 4
		low := int(at)
		high := min(low+1, len(sorted)-1)
		q[i] = sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
	}
	return q
}

func (q quartiles) median() float64 { return q[1] }

// row is one contest, summed up.
type row struct {
	Server, Setting, Cache string

	Pairs               int
	RateOff, RateOn     float64   // medians, messages per second
	CPUOff, CPUOn       float64   // medians, milliseconds per message
	RateRatio, CPURatio quartiles // on / off within a pair
}

// sumUp makes one row of each contest, in the order in which they first come.
func sumUp(results []result) (rows []row) {
	type key struct{ server, setting, cache string }
	var keys []key
	pairs := make(map[key]map[int][2]*result) // off and on
	for i := range results {
		r := &results[i]
		k := key{r.Server, r.Setting, r.Cache}
		if pairs[k] == nil {
			pairs[k] = make(map[int][2]*result)
			keys = append(keys, k)
		}
		pair := pairs[k][r.Pair]
		if r.Side == "off" {
			pair[0] = r
		} else {
			pair[1] = r
		}
		pairs[k][r.Pair] = pair
	}
	for _, k := range keys {
		rows = append(rows, rowOf(row{Server: k.server, Setting: k.setting, Cache: k.cache}, pairs[k]))
	}
	return rows
}

func rowOf(r row, pairs map[int][2]*result) row {
	var rates, cpus [3][]float64 // off, on, on/off
	for _, pair := range pairs {
		off, on := pair[0], pair[1]
		if off == nil || on == nil {
			continue
		}
		r.Pairs++
		for i, values := range [3]float64{off.Rate(), on.Rate(), on.Rate() / off.Rate()} {
			rates[i] = append(rates[i], values)
		}
		for i, values := range [3]float64{off.CPU, on.CPU, on.CPU / off.CPU} {
			cpus[i] = append(cpus[i], values)
		}
	}
	r.RateOff, r.RateOn = quartilesOf(rates[0]).median(), quartilesOf(rates[1]).median()
	r.CPUOff, r.CPUOn = quartilesOf(cpus[0]).median(), quartilesOf(cpus[1]).median()
	r.RateRatio, r.CPURatio = quartilesOf(rates[2]), quartilesOf(cpus[2])
	return r
}
