// Package bench measures what the HELO check costs a mail server. It runs a custom Maddy with and
// without the check, and beside it Debian's Postfix and Haraka with and without theirs, in
// alternating runs on loopback. Table, picture and every single run go into docs.
package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"
)

const usage = `usage: go run ./cmd/lab bench [OPTION...]     (in the checkout, as root, on Debian)

Measures messages per second and processor time per message of Maddy without a
check, with policy rfc and with policy strict, and of Postfix and Haraka with
their HELO checks off and on. Writes docs/performance.md (between the marks),
docs/performance.svg and docs/performance/end-to-end.csv.

Postfix and unbound are unpacked from Debian's packages and Haraka is fetched by
npm, into the user's cache directory: nothing is installed, and no server is
left running. What cannot be had is left out, with a message.

`

// Main measures and writes into the docs. It returns the exit status.
func Main(ctx context.Context, args []string, _, stderr io.Writer) (status int) {
	b := bench{err: stderr}
	return b.main(ctx, args)
}

// bench is one run of the program.
type bench struct {
	err io.Writer

	pairs    int
	messages int // of a run with a warm cache; a cold one has a quarter
	sessions int // at the same time
	only     string
	docs     string // folder to write to
	maddy    string // binary; "": build one
	profile  string // file; "": measure
	cold     bool   // profile new clients
}

// main returns the exit status: 0 when all was measured, 1 when not, 2 for wrong usage.
func (b *bench) main(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(b.err)
	flags.IntVar(&b.pairs, "pairs", 24, "pairs of runs, off and on")
	flags.IntVar(&b.messages, "messages", 1200,
		"messages of a run; a quarter with a cold cache")
	flags.IntVar(&b.sessions, "sessions", 20, "sessions at the same time")
	flags.StringVar(&b.only, "only", "", "measure only `SERVER`: maddy, postfix or haraka")
	flags.StringVar(&b.docs, "docs", "docs", "`FOLDER` to write to")
	flags.StringVar(&b.maddy, "maddy", "",
		"Maddy `BINARY` to use, built with the probe of cmd/lab/bench, instead of building one")
	flags.StringVar(&b.profile, "profile", "",
		"write a CPU profile of Maddy under policy strict to `FILE`, and measure nothing")
	flags.BoolVar(&b.cold, "cold", false, "with -profile: every client is new")
	flags.Usage = func() {
		fmt.Fprint(b.err, usage)
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() != 0 || b.pairs < 1 || b.messages < 2 || b.sessions < 1:
		flags.Usage()
		return 2
	}
	begun := time.Now()
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(b.err, err)
		return 1
	}
	b.say("done in %s", time.Since(begun).Round(time.Second))
	return 0
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.err, "bench: "+format+"\n", args...)
}

// run brings everything up, measures, writes and clears away.
func (b *bench) run(ctx context.Context) (err error) {
	if os.Getuid() != 0 {
		return errors.New("bench: needs root: the servers get a resolv.conf of their own, and" +
			" Postfix starts as root")
	}
	l, err := newLab(ctx, b)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if b.profile != "" {
		return l.takeProfile(ctx, b.profile)
	}
	contests, err := l.contests(ctx)
	if err != nil {
		return err
	}
	if err = l.warmUp(ctx, contests); err != nil {
		return err
	}
	results, err := l.alternate(ctx, contests)
	if err != nil {
		return err
	}
	return b.write(results, describeMachine(l.programs(ctx)))
}
