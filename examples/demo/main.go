// Command demo shows the HELO check at work: it builds a custom Maddy, starts
// it on loopback, lets clients with good and bad names speak to it, and prints
// what became of each. Then the server stays up for the reader's own trials.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"maddy.example/checkhelo/cmd/lab/maddybin"
	"maddy.example/checkhelo/module/build"
)

const usage = `usage: go run ./examples/demo [-once] [-full]

Builds a Maddy with the HELO check, starts it on loopback and lets clients with
good and bad names speak to it. Nothing is installed and nothing leaves the machine.

`

func main() {
	// Whatever ends the program ends the server: SIGPIPE comes from `demo | head`.
	ctx, stop := signal.NotifyContext(context.Background(),
		os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	d := demo{out: os.Stdout, err: os.Stderr, cases: greetings()}
	code := d.main(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// demo is one run of the program.
type demo struct {
	out, err io.Writer
	cases    []greeting

	once, full bool
	dir        string // the server's folder, for the test that it is gone afterwards
}

// main returns the exit status: 0 when all came as expected, 1 when not, 2 for wrong usage.
func (d *demo) main(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(d.err)
	flags.BoolVar(&d.once, "once", false, "end after the table; status 0 only if all came as expected")
	flags.BoolVar(&d.full, "full", false, "show replies in full length, not only their first sentence")
	flags.Usage = func() {
		fmt.Fprint(d.err, usage)
		flags.PrintDefaults()
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() != 0:
		flags.Usage()
		return 2
	}
	wrong, err := d.run(ctx)
	if err != nil {
		fmt.Fprintln(d.err, err)
		return 1
	}
	if wrong != 0 {
		fmt.Fprintf(d.err, "demo: %d not as expected\n", wrong)
		return 1
	}
	return 0
}

// run builds, starts, shows and clears away. It returns how many things were not as expected.
func (d *demo) run(ctx context.Context) (wrong int, err error) {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	progress := newProgress(d.err, ticker.C)
	binary, err := maddybin.Build(ctx, build.Builder{Tags: "debugflags", Progress: progress.say})
	progress.end()
	if err != nil {
		return 0, err
	}
	s, err := newServer(ctx, binary)
	if err != nil {
		return 0, err
	}
	d.dir = s.dir
	defer func() { err = errors.Join(err, s.stop()) }()
	if err = s.start(ctx); err != nil {
		return 0, err
	}
	fmt.Fprintf(d.out, "Maddy is up on %s as mx1.example.org, takes mail for example.org,"+
		" policy strict; beside it what the default policy, rfc, does.\n\n", s.mx)
	if wrong, err = d.showGreetings(ctx, s); err != nil {
		return wrong, err
	}
	misplaced, err := d.showFolders(ctx, s)
	if err != nil || d.once {
		return wrong + misplaced, err
	}
	return wrong + misplaced, d.stayUp(ctx, s)
}

func (d *demo) showGreetings(ctx context.Context, s *server) (wrong int, err error) {
	t := table{out: d.out, colour: wantsColour(d.out), whole: d.full}
	t.head()
	var example outcome
	for _, g := range d.cases {
		g = g.complete()
		o, err := s.speak(ctx, g)
		if err != nil {
			return wrong, err
		}
		t.row(g, o)
		if !g.matches(o) {
			wrong++
		}
		if example.log == "" {
			example = o
		}
	}
	if !d.full {
		d.paragraph("Replies are shown up to their first sentence (-full: all). The first one in full:",
			fmt.Sprintf("%d %s", example.code, example.text))
	}
	d.paragraph("What the server's log says about it:", example.log)
	return wrong, nil
}

func (d *demo) paragraph(heading, text string) {
	const width = 110 // columns
	fmt.Fprintf(d.out, "\n%s\n  %s\n", heading, strings.Join(wrap(text, width), "\n  "))
}

// showFolders lists where the accepted messages lie. It returns how many folders hold
// another number of messages than expected.
func (d *demo) showFolders(ctx context.Context, s *server) (wrong int, err error) {
	for _, folder := range []struct {
		name     string
		messages int
	}{{"Junk", quarantined}, {"INBOX", delivered}} {
		list, err := s.ctl(ctx, "imap-msgs", "list", userName, folder.name)
		if err != nil {
			return wrong, err
		}
		fmt.Fprintf(d.out, "\nmaddy imap-msgs list %s %s\n  %s\n", userName, folder.name,
			strings.NewReplacer("\n\n", "\n  ", "\n", "\n  ").Replace(strings.TrimSpace(list)))
		if n := strings.Count(list, "UID "); n != folder.messages {
			fmt.Fprintf(d.out, "  ^ NOT AS EXPECTED: %d messages, not %d\n", n, folder.messages)
			wrong++
		}
	}
	return wrong, d.showTrace(ctx, s)
}

// showTrace prints the header field that the check left in a quarantined message.
func (d *demo) showTrace(ctx context.Context, s *server) error {
	message, err := s.ctl(ctx, "imap-msgs", "dump", userName, "Junk", "1")
	if err != nil || message == "" {
		return err
	}
	head, err := textproto.NewReader(bufio.NewReader(strings.NewReader(message))).ReadMIMEHeader()
	if err != nil {
		return fmt.Errorf("demo: message in Junk: %w", err)
	}
	const field = "X-Helo-Check"
	d.paragraph("The first message in Junk says why:", field+": "+head.Get(field))
	return nil
}

const manual = `
Now you. In another terminal: nc %s %s     (or telnet instead of nc)
  HELO foo.bar.local
  MAIL FROM:<you@example.net>
  RCPT TO:<bob@example.org>
Submission: %s, user %s, password %s
Log:        %s
Ctrl-C stops the server and removes everything.
`

// stayUp waits for Ctrl-C.
func (d *demo) stayUp(ctx context.Context, s *server) error {
	host, port, err := net.SplitHostPort(s.mx)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	fmt.Fprintf(d.out, manual, host, port, s.submission, userName, password, s.logFile())
	select {
	case <-ctx.Done():
		fmt.Fprintln(d.out, "\nStopping.")
		return nil
	case end := <-s.exited:
		s.exited <- end
		return fmt.Errorf("demo: Maddy ended by itself: %w", end)
	}
}
