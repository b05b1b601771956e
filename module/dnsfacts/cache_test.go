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
			if hits, misses := g.Cache.Stats(); hits != 1 || misses == 0 {
				t.Errorf("%d hits, %d misses", hits, misses)
			}
		})
	}
}

func TestCacheBounds(t *testing.T) {
	const entries = 100
	c := NewCache(entries)
	for i := range 20 * entries {
		c.put(key{name: fmt.Sprintf("host%d.example.org", i), qtype: dns.TypeA}, new(record), time.Hour)
	}
	if n := c.Len(); n > entries || n < entries/2 {
		t.Errorf("%d small entries, want %d", n, entries)
	}
	if used, size := c.Usage(); used != c.Len() || size != entries {
		t.Errorf("%d of %d entries in use, want %d of %d", used, size, c.Len(), entries)
	}
	big := &record{texts: []string{strings.Repeat("x", 20*slotOctets)}}
	for i := range 40 { // each twice, which gets it into the larger part too
		c.put(key{name: fmt.Sprintf("big%d.example.org", i/2), qtype: dns.TypeA}, big, time.Hour)
	}
	if used, size := c.Usage(); used > size || c.Len() > entries/20+2*20 {
		t.Errorf("%d entries in %d of %d places after long ones", c.Len(), used, size)
	}
	if n := len(c.fresh.block) + len(c.known.block); n > entries*slotOctets {
		t.Errorf("%d octets, want %d at most", n, entries*slotOctets)
	}
	huge := &record{texts: []string{strings.Repeat("x", 100*slotOctets)}}
	if c.put(key{name: "huge"}, huge, time.Hour); c.get(key{name: "huge"}, new(record)) {
		t.Error("an answer longer than the cache is in the cache")
	}
}

// A long answer takes the place of several; a cache that is not there has none.
func TestCacheUsage(t *testing.T) {
	c := NewCache(100)
	long := &record{texts: []string{strings.Repeat("x", 3*slotOctets)}}
	c.put(key{name: "a.example.org", qtype: dns.TypeA}, new(record), time.Hour)
	c.put(key{name: "b.example.org", qtype: dns.TypeTXT}, long, time.Hour)
	if used, size := c.Usage(); used != 1+4 || size != 100 {
		t.Errorf("%d of %d entries in use", used, size)
	}
	if used, size := (*Cache)(nil).Usage(); used != 0 || size != 0 {
		t.Errorf("no cache: %d of %d", used, size)
	}
}

// Most of the names seen daily stay while a flood of names seen once goes by;
// with a plain LRU none would.
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
			if c.get(k, new(record)) {
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
	hits, misses := g.Cache.Stats()
	if hits+misses != 0 || g.Cache.Len() != 0 {
		t.Error("no cache, but it has figures")
	}
	if _, size := NewCache(-1).Usage(); size != DefaultCacheEntries {
		t.Error("a cache of -1 entries has not the default size")
	}
}

// The warm path is walked in every session.
func TestWarmAllocations(t *testing.T) {
	g, _ := newGatherer(t, testZone)
	fill(t, g, "mail.example.org", goodClient)
	ctx := t.Context()
	const perFact = 3
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
