// Package pgtest runs a PostgreSQL server of its own for tests: a cluster in a new directory, on
// a free port of the loopback interface.
package pgtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// Server is a cluster that trusts user maddy.
type Server struct {
	bin, dir string
	port     int
	cred     *syscall.Credential // nil: this process's own; PostgreSQL does not run as root
}

// New makes and starts a cluster, or skips the test where there is no PostgreSQL. The caller
// gives it back with Remove.
func New(tb testing.TB) *Server {
	tb.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		tb.Skip("SKIPPED: PostgreSQL is not installed (Debian: apt-get install postgresql)")
	}
	s := &Server{bin: filepath.Dir(found[len(found)-1])}
	if os.Getuid() == 0 {
		u, fault := user.Lookup("postgres")
		if fault != nil {
			tb.Skip("SKIPPED: there is no user postgres to run PostgreSQL as")
		}
		uid, _ := strconv.ParseUint(u.Uid, 10, 32)
		gid, _ := strconv.ParseUint(u.Gid, 10, 32)
		s.cred = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	//nolint:usetesting // tb.TempDir is too long for a socket, and closed to the user postgres
	if s.dir, err = os.MkdirTemp("/tmp", "checkhelo-pg-"); err != nil {
		tb.Fatal(err)
	}
	if s.cred != nil {
		if err = os.Chown(s.dir, int(s.cred.Uid), int(s.cred.Gid)); err != nil {
			tb.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	_ = l.Close()
	s.run(tb, "initdb", "-D", s.data(), "-A", "trust", "-U", "maddy", "--no-sync")
	s.Start(tb)
	return s
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	//nolint:gosec // the programs of the PostgreSQL that New found
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = "/"
	if s.cred != nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.cred}
	}
	return cmd
}

func (s *Server) run(tb testing.TB, name string, args ...string) {
	tb.Helper()
	var out bytes.Buffer
	cmd := s.command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		tb.Fatalf("%s: %v\n%s", name, err, &out)
	}
}

// Start starts a stopped server and returns when it takes connections.
func (s *Server) Start(tb testing.TB) {
	tb.Helper()
	s.run(tb, "pg_ctl", "-D", s.data(), "-w", "-l", filepath.Join(s.dir, "log"), "-o",
		fmt.Sprintf("-p %d -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s -c fsync=off",
			s.port, s.dir), "start")
}

// Stop ends the server at once, as a crash does.
func (s *Server) Stop(tb testing.TB) {
	tb.Helper()
	s.run(tb, "pg_ctl", "-D", s.data(), "-m", "immediate", "-w", "stop")
}

// Remove stops the server and deletes the cluster.
func (s *Server) Remove() {
	_ = s.command("pg_ctl", "-D", s.data(), "-m", "immediate", "-w", "stop").Run()
	_ = os.RemoveAll(s.dir)
}

// DSN names a database of the cluster; "postgres" is there from the start.
func (s *Server) DSN(database string) string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=maddy dbname=%s sslmode=disable", s.port, database)
}
