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
	"net/netip"
	"os"
	"slices"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
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
	judge   *judge.Judge
	classes map[string]*tally
}

func count(ctx context.Context, files []string) ([]*table, error) {
	presets := []checkhelo.Preset{checkhelo.Lenient, checkhelo.RFC, checkhelo.Strict}
	tables := make([]*table, 0, len(presets))
	for _, p := range presets {
		j := &judge.Judge{Policy: checkhelo.NewPolicy(p)}
		tables = append(tables, &table{p, j, make(map[string]*tally)})
	}
	_, err := replay.Read(ctx, files, replay.Options{}, func(rec *replay.Record) error {
		for _, t := range tables {
			t.add(ctx, rec)
		}
		return nil
	})
	return tables, err
}

// add judges one record by what its receiver wrote down, without the DNS.
func (t *table) add(ctx context.Context, rec *replay.Record) {
	f := facts(rec)
	s := t.judge.Greet(ctx, judge.Conn{Helo: rec.Helo, Client: f.Client, Known: &f, AtRcpt: true})
	rcpt := ""
	if len(rec.Rcpts) > 0 {
		rcpt = rec.Rcpts[0]
	}
	o := s.Rcpt(ctx, "", "", rcpt)
	c := t.classes[rec.Class]
	if c == nil {
		c = &tally{orgs: make(map[string]bool), lost: make(map[string]bool),
			names: make(map[string]int)}
		t.classes[rec.Class] = c
	}
	org := cmp.Or(heloname.OrgDomain(f.Helo.ASCII), f.Helo.ASCII, rec.Helo)
	c.messages += rec.Count
	c.orgs[org] = true
	switch {
	case o.Exempt != "":
		return
	case o.Action == checkhelo.Reject:
		c.rejected += rec.Count
	case o.Action == checkhelo.Quarantine:
		c.quarantined += rec.Count
	default:
		return
	}
	c.lost[org] = true
	c.names[fmt.Sprintf("%s %s %s", rec.Helo, o.Rule(), o.Word())] += rec.Count
}

// facts are what the record says of the client. The HELO name is not looked up.
func facts(rec *replay.Record) checkhelo.Facts {
	f := checkhelo.Facts{Helo: heloname.Parse(rec.Helo), Client: heloname.Unmap(rec.Client),
		Self: &checkhelo.Self{}}
	if self := heloname.Parse(rec.Self).ASCII; self != "" {
		f.Self.Names = []string{self}
	}
	ptr := heloname.Parse(rec.PTR).ASCII
	switch {
	case rec.PTRState == replay.None,
		rec.PTRState != replay.NotRecorded && rec.PTR != "" && ptr == "":
		f.PTR.State, f.Confirmed.State = checkhelo.NotFound, checkhelo.NotFound
	case rec.PTRState == replay.NotRecorded || rec.PTR == "":
	default:
		f.PTR = checkhelo.Answer[[]string]{State: checkhelo.Found, Value: []string{ptr}}
		f.Confirmed.State = checkhelo.NotFound
		if rec.PTRState == replay.Unconfirmed {
			break
		}
		f.Confirmed = f.PTR
		if ptr == f.Helo.ASCII {
			f.Forward = checkhelo.Answer[[]netip.Addr]{
				State: checkhelo.Found, Value: []netip.Addr{f.Client}}
		}
	}
	return f
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
