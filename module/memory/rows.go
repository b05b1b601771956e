package memory

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
)

var (
	errAway  = errors.New("memory: the store does not answer")
	errFull  = errors.New("memory: the store is full")
	errShare = errors.New("memory: the network has used its share up")
)

// Kind says what a row is about. The table holds its number.
type Kind uint8

// The kinds, and what the name of their rows is.
const (
	KindKnown     Kind = iota + 1 // a HELO name
	KindNeighbour                 // the organisation of a HELO name
	KindWaiting                   // a hash of sender and recipient
)

// String returns the word that the tool shows.
func (k Kind) String() string { return kinds[k].name }

// kinds are the limits of each kind: seconds that a row is kept, and rows of one scope.
var kinds = [...]struct {
	name  string
	keep  int64
	share int
}{
	KindKnown:     {"known", KnownDays * daySeconds, MaxNames},
	KindNeighbour: {"neighbour", NeighbourDays * daySeconds, MaxNeighbours},
	KindWaiting:   {"waiting", windowSeconds, MaxWaiting},
}

// scope is a network, or the organisation of a waiting message. Its rows of one kind share a limit.
type scope struct {
	network netip.Prefix
	org     string
}

func (s scope) String() string {
	if !s.network.IsValid() {
		return s.org
	}
	return s.network.String()
}

// parseScope reads what String returned.
func parseScope(text string) scope {
	if network, err := netip.ParsePrefix(text); err == nil {
		return scope{network: network}
	}
	return scope{org: text}
}

// key names a row.
type key struct {
	scope
	kind Kind
	name string
}

// row is what is kept under a key. Times are Unix seconds. Those of a sender or a neighbour are the
// start of a day (UTC).
type row struct {
	key
	first    int64 // of a known sender, otherwise 0
	last     int64 // of a waiting message the first attempt; 0: there is no row
	days     int   // days with a greeting, of a known sender
	accepted bool
}

// old tells whether a row is older than its kind is kept, or there is none.
func (r row) old(at int64) bool {
	if r.kind != KindWaiting {
		at = dayOf(at)
	}
	return r.last < at-kinds[r.kind].keep
}

// with returns r with what n adds, which is later or of the same day. It gives the same row when n
// was merged before.
func (r row) with(n row, at int64) row {
	if r.old(at) || r.kind == KindWaiting {
		return n
	}
	more := n.days
	if n.first <= r.last { // r has this day already
		more--
	}
	if r.kind == KindKnown {
		r.days += min(more, int(max(0, n.last-r.last)/daySeconds))
	}
	r.first, r.last = min(r.first, n.first), max(r.last, n.last)
	r.accepted = r.accepted || n.accepted
	return r
}

// find returns the row of a key, or none.
func find(rows []row, k key) row {
	for i := range rows {
		if rows[i].key == k {
			return rows[i]
		}
	}
	return row{}
}

// withoutOld returns the rows that are not old.
func withoutOld(rows []row, at int64) []row {
	return slices.DeleteFunc(slices.Clone(rows), func(r row) bool { return r.old(at) })
}

const (
	jumpSeconds  = 2 * daySeconds // a clock that is further ahead of the rows has jumped
	trustSeconds = 60 * 60        // for how long rows are written until the clock is trusted again
)

// era tells a clock that has jumped from time that has passed. Times are Unix seconds.
type era struct {
	sure  int64 // the last write under a clock that is trusted; 0: none yet
	doubt int64 // the first write after a jump forward; 0: the clock is trusted
}

// wrote records a write and tells whether the clock has just jumped forward.
func (e *era) wrote(now int64) (jumped bool) {
	switch {
	case e.doubt != 0 && now >= e.doubt && now-e.doubt < trustSeconds:
		return false
	case e.doubt == 0 && e.sure != 0 && now-e.sure > jumpSeconds:
		e.doubt = now
		return true
	}
	e.sure, e.doubt = now, 0
	return false
}

// at returns the time that rows are old by.
func (e *era) at(now int64) int64 {
	if e.sure != 0 && now-e.sure > jumpSeconds {
		return e.sure
	}
	return now
}

// Map is a bounded Store in memory: that of a replay, the rows that a DB has yet to write, and
// those that it has read. It serves one goroutine at a time.
type Map struct {
	Dropped uint64 // writes that found the Map full; answers are incomplete when it is not 0

	rows  map[scope][]row // a list is never changed in place, so that readers can keep it
	room  *Room
	era   era
	swept int64 // when old rows were last looked for, in units of sweepSeconds
}

// Room is how many rows there are in the Maps that share it, and may be.
type Room struct{ Rows, Most int }

const sweepSeconds = 60 * 60

// NewMap returns an empty Map.
func NewMap(room *Room) *Map { return &Map{rows: map[scope][]row{}, room: room} }

func (m *Map) list(_ context.Context, s scope, now int64) ([]row, int64, error) {
	return m.rows[s], m.era.at(now), nil
}

// put looks for old rows when a row finds no room.
func (m *Map) put(n row, now int64) error {
	m.era.wrote(now)
	at := m.era.at(now)
	err := m.merge(n, at)
	if bin := now / sweepSeconds; errors.Is(err, errFull) && bin != m.swept {
		m.swept = bin
		for s, list := range m.rows {
			m.set(s, withoutOld(list, at))
		}
		err = m.merge(n, at)
	}
	if errors.Is(err, errFull) {
		m.Dropped++
	}
	return err
}

// merge merges a row. Strangers leave a quarter of the room to accepted senders, which have twice
// the share of their network.
func (m *Map) merge(n row, at int64) error {
	list, same := m.rows[n.scope], 0
	for i := range list {
		switch r := &list[i]; {
		case r.key == n.key:
			merged := slices.Clone(list)
			merged[i] = r.with(n, at)
			m.rows[n.scope] = merged
			return nil
		case r.kind == n.kind && !r.old(at):
			same++
		}
	}
	share, most := kinds[n.kind].share, m.room.Most
	if n.accepted {
		share *= 2
	} else {
		most -= most / 4
	}
	switch {
	case same >= share:
		return errShare
	case m.room.Rows >= most:
		return errFull
	}
	m.set(n.scope, append(list, n))
	return nil
}

// set replaces the rows of a scope.
func (m *Map) set(s scope, list []row) {
	m.room.Rows += len(list) - len(m.rows[s])
	if m.rows[s] = list; len(list) == 0 {
		delete(m.rows, s)
	}
}

// all returns all rows, those of one scope together.
func (m *Map) all() []row { return slices.Concat(slices.Collect(maps.Values(m.rows))...) }

var mapSecret = []byte{} // a Map is written nowhere

func (m *Map) secret() []byte { return mapSecret }
