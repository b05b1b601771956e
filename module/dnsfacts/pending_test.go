package dnsfacts

import (
	"context"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"maddy.example/checkhelo"
)

func TestPending(t *testing.T) {
	noLeak(t)
	const d = 100 * time.Millisecond
	g, s := newGatherer(t, testZone)
	s.SetDelay(d)
	f := factsOf("mail.example.org", goodClient)
	p := g.Start(&f, all&^checkhelo.NeedMX, netip.AddrPort{})
	time.Sleep(3 * d)
	begun := time.Now()
	p.Wait(t.Context(), &f, all&^checkhelo.NeedMX)
	if took := time.Since(begun); took > d/10+slack {
		t.Errorf("what is there has to be waited for: %v", took)
	}
	if f.Forward.State != found || f.MX.State != asked0 {
		t.Errorf("facts %v", stateList(&f))
	}
	begun = time.Now()
	p.Wait(t.Context(), &f, all)
	if took := time.Since(begun); took < d || took > 2*d || f.MX.State != found {
		t.Errorf("a later need: %v after %v", f.MX, took)
	}
	s.Reset()
	again := factsOf("mail.example.org", goodClient)
	p.Wait(t.Context(), &again, all)
	if !reflect.DeepEqual(again, f) || s.Count() != 0 {
		t.Errorf("second message: %v, want %v, after %d questions", again, f, s.Count())
	}
	other := factsOf("listed.example.net", goodClient)
	p.Wait(t.Context(), &other, checkhelo.NeedLists)
	if other.Listed.State != found {
		t.Errorf("another greeting got the answers of the first: %v", other.Listed)
	}
}

func TestPendingWaitCancelled(t *testing.T) {
	noLeak(t)
	g, s := newGatherer(t, testZone)
	s.SetDelay(300 * time.Millisecond)
	f := factsOf("mail.example.org", goodClient)
	p := g.Start(&f, all, netip.AddrPort{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	early := f
	p.Wait(ctx, &early, all)
	for name, state := range stateList(&early) {
		if state != failed {
			t.Errorf("%s is %v, want Failed", name, state)
		}
	}
	p.Wait(t.Context(), &f, all)
	if f.Forward.State != found || f.Confirmed.State != found {
		t.Errorf("one who gave up has spoilt it for the next: %v", stateList(&f))
	}
}

func TestPendingCancel(t *testing.T) {
	noLeak(t)
	g, s := newGatherer(t, testZone)
	g.Timeout = time.Minute
	s.SetFail("DROP")
	f := factsOf("mail.example.org", goodClient)
	p := g.Start(&f, all, netip.AddrPort{})
	waitFor(t, func() bool { return s.Count() > 0 })
	p.Cancel()
	p.Cancel()
	begun := time.Now()
	p.Wait(t.Context(), &f, all)
	if took := time.Since(begun); took > time.Second || f.Forward.State != failed {
		t.Errorf("%v after %v", f.Forward, took)
	}
	waitFor(t, func() bool { return g.jobs.Load() == 0 })
}

// A pause of the client must not use up the time that look-ups have.
func TestPendingPause(t *testing.T) {
	g, s := newGatherer(t, testZone)
	g.Timeout = 200 * time.Millisecond
	f := factsOf("mail.example.org", goodClient)
	p := g.Start(&f, checkhelo.NeedForward, netip.AddrPort{})
	time.Sleep(2 * g.Timeout)
	if p.Wait(t.Context(), &f, all); f.MX.State != found {
		t.Errorf("after a pause: %v", f.MX)
	}

	f = factsOf("slow.example.org", "192.0.2.1")
	s.SetFail("DROP")
	p = g.Start(&f, checkhelo.NeedForward, netip.AddrPort{})
	begun := time.Now()
	p.Wait(t.Context(), &f, checkhelo.NeedForward)
	p.Wait(t.Context(), &f, all)
	if took := time.Since(begun); took > g.Timeout+150*time.Millisecond {
		t.Errorf("look-ups of one client took %v, want %v in all", took, g.Timeout)
	}
	if f.Forward.State != failed || f.MX.State != failed {
		t.Errorf("facts %v", stateList(&f))
	}
}

// A flood of greetings holds no more jobs than allowed; who comes meanwhile
// still gets his answers.
func TestPendingFlood(t *testing.T) {
	noLeak(t)
	g, s := newGatherer(t, testZone+"slow.example DROP\n")
	g.MaxInFlight = 5
	var flood []*Pending
	for range 50 {
		f := factsOf("host.slow.example", "192.0.2.200")
		flood = append(flood, g.Start(&f, checkhelo.NeedForward, netip.AddrPort{}))
	}
	if n := g.jobs.Load(); n != 5 {
		t.Errorf("%d jobs, want 5", n)
	}
	if n := s.Count(); n > 2 {
		t.Errorf("%d questions for one name", n)
	}
	f := factsOf("mail.example.org", goodClient)
	p := g.Start(&f, all, netip.AddrPort{})
	begun := time.Now()
	p.Wait(t.Context(), &f, all)
	if took := time.Since(begun); took > time.Second || f.Forward.State != found {
		t.Errorf("beside the flood: %v after %v", f.Forward, took)
	}
	for _, p := range flood {
		p.Cancel()
	}
	waitFor(t, func() bool { return g.jobs.Load() == 0 })
	if len(g.flights.m) != 0 {
		t.Errorf("%d look-ups left", len(g.flights.m))
	}
}

// A new greeting of a connection cancels the look-ups of the one before, and no others.
func TestStartReplaces(t *testing.T) {
	g, s := newGatherer(t, testZone)
	g.Timeout = time.Minute
	s.SetFail("DROP")
	remote := netip.MustParseAddrPort(goodClient + ":4000")
	other := netip.MustParseAddrPort(goodClient + ":4001")
	f := factsOf("mail.example.org", goodClient)
	first := g.Start(&f, checkhelo.NeedMX, remote)
	beside := g.Start(&f, checkhelo.NeedForward, other)
	second := g.Start(&f, checkhelo.NeedTLD, remote)
	<-first.done
	select {
	case <-beside.done:
		t.Error("another connection lost its look-ups")
	case <-second.done:
		t.Error("the new greeting lost its look-ups")
	default:
	}
	beside.Cancel()
	second.Cancel()
	<-beside.done
	<-second.done
	if len(g.greetings) != 0 {
		t.Errorf("%d greetings left", len(g.greetings))
	}
}
