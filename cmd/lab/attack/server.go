package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	startLimit = 30 * time.Second
	stopLimit  = 20 * time.Second
)

const configuration = `state_dir %[1]s/state
runtime_dir %[1]s/run
log %[1]s/maddy.log
hostname mx1.example.com
tls off
smtp tcp://%[2]s {
%[3]s    destination example.com {
        deliver_to dummy
    }
    default_destination {
        reject 554 5.7.1 "Relay access denied"
    }
}
`

// check judges clients on loopback, which are exempt unless something else is set.
const check = `    check {
        helo_fqdn strict {
            dns_servers %s
            exempt_networks 10.0.0.0/8
        }
    }
`

// enter gives a server a limit of descriptors, a resolv.conf and an empty hosts file.
const enter = `mount --bind "$1" /etc/resolv.conf && mount --bind /dev/null /etc/hosts && ` +
	`ulimit -n "$2" && shift 2 && exec "$@"`

// server is a Maddy that runs.
type server struct {
	address string // host:port
	log     string
	cmd     *exec.Cmd
	exited  chan error // gets the end, once
	said    bytes.Buffer
}

// start starts a Maddy, with the check or without, that may open so many files.
func (l *lab) start(ctx context.Context, files int, checked bool) (*server, error) {
	l.servers++
	dir := filepath.Join(l.dir, strconv.Itoa(l.servers))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	s := &server{address: listener.Addr().String(), log: filepath.Join(dir, "maddy.log"),
		exited: make(chan error, 1)}
	if err = listener.Close(); err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	block := ""
	if checked {
		block = fmt.Sprintf(check, net.JoinHostPort(checkDNS, "53"))
	}
	conf := filepath.Join(dir, "maddy.conf")
	text := fmt.Sprintf(configuration, dir, s.address, block)
	if err = os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	//nolint:gosec,noctx // the command's own lines; stop ends it
	s.cmd = exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-c", enter, "sh",
		filepath.Join(l.dir, "resolv.conf"), strconv.Itoa(files), l.maddy, "--config", conf, "run")
	s.cmd.Stdout, s.cmd.Stderr = &s.said, &s.said
	if err = s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	go func() { s.exited <- s.cmd.Wait() }()
	if err = s.answers(ctx); err != nil {
		return nil, errors.Join(err, s.stop())
	}
	return s, nil
}

func (s *server) answers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			return conn.Close()
		}
		select {
		case end := <-s.exited:
			s.exited <- end
			return fmt.Errorf("attack: Maddy ended (%w):\n%s", end, s.said.String())
		default:
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return fmt.Errorf("attack: Maddy does not answer on %s: %w", s.address, err)
		}
	}
}

// stop ends the server, whatever status it then returns.
func (s *server) stop() error {
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil &&
		!errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("attack: stopping Maddy: %w", err)
	}
	select {
	case end := <-s.exited:
		var status *exec.ExitError
		if errors.As(end, &status) {
			return nil
		}
		return end
	case <-time.After(stopLimit):
		return s.cmd.Process.Kill()
	}
}

// use returns what the server takes now.
func (s *server) use() (u use) {
	proc := filepath.Join("/proc", strconv.Itoa(s.cmd.Process.Pid))
	files, _ := os.ReadDir(filepath.Join(proc, "fd")) // a server that has ended uses nothing
	u.files = len(files)
	status, _ := os.ReadFile(filepath.Join(proc, "status"))
	u.memory = resident(string(status)) / 1024
	log, _ := os.ReadFile(s.log)
	u.lines = bytes.Count(log, []byte("\n"))
	return u
}

// resident returns VmRSS of /proc/PID/status, in KiB.
func resident(status string) int {
	_, rest, _ := strings.Cut(status, "VmRSS:")
	words := strings.Fields(rest)
	if len(words) == 0 {
		return 0
	}
	kib, _ := strconv.Atoi(words[0])
	return kib
}
