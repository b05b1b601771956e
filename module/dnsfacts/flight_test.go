package dnsfacts

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

func TestFlightsShared(t *testing.T) {
	noLeak(t)
	g, s := newGatherer(t, testZone)
	s.SetDelay(100 * time.Millisecond)
	var wg sync.WaitGroup
	for range 50 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f := factsOf("mail.example.org", goodClient)
			g.Fill(t.Context(), &f, checkhelo.NeedMX)
			if f.MX.State != found {
				t.Errorf("MX %v", f.MX)
			}
		}()
	}
	wg.Wait()
	if n := s.Count(); n != 1 {
		t.Errorf("%d questions for 50 who ask at once", n)
	}
}

// One who gives up does not take the answer away from the others, and the
// last one to give up ends the look-up.
func TestFlightsCancel(t *testing.T) {
	noLeak(t)
	var fl flights
	var asked atomic.Int32
	k := key{name: "mail.example.org", qtype: dns.TypeA}
	answer := record{texts: []string{"x"}}
	release := make(chan struct{})
	ended := make(chan error, 2)
	ask := func(ctx context.Context, _ key) record {
		asked.Add(1)
		select {
		case <-release:
		case <-ctx.Done():
		}
		ended <- ctx.Err()
		return answer
	}
	impatient, cancel := context.WithCancel(t.Context())
	results := make(chan record, 2)
	go func() { results <- fl.share(impatient, k, time.Minute, ask) }()
	go func() { results <- fl.share(t.Context(), k, time.Minute, ask) }()
	waitFor(t, func() bool {
		fl.mu.Lock()
		defer fl.mu.Unlock()
		return fl.m[k] != nil && fl.m[k].waiting == 2
	})
	cancel()
	if r := <-results; !r.failed() || r.err.Kind != KindCanceled {
		t.Errorf("the impatient one got %+v", r)
	}
	close(release)
	if r := <-results; r.failed() || r.texts[0] != "x" || <-ended != nil || asked.Load() != 1 {
		t.Errorf("the patient one got %+v", r)
	}

	alone, cancel := context.WithCancel(t.Context())
	release = make(chan struct{})
	go func() { results <- fl.share(alone, k, time.Minute, ask) }()
	waitFor(t, func() bool { return asked.Load() == 2 })
	cancel()
	if r := <-results; !r.failed() {
		t.Errorf("%+v, want a failure", r)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the look-up ended by itself")
		}
	case <-time.After(2 * time.Second):
		t.Error("nobody waits, but the look-up goes on")
	}
	if r := fl.share(alone, k, time.Minute, ask); !r.failed() || asked.Load() != 2 {
		t.Errorf("a cancelled context asks: %+v", r)
	}
	if len(fl.m) != 0 {
		t.Errorf("%d flights left", len(fl.m))
	}
}

func waitFor(tb testing.TB, ok func() bool) {
	tb.Helper()
	for range 200 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	tb.Fatal("waited in vain")
}
