package module_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/foxcpp/go-mockdns"
	"github.com/foxcpp/maddy/tests"

	"maddy.example/checkhelo/module/build"
)

// binary is a real Maddy with the check in it, built at the first test that
// needs it and kept in the user's cache directory.
var binary = sync.OnceValues(func() (path string, err error) {
	if serverRace {
		if err := addRaceFlag(); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	return build.Cached(ctx, build.Builder{Tags: "debugflags"})
})

// server is a running Maddy and where it listens.
type server struct {
	*tests.T
	log string // path of its log
}

const preamble = "hostname mx1.receiver-bench.org\nlog stderr {env:TEST_STATE_DIR}/maddy.log\n"

// start runs Maddy with conf, which finds its port in TEST_PORT_smtp.
func start(t *testing.T, conf string, listeners int, cli ...[]string) *server {
	t.Helper()
	return startDNS(t, conf, listeners, nil, cli...)
}

func startDNS(
	t *testing.T, conf string, listeners int, zones map[string]mockdns.Zone, cli ...[]string,
) *server {
	t.Helper()
	if raceEnabled {
		t.Skip("SKIPPED under -race: Maddy's test harness sets the logger of its running DNS server;" +
			" CHECKHELO_RACE=1 without -race puts the detector into the server")
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	tests.TestBinary = path
	if zones == nil {
		zones = map[string]mockdns.Zone{
			"mta01.yourcompany.com.":  {A: []string{"127.0.2.1"}},
			"other-bench.org.":        {A: []string{"127.0.2.1"}},
			"receiver-bench.org.":     {A: []string{"127.0.0.25"}},
			"1.2.0.127.in-addr.arpa.": {PTR: []string{"mta01.yourcompany.com."}},
		}
	}
	m := tests.NewT(t)
	for !portsFree(m) {
		m = tests.NewT(t)
	}
	if serverRace {
		watchRaces(t, m.Env)
	}
	m.DNS(zones)
	m.Config(preamble + conf)
	for _, args := range cli {
		m.MustRunCLI(args...)
	}
	m.Run(listeners)
	// Maddy minds signals only a moment after it said that it started; one before kills it.
	settled := time.Now().Add(300 * time.Millisecond)
	t.Cleanup(func() { time.Sleep(time.Until(settled)) })
	return &server{T: m, log: filepath.Join(m.StateDir(), "maddy.log")}
}

// portsFree gives m its ports, by chance, and reports whether nobody has them.
func portsFree(m *tests.T) bool {
	all := true
	for _, name := range []string{"smtp", "submission", "lmtp"} {
		all = free(m.Port(name)) && all
	}
	return all
}

// free reports whether nobody uses port on any address: the endpoints of a test have several.
func free(port uint16) bool {
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		return false
	}
	return l.Close() == nil
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
	conn, err := d.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(int(s.Port(port)))))
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
	before := s.logged(t, taken)
	second := time.AfterFunc(time.Second, func() {
		if text, err := os.ReadFile(s.log); err == nil && strings.Count(string(text), taken) == before {
			s.signalReload(t)
		}
	})
	defer second.Stop()
	s.Config(preamble + conf)
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
