package report

import (
	"maps"
	"slices"
	"time"
)

// maxSpans bounds the points of a timeline.
const maxSpans = 240

const (
	hour = 3600
	day  = 24 * hour
)

// spans are the widths that a point can have, each a multiple of the one before.
var spans = []struct {
	seconds int64
	text    string
}{
	{hour, "hour"}, {6 * hour, "6 hours"}, {day, "day"}, {7 * day, "week"}, {28 * day, "4 weeks"},
	{364 * day, "year"}, {36_400 * day, "century"},
}

// Timeline counts messages by time and action. Its points get wider as the time that it covers
// grows.
type Timeline struct {
	Span   string  `json:"span"`
	Points []Point `json:"points"` // those without messages are left out

	width  int // index into spans
	counts map[int64][numActions]int64
	lo, hi int64 // first and last point
}

// Point is one span of a timeline.
type Point struct {
	From    string           `json:"from"` // UTC
	Actions map[string]int64 `json:"actions"`
	at      int64
}

func (l *Timeline) add(at time.Time, action uint8, n int64) {
	if at.IsZero() {
		return
	}
	i := floorDiv(at.Unix(), spans[l.width].seconds)
	if len(l.counts) == 0 {
		l.counts, l.lo, l.hi = make(map[int64][numActions]int64), i, i
	}
	c := l.counts[i]
	c[action] += n
	l.counts[i], l.lo, l.hi = c, min(l.lo, i), max(l.hi, i)
	for l.hi-l.lo >= maxSpans && l.width+1 < len(spans) {
		l.widen()
	}
}

func (l *Timeline) widen() {
	narrow, ratio := l.counts, spans[l.width+1].seconds/spans[l.width].seconds
	l.width, l.lo, l.hi = l.width+1, floorDiv(l.lo, ratio), floorDiv(l.hi, ratio)
	l.counts = make(map[int64][numActions]int64)
	for i, from := range narrow {
		to := l.counts[floorDiv(i, ratio)]
		for a, n := range from {
			to[a] += n
		}
		l.counts[floorDiv(i, ratio)] = to
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// report fills in what is shown; nil without messages.
func (l *Timeline) report() *Timeline {
	if len(l.counts) == 0 {
		return nil
	}
	shown := *l
	shown.Span = spans[l.width].text
	for _, i := range slices.Sorted(maps.Keys(l.counts)) {
		point := Point{From: l.stamp(i), Actions: make(map[string]int64), at: i}
		for a, n := range l.counts[i] {
			point.Actions[actionWords[a]] = n
		}
		shown.Points = append(shown.Points, point)
	}
	return &shown
}

func (l *Timeline) stamp(point int64) string {
	width := spans[l.width].seconds
	at := time.Unix(point*width, 0).UTC()
	if width < day {
		return at.Format("2006-01-02 15:04")
	}
	return at.Format(time.DateOnly)
}

// Labels returns the first, middle and last span, each once.
func (l *Timeline) Labels() []string {
	return slices.Compact([]string{l.stamp(l.lo), l.stamp((l.lo + l.hi) / 2), l.stamp(l.hi)})
}

// Most returns the messages of the highest column. Messages without a hit would hide the others.
func (l *Timeline) Most() (most int64) {
	for _, p := range l.Points {
		n := int64(0)
		for action, messages := range p.Actions {
			if action != actionWords[none] {
				n += messages
			}
		}
		most = max(most, n)
	}
	return most
}

// Columns draws what was not let through untouched.
func (l *Timeline) Columns() (parts []Part) {
	const widest = 12 // percent
	most, step := l.Most(), 100/float64(l.hi-l.lo+1)
	column := min(step*0.86, widest)
	for _, p := range l.Points {
		y := 100.0
		for _, action := range actionWords[scored:] {
			if n := p.Actions[action]; n > 0 {
				height := 100 * float64(n) / float64(most)
				y -= height
				parts = append(parts, Part{
					Action: action, X: float64(p.at-l.lo)*step + (step-column)/2, Y: y, W: column, H: height,
					Messages: n, Text: p.From,
				})
			}
		}
	}
	return parts
}
