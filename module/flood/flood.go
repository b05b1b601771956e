// Package flood bounds what the check logs and counts of clients that come again and again: lines
// of the log, greetings of one connection, and a day's warning about a proxy in front.
//
//	var lines flood.Count[string] // for a minute
//	if n, more := lines.Add("192.0.2.7", time.Now()); n == 1 {
//		log.Println("refused", more)
//	}
package flood

import (
	"cmp"
	"net/netip"
	"sync"
	"time"
)

// Count counts what comes from each source. A count ends after a time that begins with its first
// one. It is safe for concurrent use.
type Count[K comparable] struct {
	For time.Duration // 0: a minute

	mu      sync.Mutex
	sources map[K]counted
}

type counted struct {
	since time.Time
	n     int
}

const maxSources = 1 << 15 // counted at a time

// Add returns the number in the count of the source, this one included. Where that is 1, further
// is how many followed the first one in the count before.
func (c *Count[K]) Add(source K, now time.Time) (n, further int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, known := c.sources[source]
	if age := now.Sub(last.since); known && age >= 0 && age < cmp.Or(c.For, time.Minute) {
		last.n++
		c.sources[source] = last
		return last.n, 0
	}
	if c.sources == nil || !known && len(c.sources) >= maxSources {
		c.sources = make(map[K]counted) // after a flood of sources all counts begin anew
	}
	c.sources[source] = counted{now, 1}
	return 1, max(0, last.n-1)
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
