// Package report counts what a policy does to a stream of greetings, in memory that does not grow
// with the stream, and writes the counts as text, JSON, CSV or a page of HTML.
package report

import (
	"cmp"
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	html "html/template"
	"io"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/dustin/go-humanize"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/maddyconf"
)

// Bounds of what is kept. Of further kinds, clients and changes only messages are counted.
const (
	maxKinds   = 100_000 // different combinations of class, HELO name, action and rules
	maxClasses = 8       // further classes count as OtherClass
	maxClients = 10_000  // refused clients
	maxChanges = 10_000  // names that a second policy treats differently
	maxLost    = 2000    // lost messages
	groupLost  = 50      // of one sender
	maxName    = 255     // octets of a name shown
	maxWord    = 320     // octets of another text of a lost message
	maxRcpts   = 20
	maxSpans   = 240 // points of a timeline
)

// How much of a list is shown.
const (
	examples     = 10  // names of a rule
	mostRefused  = 20  // clients
	shownChanges = 200 // names
)

// Classes that no input names.
const (
	DefaultClass = "all"   // messages without one
	OtherClass   = "other" // all classes after the first few
)

// Report counts messages. Sum fills in what the formats show. It is not safe for use by many
// goroutines.
type Report struct {
	Policy   string   `json:"policy"`
	Messages int64    `json:"messages"`
	Notes    []string `json:"notes"` // what the counts lack
	// Exact: all names and organisations were counted, not only the first.
	Exact        bool              `json:"exact"`
	Lost         Lost              `json:"lost"`
	Classes      map[string]*Class `json:"classes"`
	Timeline     *Timeline         `json:"timeline,omitempty"` // nil: the input has no times
	Refused      []*Refused        `json:"refused"`
	Exempt       map[string]int64  `json:"exempt"` // messages by reason
	TryLater     int64             `json:"try_later"`
	Against      *Against          `json:"against,omitempty"`
	NotEvaluated []maddyconf.Table `json:"not_evaluated"` // tables that the counts do without

	rules   []checkhelo.Rule
	kinds   map[kind]int64 // messages
	clients map[netip.Addr]*Refused
}

// kind is all that greetings counted together have in common.
type kind struct {
	class  *Class
	name   string           // "" for all kinds that are not kept
	action checkhelo.Action // Ignore also for Off
	rules  uint64
}

// Count counts messages, their HELO names, and the organisational domains of these: the name itself
// where it has none.
type Count struct {
	Messages int64 `json:"messages"`
	Names    int   `json:"names"`
	Orgs     int   `json:"orgs"`
}

// Class is what became of one class of messages. An action counts each message once, a rule counts
// whatever it hit. Rules that are off are left out.
type Class struct {
	Count
	Actions map[string]*Count `json:"actions"`
	Rules   map[string]*Rule  `json:"rules"`
	Table   []*Rule           `json:"-"` // Rules in the order of the policy
}

// Rule is what one rule hit.
type Rule struct {
	Count
	Name     string           `json:"-"`
	Action   string           `json:"action"`
	Score    int              `json:"score,omitempty"`
	Effect   string           `json:"-"`        // the action with its points
	Verdicts map[string]int64 `json:"verdicts"` // messages by action
	Examples []string         `json:"examples"` // the most common names
	Common   map[string]int64 `json:"-"`        // messages by name
}

// Refused is a client of refused messages, with the rule and the name of the first.
type Refused struct {
	Client   string `json:"client"`
	Messages int64  `json:"messages"`
	Rule     string `json:"rule"`
	Helo     string `json:"helo"`
}

// New counts under a policy with these rules, in their order.
func New(policy string, rules []checkhelo.Rule) *Report {
	return &Report{
		Policy: policy, Exact: true, Notes: []string{}, NotEvaluated: []maddyconf.Table{},
		Classes: make(map[string]*Class), Exempt: make(map[string]int64), rules: rules,
		kinds: make(map[kind]int64), clients: make(map[netip.Addr]*Refused),
		Lost: Lost{groups: make(map[string]*Group)},
	}
}

// Add counts a message.
func (r *Report) Add(m *Message) {
	n, name := int64(m.Count), shown(m.Helo)
	r.Messages += n
	k := kind{r.class(m.Class), name, max(m.Action, checkhelo.Ignore), m.Rules}
	if _, ok := r.kinds[k]; !ok && len(r.kinds) >= maxKinds {
		k.name, r.Exact = "", false
	}
	r.kinds[k] += n
	if !m.Time.IsZero() {
		if r.Timeline == nil {
			r.Timeline = new(Timeline)
		}
		r.Timeline.add(m.Time, word(m.Action), n)
	}
	if m.Exempt != "" {
		r.Exempt[m.Exempt] += n
	}
	if m.TryLater {
		r.TryLater += n
	}
	if m.Action == checkhelo.Reject && m.Client.IsValid() {
		r.refuse(m, name)
	}
	if m.isLost() {
		r.Lost.add(m)
	}
	if r.Against != nil && m.Other != nil {
		r.Against.add(m, name)
	}
}

// shown is a name fit for reports.
func shown(helo string) string { return heloname.Clean(strings.ToLower(helo), maxName) }

func (r *Report) class(name string) *Class {
	name = cmp.Or(name, DefaultClass)
	if r.Classes[name] == nil && len(r.Classes) >= maxClasses {
		name = OtherClass
	}
	if r.Classes[name] == nil {
		r.Classes[name] = new(Class)
	}
	return r.Classes[name]
}

func (r *Report) refuse(m *Message, name string) {
	c := r.clients[m.Client]
	if c == nil {
		if len(r.clients) >= maxClients {
			return
		}
		c = &Refused{Client: m.Client.String(), Rule: m.rule(), Helo: name}
		r.clients[m.Client] = c
	}
	c.Messages += int64(m.Count)
}

// Sum fills in what is shown of the messages so far.
func (r *Report) Sum() *Report {
	rows := make(map[*Class][]row)
	for k, n := range r.kinds {
		rows[k.class] = append(rows[k.class], row{k, orgOf(k.name), n})
	}
	for class, own := range rows {
		class.sum(own, r.rules)
	}
	if r.Timeline != nil {
		r.Timeline.sum()
	}
	r.Lost.sum()
	r.Refused = ranked(maps.Values(r.clients),
		func(c *Refused) int64 { return c.Messages }, func(c *Refused) string { return c.Client })
	r.Refused = r.Refused[:min(mostRefused, len(r.Refused))]
	if r.Against != nil {
		r.Against.sum()
	}
	return r
}

// ranked sorts by messages, the most first, and equal ones by text. It never returns nil.
func ranked[T any](all iter.Seq[T], messages func(T) int64, text func(T) string) []T {
	list := slices.AppendSeq([]T{}, all)
	slices.SortFunc(list, func(a, b T) int {
		return cmp.Or(cmp.Compare(messages(b), messages(a)), strings.Compare(text(a), text(b)))
	})
	return list
}

// row is the messages of one kind.
type row struct {
	kind
	org string
	n   int64
}

// orgOf is the organisational domain of a HELO name, the name itself where there is none.
func orgOf(name string) string {
	return cmp.Or(heloname.OrgDomain(heloname.Parse(name).ASCII), name)
}

// sum counts the kinds of one class.
func (c *Class) sum(rows []row, rules []checkhelo.Rule) {
	*c = Class{Actions: make(map[string]*Count), Rules: make(map[string]*Rule)}
	c.Count = *count(rows, func(*row) bool { return true })
	for _, action := range strongest {
		c.Actions[action] = count(rows, func(k *row) bool { return word(k.action) == action })
	}
	for i, set := range rules {
		if set.Action == checkhelo.Off {
			continue
		}
		hit := func(k *row) bool { return k.rules>>i&1 != 0 }
		r := &Rule{
			Count: *count(rows, hit), Name: set.Name, Action: set.Action.String(),
			Effect:   checkhelo.Effect{Action: set.Action, Score: set.Score}.String(),
			Verdicts: make(map[string]int64), Common: make(map[string]int64),
		}
		if set.Action == checkhelo.Score {
			r.Score = set.Score
		}
		for at := range rows {
			if k := &rows[at]; hit(k) {
				r.Verdicts[word(k.action)] += k.n
				r.Common[k.name] += k.n
			}
		}
		delete(r.Common, "")
		names := ranked(maps.Keys(r.Common),
			func(name string) int64 { return r.Common[name] }, func(name string) string { return name })
		r.Examples = slices.Clone(names[:min(examples, len(names))])
		c.Rules[r.Name], c.Table = r, append(c.Table, r)
	}
}

// ByHits returns the rules that hit, the most hits first, equal ones in the order of the table.
func (c *Class) ByHits() []*Rule {
	none := func(r *Rule) bool { return r.Messages == 0 }
	list := slices.DeleteFunc(slices.Clone(c.Table), none)
	slices.SortStableFunc(list, func(a, b *Rule) int { return cmp.Compare(b.Messages, a.Messages) })
	return list
}

// count counts the rows that are in. The kinds that are not kept have no name.
func count(rows []row, in func(*row) bool) *Count {
	c, names, orgs := new(Count), make(map[string]bool), make(map[string]bool)
	for i := range rows {
		if k := &rows[i]; in(k) {
			c.Messages += k.n
			names[k.name], orgs[k.org] = true, true
		}
	}
	delete(names, "")
	delete(orgs, "")
	c.Names, c.Orgs = len(names), len(orgs)
	return c
}

// Lost lists accepted messages that would not reach the inbox at once.
type Lost struct {
	Messages int64    `json:"messages"`
	Senders  []*Group `json:"senders"`
	More     int64    `json:"more"` // messages that are not listed

	groups map[string]*Group // by Sender
	listed int
}

// Group is the lost messages of one organisation.
type Group struct {
	Sender    string     `json:"sender"`
	Messages  int64      `json:"messages"`
	Greetings []Greeting `json:"greetings"`
}

func (l *Lost) add(m *Message) {
	n := int64(m.Count)
	l.Messages += n
	if l.listed >= maxLost {
		return
	}
	org := orgOf(shown(m.Helo))
	g := l.groups[org]
	if g == nil {
		g = &Group{Sender: org}
		l.groups[org] = g
	}
	g.Messages += n
	if len(g.Greetings) < groupLost {
		l.listed++
		g.Greetings = append(g.Greetings, m.greeting().kept())
	}
}

func (l *Lost) sum() {
	l.Senders = ranked(maps.Values(l.groups),
		func(g *Group) int64 { return g.Messages }, func(g *Group) string { return g.Sender })
	l.More = l.First(maxLost).More
}

// First returns the list cut to its first n messages.
func (l *Lost) First(n int) Lost {
	cut := Lost{Messages: l.Messages, More: l.Messages}
	for _, g := range l.Senders {
		part := *g
		part.Greetings = g.Greetings[:min(n, len(g.Greetings))]
		if n -= len(part.Greetings); len(part.Greetings) > 0 {
			cut.Senders = append(cut.Senders, &part)
		}
		for _, listed := range part.Greetings {
			cut.More -= int64(max(1, listed.Count))
		}
	}
	return cut
}

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
	counts      map[time.Time]map[string]int64 // messages by action
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
		l.counts, l.first, l.last = make(map[time.Time]map[string]int64), at, at
	}
	if l.counts[at] == nil {
		l.counts[at] = make(map[string]int64)
	}
	if at.Before(l.first) {
		l.first = at
	} else if at.After(l.last) {
		l.last = at
	}
	l.counts[at][action] += n
	for l.Columns() > maxSpans && l.width+1 < len(spans) {
		narrow := l.counts
		*l = Timeline{width: l.width + 1}
		for at, actions := range narrow {
			for action, n := range actions {
				l.add(at, action, n)
			}
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
	for _, at := range slices.SortedFunc(maps.Keys(l.counts), time.Time.Compare) {
		column, actions := int64(0), l.counts[at]
		for _, action := range strongest {
			actions[action] += 0 // none is left out
			if action != untouched {
				column += actions[action]
			}
		}
		l.Most = max(l.Most, column)
		l.Points = append(l.Points, Point{l.stamp(at), actions, l.column(at)})
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

// Against is what a second policy does otherwise.
type Against struct {
	Policy  string   `json:"policy"`
	Moves   []Change `json:"moves"`   // between actions
	Changes []Change `json:"changes"` // by name; the most common
	More    int      `json:"more"`    // names left out

	moves, changes map[Change]int64 // messages
}

// Change is a number of messages that a second policy treats differently.
type Change struct {
	Helo     string `json:"helo,omitempty"`
	From     string `json:"from"` // action, or action:rule
	To       string `json:"to"`
	Messages int64  `json:"messages"`
}

// Compare makes Add count Message.Other too, the verdict of a second policy.
func (r *Report) Compare(policy string) {
	r.Against = &Against{
		Policy: policy, moves: make(map[Change]int64), changes: make(map[Change]int64),
	}
}

func (a *Against) add(m *Message, name string) {
	n, from, to := int64(m.Count), word(m.Action), word(m.Other.Action)
	if from != to {
		a.moves[Change{From: from, To: to}] += n
	} else if from == untouched || m.rule() == m.Other.rule() {
		return
	}
	ch := Change{Helo: name, From: m.change(), To: m.Other.change()}
	if _, ok := a.changes[ch]; ok || len(a.changes) < maxChanges {
		a.changes[ch] += n
	}
}

func (a *Against) sum() {
	a.Moves, a.Changes = []Change{}, []Change{}
	for _, from := range strongest {
		for _, to := range strongest {
			move := Change{From: from, To: to}
			if move.Messages = a.moves[move]; move.Messages > 0 {
				a.Moves = append(a.Moves, move)
			}
		}
	}
	changes := ranked(maps.Keys(a.changes), func(c Change) int64 { return a.changes[c] },
		func(c Change) string { return c.Helo + " " + c.From + " " + c.To })
	for _, c := range changes[:min(shownChanges, len(changes))] {
		c.Messages = a.changes[c]
		a.Changes = append(a.Changes, c)
	}
	a.More = len(changes) - len(a.Changes)
}

var (
	//go:embed report.txt report.csv report.html
	files embed.FS
	funcs = template.FuncMap{
		"grouped": humanize.Comma, "share": share, "join": strings.Join, "row": csvRow,
		"actions": func() []string { return strongest }, "clean": heloname.Clean,
	}
	texts = template.Must(template.New("").Funcs(funcs).ParseFS(files, "report.txt", "report.csv"))
	// Texts of clients are cleaned, and the template of the page escapes them once more.
	page = html.Must(html.New("report.html").Funcs(funcs).ParseFS(files, "report.html"))
)

// WriteText writes tables for people.
func (r *Report) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	return errors.Join(texts.ExecuteTemplate(out, "report.txt", r.Sum()), out.Flush())
}

// WriteCSV writes one row for each class, action and rule, each lost message and each note.
func (r *Report) WriteCSV(w io.Writer) error {
	return texts.ExecuteTemplate(w, "report.csv", r.Sum())
}

// WriteHTML writes one page that needs nothing but itself.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r.Sum()) }

// AtLeast writes a number of names or organisations, of which only the first may be known.
func (r *Report) AtLeast(n int) string {
	if r.Exact {
		return humanize.Comma(int64(n))
	}
	return "at least " + humanize.Comma(int64(n))
}

// share writes a part in percent.
func share(n, of int64) string {
	switch {
	case n == 0 || of == 0:
		return "0 %"
	case float64(n)/float64(of) < 0.0001:
		return "<0.01 %"
	default:
		return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(of))
	}
}

// csvRow writes a line of CSV with all columns. No cell looks like a formula to a spreadsheet.
func csvRow(cells ...any) string {
	const columns = 17
	var line strings.Builder
	out, texts := csv.NewWriter(&line), make([]string, columns)
	for i, cell := range cells {
		if texts[i] = fmt.Sprint(cell); strings.IndexAny(texts[i], "=+-@") == 0 {
			texts[i] = "'" + texts[i]
		}
	}
	_ = out.Write(texts) // a Builder takes everything
	out.Flush()
	return line.String()
}
