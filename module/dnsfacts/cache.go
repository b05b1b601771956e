package dnsfacts

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
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

// DefaultCacheEntries is the cache size for a busy server, 4.5 MiB with all
// bookkeeping.
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

// record is one answer in compact form. What its slices hold is shared and
// never changed.
type record struct {
	addrs   []netip.Addr  // A, AAAA
	texts   []string      // PTR, MX hosts, TXT, the SPF result
	err     *Error        // neither found nor denied
	expires time.Duration // by Cache.clock
	denied  string        // KindNXDomain or KindNoData
	secure  bool          // AD flag of a local server
	// fleeting: not to be kept, since its questioner gave up too early.
	fleeting bool
	// unknown: not in the cache, and nobody may ask.
	unknown bool
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
// A HELO name is chosen by strangers, so names seen once must not drive out
// those that are seen daily: once the cache has been full, a new answer only
// gets into its fresh quarter, and into the rest when it is wanted again (the
// idea of S3-FIFO). Answers are packed into memory without pointers. The
// libraries that admit by use (otter, theine, ristretto) have several objects
// an entry, and the garbage collector, which Maddy's buffers start every few
// messages, needed 3 ms longer for a full cache; the libraries without pointers
// (freecache, bigcache) admit everything, and take megabytes or a copy a read.
type Cache struct {
	clock func() time.Duration // does not jump when somebody sets the time
	seed  maphash.Seed         // strangers choose the keys

	mu           sync.Mutex // guards all below
	fresh, known ring
	wanted       seen
	packed       []byte // for the key asked for, or the entry put
	hits, misses uint64
}

// NewCache returns a cache of that many entries of 96 octets; a longer one takes
// the place of several. A number below 1 means DefaultCacheEntries.
func NewCache(entries int) *Cache {
	if entries < 1 {
		entries = DefaultCacheEntries
	}
	begun := time.Now()
	return &Cache{
		clock: func() time.Duration { return time.Since(begun) },
		seed:  maphash.MakeSeed(),
		fresh: newRing(entries / 4), known: newRing(entries - entries/4),
		wanted: make(seen, 4*entries),
	}
}

// Stats returns how many answers the cache had and had not since it was made.
func (c *Cache) Stats() (hits, misses uint64) {
	if c == nil {
		return 0, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hits, c.misses
}

// Len returns the number of entries, expired ones included.
func (c *Cache) Len() int {
	if c == nil {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.fresh.index) + len(c.known.index)
}

// Usage returns how many of the entries that the cache may hold are taken,
// expired ones included.
func (c *Cache) Usage() (entries, size int) {
	if c == nil {
		return 0, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fresh.used + c.known.used, c.fresh.places + c.known.places
}

// nameOctets is the length of the longest name, RFC 1035, section 2.3.4. No DNS
// is asked about a longer one, so nothing is kept of it either.
const nameOctets = 255

// An entry is the expiry, the length of the packed key, the key and the record.
const entryFixed = 8 + 2

// get sets r to the answer to k and reports whether it has one. It is called deep
// down in new goroutines, and so goes easy on the stack.
func (c *Cache) get(k key, r *record) (known bool) {
	if c == nil || len(k.name) > nameOctets {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.packed = packKey(c.packed[:0], k)
	known = c.find(maphash.Bytes(c.seed, c.packed), c.packed, k.qtype, r)
	if known {
		c.hits++
	} else {
		c.misses++
	}
	return known
}

// find looks for what is under hash, is that of key and has not expired.
func (c *Cache) find(hash uint64, key []byte, qtype uint16, r *record) (known bool) {
	data := c.known.get(hash)
	if data == nil {
		data = c.fresh.get(hash)
	}
	if data == nil {
		return false
	}
	expires := time.Duration(binary.LittleEndian.Uint64(data)) //nolint:gosec // as it was put
	rest := unpacker(data[entryFixed:])
	length := int(binary.LittleEndian.Uint16(data[8:]))
	if expires <= c.clock() || !bytes.Equal(rest.take(length), key) {
		return false
	}
	rest.record(r, qtype)
	r.expires = expires
	return true
}

// put keeps r for ttl within the bounds, and notes in it until when.
func (c *Cache) put(k key, r *record, ttl time.Duration) {
	if c == nil {
		return
	}
	r.expires = c.clock() + min(max(ttl, minTTL), maxTTL)
	if len(k.name) > nameOctets {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	b := binary.LittleEndian.AppendUint64(c.packed[:0], uint64(r.expires)) //nolint:gosec // > 0
	b = packKey(append(b, 0, 0), k)
	key := b[entryFixed:]
	binary.LittleEndian.PutUint16(b[8:], uint16(len(key))) //nolint:gosec // a name's length
	hash := maphash.Bytes(c.seed, key)
	c.packed = packRecord(b, r)

	again := c.wanted.before(hash)
	if again || !c.known.full || c.known.get(hash) != nil {
		c.fresh.drop(hash)
		c.known.put(hash, c.packed)
	} else {
		c.fresh.put(hash, c.packed)
	}
}

// left returns for how long r may still be kept.
func (c *Cache) left(r *record) time.Duration {
	if c == nil {
		return 0
	}
	return r.expires - c.clock()
}
