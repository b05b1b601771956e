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
	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/replay"
)

const (
	liveLookups = 64   // greetings looked up side by side
	liveQueue   = 1024 // greetings read ahead
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

func runReplay(c *cli.Context) error {
	r, err := newReplaying(c)
	if err != nil {
		return err
	}
	// Little of what is read stays: memory counts more than the collector's time here.
	defer debug.SetGCPercent(debug.SetGCPercent(30))
	return output(c, func(w io.Writer) (problem error) {
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
		case err == nil || isInterrupt(err):
			problem = writeTally(out, r.tally, format)
		}
		return errors.Join(problem, out.Flush(), ended(&stats, err))
	})
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

// Exit statuses of replay for input that could not be read.
const (
	exitUnread = 2 // nothing of it
	exitPart   = 4 // a part of it
)

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

func writeTally(w io.Writer, t *report.Report, format string) error {
	switch format {
	case "json":
		return printJSON(w, t.Sum())
	case "csv":
		return t.WriteCSV(w)
	case "html":
		return t.WriteHTML(w)
	default:
		var text strings.Builder
		err := t.WriteText(&text)
		fmt.Fprint(w, newScreen(w).table(text.String()))
		return err
	}
}

// notes tell the reader of a report what it lacks.
func (r *replaying) notes(s *replay.Stats) []string {
	text, err := render("notes", struct {
		*replay.Stats
		Further int64 // files that are not among Unread
		Memory  *simulation
	}{s, s.Inputs - s.Whole - int64(len(s.Unread)), r.judge.memory})
	if err != nil {
		return []string{err.Error()}
	}
	return strings.Split(text, "\n")
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
