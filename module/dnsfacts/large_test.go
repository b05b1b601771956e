package dnsfacts

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// peakLive calls f and returns by how much the live part of the heap has grown at most, in MiB.
// Garbage does not count, however late a loaded machine collects it.
func peakLive(f func()) int {
	live := func() uint64 {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // as the last collection has found
		metrics.Read(sample)
		return sample[0].Value.Uint64()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC() // of what other tests have left
	before := live()
	peak := before
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			peak = max(peak, live())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	f()
	close(done)
	<-ended
	return int((peak - before) >> 20)
}

// Hundreds of clients at a time whose every answer has the 64 KiB that TCP
// allows: the packets take memory for a moment, their 4,000 records each,
// which are ten times that, do not pile up.
func TestMemoryOfLargeAnswers(t *testing.T) {
	if raced {
		t.Skip("SKIPPED under -race, which takes memory of its own")
	}
	const (
		clients = 250
		limit   = 256 // MiB, with what the server of this test takes
	)
	// The server packs its records once, with names that point at the question: it takes no
	// memory of its own for them.
	const question = "a.example.org."
	template := new(dns.Msg)
	template.SetQuestion(question, dns.TypeA)
	template.Compress = true
	empty, err := template.Pack()
	if err != nil {
		t.Fatal(err)
	}
	template.Answer = manyA(question, 4000)
	packed, err := template.Pack()
	if err != nil {
		t.Fatal(err)
	}
	packed = packed[len(empty):]
	g, s := newGatherer(t, testZone)
	g.Timeout = 3 * time.Second
	var whole atomic.Int64
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := new(dns.Msg)
		m.SetReply(q)
		if w.RemoteAddr().Network() == "udp" {
			m.Truncated = true
			return w.WriteMsg(m) == nil
		}
		whole.Add(1)
		b, err := m.Pack()
		if err == nil {
			b = append(b, packed...)
			binary.BigEndian.PutUint16(b[6:], 4000) // ANCOUNT
			_, err = w.Write(b)
		}
		return err == nil
	})
	peak := peakLive(func() {
		var wg sync.WaitGroup
		for i := range clients {
			wg.Add(1)
			go func() {
				defer wg.Done()
				f := factsOf(fmt.Sprintf("mail%d.example.org", i), goodClient)
				fillAll(g, &f)
			}()
		}
		wg.Wait()
	})
	t.Logf("%d answers of 64 KiB, %d MiB", whole.Load(), peak)
	if peak > limit || whole.Load() < clients {
		t.Errorf("%d MiB for %d answers, want at most %d for at least %d", peak, whole.Load(), limit,
			clients)
	}
}
