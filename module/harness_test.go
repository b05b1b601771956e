package module_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

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
	preamble = "hostname mx1.receiver-bench.org\nlog stderr_ts\n"

	// hang ends a wait for what never comes. No test passes or fails by how long something takes.
	hang = 3 * time.Minute

	// resolvable is what the resolver of Maddy itself knows.
	resolvable = `
mta01.yourcompany.com  A   127.0.2.1
other-bench.org        A   127.0.2.1
receiver-bench.org     A   127.0.0.25
ptr                    127.0.2.1 mta01.yourcompany.com
`
)

// journal keeps the lines that a server prints and tells its readers of each new one.
type journal struct {
	mu    sync.Mutex
	lines []string
	rest  []byte        // of a line that has no end yet
	grown chan struct{} // closed with the next line
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	before := len(j.lines)
	j.rest = append(j.rest, p...)
	for end := bytes.IndexByte(j.rest, '\n'); end >= 0; end = bytes.IndexByte(j.rest, '\n') {
		j.lines = append(j.lines, string(j.rest[:end]))
		j.rest = j.rest[end+1:]
	}
	if len(j.lines) > before && j.grown != nil {
		close(j.grown)
		j.grown = nil
	}
	return len(p), nil
}

// from returns the lines from the nth on, and what is closed when there are more.
func (j *journal) from(n int) (lines []string, grown <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.grown == nil {
		j.grown = make(chan struct{})
	}
	return j.lines[n:len(j.lines):len(j.lines)], j.grown
}

func (j *journal) String() string {
	lines, _ := j.from(0)
	return strings.Join(lines, "\n") + "\n"
}

// server is a running Maddy. It takes the place of Maddy's own maddy/tests.T, which
// sets the logger of a DNS server that runs already, a data race, and ends the test
// where chance gives it a port that somebody has.
type server struct {
	log *journal // all that it prints, its log among it

	dir    string // of configuration and state
	binary string
	args   []string // of every call of binary
	env    []string
	ports  map[string]string
	cmd    *exec.Cmd
	ended  chan struct{}
	err    error // how it ended; to be read when ended is closed
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
	for !s.begin(t) {
		s.takePorts()
	}
	t.Cleanup(func() { s.stop(t) })
	return s
}

// begin starts the server and waits until it serves. It returns false where another process took
// one of the ports first.
func (s *server) begin(t *testing.T) bool {
	t.Helper()
	s.log, s.ended = &journal{}, make(chan struct{})
	s.cmd = s.command("run")
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		s.err = s.cmd.Wait()
		close(s.ended)
	}()
	if _, ok := s.find("server started", 0, hang); ok {
		return true
	}
	_ = s.cmd.Process.Kill()
	<-s.ended
	if !strings.Contains(s.log.String(), "address already in use") {
		t.Fatalf("the server does not start: %v\n%s", s.err, s.log)
	}
	return false
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
		dir: dir, binary: path,
		args: []string{"--config", filepath.Join(dir, "maddy.conf"),
			"--debug.smtpport", "0", // no mail leaves
			"--debug.dnsoverride", dnstest.Serve(t, zone).Addr},
		env: []string{"TEST_STATE_DIR=" + state},
	}
	if raceEnabled {
		s.env = append(s.env, watchRaces(t))
	}
	s.takePorts()
	return s
}

// takePorts finds ports that nobody has.
func (s *server) takePorts() {
	s.ports = make(map[string]string)
	for _, name := range []string{"smtp", "submission", "lmtp"} {
		s.ports[name] = freePort(slices.Collect(maps.Values(s.ports))...)
		s.env = append(s.env, fmt.Sprintf("TEST_PORT_%s=%s", name, s.ports[name])) // the last one holds
	}
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

// configure writes conf to where the server reads it, below the preamble unless conf has its own.
func (s *server) configure(t *testing.T, conf string) {
	t.Helper()
	if !strings.HasPrefix(conf, "hostname ") {
		conf = preamble + conf
	}
	state := filepath.Join(s.dir, "state")
	text := "state_dir " + state + "\nruntime_dir " + state + "\n" + conf
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
	// SIGQUIT makes it print where each goroutine waits.
	kill := time.AfterFunc(hang*5/6, func() { _ = s.cmd.Process.Signal(syscall.SIGQUIT) })
	defer kill.Stop()
	if s.takesSignals() {
		s.tell(os.Interrupt, "signal received (interrupt)", 20*time.Second)
	}
	if <-s.ended; s.err != nil {
		t.Errorf("the server did not stop cleanly: %v", s.err)
	}
	if !t.Failed() {
		return
	}
	text := s.log.String()
	t.Logf("the end of what the server printed:\n%s", text[max(0, len(text)-1<<16):])
	for line := range strings.Lines(text) {
		if !strings.Contains(line, "Z smtp: ") && !strings.Contains(line, "Z check.helo_fqdn: ") {
			t.Log("of the server itself: " + line)
		}
	}
}

// takesSignals waits until Maddy takes signals: it says a moment too early that it has started or
// loaded its configuration anew, drops a SIGUSR2 that comes before, and dies of a SIGINT. SIGUSR1
// has it open its log anew, and is harmless. takesSignals returns false when the server has ended.
func (s *server) takesSignals() bool {
	return s.tell(syscall.SIGUSR1, "rotating logs", 5*time.Millisecond)
}

// tell sends a signal until the log says that it was taken, at first again after wait: on a loaded
// machine one is lost now and then. It returns false when the server has ended.
func (s *server) tell(sig os.Signal, taken string, wait time.Duration) bool {
	before := s.logged(taken)
	for ; wait < hang; wait *= 4 {
		if err := s.cmd.Process.Signal(sig); err != nil {
			return false
		}
		if _, ok := s.find(taken, before, wait); ok {
			return true
		}
	}
	return false
}

// await waits until the log has text more often than before, and returns the line.
func (s *server) await(t *testing.T, text string, before int) string {
	t.Helper()
	line, ok := s.find(text, before, hang)
	if !ok {
		t.Fatalf("not %d times %q in the log", before+1, text)
	}
	return line
}

// find returns the first line with text after as many others with it. It gives up when the
// server has ended, or after a time.
func (s *server) find(text string, before int, limit time.Duration) (line string, ok bool) {
	guard := time.NewTimer(limit)
	defer guard.Stop()
	for read, last := 0, false; ; {
		lines, grown := s.log.from(read)
		for _, line := range lines {
			if strings.Contains(line, text) {
				if before--; before < 0 {
					return line, true
				}
			}
		}
		if last {
			return "", false
		}
		read += len(lines)
		select {
		case <-grown:
		case <-s.ended:
			last = true
		case <-guard.C:
			return "", false
		}
	}
}

// logged counts the lines of the log with text.
func (s *server) logged(text string) (n int) {
	lines, _ := s.log.from(0)
	for _, line := range lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// until waits for what no event tells: it asks again and again, with a pause between.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(hang); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
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
	d := net.Dialer{Timeout: hang, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.Dial("tcp", net.JoinHostPort(host, s.ports[port]))
	if err != nil {
		t.Fatal(err)
	}
	return greeted(t, conn)
}

func greeted(t *testing.T, conn net.Conn) *client {
	t.Helper()
	if err := conn.SetDeadline(time.Now().Add(hang)); err != nil {
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

// reload gives the server a configuration anew, when what the last reload replaced has stopped.
// Maddy 0.9.5 then closes listeners without a user, and between the start of a new server and its
// listening it has none: this reload and all later ones would fail with "address already in use".
func (s *server) reload(t *testing.T, conf string) {
	t.Helper()
	started := s.logged("new server started")
	if started > 0 {
		s.await(t, "old server stopped", started-1)
	}
	s.configure(t, conf)
	s.signalReload(t)
	s.await(t, "new server started", started)
}

// signalReload tells the server to read its configuration again and does not wait.
func (s *server) signalReload(t *testing.T) {
	t.Helper()
	if !s.takesSignals() || !s.tell(syscall.SIGUSR2, "reloading configuration", 20*time.Second) {
		t.Fatal("the server takes no signals")
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
	return s.await(t, want, 0)
}

// sink is the mail server that a Maddy under test delivers to.
type sink struct {
	addr string

	mu         sync.Mutex
	messages   []string
	recipients int
	keep       bool // false: count only
}

func startSink(t *testing.T) *sink {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{addr: l.Addr().String(), keep: true}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &sinkSession{s: s}, nil
	}))
	server.Domain = "sink.receiver-bench.org"
	server.ReadTimeout, server.WriteTimeout = time.Minute, time.Minute
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(l)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		_ = l.Close() // where Serve had not begun yet, the server does not know it
		<-ended
	})
	return s
}

// module is the sink as a delivery target in maddy.conf.
func (s *sink) module() string { return fmt.Sprintf("smtp tcp://%s {\nstarttls no\n}", s.addr) }

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.messages)
}

func (s *sink) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.messages
}

// sinkSession is one connection to a sink. It takes everything.
type sinkSession struct {
	s     *sink
	rcpts int
}

func (*sinkSession) AuthMechanisms() []string             { return nil }
func (*sinkSession) Logout() error                        { return nil }
func (*sinkSession) Mail(string, *smtp.MailOptions) error { return nil }
func (x *sinkSession) Reset()                             { x.rcpts = 0 }
func (x *sinkSession) Rcpt(string, *smtp.RcptOptions) error {
	x.rcpts++
	return nil
}

func (x *sinkSession) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	if !x.s.keep {
		text = nil
	}
	x.s.messages = append(x.s.messages, string(text))
	x.s.recipients += x.rcpts
	return nil
}

// addRaceFlag makes the go command build with the race detector.
func addRaceFlag() error {
	return os.Setenv("GOFLAGS", strings.TrimSpace(os.Getenv("GOFLAGS")+" -race"))
}

// watchRaces returns what has a server write its races into files, and looks into
// them when it has ended.
func watchRaces(t *testing.T) (env string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "race")
	t.Cleanup(func() {
		files, err := filepath.Glob(path + ".*")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			ours, others := races(string(text))
			for _, report := range others {
				t.Logf("a race of Maddy's own:\n%s", report)
			}
			for _, report := range ours {
				t.Errorf("a race in the check:\n%s", report)
			}
		}
	})
	return "GORACE=exitcode=0 atexit_sleep_ms=100 log_path=" + path
}

// belowMain is what the race detector prints below main.main: frames of calls that have returned
// long ago, which text/template leaves behind.
var belowMain = regexp.MustCompile(`(?m)(^  main\.main\(\)\n.*\n)(?:  .*\n)*`)

// races parts the reports of a race detector by whether the check has a frame in them.
func races(text string) (ours, others []string) {
	for _, report := range strings.Split(text, "==================\n") {
		report = belowMain.ReplaceAllString(report, "$1")
		switch {
		case !strings.Contains(report, "WARNING: DATA RACE"):
		case strings.Contains(report, "maddy.example/checkhelo"):
			ours = append(ours, report)
		default:
			others = append(others, report)
		}
	}
	return ours, others
}

func TestRaces(t *testing.T) {
	const report = `==================
WARNING: DATA RACE
Write at 0x00c0000b4010 by goroutine 9:
  FUNCTION()
      file.go:10 +0x33

Previous read at 0x00c0000b4010 by goroutine 7:
  github.com/foxcpp/maddy/framework/log.(*Logger).Msg()
      github.com/foxcpp/maddy@v0.9.5/framework/log/log.go:90 +0x44
==================
`
	text := strings.ReplaceAll(report, "FUNCTION", "github.com/foxcpp/maddy.handleSignals") +
		"Found 1 data race(s)\n" +
		strings.ReplaceAll(report, "FUNCTION", "maddy.example/checkhelo/module.(*Check).facts") +
		strings.ReplaceAll(report, "FUNCTION()", "github.com/foxcpp/maddy/internal/cli/ctl.msgsDump()\n"+
			"      imap.go:839 +0xa17\n  main.main()\n      main.go:15 +0x165\n"+
			"  maddy.example/checkhelo/cmd/helocheck/app.help()")
	ours, others := races(text)
	if len(ours) != 1 || !strings.Contains(ours[0], "(*Check).facts") {
		t.Errorf("of ours: %q", ours)
	}
	if len(others) != 2 || !strings.Contains(others[0], "handleSignals") {
		t.Errorf("of others: %q", others)
	}
}
