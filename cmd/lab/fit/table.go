package fit

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/cmd/lab/recorded"
	"maddy.example/checkhelo/module/replay"
)

// set is one class of one file.
type set struct {
	file  int
	class string
}

// tables are the counts of each policy by set.
type tables struct {
	sets     []set
	byPolicy map[string]map[set]*report.Class
}

var policies = []string{"lenient", "rfc", "strict"}

// writeTables writes what each policy does to each file, and what each rule hits.
func (f *fitting) writeTables(ctx context.Context, w io.Writer) error {
	t := tables{byPolicy: make(map[string]map[set]*report.Class)}
	for _, policy := range policies {
		t.byPolicy[policy] = make(map[set]*report.Class)
		for i := range f.paths {
			classes, err := f.count(ctx, policy, i)
			if err != nil {
				return err
			}
			for _, class := range slices.Sorted(maps.Keys(classes)) {
				s := set{i, class}
				t.byPolicy[policy][s] = classes[class]
				if !slices.Contains(t.sets, s) {
					t.sets = append(t.sets, s)
				}
			}
		}
	}
	fmt.Fprintln(w, "| policy | mail | all | rejected | quarantined | both |")
	fmt.Fprintln(w, "| --- | --- | ---: | ---: | ---: | ---: |")
	for _, policy := range policies {
		for _, s := range t.sets {
			f.writeCost(w, policy, s, t.byPolicy[policy][s])
		}
	}
	f.writeRules(w, &t)
	return nil
}

func (f *fitting) writeRules(w io.Writer, t *tables) {
	fmt.Fprint(w, "\n| rule |")
	for _, s := range t.sets {
		fmt.Fprintf(w, " %s |", f.title(s))
	}
	fmt.Fprintf(w, "\n| --- |%s\n", strings.Repeat(" ---: |", len(t.sets)))
	for _, r := range checkhelo.Rules() {
		fmt.Fprintf(w, "| %s |", r.Name)
		for _, s := range t.sets {
			// A policy does not count a rule that it has switched off.
			all := t.byPolicy["strict"][s]
			hit := cmp.Or(all.Rules[r.Name], t.byPolicy["rfc"][s].Rules[r.Name], &report.Rule{})
			fmt.Fprintf(w, " %s |", cellOf(&hit.Count, all))
		}
		fmt.Fprintln(w)
	}
}

func (f *fitting) title(s set) string { return f.sets[s.file] + " " + s.class }

func (f *fitting) writeCost(w io.Writer, policy string, s set, all *report.Class) {
	rejected, quarantined := all.Actions["reject"], all.Actions["quarantine"]
	both := rejected.Messages + quarantined.Messages
	fmt.Fprintf(w, "| %s | %s | %d / %d | %s | %s | %d, %s |\n", policy, f.title(s),
		all.Messages, all.Names, cellOf(rejected, all), cellOf(quarantined, all),
		both, percent(both, all.Messages))
}

// cellOf is messages, their share, and names.
func cellOf(part *report.Count, all *report.Class) string {
	if part.Messages == 0 {
		return "0"
	}
	return fmt.Sprintf("%d, %s / %d", part.Messages, percent(part.Messages, all.Messages), part.Names)
}

func percent(n, of int64) string {
	return fmt.Sprintf("%.3f %%", 100*float64(n)/float64(max(of, 1)))
}

// count sums up file i under a policy without settings.
func (f *fitting) count(
	ctx context.Context, policy string, i int,
) (map[string]*report.Class, error) {
	judge, err := recorded.New(policy)
	if err != nil {
		return nil, err
	}
	tally := report.New(policy, judge.Policy.Rules())
	err = judge.Read(ctx, f.paths[i], func(_ *replay.Record, m *report.Message) { tally.Add(m) })
	return tally.Sum().Classes, err
}
