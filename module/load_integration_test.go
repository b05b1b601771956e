package module_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// The load tests have a short form. CHECKHELO_LOAD=20 makes them twenty times as long:
//
//	CHECKHELO_LOAD=20 go test -v -timeout 30m -run 'Load|Flood' ./module
const (
	loadClients   = 200
	loadSessions  = 6 // of each client
	floodSessions = 2000
	loadReloads   = 4
)

// loadFactor is how many times as long as the short form the load tests are.
func loadFactor(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CHECKHELO_LOAD")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// late keeps answers back. When more than most wait, the first of them are sent.
type late struct {
	mu   sync.Mutex
	most int
	held []func()
}

func (l *late) hold(send func()) {
	l.mu.Lock()
	l.held = append(l.held, send)
	due := l.due()
	l.mu.Unlock()
	for _, send := range due {
		send()
	}
}

// keep changes how many answers may wait.
func (l *late) keep(most int) {
	l.mu.Lock()
	l.most = most
	due := l.due()
	l.mu.Unlock()
	for _, send := range due {
		send()
	}
}

// due takes what is to be sent. The caller holds mu.
func (l *late) due() []func() {
	n := max(0, len(l.held)-l.most)
	due := l.held[:n:n]
	l.held = l.held[n:]
	return due
}

// troubled answers, fails and drops at random, and answers some questions after others that came
// later.
func troubled(t *testing.T, seed uint64) *dnstest.Server {
	t.Helper()
	s := zone(t)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	waiting := &late{most: 16}
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		mu.Lock()
		lot := random.IntN(100)
		mu.Unlock()
		switch {
		case lot < 60 || w.RemoteAddr().Network() != "udp":
			return false
		case lot < 85:
			waiting.hold(func() { _ = w.WriteMsg(s.Answer(q, "", "udp")) })
			return true
		case lot < 95:
			return w.WriteMsg(s.Answer(q, []string{"SERVFAIL", "REFUSED"}[lot%2], "udp")) == nil
		}
		return true // no answer
	})
	return s
}

// loadNames are greeted with at random, among names never seen before.
var loadNames = []string{
	good, "other.yourcompany.com", "localhost", "hostnameonly", "under_score.sender-bench.com",
	"mail.corp", "elsewhere.sender-bench.com", "gmail.com", "receiver-bench.org",
	"mx1.receiver-bench.org", "[127.0.2.1]", "v6only.sender-bench.com", "mxonly.sender-bench.com",
	"cname.sender-bench.com", "mail.sender-bench.123",
}

// tally is what clients saw.
type tally struct{ sessions, accepted, refused, delivered, lost atomic.Int64 }

// add counts a session that has ended.
func (y *tally) add(one *session) {
	y.sessions.Add(1)
	for _, code := range one.codes {
		if code == 250 {
			y.accepted.Add(1)
		} else {
			y.refused.Add(1)
		}
	}
	if one.delivered {
		y.delivered.Add(1)
	}
}

// randomSession is one of many, with one to three recipients.
func randomSession(random *rand.Rand) *session {
	one := &session{
		source:  fmt.Sprintf("127.0.2.%d", 1+random.IntN(200)),
		helo:    loadNames[random.IntN(len(loadNames))],
		deliver: random.IntN(4) == 0,
	}
	if random.IntN(3) == 0 {
		one.helo = fmt.Sprintf("mail%d.sender-bench.com", random.IntN(1e9))
	}
	for i := range 1 + random.IntN(3) {
		name := fmt.Sprintf("user%d", i)
		if i == 0 && random.IntN(8) == 0 {
			name = "postmaster"
		}
		one.rcpts = append(one.rcpts, name+"@receiver-bench.org")
	}
	return one
}

// No verdict is lost or counted twice, and nothing is left when the sessions have ended.
func TestConcurrentLoad(t *testing.T) {
	resolver, target := troubled(t, 6), startSink(t)
	target.keep = false
	conf := mx(withDNS("strict", resolver, "dns_timeout 500ms"))
	conf = strings.Replace(conf, "deliver_to dummy", "deliver_to "+target.module(), 1)
	s := start(t, conf+openmetrics)
	if _, err := s.verdict(good); err != nil {
		t.Fatal(err)
	}
	before := s.figures(t)
	var seen tally
	each := loadSessions * loadFactor(t)
	ended := make(chan struct{})
	for i := range loadClients {
		go func() {
			random := rand.New(rand.NewPCG(6, uint64(i)))
			for range each {
				one := randomSession(random)
				if err := one.run(s.ports["smtp"]); err != nil {
					seen.lost.Add(1)
					t.Errorf("EHLO %s: %v", one.helo, err)
				}
				seen.add(one)
				ended <- struct{}{}
			}
		}()
	}
	var memory []int // in MiB, twenty times
	for i := range loadClients * each {
		if <-ended; i%(loadClients*each/20) == 0 {
			memory = append(memory, s.resident(t)>>10)
		}
	}
	after := s.settled(t, before)
	t.Logf("%d sessions, %d lost; %d recipients accepted, %d refused; %d messages; %d DNS questions",
		seen.sessions.Load(), seen.lost.Load(), seen.accepted.Load(), seen.refused.Load(),
		seen.delivered.Load(), resolver.Count())
	t.Logf("before %+v, after %+v; memory over time, in MiB: %v", before, after, memory)
	checkCounts(t, &seen, before, after)
	if n := int64(target.count()); n != seen.delivered.Load() {
		t.Errorf("%d messages at the target, %d delivered by clients", n, seen.delivered.Load())
	}
	if n := int64(s.logged("smtp: accepted")); n != seen.delivered.Load() {
		t.Errorf("%d messages accepted in the log, %d delivered by clients", n, seen.delivered.Load())
	}
	checkMemory(t, memory)
}

func checkCounts(t *testing.T, seen *tally, before, after figures) {
	t.Helper()
	if got := int64(after.refused - before.refused); got != seen.refused.Load() {
		t.Errorf("metrics count %d refusals, clients saw %d", got, seen.refused.Load())
	}
	if got := int64(after.passed - before.passed); got != seen.accepted.Load() {
		t.Errorf("metrics count %d recipients that passed, clients saw %d", got, seen.accepted.Load())
	}
	if seen.refused.Load() == 0 || seen.accepted.Load() == 0 || seen.delivered.Load() == 0 {
		t.Error("the load has not all outcomes")
	}
}

const openmetrics = "openmetrics tcp://127.0.0.1:{env:TEST_PORT_lmtp} { }\n"

// figures are what a server shows of itself.
type figures struct{ refused, passed, goroutines, descriptors int }

var sample = regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? ([0-9.e+]+)$`)

func (s *server) figures(t *testing.T) (f figures) {
	t.Helper()
	for _, found := range sample.FindAllStringSubmatch(s.metrics(t), -1) {
		value, err := strconv.ParseFloat(found[3], 64)
		if err != nil {
			t.Fatal(err)
		}
		switch n := int(value); found[1] {
		case "maddy_helo_fqdn_verdicts_total":
			if strings.Contains(found[2], `action="reject"`) {
				f.refused += n
			} else {
				f.passed += n
			}
		case "maddy_helo_fqdn_exempt_total":
			f.passed += n
		case "go_goroutines":
			f.goroutines = n
		}
	}
	f.descriptors = s.descriptors(t)
	return f
}

// settled waits until goroutines and descriptors are back where they were.
func (s *server) settled(t *testing.T, before figures) (after figures) {
	t.Helper()
	const (
		slack = 8 // the connection that the metrics came by, lookups that just end
		// 32 idle sockets to the DNS server (module/dnsfacts), 9 idle connections of memory with
		// three files each, and the connection of the metrics.
		files = 32 + 3*9 + 1
	)
	defer func() { t.Logf("before %+v, after %+v", before, after) }()
	until(t, "goroutines and descriptors as before", func() bool {
		after = s.figures(t)
		return after.goroutines <= before.goroutines+slack && after.descriptors <= before.descriptors+files
	})
	return after
}

// checkMemory wants the last quarter of the time to need no more than the second one.
func checkMemory(t *testing.T, mib []int) {
	t.Helper()
	quarter := len(mib) / 4
	if quarter == 0 {
		t.Fatalf("only %d samples of the memory", len(mib))
	}
	warm, last := slices.Max(mib[quarter:2*quarter]), slices.Max(mib[len(mib)-quarter:])
	if last > warm*5/4+32 {
		t.Errorf("memory grows: %v MiB", mib)
	}
}

// maxQuestions is the most questions that a server has under way (module/dnsfacts).
const maxQuestions = 1024

// floodResolver keeps the answers to questions for a flood's names back.
type floodResolver struct {
	*dnstest.Server
	late
	names map[string]bool // of the questions kept back since the start
}

func startFloodResolver(t *testing.T) *floodResolver {
	t.Helper()
	r := &floodResolver{Server: zone(t), late: late{most: math.MaxInt}, names: make(map[string]bool)}
	r.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		name := q.Question[0]
		if !strings.Contains(name.Name, "flood") || w.RemoteAddr().Network() != "udp" {
			return false
		}
		r.mu.Lock()
		r.names[strings.ToLower(name.Name)+dns.TypeToString[name.Qtype]] = true
		r.mu.Unlock()
		r.hold(func() { _ = w.WriteMsg(r.Answer(q, "", "udp")) })
		return true
	})
	return r
}

// asked is how many different questions were kept back.
func (r *floodResolver) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.names)
}

// A flood of clients with ever new names and addresses that stop after EHLO takes a bounded number
// of lookups, and others get their verdict beside it.
func TestGreetingFlood(t *testing.T) {
	resolver := startFloodResolver(t)
	s := start(t, mx(withDNS("strict", resolver.Server, "dns_timeout 1m"))+openmetrics)
	if _, err := s.verdict(good); err != nil {
		t.Fatal(err)
	}
	before := s.figures(t)
	s.flood(t, 0, floodSessions)
	// Nothing was answered. Each session would have asked two questions for its name.
	if n := resolver.asked(); n == 0 || n > maxQuestions {
		t.Errorf("%d questions under way for %d sessions, want at most %d", n, floodSessions, maxQuestions)
	}
	t.Logf("%d questions under way for %d sessions", resolver.asked(), floodSessions)
	resolver.keep(maxQuestions / 4)
	flooding := make(chan struct{})
	go func() {
		defer close(flooding)
		s.flood(t, floodSessions, floodSessions*(1+loadFactor(t)))
	}()
	s.legitimate(t, flooding, resolver.Server)
	resolver.keep(0)
	s.settled(t, before)
}

// One client sends greetings with ever new names in one go. Each is answered,
// the last one counts, and what the others began comes to its end.
func TestPipelinedGreetings(t *testing.T) {
	const greetings = 100 // more of one connection are not judged
	resolver := startFloodResolver(t)
	resolver.keep(maxQuestions / 4)
	s := start(t, mx(withDNS("strict", resolver.Server))+openmetrics)
	if _, err := s.verdict(good); err != nil {
		t.Fatal(err)
	}
	before := s.figures(t)
	c := s.mx(t)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range greetings - 1 {
			fmt.Fprintf(c.W, "EHLO flood%d.sender-bench.com\r\n", i)
		}
		fmt.Fprintf(c.W, "EHLO localhost\r\n")
		_ = c.W.Flush()
	}()
	for range greetings {
		c.reply(250)
	}
	<-written
	s.looksUp(t)
	c.run(talk(transaction(550), send("QUIT", 221)))
	resolver.keep(0)
	s.settled(t, before)
}

// flood opens the sessions from first to before end, each from its own address, 32 at a time, and
// leaves the last ones of each of its clients open for a while.
func (s *server) flood(t *testing.T, first, end int) {
	t.Helper()
	next := atomic.Int64{}
	next.Store(int64(first))
	var wg sync.WaitGroup
	for range 32 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var open []net.Conn
			for i := int(next.Add(1)); i <= end; i = int(next.Add(1)) {
				conn, err := s.greetOnly(i)
				if err != nil {
					t.Errorf("session %d of the flood got no reply: %v", i, err)
					continue
				}
				if open = append(open, conn); len(open) > 16 {
					open[0].Close()
					open = open[1:]
				}
			}
			for _, conn := range open {
				conn.Close()
			}
		}()
	}
	wg.Wait()
}

// greetOnly is session i of a flood.
func (s *server) greetOnly(i int) (net.Conn, error) {
	source := net.IPv4(127, byte(8+i>>16), byte(i>>8), byte(i))
	d := net.Dialer{Timeout: hang, LocalAddr: &net.TCPAddr{IP: source}}
	conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.25", s.ports["smtp"]))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(hang))
	c := textproto.NewConn(conn)
	if _, _, err = c.ReadResponse(220); err == nil {
		if err = c.PrintfLine("EHLO mail.flood%d.sender-bench.com", i); err == nil {
			_, _, err = c.ReadResponse(250)
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// legitimate opens one session after another until the flood ends. A lookup whose packets are
// lost on a busy machine refuses nobody, so that not each unknown name has to be refused.
func (s *server) legitimate(t *testing.T, flood <-chan struct{}, resolver *dnstest.Server) {
	t.Helper()
	refused, unknown := 0, 0
	for i, last := 0, false; !last; i++ {
		select {
		case <-flood:
			last = true
		default:
		}
		helo, known := fmt.Sprintf("nosuch%d.sender-bench.com", i), i%2 == 0
		if known {
			helo = fmt.Sprintf("legitimate%d.sender-bench.com", i)
			if err := resolver.Add(helo + " A 127.0.2.1"); err != nil {
				t.Fatal(err)
			}
		} else {
			unknown++
		}
		code, err := s.verdict(helo)
		if err != nil || code != 250 && (known || code != 450) {
			t.Errorf("%s: %d, %v", helo, code, err)
		}
		if code == 450 {
			refused++
		}
	}
	t.Logf("beside the flood %d of %d unknown names were refused", refused, unknown)
	if refused < unknown*3/4 {
		t.Errorf("beside the flood only %d of %d unknown names were refused", refused, unknown)
	}
}

var unknown atomic.Int64

// looksUp wants the server to look a name up: one that is not in the DNS is refused. A lookup
// that fails refuses nobody, and on a busy machine some do: then the next name has its turn. It
// returns the name.
func (s *server) looksUp(t *testing.T) (helo string) {
	t.Helper()
	until(t, "an unknown name is refused", func() bool {
		helo = fmt.Sprintf("unknown%d.sender-bench.com", unknown.Add(1))
		code, err := s.verdict(helo)
		if err != nil || code != 250 && code != 450 {
			t.Fatalf("%s: %d, %v", helo, code, err)
		}
		return code == 450
	})
	return helo
}

// verdict holds one session with the MX of s and returns the code that the recipient got.
// Unlike a client it may be used by goroutines.
func (s *server) verdict(helo string) (code int, err error) {
	one := session{source: "127.0.2.1", helo: helo, rcpts: []string{"user@receiver-bench.org"}}
	err = one.run(s.ports["smtp"])
	if len(one.codes) == 1 {
		code = one.codes[0]
	}
	return code, err
}

// session is what one client of a load test does.
type session struct {
	source, helo string
	rcpts        []string
	deliver      bool // go on to DATA when a recipient was accepted

	codes     []int // what each of rcpts got
	delivered bool
}

func (s *session) run(port string) error {
	d := net.Dialer{Timeout: hang, LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.source)}}
	conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.25", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(hang)); err != nil {
		return err
	}
	c := textproto.NewConn(conn)
	if _, _, err := c.ReadResponse(220); err != nil {
		return err
	}
	say := func(line string) (int, error) {
		if err := c.PrintfLine("%s", line); err != nil {
			return 0, err
		}
		code, _, err := c.ReadResponse(0)
		if code != 0 {
			return code, nil
		}
		return 0, err
	}
	for _, line := range []string{"EHLO " + s.helo, mailFrom} {
		if code, err := say(line); err != nil || code != 250 {
			return fmt.Errorf("%.40s: %d %w", line, code, err)
		}
	}
	taken := 0
	for _, rcpt := range s.rcpts {
		code, err := say("RCPT TO:<" + rcpt + ">")
		if err != nil {
			return err
		}
		s.codes = append(s.codes, code)
		if code == 250 {
			taken++
		}
	}
	if s.deliver && taken > 0 {
		if code, err := say("DATA"); err != nil || code != 354 {
			return fmt.Errorf("DATA: %d %w", code, err)
		}
		code, err := say(message)
		if err != nil {
			return err
		}
		s.delivered = code == 250
	}
	_, err = say("QUIT")
	return err
}
