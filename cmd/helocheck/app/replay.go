package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/replay"
)

const (
	liveLookups      = 64      // greetings looked up side by side
	liveQueue        = 1024    // greetings read ahead
	keptVerdicts     = 1 << 13 // remembered, since clients come back
	simulatedRows    = 50_000  // of all servers
	simulatedServers = 1000    // further ones are judged without memory
)

func replayCommand() *cli.Command {
	return &cli.Command{
		Name:      "replay",
		Usage:     "show what the check would have done to mail of the past",
		ArgsUsage: "FILE|DIR|-...",
		Flags: append(policyFlags(),
			option("dns", "recorded",
				"look up `HOW`: off; recorded, what the input says of the PTR; system; HOST:PORT"),
			formatFlag("text", "json", "csv", "html", "ndjson"),
			option("output o", "", "write to `FILE` instead of standard output"),
			repeated("by", "read mails at the border `HOST`, or .DOMAIN for all below"),
			option("class", "", "call messages `NAME`, such as ham or spam, where the input does not"),
			option("since", "", "leave out what is before `TIME`: 2026-01-31, 2026-01-31T18:00:00Z"),
			option("until", "", "leave out what is from `TIME` on"),
			oneOf("memory", "remember senders as `HOW`: %s", "simulated", "simulated", "off"),
			option("against", "", "list what the maddy.conf or policy `CONFIG` changes"),
		),
		Action: runReplay,
	}
}

// replaying is one run of the command.
type replaying struct {
	paths   []string
	options replay.Options
	judge   *Recorded
	tally   *report.Report
	each    func(*report.Message) // takes the judged messages, in the order of the input
}

func runReplay(c *cli.Context) (problem error) {
	r, err := newReplaying(c)
	if err != nil {
		return err
	}
	w := c.App.Writer
	if path := c.String("output"); path != "" {
		file, fault := os.Create(path)
		if fault != nil {
			return fault
		}
		defer func() { problem = errors.Join(problem, file.Close()) }()
		w = file
	}
	// Little of what is read stays: memory counts more than the collector's time here.
	defer debug.SetGCPercent(debug.SetGCPercent(30))
	out, format := bufio.NewWriterSize(w, 1<<16), c.String("format")
	if format == "ndjson" {
		r.each = report.NDJSON(out)
	}
	stats, err := r.read(c)
	r.tally.Notes = r.notes(&stats)
	r.judge = nil // the report needs the room
	switch {
	case format == "ndjson":
		fmt.Fprintln(c.App.ErrWriter, strings.Join(r.tally.Notes, "\n"))
	case err != nil && !isInterrupt(err):
	case format == "json":
		problem = printJSON(out, r.tally.Sum())
	case format == "csv":
		problem = r.tally.WriteCSV(out)
	case format == "html":
		problem = r.tally.WriteHTML(out)
	default:
		var text strings.Builder
		problem = r.tally.WriteText(&text)
		fmt.Fprint(out, newScreen(out).table(text.String()))
	}
	return errors.Join(problem, out.Flush(), ended(&stats, err))
}

// read reads and judges everything.
func (r *replaying) read(c *cli.Context) (stats replay.Stats, err error) {
	r.options.Sort = r.judge.memory != nil || r.judge.other != nil && r.judge.other.memory != nil
	if r.judge.kept == nil {
		stats, err = r.runLive(c.Context)
	} else {
		stats, err = replay.Read(c.Context, r.paths, r.options, func(rec *replay.Record) error {
			m := r.judge.Message(c.Context, rec, nil)
			r.each(&m)
			return nil
		})
	}
	if errors.Is(err, fs.ErrNotExist) {
		return stats, usage(err.Error())
	}
	if err == nil || isInterrupt(err) {
		fmt.Fprintf(c.App.ErrWriter, "%d lines, %d greetings, %d broken, %d mails without a greeting\n",
			stats.Lines, stats.Records, stats.Broken, stats.Skipped[replay.SkippedBorder])
	}
	return stats, err
}

// runLive looks up the facts of several greetings at once, and judges them in the order of the
// input, so that neither memory nor counts depend on which answer comes first.
func (r *replaying) runLive(ctx context.Context) (replay.Stats, error) {
	lookups := make(chan struct{}, liveLookups)
	inOrder, counted := make(chan func(), liveQueue), make(chan struct{})
	go func() {
		defer close(counted)
		for count := range inOrder {
			count()
		}
	}()
	stats, err := replay.Read(ctx, r.paths, r.options, func(rec *replay.Record) error {
		kept, facts := *rec, make(chan *checkhelo.Facts, 1)
		lookups <- struct{}{}
		go func() {
			facts <- r.judge.look(ctx, &kept)
			<-lookups
		}()
		inOrder <- func() {
			if found := <-facts; ctx.Err() == nil { // lookups that were cut off tell nothing
				m := r.judge.Message(ctx, &kept, found)
				r.each(&m)
			}
		}
		return nil
	})
	close(inOrder)
	<-counted
	return stats, err
}

func isInterrupt(err error) bool { return errors.Is(err, context.Canceled) }

// ended returns the error that a run ends with.
func ended(stats *replay.Stats, err error) error {
	switch {
	case isInterrupt(err):
		return errors.New("interrupted; this is what was counted until then")
	case err != nil:
		return err
	case stats.Nothing():
		return cli.Exit("", exitUnread)
	case stats.Partial():
		return cli.Exit("", exitPart)
	}
	return nil
}

func newReplaying(c *cli.Context) (*replaying, error) {
	r := &replaying{
		paths:   c.Args().Slice(),
		options: replay.Options{By: c.StringSlice("by"), Class: c.String("class")},
	}
	if len(r.paths) == 0 {
		return nil, usage("replay what? (see: helocheck replay --help)")
	}
	for name, to := range map[string]*time.Time{"since": &r.options.Since, "until": &r.options.Until} {
		var err error
		if *to, err = timeOf(c.String(name)); err != nil {
			return nil, usage("--" + name + ": " + err.Error())
		}
	}
	conf, source, err := loadCheck(c)
	if err != nil {
		return nil, err
	}
	if r.judge, source, err = judgeOf(c, conf.Check, source); err != nil {
		return nil, err
	}
	r.tally = report.New(source, r.judge.Policy.Rules())
	r.each = r.tally.Add
	r.tally.NotEvaluated = append(r.tally.NotEvaluated, conf.NotEvaluated...)
	return r, r.addAgainst(c)
}

// judgeOf makes a judge of the input. It removes the ceiling of a dry run, under which every report
// would be empty, and returns the name of the policy for the report.
func judgeOf(c *cli.Context, check *module.Check, source string) (*Recorded, string, error) {
	if by := check.Judge(); by.Policy.Ceiling == checkhelo.Ignore {
		by.Policy = by.Policy.With(by.Policy.Preset, checkhelo.Off)
		source += " without max_action ignore"
	}
	j, err := NewRecorded(check, c.String("dns"), c.String("memory") != "off")
	return j, source, err
}

// addAgainst prepares the comparison with a second policy. A preset beside --config keeps the other
// settings of the file.
func (r *replaying) addAgainst(c *cli.Context) error {
	preset, path := "", c.String("against")
	if path == "" {
		return nil
	}
	if isPreset(path) {
		preset, path = path, c.String("config")
	}
	conf, name, err := load(c, preset, path, c.String("check"))
	var absent usage
	if errors.As(err, &absent) && preset == "" && c.IsSet("check") { // it names a block of --config
		conf, name, err = load(c, "", path, "")
	}
	if err != nil {
		return err
	}
	r.tally.NotEvaluated = append(r.tally.NotEvaluated, conf.NotEvaluated...)
	if r.judge.other, name, err = judgeOf(c, conf.Check, name); err == nil {
		r.tally.Compare(name)
	}
	return err
}

// notes tell the reader of a report what it lacks.
func (r *replaying) notes(s *replay.Stats) []string {
	return strings.Split(render("notes", struct {
		*replay.Stats
		Further int64 // files that are not among Unread
		Memory  *simulation
	}{s, s.Inputs - s.Whole - int64(len(s.Unread)), r.judge.memory}), "\n")
}

// timeOf reads a date or a time of RFC 3339; dates are local.
func timeOf(text string) (at time.Time, err error) {
	if text == "" {
		return at, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if at, err = time.ParseInLocation(layout, text, time.Local); err == nil {
			return at, nil
		}
	}
	return at, fmt.Errorf("%q; accepted: 2026-01-31, 2026-01-31T18:00:00Z", text)
}

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
	if looked == nil {
		looked = j.facts(rec)
	}
	_, o, final := j.session(ctx, rec, looked, j.memory.at(rec))
	if o.Waits() {
		j.memory.wait(rec)
	}
	res = report.Result{
		Action: o.Action, Would: o.Would, Score: o.Score, Exempt: o.Exempt, TryLater: o.TryLater,
		Known: o.Known,
	}
	for i := range o.Hits {
		res.Hits = append(res.Hits, report.HitOf(&o.Hits[i]))
		res.Rules |= 1 << j.index[res.Hits[i].Rule]
	}
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

// session judges a record as the server does. It returns the strongest outcome; final tells that a
// memory can neither change it nor learn more from the same greeting on the same day.
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

// at returns the memory of a record's server at its time; nil: none.
func (s *simulation) at(rec *replay.Record) *memory.Memory {
	if s == nil || s.learnt != nil && rec.Class == "spam" {
		return nil
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
		return nil
	}
	s.now = rec.Time
	return m
}

// Dropped returns how many writes found no room.
func (s *simulation) Dropped() (n uint64) {
	for _, m := range s.Servers {
		n += m.Store.(*memory.Map).Dropped
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
		_, _, _ = j.session(ctx, next, j.facts(next), s.at(next))
	}
}
