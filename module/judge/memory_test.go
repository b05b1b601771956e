package judge

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/memory"
)

// clock is a time that a test moves.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) wait(d time.Duration) { c.now = c.now.Add(d) }

// remembering returns a judge with a memory of its own.
func remembering(t *testing.T, preset checkhelo.Preset, change func(*checkhelo.Policy)) (*Judge, *clock) {
	t.Helper()
	j := newJudge(t, preset)
	delete(j.Policy.Override, "neighbours")
	change(j.Policy)
	c := &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	j.Exempt.Clock = c.Now
	j.Memory = &memory.Memory{Store: memory.NewMap(&memory.Room{Most: 1000}), Clock: c.Now, Delay: 5 * time.Minute}
	return j, c
}

func asIs(*checkhelo.Policy) {}

// oddHelo has a PTR fault and a new TLD: 4 points under rfc.
const oddHelo = "mail.example.top"

// deliver sends a message through j as a server would, and returns the replies.
func deliver(t *testing.T, j *Judge, helo, ip, from string, rcpts ...string) (codes []int, o Outcome) {
	t.Helper()
	s := j.Greet(t.Context(), Conn{Helo: helo, Client: netip.MustParseAddr(ip)})
	for _, rcpt := range rcpts {
		one := s.Rcpt(t.Context(), "", from, rcpt)
		codes = append(codes, j.Reply(&one).Code)
	}
	o = s.Message(t.Context())
	r := j.Reply(&o)
	if codes = append(codes, r.Code); r.Code == 0 {
		s.Accepted()
	}
	return codes, o
}

func wantCodes(t *testing.T, why string, got []int, want ...int) {
	t.Helper()
	for i := range want {
		if len(got) != len(want) || got[i] != want[i] {
			t.Errorf("%s: replies %v, want %v", why, got, want)
			return
		}
	}
}

func TestGreylist(t *testing.T) {
	const from, rcpt, other = "a@example.top", "u@example.org", "v@example.org"
	j, c := remembering(t, checkhelo.RFC, func(p *checkhelo.Policy) { p.GreylistScore = 4 })
	j.Policy.HelpURL = "https://example.org/helo"
	const ip = "198.51.100.77"
	got, o := deliver(t, j, oddHelo, ip, from, rcpt, other)
	wantCodes(t, "first contact", got, 451, 451, 451)
	if r := j.Reply(&o); !strings.Contains(r.Text, "after 5m0s it is accepted. See https://example.org/helo#wait") ||
		r.Enhanced != [3]int{4, 7, 1} {
		t.Errorf("reply %v", r)
	}
	c.wait(4*time.Minute + 59*time.Second)
	got, _ = deliver(t, j, oddHelo, ip, from, rcpt, other)
	wantCodes(t, "one second early", got, 451, 451, 451)
	c.wait(time.Second)
	got, o = deliver(t, j, oddHelo, "198.51.100.78", from, rcpt, other)
	wantCodes(t, "at the delay, from another host of the network", got, 0, 0, 0)
	if o.Wait.Waited != 5*time.Minute {
		t.Errorf("waited %s", o.Wait.Waited)
	}
	c.wait(time.Hour)
	got, o = deliver(t, j, oddHelo, ip, "somebody@example.top", "w@example.org")
	wantCodes(t, "known from then on", got, 0, 0)
	if o.Known != checkhelo.Accepted || o.Lifted != checkhelo.Greylist {
		t.Errorf("known %s, lifted %s", o.Known, o.Lifted)
	}
	got, _ = deliver(t, j, "other.example.top", "203.0.113.9", from, rcpt)
	wantCodes(t, "another stranger", got, 451, 451)
	got, _ = deliver(t, j, "foo.bar.local", "203.0.113.9", from, rcpt)
	wantCodes(t, "Junk is no wait", got, 0, 0)
	got, _ = deliver(t, j, "friend", "203.0.113.9", from, rcpt)
	wantCodes(t, "reject wins", got, 504, 504)
}

// One transaction gets one answer: a RCPT given again after 451 passes Maddy's checks unseen.
func TestGreylistInOneTransaction(t *testing.T) {
	const rcpt, calm, post = "u@example.org", "v@example.net", "postmaster@example.org"
	for _, tc := range []struct {
		why, from string
		rcpts     []string
		want      []int
	}{
		{"one of two policies", "a@example.top", []string{rcpt, calm}, []int{451, 0, 451}},
		{"beside postmaster", "a@example.top", []string{rcpt, post}, []int{451, 0, 0}},
		{"null sender", "", []string{rcpt}, []int{0, 451}},
		{"null sender, two recipients", "", []string{calm, rcpt}, []int{0, 0, 451}},
		{"null sender to postmaster", "", []string{post}, []int{0, 0}},
	} {
		j, _ := remembering(t, checkhelo.RFC, func(p *checkhelo.Policy) { p.GreylistScore = 4 })
		j.Recipients = table{entries: map[string]string{"@example.net": "ignore"}}
		got, _ := deliver(t, j, oddHelo, "198.51.100.77", tc.from, tc.rcpts...)
		wantCodes(t, tc.why, got, tc.want...)
	}
}

// Nothing waits in a dry run, and at EHLO memory is not read.
func TestGreylistDoesNotAct(t *testing.T) {
	for why, change := range map[string]func(*Judge){
		"dry run":  func(j *Judge) { j.Policy.Ceiling = checkhelo.Ignore },
		"no store": func(j *Judge) { j.Memory = nil; j.Policy.GreylistScore = 0 },
	} {
		j, _ := remembering(t, checkhelo.RFC, func(p *checkhelo.Policy) { p.GreylistScore = 4 })
		change(j)
		got, _ := deliver(t, j, oddHelo, "198.51.100.77", "a@example.top", "u@example.org")
		wantCodes(t, why, got, 0, 0)
	}
	j, _ := remembering(t, checkhelo.RFC, func(p *checkhelo.Policy) { p.GreylistScore = 4 })
	j.AtEHLO = true
	got, _ := deliver(t, j, oddHelo, "198.51.100.77", "a@example.top", "u@example.org")
	wantCodes(t, "enforce_at ehlo", got, 451, 451)
}

// TestSeen: three days over a week lift an own quarantine of a liftable row; nothing lifts others.
func TestSeen(t *testing.T) {
	const ip = "198.51.100.77"
	for known, want := range map[checkhelo.Known]string{checkhelo.Seen: "ignore", checkhelo.Accepted: "quarantine"} {
		j, c := remembering(t, checkhelo.Strict, asIs)
		j.KnownAfter = known
		j.Policy.Override["no_address"] = checkhelo.Rule{Action: checkhelo.Ignore}
		var o Outcome
		for _, days := range []int{0, 3, 4, 1} {
			c.wait(time.Duration(days) * 24 * time.Hour)
			_, o = deliver(t, j, "mail.example.com", ip, "a@example.com", "u@example.org")
			if days != 1 && o.Word() != "quarantine" {
				t.Fatalf("%s after %d more days", o.Word(), days)
			}
		}
		if o.Word() != want {
			t.Errorf("known_after %d: %s, want %s", known, o.Word(), want)
		}
		if known == checkhelo.Seen {
			c.wait(time.Hour)
			if _, o = deliver(t, j, "mail.example.com", ip, "a@example.com", "u@example.org"); o.Known != checkhelo.Accepted {
				t.Errorf("a lifted message makes its sender %s", o.Known)
			}
		}
		_, o = deliver(t, j, "mail.example.com", "203.0.113.7", "a@example.com", "u@example.org")
		if o.Word() != "quarantine" {
			t.Errorf("the same name from another network: %s", o.Word())
		}
	}
}

// TestNobodyBecomesKnownBy has what makes no sender known.
func TestNobodyBecomesKnownBy(t *testing.T) {
	const helo, ip = "mail.example.com", "198.51.100.77"
	grade := func(j *Judge) checkhelo.Known {
		g := greeting{j: j}
		g.facts.Helo, g.facts.Client = parse(helo), netip.MustParseAddr(ip)
		known, err := j.Memory.Known(t.Context(), g.sender())
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	for why, tc := range map[string]struct {
		change func(*Judge)
		rcpt   string
		user   string
		want   checkhelo.Known
	}{
		"a pass":         {func(*Judge) {}, "u@example.org", "", checkhelo.Accepted},
		"postmaster":     {func(*Judge) {}, "postmaster@example.org", "", checkhelo.Stranger},
		"a login":        {func(*Judge) {}, "u@example.org", "bob", checkhelo.Stranger},
		"another policy": {func(j *Judge) { j.Recipients = table{entries: map[string]string{"u@example.org": "ignore"}} }, "u@example.org", "", checkhelo.Stranger},
		"a dry run that would quarantine": {func(j *Judge) {
			j.Policy = j.Policy.With(checkhelo.Strict, checkhelo.Ignore)
		}, "u@example.org", "", checkhelo.Stranger},
		"a DNS that fails": {func(j *Judge) { j.Gatherer.Exchange = refuse }, "u@example.org", "", checkhelo.Stranger},
	} {
		j, _ := remembering(t, checkhelo.RFC, asIs)
		tc.change(j)
		s := j.Greet(t.Context(), Conn{Helo: helo, Client: netip.MustParseAddr(ip)})
		s.Rcpt(t.Context(), tc.user, "a@example.com", tc.rcpt)
		s.Message(t.Context())
		s.Accepted()
		if got := grade(j); got != tc.want {
			t.Errorf("%s: %s, want %s", why, got, tc.want)
		}
	}
}

// Messages of one session may be checked side by side in nested pipelines; -race looks on.
func TestMessagesSideBySide(t *testing.T) {
	j, _ := remembering(t, checkhelo.RFC, asIs)
	for range 50 {
		s := j.Greet(t.Context(), Conn{Helo: "mail.example.net", Client: client})
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range 8 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				next := s.Next()
				<-start
				if o := next.Rcpt(t.Context(), "", "a@example.net", "u@example.org"); o.Refused() {
					t.Errorf("message %d: %s", i, o.Word())
				}
				next.Message(t.Context())
				next.Accepted()
			}()
		}
		close(start)
		wg.Wait()
	}
}

// TestNeighbours: the rule reads the organisations that greeted from one network before.
func TestNeighbours(t *testing.T) {
	j, _ := remembering(t, checkhelo.RFC, asIs)
	_, o := deliver(t, j, "mail.example.com", "198.51.100.77", "a@example.com", "u@example.org")
	if o.Score != 4 { // no_ptr and no_address
		t.Fatalf("score %d %v", o.Score, o.Hits)
	}
	_, o = deliver(t, j, "mail.example.net", "198.51.100.78", "a@example.net", "u@example.org")
	if o.Word() != "quarantine" || o.Score != 5 || o.Hits[1].Rule.Name != "neighbours" {
		t.Errorf("the second organisation: %s, score %d", o.Word(), o.Score)
	}
}

func parse(helo string) heloname.Name { return heloname.Parse(helo) }

func refuse(context.Context, *dns.Msg) (*dns.Msg, error) { return nil, errors.New("no answer") }
