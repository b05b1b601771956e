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
	entryOctets         = 256       // with all bookkeeping; an ordinary answer takes half of it
	leastOctets         = 512 << 10 // of all entries
)

// key names one answer. PTR and SPF answers are keyed by address, so that a
// hit needs no reverse name to be built.
type key struct {
	name  string // lower-case, no final dot; "" for PTR
	addr  netip.Addr
	qtype uint16
}

// append adds k as octets to b.
func (k key) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, k.qtype)
	if k.addr.IsValid() {
		octets := k.addr.As16()
		b = append(b, octets[:]...)
	}
	return append(b, k.name...)
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
	expires time.Duration // by Cache.clock
}

func (r *record) failed() bool { return r.err != nil }
func (r *record) found() bool  { return r.err == nil && r.denied == "" }

// kind is the record's result as a metric label.
func (r *record) kind() string {
	if r.err != nil {
		return r.err.Kind
	}
	return cmp.Or(r.denied, KindFound)
}

// pack returns r as octets.
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

// unpack returns the record that pack has made octets of.
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

// Cache keeps answers by their TTL, at least 5 s and at most 1 h; denials by
// the SOA record of their zone (RFC 2308), failures for 10 s. It may be shared
// by any number of Gatherers and needs no closing; a nil Cache keeps nothing.
//
// The answers lie in memory without pointers, so that they cost the garbage collector nothing. A
// full cache drops the oldest answers, and keeps longest those that are asked for again.
type Cache struct {
	clock   func() time.Duration    // does not jump when somebody sets the time
	size    int                     // entries
	seed    [8]byte                 // strangers choose the names, and must not choose their places
	entries func() *freecache.Cache // made at the first use
}

// NewCache returns a cache of that many entries of 256 octets, and of 2,048 at least. A
// number below 1 means DefaultCacheEntries.
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

// Now returns the time by which entries expire, in seconds. It implements freecache.Timer.
func (c *Cache) Now() uint32 {
	return 1 + uint32(c.clock()/time.Second) //nolint:gosec // for 136 years
}

// Stats returns how many answers the cache had and had not since it was made, how many it
// holds, expired ones included, and for how many of 256 octets it has room.
func (c *Cache) Stats() (hits, misses uint64, entries, size int) {
	return uint64(c.entries().HitCount()), uint64(c.entries().MissCount()), //nolint:gosec // counts
		int(c.entries().EntryCount()), c.size
}

// Dropped returns how many answers were dropped before their time since the cache was made,
// or moved to stay longer, for want of room.
func (c *Cache) Dropped() uint64 {
	return uint64(c.entries().EvacuateCount()) //nolint:gosec // a count
}

// get returns the answer to k, nil for none.
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

// put keeps r for ttl within the bounds, and notes in it until when. An answer that takes
// more than a 1024th of the room is not kept.
func (c *Cache) put(k key, r *record, ttl time.Duration) {
	if c == nil {
		return
	}
	ttl = min(max(ttl, minTTL), maxTTL)
	r.expires = c.clock() + ttl
	if 4*len(r.addrs) > max(c.size*entryOctets, leastOctets)/1024 {
		return // before it is packed, since a thousand such answers may come at a time
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
