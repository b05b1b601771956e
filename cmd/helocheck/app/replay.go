package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/replay"
)

func replayCommand() *cli.Command {
	flags := append(policyFlags(),
		&cli.StringFlag{
			Name: "dns", Value: "recorded",
			Usage: "look up `HOW`: off; recorded, what the input says of the PTR; system; HOST:PORT",
		},
		formatFlag("text, json, csv, html; ndjson, one line for each greeting"),
		&cli.StringFlag{
			Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE` instead of standard output",
		},
		&cli.StringSliceFlag{
			Name: "by", Usage: "read mails at the border `HOST`, or .DOMAIN for all below; may be repeated",
		},
		&cli.StringFlag{
			Name: "class", Usage: "call messages `NAME`, such as ham or spam, where the input does not",
		},
		&cli.StringFlag{
			Name: "since", Usage: "leave out what is before `TIME`: 2026-01-31, 2026-01-31T18:00:00Z",
		},
		&cli.StringFlag{Name: "until", Usage: "leave out what is from `TIME` on"},
		&cli.StringFlag{
			Name: "memory", Value: "simulated",
			Usage: "remember senders as `HOW`: simulated, as the server would have; off",
		},
		&cli.StringFlag{Name: "against", Usage: "list what the maddy.conf or policy `CONFIG` changes"},
	)
	return &cli.Command{
		Name:      "replay",
		Usage:     "show what the check would have done to mail of the past",
		ArgsUsage: "FILE|DIR|-...",
		Description: "Reads logs of Maddy, Postfix and Exim, mbox, Maildir, single mails, CSV," +
			" directories of them, packed or not, told apart by content. CSV has a header with\n" +
			"the columns helo and ip, and may have rdns, ptr_confirmed, rcpt, self, class, count,\n" +
			"time (Unix seconds or RFC 3339) and server.",
		Flags:  flags,
		Action: runReplay,
	}
}

// replaying is one run of the command.
type replaying struct {
	format  string
	paths   []string
	options replay.Options
	judge   *recordJudge
	tally   *report.Tally
	live    bool                  // lookups in the DNS
	each    func(*report.Message) // takes the judged messages, in the order of the input
}

func runReplay(c *cli.Context) error {
	r, err := newReplaying(c)
	if err != nil {
		return err
	}
	// Little of what is read stays: memory counts more than the collector's time here.
	defer debug.SetGCPercent(debug.SetGCPercent(30))
	r.each = r.tally.Add
	if r.format != "ndjson" {
		stats, err := r.read(c)
		if err != nil && !isInterrupt(err) {
			return err
		}
		r.tally.Notes = r.notes(&stats)
		r.judge = nil // the report needs the room
		return errors.Join(output(c, r.writeTo), r.ended(&stats, err))
	}
	var ended error
	return errors.Join(output(c, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 1<<16)
		r.each = report.NewWriter(out).Write
		stats, err := r.read(c)
		for _, note := range r.notes(&stats) {
			fmt.Fprintln(c.App.ErrWriter, note)
		}
		ended = r.ended(&stats, err)
		return out.Flush()
	}), ended)
}

// read reads and judges everything.
func (r *replaying) read(c *cli.Context) (stats replay.Stats, err error) {
	bar := newProgress(c.App.ErrWriter, r.paths)
	r.options.Progress = func(n int64) { _ = bar.Add64(n) } // a broken bar stops nothing
	stats, err = r.run(c.Context)
	_ = bar.Finish()
	if errors.Is(err, fs.ErrNotExist) {
		return stats, usage(err.Error())
	}
	if err == nil || isInterrupt(err) {
		sayStats(c.App.ErrWriter, &stats)
	}
	return stats, err
}

func isInterrupt(err error) bool { return errors.Is(err, context.Canceled) }

// ended returns the error that a run ends with.
func (r *replaying) ended(stats *replay.Stats, err error) error {
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

// Exit statuses of replay for input that could not be read.
const (
	exitUnread = 2 // nothing of it
	exitPart   = 4 // a part of it
)

func newReplaying(c *cli.Context) (*replaying, error) {
	r := &replaying{
		format: c.String("format"), paths: c.Args().Slice(),
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
	j := conf.Check.Judge()
	source = endDryRun(j, source)
	if r.judge, err = newJudge(conf.Check, c.String("dns")); err != nil {
		return nil, err
	}
	switch c.String("memory") {
	case "simulated":
	case "off":
		r.judge.memory = nil
	default:
		return nil, usage(fmt.Sprintf("--memory %q; accepted: simulated, off", c.String("memory")))
	}
	r.live = r.judge.live
	r.tally = report.NewTally(source, j.Policy.Rules())
	r.tally.NotEvaluated = append(r.tally.NotEvaluated, conf.NotEvaluated...)
	return r, r.addAgainst(c)
}

// endDryRun removes the ceiling of a dry run, under which every report would be empty. It returns
// the name of the policy for the report.
func endDryRun(j *judge.Judge, source string) string {
	if j.Policy.Ceiling != checkhelo.Ignore {
		return source
	}
	j.Policy = j.Policy.With(j.Policy.Preset, checkhelo.Off)
	return source + " without max_action ignore"
}

// addAgainst prepares the comparison with a second policy. A preset beside --config keeps the other
// settings of the file.
func (r *replaying) addAgainst(c *cli.Context) error {
	name := c.String("against")
	if name == "" {
		return nil
	}
	path, preset := name, ""
	check, err := maddyconf.FromPolicy(name)
	if err == nil && c.IsSet("config") {
		path, preset = c.String("config"), name
	}
	if err != nil || preset != "" {
		var conf *maddyconf.Config
		conf, err = loadConfig(c, path, c.String("check"))
		var absent usage
		if errors.As(err, &absent) && c.IsSet("check") { // it names a block of --config
			conf, err = loadConfig(c, path, "")
		}
		if err != nil {
			return err
		}
		check = conf.Check
		r.tally.NotEvaluated = append(r.tally.NotEvaluated, conf.NotEvaluated...)
	}
	j := check.Judge()
	if preset != "" {
		name = usePreset(j, preset, path)
	}
	name = endDryRun(j, name)
	if r.judge.other, err = newJudge(check, c.String("dns")); err != nil {
		return err
	}
	if c.String("memory") == "off" {
		r.judge.other.memory = nil
	}
	r.tally.Compare(name)
	return nil
}

// run reads and counts everything.
func (r *replaying) run(ctx context.Context) (replay.Stats, error) {
	r.options.Sort = r.judge.memory != nil || r.judge.other != nil && r.judge.other.memory != nil
	if r.live {
		return r.runLive(ctx)
	}
	return replay.Read(ctx, r.paths, r.options, func(rec *replay.Record) error {
		m := r.judge.message(ctx, rec, nil)
		r.each(&m)
		return nil
	})
}

// output lets write write to --output, or to standard output.
func output(c *cli.Context, write func(io.Writer) error) error {
	path := c.String("output")
	if path == "" {
		return write(c.App.Writer)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

func (r *replaying) writeTo(w io.Writer) error {
	switch r.format {
	case "json":
		return printJSON(w, r.tally.Report())
	case "csv":
		return r.tally.WriteCSV(w)
	case "html":
		return r.tally.WriteHTML(w)
	default:
		var text strings.Builder
		err := r.tally.WriteText(&text)
		newScreen(w).table(text.String())
		return err
	}
}

// sayStats tells how the input could be read.
func sayStats(w io.Writer, s *replay.Stats) {
	fmt.Fprintf(w, "%d lines, %d greetings, %d broken, %d mails without a greeting\n",
		s.Lines, s.Records, s.Broken, s.Skipped[replay.SkippedBorder])
}

// skipped are the reasons for which the input has fewer messages than its reader expects.
var skipped = []struct{ reason, text string }{
	{replay.SkippedSubmission, "%d greetings of a submission service are left out"},
	{replay.SkippedNoMail, "%d greetings without a sender after them are left out"},
	{replay.SkippedEmpty, "%d empty greetings are left out"},
	{replay.SkippedClient, "%d greetings of the machine itself, or without an address, are left out"},
	{replay.SkippedDuplicate, "%d greetings are in two inputs and count once"},
	{replay.SkippedBorder, "%d mails have no readable greeting of the border"},
	{replay.SkippedTime, "%d greetings lie outside of --since and --until"},
	{replay.SkippedDropped, "%d greetings were judged before the server's answer was known"},
}

// notes tell the reader of a report what it lacks.
func (r *replaying) notes(s *replay.Stats) (notes []string) {
	note := func(n int64, format string) {
		if n > 0 {
			notes = append(notes, fmt.Sprintf(format, n))
		}
	}
	note(s.NoGreeting, "%d accepted messages have no greeting in this log; the page on migration has"+
		" the line that makes Postfix write it")
	for _, u := range s.Unread {
		notes = append(notes, fmt.Sprintf("%s could not be read: %v", u.Name, u.Err))
	}
	if n := int(s.Inputs-s.Whole) - len(s.Unread); n > 0 {
		note(int64(n), "%d further files could not be read")
	}
	note(s.Broken, "%d lines tell of a greeting and could not be read")
	for _, name := range s.NoNames {
		notes = append(notes, name+" names no client by its PTR record: PTR is not recorded")
	}
	for _, why := range skipped {
		note(s.Skipped[why.reason], why.text)
	}
	note(s.Unsure, "%d greetings may be in two inputs and count twice")
	if s.By != "" {
		notes = append(notes, "mails were read at the border "+s.By+"; --by names another")
	}
	return append(notes, r.judge.memory.notes()...)
}

// timeOf reads a date or a time of RFC 3339; dates are local.
func timeOf(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return at, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%q; accepted: 2026-01-31, 2026-01-31T18:00:00Z", text)
	}
	return at, nil
}
