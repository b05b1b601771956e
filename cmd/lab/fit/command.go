package fit

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/cmd/lab/recorded"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/replay"
)

const (
	ham  = "ham"
	spam = "spam"
)

const maxFolds = 100

const help = `usage: go run ./cmd/lab fit [OPTION...] FILE...

Chooses the points of the rules that score, from mail of known class. Reads what
helocheck replay reads; the class of a message has to be ham or spam. Takes the
PTR that the input records and asks no DNS. Points are chosen by hill climbing
from those in force, and again without each part of the senders, to see how they
do there.

`

// usage is an error of the arguments.
type usage string

func (u usage) Error() string { return string(u) }

// fitting is one run of the command.
type fitting struct {
	paths   []string
	sets    []string // what the paths are called
	policy  string   // preset or path of a maddy.conf
	judge   *recorded.Judge
	options Options
	other   int64 // messages of other classes
	counts  map[string]int64

	table, lost, json bool
	maxLost           []string
}

// Main fits, or counts what the policies do. It returns the exit status.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	return ended(stderr, fitFiles(ctx, args, stdout, stderr))
}

// ended says what went wrong and returns the exit status of err.
func ended(stderr io.Writer, err error) (status int) {
	var wrong usage
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &wrong):
		status = 2
	case errors.Is(err, fs.ErrNotExist):
		status = 2
	default:
		status = 1
	}
	fmt.Fprintln(stderr, err)
	return status
}

func fitFiles(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	f, err := newFitting(args, stderr)
	if err != nil {
		return err
	}
	switch {
	case f.table:
		return f.writeTables(ctx, stdout)
	case f.lost:
		return f.writeLost(ctx, stdout)
	}
	result, err := f.run(ctx)
	if err != nil {
		return err
	}
	if f.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	return f.write(stdout, result)
}

func newFitting(args []string, stderr io.Writer) (*fitting, error) {
	f := &fitting{counts: make(map[string]int64)}
	flags := flag.NewFlagSet("lab fit", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, help)
		flags.PrintDefaults()
	}
	flags.StringVar(&f.policy, "policy", "rfc",
		"judge by `P`: lenient, rfc, strict, or the path of a maddy.conf")
	flags.Func("max-lost", "let at most this `SHARE` of the ham, such as 0.02%, be rejected or"+
		" quarantined;\none for all files, or one for each (default: what the points in force lose)",
		func(text string) error {
			f.maxLost = append(f.maxLost, text)
			return nil
		})
	flags.IntVar(&f.options.Folds, "folds", 5,
		"cut the senders into `N` parts for the cross-validation")
	flags.Uint64Var(&f.options.Seed, "seed", 1, "cut and search differently for each `N`")
	flags.BoolVar(&f.table, "table", false,
		"fit nothing; count rules and policies as Markdown tables")
	flags.BoolVar(&f.lost, "lost", false, "fit nothing; name the ham lost as a Markdown table")
	flags.BoolVar(&f.json, "json", false, "write the result as JSON")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil, err
	} else if err != nil {
		return nil, usage("lab fit: " + err.Error())
	}
	if f.paths = flags.Args(); len(f.paths) == 0 {
		return nil, usage("fit to what? (see: lab fit -h)")
	}
	if f.options.Folds < 2 || f.options.Folds > maxFolds {
		return nil, usage(fmt.Sprintf("--folds %d; accepted: 2 to %d", f.options.Folds, maxFolds))
	}
	for _, path := range f.paths {
		name, _, _ := strings.Cut(filepath.Base(path), ".")
		if slices.Contains(f.sets, name) {
			name = path
		}
		f.sets = append(f.sets, name)
	}
	var err error
	if f.options.MaxLost, err = f.limits(); err != nil {
		return nil, err
	}
	if f.judge, err = recorded.New(f.policy); err != nil {
		return nil, usage("--policy: " + err.Error())
	}
	return f, nil
}

// limits reads the limits of the files.
func (f *fitting) limits() (map[string]float64, error) {
	texts := f.maxLost
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

// run reads everything and chooses points.
func (f *fitting) run(ctx context.Context) (*Result, error) {
	data := NewData(f.options)
	for i, path := range f.paths {
		err := f.judge.Read(ctx, path, func(rec *replay.Record, m *report.Message) {
			class := strings.ToLower(rec.Class)
			f.counts[class] += int64(m.Count)
			if class != ham && class != spam {
				f.other += int64(m.Count)
				return
			}
			data.Add(Sample{
				Set: f.sets[i], Org: orgOf(rec.Helo), Spam: class == spam, Rules: m.Rules,
				Count: int64(m.Count),
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
	return data.Fit(f.judge.Policy)
}

// orgOf is whatever mail of one house has in common.
func orgOf(helo string) string {
	if ascii := heloname.Parse(helo).ASCII; ascii != "" {
		return heloname.OrgDomain(ascii)
	}
	return strings.ToLower(helo)
}
