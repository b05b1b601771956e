package dnsfacts

import (
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Times for which answers are kept.
const (
	minTTL  = 5 * time.Second
	maxTTL  = time.Hour
	failTTL = 10 * time.Second // failures, and denials without an SOA (RFC 2308, section 5)
)

// DefaultCacheEntries is the cache size for a busy server, some 8 MiB of ordinary
// answers with all bookkeeping.
const DefaultCacheEntries = 1 << 15

// key names one answer. PTR and SPF answers are keyed by address, so that a
// hit needs no reverse name to be built.
type key struct {
	name  string // lower-case, no final dot; "" for PTR
	addr  netip.Addr
	qtype uint16
}

// typeSPF keys the result of a whole SPF evaluation. It is never asked in the
// DNS, where RFC 7208, section 3.1 has retired the type.
const typeSPF = dns.TypeSPF

// question returns the name to ask for, without its final dot.
func (k key) question() string {
	if k.name != "" || !k.addr.IsValid() {
		return k.name
	}
	name, err := dns.ReverseAddr(k.addr.Unmap().WithZone("").String())
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(name, ".")
}

// record is one answer. What its slices hold is shared and never changed.
type record struct {
	addrs   []netip.Addr  // A, AAAA
	texts   []string      // PTR, MX hosts, TXT, the SPF result
	err     *Error        // neither found nor denied
	denied  string        // KindNXDomain or KindNoData
	secure  bool          // AD flag of a local server
	wanted  bool          // was in the cache when it was wanted; guarded by Cache.mu
	expires time.Duration // by Cache.clock
}

func (r *record) failed() bool { return r.err != nil }
func (r *record) found() bool  { return r.err == nil && r.denied == "" }

// kind is the record's result as a metric label.
func (r *record) kind() string {
	switch {
	case r.err != nil:
		return r.err.Kind
	case r.denied != "":
		return r.denied
	}
	return KindFound
}

// placeOctets is what an entry may hold before it counts as several.
const placeOctets = 256

// places returns how many entries of the cache r takes.
func (r *record) places(k key) int {
	const perAddr, perText = 24, 16
	n := len(k.name) + perAddr*len(r.addrs)
	for _, text := range r.texts {
		n += perText + len(text)
	}
	return 1 + n/placeOctets
}

// Cache keeps answers by their TTL, at least 5 s and at most 1 h; denials by
// the SOA record of their zone (RFC 2308), failures for 10 s. It may be shared
// by any number of Gatherers and needs no closing; a nil Cache keeps nothing.
//
// Strangers choose the names, so a full cache drops at random: of a few entries
// first the expired ones, then one that nobody wanted again.
type Cache struct {
	clock func() time.Duration // does not jump when somebody sets the time
	size  int                  // places

	mu           sync.Mutex // guards all below
	entries      map[key]*record
	used         int // places
	hits, misses uint64
}

// NewCache returns a cache of that many entries. An answer of more than 256 octets
// counts as several. A number below 1 means DefaultCacheEntries.
func NewCache(entries int) *Cache {
	if entries < 1 {
		entries = DefaultCacheEntries
	}
	begun := time.Now()
	return &Cache{
		clock: func() time.Duration { return time.Since(begun) },
		size:  entries, entries: make(map[key]*record),
	}
}

// Stats returns how many answers the cache had and had not since it was made, and how
// many of the entries that it may hold are taken, expired ones included.
func (c *Cache) Stats() (hits, misses uint64, entries, size int) {
	if c == nil {
		return 0, 0, 0, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits, c.misses, c.used, c.size
}

// get returns the answer to k, nil for none.
func (c *Cache) get(k key) *record {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.entries[k]
	if r == nil || r.expires <= c.clock() {
		c.misses++
		return nil
	}
	r.wanted = true
	c.hits++
	return r
}

// put keeps r for ttl within the bounds, and notes in it until when.
func (c *Cache) put(k key, r *record, ttl time.Duration) {
	if c == nil {
		return
	}
	r.expires = c.clock() + min(max(ttl, minTTL), maxTTL)
	places := r.places(k)
	if places > c.size {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(k)
	for c.sweep(places); c.used+places > c.size; {
		c.sweep(places)
	}
	c.entries[k] = r
	c.used += places
}

// sweep looks at a few entries, which a map gives in random order. It drops the
// expired ones, and one more where places are not free.
func (c *Cache) sweep(places int) {
	const few = 8
	now, left := c.clock(), few
	var victim key
	spared, chosen := true, false
	for k, r := range c.entries {
		switch {
		case r.expires <= now:
			c.drop(k)
		case !chosen, spared && !r.wanted:
			victim, chosen, spared = k, true, r.wanted
		}
		if left--; left == 0 {
			break
		}
	}
	if chosen && c.used+places > c.size {
		c.drop(victim)
	}
}

func (c *Cache) drop(k key) {
	if r := c.entries[k]; r != nil {
		delete(c.entries, k)
		c.used -= r.places(k)
	}
}

// left returns for how long r may still be kept.
func (c *Cache) left(r *record) time.Duration {
	if c == nil {
		return 0
	}
	return r.expires - c.clock()
}
