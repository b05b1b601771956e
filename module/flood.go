package module

import (
	"maps"
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
	maxSources = 4096 // sources at a time; more share one
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
		maps.DeleteFunc(q.last, func(_ string, h heldBack) bool { return now.Sub(h.at) >= quietFor })
		if len(q.last) >= maxSources {
			clear(q.last) // a flood of sources: the counts are lost, the lines are bounded
		}
	}
	q.last[source] = heldBack{at: now}
	return true, held.lines
}

const (
	maxGreetings = 100     // of one connection; then the reply is the same, and nothing is judged
	maxCounted   = 1 << 14 // connections in each of the two maps
	countedFor   = 10 * time.Minute
)

// greetingCount counts the greetings of connections. Maddy does not tell when one ends: a map that
// is full or old becomes the older one, and a connection that greets moves to the new one.
type greetingCount struct {
	mu           sync.Mutex
	recent, past map[netip.AddrPort]int
	since        time.Time
}

// add returns the number of greetings of the connection, this one included.
func (g *greetingCount) add(remote netip.AddrPort, now time.Time) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	age := now.Sub(g.since)
	if g.recent == nil || len(g.recent) >= maxCounted || age >= countedFor || age < 0 {
		g.recent, g.past, g.since = make(map[netip.AddrPort]int), g.recent, now
	}
	n := max(g.recent[remote], g.past[remote]) + 1
	g.recent[remote] = n
	return n
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
