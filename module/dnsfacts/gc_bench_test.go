package dnsfacts

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"testing"

	"maddy.example/checkhelo"
)

// full returns a gatherer with a cache full of ordinary answers.
func full() *Gatherer {
	g := &Gatherer{Cache: NewCache(DefaultCacheEntries), Exchange: exchangeOf(ordinary), ShareQuestions: unbounded}
	const need = checkhelo.NeedForward | checkhelo.NeedMX | checkhelo.NeedPTR | checkhelo.NeedSPF
	for i := 0; ; i++ {
		f := factsOf(fmt.Sprintf("host%d.example%d.org", i, i%1000), goodClient)
		g.Fill(context.Background(), &f, need)
		if g.Cache.Dropped() > 20_000 { // each part of the cache is full
			return g
		}
	}
}

// BenchmarkCollector is one run of the garbage collector, in processor time of the whole process:
// without a cache, and over a full one.
func BenchmarkCollector(b *testing.B) {
	runtime.GC()
	b.Run("no cache", func(b *testing.B) { collect(b, runtime.GC) })
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	g := full()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.Run("full cache", func(b *testing.B) {
		collect(b, runtime.GC)
		entries := float64(g.Cache.entries().EntryCount())
		b.ReportMetric(float64(after.HeapObjects-before.HeapObjects)/entries, "objects/entry")
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entries, "B/entry")
	})
	runtime.KeepAlive(g)
}

// BenchmarkCollectorPerMessage is what the collector costs a message, for which Maddy takes a
// buffer of 1 MiB: a full cache makes each run dearer, and the runs fewer.
func BenchmarkCollectorPerMessage(b *testing.B) {
	message := func() { buffer = make([]byte, 1<<20) }
	b.Run("no cache", func(b *testing.B) { collect(b, message) })
	g := full()
	b.Run("full cache", func(b *testing.B) { collect(b, message) })
	runtime.KeepAlive(g)
}

var buffer []byte

// collect reports the processor time of the process, which other programs do not change, and the
// runs of the collector.
func collect(b *testing.B, do func()) {
	b.Helper()
	var before, after syscall.Rusage
	var runs, more runtime.MemStats
	runtime.ReadMemStats(&runs)
	fault := syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	for b.Loop() {
		do()
	}
	if err := errors.Join(fault, syscall.Getrusage(syscall.RUSAGE_SELF, &after)); err != nil {
		b.Fatal(err)
	}
	runtime.ReadMemStats(&more)
	n := float64(b.N)
	took := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(took)/1e6/n, "CPU-ms/op")
	b.ReportMetric(float64(more.NumGC-runs.NumGC)/n, "runs/op")
}
