package report

import (
	"slices"
	"time"
)

// maxSpans bounds the points of a timeline.
const maxSpans = 240

const (
	hour = 3600
	day  = 24 * hour
)

// spans are the widths that a point can have, in seconds, each a multiple of the one before.
var (
	spans     = [...]int64{hour, 6 * hour, day, 7 * day, 28 * day, 364 * day, 36_400 * day}
	spanWords = [...]string{"hour", "6 hours", "day", "week", "4 weeks", "year", "century"}
)

// timeline counts messages by time and action. Its points get wider as the time that it covers
// grows.
type timeline struct {
	span   int // index into spans
	points map[int64]*[numActions]int64
	lo, hi int64 // first and last point
}

func (t *timeline) add(at time.Time, action uint8, n int64) {
	if at.IsZero() {
		return
	}
	i := floorDiv(at.Unix(), spans[t.span])
	if len(t.points) == 0 {
		t.points, t.lo, t.hi = make(map[int64]*[numActions]int64), i, i
	}
	t.lo, t.hi = min(t.lo, i), max(t.hi, i)
	t.point(i)[action] += n
	for t.hi-t.lo >= maxSpans && t.span+1 < len(spans) {
		t.widen()
	}
}

func (t *timeline) point(i int64) *[numActions]int64 {
	p := t.points[i]
	if p == nil {
		p = new([numActions]int64)
		t.points[i] = p
	}
	return p
}

func (t *timeline) widen() {
	narrow, ratio := t.points, spans[t.span+1]/spans[t.span]
	t.span++
	t.points = make(map[int64]*[numActions]int64)
	t.lo, t.hi = floorDiv(t.lo, ratio), floorDiv(t.hi, ratio)
	for i, from := range narrow {
		to := t.point(floorDiv(i, ratio))
		for a, n := range from {
			to[a] += n
		}
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// Timeline counts messages by time.
type Timeline struct {
	Span   string  `json:"span"`
	Points []Point `json:"points"`
	lo, hi int64
	width  int64 // seconds
}

// Point is one span of a timeline; those without messages are left out.
type Point struct {
	From    string           `json:"from"` // UTC
	Actions map[string]int64 `json:"actions"`
	at      int64
}

func (t *timeline) report() *Timeline {
	if len(t.points) == 0 {
		return nil
	}
	l := &Timeline{Span: spanWords[t.span], lo: t.lo, hi: t.hi, width: spans[t.span]}
	for i := t.lo; i <= t.hi; i++ {
		if p := t.points[i]; p != nil {
			point := Point{From: l.stamp(i), Actions: make(map[string]int64), at: i}
			for a, n := range p {
				point.Actions[actionWords[a]] = n
			}
			l.Points = append(l.Points, point)
		}
	}
	return l
}

func (l *Timeline) stamp(point int64) string {
	at := time.Unix(point*l.width, 0).UTC()
	if l.width < day {
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
