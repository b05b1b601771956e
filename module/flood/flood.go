// Package flood bounds what the check logs and counts of clients that come again and again: lines
// of the log, greetings of one connection, and a day's warning about a proxy in front.
//
//	var q flood.Quiet
//	if ok, more := q.Allows("192.0.2.7", time.Now()); ok {
//		log.Println("refused", more)
//	}
package flood

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"github.com/coocood/freecache"
)

// Quiet lets one line a minute and source into the log, and counts those that it holds back.
type Quiet struct {
	mu   sync.Mutex
	last map[string]heldBack
}

type heldBack struct {
	at    time.Time // of the last line
	lines int       // held back since
}

const (
	quietFor   = time.Minute
	maxSources = 4096 // kept at a time
)

// Allows reports whether a line may be written now, and how many were held back before it.
func (q *Quiet) Allows(source string, now time.Time) (ok bool, lines int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.last == nil {
		q.last = make(map[string]heldBack)
	}
	held, known := q.last[source]
	if known && now.Sub(held.at) < quietFor && !now.Before(held.at) {
		held.lines++
		q.last[source] = held
		return false, 0
	}
	if !known && len(q.last) >= maxSources {
		clear(q.last) // a flood of sources: the counts are lost, the lines are bounded
	}
	q.last[source] = heldBack{at: now}
	return true, held.lines
}

const (
	countedFor    = 10 * time.Minute
	countedOctets = 2 << 20 // some 50,000 connections at a time
)

// Greetings counts those of each connection.
type Greetings struct{ cache func() *freecache.Cache }

// NewGreetings returns a count that takes 2 MiB from the first greeting on.
func NewGreetings() Greetings {
	return Greetings{sync.OnceValue(func() *freecache.Cache {
		return freecache.NewCache(countedOctets)
	})}
}

// Add returns the number of greetings of the connection, this one included and 255 at most. It
// begins anew ten minutes after the first one: Maddy does not tell when a connection ends, and
// another one may have the same port later.
func (g Greetings) Add(remote netip.AddrPort, now time.Time) int {
	var key [32]byte
	var n [1]byte
	id, _ := remote.AppendBinary(key[:0])
	left := int(countedFor / time.Second)
	if v, until, err := g.cache().GetWithExpirationAndBuf(id, n[:]); err == nil {
		n[0], left = v[0], max(1, int(int64(until)-now.Unix()))
	}
	n[0] = min(n[0], math.MaxUint8-1) + 1
	_ = g.cache().Set(id, n[:], left)
	return int(n[0])
}

const (
	fewGreetings = 10 // an hour with fewer tells nothing
	frontEvery   = 24 * time.Hour
)

// Front notices a proxy or container in front of the server, which gives all clients one private
// address.
type Front struct {
	mu          sync.Mutex
	addr        netip.Addr // the first one of the hour
	greetings   int        // of the hour
	mixed       bool       // there was another address
	since, told time.Time
}

// Saw notes a client. It returns the number of greetings where all of the hour before came from one
// private address, once a day.
func (f *Front) Saw(client netip.Addr, now time.Time) (addr netip.Addr, greetings int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if age := now.Sub(f.since); age >= time.Hour || age < 0 {
		alone := !f.mixed && f.greetings >= fewGreetings && (f.addr.IsPrivate() || f.addr.IsLoopback())
		if alone && (f.told.IsZero() || now.Sub(f.told) >= frontEvery) {
			addr, greetings, f.told = f.addr, f.greetings, now
		}
		f.addr, f.greetings, f.mixed, f.since = client, 0, false, now
	}
	f.greetings++
	f.mixed = f.mixed || client != f.addr
	return addr, greetings
}
