package module_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// resolver answers from a zone, and can go and come back on the same port.
type resolver struct {
	zone *dnstest.Server
	addr string
	stop func()
}

func startResolver(t *testing.T) *resolver {
	t.Helper()
	r := &resolver{zone: zone(t), addr: "127.0.0.1:0"}
	r.start(t)
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *resolver) start(t *testing.T) {
	t.Helper()
	conn, err := net.ListenPacket("udp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	r.addr = conn.LocalAddr().String()
	started, ended := make(chan struct{}), make(chan struct{})
	server := &dns.Server{PacketConn: conn, Handler: r.zone}
	server.NotifyStartedFunc = func() { close(started) }
	go func() {
		defer close(ended)
		_ = server.ActivateAndServe()
	}()
	<-started
	r.stop = func() {
		_ = server.Shutdown()
		<-ended
	}
}

// A DNS server that is gone costs no mail. Once it is back, verdicts are as before.
func TestDNSGoneAndBack(t *testing.T) {
	for fault, ways := range map[string]struct{ gone, back func(*testing.T, *resolver) }{
		"port closed": {
			func(_ *testing.T, r *resolver) { r.stop() },
			func(t *testing.T, r *resolver) { t.Helper(); r.start(t) },
		},
		"silent": {
			func(_ *testing.T, r *resolver) { r.zone.SetFail("DROP") },
			func(_ *testing.T, r *resolver) { r.zone.SetFail("") },
		},
	} {
		t.Run(fault, func(t *testing.T) {
			r := startResolver(t)
			s := start(t, mx(fmt.Sprintf("helo_fqdn strict {\nexempt_networks 10.0.0.0/8\ndns_servers %s\n"+
				"dns_timeout 500ms\n}", r.addr)))
			try := func(helo string, want int) {
				t.Helper()
				s.mx(t).run(talk(send("EHLO "+helo, 250), transaction(want)))
			}
			until(t, "the first name is refused", func() bool {
				code, err := s.verdict("before.sender-bench.com")
				return err == nil && code == 450
			})
			ways.gone(t, r)
			try("between.sender-bench.com", 250)
			try("before.sender-bench.com", 450) // still known
			try("localhost", 550)               // needs no DNS
			ways.back(t, r)
			s.looksUp(t)
			try(good, 250)
		})
	}
}

// What dns_servers or resolv.conf say is read at a reload, too.
func TestReloadAsksOtherServers(t *testing.T) {
	before, after := zone(t), zone(t)
	s := start(t, mx(withDNS("strict", before)))
	s.mx(t).run(talk(send("EHLO one.sender-bench.com", 250), transaction(450)))
	asked := before.Count()
	if asked == 0 || after.Count() != 0 {
		t.Fatalf("asked %d and %d questions", asked, after.Count())
	}
	s.reload(t, mx(withDNS("strict", after, "localhost_action reject 552")))
	s.settle(t, "localhost", 552)
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
	judged := func(t *testing.T) {
		t.Helper()
		for source, code := range map[string]int{"127.0.2.8": 250, "127.0.2.9": 550} {
			c := s.dial(t, "127.0.0.25", "smtp", source)
			c.run(talk(send("EHLO localhost", 250), transaction(code)))
		}
	}
	holding := func(text string) func(*testing.T) {
		return func(t *testing.T) { t.Helper(); write(t, text) }
	}
	judged(t)
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
			judged(t)
			os.Remove(list)
		})
	}
	write(t, "10.0.0.0/8\n127.0.2.9/32\n")
	s.reload(t, conf)
	s.settle(t, "localhost", 550) // the client of settle is no longer exempt
	c := s.dial(t, "127.0.0.25", "smtp", "127.0.2.9")
	c.run(talk(send("EHLO localhost", 250), transaction(250)))
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
	write("10.0.0.0/8\n127.0.2.9/32\n127.0.2.1/32\n")
	s.reload(t, head+conf)
	s.settle(t, "localhost", 250)
	s.judged(t, "127.0.2.9", "127.0.2.8")
}

// judged wants clients that greet as localhost to be exempt, or refused.
func (s *server) judged(t *testing.T, exempt, refused string) {
	t.Helper()
	for source, code := range map[string]int{exempt: 250, refused: 550} {
		c := s.dial(t, "127.0.0.25", "smtp", source)
		c.run(talk(send("EHLO localhost", 250), transaction(code)))
	}
}

// settle waits until new sessions get the new policy: for a moment after a
// reload the old listener takes connections too.
func (s *server) settle(t *testing.T, helo string, want int) {
	t.Helper()
	until(t, "the new policy is in force", func() bool {
		code, err := s.verdict(helo)
		return err == nil && code == want
	})
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
	s.settle(t, "localhost", 552)
	for range sessions {
		if code, err := s.verdict("localhost"); code != 552 || err != nil {
			t.Errorf("after the reload: %d, %v", code, err)
		}
	}
	for _, c := range old {
		c.run(talk(send("RSET", 250), transaction(551), send("QUIT", 221)))
	}
}
