package module_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"maddy.example/checkhelo/cmd/lab/maddybin"
	"maddy.example/checkhelo/module/build"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// binary is a real Maddy with the check in it, built at the first test that
// needs it and kept in the user's cache directory.
var binary = sync.OnceValues(func() (path string, err error) {
	if raceEnabled {
		if err := addRaceFlag(); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	return maddybin.Build(ctx, build.Builder{Tags: "debugflags"})
})

const (
	preamble = "hostname mx1.receiver-bench.org\nlog stderr {env:TEST_STATE_DIR}/maddy.log\n"

	// startLimit is for a server with the race detector on a machine that has other work.
	startLimit = time.Minute
	stopLimit  = 10 * time.Second

	// resolvable is what the resolver of Maddy itself knows.
	resolvable = `
mta01.yourcompany.com  A   127.0.2.1
other-bench.org        A   127.0.2.1
receiver-bench.org     A   127.0.0.25
ptr                    127.0.2.1 mta01.yourcompany.com
`
)

// server is a running Maddy. It takes the place of Maddy's own maddy/tests.T, which
// sets the logger of a DNS server that runs already, a data race, and ends the test
// where chance gives it a port that somebody has.
type server struct {
	log string // path of its log

	dir    string // of configuration and state
	binary string
	args   []string // of every call of binary
	env    []string
	ports  map[string]string
	cmd    *exec.Cmd
	output bytes.Buffer // what cmd prints, to be read when it has ended
	ended  chan error
}

// start runs Maddy with conf, which finds its port in TEST_PORT_smtp, after the
// calls of its command line interface in cli.
func start(t *testing.T, conf string, cli ...[]string) *server {
	t.Helper()
	return startDNS(t, conf, resolvable, cli...)
}

// startDNS is start with another zone for Maddy's own resolver.
func startDNS(t *testing.T, conf, zone string, cli ...[]string) *server {
	t.Helper()
	s := prepare(t, zone)
	s.configure(t, conf)
	for _, args := range cli {
		s.call(t, args...)
	}
	s.cmd = s.command("run")
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { s.ended <- s.cmd.Wait() }()
	t.Cleanup(func() { s.stop(t) })
	s.await(t, "server started", 0)
	// Maddy minds signals only a moment after it said that it started; one before kills it.
	settled := time.Now().Add(300 * time.Millisecond)
	t.Cleanup(func() { time.Sleep(time.Until(settled)) })
	return s
}

// prepare makes the place for a server: folders, ports, DNS.
func prepare(t *testing.T, zone string) *server {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "maddy-tests-") //nolint:usetesting // TestReloadWithFullStateDir sets TMPDIR
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	state := filepath.Join(dir, "state")
	if err := os.Mkdir(state, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &server{
		log: filepath.Join(state, "maddy.log"), dir: dir, binary: path,
		args: []string{"--config", filepath.Join(dir, "maddy.conf"),
			"--debug.smtpport", "0", // no mail leaves
			"--debug.dnsoverride", dnstest.Serve(t, zone).Addr},
		env:   []string{"TEST_STATE_DIR=" + state},
		ports: make(map[string]string),
		ended: make(chan error, 1),
	}
	for _, name := range []string{"smtp", "submission", "lmtp"} {
		s.ports[name] = freePort(slices.Collect(maps.Values(s.ports))...)
		s.env = append(s.env, fmt.Sprintf("TEST_PORT_%s=%s", name, s.ports[name]))
	}
	if raceEnabled {
		s.env = append(s.env, watchRaces(t))
	}
	return s
}

// freePort finds a port that nobody has, below those that the system gives to clients.
func freePort(taken ...string) string {
	for {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		if free(port) && !slices.Contains(taken, port) {
			return port
		}
	}
}

// free reports whether nobody uses port on any address: the endpoints of a test have several.
func free(port string) bool {
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// configure writes conf to where the server reads it.
func (s *server) configure(t *testing.T, conf string) {
	t.Helper()
	text := "state_dir " + filepath.Dir(s.log) + "\nruntime_dir " + filepath.Dir(s.log) + "\n" + preamble + conf
	if err := os.WriteFile(filepath.Join(s.dir, "maddy.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (s *server) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.binary, slices.Concat(s.args, args)...)
	cmd.Env = append(os.Environ(), s.env...)
	return cmd
}

// call runs Maddy's command line interface and returns what it prints.
func (s *server) call(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr strings.Builder
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("maddy %q: %v\n%s", args, err, &stderr)
	}
	return stdout.String()
}

// stop ends the server, gently, and shows what it printed where the test has failed.
func (s *server) stop(t *testing.T) {
	t.Helper()
	kill := time.AfterFunc(stopLimit, func() { _ = s.cmd.Process.Kill() })
	defer kill.Stop()
	_ = s.cmd.Process.Signal(os.Interrupt)
	if err := <-s.ended; err != nil {
		t.Errorf("the server did not stop cleanly: %v", err)
	}
	if t.Failed() {
		t.Logf("the end of what the server printed:\n%s", s.output.Bytes()[max(0, s.output.Len()-1<<16):])
	}
}

// await waits until the log has text more often than before.
func (s *server) await(t *testing.T, text string, before int) {
	t.Helper()
	if !s.logs(t, text, before, startLimit) {
		t.Fatalf("not %d times %q in the log after %v", before+1, text, startLimit)
	}
}

// logs reports whether the log gets text more often than before, within a time.
func (s *server) logs(t *testing.T, text string, before int, limit time.Duration) bool {
	t.Helper()
	for deadline := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if s.logged(t, text) > before {
			return true
		}
		select {
		case err := <-s.ended:
			s.ended <- err
			t.Fatalf("the server has ended: %v", err)
		default:
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// logged counts text in the log.
func (s *server) logged(t *testing.T, text string) int {
	t.Helper()
	log, err := os.ReadFile(s.log)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Count(log, []byte(text))
}

// mx is a complete MX endpoint for receiver-bench.org with the check inside.
func mx(check string) string {
	return `smtp tcp://127.0.0.25:{env:TEST_PORT_smtp} {
		tls off
		check {
			` + check + `
		}
		destination receiver-bench.org postmaster {
			deliver_to dummy
		}
		default_destination {
			reject 554 5.7.1 "Relay access denied"
		}
	}
`
}

// strict judges loopback too, as every client of a test is there.
const strict = "helo_fqdn strict {\nexempt_networks 10.0.0.0/8\n}"

// client is one SMTP connection.
type client struct {
	*textproto.Conn
	t *testing.T
}

// dial connects to host and the named port of s from a source address.
func (s *server) dial(t *testing.T, host, port, source string) *client {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.Dial("tcp", net.JoinHostPort(host, s.ports[port]))
	if err != nil {
		t.Fatal(err)
	}
	return greeted(t, conn)
}

func greeted(t *testing.T, conn net.Conn) *client {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	c := &client{textproto.NewConn(conn), t}
	t.Cleanup(func() { _ = c.Close() })
	c.reply(220)
	return c
}

// mx connects to the MX of s as 127.0.2.1.
func (s *server) mx(t *testing.T) *client {
	t.Helper()
	return s.dial(t, "127.0.0.25", "smtp", "127.0.2.1")
}

// say sends one line, octets as they are, and wants a reply that starts with want.
func (c *client) say(line string, want int) string {
	c.t.Helper()
	if _, err := c.W.WriteString(line + "\r\n"); err != nil {
		c.t.Fatal(err)
	}
	if err := c.W.Flush(); err != nil {
		c.t.Fatal(err)
	}
	return c.reply(want)
}

// try sends one line and returns the code of whatever is the reply.
func (c *client) try(line string) int {
	c.t.Helper()
	if _, err := c.W.WriteString(line + "\r\n"); err != nil {
		c.t.Fatal(err)
	}
	if err := c.W.Flush(); err != nil {
		c.t.Fatal(err)
	}
	code, _, err := c.ReadResponse(0)
	if code == 0 {
		c.t.Fatal(err)
	}
	return code
}

// reply reads a reply and wants code; 2, 4 and 5 stand for the whole class.
func (c *client) reply(want int) string {
	c.t.Helper()
	code, text, err := c.ReadResponse(0)
	if code == 0 {
		c.t.Fatal(err)
	}
	if code != want && code/100 != want {
		c.t.Fatalf("got %d %s, want %d", code, text, want)
	}
	return strconv.Itoa(code) + " " + text
}

// reload gives the server a configuration anew. Maddy takes signals from a moment
// after it says that it has started, and loses one that comes before: then a
// second one is sent.
func (s *server) reload(t *testing.T, conf string) {
	t.Helper()
	const taken = "reloading configuration"
	before, started := s.logged(t, taken), s.logged(t, "new server started")
	s.configure(t, conf)
	s.signalReload(t)
	if !s.logs(t, taken, before, time.Second) {
		s.signalReload(t)
	}
	s.await(t, "new server started", started)
}

// signalReload tells the server to read its configuration again and does not wait.
func (s *server) signalReload(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Error(err)
	}
}

// begin greets as helo and names the sender.
func (c *client) begin(helo string) {
	c.t.Helper()
	c.say("EHLO "+helo, 250)
	c.say("MAIL FROM:<sender@yourcompany.com>", 250)
}

// send delivers a message to rcpt after a greeting.
func (c *client) send(rcpt string, want int) string {
	c.t.Helper()
	c.say("MAIL FROM:<sender@yourcompany.com>", 250)
	c.say("RCPT TO:<"+rcpt+">", 250)
	c.say("DATA", 354)
	return c.say("From: <sender@yourcompany.com>\r\nSubject: test\r\n\r\nhello\r\n.", want)
}

// waitLog waits until the log of s has want, and returns that line.
func (s *server) waitLog(t *testing.T, want string) string {
	t.Helper()
	for range 100 {
		text, err := os.ReadFile(s.log)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(bytes.TrimSpace(text)), "\n") {
			if strings.Contains(line, want) {
				return line
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatalf("no line with %q in the log", want)
	return ""
}
