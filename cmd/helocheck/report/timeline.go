package report

import (
	"maps"
	"slices"
	"time"
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
	// Most is the messages of the highest column. Those without a hit would hide the others.
	Most int64 `json:"-"`

	width       int // index into spans
	first, last time.Time
	counts      map[moment]int64
}

// moment is what one action did in one span.
type moment struct {
	at     time.Time
	action string
}

// Point is one span of a timeline.
type Point struct {
	From    string           `json:"from"` // UTC
	Actions map[string]int64 `json:"actions"`
	Column  int              `json:"-"` // of the chart; the first is 1
}

func (l *Timeline) add(at time.Time, action string, n int64) {
	at = at.UTC().Truncate(spans[l.width].width)
	if l.counts == nil {
		l.counts, l.first, l.last = make(map[moment]int64), at, at
	}
	if at.Before(l.first) {
		l.first = at
	} else if at.After(l.last) {
		l.last = at
	}
	l.counts[moment{at, action}] += n
	for l.Columns() > maxSpans && l.width+1 < len(spans) {
		narrow := l.counts
		*l = Timeline{width: l.width + 1}
		for m, n := range narrow {
			l.add(m.at, m.action, n)
		}
	}
}

// column returns the place in the chart.
func (l *Timeline) column(at time.Time) int { return int(at.Sub(l.first)/spans[l.width].width) + 1 }

// Columns returns how many points the chart has room for.
func (l *Timeline) Columns() int { return l.column(l.last) }

// sum fills in what is shown.
func (l *Timeline) sum() {
	l.Span, l.Points = spans[l.width].text, nil
	points := make(map[time.Time]map[string]int64)
	for m := range l.counts {
		points[m.at] = make(map[string]int64)
	}
	for _, at := range slices.SortedFunc(maps.Keys(points), time.Time.Compare) {
		column := int64(0)
		for _, action := range strongest {
			n := l.counts[moment{at, action}]
			if points[at][action] = n; action != untouched {
				column += n
			}
		}
		l.Most = max(l.Most, column)
		l.Points = append(l.Points, Point{l.stamp(at), points[at], l.column(at)})
	}
}

func (l *Timeline) stamp(at time.Time) string {
	if spans[l.width].width < day {
		return at.Format("2006-01-02 15:04")
	}
	return at.Format(time.DateOnly)
}

// Labels returns the first, middle and last span, each once.
func (l *Timeline) Labels() []string {
	middle := l.first.Add(l.last.Sub(l.first) / 2).Truncate(spans[l.width].width)
	return slices.Compact([]string{l.stamp(l.first), l.stamp(middle), l.stamp(l.last)})
}
