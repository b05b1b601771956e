package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/cmd/helocheck/fit"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/replay"
)

// The classes that fit knows.
const (
	ham  = "ham"
	spam = "spam"
)

const maxFolds = 100

func fitCommand() *cli.Command {
	flags := append(policyFlags(),
		&cli.StringSliceFlag{
			Name: "max-lost",
			Usage: "let at most this `SHARE` of the ham, such as 0.02%, be rejected or quarantined;" +
				" one for all files, or one for each (default: what the points in force lose)",
		},
		&cli.IntFlag{
			Name: "folds", Value: 5, Usage: "cut the senders into `N` parts for the cross-validation",
		},
		&cli.Uint64Flag{Name: "seed", Value: 1, Usage: "cut and search differently for each `N`"},
		&cli.BoolFlag{Name: "table", Usage: "fit nothing; count rules and policies as Markdown tables"},
		&cli.BoolFlag{Name: "lost", Usage: "fit nothing; name the ham lost as a Markdown table"},
		&cli.StringFlag{Name: "format", Value: "text", Usage: "`F`: text, json"},
	)
	return &cli.Command{
		Name:      "fit",
		Usage:     "choose the points of the rules that score, from mail of known class",
		ArgsUsage: "FILE...",
		Description: "Reads what replay reads; the class of a message has to be ham or spam. Takes\n" +
			"the PTR that the input records and asks no DNS. Points are chosen by hill climbing from\n" +
			"those in force, and again without each part of the senders, to see how they do there.",
		Flags:  flags,
		Action: runFit,
	}
}

// fitting is one run of the command.
type fitting struct {
	paths   []string
	sets    []string // what the paths are called
	check   *module.Check
	source  string
	options fit.Options
	other   int64 // messages of other classes
	counts  map[string]int64
}

func runFit(c *cli.Context) error {
	f, format, err := newFitting(c)
	if err != nil {
		return err
	}
	switch {
	case c.Bool("table"):
		return f.writeTables(c)
	case c.Bool("lost"):
		return f.writeLost(c)
	}
	result, err := f.run(c.Context)
	if err != nil {
		return err
	}
	if format == "json" {
		enc := json.NewEncoder(c.App.Writer)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	return f.write(c.App.Writer, result)
}

func newFitting(c *cli.Context) (f *fitting, format string, err error) {
	f = &fitting{counts: make(map[string]int64)}
	if f.paths, err = operands(c); err != nil {
		return nil, "", err
	}
	if len(f.paths) == 0 {
		return nil, "", usage("fit to what? (see: helocheck fit --help)")
	}
	if format, err = formatOf(c, "text", "json"); err != nil {
		return nil, "", err
	}
	f.options = fit.Options{Folds: c.Int("folds"), Seed: c.Uint64("seed")}
	if f.options.Folds < 2 || f.options.Folds > maxFolds {
		return nil, "", usage(fmt.Sprintf("--folds %d; accepted: 2 to %d", f.options.Folds, maxFolds))
	}
	for _, path := range f.paths {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		if slices.Contains(f.sets, name) {
			name = path
		}
		f.sets = append(f.sets, name)
	}
	if f.options.MaxLost, err = f.maxLost(c.StringSlice("max-lost")); err != nil {
		return nil, "", err
	}
	conf, source, err := loadCheck(c)
	if err != nil {
		return nil, "", err
	}
	f.check, f.source = conf.Check, source
	return f, format, nil
}

// maxLost reads the limits of the files.
func (f *fitting) maxLost(texts []string) (map[string]float64, error) {
	if len(texts) > 1 && len(texts) != len(f.sets) {
		return nil, usage(fmt.Sprintf("%d times --max-lost for %d files; accepted: one for all, or one"+
			" for each", len(texts), len(f.sets)))
	}
	limits := make(map[string]float64)
	for i, text := range texts {
		share, err := shareOf(text)
		if err != nil {
			return nil, usage("--max-lost: " + err.Error())
		}
		for j, name := range f.sets {
			if i == j || len(texts) == 1 {
				limits[name] = share
			}
		}
	}
	return limits, nil
}

// shareOf reads a share as a part of 1 or as a percentage.
func shareOf(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if percent {
		share /= 100
	}
	if err != nil || !(share >= 0 && share <= 1) {
		return 0, fmt.Errorf("%q; accepted: 0 to 1, or 0%% to 100%%", text)
	}
	return share, nil
}

// run judges everything and fits.
func (f *fitting) run(ctx context.Context) (*fit.Result, error) {
	data := fit.NewData(f.options)
	for i := range f.paths {
		err := f.judged(ctx, i, f.check, func(rec *replay.Record, m *report.Message) {
			class := strings.ToLower(rec.Class)
			f.counts[class] += m.Count
			if class != ham && class != spam {
				f.other += m.Count
				return
			}
			data.Add(fit.Sample{
				Set: f.sets[i], Org: orgOf(rec.Helo), Spam: class == spam, Rules: m.Rules, Count: m.Count,
			})
		})
		if err != nil {
			return nil, err
		}
	}
	if f.counts[ham] == 0 || f.counts[spam] == 0 {
		return nil, usage(fmt.Sprintf("%d messages of class ham, %d of class spam, %d of others;"+
			" fit needs both of the first", f.counts[ham], f.counts[spam], f.other))
	}
	return data.Fit(f.check.Judge().Policy)
}

// judged reads file i and tells what check, without DNS, makes of each message.
func (f *fitting) judged(
	ctx context.Context, i int, check *module.Check, each func(*replay.Record, *report.Message),
) error {
	j, err := newJudge(check.Judge(), "recorded")
	if err != nil {
		return err
	}
	_, err = replay.Read(ctx, f.paths[i:i+1], replay.Options{}, func(rec *replay.Record) error {
		m := j.message(ctx, rec)
		each(rec, &m)
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return usage(err.Error())
	}
	return err
}

// orgOf is whatever mail of one house has in common.
func orgOf(helo string) string {
	if ascii := heloname.Parse(helo).ASCII; ascii != "" {
		return heloname.OrgDomain(ascii)
	}
	return strings.ToLower(helo)
}
