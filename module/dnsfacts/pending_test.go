//go:build go1.25

package dnsfacts

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

func TestPending(t *testing.T) {
	const (
		d     = 100 * time.Millisecond
		early = all &^ checkhelo.NeedTLD
	)
	g, s := scripted(t, testZone)
	g.Blocklists = []Blocklist{{Zone: "dbl.example"}}
	s.delay = d
	synctest.Test(t, func(t *testing.T) {
		f := factsOf("mail.example.org", goodClient)
		p := g.Start(&f, early, netip.AddrPort{})
		time.Sleep(3 * d)
		begun := time.Now()
		p.Wait(t.Context(), &f, early)
		if took := time.Since(begun); took != 0 {
			t.Errorf("what is there has to be waited for: %v", took)
		}
		if f.Forward.State != found || f.TLD.State != asked0 {
			t.Errorf("facts %v", stateList(&f))
		}
		p.Wait(t.Context(), &f, checkhelo.NeedTLD)
		if took := time.Since(begun); took != d || f.TLD.State != found {
			t.Errorf("a later need: %v after %v", f.TLD, took)
		}
		s.questions()
		again := factsOf("mail.example.org", goodClient)
		p.Wait(t.Context(), &again, early)
		p.Wait(t.Context(), &again, checkhelo.NeedTLD)
		if asked := s.questions(); !reflect.DeepEqual(again, f) || len(asked) != 0 {
			t.Errorf("second message: %v, want %v, asked %v", again, f, asked)
		}
		other := factsOf("listed.example.net", goodClient)
		p.Wait(t.Context(), &other, checkhelo.NeedLists)
		if other.Listed.State != found {
			t.Errorf("another greeting got the answers of the first: %v", other.Listed)
		}
		synctest.Wait()
		idle(t, g)
	})
}

// What is independent goes out at once, what depends on an answer goes out as
// soon as that is there: no ordinary name takes more than two steps.
func TestFillDepth(t *testing.T) {
	const d = 100 * time.Millisecond
	g, s := scripted(t, testZone+`
deep.example.com TXT v=spf1 a:a1.example.com a:a2.example.com a:a3.example.com mx -all
many.example.com TXT v=spf1 include:i1.example.com include:i2.example.com exists:%{i}.%{d} mx:m-%{d} ?all
i1.example.com TXT v=spf1 ip4:192.0.2.1 -all
i2.example.com TXT v=spf1 ip4:192.0.2.2 -all
`)
	g.Blocklists = []Blocklist{{Zone: "dbl.example"}}
	s.delay = d
	synctest.Test(t, func(t *testing.T) {
		for _, helo := range []string{
			"mail.example.org", "gone.example.com", "listed.example.net", "deep.example.com",
			"many.example.com",
		} {
			g.Cache = NewCache(0)
			f := factsOf(helo, "192.0.2.78")
			begun := time.Now()
			g.Fill(t.Context(), &f, all)
			if took := time.Since(begun); took != 2*d || missing(&f, all) != 0 {
				t.Errorf("%s: %v, want %v; %v", helo, took, 2*d, stateList(&f))
			}
		}
		synctest.Wait()
		idle(t, g)
	})
}

// What well-kept clients cost: three questions. The other family and MX are asked
// only where the first answer leaves something open.
func TestQuestions(t *testing.T) {
	g, s := scripted(t, testZone+`
ptr 192.0.2.30 relay.example.org
relay.example.org A 192.0.2.30
relay.example.org TXT v=spf1 a mx include:gone.example.org -all
other.example.org TXT v=spf1 ip4:192.0.2.30 -all
v6.example.org AAAA 2001:db8::30
mxonly.example.org MX 10 mail.example.org
`)
	s.delay = time.Millisecond
	const need = all &^ (checkhelo.NeedTLD | checkhelo.NeedLists)
	for _, tt := range []struct{ helo, client, want string }{
		{"mail.example.org", goodClient, "25.2.0.192.in-addr.arpa PTR, mail.example.org A, mail.example.org TXT"},
		{"mail.example.org", "2001:db8::25", "5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2" +
			".ip6.arpa PTR, mail.example.org AAAA, mail.example.org TXT"},
		{"relay.example.org", "192.0.2.30", "30.2.0.192.in-addr.arpa PTR, relay.example.org A, relay.example.org TXT"},
		{"v6.example.org", "192.0.2.30", "30.2.0.192.in-addr.arpa PTR, relay.example.org A, v6.example.org A, " +
			"v6.example.org AAAA, v6.example.org MX, v6.example.org TXT"},
		{"mail.example.org", "192.0.2.30", "30.2.0.192.in-addr.arpa PTR, mail.example.org A, mail.example.org AAAA, " +
			"mail.example.org TXT, relay.example.org A"},
		{"mxonly.example.org", goodClient, "25.2.0.192.in-addr.arpa PTR, mail.example.org A, mxonly.example.org A, " +
			"mxonly.example.org AAAA, mxonly.example.org MX, mxonly.example.org TXT"},
	} {
		synctest.Test(t, func(t *testing.T) {
			g.Cache = NewCache(0)
			f := factsOf(tt.helo, tt.client)
			g.Start(&f, need, netip.AddrPort{}).Wait(t.Context(), &f, need)
			if got := strings.Join(s.questions(), ", "); got != tt.want {
				t.Errorf("%s from %s asked %s", tt.helo, tt.client, got)
			}
			if n := missing(&f, need); n != 0 {
				t.Errorf("%s from %s: %b is missing", tt.helo, tt.client, n)
			}
		})
	}
}

func TestPendingWaitCancelled(t *testing.T) {
	g, s := scripted(t, testZone)
	s.delay = 300 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		f := factsOf("mail.example.org", goodClient)
		p := g.Start(&f, all, netip.AddrPort{})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		early := f
		p.Wait(ctx, &early, all)
		for name, state := range stateList(&early) {
			if state != failed && name != "listed" && name != "mx" { // MX waits for Forward
				t.Errorf("%s is %v, want Failed", name, state)
			}
		}
		p.Wait(t.Context(), &f, all)
		if f.Forward.State != found || f.Confirmed.State != found {
			t.Errorf("after another caller gave up: %v", stateList(&f))
		}
	})
}

func TestPendingCancel(t *testing.T) {
	g, s := scripted(t, testZone)
	g.Timeout = time.Minute
	s.silent = func(dns.Question) bool { return true }
	synctest.Test(t, func(t *testing.T) {
		f := factsOf("mail.example.org", goodClient)
		p := g.Start(&f, all, netip.AddrPort{})
		synctest.Wait()
		p.cancel()
		p.cancel()
		begun := time.Now()
		p.Wait(t.Context(), &f, all)
		if took := time.Since(begun); took != 0 || f.Forward.State != failed {
			t.Errorf("%v after %v", f.Forward, took)
		}
		synctest.Wait()
		idle(t, g)
	})
}

// A pause of the client must not use up the time that look-ups have.
func TestPendingPause(t *testing.T) {
	g, s := scripted(t, testZone)
	s.delay = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		f := factsOf("mail.example.org", goodClient)
		p := g.Start(&f, checkhelo.NeedForward, netip.AddrPort{})
		time.Sleep(2 * g.Timeout)
		if p.Wait(t.Context(), &f, checkhelo.NeedTLD); f.TLD.State != found {
			t.Errorf("after a pause: %v", f.TLD)
		}

		f = factsOf("slow.example.net", "192.0.2.1")
		s.silent = func(dns.Question) bool { return true }
		p = g.Start(&f, checkhelo.NeedForward, netip.AddrPort{})
		begun := time.Now()
		p.Wait(t.Context(), &f, checkhelo.NeedForward)
		p.Wait(t.Context(), &f, checkhelo.NeedTLD)
		if took := time.Since(begun); took != g.Timeout {
			t.Errorf("look-ups of one client took %v, want %v in all", took, g.Timeout)
		}
		if f.Forward.State != failed || f.TLD.State != failed {
			t.Errorf("facts %v", stateList(&f))
		}
	})
}

// A fact that failed is asked again once failTTL is over, and not before.
func TestFailedFactsAreAskedAgain(t *testing.T) {
	for _, mode := range []string{"cached", "not cached"} {
		g, s := scripted(t, testZone+"broken.example.net SERVFAIL\n")
		s.delay = time.Millisecond
		synctest.Test(t, func(t *testing.T) {
			if g.Cache = NewCache(0); mode == "not cached" {
				g.Cache = nil
			}
			const need = all &^ checkhelo.NeedTLD
			down := true
			s.silent = func(dns.Question) bool { return down }
			f := factsOf("mail.example.org", goodClient)
			p := g.Start(&f, need, netip.AddrPort{})
			p.Wait(t.Context(), &f, need)
			if f.Forward.State != failed || f.PTR.State != failed || f.SPF.State != failed {
				t.Fatalf("%s: a silent resolver: %v", mode, stateList(&f))
			}
			down = false
			s.questions()
			time.Sleep(failTTL - time.Millisecond)
			p.Wait(t.Context(), &f, need)
			g.Fill(t.Context(), &f, need)
			if asked := s.questions(); len(asked) != 0 || f.Forward.State != failed {
				t.Errorf("%s: asked %v before failTTL is over", mode, asked)
			}
			time.Sleep(2 * time.Millisecond)
			other := f
			p.Wait(t.Context(), &f, need)
			g.Fill(t.Context(), &other, need)
			for _, f := range []*checkhelo.Facts{&f, &other} {
				if f.Forward.State != found || f.Confirmed.State != found || f.SPF.Value != "pass" {
					t.Errorf("%s: after failTTL: %v", mode, stateList(f))
				}
			}
		})
	}
}

// A new greeting of a connection cancels the look-ups of the one before, and no
// others. The same greeting again, as after STARTTLS, goes on with what runs.
func TestStartReplaces(t *testing.T) {
	g, s := scripted(t, testZone)
	g.ShareJobs = 10
	s.delay = 300 * time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		remote := netip.MustParseAddrPort(goodClient + ":4000")
		other := netip.MustParseAddrPort(goodClient + ":4001")
		f := factsOf("mail.example.org", goodClient)
		first := g.Start(&f, checkhelo.NeedTLD, remote)
		beside := f
		besides := g.Start(&beside, checkhelo.NeedForward, other)
		if again := g.Start(&f, checkhelo.NeedTLD, remote); again != first {
			t.Error("the same greeting begins anew")
		}
		second := factsOf("other.example.net", goodClient)
		p := g.Start(&second, checkhelo.NeedForward, remote)
		synctest.Wait()
		if _, _, jobs := g.UnderWay(); jobs != 2 {
			t.Errorf("%d jobs, want that of the other connection and the new one", jobs)
		}
		besides.Wait(t.Context(), &beside, checkhelo.NeedForward)
		p.Wait(t.Context(), &second, checkhelo.NeedForward)
		first.Wait(t.Context(), &f, checkhelo.NeedTLD)
		if beside.Forward.State != found || second.Forward.State != absent || f.TLD.State != failed {
			t.Errorf("%v, %v, %v", beside.Forward, second.Forward, f.TLD)
		}
		synctest.Wait()
		idle(t, g)
	})
}

// Greetings that wait for the same answer share one question. A caller that gives
// up takes nothing from the others, and the last one ends the question.
func TestSharedQuestions(t *testing.T) {
	g, s := scripted(t, testZone)
	s.delay = time.Second
	synctest.Test(t, func(t *testing.T) {
		hasty, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		facts := make([]checkhelo.Facts, 50)
		var wg sync.WaitGroup
		for i := range facts {
			facts[i] = factsOf("mail.example.org", goodClient)
			ctx := hasty
			if i > 0 {
				ctx = t.Context()
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				g.Fill(ctx, &facts[i], checkhelo.NeedTLD)
			}()
		}
		wg.Wait()
		for i := range facts {
			if want := found; facts[i].TLD.State != want && (i > 0 || facts[i].TLD.State != failed) {
				t.Errorf("%d: %v", i, facts[i].TLD)
			}
		}
		if asked := s.questions(); !slices.Equal(asked, []string{"org NS"}) {
			t.Errorf("asked %v", asked)
		}
		synctest.Wait()
		idle(t, g)

		f := factsOf("mail.example.net", goodClient)
		hasty, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		g.Fill(hasty, &f, checkhelo.NeedTLD)
		synctest.Wait()
		if now := s.underWay(); now != 0 || f.TLD.State != failed {
			t.Errorf("nobody waits, but %d questions go on", now)
		}
		f = factsOf("mail.example.net", goodClient)
		if g.Fill(t.Context(), &f, checkhelo.NeedTLD); f.TLD.State != found {
			t.Errorf("what was cancelled is kept as a failure: %v", f.TLD)
		}
	})
}

func TestHostAddrs(t *testing.T) {
	g, s := scripted(t, testZone+"half.example.org MX 10 x.broken.example.com\n"+
		"half.example.org MX 20 mx1.example.org\nbad.example.org MX 10 x.broken.example.com\nbroken.example.com SERVFAIL\n")
	s.delay = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			helo string
			want []string
			mx   checkhelo.State
		}{
			{"mail.example.org", []string{"192.0.2.26"}, found},
			{"half.example.org", []string{"192.0.2.26"}, found},
			{"nullmx.example.net", nil, found},
			{"gone.example.org", nil, absent},
			{"bad.example.org", nil, found},
			{"broken.example.com", nil, failed},
			{"[192.0.2.1]", nil, asked0},
		} {
			f := factsOf(tt.helo, goodClient)
			p := g.Start(&f, checkhelo.NeedPTR, netip.AddrPort{})
			var got []string
			for _, a := range g.HostAddrs(t.Context(), p, &f) {
				got = append(got, a.String())
			}
			if !slices.Equal(got, tt.want) || f.MX.State != tt.mx {
				t.Errorf("%s: %v, MX %v", tt.helo, got, f.MX)
			}
		}
		synctest.Wait()
		idle(t, g)
	})
}

// Run tests the lists at once, again soon while one does not answer, and then daily.
func TestRun(t *testing.T) {
	g, s := scripted(t, "invalid.all.example A 127.0.0.2\n")
	g.Blocklists = []Blocklist{{Zone: "all.example"}}
	s.delay = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var down atomic.Bool
		down.Store(true)
		s.silent = func(dns.Question) bool { return down.Load() }
		begun := time.Now()
		reports := make(chan time.Duration, 10)
		go g.Run(ctx, func(_, _ string, _ bool) { reports <- time.Since(begun).Truncate(time.Minute) })
		time.Sleep(time.Minute)
		down.Store(false)
		time.Sleep(2 * testEvery)
		cancel()
		synctest.Wait()
		close(reports)
		var got []time.Duration
		for at := range reports {
			got = append(got, at)
		}
		if want := []time.Duration{0, testAgain, testAgain + testEvery}; !slices.Equal(got, want) {
			t.Errorf("tested after %v, want %v", got, want)
		}
	})
}

// floodZone has a good client and a bad one: no PTR, SPF fail by an include.
const floodZone = testZone + `
bad.example.net A 192.0.2.1
bad.example.net TXT v=spf1 include:spf.example.net -all
spf.example.net TXT v=spf1 ip4:192.0.2.1 -all
`

const judged = checkhelo.NeedForward | checkhelo.NeedPTR | checkhelo.NeedSPF

// beside looks a good and a bad client up, 50 times each,
// and fails the test where one of them loses an answer or time.
func beside(t *testing.T, g *Gatherer, perLookup time.Duration) {
	t.Helper()
	for range 50 {
		good, bad := factsOf("mail.example.org", goodClient), factsOf("bad.example.net", "192.0.2.99")
		begun := time.Now()
		g.Start(&good, judged, netip.AddrPort{}).Wait(t.Context(), &good, judged)
		g.Fill(t.Context(), &bad, judged)
		if good.Confirmed.State != found || good.SPF.Value != "pass" {
			t.Fatalf("the good client: %v", stateList(&good))
		}
		if bad.PTR.State != absent || bad.SPF.Value != "fail" {
			t.Fatalf("the bad client: %v, SPF %v", stateList(&bad), bad.SPF)
		}
		if took := time.Since(begun); took > perLookup {
			t.Fatalf("took %v, want %v", took, perLookup)
		}
	}
}

func fromFlood(q dns.Question) bool { return strings.Contains(q.Name, "flood") }

// flooded has no cache, so that each of 50 clients is a new one.
func flooded(t *testing.T) (*Gatherer, *script) {
	t.Helper()
	g, s := scripted(t, floodZone)
	g.Cache = nil
	s.delay, s.silent = time.Millisecond, fromFlood
	return g, s
}

// A network that greets, or gets to RCPT TO, with ever new names in a dead zone has
// its share of jobs and questions and no more, and takes nothing from others.
func TestFloodOfOneNetwork(t *testing.T) {
	for name, client := range map[string]func(i int) string{
		"one IPv4 address": func(int) string { return "203.0.113.5" },
		"one IPv6 /64":     func(i int) string { return fmt.Sprintf("2001:db8:9::%x", i+1) },
		"NAT64":            func(int) string { return "64:ff9b::203.0.113.5" },
	} {
		t.Run(name, func(t *testing.T) {
			g, s := flooded(t)
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				for i := range 500 {
					f := factsOf(fmt.Sprintf("flood%d.example.net", i), client(i))
					remote := netip.AddrPortFrom(f.Client, uint16(i+1))
					p := g.Start(&f, judged, remote)
					if i%2 == 0 { // the others stop after EHLO
						wg.Add(1)
						go func() {
							defer wg.Done()
							p.Wait(ctx, &f, judged)
						}()
					}
				}
				synctest.Wait()
				questions, networks, jobs := g.UnderWay()
				if questions != DefaultShareQuestions || jobs != DefaultShareJobs || networks > 2 {
					t.Errorf("%d questions, %d jobs, %d networks", questions, jobs, networks)
				}
				beside(t, g, 10*time.Millisecond)
				if most := s.mostAtOnce(); most > DefaultShareQuestions+4 {
					t.Errorf("%d questions at a time", most)
				}
				cancel()
				wg.Wait()
				time.Sleep(g.Timeout)
				synctest.Wait()
				idle(t, g)
			})
		})
	}
}

// Many networks flood at the same time. The last places are kept for networks that
// have none, so a new one never waits.
func TestFloodOfManyNetworks(t *testing.T) {
	g, _ := flooded(t)
	g.MaxQuestions = 200
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 1000 {
			f := factsOf(fmt.Sprintf("flood%d.example.net", i), fmt.Sprintf("203.0.113.%d", i%50))
			wg.Add(1)
			go func() {
				defer wg.Done()
				g.Fill(ctx, &f, judged)
			}()
			synctest.Wait() // so that they take turns
		}
		if questions, _, _ := g.UnderWay(); questions < 100 || questions > 198 {
			t.Errorf("%d questions of 200", questions)
		}
		beside(t, g, 10*time.Millisecond)
		cancel()
		wg.Wait()
		synctest.Wait()
		idle(t, g)
	})
}

// Networks of one /48 have a wider share together.
func TestWideShare(t *testing.T) {
	g, _ := flooded(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 2000 {
			f := factsOf(fmt.Sprintf("flood%d.example.net", i), fmt.Sprintf("2001:db8:7:%x::1", i%40))
			if i < 100 {
				g.Start(&f, judged, netip.AddrPort{})
			}
			go g.Fill(ctx, &f, judged)
		}
		synctest.Wait()
		questions, _, jobs := g.UnderWay()
		if questions != wideShare*DefaultShareQuestions || jobs != wideShare*DefaultShareJobs {
			t.Errorf("%d questions, %d jobs", questions, jobs)
		}
		beside(t, g, 10*time.Millisecond)
		cancel()
		time.Sleep(g.Timeout)
		synctest.Wait()
		idle(t, g)
	})
}

// A client that takes the whole share of its own network waits for it and is judged
// all the same: flooding oneself does not hide what the DNS says.
func TestOwnShareIsWaitedFor(t *testing.T) {
	g, s := scripted(t, floodZone)
	s.delay, s.silent = time.Millisecond, fromFlood
	synctest.Test(t, func(t *testing.T) {
		const client = "192.0.2.99"
		for i := range 100 { // 300 questions of a client with room for 64
			f := factsOf(fmt.Sprintf("flood%d.example.net", i), client)
			go g.Fill(t.Context(), &f, checkhelo.NeedForward|checkhelo.NeedSPF|checkhelo.NeedTLD)
		}
		synctest.Wait()
		bad := factsOf("bad.example.net", client)
		begun := time.Now()
		if g.Fill(t.Context(), &bad, judged); bad.SPF.Value != "fail" || bad.PTR.State != absent {
			t.Errorf("%v, SPF %v", stateList(&bad), bad.SPF)
		}
		if took := time.Since(begun); took < g.Timeout || took > (shareWaits+1)*g.Timeout {
			t.Errorf("took %v", took)
		}
		time.Sleep((shareWaits + 2) * g.Timeout)
		synctest.Wait()
		idle(t, g)
	})
}

// A connection that greets again and again, each time with names that nobody has asked
// for, asks as many questions as its network may ask in that time, and no more. Others
// notice nothing, and the network itself is judged: it waits for its questions.
func TestQuestionsInTime(t *testing.T) {
	g, s := flooded(t)
	s.silent = nil
	synctest.Test(t, func(t *testing.T) {
		const early, end = 10, 60 // seconds of greetings without a pause
		asked := 0
		for i := range end * 100 {
			f := factsOf(fmt.Sprintf("flood%d.example.net", i), "203.0.113.5")
			g.Start(&f, judged, netip.AddrPortFrom(f.Client, 4000))
			time.Sleep(10 * time.Millisecond)
			switch i {
			case early*100 - 1:
				asked += len(s.questions())
				if most := (burst + early) * DefaultShareQuestions; asked > most || asked < most/2 {
					t.Errorf("%d questions in %d s, want at most %d", asked, early, most)
				}
			case end*100 - 1:
				asked += len(s.questions())
			}
		}
		if most := (burst + end) * DefaultShareQuestions; asked > most || asked < most/2 {
			t.Errorf("%d questions in %d s, want at most %d", asked, end, most)
		}
		beside(t, g, 10*time.Millisecond)
		f := factsOf("mail.example.org", "203.0.113.5")
		if g.Fill(t.Context(), &f, judged); f.Forward.State != found || f.SPF.Value != "fail" {
			t.Errorf("the network itself: %v, SPF %v", stateList(&f), f.SPF)
		}
		idle(t, g)
	})
}

// A question that never had its turn is no failure of the DNS: the next one asks.
func TestQuestionWithoutTurnIsNotKept(t *testing.T) {
	g, s := scripted(t, floodZone)
	g.ShareQuestions = 1
	s.delay, s.silent = time.Millisecond, fromFlood
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 2 * shareWaits {
			f := factsOf(fmt.Sprintf("flood%d.example.net", i), "192.0.2.99")
			go g.Fill(ctx, &f, checkhelo.NeedForward)
		}
		synctest.Wait()
		f := factsOf("mail.example.org", "192.0.2.99")
		if g.Fill(t.Context(), &f, checkhelo.NeedTLD); f.TLD.State != failed {
			t.Fatalf("without a turn: %v", f.TLD)
		}
		cancel()
		synctest.Wait()
		f = factsOf("mail.example.org", "192.0.2.99")
		if g.Fill(t.Context(), &f, checkhelo.NeedTLD); f.TLD.State != found {
			t.Errorf("the next one: %v", f.TLD)
		}
	})
}

// A question that waits for the share of one network does not make another network
// wait for it.
func TestQueuedQuestionIsNotShared(t *testing.T) {
	g, s := scripted(t, floodZone)
	g.ShareQuestions = 1
	s.delay, s.silent = time.Millisecond, fromFlood
	synctest.Test(t, func(t *testing.T) {
		f := factsOf("flood.example.net", "203.0.113.5")
		go g.Fill(t.Context(), &f, checkhelo.NeedForward)
		synctest.Wait()
		first, second := factsOf("mail.example.org", "203.0.113.5"), factsOf("mail.example.org", goodClient)
		var wg sync.WaitGroup
		wg.Add(1)
		go func() {
			defer wg.Done()
			g.Fill(t.Context(), &first, checkhelo.NeedTLD)
		}()
		synctest.Wait()
		begun := time.Now()
		if g.Fill(t.Context(), &second, checkhelo.NeedTLD); time.Since(begun) != s.delay {
			t.Errorf("another network waited %v", time.Since(begun))
		}
		if wg.Wait(); first.TLD.State != found || second.TLD.State != found {
			t.Errorf("%v, %v", first.TLD, second.TLD)
		}
		time.Sleep(g.Timeout)
		synctest.Wait()
		idle(t, g)
	})
}

// One greeting asks 60 questions at most, however far its SPF record leads, and what
// is beyond counts as failed.
func TestBudget(t *testing.T) {
	var zone strings.Builder
	zone.WriteString(testZone + "greedy.example.net TXT v=spf1")
	for i := range 10 {
		fmt.Fprintf(&zone, " mx:m%d-%%{d}", i)
	}
	zone.WriteString(" -all\n")
	for i := range 10 {
		for j := range 10 {
			fmt.Fprintf(&zone, "m%d-greedy.example.net MX 1 x%d.m%d.example.net\n", i, j, i)
		}
	}
	for i := range 20 {
		fmt.Fprintf(&zone, "ptr 192.0.2.66 p%d.example.net\n", i)
	}
	g, s := scripted(t, zone.String())
	s.delay = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		for _, client := range []string{"192.0.2.66", "2001:db8::66"} {
			g.Cache = NewCache(0)
			f := factsOf("greedy.example.net", client)
			p := g.Start(&f, all, netip.AddrPort{})
			p.Wait(t.Context(), &f, all)
			g.HostAddrs(t.Context(), p, &f)
			if n := len(s.questions()); n != GreetingQuestions {
				t.Errorf("%s: %d questions", client, n)
			}
			if f.SPF.State != failed || !strings.Contains(f.SPF.Err.Error(), KindBudget) {
				t.Errorf("%s: SPF %v", client, f.SPF)
			}
		}
	})
}

func TestNetworksOf(t *testing.T) {
	for client, want := range map[string]string{
		"192.0.2.1":              "192.0.2.1/32",
		"::ffff:192.0.2.1":       "192.0.2.1/32",
		"64:ff9b::192.0.2.1":     "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::/64 2001:db8:1::/48",
		"fe80::1%eth0":           "fe80::/64 fe80::/48",
		"64:ff9b:1::192.0.2.1":   "64:ff9b:1::/64 64:ff9b:1::/48",
		"2001:db8:1:2::ffff:0:0": "2001:db8:1:2::/64 2001:db8:1::/48",
	} {
		g := new(Gatherer)
		g.shares.mu.Lock()
		g.network(netip.MustParseAddr(client))
		for network := range g.shares.networks {
			if !slices.Contains(strings.Fields(want), network.String()) {
				t.Errorf("%s: %s, want %s", client, network, want)
			}
		}
		if n := len(strings.Fields(want)); len(g.shares.networks) != n {
			t.Errorf("%s: %v, want %s", client, g.shares.networks, want)
		}
		g.shares.mu.Unlock()
	}
}

// The bound of all questions leaves most descriptors to connections.
func TestMaxQuestions(t *testing.T) {
	files := descriptors()
	g := &Gatherer{}
	if n := g.maxQuestions(); n > 1024 || n > max(16, files/4) {
		t.Errorf("%d questions with %d descriptors", n, files)
	}
	if g.MaxQuestions = 5; g.maxQuestions() != 5 {
		t.Error("MaxQuestions is not used")
	}
}

// A dead resolver is reported once a minute; a zone that is dead beside answers is not.
func TestOnDead(t *testing.T) {
	g, s := scripted(t, testZone)
	s.delay, g.Cache = time.Millisecond, nil
	var reports []int
	g.OnDead = func(failed int) { reports = append(reports, failed) }
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour) // the zero time is long ago
		s.silent = fromFlood
		for range 10 {
			f, good := factsOf("flood.example.net", "192.0.2.99"), factsOf("mail.example.org", goodClient)
			g.Fill(t.Context(), &f, checkhelo.NeedForward)
			g.Fill(t.Context(), &good, checkhelo.NeedTLD)
		}
		if len(reports) != 0 {
			t.Errorf("a dead zone is reported: %v", reports)
		}
		s.silent = func(dns.Question) bool { return true }
		for range 60 { // two minutes
			f := factsOf("mail.example.org", goodClient)
			g.Fill(t.Context(), &f, judged)
		}
		if len(reports) != 2 || reports[1] < 80 {
			t.Errorf("reports %v", reports)
		}
	})
}
