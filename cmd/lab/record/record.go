// Package record makes the material of examples/monitoring: it starts a real
// Maddy with the check on loopback, lets synthetic clients write to it for a
// while, and keeps Maddy's log and metrics. Nothing leaves the machine.
//
//	go run ./cmd/lab record -o DIR [-for 2m] [-clients 127.0.2]
//
// DIR gets metrics.txt, one scrape after the other, and maddy.log.
package record

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"maddy.example/checkhelo/cmd/lab/maddybin"
	"maddy.example/checkhelo/module/build"
)

const startLimit = 30 * time.Second

// recorder is one run.
type recorder struct {
	dir      string
	clients  string // the first three octets of the clients' addresses
	duration time.Duration
	pause    time.Duration // between two sessions
	every    time.Duration // between two scrapes

	smtp, metrics string // host:port
	dns           *resolver
}

// Main records, and returns the exit status.
func Main(ctx context.Context, args []string, _, stderr io.Writer) (status int) {
	r := recorder{pause: 100 * time.Millisecond}
	flags := flag.NewFlagSet("lab record", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&r.dir, "o", "", "write into `DIR`, which must exist")
	flags.StringVar(&r.clients, "clients", "127.0.2", "first three octets of the clients' addresses")
	flags.DurationVar(&r.duration, "for", 2*time.Minute, "record for `TIME`")
	flags.DurationVar(&r.every, "every", 2*time.Second, "scrape every `TIME`")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	if err := r.run(ctx); err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

// configuration is that of a small MX; all its questions go to our resolver.
const configuration = `state_dir %[1]s/state
runtime_dir %[1]s/run
hostname mx1.example.org
tls off
log %[1]s/maddy.log
openmetrics tcp://%[3]s { }
smtp tcp://%[2]s {
    check {
        helo_fqdn {
            self_domains .example.org
            dns_servers %[4]s
            dns_timeout 500ms
            cache_size 64
            exempt_networks %[5]s.200/32
        }
    }
    destination example.org {
        deliver_to dummy
    }
    default_destination {
        reject 554 5.7.1 "Relay access denied"
    }
}
`

func (r *recorder) run(ctx context.Context) (err error) {
	dir, err := filepath.Abs(r.dir)
	if err != nil || r.dir == "" {
		return fmt.Errorf("record: no folder: -o %q: %w", r.dir, err)
	}
	binary, err := maddybin.Build(ctx, build.Builder{Tags: "debugflags"})
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "checkhelo-record-")
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	defer os.RemoveAll(work)
	if r.dns, err = newResolver(r.clients); err != nil {
		return err
	}
	defer r.dns.close()
	if r.smtp, err = freePort(); err != nil {
		return err
	}
	if r.metrics, err = freePort(); err != nil {
		return err
	}
	text := fmt.Sprintf(configuration, work, r.smtp, r.metrics, r.dns.address, r.clients)
	conf := filepath.Join(work, "maddy.conf")
	if err = os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	stop, err := start(ctx, binary, conf)
	if err != nil {
		return err
	}
	err = r.record(ctx, filepath.Join(dir, "metrics.txt"))
	err = errors.Join(err, stop())
	log, readErr := os.ReadFile(filepath.Join(work, "maddy.log"))
	//nolint:gosec // G703: the caller names the folder
	return errors.Join(err, readErr, os.WriteFile(filepath.Join(dir, "maddy.log"), log, 0o600))
}

func freePort() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("record: %w", err)
	}
	return listener.Addr().String(), listener.Close()
}

// start runs Maddy until stop is called.
func start(ctx context.Context, binary, conf string) (stop func() error, err error) {
	//nolint:gosec // G204: the binary that was built here
	cmd := exec.CommandContext(context.WithoutCancel(ctx), binary, "--config", conf, "run")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return func() error {
		err := errors.Join(cmd.Process.Signal(os.Interrupt), cmd.Wait())
		if err != nil {
			return fmt.Errorf("record: Maddy: %w\n%s", err, said.String())
		}
		return nil
	}, nil
}
