package report

import "time"

// maxSpans bounds the points of a timeline.
const maxSpans = 240

// spans are the widths that a point can have, in seconds, each a multiple of
// the one before.
var spans = [...]int64{hour, 6 * hour, day, 7 * day, 28 * day, 364 * day, 36_400 * day}

const (
	hour = 3600
	day  = 24 * hour
)

// timeline counts messages by time and action. Its points get wider as the
// time that it covers grows.
type timeline struct {
	span   int // index into spans
	points map[int64]*[numActions]int64
	lo, hi int64 // first and last point
}

func (t *timeline) add(at time.Time, action int, n int64) {
	if at.IsZero() {
		return
	}
	i := floorDiv(at.Unix(), spans[t.span])
	if len(t.points) == 0 {
		t.lo, t.hi = i, i
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
		if t.points == nil {
			t.points = make(map[int64]*[numActions]int64)
		}
		p = new([numActions]int64)
		t.points[i] = p
	}
	return p
}

func (t *timeline) widen() {
	narrow, ratio := t.points, spans[t.span+1]/spans[t.span]
	t.span++
	t.points = nil
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
