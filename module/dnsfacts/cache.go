package dnsfacts

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/coocood/freecache"
	"github.com/miekg/dns"
)

// Times for which answers are kept.
const (
	minTTL  = 5 * time.Second
	maxTTL  = time.Hour
	failTTL = 10 * time.Second // failures, and denials without an SOA (RFC 2308, section 5)
)

// Sizes of a cache.
const (
	DefaultCacheEntries = 1 << 15   // for a busy server: 8 MiB
	entryOctets         = 256       // per entry, with bookkeeping; a typical answer takes half
	leastOctets         = 512 << 10 // smallest size of the whole cache
)

// key names one answer. PTR and SPF answers are keyed by address, so that a
// hit needs no reverse name to be built.
type key struct {
	name  string // lower-case, no final dot; "" for PTR
	addr  netip.Addr
	qtype uint16
}

// append appends the encoded k to b and returns the result.
func (k key) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, k.qtype)
	if k.addr.IsValid() {
		octets := k.addr.As16()
		b = append(b, octets[:]...)
	}
	return append(b, k.name...)
}

// typeSPF is the key type of a complete SPF result. It is never sent as a query:
// RFC 7208, section 3.1 retired the record type.
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

// record is one DNS answer. Its slices are shared and must not be modified.
type record struct {
	addrs   []netip.Addr  // A, AAAA
	texts   []string      // PTR, MX hosts, TXT, the SPF result
	err     *Error        // why the lookup failed, or nil
	denied  string        // KindNXDomain or KindNoData, otherwise ""
	expires time.Duration // by Cache.clock
}

func (r *record) failed() bool { return r.err != nil }
func (r *record) found() bool  { return r.err == nil && r.denied == "" }

// kind returns the result as a metric label.
func (r *record) kind() string {
	if r.err != nil {
		return r.err.Kind
	}
	return cmp.Or(r.denied, KindFound)
}

// pack encodes r for the cache.
func (r *record) pack() (b []byte) {
	text := func(s string) {
		s = s[:min(len(s), dns.MaxMsgSize)]
		b = binary.BigEndian.AppendUint16(b, uint16(len(s))) //nolint:gosec // cut above
		b = append(b, s...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.expires)) //nolint:gosec // not negative
	text(r.kind())
	if r.err != nil {
		at, _ := r.err.at.MarshalBinary()
		text(string(at))
		if r.err.Err != nil {
			text(r.err.Err.Error())
		}
	}
	for _, addr := range r.addrs {
		text(string(addr.AsSlice()))
	}
	for _, s := range r.texts {
		text(s)
	}
	return b
}

// unpack decodes the answer to k that pack encoded.
func unpack(k key, b []byte) *record {
	text := func() (s []byte) {
		n := 2 + int(binary.BigEndian.Uint16(b))
		s, b = b[2:n], b[n:]
		return s
	}
	var one struct { // most answers are one address or text
		record
		addr [1]netip.Addr
		text [1]string
	}
	r := &one.record
	r.expires, b = time.Duration(binary.BigEndian.Uint64(b)), b[8:] //nolint:gosec // not negative
	switch kind := text(); string(kind) {
	case KindFound:
	case KindNXDomain:
		r.denied = KindNXDomain
	case KindNoData:
		r.denied = KindNoData
	default:
		r.err = &Error{Kind: string(kind), Name: k.question(), Type: k.qtype}
		_ = r.err.at.UnmarshalBinary(text())
		if len(b) > 0 {
			r.err.Err = errors.New(string(text()))
		}
		return r
	}
	if len(b) > 0 {
		r.addrs, r.texts = one.addr[:0], one.text[:0]
	}
	for len(b) > 0 {
		if s := text(); k.qtype == dns.TypeA || k.qtype == dns.TypeAAAA {
			addr, _ := netip.AddrFromSlice(s)
			r.addrs = append(r.addrs, addr)
		} else {
			r.texts = append(r.texts, string(s))
		}
	}
	return r
}

// Cache keeps answers for their TTL, but at least 5 s and at most 1 h. Negative answers have the
// TTL that their SOA record gives (RFC 2308); failures are kept for 10 s. Several Gatherers can
// share a Cache. It needs no Close. A nil Cache keeps nothing.
//
// Entries contain no pointers, so the garbage collector does not scan them. A full cache drops
// its oldest entries; entries that were read again stay longer.
type Cache struct {
	clock   func() time.Duration    // monotonic time since NewCache
	size    int                     // in entries
	seed    [8]byte                 // random prefix of keys: clients must not predict hash slots
	entries func() *freecache.Cache // allocated at the first use
}

// NewCache returns a cache with room for that many entries of 256 octets, at least 2,048.
// Values below 1 mean DefaultCacheEntries.
func NewCache(entries int) *Cache {
	if entries < 1 {
		entries = DefaultCacheEntries
	}
	begun := time.Now()
	c := &Cache{clock: func() time.Duration { return time.Since(begun) }, size: entries}
	c.entries = sync.OnceValue(func() *freecache.Cache {
		return freecache.NewCacheCustomTimer(entries*entryOctets, c)
	})
	_, _ = rand.Read(c.seed[:]) // never fails
	return c
}

// Now returns the cache's clock in seconds. It implements freecache.Timer.
func (c *Cache) Now() uint32 {
	return 1 + uint32(c.clock()/time.Second) //nolint:gosec // for 136 years
}

// Stats returns the hits and misses since NewCache, the number of entries held (expired ones
// included), and the capacity in entries of 256 octets.
func (c *Cache) Stats() (hits, misses uint64, entries, size int) {
	return uint64(c.entries().HitCount()), uint64(c.entries().MissCount()), //nolint:gosec // counts
		int(c.entries().EntryCount()), c.size
}

// Dropped returns how often, since NewCache, a full cache dropped an unexpired entry or moved
// one to keep it longer.
func (c *Cache) Dropped() uint64 {
	return uint64(c.entries().EvacuateCount()) //nolint:gosec // a count
}

// get returns the cached answer to k, or nil.
func (c *Cache) get(k key) *record {
	if c == nil {
		return nil
	}
	var id, answer [512]byte // on the stack
	b, err := c.entries().GetWithBuf(k.append(append(id[:0], c.seed[:]...)), answer[:])
	if err != nil {
		return nil
	}
	return unpack(k, b)
}

// put stores r for ttl, limited to minTTL and maxTTL, and sets r.expires. It does not store
// an answer larger than 1/1024 of the cache.
func (c *Cache) put(k key, r *record, ttl time.Duration) {
	if c == nil {
		return
	}
	ttl = min(max(ttl, minTTL), maxTTL)
	r.expires = c.clock() + ttl
	if 4*len(r.addrs) > max(c.size*entryOctets, leastOctets)/1024 {
		return // before packing, since a thousand such answers may arrive at once
	}
	seconds := int((ttl + time.Second - 1) / time.Second)
	_ = c.entries().Set(k.append(c.seed[:8:8]), r.pack(), seconds)
}

// left returns for how long r may still be kept.
func (c *Cache) left(r *record) time.Duration {
	if c == nil {
		return 0
	}
	return r.expires - c.clock()
}
