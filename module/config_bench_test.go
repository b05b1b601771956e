package module

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

const manyNetworks = 1_000_000

// networksFile writes n random networks of /16 to /32, one a line.
func networksFile(tb testing.TB, n int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "networks")
	file, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	w := bufio.NewWriter(file)
	random := rand.New(rand.NewPCG(1, 2))
	for range n {
		v := random.Uint32()
		addr := netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
		fmt.Fprintln(w, netip.PrefixFrom(addr, 16+random.IntN(17)).Masked())
	}
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	if err := file.Close(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// heap is what lives, in octets.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what the first left to finalizers
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// heapOf returns by how much the heap has grown for what load made.
func heapOf[T any](load func() T) (made T, octets int64) {
	before := heap()
	made = load()
	octets = heap() - before
	runtime.KeepAlive(made)
	return made, octets
}

// An instance without directives keeps less than 2 MiB.
func TestMemoryOfAnEmptyConfiguration(t *testing.T) {
	for _, conf := range []string{"helo_fqdn", "helo_fqdn strict"} {
		mustConfigure(t, conf) // what all instances share is loaded once
		c, octets := heapOf(func() *Check { c, _ := mustConfigure(t, conf); return c })
		if octets > 2<<20 {
			t.Errorf("%s keeps %d octets", conf, octets)
		}
		t.Logf("%s keeps %d octets", c.metrics.Label, octets)
	}
}

// BenchmarkConfigure is the start of an instance: with nothing set, and with 10^6 networks in a
// file.
func BenchmarkConfigure(b *testing.B) {
	many := "helo_fqdn {\nexempt_networks file " + networksFile(b, manyNetworks) + "\n}"
	for _, tc := range []struct{ name, conf string }{
		{"empty", "helo_fqdn"},
		{"strict", "helo_fqdn strict"},
		{"networks=1000000", many},
	} {
		b.Run(tc.name, func(b *testing.B) {
			_, octets := heapOf(func() *Check { return benchLoad(b, tc.conf) })
			b.ReportAllocs()
			for b.Loop() {
				benchLoad(b, tc.conf)
			}
			b.ReportMetric(float64(octets)/(1<<20), "MiB-kept")
		})
	}
}

func benchLoad(tb testing.TB, conf string) *Check {
	tb.Helper()
	c, _, err := configured(tb, conf)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// BenchmarkReload loads 10^6 networks while another instance judges sessions, and reports how long
// the slowest of these took.
func BenchmarkReload(b *testing.B) {
	conf := "helo_fqdn strict {\nexempt_networks file " + networksFile(b, manyNetworks) + "\n}"
	c, conn := warm(b, "strict")
	done := make(chan struct{})
	var slowest time.Duration
	sessions := 0
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			select {
			case <-done:
				return
			case <-time.After(100 * time.Microsecond):
				begun := time.Now()
				judged(b, c, conn())
				slowest = max(slowest, time.Since(begun))
				sessions++
			}
		}
	}()
	for b.Loop() {
		benchLoad(b, conf)
	}
	close(done)
	wg.Wait()
	b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-session-ms")
	b.ReportMetric(float64(sessions)/float64(b.N), "sessions/op")
}
