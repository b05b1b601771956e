package dnsfacts

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

// unbounded is a share for tests with one client only.
const unbounded = 1 << 30

// BenchmarkFillCold asks a server on loopback for everything, every time.
func BenchmarkFillCold(b *testing.B) {
	g, _ := newGatherer(b, testZone)
	g.Cache, g.ShareQuestions = nil, unbounded
	b.ReportAllocs()
	for b.Loop() {
		fill(b, g, "mail.example.org", goodClient)
	}
}

// BenchmarkFillWarm finds everything in the cache.
func BenchmarkFillWarm(b *testing.B) {
	g, _ := newGatherer(b, testZone)
	fill(b, g, "mail.example.org", goodClient)
	b.ReportAllocs()
	for b.Loop() {
		f := factsOf("mail.example.org", goodClient)
		fillAll(g, &f)
	}
}

// BenchmarkMillionNames sends 1,000,000 different names through one
// gatherer. It reports by how much the resident memory has grown and how the
// time per name at the end relates to that at the beginning.
func BenchmarkMillionNames(b *testing.B) {
	for b.Loop() {
		grown, ratio := manyNames(b, 1_000_000)
		b.ReportMetric(grown, "MiB-grown")
		b.ReportMetric(ratio, "end/begin")
	}
}

// TestManyNames is BenchmarkMillionNames in small.
func TestManyNames(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes seconds, and the race detector has its own memory")
	}
	if grown, _ := manyNames(t, 20_000); grown > 64 {
		t.Errorf("%.1f MiB for 20,000 names", grown)
	}
}

func manyNames(tb testing.TB, n int) (grown, ratio float64) {
	tb.Helper()
	g := &Gatherer{
		Cache: NewCache(DefaultCacheEntries), Blocklists: []Blocklist{{Zone: "dbl.example"}},
		Exchange: exchangeOf(ordinary), ShareQuestions: unbounded,
	}
	const need = checkhelo.NeedForward | checkhelo.NeedMX | checkhelo.NeedSPF | checkhelo.NeedLists
	ask := func(i int) {
		f := factsOf(fmt.Sprintf("host%d.example%d.org", i, i%1000), goodClient)
		g.Fill(context.Background(), &f, need)
		if f.Forward.State != found || f.SPF.Value != "pass" {
			tb.Fatalf("name %d: %v", i, stateList(&f))
		}
	}
	// The cache is full before the first tenth is timed: a growing one is faster.
	fillUp := min(n/10, DefaultCacheEntries/4)
	debug.FreeOSMemory()
	before := resident(tb)
	for i := range fillUp {
		ask(-i)
	}
	tenth := n / 10
	times := make([]time.Duration, 0, 10)
	for part := range 10 {
		begun := time.Now()
		for i := range tenth {
			ask(part*tenth + i)
		}
		times = append(times, time.Since(begun))
	}
	runtime.GC()
	return (resident(tb) - before) / (1 << 20), float64(times[9]) / float64(times[0])
}

// ordinary answers as most names do: one address, one MX host, an SPF record.
func ordinary(q dns.Question) []dns.RR {
	h := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: 3600}
	switch {
	case strings.HasSuffix(q.Name, ".dbl.example."):
		return nil
	case q.Qtype == dns.TypeA:
		return []dns.RR{&dns.A{Hdr: h, A: net.IPv4(192, 0, 2, 25)}}
	case q.Qtype == dns.TypeMX:
		return []dns.RR{&dns.MX{Hdr: h, Preference: 10, Mx: "mx." + q.Name}}
	case q.Qtype == dns.TypeTXT:
		return []dns.RR{&dns.TXT{Hdr: h, Txt: []string{"v=spf1 a mx -all"}}}
	}
	return nil
}

// resident returns the process's resident memory in octets.
func resident(tb testing.TB) float64 {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		tb.Skip("no /proc here: ", err)
	}
	pages, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
	if err != nil {
		tb.Fatal(err)
	}
	return pages * float64(os.Getpagesize())
}
