package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
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
		&cli.StringFlag{Name: "format", Value: "text", Usage: "write as `F`: text, json, csv, html"},
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
	live    bool // look-ups in the DNS
}

func runReplay(c *cli.Context) error {
	r, err := newReplaying(c)
	if err != nil {
		return err
	}
	bar := newProgress(c.App.ErrWriter, r.paths)
	r.options.Progress = func(n int64) { _ = bar.Add64(n) } // a broken bar stops nothing
	stats, err := r.run(c.Context)
	_ = bar.Finish()
	interrupted := errors.Is(err, context.Canceled)
	if err != nil && !interrupted {
		if errors.Is(err, fs.ErrNotExist) {
			return usage(err.Error())
		}
		return err
	}
	sayStats(c.App.ErrWriter, stats)
	r.judge.memory.say(c.App.ErrWriter)
	if err := r.write(c); err != nil {
		return err
	}
	switch {
	case interrupted:
		return errors.New("interrupted; this is what was counted until then")
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
	r := &replaying{}
	var err error
	if r.paths, err = operands(c); err != nil {
		return nil, err
	}
	if len(r.paths) == 0 {
		return nil, usage("replay what? (see: helocheck replay --help)")
	}
	if r.format, err = formatOf(c, "text", "json", "csv", "html"); err != nil {
		return nil, err
	}
	r.options = replay.Options{By: c.StringSlice("by"), Class: c.String("class")}
	for name, to := range map[string]*time.Time{"since": &r.options.Since, "until": &r.options.Until} {
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

// addAgainst prepares the comparison with a second policy.
func (r *replaying) addAgainst(c *cli.Context) error {
	name := c.String("against")
	if name == "" {
		return nil
	}
	check, err := maddyconf.FromPolicy(name)
	if err != nil {
		var conf *maddyconf.Config
		conf, err = loadConfig(c, name, c.String("check"))
		var absent usage
		if errors.As(err, &absent) && c.IsSet("check") { // it names a block of --config
			conf, err = loadConfig(c, name, "")
		}
		if err != nil {
			return err
		}
		check = conf.Check
		r.tally.NotEvaluated = append(r.tally.NotEvaluated, conf.NotEvaluated...)
	}
	j := check.Judge()
	name = endDryRun(j, name)
	if r.judge.other, err = newJudge(check, c.String("dns")); err != nil {
		return err
	}
	if c.String("memory") == "off" {
		r.judge.other.memory = nil
	}
	r.tally.Compare(name, j.Policy.Rules())
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
		r.tally.Add(&m)
		return nil
	})
}

func (r *replaying) write(c *cli.Context) error {
	path := c.String("output")
	if path == "" {
		return r.writeTo(c.App.Writer)
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.writeTo(file), file.Close())
}

func (r *replaying) writeTo(w io.Writer) error {
	switch r.format {
	case "json":
		return r.tally.WriteJSON(w)
	case "csv":
		return r.tally.WriteCSV(w)
	case "html":
		return r.tally.WriteHTML(w)
	default:
		return r.tally.WriteText(w)
	}
}

// sayStats tells how the input could be read.
func sayStats(w io.Writer, s replay.Stats) {
	fmt.Fprintf(w, "%d lines, %d greetings, %d broken, %d mails without a greeting\n",
		s.Lines, s.Records, s.Broken, s.Skipped[replay.SkippedBorder])
	if s.By != "" {
		fmt.Fprintf(w, "mails read at the border %s; --by names another\n", s.By)
	}
	for _, u := range s.Unread {
		fmt.Fprintf(w, "%s: %v\n", u.Name, u.Err)
	}
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
