package dnsfacts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"

	"maddy.example/checkhelo"
)

// TestCacheTTL lets the clock run: an answer is asked for again when its TTL is over.
func TestCacheTTL(t *testing.T) {
	soa := func(ttl, minimum int) string {
		return fmt.Sprintf("org. %d IN SOA a. b. 1 2 3 4 %d", ttl, minimum)
	}
	tests := map[string]struct {
		answer, ns string
		rcode      int
		err        error
		keeps      time.Duration
	}{
		"ttl":              {answer: "mail.example.org. 300 IN MX 1 a.example.", keeps: 300 * time.Second},
		"ttl 0":            {answer: "mail.example.org. 0 IN MX 1 a.example.", keeps: minTTL},
		"ttl 2^31":         {answer: "mail.example.org. 2147483648 IN MX 1 a.example.", keeps: minTTL},
		"a day":            {answer: "mail.example.org. 86400 IN MX 1 a.example.", keeps: maxTTL},
		"nxdomain":         {rcode: dns.RcodeNameError, ns: soa(900, 60), keeps: time.Minute},
		"nxdomain soa ttl": {rcode: dns.RcodeNameError, ns: soa(60, 900), keeps: time.Minute},
		"nodata":           {ns: soa(900, 7200), keeps: 900 * time.Second},
		"no soa":           {rcode: dns.RcodeNameError, keeps: failTTL},
		"failure":          {err: errors.New("network down"), keeps: failTTL},
		"servfail":         {rcode: dns.RcodeServerFailure, keeps: failTTL},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			now, asked := time.Hour, 0
			g := &Gatherer{Cache: NewCache(10)}
			g.Cache.clock = func() time.Duration { return now }
			g.Exchange = func(_ context.Context, m *dns.Msg) (*dns.Msg, error) {
				asked++
				resp := new(dns.Msg)
				resp.SetRcode(m, tt.rcode)
				if tt.answer != "" {
					resp.Answer = []dns.RR{rr(t, tt.answer)}
				}
				if tt.ns != "" {
					resp.Ns = []dns.RR{rr(t, tt.ns)}
				}
				return resp, tt.err
			}
			ask := func() {
				f := factsOf("mail.example.org", goodClient)
				g.Fill(t.Context(), &f, checkhelo.NeedMX)
			}
			ask()
			now += tt.keeps - time.Millisecond
			if ask(); asked != 1 {
				t.Errorf("asked %d times before the end of %v", asked, tt.keeps)
			}
			now += time.Millisecond
			if ask(); asked != 2 {
				t.Errorf("asked %d times after the end of %v", asked, tt.keeps)
			}
			if hits, misses, _, _ := g.Cache.Stats(); hits != 1 || misses == 0 {
				t.Errorf("%d hits, %d misses", hits, misses)
			}
		})
	}
}

func hostKey(i int) key { return key{name: fmt.Sprintf("host%d.example.org", i), qtype: dns.TypeA} }

func TestCacheBounds(t *testing.T) {
	const size = 100
	c := NewCache(size)
	for i := range 20 * size {
		c.put(hostKey(i), new(record), time.Hour)
		if len(c.entries) > size {
			t.Fatalf("%d entries of %d", len(c.entries), size)
		}
	}
	if _, _, used, all := c.Stats(); used != size || all != size || len(c.entries) != size {
		t.Errorf("%d of %d places in use by %d entries", used, all, len(c.entries))
	}
	long := strings.Repeat("x", 20*placeOctets)
	for i := range 40 {
		c.put(hostKey(-i), &record{texts: []string{long}}, time.Hour)
		if _, _, used, _ := c.Stats(); used > size {
			t.Fatalf("%d places of %d", used, size)
		}
	}
	if n := len(c.entries); n > size/20+20 {
		t.Errorf("%d entries after long ones", n)
	}
	huge := &record{texts: []string{strings.Repeat("x", size*placeOctets)}}
	if c.put(key{name: "huge"}, huge, time.Hour); c.get(key{name: "huge"}) != nil {
		t.Error("an answer longer than the cache is in the cache")
	}
	c.put(hostKey(0), new(record), time.Hour)
	before := c.used
	c.put(hostKey(0), new(record), time.Hour)
	if after := c.used; after != before {
		t.Errorf("the same answer again: %d places, before %d", after, before)
	}
}

// Entries that have expired make room before others, and leave a cache that is not full.
func TestCacheDropsExpired(t *testing.T) {
	const size = 1000
	now := time.Hour
	c := NewCache(size)
	c.clock = func() time.Duration { return now }
	for i := range size / 2 {
		c.put(hostKey(i), new(record), time.Minute)
	}
	now += time.Hour
	for i := range size / 2 {
		c.put(hostKey(size+i), new(record), time.Hour)
	}
	for i := range size / 2 {
		if c.get(hostKey(size+i)) == nil {
			t.Fatal("an answer is gone, though the cache had room")
		}
	}
	if n := len(c.entries); n > size/2+size/20 {
		t.Errorf("%d entries, %d of them expired", n, n-size/2)
	}
}

// Most of the names seen daily stay while a flood of names seen once goes by;
// with a least-recently-used list none would.
func TestCacheFlood(t *testing.T) {
	const daily, flood, each = 50, 20_000, 2_000
	c := NewCache(1000)
	hits := 0
	for i := range flood {
		c.put(key{name: fmt.Sprintf("flood%d.example.net", i), qtype: dns.TypeA}, new(record), time.Hour)
		if i%each != 0 { // twice the cache's size goes by between two rounds
			continue
		}
		for j := range daily {
			k := key{name: fmt.Sprintf("daily%d.example.org", j), qtype: dns.TypeA}
			if c.get(k) != nil {
				hits++
			} else {
				c.put(k, new(record), time.Hour)
			}
		}
	}
	if rounds := flood/each - 1; hits < rounds*daily/3 {
		t.Errorf("%d hits in %d rounds of %d names", hits, rounds, daily)
	}
}

func TestCacheNil(t *testing.T) {
	g, s := newGatherer(t, testZone)
	g.Cache = nil
	for range 2 {
		s.Reset()
		f := fill(t, g, "mail.example.org", goodClient)
		if f.Forward.State != found || f.SPF.Value != "pass" || s.Count() == 0 {
			t.Errorf("without a cache: %+v after %d questions", f, s.Count())
		}
	}
	hits, misses, entries, _ := g.Cache.Stats()
	if hits+misses != 0 || entries != 0 {
		t.Error("no cache, but it has figures")
	}
	if _, _, _, size := NewCache(-1).Stats(); size != DefaultCacheEntries {
		t.Error("a cache of -1 entries has not the default size")
	}
}

// The warm path is walked in every session.
func TestWarmAllocations(t *testing.T) {
	g, _ := newGatherer(t, testZone)
	fill(t, g, "mail.example.org", goodClient)
	ctx := t.Context()
	// A lookup of a public suffix allocates from x/net 0.55 on, which custom builds have.
	perFact := 3 + testing.AllocsPerRun(100, func() { publicsuffix.PublicSuffix("mail.example.org") })
	tests := map[string]checkhelo.Need{
		"forward": checkhelo.NeedForward, "mx": checkhelo.NeedMX, "ptr": checkhelo.NeedPTR,
		"tld": checkhelo.NeedTLD, "spf": checkhelo.NeedSPF, "lists": checkhelo.NeedLists,
	}
	f := factsOf("mail.example.org", goodClient)
	for name, need := range tests {
		empty := f
		if n := testing.AllocsPerRun(100, func() {
			facts := empty
			g.Fill(ctx, &facts, need)
		}); n > perFact+1 { // the facts themselves are one
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		facts := f
		if g.Start(&facts, all, netip.AddrPort{}) != nil {
			t.Error("asks for what the cache has")
		}
	}); n > 9 {
		t.Errorf("a warm session has %v allocations", n)
	}
}
