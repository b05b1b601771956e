package module_test

import (
	"fmt"
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

	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// The load tests have a short form of some seconds. The long one is
//
//	export CHECKHELO_LOAD=60s CHECKHELO_FLOOD=100000
//	go test -v -timeout 30m -run 'ConcurrentLoad|GreetingFlood' ./module
//
// where CHECKHELO_LOAD is how long the 200 sessions of TestConcurrentLoad go on, and
// CHECKHELO_FLOOD how many sessions TestGreetingFlood opens.
const (
	shortLoad  = 3 * time.Second
	shortFlood = 2000
)

func loadTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("CHECKHELO_LOAD")
	if text == "" {
		return shortLoad
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func floodSize(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CHECKHELO_FLOOD")
	if text == "" {
		return shortFlood
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// troubled answers, delays, fails and drops at random.
func troubled(t *testing.T, seed uint64) *dnstest.Server {
	t.Helper()
	s := zone(t)
	var mu sync.Mutex
	random := rand.New(rand.NewPCG(seed, 0))
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		mu.Lock()
		lot, wait := random.IntN(100), time.Duration(random.IntN(200))*time.Millisecond
		mu.Unlock()
		switch {
		case lot < 60:
			return false
		case lot < 85:
			time.Sleep(wait)
			return false
		case lot < 95:
			return w.WriteMsg(s.Answer(q, []string{"SERVFAIL", "REFUSED"}[lot%2], "tcp")) == nil
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
	const clients = 200
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
	end := time.Now().Add(loadTime(t))
	var wg sync.WaitGroup
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			random := rand.New(rand.NewPCG(6, uint64(i)))
			for time.Now().Before(end) {
				one := randomSession(random)
				if err := one.run(s.ports["smtp"]); err != nil {
					seen.lost.Add(1)
					t.Errorf("EHLO %s: %v", one.helo, err)
					return
				}
				seen.add(one)
			}
		}()
	}
	memory := s.watchMemory(t, end)
	wg.Wait()
	after := s.settled(t, before)
	t.Logf("%d sessions, %d lost; %d recipients accepted, %d refused; %d messages; %d DNS questions",
		seen.sessions.Load(), seen.lost.Load(), seen.accepted.Load(), seen.refused.Load(),
		seen.delivered.Load(), resolver.Count())
	t.Logf("before %+v, after %+v; memory over time, in MiB: %v", before, after, memory)
	checkCounts(t, &seen, before, after)
	if n := int64(target.count()); n != seen.delivered.Load() {
		t.Errorf("%d messages at the target, %d delivered by clients", n, seen.delivered.Load())
	}
	if n := int64(s.logged(t, "smtp: accepted")); n != seen.delivered.Load() {
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
		slack = 8  // the connection that the metrics came by, lookups that just end
		files = 24 // idle sockets to the DNS server, idle connections of memory with their files
	)
	for range 150 {
		after = s.figures(t)
		if after.goroutines <= before.goroutines+slack && after.descriptors <= before.descriptors+files {
			return after
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Errorf("left behind: before %+v, after %+v", before, after)
	return after
}

// watchMemory returns some twenty samples of the server's memory until end, in MiB.
func (s *server) watchMemory(t *testing.T, end time.Time) (mib []int) {
	t.Helper()
	for step := time.Until(end) / 20; time.Now().Before(end); time.Sleep(step) {
		mib = append(mib, s.resident(t)>>10)
	}
	return mib
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

// floodQuestions bounds the questions under way for a flood from many addresses, and
// some are asked twice because the answer was late.
const floodQuestions = 2 * 1024

// countFlood makes resolver slow for names of a flood. It returns the most
// questions for such names that were under way at a time.
func countFlood(resolver *dnstest.Server) (most *atomic.Int64) {
	var now atomic.Int64
	most = new(atomic.Int64)
	resolver.SetHook(func(_ dns.ResponseWriter, q *dns.Msg) bool {
		if strings.Contains(q.Question[0].Name, "flood") {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			time.Sleep(200 * time.Millisecond)
		}
		return false
	})
	return most
}

// A flood of clients with ever new names and addresses that stop after EHLO
// takes a bounded number of look-ups, and leaves others their verdict in time.
func TestGreetingFlood(t *testing.T) {
	resolver := zone(t)
	most := countFlood(resolver)
	s := start(t, mx(withDNS("strict", resolver))+openmetrics)
	if _, err := s.verdict(good); err != nil {
		t.Fatal(err)
	}
	before := s.figures(t)
	begun := time.Now()
	flooding := make(chan struct{})
	failed := &atomic.Int64{}
	go func() {
		defer close(flooding)
		s.flood(floodSize(t), failed)
	}()
	times := s.legitimate(t, flooding, resolver)
	took := time.Since(begun)
	after := s.settled(t, before)
	slices.Sort(times)
	t.Logf("slowest %v", times[max(0, len(times)-10):])
	t.Logf("%d sessions in %s, %d failed; at most %d questions at a time",
		floodSize(t), took, failed.Load(), most.Load())
	t.Logf("%d legitimate sessions: median %s, slowest %s",
		len(times), times[len(times)/2], times[len(times)-1])
	t.Logf("before %+v, after %+v, %d MiB", before, after, s.resident(t)>>10)
	if n := most.Load(); n > floodQuestions || n == 0 {
		t.Errorf("%d questions at a time, want at most %d", n, floodQuestions)
	}
	if failed.Load() > 0 {
		t.Errorf("%d of the flood's sessions got no reply", failed.Load())
	}
	if slowest := times[len(times)-1]; slowest > soon() {
		t.Errorf("a legitimate session waited %s", slowest)
	}
}

// One client sends greetings with ever new names in one go. Each is answered,
// the last one counts, and what the others began is bounded and comes to its end.
func TestPipelinedGreetings(t *testing.T) {
	const greetings = shortFlood
	resolver := zone(t)
	most := countFlood(resolver)
	s := start(t, mx(withDNS("strict", resolver))+openmetrics)
	if _, err := s.verdict(good); err != nil {
		t.Fatal(err)
	}
	before := s.figures(t)
	c := s.mx(t)
	go func() {
		for i := range greetings {
			fmt.Fprintf(c.W, "EHLO flood%d.sender-bench.com\r\n", i)
		}
		fmt.Fprintf(c.W, "EHLO localhost\r\n")
		_ = c.W.Flush()
	}()
	for range greetings + 1 {
		c.reply(250)
	}
	begun := time.Now()
	if code, err := s.verdict("elsewhere2.sender-bench.com"); code != 450 || err != nil {
		t.Errorf("another client: %d, %v", code, err)
	}
	if took := time.Since(begun); took > soon() {
		t.Errorf("another client waited %s", took)
	}
	c.run(talk(transaction(550), send("QUIT", 221)))
	s.settled(t, before)
	// The DNS server counts questions that nobody waits for any more, too: each new greeting ends the
	// lookups of the one before.
	if n := most.Load(); n > floodQuestions {
		t.Errorf("%d questions at a time, want at most %d", n, floodQuestions)
	}
}

// soon is how long a legitimate session may wait beside a flood: a second in the
// long form, for which the machine is left alone, and else what a look-up may take.
func soon() time.Duration {
	if os.Getenv("CHECKHELO_FLOOD") != "" {
		return time.Second
	}
	return dnsfacts.DefaultTimeout
}

// flood opens n sessions from n addresses, 32 at a time, and leaves the last
// ones of each of its clients open for a while.
func (s *server) flood(n int, failed *atomic.Int64) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var open []net.Conn
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				conn, err := s.greetOnly(i)
				if err != nil {
					failed.Add(1)
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
	d := net.Dialer{Timeout: 20 * time.Second, LocalAddr: &net.TCPAddr{IP: source}}
	conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.25", s.ports["smtp"]))
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
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

// legitimate opens one session each 100 ms until the flood ends and returns
// how long each took from its connection to its verdict and farewell.
func (s *server) legitimate(
	t *testing.T, flood <-chan struct{}, resolver *dnstest.Server,
) (times []time.Duration) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		helo, want := fmt.Sprintf("nosuch%d.sender-bench.com", i), 450
		if i%2 == 0 {
			helo, want = fmt.Sprintf("legitimate%d.sender-bench.com", i), 250
			if err := resolver.Add(helo + " A 127.0.2.1"); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		if code, err := s.verdict(helo); code != want || err != nil {
			t.Errorf("%s: %d, %v", helo, code, err)
		}
		times = append(times, time.Since(begun))
		select {
		case <-flood:
			return times
		case <-tick.C:
		}
	}
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
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(s.source)}}
	conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.25", port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
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
