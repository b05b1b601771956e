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

	width  int // index into spans
	counts map[time.Time]map[string]int64
}

// Point is one span of a timeline.
type Point struct {
	From    string           `json:"from"` // UTC
	Actions map[string]int64 `json:"actions"`
	Column  int              `json:"-"` // of the chart; the first is 1
}

func (l *Timeline) add(at time.Time, action string, n int64) {
	at = at.UTC().Truncate(spans[l.width].width)
	if counts := l.counts[at]; counts != nil {
		counts[action] += n
		return
	}
	if l.counts == nil {
		l.counts = make(map[time.Time]map[string]int64)
	}
	l.counts[at] = make(map[string]int64)
	for _, each := range strongest {
		l.counts[at][each] = 0
	}
	l.counts[at][action] = n
	for l.Columns() > maxSpans && l.width+1 < len(spans) {
		narrow := l.counts
		*l = Timeline{width: l.width + 1}
		for at, counts := range narrow {
			for action, n := range counts {
				l.add(at, action, n)
			}
		}
	}
}

// times returns the points in their order.
func (l *Timeline) times() []time.Time {
	return slices.SortedFunc(maps.Keys(l.counts), time.Time.Compare)
}

// column returns the place in a chart that begins at first.
func (l *Timeline) column(first, at time.Time) int {
	return int(at.Sub(first)/spans[l.width].width) + 1
}

// Columns returns how many points the chart has room for.
func (l *Timeline) Columns() int {
	times := l.times()
	return l.column(times[0], times[len(times)-1])
}

// sum fills in what is shown.
func (l *Timeline) sum() {
	l.Span, l.Points = spans[l.width].text, nil
	times := l.times()
	for _, at := range times {
		l.Points = append(l.Points, Point{l.stamp(at), l.counts[at], l.column(times[0], at)})
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
	times := l.times()
	first, last := times[0], times[len(times)-1]
	middle := first.Add(last.Sub(first) / 2).Truncate(spans[l.width].width)
	return slices.Compact([]string{l.stamp(first), l.stamp(middle), l.stamp(last)})
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
