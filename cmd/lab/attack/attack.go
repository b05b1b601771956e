// Package attack floods a real Maddy with the check, on loopback, and measures what other clients
// notice. Each flood asks a DNS server that answers slowly or never. Good clients beside the flood
// are timed. Bad clients beside it have to be refused, all of them (RFC 7208, section 8.4).
//
//	go run ./cmd/lab attack
//
// Nothing leaves the machine. The servers get a resolv.conf of their own, so it needs root.
package attack

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"maddy.example/checkhelo/cmd/lab/maddybin"
	"maddy.example/checkhelo/module/build"
)

// Targets: how much a flood may add.
const (
	medianTarget = 100 * time.Millisecond
	worstTarget  = 500 * time.Millisecond
	memoryTarget = 64 // MiB, beyond what the flood costs a Maddy without the check
)

// lab is one run of the command.
type lab struct {
	out, err io.Writer
	maddy    string // binary
	only     string
	clients  int // good ones, and bad ones
	hold     time.Duration
	dir      string // removed at the end
	dns      *resolver
	servers  int // started
}

// Main floods, prints the table, and returns the exit status: 1 where a target is missed.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) (status int) {
	l := lab{out: stdout, err: stderr}
	flags := flag.NewFlagSet("lab attack", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&l.maddy, "maddy", "", "Maddy `BINARY` with the check, instead of building one")
	flags.StringVar(&l.only, "only", "", "one `FLOOD`: "+strings.Join(names(), ", "))
	flags.IntVar(&l.clients, "clients", 50, "good clients, and as many bad ones")
	flags.DurationVar(&l.hold, "hold", 5*time.Second, "flood a Maddy without the check for `TIME`")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() > 0 || l.clients < 1 || l.clients > 1<<12 ||
		l.only != "" && !slices.Contains(names(), l.only):
		flags.Usage()
		return 2
	}
	met, err := l.run(ctx)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, err)
		return 1
	case !met:
		return 1
	}
	return 0
}

func names() (all []string) {
	for i := range floods {
		all = append(all, floods[i].name)
	}
	return all
}

func (l *lab) run(ctx context.Context) (met bool, err error) {
	if os.Getuid() != 0 {
		return false, errors.New("attack: needs root: the servers get a resolv.conf of their own")
	}
	if l.maddy == "" {
		if l.maddy, err = maddybin.Build(ctx, build.Builder{}); err != nil {
			return false, err
		}
	}
	if l.dir, err = os.MkdirTemp("", "helo-attack-"); err != nil {
		return false, fmt.Errorf("attack: %w", err)
	}
	defer os.RemoveAll(l.dir)
	resolv := "nameserver " + systemDNS + "\noptions timeout:1 attempts:1\n"
	if err = os.WriteFile(filepath.Join(l.dir, "resolv.conf"), []byte(resolv), 0o600); err != nil {
		return false, fmt.Errorf("attack: %w", err)
	}
	if l.dns, err = newResolver(); err != nil {
		return false, err
	}
	defer l.dns.close()
	head(l.out, l.clients)
	met = true
	for i := range floods {
		if l.only != "" && l.only != floods[i].name {
			continue
		}
		fmt.Fprintf(l.err, "attack: %s\n", floods[i].name)
		r, err := l.measure(ctx, &floods[i])
		if err != nil {
			return false, err
		}
		r.write(l.out)
		for _, fault := range r.missed(l.clients) {
			fmt.Fprintf(l.err, "missed: %s: %s\n", r.name, fault)
			met = false
		}
	}
	return met, nil
}

// row is what one flood did.
type row struct {
	name         string
	alone, among []time.Duration // of good clients, without and beside the flood, sorted
	lost         int             // good clients that were not accepted
	refused      int             // bad clients
	questions    int64           // that the check asked meanwhile
	with, plain  use             // with the check, and without it
}

// use is what a server took, at most, beyond what it took before the flood.
type use struct {
	files  int // descriptors, all of them
	memory int // MiB resident
	lines  int // in the log
}

// measure floods one server with the check, and one without.
func (l *lab) measure(ctx context.Context, f *flood) (r row, err error) {
	r.name = f.name
	s, err := l.start(ctx, f.files, true)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if r.alone, r.lost, err = l.good(ctx, s.address); err != nil {
		return r, err
	}
	asked := l.dns.asked.Load()
	r.with, err = l.during(ctx, s, f, func(ctx context.Context) error {
		bad := make(chan error, 1)
		go func() {
			refused, failed := l.bad(ctx, s.address)
			r.refused = refused
			bad <- failed
		}()
		among, lost, failed := l.good(ctx, s.address)
		r.among, r.lost = among, r.lost+lost
		return errors.Join(failed, <-bad)
	})
	r.questions = l.dns.asked.Load() - asked
	if err != nil {
		return r, err
	}
	plain, err := l.start(ctx, f.files, false)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, plain.stop()) }()
	r.plain, err = l.during(ctx, plain, f, func(ctx context.Context) error {
		return pause(ctx, l.hold)
	})
	return r, err
}

// during runs do while the flood is at its height, and ends the flood.
func (l *lab) during(
	ctx context.Context, s *server, f *flood, do func(context.Context) error,
) (use, error) {
	flooded, end := context.WithCancel(ctx)
	before := s.use()
	watched := make(chan use)
	go func() {
		var most use
		for pause(flooded, 100*time.Millisecond) == nil {
			most = most.max(s.use())
		}
		watched <- most.max(s.use())
	}()
	stopped := f.begin(flooded, s.address)
	err := do(ctx)
	end()
	stopped()
	most := <-watched
	most.memory -= before.memory
	most.lines -= before.lines
	return most, err
}

func (u use) max(other use) use {
	return use{max(u.files, other.files), max(u.memory, other.memory), max(u.lines, other.lines)}
}

// pause waits, and returns an error where ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func median(sorted []time.Duration) time.Duration { return sorted[len(sorted)/2] }
func worst(sorted []time.Duration) time.Duration  { return sorted[len(sorted)-1] }

// missed names the targets that a flood breaks.
func (r *row) missed(clients int) (faults []string) {
	fault := func(broken bool, format string, args ...any) {
		if broken {
			faults = append(faults, fmt.Sprintf(format, args...))
		}
	}
	more := median(r.among) - median(r.alone)
	fault(more > medianTarget, "good clients wait %d ms longer in the median", more.Milliseconds())
	more = worst(r.among) - worst(r.alone)
	fault(more > worstTarget, "the slowest good client waits %d ms longer", more.Milliseconds())
	fault(r.lost > 0, "%d good clients were not accepted", r.lost)
	fault(r.refused < clients, "%d of %d bad clients were refused", r.refused, clients)
	grown := r.with.memory - r.plain.memory
	fault(grown > memoryTarget, "memory grows by %d MiB more than without the check", grown)
	return faults
}

func head(w io.Writer, clients int) {
	fmt.Fprintf(w, "| flood | good client alone: median, worst | beside the flood | bad refused of %d"+
		" | DNS questions | descriptors (no check) | memory, MiB more (no check) | log lines |\n"+
		"| --- | --- | --- | --- | --- | --- | --- | --- |\n", clients)
}

func (r *row) write(w io.Writer) {
	fmt.Fprintf(w, "| %s | %d, %d ms | %d, %d ms | %d | %d | %d (%d) | %d (%d) | %d |\n", r.name,
		median(r.alone).Milliseconds(), worst(r.alone).Milliseconds(),
		median(r.among).Milliseconds(), worst(r.among).Milliseconds(),
		r.refused, r.questions, r.with.files, r.plain.files, r.with.memory, r.plain.memory,
		r.with.lines)
}
