package dnsfacts

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// peakHeap calls f and returns the most memory that the heap had meanwhile, in MiB.
func peakHeap(f func()) int {
	var peak atomic.Uint64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	// Garbage does not count, however late a loaded machine collects it.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	runtime.GC() // of what other tests have left
	f()
	close(done)
	<-ended
	return int(peak.Load() >> 20)
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
		limit   = 384 // MiB, with what the server of this test takes
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
	for try := range 3 { // a loaded machine stops many a goroutine in the middle of its records
		whole.Store(0)
		peak := peakHeap(func() {
			var wg sync.WaitGroup
			for i := range clients {
				wg.Add(1)
				go func() {
					defer wg.Done()
					f := factsOf(fmt.Sprintf("mail%d-%d.example.org", try, i), goodClient)
					fillAll(g, &f)
				}()
			}
			wg.Wait()
		})
		t.Logf("%d answers of 64 KiB, %d MiB", whole.Load(), peak)
		if peak <= limit && whole.Load() >= clients {
			return
		}
	}
	t.Errorf("want at most %d MiB for at least %d answers", limit, clients)
}
