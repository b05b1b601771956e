package picture

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

const window = 10.0 // seconds that a rate is the average of

// series are the counters at each scrape.
type series struct {
	times  []float64            // seconds since the beginning
	values map[string][]float64 // by name with labels; as long as times
}

var errEmpty = errors.New("fewer than two scrapes")

// read reads a recording: a line "# scrape SECONDS", then the series that changed.
func read(from io.Reader) (*series, error) {
	s := &series{values: make(map[string][]float64)}
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if at, isScrape := strings.CutPrefix(line, "# scrape "); isScrape {
			if err := s.next(at); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
			continue
		}
		space := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil || space < 0 || len(s.times) == 0 {
			return nil, fmt.Errorf("line %d: %q is no series", n, line)
		}
		name := line[:space]
		if s.values[name] == nil {
			s.values[name] = make([]float64, len(s.times))
		}
		s.values[name][len(s.times)-1] = value
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(s.times) < 2 {
		return nil, errEmpty
	}
	return s, nil
}

// next begins a scrape: what does not change stays.
func (s *series) next(at string) error {
	seconds, err := strconv.ParseFloat(at, 64)
	if err != nil {
		return err
	}
	s.times = append(s.times, seconds)
	for name, values := range s.values {
		s.values[name] = append(values, values[len(values)-1])
	}
	return nil
}

// line is one curve.
type line struct {
	name  string
	rates []point
}

type point struct{ at, value float64 }

// split sums the series of a panel by the values of its label, and makes rates of them.
func (s *series) split(p panel) (lines []line) {
	label := regexp.MustCompile(`\b` + p.label + `="([^"]*)"`)
	sums := make(map[string][]float64)
	for name, values := range s.values {
		m := label.FindStringSubmatch(name)
		if !strings.HasPrefix(name, "maddy_helo_fqdn_"+p.metric+"{") || m == nil ||
			!strings.Contains(name, p.with) {
			continue
		}
		if sums[m[1]] == nil {
			sums[m[1]] = make([]float64, len(s.times))
		}
		for i, v := range values {
			sums[m[1]][i] += v
		}
	}
	for name, values := range sums {
		lines = append(lines, line{name, s.rates(values)})
	}
	slices.SortFunc(lines, func(a, b line) int { return strings.Compare(a.name, b.name) })
	return lines
}

// rates are the increases a second over the last window.
func (s *series) rates(values []float64) (rates []point) {
	first := 0
	for i := 1; i < len(values); i++ {
		for s.times[i]-s.times[first] > window {
			first++
		}
		from := min(first, i-1)
		rates = append(rates, point{s.times[i],
			(values[i] - values[from]) / (s.times[i] - s.times[from])})
	}
	return rates
}
