package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/foxcpp/go-mockdns"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 10 * time.Second
	dnsTries   = 10

	userName = "bob@example.org"
	password = "demo"
	ourIP    = "127.0.0.25"
)

//go:embed maddy.conf
var configuration []byte

// server is one Maddy with a folder of its own, and the DNS it asks.
type server struct {
	binary, dir    string
	mx, submission string // host:port
	dns            *mockdns.Server
	process        *exec.Cmd
	exited         chan error // gets the end of process, once
}

// newServer makes the folder, the accounts and the DNS. The caller must stop
// the server, whatever comes of it.
func newServer(ctx context.Context, binary string) (*server, error) {
	dir, err := os.MkdirTemp("", "helo-demo-")
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	s := &server{binary: binary, dir: dir}
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *server) prepare(ctx context.Context) (err error) {
	// Nothing of the demo asks the real DNS: Maddy's questions end here.
	quiet := log.New(io.Discard, "", 0)
	// It finds a TCP port that is free and hopes for the UDP port of the same number.
	for range dnsTries {
		if s.dns, err = mockdns.NewServerWithLogger(zones(), quiet, false); err == nil {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("demo: DNS: %w", err)
	}
	if s.mx, s.submission, err = freePorts(); err != nil {
		return err
	}
	if err := os.WriteFile(s.config(), configuration, 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	for _, args := range [][]string{
		{"creds", "create", "--password", password, userName},
		{"imap-acct", "create", userName},
	} {
		if _, err := s.ctl(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) config() string  { return filepath.Join(s.dir, "maddy.conf") }
func (s *server) logFile() string { return filepath.Join(s.dir, "maddy.log") }

// command is one call of the Maddy binary. Tag debugflags gives it the DNS override.
func (s *server) command(ctx context.Context, args ...string) *exec.Cmd {
	all := slices.Concat([]string{"--config", s.config(), "--debug.dnsoverride",
		s.dns.LocalAddr().String()}, args)
	cmd := exec.CommandContext(ctx, s.binary, all...) //nolint:gosec // the binary was just built
	cmd.Env = append(os.Environ(),
		"DEMO_DIR="+s.dir, "DEMO_MX="+s.mx, "DEMO_SUBMISSION="+s.submission,
		"DEMO_DNS="+s.dns.LocalAddr().String())
	return cmd
}

// ctl runs one of Maddy's management commands and returns what it prints.
func (s *server) ctl(ctx context.Context, args ...string) (string, error) {
	var stdout, stderr strings.Builder
	cmd := s.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("demo: maddy %s %s: %w\n%s", args[0], args[1], err, &stderr)
	}
	return stdout.String(), nil
}

// start runs Maddy and waits until both listeners answer.
func (s *server) start(ctx context.Context) error {
	logTo, err := os.Create(s.logFile())
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer logTo.Close()
	// Not bound to ctx: stop ends it, gently.
	cmd := s.command(context.WithoutCancel(ctx), "run")
	cmd.Stdout, cmd.Stderr = logTo, logTo
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	s.process, s.exited = cmd, make(chan error, 1)
	go func() { s.exited <- cmd.Wait() }()

	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for _, address := range []string{s.mx, s.submission} {
		if err := s.answers(ctx, address); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) answers(ctx context.Context, address string) error {
	for {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			return conn.Close()
		}
		select {
		case end := <-s.exited:
			s.exited <- end
			text, _ := os.ReadFile(s.logFile())
			return fmt.Errorf("demo: Maddy ended (%w) and left this log:\n%s", end, text)
		case <-ctx.Done():
			return fmt.Errorf("demo: Maddy does not answer on %s: %w", address, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends Maddy and the DNS, and removes the folder.
func (s *server) stop() error {
	var stopErr error
	if s.process != nil {
		stopErr = s.stopProcess()
	}
	if s.dns != nil {
		stopErr = errors.Join(stopErr, s.dns.Close())
	}
	return errors.Join(stopErr, os.RemoveAll(s.dir))
}

func (s *server) stopProcess() error {
	err := s.process.Process.Signal(os.Interrupt)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("demo: stopping Maddy: %w", err)
	}
	select {
	case err := <-s.exited:
		if err != nil {
			return fmt.Errorf("demo: Maddy did not end well: %w", err)
		}
		return nil
	case <-time.After(stopLimit):
		return errors.Join(fmt.Errorf("demo: Maddy still runs after %s, killed", stopLimit),
			s.process.Process.Kill(), <-s.exited)
	}
}

// freePorts finds two ports that nobody listens on.
func freePorts() (mx, submission string, err error) {
	var found [2]string
	for i := range found {
		listener, err := net.Listen("tcp", net.JoinHostPort(ourIP, "0"))
		if err != nil {
			return "", "", fmt.Errorf("demo: the demo needs the loopback address %s: %w", ourIP, err)
		}
		defer listener.Close()
		found[i] = listener.Addr().String()
	}
	return found[0], found[1], nil
}

// zones is the Internet as the demo's DNS knows it; every other name does not exist.
func zones() map[string]mockdns.Zone {
	all := make(map[string]mockdns.Zone)
	for name, address := range map[string]string{
		"mail.example.net.":          goodIP,
		"mta01.example.net.":         otherIP,
		"127-0-2-9.dyn.example.net.": accessIP,
	} {
		all[name] = mockdns.Zone{A: []string{address}}
		all[reverse(address)] = mockdns.Zone{PTR: []string{name}}
	}
	all["noptr.example.net."] = mockdns.Zone{A: []string{noPTRIP}}
	all["inside.example.net."] = mockdns.Zone{A: []string{"10.0.0.9"}}
	return all
}

func reverse(address string) string {
	b := strings.Split(address, ".")
	return strings.Join([]string{b[3], b[2], b[1], b[0], "in-addr.arpa."}, ".")
}
