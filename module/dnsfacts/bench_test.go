package dnsfacts

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
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

// BenchmarkNewClient is a well-kept client that nobody has seen before, from EHLO to RCPT TO, with a
// server that does as little as one can, since its work counts as well.
func BenchmarkNewClient(b *testing.B) {
	g := &Gatherer{Exchange: NewClient([]string{terse(b)}).Exchange, ShareQuestions: unbounded}
	var asked atomic.Int64
	g.Observe = func(string, string, time.Duration) { asked.Add(1) }
	const need = checkhelo.NeedForward | checkhelo.NeedMX | checkhelo.NeedPTR | checkhelo.NeedSPF
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := goroutines()
	b.ReportAllocs()
	g.Cache = NewCache(0)
	for i := uint64(1); b.Loop(); i++ {
		binary.BigEndian.PutUint64(g.Cache.seed[:], i) // all names are new
		f := factsOf("mail.example.org", goodClient)
		g.Start(&f, need, netip.AddrPort{}).Wait(b.Context(), &f, need)
		if f.Confirmed.State != found || f.SPF.Value != "pass" {
			b.Fatal(stateList(&f))
		}
	}
	runtime.ReadMemStats(&after)
	n, questions := float64(b.N), float64(asked.Load())
	b.ReportMetric(questions/n, "questions/op")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/questions, "allocs/question")
	b.ReportMetric(float64(goroutines()-begun)/questions, "goroutines/question")
}

// goroutines returns how many were ever started, 0 before Go 1.26.
func goroutines() uint64 {
	sample := []metrics.Sample{{Name: "/sched/goroutines-created:goroutines"}}
	if metrics.Read(sample); sample[0].Value.Kind() == metrics.KindUint64 {
		return sample[0].Value.Uint64()
	}
	return 0
}

// terse is a DNS server without allocations and goroutines of its own. Its PTR names are
// mail.example.org, its addresses 192.0.2.25.
func terse(b *testing.B) string {
	b.Helper()
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = conn.Close() })
	data := map[uint16]string{
		dns.TypeA:   "\xc0\x00\x02\x19",
		dns.TypePTR: "\x04mail\x07example\x03org\x00",
		dns.TypeTXT: "\x0dv=spf1 a ?all",
		dns.TypeMX:  "\x00\x0a\x04mail\x07example\x03org\x00",
	}
	go func() {
		packet := make([]byte, udpSize)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(packet)
			if err != nil || n < headerOctets {
				return
			}
			end := headerOctets
			for packet[end] != 0 {
				end += int(packet[end]) + 1
			}
			qtype := binary.BigEndian.Uint16(packet[end+1:])
			out := packet[:end+5]
			copy(out[2:], "\x81\x80\x00\x01\x00\x00\x00\x00\x00\x00")
			if rdata, ok := data[qtype]; ok {
				out[7] = 1
				out = append(out, "\xc0\x0c"...)
				out = binary.BigEndian.AppendUint16(out, qtype)
				out = append(out, "\x00\x01\x00\x00\x00\x3c"...)
				out = binary.BigEndian.AppendUint16(out, uint16(len(rdata)))
				out = append(out, rdata...)
			}
			if _, err = conn.WriteToUDPAddrPort(out, from); err != nil {
				return
			}
		}
	}()
	return conn.LocalAddr().String()
}

const headerOctets = 12

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
		grown, ratio := manyNames(b, 1_000_000, resident)
		b.ReportMetric(grown, "MiB-grown")
		b.ReportMetric(ratio, "end/begin")
	}
}

// TestManyNames is BenchmarkMillionNames in small, for what stays in use.
func TestManyNames(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes seconds, and the race detector has its own memory")
	}
	if grown, _ := manyNames(t, 20_000, live); grown > 32 {
		t.Errorf("%.1f MiB for 20,000 names", grown)
	}
}

func manyNames(
	tb testing.TB, n int, memory func(testing.TB) float64,
) (grown, ratio float64) {
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
	before := memory(tb)
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
	return (memory(tb) - before) / (1 << 20), float64(times[9]) / float64(times[0])
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

// live returns the octets of the heap that are in use, without garbage.
func live(testing.TB) float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
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
