package module

import (
	"math"
	"net/netip"
	"sync"
	"time"
)

// quiet lets one line a minute and source into the log, and counts those that it holds back.
type quiet struct {
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

// allows reports whether a line may be written now, and how many were held back before it.
func (q *quiet) allows(source string, now time.Time) (ok bool, lines int) {
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
	maxGreetings  = 100 // of one connection in countedFor; the next ones are not judged
	countedFor    = 10 * time.Minute
	countedOctets = 2 << 20 // some 50,000 connections at a time
)

// count returns the number of greetings of the connection, this one included and 255 at most. It
// begins anew ten minutes after the first one: Maddy does not tell when a connection ends, and
// another one may have the same port later.
func (c *Check) count(remote netip.AddrPort, now time.Time) int {
	var key [32]byte
	var n [1]byte
	id, _ := remote.AppendBinary(key[:0])
	left := int(countedFor / time.Second)
	if v, until, err := c.greetings.GetWithExpirationAndBuf(id, n[:]); err == nil {
		n[0], left = v[0], max(1, int(int64(until)-now.Unix()))
	}
	n[0] = min(n[0], math.MaxUint8-1) + 1
	_ = c.greetings.Set(id, n[:], left)
	return int(n[0])
}

const (
	fewGreetings = 10 // an hour with fewer tells nothing
	frontEvery   = 24 * time.Hour
)

// front notices a proxy or container in front of the server, which gives all clients one private
// address.
type front struct {
	mu          sync.Mutex
	addr        netip.Addr // the first one of the hour
	greetings   int        // of the hour
	mixed       bool       // there was another address
	since, told time.Time
}

// saw notes a client. It returns the number of greetings where all of the hour before came from one
// private address, once a day.
func (f *front) saw(client netip.Addr, now time.Time) (addr netip.Addr, greetings int) {
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
