package app

import (
	"context"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"

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

// recordJudge turns records into messages, in the order of the input. Only look may be called by
// several goroutines at once.
type recordJudge struct {
	*judge.Judge
	other    *recordJudge // a second policy to compare with; nil: none
	live     bool         // asks the DNS
	recorded bool         // takes the PTR from the record
	index    map[string]int
	seed     maphash.Seed
	kept     []verdict   // by hash; nil: remembers nothing
	memory   *simulation // nil: off
}

// question is everything that a verdict without look-ups depends on.
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

type verdict struct {
	question
	report.Result
}

func newJudge(check *module.Check, dns string) (*recordJudge, error) {
	by := check.Judge()
	j := &recordJudge{
		Judge: by, index: make(map[string]int), seed: maphash.MakeSeed(), memory: newSimulation(check),
	}
	for i, r := range by.Policy.Rules() {
		j.index[r.Name] = i
	}
	switch dns {
	case "recorded", "off":
		j.recorded = dns == "recorded"
		j.kept = make([]verdict, keptVerdicts)
		return j, useDNS(by, "off")
	default:
		j.live = true
		return j, useDNS(by, dns)
	}
}

// message judges one record; the facts are those already looked up for it, nil: none.
func (j *recordJudge) message(
	ctx context.Context, rec *replay.Record, looked *checkhelo.Facts,
) report.Message {
	m := report.Message{Record: rec, Result: j.result(ctx, rec, looked)}
	if j.other != nil {
		other := j.other.result(ctx, rec, looked)
		m.Other = &other
	}
	return m
}

func (j *recordJudge) result(
	ctx context.Context, rec *replay.Record, looked *checkhelo.Facts,
) (res report.Result) {
	j.retries(ctx, rec.Time)
	if j.kept == nil {
		res, _ = j.evaluate(ctx, rec, looked)
		return res
	}
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
	slot := &j.kept[maphash.Comparable(j.seed, q)%keptVerdicts]
	if slot.question == q {
		return slot.Result
	}
	res, final := j.evaluate(ctx, rec, nil)
	if final {
		*slot = verdict{q, res}
	}
	return res
}

// accepted tells whether the input leaves it possible that the server took the message.
func accepted(rec *replay.Record) bool {
	return rec.Outcome == "" || rec.Outcome == replay.Accepted
}

// evaluate judges a record with the memory of its server. final tells that the memory can neither
// change the result nor learn more from the same greeting on the same day.
func (j *recordJudge) evaluate(
	ctx context.Context, rec *replay.Record, f *checkhelo.Facts,
) (res report.Result, final bool) {
	if f == nil {
		f = j.facts(rec)
	}
	var o judge.Outcome
	j.memory.with(rec, rec.Time, func(m *memory.Memory) {
		if _, o, final = j.session(ctx, rec, f, m); o.Waits() {
			j.memory.wait(rec)
		}
	})
	res = report.Result{
		Action: o.Action, Would: o.Would, Score: o.Score, Exempt: o.Exempt, TryLater: o.TryLater,
		Known: o.Known,
	}
	for _, h := range o.Hits {
		res.Rules |= 1 << j.index[h.Rule.Name]
		res.Hits = append(res.Hits, report.Hit{
			Rule: h.Rule.Name, Action: h.Rule.Action.String(), Score: h.Rule.Score,
		})
	}
	return res, final
}

// facts returns what the input says of the DNS, and whose name is the server's own.
func (j *recordJudge) facts(rec *replay.Record) *checkhelo.Facts {
	f := &checkhelo.Facts{
		Helo: heloname.Parse(rec.Plain()), Client: heloname.Unmap(rec.Client), Self: j.self(rec.Self),
	}
	if j.recorded {
		recall(f, rec)
	}
	return f
}

// userOf returns the login of a record as a judge takes it; its name is not recorded.
func userOf(rec *replay.Record) string {
	if rec.Auth {
		return "recorded"
	}
	return ""
}

// session judges a record as the server does: greeting, recipients and message. It returns the
// strongest outcome; final is that of evaluate.
func (j *recordJudge) session(
	ctx context.Context, rec *replay.Record, f *checkhelo.Facts, m *memory.Memory,
) (s *judge.Session, o judge.Outcome, final bool) {
	user, from := userOf(rec), senderOf(rec.From)
	s = j.Greet(ctx, judge.Conn{
		Helo: rec.Plain(), Client: f.Client, Known: f, AtRcpt: !j.AtEHLO, Memory: m,
	})
	o = s.Rcpt(ctx, user, from, rec.FirstRcpt())
	final = !remembers(&o)
	for _, rcpt := range rec.Rcpts[min(1, len(rec.Rcpts)):] {
		other := s.Rcpt(ctx, user, from, rcpt)
		final = final && !remembers(&other)
		if other.Weight() > o.Weight() {
			o = other
		}
	}
	whole := s.Message(ctx)
	if whole.Waits() && whole.Weight() > o.Weight() { // the null sender
		o = whole
	}
	if accepted(rec) && !whole.Refused() && whole.Action < checkhelo.Quarantine {
		s.Accepted()
	}
	final = m == nil || final && s.Facts().Neighbours.State == checkhelo.NotAsked
	return s, o, final
}

// remembers reports whether a memory can change the outcome, but for neighbours.
func remembers(o *judge.Outcome) bool {
	return o.Would == checkhelo.Greylist || o.Would == checkhelo.Quarantine
}

// self is what the check calls its own, and the name that the receiving server gave itself.
func (j *recordJudge) self(name string) *checkhelo.Self {
	own := &j.Self
	if ascii := heloname.Parse(name).ASCII; ascii != "" {
		both := *own
		both.Names = slices.Concat(own.Names, []string{ascii})
		return &both
	}
	return own
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
func (j *recordJudge) look(ctx context.Context, rec *replay.Record) *checkhelo.Facts {
	s, _, _ := j.session(ctx, rec, j.facts(rec), nil)
	if j.other != nil {
		s, _, _ = j.other.session(ctx, rec, s.Facts(), nil)
	}
	return s.Facts()
}
