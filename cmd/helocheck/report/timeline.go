package report

import (
	"maps"
	"slices"
	"time"

	"maddy.example/checkhelo"
)

// maxSpans bounds the points of a timeline.
const maxSpans = 240

const day = 24 * time.Hour

// spans are the widths that a point can have, each a multiple of the one before.
var spans = []struct {
	width time.Duration
	text  string
}{
	{time.Hour, "hour"}, {6 * time.Hour, "6 hours"}, {day, "day"}, {7 * day, "week"},
	{28 * day, "4 weeks"}, {364 * day, "year"}, {36_400 * day, "century"},
}

// Timeline counts messages by time and action. Its points get wider as the time that it covers
// grows.
type Timeline struct {
	Span   string  `json:"span"`
	Points []Point `json:"points"` // those without messages are left out

	width  int // index into spans
	counts map[time.Time]fates
	lo, hi time.Time // first and last point
}

// fates are messages by action.
type fates [checkhelo.Reject + 1]int64

// Point is one span of a timeline.
type Point struct {
	From    string           `json:"from"` // UTC
	Actions map[string]int64 `json:"actions"`
	Column  int              `json:"-"` // of the chart; the first is 1
}

func (l *Timeline) add(at time.Time, action checkhelo.Action, n int64) {
	if at.IsZero() {
		return
	}
	at = at.UTC().Truncate(spans[l.width].width)
	if len(l.counts) == 0 {
		l.counts, l.lo, l.hi = make(map[time.Time]fates), at, at
	}
	c := l.counts[at]
	c[action] += n
	l.counts[at] = c
	if at.Before(l.lo) {
		l.lo = at
	}
	if at.After(l.hi) {
		l.hi = at
	}
	for l.Columns() > maxSpans && l.width+1 < len(spans) {
		l.widen()
	}
}

func (l *Timeline) widen() {
	l.width++
	width, narrow := spans[l.width].width, l.counts
	l.lo, l.hi = l.lo.Truncate(width), l.hi.Truncate(width)
	l.counts = make(map[time.Time]fates)
	for at, from := range narrow {
		to := l.counts[at.Truncate(width)]
		for a, n := range from {
			to[a] += n
		}
		l.counts[at.Truncate(width)] = to
	}
}

// column returns the place of a point in the chart.
func (l *Timeline) column(at time.Time) int { return int(at.Sub(l.lo)/spans[l.width].width) + 1 }

// Columns returns how many points the chart has room for.
func (l *Timeline) Columns() int { return l.column(l.hi) }

// report fills in what is shown; nil without messages.
func (l *Timeline) report() *Timeline {
	if len(l.counts) == 0 {
		return nil
	}
	shown := *l
	shown.Span = spans[l.width].text
	for _, at := range slices.SortedFunc(maps.Keys(l.counts), time.Time.Compare) {
		point := Point{From: l.stamp(at), Actions: make(map[string]int64), Column: l.column(at)}
		for a, n := range l.counts[at] {
			point.Actions[word(checkhelo.Action(a))] += n
		}
		shown.Points = append(shown.Points, point)
	}
	return &shown
}

func (l *Timeline) stamp(at time.Time) string {
	if spans[l.width].width < day {
		return at.Format("2006-01-02 15:04")
	}
	return at.Format(time.DateOnly)
}

// Labels returns the first, middle and last span, each once.
func (l *Timeline) Labels() []string {
	middle := l.lo.Add(l.hi.Sub(l.lo) / 2).Truncate(spans[l.width].width)
	return slices.Compact([]string{l.stamp(l.lo), l.stamp(middle), l.stamp(l.hi)})
}

// Most returns the messages of the highest column. Messages without a hit would hide the others.
func (l *Timeline) Most() (most int64) {
	for _, p := range l.Points {
		n := -p.Actions[untouched]
		for _, messages := range p.Actions {
			n += messages
		}
		most = max(most, n)
	}
	return most
}
