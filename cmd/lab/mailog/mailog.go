// Package mailog makes a log of Postfix as large as wanted, to measure helocheck replay with:
// a few thousand hosts that send most of the mail, and a stream of hosts that come once.
package mailog

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

const help = `usage: go run ./cmd/lab mailog [OPTION...] >mail.log

Writes a log of Postfix with its first step of docs/migrate.md. The same options
give the same log.

`

// Main writes the log to stdout. It returns the exit status.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	flags := flag.NewFlagSet("lab mailog", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, help)
		flags.PrintDefaults()
	}
	lines := flags.Int("lines", 1_000_000, "write about `N` lines")
	hosts := flags.Uint64("hosts", 5000, "let `N` hosts send nine of ten messages")
	seed := flags.Uint64("seed", 1, "write a different log for each `N`")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil || flags.NArg() > 0 || *hosts == 0:
		return 2
	}
	if err := write(ctx, stdout, *lines, *hosts, *seed); err != nil {
		fmt.Fprintln(stderr, "lab mailog:", err)
		return 1
	}
	return 0
}

// start is the time of the first message.
var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func write(ctx context.Context, w io.Writer, lines int, hosts, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // the same log each time
	zipf := rand.NewZipf(rnd, 1.2, 8, hosts-1)
	out := bufio.NewWriterSize(w, 1<<16)
	at := start
	for n := 0; n < lines && ctx.Err() == nil; {
		at = at.Add(time.Duration(rnd.IntN(200)) * time.Millisecond)
		if rnd.IntN(10) > 0 {
			n += good(out, at, zipf.Uint64(), n)
		} else {
			n += bad(out, at, rnd, n)
		}
	}
	return errors.Join(ctx.Err(), out.Flush())
}

// good writes the lines of a message of one of the hosts.
func good(w io.Writer, at time.Time, host uint64, n int) int {
	org := host / 3
	helo := fmt.Sprintf("mail%d.example%d.org", host%3, org)
	client := fmt.Sprintf("%s[192.%d.%d.%d]", helo, 20+org>>8, org&0xff, 10+host%3)
	line := lineOf(w, at)
	from := fmt.Sprintf("a%d@example%d.org", n%1000, org)
	line("smtpd[%d]: NOQUEUE: info: RCPT from %s: <%s>: Helo command greeting; from=<%s>"+
		" to=<bob@example.com> proto=ESMTP helo=<%s>", 1000+n%50, client, helo, from, helo)
	line("smtpd[%d]: %010X: client=%s", 1000+n%50, n, client)
	line("cleanup[99]: %010X: message-id=<%d@example%d.org>", n, n, org)
	line("qmgr[98]: %010X: from=<%s>, size=31000, nrcpt=1 (queue active)", n, from)
	line("lmtp[97]: %010X: to=<bob@example.com>, relay=mx[private/lmtp], delay=0.02,"+
		" delays=0.01/0.01/0/0, dsn=2.0.0, status=sent (250 2.0.0 <bob@example.com> Saved)", n)
	line("qmgr[98]: %010X: removed", n)
	return 6
}

// bad writes the lines of a host that comes once.
func bad(w io.Writer, at time.Time, rnd *rand.Rand, n int) int {
	address := fmt.Sprintf("198.%d.%d.%d", 51+rnd.IntN(50), rnd.IntN(256), 1+rnd.IntN(254))
	helo := []string{
		"ylmf-pc", "localhost", address, fmt.Sprintf("host%d.example.net", rnd.IntN(1_000_000)),
	}[rnd.IntN(4)]
	line := lineOf(w, at)
	line("smtpd[%d]: connect from unknown[%s]", 1000+n%50, address)
	line("smtpd[%d]: NOQUEUE: reject: RCPT from unknown[%s]: 554 5.7.1 <b@example.com>: Relay access"+
		" denied; from=<x%d@example.net> to=<b@example.com> proto=ESMTP helo=<%s>",
		1000+n%50, address, n%7, helo)
	line("smtpd[%d]: disconnect from unknown[%s] ehlo=1 mail=1 rcpt=0/1 commands=2/3",
		1000+n%50, address)
	return 3
}

func lineOf(w io.Writer, at time.Time) func(format string, args ...any) {
	stamp := at.Format("2006-01-02T15:04:05.000000-07:00")
	return func(format string, args ...any) {
		fmt.Fprintf(w, stamp+" mx postfix/"+format+"\n", args...)
	}
}
