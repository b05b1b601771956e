package module_test

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// zone serves the names of the case table. Names that get no answer there fail at once here, which
// is the same to a verdict.
func zone(t *testing.T) *dnstest.Server {
	t.Helper()
	s := dnstest.Serve(t, dnstest.HeloZone)
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		return s.Mode(q.Question[0].Name) == "DROP" && w.WriteMsg(s.Answer(q, "SERVFAIL", "udp")) == nil
	})
	return s
}

// withDNS is the check with policy, asking dns and judging loopback too. A busy machine answers
// within its time-out, unless a test sets another.
func withDNS(policy string, dns *dnstest.Server, more ...string) string {
	if !strings.Contains(strings.Join(more, "\n"), "dns_timeout") {
		more = append(more, "dns_timeout 1m")
	}
	return fmt.Sprintf("helo_fqdn %s {\nexempt_networks 10.0.0.0/8\ndns_servers %s\n%s\n}",
		policy, dns.Addr, strings.Join(more, "\n"))
}

type testCase struct{ id, source, verb, helo, expected string }

func cases(t *testing.T) (list []testCase) {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "helo-cases.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		c := testCase{row[0], row[1], row[2], unescape(row[3]), row[4]}
		if c.source == "" {
			c.source = "127.0.2.1"
		}
		list = append(list, c)
	}
	return list
}

// greet sends the case's greeting and MAIL, whatever the replies are.
func (c *client) greet(tc testCase) {
	c.t.Helper()
	if tc.verb != "NONE" {
		c.try(strings.TrimSuffix("EHLO "+tc.helo, " "))
	}
	c.try("MAIL FROM:<sender@yourcompany.com>")
}

func TestCasesWithDNS(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns)))
	for _, tc := range cases(t) {
		if tc.expected == "depends" || unseen[tc.id] {
			continue
		}
		t.Run(tc.id, func(t *testing.T) {
			c := s.dial(t, "127.0.0.25", "smtp", tc.source)
			c.greet(tc)
			code := c.try("RCPT TO:<user@receiver-bench.org>")
			if accepted := code < 400; accepted != (tc.expected == "accept") {
				t.Errorf("got %d, want %s", code, tc.expected)
			}
		})
	}
}

// Under policy rfc a name that is not plainly wrong is never refused.
func TestCasesUnderRFC(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("rfc", dns)))
	for _, tc := range cases(t) {
		if tc.expected == "reject" {
			continue
		}
		t.Run(tc.id, func(t *testing.T) {
			c := s.dial(t, "127.0.0.25", "smtp", tc.source)
			c.greet(tc)
			c.say("RCPT TO:<user@receiver-bench.org>", 2)
		})
	}
}

// A resolver that fails in any way costs no good mail.
func TestResolverTrouble(t *testing.T) {
	for _, fault := range []string{"SERVFAIL", "REFUSED", "DROP"} {
		t.Run(fault, func(t *testing.T) {
			dns := zone(t)
			s := start(t, mx(withDNS("strict", dns, "dns_timeout 1s")))
			dns.SetFail(fault)
			for _, tc := range cases(t) {
				if tc.expected != "accept" {
					continue
				}
				c := s.dial(t, "127.0.0.25", "smtp", tc.source)
				c.greet(tc)
				c.say("RCPT TO:<user@receiver-bench.org>", 2)
			}
		})
	}
}

func TestTempfailOnRequest(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns, "dns_timeout 1s", "dns_error_action tempfail")))
	c := s.mx(t)
	c.begin("mail.servfail-bench.org")
	if got := c.say("RCPT TO:<user@receiver-bench.org>", 451); !strings.Contains(got, "4.4.3") {
		t.Errorf("got %q", got)
	}
	c.say("RCPT TO:<postmaster@receiver-bench.org>", 250)
}

// The lookups begin at EHLO, and a client that comes again asks nothing.
func TestPrefetchAndCache(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns)))
	c := s.mx(t)
	c.say("EHLO unknown.sender-bench.com", 250)
	until(t, "a question before MAIL", func() bool { return dns.Count() > 0 })
	known := s.looksUp(t)
	dns.SetFail("DROP")
	s.mx(t).run(talk(send("EHLO "+known, 250), transaction(450)))
}

func TestOfflineRejectAsksNothing(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns)))
	c := s.mx(t)
	c.begin("localhost")
	c.say("RCPT TO:<user@receiver-bench.org>", 550)
	if n := dns.Count(); n != 0 {
		t.Errorf("asked %v", dns.Queries())
	}
}

// A name on exempt_names helps only the client it resolves to.
func TestExemptNameNeedsProof(t *testing.T) {
	dns := zone(t)
	table := "exempt_names static {\nentry under_score.sender-bench.com \"\"\nentry elsewhere.test 127.0.2.9/32\n" +
		"entry sender.invalid \"\"\n}"
	s := start(t, mx(withDNS("strict", dns, table)))
	for _, tc := range []struct {
		source, helo string
		code         int
	}{
		{"127.0.2.1", "under_score.sender-bench.com", 250}, // resolves to the client
		{"127.0.2.4", "under_score.sender-bench.com", 501}, // somebody else says so
		{"127.0.2.9", "elsewhere.test", 250},               // the address stands in the table
		{"127.0.2.4", "elsewhere.test", 550},
		{"127.0.2.1", "sender.invalid", 550}, // no proof at all
	} {
		c := s.dial(t, "127.0.0.25", "smtp", tc.source)
		c.begin(tc.helo)
		if got := c.try("RCPT TO:<user@receiver-bench.org>"); got != tc.code {
			t.Errorf("%s from %s: got %d, want %d", tc.helo, tc.source, got, tc.code)
		}
	}
}

func TestExemptClientByConfirmedName(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns, "exempt_clients static {\nentry .yourcompany.com \"\"\n}")))
	for source, code := range map[string]int{"127.0.2.1": 250, "127.0.2.3": 504} {
		c := s.dial(t, "127.0.0.25", "smtp", source)
		c.begin("hostnameonly")
		if got := c.try("RCPT TO:<user@receiver-bench.org>"); got != code {
			t.Errorf("from %s: got %d, want %d", source, got, code)
		}
	}
}

func TestBlocklistsAndDNSWL(t *testing.T) {
	dns := zone(t)
	err := dns.Add(`mta01.yourcompany.com.dbl.example A 127.0.1.2
mta01.yourcompany.com.dbl.example TXT seen in spam
elsewhere.sender-bench.com.dbl.example A 127.255.255.254
cname.sender-bench.com.dbl.example A 192.0.2.99
other.yourcompany.com.soft.example A 127.0.1.3
4.2.0.127.wl.example A 127.0.5.1`)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, mx(withDNS("strict", dns, "blocklists dbl.example", "blocklists soft.example {\naction score 2\n}",
		"exempt_dnswl wl.example")))
	for _, tc := range []struct {
		source, helo string
		code         int
	}{
		{"127.0.2.1", "mta01.yourcompany.com", 554},
		{"127.0.2.1", "elsewhere.sender-bench.com", 250}, // the list says that it does not answer us
		{"127.0.2.1", "cname.sender-bench.com", 250},     // no list answers so
		{"127.0.2.4", "other.yourcompany.com", 250},      // two points refuse nobody
		{"127.0.2.4", "mta01.yourcompany.com", 250},      // listed, but on the allow-list too
	} {
		c := s.dial(t, "127.0.0.25", "smtp", tc.source)
		c.begin(tc.helo)
		if got := c.try("RCPT TO:<user@receiver-bench.org>"); got != tc.code {
			t.Errorf("%s from %s: got %d, want %d", tc.helo, tc.source, got, tc.code)
		}
	}
	if line := s.waitLog(t, `"rule":"listed","score":0`); !strings.Contains(line, "dbl.example 127.0.1.2 seen in spam") {
		t.Errorf("log line %s", line)
	}
}

func TestDenyHosts(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("rfc", dns, "deny_hosts static {\nentry 127.0.2.77 \"550 not that network\"\n"+
		"entry mta01.yourcompany.com \"\"\n}")))
	for helo, code := range map[string]int{
		"elsewhere.sender-bench.com": 550, "mxonly.sender-bench.com": 554, "cname.sender-bench.com": 250,
	} {
		c := s.mx(t)
		c.begin(helo)
		if got := c.try("RCPT TO:<user@receiver-bench.org>"); got != code {
			t.Errorf("%s: got %d, want %d", helo, got, code)
		}
	}
}

// The results reach Authentication-Results, and HELO SPF stays out of Maddy's DMARC.
func TestAuthenticationResults(t *testing.T) {
	dns := zone(t)
	if err := dns.Add("mta01.yourcompany.com TXT v=spf1 a -all"); err != nil {
		t.Fatal(err)
	}
	conf := `storage.imapsql local_mailboxes {
		driver sqlite3
		dsn imapsql.db
	}
	smtp tcp://127.0.0.25:{env:TEST_PORT_smtp} {
		tls off
		dmarc yes
		check {
			` + withDNS("rfc", dns) + `
		}
		deliver_to &local_mailboxes
	}
`
	s := start(t, conf, []string{"imap-acct", "create", "user@receiver-bench.org"})
	c := s.mx(t)
	c.say("EHLO mta01.yourcompany.com", 250)
	c.send("user@receiver-bench.org", 250)
	msg := regexp.MustCompile(`\r?\n[ \t]+`).ReplaceAllString(
		s.call(t, "imap-msgs", "dump", "user@receiver-bench.org", "INBOX", "1"), " ")
	for _, want := range []string{"iprev=pass policy.iprev=127.0.2.1", "spf=pass smtp.helo=mta01.yourcompany.com",
		"dmarc=none"} {
		if !strings.Contains(msg, want) {
			t.Errorf("no %q in %s", want, msg)
		}
	}
}

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

// mangler spoils answers on their way as a bad network or box between may do.
// It changes no octet within a record: UDP's checksum finds that.
type mangler struct {
	s *dnstest.Server

	mu     sync.Mutex
	random *rand.Rand
	last   []byte // the answer before
	made   map[string]int

	waiting late
}

// manglings are ways to spoil a packet whose question ends at an octet.
// None left is a lost packet.
var manglings = map[string]func(m *mangler, packet []byte, end int) [][]byte{
	"lost":    func(*mangler, []byte, int) [][]byte { return nil },
	"doubled": func(_ *mangler, p []byte, _ int) [][]byte { return [][]byte{p, p} },
	"cut": func(m *mangler, p []byte, _ int) [][]byte {
		return [][]byte{p[:m.random.IntN(len(p))]}
	},
	"cut after the question": func(_ *mangler, p []byte, end int) [][]byte { return [][]byte{p[:end]} },
	"too long": func(_ *mangler, p []byte, _ int) [][]byte {
		return [][]byte{append(p, strings.Repeat("\xff", 40)...)}
	},
	"of another question": func(m *mangler, p []byte, _ int) [][]byte {
		other := append([]byte(nil), m.last...)
		copy(other, p[:2]) // with the right ID
		return [][]byte{other, p}
	},
	"of another ID": func(_ *mangler, p []byte, _ int) [][]byte {
		p[0]++
		return [][]byte{p}
	},
	"more counted": func(m *mangler, p []byte, _ int) [][]byte {
		p[7+2*m.random.IntN(3)] += byte(1 + m.random.IntN(200))
		return [][]byte{p}
	},
	"pointer to itself": func(_ *mangler, p []byte, end int) [][]byte {
		return [][]byte{append(append(p[:end:end], 0xc0, byte(end)), p[min(end+2, len(p)):]...)}
	},
	"marked as cut": func(_ *mangler, p []byte, end int) [][]byte {
		const tc = 2 // the flag in the third octet, RFC 1035, 4.1.1
		p[2] |= tc
		return [][]byte{p[:end]}
	},
}

// pick leaves half of the packets as they are. The others are spoilt, and some of them late.
func (m *mangler) pick(packet []byte, end int) (packets [][]byte, isLate bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	whole := append([]byte(nil), packet...)
	defer func() { m.last = whole }()
	lot := m.random.IntN(2 * len(manglings))
	for name, mangle := range manglings {
		if lot--; lot < 0 {
			m.made[name]++
			return mangle(m, packet, end), m.random.IntN(2) == 0
		}
	}
	return [][]byte{packet}, false
}

func (m *mangler) answer(w dns.ResponseWriter, q *dns.Msg) bool {
	full := m.s.Answer(q, "", w.RemoteAddr().Network())
	packet, err := full.Pack()
	if err != nil {
		return false
	}
	packets, isLate := m.pick(packet, (&dns.Msg{Question: q.Question}).Len())
	write := func() {
		for _, p := range packets {
			_, _ = w.Write(p)
		}
	}
	if isLate && w.RemoteAddr().Network() == "udp" {
		m.waiting.hold(write) // others overtake it
	} else {
		write()
	}
	return true
}

// Broken packets between the server and its resolver cost no good client
// anything, each of which is looked up for the first time.
func TestGoodClientsAmidBrokenPackets(t *testing.T) {
	const clients, atOnce = 120, 30
	resolver := zone(t)
	name := func(i int) string { return fmt.Sprintf("mail%d.example.net", i) }
	for i := range clients {
		err := resolver.Add(fmt.Sprintf("%[1]s A 127.0.5.%[2]d\nptr 127.0.5.%[2]d %[1]s\n"+
			"%[1]s MX 10 %[1]s\n%[1]s TXT v=spf1 a -all", name(i), 1+i))
		if err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, mx(withDNS("strict", resolver, "dns_timeout 2s", "private_address_action off",
		"blocklists dbl.example")))
	hold := func(i int, helo string, want int) {
		one := session{source: fmt.Sprintf("127.0.5.%d", 1+i), helo: helo,
			rcpts: []string{"user@receiver-bench.org"}}
		if err := one.run(s.ports["smtp"]); err != nil || len(one.codes) != 1 || one.codes[0] != want {
			t.Errorf("%s: %v, %v, want %d", helo, one.codes, err, want)
		}
	}
	hold(0, name(0), 250)
	m := &mangler{s: resolver, random: rand.New(rand.NewPCG(8, 0)), made: make(map[string]int),
		waiting: late{most: 8}}
	resolver.SetHook(m.answer)
	var wg sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				hold(i, name(i), 250)
			}
		}()
	}
	for i := 1; i < clients; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
	if n := s.logged("helo verdict"); n != 0 {
		t.Errorf("%d good clients hit a rule, see %s", n, s.waitLog(t, "helo verdict"))
	}
	resolver.SetHook(nil)
	s.looksUp(t)
	s.waitLog(t, "helo verdict")
	m.mu.Lock()
	defer m.mu.Unlock()
	for fault := range manglings {
		if m.made[fault] == 0 {
			t.Errorf("no packet was %s", fault)
		}
	}
}
