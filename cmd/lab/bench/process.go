package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 15 * time.Second
)

// enter gives a program a resolv.conf and a hosts file of its own. Most servers read no other.
const enter = `mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/hosts && ` +
	`shift 2 && exec "$@"`

// space is a folder whose two files stand in for those of the machine. The hosts file is empty, so
// that the names of loopback addresses come from the resolver.
type space struct{ dir string }

func newSpace(dir, resolver string) (space, error) {
	files := map[string]string{
		"resolv.conf": "nameserver " + resolver + "\noptions timeout:2 attempts:1\n",
		"hosts":       "# all is in the DNS\n",
	}
	for name, text := range files {
		if err := writeFile(filepath.Join(dir, name), text); err != nil {
			return space{}, err
		}
	}
	return space{dir}, nil
}

// writeFile writes a file that servers without privileges can read.
func writeFile(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil { //nolint:gosec // own path
		return fmt.Errorf("bench: %w", err)
	}
	if err := os.Chmod(path, 0o644); err != nil { //nolint:gosec // no secret
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// inside returns the command line that runs argv in the space.
func (s space) inside(argv []string) []string {
	return append([]string{"unshare", "--mount", "--propagation", "private", "sh", "-c", enter, "sh",
		filepath.Join(s.dir, "resolv.conf"), filepath.Join(s.dir, "hosts")}, argv...)
}

// program is what to start.
type program struct {
	name    string
	argv    []string
	env     []string // besides that of the bench
	dir     string   // to run in
	address string   // host:port that answers once it is up
}

// process is a program that runs.
type process struct {
	program
	cmd    *exec.Cmd
	exited chan error // gets the end, once
	log    string
}

// start runs a program and waits until it answers.
func start(ctx context.Context, p program, logDir string) (*process, error) {
	logFile, err := os.Create(filepath.Join(logDir, p.name+".log"))
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	defer logFile.Close()
	// Not bound to ctx: stop ends it, gently.
	cmd := exec.Command(p.argv[0], p.argv[1:]...) //nolint:gosec,noctx // the bench's own lines
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = p.dir, logFile, logFile
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", p.name, err)
	}
	run := &process{program: p, cmd: cmd, exited: make(chan error, 1), log: logFile.Name()}
	go func() { run.exited <- cmd.Wait() }()
	if err := run.answers(ctx); err != nil {
		return nil, errors.Join(err, run.stop())
	}
	return run, nil
}

func (p *process) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case end := <-p.exited:
			p.exited <- end
			text, _ := os.ReadFile(p.log)
			return fmt.Errorf("bench: %s ended (%v) and left this log:\n%s", p.name, end, text)
		case <-ctx.Done():
			return fmt.Errorf("bench: %s does not answer on %s: %w", p.name, p.address, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the program, whatever status it then returns.
func (p *process) stop() error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("bench: stopping %s: %w", p.name, err)
	}
	select {
	case end := <-p.exited:
		var status *exec.ExitError
		if errors.As(end, &status) { // that of a signal, with most
			return nil
		}
		return end
	case <-time.After(stopLimit):
		return errors.Join(fmt.Errorf("bench: %s still ran after %s, killed", p.name, stopLimit),
			p.cmd.Process.Kill())
	}
}

// freePort returns host:port where nobody listens.
func freePort(host string) (string, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	return l.Addr().String(), l.Close()
}
