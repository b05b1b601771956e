package dnsfacts_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/judge"
)

// The attacks of this file go through the judge to a DNS server on loopback. Nothing is timed: what
// is counted are questions, jobs, descriptors and verdicts.

const (
	attacker = "203.0.113.5"
	clients  = 50 // good ones, and as many bad ones
)

// siege is a judge under strict, and the DNS that an attacker has a part of.
type siege struct {
	*judge.Judge
	begun time.Time
	files int // descriptors before the attack

	mu        sync.Mutex
	questions map[dns.Question]bool // the attacker's, one that was sent twice once
	lost      []string              // what was asked for others and failed

	mostAsking, mostJobs, mostFiles int
}

func besiege(t *testing.T) *siege {
	t.Helper()
	var zone strings.Builder
	for i := range clients {
		fmt.Fprintf(&zone, `good%[1]d.example.org A 198.51.100.%[1]d
ptr 198.51.100.%[1]d good%[1]d.example.org
good%[1]d.example.org TXT v=spf1 include:spf.good%[1]d.example.org -all
spf.good%[1]d.example.org TXT v=spf1 ip4:198.51.100.%[1]d -all
bad%[1]d.example.net A 192.0.2.1
bad%[1]d.example.net TXT v=spf1 include:spf.bad%[1]d.example.net -all
spf.bad%[1]d.example.net TXT v=spf1 ip4:192.0.2.1 -all
`, i)
	}
	server := dnstest.Serve(t, zone.String())
	s := &siege{questions: make(map[dns.Question]bool), begun: time.Now(), files: descriptors(t)}
	server.SetHook(s.hostile)
	policy := checkhelo.NewPolicy(checkhelo.Strict)
	s.Judge = &judge.Judge{Policy: policy, Gatherer: &dnsfacts.Gatherer{
		Exchange: dnsfacts.NewClient([]string{server.Addr}).Exchange, Cache: dnsfacts.NewCache(0),
	}}
	exchange := s.Gatherer.Exchange
	s.Gatherer.Exchange = func(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
		resp, err := exchange(ctx, m)
		if name := m.Question[0].Name; err != nil && !hostile(name) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.lost = append(s.lost, fmt.Sprintf("%s: %v", name, err))
		}
		return resp, err
	}
	return s
}

func hostile(name string) bool {
	return strings.HasSuffix(name, ".far.example.com.") || strings.HasSuffix(name, ".dead.example.com.") ||
		strings.HasPrefix(name, "5.113.0.203.")
}

// hostile answers for the attacker. A name below far.example.com leads to ten MX hosts of ten
// names each, below dead.example.com there is no answer.
func (s *siege) hostile(w dns.ResponseWriter, m *dns.Msg) bool {
	q := m.Question[0]
	if !hostile(q.Name) {
		return false
	}
	s.mu.Lock()
	s.questions[q] = true
	s.mu.Unlock()
	label, zone, _ := strings.Cut(q.Name, ".")
	reply := new(dns.Msg).SetReply(m)
	var data []string
	switch {
	case zone == "dead.example.com.":
		return true
	case q.Qtype == dns.TypePTR:
		data = []string{"PTR attacker.far.example.com."}
	case q.Qtype == dns.TypeA:
		data = []string{"A 192.0.2.1"}
	case q.Qtype == dns.TypeTXT:
		for i := range 10 {
			data = append(data, fmt.Sprintf("mx:m%d-%s.far.example.com", i, label))
		}
		data = []string{`TXT "v=spf1 ` + strings.Join(data, " ") + ` -all"`}
	case q.Qtype == dns.TypeMX:
		for i := range 10 {
			data = append(data, fmt.Sprintf("MX 10 h%d-%s.dead.example.com.", i, label))
		}
	}
	for _, text := range data {
		rr, err := dns.NewRR(q.Name + " 60 IN " + text)
		if err != nil {
			panic(err) // a line of this file is wrong
		}
		reply.Answer = append(reply.Answer, rr)
	}
	_ = w.WriteMsg(reply)
	return true
}

// greet is one greeting of a client that gets to RCPT TO where rcpt is set.
func (s *siege) greet(
	ctx context.Context, helo string, remote netip.AddrPort, rcpt bool,
) (out judge.Outcome) {
	session := s.Greet(ctx, judge.Conn{Helo: helo, Client: remote.Addr(), Remote: remote})
	if rcpt {
		out = session.Rcpt(ctx, "", "alice@example.org", "bob@example.com")
	}
	return out
}

// look notes how much is under way.
func (s *siege) look(t *testing.T) {
	t.Helper()
	asking, _, jobs := s.Gatherer.UnderWay()
	s.mostAsking, s.mostJobs = max(s.mostAsking, asking), max(s.mostJobs, jobs)
	s.mostFiles = max(s.mostFiles, descriptors(t))
}

// descriptors returns how many files the process has open, 0 where it cannot tell.
func descriptors(t *testing.T) int {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// others lets good and bad clients through while the attack goes on.
func (s *siege) others(t *testing.T) {
	t.Helper()
	refused := 0
	for i := range clients {
		good := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}), 4000)
		if out := s.greet(t.Context(), fmt.Sprintf("good%d.example.org", i), good, true); len(out.Hits) > 0 {
			t.Errorf("good client %d: %s", i, out.Hits[0].Rule.Name)
		}
		s.look(t)
		bad := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 200, byte(i)}), 4000)
		out := s.greet(t.Context(), fmt.Sprintf("bad%d.example.net", i), bad, true)
		if out.Action == checkhelo.Reject {
			refused++
		}
		s.look(t)
	}
	if refused < clients {
		t.Errorf("%d of %d bad clients were refused", refused, clients)
	}
}

// held fails the test where the attacker had more than the share of one network, or somebody else
// had less than an answer to each question.
func (s *siege) held(t *testing.T) {
	t.Helper()
	// A good or a bad client beside it has a job and the questions of one greeting.
	const jobs, inFlight, beside = dnsfacts.DefaultShareJobs, dnsfacts.DefaultShareQuestions, 4
	s.mu.Lock()
	defer s.mu.Unlock()
	seconds := int(time.Since(s.begun)/time.Second) + 1
	if most := inFlight * (10 + seconds); len(s.questions) > most {
		t.Errorf("the attacker asked %d questions in %d s, want at most %d", len(s.questions), seconds, most)
	}
	if s.mostAsking > inFlight+beside || s.mostJobs > jobs+1 {
		t.Errorf("at a time %d questions and %d jobs", s.mostAsking, s.mostJobs)
	}
	const idle = 32 + 2 // sockets that are kept, and the reading of /proc itself
	if more := s.mostFiles - s.files; more > inFlight+beside+idle {
		t.Errorf("%d descriptors more than before", more)
	}
	if len(s.lost) > 0 {
		t.Errorf("%d lookups of others failed, one of them %s", len(s.lost), s.lost[0])
	}
	t.Logf("%d questions in less than %d s; at a time %d questions, %d jobs, %d descriptors",
		len(s.questions), seconds, s.mostAsking, s.mostJobs, s.mostFiles-s.files)
}

// One connection greets again and again with names whose SPF record leads far.
func TestFloodOfGreetings(t *testing.T) {
	s := besiege(t)
	remote := netip.AddrPortFrom(netip.MustParseAddr(attacker), 4000)
	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Add(1)
	enough := make(chan struct{})
	go func() {
		defer wg.Done()
		for i := 0; ctx.Err() == nil; i++ {
			s.greet(ctx, fmt.Sprintf("a%d.far.example.com", i), remote, false)
			if i == 2000 {
				close(enough)
			}
			time.Sleep(100 * time.Microsecond)
		}
	}()
	s.others(t)
	<-enough
	end()
	wg.Wait()
	s.held(t)
}

// Many connections of one address get to RCPT TO with names in a zone that never answers.
func TestFloodOfRecipients(t *testing.T) {
	s := besiege(t)
	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range 2700 {
		wg.Add(1)
		remote := netip.AddrPortFrom(netip.MustParseAddr(attacker), uint16(i+1))
		go func() {
			defer wg.Done()
			s.greet(ctx, fmt.Sprintf("a%d.dead.example.com", i), remote, true)
		}()
	}
	for s.mostAsking < dnsfacts.DefaultShareQuestions {
		s.look(t)
		runtime.Gosched()
	}
	s.others(t)
	end()
	wg.Wait()
	s.held(t)
}
