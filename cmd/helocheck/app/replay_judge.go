package app

import (
	"context"
	"hash/maphash"
	"net/netip"
	"slices"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/replay"
)

const (
	keptVerdicts = 1 << 13 // verdicts remembered, since clients come back
	maxSelves    = 1000    // receivers' names remembered
)

// recordJudge turns records into messages. Only message of a live one may be called
// by several goroutines at once.
type recordJudge struct {
	*judge.Judge
	other    *recordJudge // a second policy to compare with; nil: none
	live     bool         // asks the DNS
	recorded bool         // takes the PTR from the record
	index    map[string]int
	selves   map[string]*checkhelo.Self
	seed     maphash.Seed
	kept     []verdict // by hash; nil: remembers nothing
}

// question is everything that a verdict without look-ups depends on.
type question struct {
	helo, ptr, rcpt, self string
	client                netip.Addr
	state                 replay.PTRState
	auth                  bool
}

type verdict struct {
	question
	report.Result
}

func newJudge(by *judge.Judge, dns string) (*recordJudge, error) {
	j := &recordJudge{Judge: by, index: make(map[string]int), seed: maphash.MakeSeed()}
	for i, r := range by.Policy.Rules() {
		j.index[r.Name] = i
	}
	switch dns {
	case "recorded", "off":
		j.recorded = dns == "recorded"
		j.kept = make([]verdict, keptVerdicts)
		j.selves = make(map[string]*checkhelo.Self)
		return j, useDNS(by, "off")
	default:
		j.live = true
		return j, useDNS(by, dns)
	}
}

// message judges one record.
func (j *recordJudge) message(ctx context.Context, rec *replay.Record) report.Message {
	m := report.Message{
		Class: rec.Class, Helo: rec.Helo, Time: rec.Time, Count: int64(rec.Count),
		Result: j.result(ctx, rec),
	}
	if m.Action == checkhelo.Reject && rec.Client.IsValid() {
		m.Client = rec.Client.String()
	}
	if j.other != nil {
		other := j.other.result(ctx, rec)
		m.Other = &other
	}
	return m
}

func (j *recordJudge) result(ctx context.Context, rec *replay.Record) report.Result {
	if j.kept == nil {
		return j.evaluate(ctx, rec)
	}
	q := question{
		rec.Plain(), "", strings.Join(rec.Rcpts, " "), rec.Self, rec.Client, replay.NotRecorded, rec.Auth,
	}
	if j.recorded {
		q.ptr, q.state = rec.PTR, rec.PTRState
	}
	slot := &j.kept[maphash.Comparable(j.seed, q)%keptVerdicts]
	if slot.question != q {
		*slot = verdict{q, j.evaluate(ctx, rec)}
	}
	return slot.Result
}

func (j *recordJudge) evaluate(ctx context.Context, rec *replay.Record) report.Result {
	f := checkhelo.Facts{
		Helo: heloname.Parse(rec.Plain()), Client: heloname.Unmap(rec.Client), Self: j.self(rec.Self),
	}
	if j.recorded {
		recall(&f, rec)
	}
	user := ""
	if rec.Auth {
		user = "recorded"
	}
	s := j.Greet(ctx, judge.Conn{
		Helo: rec.Plain(), Client: f.Client, Known: &f, AtRcpt: !j.AtEHLO,
	})
	o := s.Rcpt(ctx, user, rec.From, rec.FirstRcpt())
	for _, rcpt := range rec.Rcpts[min(1, len(rec.Rcpts)):] {
		// The report shows the strongest outcome of a greeting.
		if other := s.Rcpt(ctx, user, rec.From, rcpt); other.Weight() > o.Weight() {
			o = other
		}
	}
	res := report.Result{Action: o.Action, Exempt: o.Exempt, TryLater: o.TryLater, Decided: -1}
	for _, h := range o.Hits {
		res.Rules |= 1 << j.index[h.Rule.Name]
	}
	if len(o.Hits) > 0 {
		res.Decided = j.index[o.Hits[0].Rule.Name]
	}
	return res
}

// self is what the check calls its own, and the name that the receiving server gave itself.
func (j *recordJudge) self(name string) *checkhelo.Self {
	own := &j.Self
	ascii := heloname.Parse(name).ASCII
	if ascii == "" {
		return own
	}
	if kept := j.selves[ascii]; kept != nil {
		return kept
	}
	both := *own
	both.Names = slices.Concat(own.Names, []string{ascii})
	if j.selves != nil && len(j.selves) < maxSelves {
		j.selves[ascii] = &both
	}
	return &both
}

// recall takes what the receiving server wrote down about the client's PTR record for the DNS.
func recall(f *checkhelo.Facts, rec *replay.Record) {
	names := []string{heloname.Parse(rec.PTR).ASCII}
	switch {
	case rec.PTRState == replay.None:
		f.PTR.State, f.Confirmed.State = checkhelo.NotFound, checkhelo.NotFound
	case rec.PTRState == replay.NotRecorded || rec.PTR == "":
	case names[0] == "": // no host can have this name, so it is none
		f.PTR.State, f.Confirmed.State = checkhelo.NotFound, checkhelo.NotFound
	case rec.PTRState == replay.Unconfirmed:
		f.PTR = checkhelo.Answer[[]string]{State: checkhelo.Found, Value: names}
		f.Confirmed.State = checkhelo.NotFound
	default:
		f.PTR = checkhelo.Answer[[]string]{State: checkhelo.Found, Value: names}
		f.Confirmed = f.PTR
		if names[0] == f.Helo.ASCII {
			f.Forward = checkhelo.Answer[[]netip.Addr]{
				State: checkhelo.Found, Value: []netip.Addr{f.Client},
			}
		}
	}
}
