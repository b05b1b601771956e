package module_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// What dns_servers or resolv.conf say is read at a reload, too.
func TestReloadAsksOtherServers(t *testing.T) {
	before, after := zone(t), zone(t)
	s := start(t, mx(withDNS("strict", before)))
	s.mx(t).run(talk(send("EHLO one.sender-bench.com", 250), transaction(450), send("QUIT", 221)))
	asked := before.Count()
	if asked == 0 || after.Count() != 0 {
		t.Fatalf("asked %d and %d questions", asked, after.Count())
	}
	s.reload(t, mx(withDNS("strict", after)))
	s.settle(t)
	s.mx(t).run(talk(send("EHLO two.sender-bench.com", 250), transaction(450)))
	if before.Count() != asked || after.Count() == 0 {
		t.Errorf("asked %d and %d questions", before.Count(), after.Count())
	}
}

// After a reload the metrics show the cache of the new instance alone.
func TestReloadShowsNewCache(t *testing.T) {
	const label = `{module="check.helo_fqdn"} `
	resolver := zone(t)
	conf := func(size string) string {
		return mx(withDNS("strict", resolver, "cache_size "+size)) + openmetrics
	}
	s := start(t, conf("50"))
	c := s.mx(t)
	c.run(talk(send("EHLO one.sender-bench.com", 250), transaction(450)))
	text := s.metrics(t)
	if !strings.Contains(text, "cache_size"+label+"50\n") ||
		!strings.Contains(text, "cache_entries"+label) ||
		strings.Contains(text, "cache_entries"+label+"0\n") {
		t.Fatalf("before the reload:\n%s", text)
	}
	if err := c.Close(); err != nil { // the old instance ends with its last session
		t.Fatal(err)
	}
	s.reload(t, conf("70"))
	until(t, "the new cache is in the metrics", func() bool {
		return strings.Contains(s.metrics(t), "cache_size"+label+"70\n")
	})
	if text = s.metrics(t); !strings.Contains(text, "cache_entries"+label+"0\n") {
		t.Errorf("the new cache is not empty:\n%s", text)
	}
}

// A list that cannot be read, or was cut when the disk was full, leaves the old
// configuration in force, and the log says where the fault is.
func TestReloadWithBrokenList(t *testing.T) {
	const lost = "failed to load new configuration"
	list := filepath.Join(t.TempDir(), "networks")
	write := func(t *testing.T, text string) {
		t.Helper()
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(t, "10.0.0.0/8\n127.0.2.1/32\n127.0.2.8/32\n")
	conf := mx("helo_fqdn strict {\nexempt_networks file " + list + "\n}")
	s := start(t, conf)
	holding := func(text string) func(*testing.T) {
		return func(t *testing.T) { t.Helper(); write(t, text) }
	}
	s.judged(t, "127.0.2.8", "127.0.2.9")
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T)
		where string
	}{
		{"missing", func(*testing.T) { os.Remove(list) }, list},
		{"a folder", func(t *testing.T) {
			t.Helper()
			if err := os.Mkdir(list, 0o700); err != nil {
				t.Fatal(err)
			}
		}, list},
		{"cut within a number", holding("10.0.0.0/8\n127.0.2.8/3"), list + ":2"},
		{"cut within an address", holding("10.0.0.0/8\n127.0."), list + ":2"},
		{"not text", holding("\x00\xff\x1b[2J\n"), list + ":1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			os.Remove(list)
			tc.spoil(t)
			before := s.logged(lost)
			s.signalReload(t)
			if line := s.await(t, lost, before); !strings.Contains(line, tc.where) {
				t.Errorf("the log does not name %s: %s", tc.where, line)
			}
			s.judged(t, "127.0.2.8", "127.0.2.9")
			os.Remove(list)
		})
	}
	write(t, "10.0.0.0/8\n127.0.2.9/32\n")
	s.reload(t, conf)
	s.settle(t)
	s.judged(t, "127.0.2.9", "127.0.2.8")
}

// Maddy 0.9.5 dies when a reload fails and its configuration has no log line: it puts the old log
// back, which is none. A server with the check goes on.
func TestReloadWithBrokenListAndNoLog(t *testing.T) {
	const lost = "failed to load new configuration"
	list := filepath.Join(t.TempDir(), "networks")
	write := func(text string) {
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("10.0.0.0/8\n127.0.2.8/32\n")
	head, conf := "hostname mx1.receiver-bench.org\n", mx("helo_fqdn strict {\nexempt_networks file "+list+"\n}")
	s := start(t, head+conf)
	for i := range 2 {
		write("10.0.0.0/8\n127.0.")
		s.signalReload(t)
		if line := s.await(t, lost, i); !strings.Contains(line, list+":2: ") {
			t.Errorf("no file and line: %s", line)
		}
		s.judged(t, "127.0.2.8", "127.0.2.9")
	}
	s.configure(t, head+"helo_fqdn {")
	s.signalReload(t)
	s.await(t, lost, 2)
	s.judged(t, "127.0.2.8", "127.0.2.9")
	write("10.0.0.0/8\n127.0.2.9/32\n")
	s.reload(t, head+conf)
	s.settle(t)
	s.judged(t, "127.0.2.9", "127.0.2.8")
}

// judged wants clients that greet as localhost to be exempt, or refused.
func (s *server) judged(t *testing.T, exempt, refused string) {
	t.Helper()
	for source, code := range map[string]int{exempt: 250, refused: 550} {
		c := s.dial(t, "127.0.0.25", "smtp", source)
		c.run(talk(send("EHLO localhost", 250), transaction(code), send("QUIT", 221)))
	}
}

// settle waits until all new sessions get the new policy: for a moment after a reload the old
// listener takes connections too, even when the new one has had some. The old server ends with its
// last session.
func (s *server) settle(t *testing.T) {
	t.Helper()
	s.await(t, "old server stopped", s.logged("new server started")-1)
}

// Sessions that a reload finds keep the policy they began with. New ones get
// the new policy, and no session is lost.
func TestReloadAmidSessions(t *testing.T) {
	const sessions = 200
	conf := func(code string) string {
		return mx("helo_fqdn strict {\nexempt_networks 10.0.0.0/8\n" +
			"localhost_action reject " + code + "\n}")
	}
	s := start(t, conf("551"))
	old := make([]*client, sessions)
	for i := range old {
		old[i] = s.mx(t)
		old[i].run(talk(send("EHLO localhost", 250)))
		if i%2 == 0 {
			old[i].run(transaction(551))
		}
	}
	ended := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 { // sessions that begin while the server reloads
		wg.Add(1)
		go func() {
			defer wg.Done()
			for last := false; !last; {
				select {
				case <-ended:
					last = true
				default:
				}
				code, err := s.verdict("localhost")
				if err != nil || code != 551 && code != 552 {
					t.Errorf("during the reload: %d, %v", code, err)
					return
				}
			}
		}()
	}
	s.reload(t, conf("552"))
	for i, c := range old {
		if i%2 == 0 {
			c.run(talk(send("RSET", 250)))
		}
		c.run(transaction(551))
	}
	close(ended)
	wg.Wait()
	for _, c := range old {
		c.run(talk(send("RSET", 250), transaction(551), send("QUIT", 221)))
	}
	s.settle(t)
	for range sessions {
		if code, err := s.verdict("localhost"); code != 552 || err != nil {
			t.Errorf("after the reload: %d, %v", code, err)
		}
	}
}

// restless is a client that greets again and again, before and after STARTTLS,
// and may hang up at any time.
type restless struct {
	*textproto.Conn
	plain net.Conn
}

func (s *server) restless() (*restless, error) {
	d := net.Dialer{Timeout: hang, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, 1)}}
	conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.25", s.ports["smtp"]))
	if err != nil {
		return nil, err
	}
	r := &restless{textproto.NewConn(conn), conn}
	if err = conn.SetDeadline(time.Now().Add(hang)); err == nil {
		_, _, err = r.ReadResponse(220)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return r, nil
}

// say sends a line and wants one of some codes.
func (r *restless) say(line string, want ...int) error {
	if err := r.PrintfLine("%s", line); err != nil {
		return err
	}
	code, text, err := r.ReadResponse(0)
	if slices.Contains(want, code) {
		return nil
	}
	return fmt.Errorf("%.60s: %d %s (%w)", line, code, text, err)
}

// verdicts are the codes that a name may get. A lookup that fails accuses nobody.
var verdicts = map[string][]int{
	good: {250}, "localhost": {550}, "nosuch.sender-bench.com": {450, 250},
}

// hold is one session with some greetings, of which the last one counts.
func (r *restless) hold(random *rand.Rand, names []string) error {
	defer r.plain.Close()
	pick := func() string { return names[random.IntN(len(names))] }
	if random.IntN(2) == 0 {
		if err := r.say("EHLO "+pick(), 250); err != nil {
			return err
		}
		if err := r.say("STARTTLS", 220); err != nil {
			return err
		}
		r.Conn = textproto.NewConn(tls.Client(r.plain, ownCertificate))
	}
	for range 1 + random.IntN(3) {
		name := pick()
		for range 1 + random.IntN(2) {
			if err := r.say([]string{"EHLO ", "HELO "}[random.IntN(2)]+name, 250); err != nil {
				return err
			}
		}
		if random.IntN(6) == 0 {
			return nil // hangs up while the lookups go on
		}
		if err := r.say(mailFrom, 250); err != nil {
			return err
		}
		if err := r.say(rcptTo, verdicts[name]...); err != nil {
			return fmt.Errorf("as %s: %w", name, err)
		}
	}
	return r.say("QUIT", 221)
}

// Reloads amid clients that greet anew, use TLS and hang up lose no session and
// change no verdict.
func TestLoadAmidReloads(t *testing.T) {
	const clients = 50
	names := []string{good, "localhost", "nosuch.sender-bench.com"}
	resolver := troubled(t, 7)
	conf := "tls self_signed\n" + strings.Replace(
		mx(withDNS("strict", resolver, "dns_timeout 500ms")), "tls off", "tls self_signed", 1)
	s := start(t, conf)
	var wg sync.WaitGroup
	var sessions atomic.Int64
	reloaded := make(chan struct{})
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			random := rand.New(rand.NewPCG(7, uint64(i)))
			for last := false; !last; {
				select {
				case <-reloaded:
					last = true
				default:
				}
				r, err := s.restless()
				if err == nil {
					err = r.hold(random, names)
				}
				if err != nil {
					t.Error(err)
					return
				}
				sessions.Add(1)
			}
		}()
	}
	for range loadReloads * loadFactor(t) {
		s.reload(t, conf)
	}
	close(reloaded)
	wg.Wait()
	t.Logf("%d sessions", sessions.Load())
}
