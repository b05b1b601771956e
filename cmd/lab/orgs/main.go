// Command orgs counts what each policy loses and catches in recorded mail, in
// messages and in organisations: distinct organisational domains of the HELO
// name, or the name itself where there is none. It prints the first table of
// docs/accuracy.md:
//
//	go run ./cmd/lab/orgs FILE...
//
// FILE is whatever helocheck replay reads; it stays outside of the repository.
// With -lost the names of lost good mail follow, which are not for publication.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/cmd/lab/recorded"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/replay"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	flags := flag.NewFlagSet("orgs", flag.ContinueOnError)
	flags.SetOutput(stderr)
	lost := flags.Bool("lost", false, "list the names of lost good mail")
	if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
		fmt.Fprintln(stderr, "usage: go run ./cmd/lab/orgs [-lost] FILE...")
		return 2
	}
	tables, err := count(ctx, flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "orgs:", err)
		return 1
	}
	write(stdout, tables)
	if *lost {
		writeLost(stdout, tables)
	}
	return 0
}

// tally counts one class of mail.
type tally struct {
	messages, rejected, quarantined int
	orgs, lost                      map[string]bool
	names                           map[string]int // messages by HELO name, rules and action
}

// table is what one policy does, by class.
type table struct {
	preset  checkhelo.Preset
	classes map[string]*tally
}

// count judges by what the receivers wrote down, without the DNS.
func count(ctx context.Context, files []string) (tables []*table, err error) {
	for _, p := range []checkhelo.Preset{checkhelo.Lenient, checkhelo.RFC, checkhelo.Strict} {
		by, err := recorded.New(string(p))
		if err != nil {
			return nil, err
		}
		t := &table{p, make(map[string]*tally)}
		for _, file := range files {
			if err := by.Read(ctx, file, t.add); err != nil {
				return nil, err
			}
		}
		tables = append(tables, t)
	}
	return tables, nil
}

func (t *table) add(rec *replay.Record, m *report.Message) {
	c := t.classes[rec.Class]
	if c == nil {
		c = &tally{orgs: make(map[string]bool), lost: make(map[string]bool),
			names: make(map[string]int)}
		t.classes[rec.Class] = c
	}
	name := heloname.Parse(rec.Plain()).ASCII
	org := cmp.Or(heloname.OrgDomain(name), name, rec.Helo)
	c.messages += rec.Count
	c.orgs[org] = true
	switch {
	case m.Exempt != "":
		return
	case m.Action == checkhelo.Reject:
		c.rejected += rec.Count
	case m.Action == checkhelo.Quarantine:
		c.quarantined += rec.Count
	default:
		return
	}
	c.lost[org] = true
	c.names[fmt.Sprintf("%s %s %s", rec.Helo, m.Hits[0].Rule, m.Action)] += rec.Count
}

func write(w io.Writer, tables []*table) {
	fmt.Fprintln(w, "| policy | mail | organisations | of them hit | messages | rejected "+
		"| quarantined | both | at most |")
	fmt.Fprintln(w, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, t := range tables {
		for _, class := range slices.Sorted(maps.Keys(t.classes)) {
			c := t.classes[class]
			both := c.rejected + c.quarantined
			fmt.Fprintf(w, "| %s | %s | %d | %d, %.2f %% | %d | %d | %d | %d, %.3f %% | %.3f %% |\n",
				t.preset, class, len(c.orgs), len(c.lost), percent(len(c.lost), len(c.orgs)),
				c.messages, c.rejected, c.quarantined, both, percent(both, c.messages),
				100*upper(len(c.lost), len(c.orgs)))
		}
	}
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }

// upper returns the share of organisations that n hits of total do not rule out at 95 %: 3/total
// for none (the rule of three), else the upper end of Wilson's interval.
func upper(n, total int) float64 {
	if total == 0 {
		return 1
	}
	if n == 0 {
		return min(1, 3/float64(total))
	}
	return wilson(float64(n)/float64(total), float64(total))
}

func writeLost(w io.Writer, tables []*table) {
	for _, t := range tables {
		if c := t.classes["ham"]; c != nil {
			for _, name := range slices.Sorted(maps.Keys(c.names)) {
				fmt.Fprintf(w, "%s: %d %s\n", t.preset, c.names[name], name)
			}
		}
	}
}
