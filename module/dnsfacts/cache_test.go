package dnsfacts

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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

func hostKey(i int) key { return key{name: fmt.Sprintf("host%d.example.org", i), qtype: dns.TypeMX} }

// However many answers come, and however long they are, the cache keeps its size, and an answer
// longer than a 1024th of it is not kept.
func TestCacheBounds(t *testing.T) {
	const size = 4096
	c := NewCache(size)
	for i := range 10 * size {
		c.put(hostKey(i), new(record), time.Hour)
	}
	_, _, entries, all := c.Stats()
	if most := size * entryOctets / 40; entries < size || entries > most || all != size || c.Dropped() == 0 {
		t.Errorf("%d entries, want %d to %d; size %d; %d dropped", entries, size, most, all, c.Dropped())
	}
	long := strings.Repeat("x", 3*entryOctets)
	for i := range 4 * size {
		c.put(hostKey(-i), &record{texts: []string{long}}, time.Hour)
	}
	if _, _, entries, _ = c.Stats(); entries > size/3 {
		t.Errorf("%d entries of %d octets in %d octets", entries, len(long), size*entryOctets)
	}
	if r := c.get(hostKey(1 - 4*size)); r == nil || r.texts[0] != long {
		t.Errorf("the last answer is not there: %+v", r)
	}
	huge := &record{texts: []string{strings.Repeat("x", 4*entryOctets)}}
	if c.put(key{name: "huge"}, huge, time.Hour); c.get(key{name: "huge"}) != nil {
		t.Error("an answer longer than a 1024th of the cache is in the cache")
	}
}

// An answer comes back as it was put, of whatever kind it is.
func TestCachePacks(t *testing.T) {
	c := NewCache(0)
	addr, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	at := time.Now()
	mail := key{name: "mail.example.org", qtype: dns.TypeTXT}
	host := key{name: "mail.example.org", qtype: dns.TypeAAAA}
	failure := wrap(fault(KindServFail, "SERVFAIL"), mail)
	for name, r := range map[string]*record{
		"empty":     {},
		"address":   {addrs: []netip.Addr{addr}},
		"addresses": {addrs: []netip.Addr{addr, other, addr}},
		"text":      {texts: []string{"v=spf1 -all"}},
		"texts":     {texts: []string{"", "a\x00b", strings.Repeat("y", 3000)}},
		"denied":    {denied: KindNXDomain},
		"no data":   {denied: KindNoData},
		"failed":    {err: failure},
		"silent":    {err: &Error{Kind: KindTimeout, Name: mail.name, Type: dns.TypeTXT, at: at}},
	} {
		k := mail
		if r.addrs != nil {
			k = host
		}
		c.put(k, r, time.Minute)
		got := c.get(k)
		if got == nil {
			t.Fatalf("%s: not there", name)
		}
		if !slices.Equal(got.addrs, r.addrs) || !slices.Equal(got.texts, r.texts) ||
			got.denied != r.denied || got.expires != r.expires {
			t.Errorf("%s: %+v, want %+v", name, got, r)
		}
		if (got.err == nil) != (r.err == nil) || r.err != nil &&
			(got.err.Error() != r.err.Error() || got.kind() != r.kind() || !got.err.at.Equal(r.err.at)) {
			t.Errorf("%s: error %v, want %v", name, got.err, r.err)
		}
	}
	four, six := key{addr: addr, qtype: dns.TypePTR}, key{addr: other, qtype: dns.TypePTR}
	c.put(four, &record{texts: []string{"four"}}, time.Hour)
	c.put(six, &record{texts: []string{"six"}}, time.Hour)
	if a, b := c.get(four), c.get(six); a == nil || b == nil || a.texts[0] != "four" || b.texts[0] != "six" {
		t.Errorf("answers by address: %+v, %+v", a, b)
	}
}

// Answers that have expired make room before others.
func TestCacheDropsExpired(t *testing.T) {
	const size = 4096
	now := time.Hour
	c := NewCache(size)
	c.clock = func() time.Duration { return now }
	for i := range 4 * size {
		c.put(hostKey(i), new(record), time.Minute)
	}
	dropped := c.Dropped()
	now += time.Hour
	for i := range size / 2 {
		c.put(hostKey(-1-i), new(record), time.Hour)
	}
	if n := c.Dropped() - dropped; n > 0 {
		t.Errorf("%d answers dropped, though others had expired", n)
	}
	for i := range size / 2 {
		if c.get(hostKey(-1-i)) == nil {
			t.Fatal("an answer is gone, though others had expired")
		}
	}
}

// Names that are asked for again and again stay while a flood of names seen once goes by: half
// the room between two rounds.
func TestCacheFlood(t *testing.T) {
	const daily, rounds, each = 50, 20, 4096
	now := time.Hour
	c := NewCache(4096)
	c.clock = func() time.Duration { return now }
	hits := 0
	for i := range rounds * each {
		c.put(key{name: fmt.Sprintf("flood%d.example.net", i), qtype: dns.TypeA}, new(record), time.Hour)
		if now += 10 * time.Millisecond; i%(each/daily) != 0 {
			continue
		}
		k := key{name: fmt.Sprintf("daily%d.example.org", i/(each/daily)%daily), qtype: dns.TypeA}
		if c.get(k) != nil {
			hits++
		} else {
			c.put(k, new(record), time.Hour)
		}
	}
	if most := (rounds - 1) * daily; hits < most*9/10 {
		t.Errorf("%d hits of %d", hits, most)
	}
	if c.Dropped() == 0 {
		t.Error("the flood has not filled the cache")
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
	suffix := testing.AllocsPerRun(100, func() { publicsuffix.PublicSuffix("mail.example.org") })
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
		}); n > 6+suffix { // the facts themselves are one
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() {
		facts := f
		if g.Start(&facts, all, netip.AddrPort{}) != nil {
			t.Error("asks for what the cache has")
		}
	}); n > 12+suffix {
		t.Errorf("a warm session has %v allocations", n)
	}
}
