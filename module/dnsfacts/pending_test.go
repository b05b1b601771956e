//go:build go1.25

package dnsfacts

import (
	"context"
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
