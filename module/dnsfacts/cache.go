package dnsfacts

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/miekg/dns"
)

// Times for which answers are kept.
const (
	minTTL  = 5 * time.Second
	maxTTL  = time.Hour
	failTTL = 10 * time.Second // failures, and denials without an SOA (RFC 2308, section 5)
)

const (
	// DefaultCacheEntries is the cache size for a busy server: 32,768
	// entries, 16 MiB at most.
	DefaultCacheEntries = 1 << 15
	// entryOctets is what one entry may take on average. An ordinary one
	// takes about 300 octets, all bookkeeping included.
	entryOctets = 512
	// overhead is what otter's node, its hash table slot, our record and
	// its key take beside the data, in octets.
	overhead               = 288
	addrOctets, textOctets = 24, 16
)

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

// record is one answer in compact form. It is shared and never changed.
type record struct {
	addrs   []netip.Addr  // A, AAAA
	texts   []string      // PTR, MX hosts, TXT, the SPF result
	err     *Error        // neither found nor denied
	expires time.Duration // by Cache.clock
	denied  string        // KindNXDomain or KindNoData
	secure  bool          // AD flag of a local server
	// fleeting: not to be kept, since its questioner gave up too early.
	fleeting bool
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

// Cache keeps answers by their TTL, at least 5 s and at most 1 h; denials by
// the SOA record of their zone (RFC 2308), failures for 10 s. It may be shared
// by any number of Gatherers and needs no closing; a nil Cache keeps nothing.
//
// It stands on otter because a HELO name is chosen by strangers: otter's
// W-TinyLFU admission lets a flood of names seen once pass by the names that
// are seen daily, where a plain LRU would lose them all. Reads take no lock, a
// bound by weight is part of it, and without otter's own expiry, which we do
// not use, it has no goroutine that outlives a configuration.
type Cache struct {
	entries      *otter.Cache[key, *record]
	clock        func() time.Duration // does not jump when somebody sets the time
	hits, misses atomic.Uint64
}

// NewCache returns a cache bounded both to that many entries and to 512
// octets of memory for each of them: a longer answer takes the place of
// several. A number below 1 means DefaultCacheEntries.
func NewCache(entries int) *Cache {
	if entries < 1 {
		entries = DefaultCacheEntries
	}
	begun := time.Now()
	return &Cache{
		clock: func() time.Duration { return time.Since(begun) },
		entries: otter.Must(&otter.Options[key, *record]{
			MaximumWeight: uint64(entries) * entryOctets,
			Weigher:       weight,
		}),
	}
}

// weight counts no entry for less than its share, which makes the bound by
// octets a bound by entries too.
func weight(k key, r *record) uint32 {
	n := overhead + len(k.name) + addrOctets*len(r.addrs)
	for _, t := range r.texts {
		n += textOctets + len(t)
	}
	return uint32(max(n, entryOctets)) //nolint:gosec // a DNS message has 64 KiB
}

// Stats returns how many answers the cache had and had not since it was made.
func (c *Cache) Stats() (hits, misses uint64) {
	if c == nil {
		return 0, 0
	}
	return c.hits.Load(), c.misses.Load()
}

// Len returns the number of entries, expired ones included.
func (c *Cache) Len() int {
	if c == nil {
		return 0
	}
	return c.entries.EstimatedSize()
}

// Usage returns how many of the entries that the cache may hold are taken,
// expired ones included. An answer of more than 512 octets takes several.
func (c *Cache) Usage() (entries, size int) {
	if c == nil {
		return 0, 0
	}
	c.entries.CleanUp() // otter counts what was put later
	places := func(octets uint64) int {
		return int((octets + entryOctets - 1) / entryOctets) //nolint:gosec // 16 TiB are far
	}
	return places(c.entries.WeightedSize()), places(c.entries.GetMaximum())
}

func (c *Cache) get(k key) *record {
	if c == nil {
		return nil
	}
	if r, ok := c.entries.GetIfPresent(k); ok && r.expires > c.clock() {
		c.hits.Add(1)
		return r
	}
	c.misses.Add(1)
	return nil
}

// put keeps r, which nobody else has yet, for ttl within the bounds.
func (c *Cache) put(k key, r *record, ttl time.Duration) {
	if c == nil {
		return
	}
	r.expires = c.clock() + min(max(ttl, minTTL), maxTTL)
	c.entries.Set(k, r)
}

// left returns for how long r may still be kept.
func (c *Cache) left(r *record) time.Duration {
	if c == nil {
		return 0
	}
	return r.expires - c.clock()
}
