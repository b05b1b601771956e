package app

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/replay"
)

// keptVerdicts are remembered, since clients come back.
const keptVerdicts = 1 << 13

// Recorded turns records into messages, in the order of the input. Only look may be called by
// several goroutines at once.
type Recorded struct {
	*judge.Judge
	other    *Recorded // a second policy to compare with; nil: none
	recorded bool      // takes the PTR from the record
	index    map[string]int
	kept     map[question]report.Result // nil: the DNS is asked about each record
	memory   *simulation                // nil: off
}

// question is everything that a verdict without lookups depends on.
type question struct {
	helo, ptr, rcpt, self string
	client                netip.Addr
	state                 replay.PTRState
	auth                  bool

	// With a memory a verdict serves one server for one day: what was written today is not
	// written again.
	server   string
	day      int64
	accepted bool
}

// NewRecorded judges with lookups as "replay --dns" has them, with a simulated memory or without.
func NewRecorded(check *module.Check, dns string, remember bool) (*Recorded, error) {
	j := &Recorded{Judge: check.Judge(), recorded: dns == "recorded", index: make(map[string]int)}
	if remember {
		j.memory = newSimulation(check)
	}
	for i, r := range j.Policy.Rules() {
		j.index[r.Name] = i
	}
	if !j.recorded && dns != "off" {
		return j, useDNS(j.Judge, dns)
	}
	j.kept = make(map[question]report.Result)
	return j, useDNS(j.Judge, "off")
}

// Message judges one record; the facts are those already looked up for it, nil: none. The Rules of
// the message are bits by the index in the policy's Rules.
func (j *Recorded) Message(
	ctx context.Context, rec *replay.Record, looked *checkhelo.Facts,
) report.Message {
	m := report.Message{Record: rec, Result: j.result(ctx, rec, looked)}
	if j.other != nil {
		other := j.other.result(ctx, rec, looked)
		m.Other = &other
	}
	return m
}

func (j *Recorded) result(
	ctx context.Context, rec *replay.Record, looked *checkhelo.Facts,
) (res report.Result) {
	j.retries(ctx, rec.Time)
	q := question{
		helo: rec.Plain(), rcpt: strings.Join(rec.Rcpts, " "), self: rec.Self, client: rec.Client,
		auth: rec.Auth,
	}
	if j.recorded {
		q.ptr, q.state = rec.PTR, rec.PTRState
	}
	if j.memory != nil && !rec.Time.IsZero() {
		const day = 24 * 60 * 60
		q.server, q.day, q.accepted = rec.Server, rec.Time.Unix()/day, accepted(rec)
	}
	if kept, ok := j.kept[q]; ok {
		return kept
	}
	res, final := j.evaluate(ctx, rec, looked)
	if final && j.kept != nil {
		if len(j.kept) >= keptVerdicts {
			clear(j.kept)
		}
		j.kept[q] = res
	}
	return res
}

// accepted tells whether the input leaves it possible that the server took the message.
func accepted(rec *replay.Record) bool {
	return rec.Outcome == "" || rec.Outcome == replay.Accepted
}

// evaluate judges a record with the memory of its server. final tells that the memory can neither
// change the result nor learn more from the same greeting on the same day.
func (j *Recorded) evaluate(
	ctx context.Context, rec *replay.Record, f *checkhelo.Facts,
) (res report.Result, final bool) {
	if f == nil {
		f = j.facts(rec)
	}
	var o judge.Outcome
	j.memory.with(rec, func(m *memory.Memory) {
		if _, o, final = j.session(ctx, rec, f, m); o.Waits() {
			j.memory.wait(rec)
		}
	})
	res = report.Result{
		Action: o.Action, Would: o.Would, Score: o.Score, Exempt: o.Exempt, TryLater: o.TryLater,
		Known: o.Known,
	}
	for i := range o.Hits {
		res.Hits = append(res.Hits, report.HitOf(&o.Hits[i]))
		res.Rules |= 1 << j.index[res.Hits[i].Rule]
	}
	return res, final
}

// facts returns what the input says of the DNS, and whose name is the server's own: also that which
// the receiving server gave itself.
func (j *Recorded) facts(rec *replay.Record) *checkhelo.Facts {
	own := j.Self
	if ascii := heloname.Parse(rec.Self).ASCII; ascii != "" {
		own.Names = append(slices.Clip(own.Names), ascii)
	}
	f := &checkhelo.Facts{
		Helo: heloname.Parse(rec.Plain()), Client: heloname.Unmap(rec.Client), Self: &own,
	}
	if j.recorded {
		recall(f, rec)
	}
	return f
}

// queryOf returns a record as a judge takes it. The name of a login is not recorded.
func queryOf(rec *replay.Record) judge.Query {
	q := judge.Query{
		Conn: judge.Conn{Helo: rec.Plain(), Client: heloname.Unmap(rec.Client)},
		From: senderOf(rec.From), Rcpts: rec.Rcpts,
	}
	if rec.Auth {
		q.User = "recorded"
	}
	return q
}

// session judges a record as the server does. It returns the strongest outcome; final is that of
// evaluate.
func (j *Recorded) session(
	ctx context.Context, rec *replay.Record, f *checkhelo.Facts, m *memory.Memory,
) (s *judge.Session, o judge.Outcome, final bool) {
	q, first := queryOf(rec), true
	q.Known, q.Memory, final = f, m, true
	s, whole := j.Deliver(ctx, q, func(_ *judge.Session, _ string, other judge.Outcome) {
		// A memory can change these, but for neighbours.
		final = final && other.Would != checkhelo.Greylist && other.Would != checkhelo.Quarantine
		if first || other.Weight() > o.Weight() {
			o, first = other, false
		}
	})
	if whole.Waits() && whole.Weight() > o.Weight() { // the null sender
		o = whole
	}
	if accepted(rec) && !whole.Refused() && whole.Action < checkhelo.Quarantine {
		s.Accepted()
	}
	final = m == nil || final && s.Facts().Neighbours.State == checkhelo.NotAsked
	return s, o, final
}

// recall takes what the receiving server wrote down about the client's PTR record for the DNS.
func recall(f *checkhelo.Facts, rec *replay.Record) {
	name := heloname.Parse(rec.PTR).ASCII
	found := checkhelo.Answer[[]string]{State: checkhelo.Found, Value: []string{name}}
	recorded := rec.PTRState != replay.NotRecorded && rec.PTR != ""
	switch {
	case rec.PTRState == replay.None, recorded && name == "": // no host can have such a name
		f.PTR.State, f.Confirmed.State = checkhelo.NotFound, checkhelo.NotFound
	case !recorded:
	case rec.PTRState == replay.Unconfirmed:
		f.PTR, f.Confirmed.State = found, checkhelo.NotFound
	default:
		f.PTR, f.Confirmed = found, found
		if name == f.Helo.ASCII {
			f.Forward = checkhelo.Answer[[]netip.Addr]{
				State: checkhelo.Found, Value: []netip.Addr{f.Client},
			}
		}
	}
}

// look returns the facts about a record that the DNS has, all that the policies ask for without a
// memory.
func (j *Recorded) look(ctx context.Context, rec *replay.Record) *checkhelo.Facts {
	s, _, _ := j.session(ctx, rec, j.facts(rec), nil)
	if j.other != nil {
		s, _, _ = j.other.session(ctx, rec, s.Facts(), nil)
	}
	return s.Facts()
}

const (
	simulatedRows    = 50_000 // of all servers
	simulatedServers = 1000   // further ones are judged without memory
)

// simulation is the memory that each server of the input would have had, at the time of the record
// at hand. Records must come in the order of their times.
type simulation struct {
	settings memory.Memory
	learnt   *memory.Map               // all servers', to learn from the input; nil: a simulation
	room     memory.Room               // of the others' stores
	Servers  map[string]*memory.Memory // by Record.Server
	now      time.Time
	waiting  []*replay.Record // that their clients send again, at their time
	Untimed  int64            // messages judged without memory: no time, or too many servers
}

// newSimulation returns nil for a check that has no memory.
func newSimulation(check *module.Check) *simulation {
	kind, _, settings := check.Memory()
	if kind == "" {
		return nil
	}
	s := &simulation{settings: settings, Servers: make(map[string]*memory.Memory)}
	s.room.Most = simulatedRows
	s.settings.Clock = func() time.Time { return s.now }
	return s
}

// with runs do with the memory of a record's server at its time; nil: none.
func (s *simulation) with(rec *replay.Record, do func(*memory.Memory)) {
	if s == nil || s.learnt != nil && rec.Class == "spam" {
		do(nil)
		return
	}
	m := s.Servers[rec.Server]
	if m == nil && len(s.Servers) < simulatedServers && !rec.Time.IsZero() {
		one := s.settings
		one.Store = s.learnt
		if s.learnt == nil {
			one.Store = memory.NewMap(&s.room)
		}
		m = &one
		s.Servers[rec.Server] = m
	}
	if m == nil || rec.Time.IsZero() {
		s.Untimed += int64(rec.Count)
		do(nil)
		return
	}
	s.now = rec.Time
	do(m)
}

// Dropped returns how many writes found no room.
func (s *simulation) Dropped() (n uint64) {
	for _, m := range s.Servers {
		n += m.Store.(*memory.Map).Dropped()
	}
	return n
}

// wait notes a message that was told to wait. Its client tries again after the delay, and is known
// from then on. That is not learnt.
func (s *simulation) wait(rec *replay.Record) {
	if s.learnt != nil {
		return
	}
	again := *rec
	again.Rcpts = slices.Clone(rec.Rcpts)
	again.Time = s.now.Add(s.settings.Delay)
	s.waiting = append(s.waiting, &again)
}

// retries judges the messages whose wait is over.
func (j *Recorded) retries(ctx context.Context, now time.Time) {
	for s := j.memory; s != nil && len(s.waiting) > 0 && !s.waiting[0].Time.After(now); {
		next := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.with(next, func(m *memory.Memory) { _, _, _ = j.session(ctx, next, j.facts(next), m) })
	}
}
