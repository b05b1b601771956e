package dnsfacts

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"maddy.example/checkhelo"
)

// BenchmarkCollectorWithFullCache is one run of the garbage collector over a cache full of ordinary
// answers: its cost for the whole server, which collects as often as Maddy's buffers demand.
func BenchmarkCollectorWithFullCache(b *testing.B) {
	g := &Gatherer{Cache: NewCache(DefaultCacheEntries), Exchange: exchangeOf(ordinary), ShareQuestions: unbounded}
	const need = checkhelo.NeedForward | checkhelo.NeedMX | checkhelo.NeedPTR | checkhelo.NeedSPF
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i, full := 0, false; !full; i++ {
		f := factsOf(fmt.Sprintf("host%d.example%d.org", i, i%1000), goodClient)
		g.Fill(context.Background(), &f, need)
		_, _, used, size := g.Cache.Stats()
		full = used > size*9/10
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	entries := float64(len(g.Cache.entries))
	for b.Loop() {
		runtime.GC()
	}
	b.ReportMetric(entries, "entries")
	b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/entries, "objects/entry")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
	runtime.KeepAlive(g)
}

// BenchmarkCollectorWithoutCache is the same without anything to walk through.
func BenchmarkCollectorWithoutCache(b *testing.B) {
	for b.Loop() {
		runtime.GC()
	}
}
