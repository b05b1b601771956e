// Command lab makes the figures, pictures and manual page of this project. It
// is for maintainers, runs in a checkout, and is in no package.
//
//	go run ./cmd/lab bench                         # docs/performance.md, on an idle machine
//	go run ./cmd/lab attack                        # floods, and what other clients notice
//	go run ./cmd/lab fit --table corpus.csv        # tables of docs/accuracy.md
//	go run ./cmd/lab corpus collection.csv         # a collection of greetings as CSV for fit
//	go run ./cmd/lab record -o DIR                 # metrics and log of a Maddy under traffic
//	go run ./cmd/lab picture metrics.txt           # panels of the dashboard as SVG
//	go run ./cmd/lab mailog >mail.log              # a large log of Postfix for replay
//	go run ./cmd/lab manual docs/check.helo_fqdn.md # manual page as roff
package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"maddy.example/checkhelo/cmd/lab/attack"
	"maddy.example/checkhelo/cmd/lab/bench"
	"maddy.example/checkhelo/cmd/lab/fit"
	"maddy.example/checkhelo/cmd/lab/mailog"
	"maddy.example/checkhelo/cmd/lab/manual"
	"maddy.example/checkhelo/cmd/lab/picture"
	"maddy.example/checkhelo/cmd/lab/record"
)

// commands return the exit status: 0, 1 for a failure, 2 for wrong usage.
var commands = map[string]func(
	ctx context.Context, args []string, stdout, stderr io.Writer,
) (status int){
	"attack":  attack.Main,
	"bench":   bench.Main,
	"corpus":  fit.Corpus,
	"fit":     fit.Main,
	"mailog":  mailog.Main,
	"manual":  manual.Main,
	"picture": picture.Main,
	"record":  record.Main,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(),
		os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	if len(args) > 0 {
		if command, ok := commands[args[0]]; ok {
			return command(ctx, args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "usage: go run ./cmd/lab COMMAND ...\ncommands: %s; each has -h\n",
		strings.Join(slices.Sorted(maps.Keys(commands)), ", "))
	return 2
}
