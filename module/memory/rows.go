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

// Kind is the kind of a row. The table stores its number.
type Kind uint8

// The kinds of rows, and what a row has in the column name.
const (
	KindKnown     Kind = iota + 1 // a HELO name
	KindNeighbour                 // the organisation of a HELO name
	KindWaiting                   // a hash of sender and recipient
)

// String returns the word that the tool shows.
func (k Kind) String() string { return kinds[k].name }

// kinds has for each kind its word, the seconds that a row is kept, and the rows of one scope.
var kinds = [...]struct {
	name  string
	keep  int64
	share int
}{
	KindKnown:     {"known", KnownDays * daySeconds, MaxNames},
	KindNeighbour: {"neighbour", NeighbourDays * daySeconds, MaxNeighbours},
	KindWaiting:   {"waiting", windowSeconds, MaxWaiting},
}

// scope is a network, or the organisation of a waiting message. kinds limits the rows of a scope.
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

// key identifies a row.
type key struct {
	scope
	kind Kind
	name string
}

// row is one row of the table. Times are Unix seconds. For a sender or a neighbour they are the
// start of a day (UTC).
type row struct {
	key
	first    int64 // of a known sender, otherwise 0
	last     int64 // of a waiting message the first attempt; 0: there is no row
	days     int   // days with a greeting, of a known sender
	accepted bool
}

// old tells whether a row has expired or is the zero row.
func (r row) old(at int64) bool {
	if r.kind != KindWaiting {
		at = dayOf(at)
	}
	return r.last < at-kinds[r.kind].keep
}

// with returns r merged with n, which is of the same day or later. It returns r unchanged if n
// was merged before.
func (r row) with(n row, at int64) row {
	if r.old(at) || r.kind == KindWaiting {
		return n
	}
	more := n.days
	if n.first <= r.last { // r has counted this day already
		more--
	}
	if r.kind == KindKnown {
		r.days += min(more, int(max(0, n.last-r.last)/daySeconds))
	}
	r.first, r.last = min(r.first, n.first), max(r.last, n.last)
	r.accepted = r.accepted || n.accepted
	return r
}

// find returns the row of a key, or the zero row.
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
	jumpSeconds  = 2 * daySeconds // a clock further ahead of the newest row has jumped
	trustSeconds = 60 * 60        // how long rows must be written until the clock is trusted again
)

// era detects a clock that has jumped forward. Times are Unix seconds.
type era struct {
	sure  int64 // the last write with a trusted clock; 0: none yet
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

// at returns the time to compare the age of rows with: now, or sure after a jump.
func (e *era) at(now int64) int64 {
	if e.sure != 0 && now-e.sure > jumpSeconds {
		return e.sure
	}
	return now
}

// Map is a bounded Store in memory. A replay uses one. A DB uses one for rows to write and one for
// rows that it has read. It is not safe for concurrent use.
type Map struct {
	Dropped uint64 // writes rejected because the Map was full; if not 0, answers are incomplete

	rows  map[scope][]row // a list is never changed in place, so that readers can keep it
	room  *Room
	era   era
	swept int64 // when old rows were last looked for, in units of sweepSeconds
}

// Room is the number of rows in the Maps that share it, and the limit.
type Room struct{ Rows, Most int }

const sweepSeconds = 60 * 60

// NewMap returns an empty Map.
func NewMap(room *Room) *Map { return &Map{rows: map[scope][]row{}, room: room} }

func (m *Map) list(_ context.Context, s scope, now int64) ([]row, int64, error) {
	return m.rows[s], m.era.at(now), nil
}

// put merges a row. If the Map is full, it removes old rows first, at most once an hour.
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

// merge merges a row. A quarter of the room is reserved for accepted senders. For them the share
// of a network is also twice as large.
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

var mapSecret = []byte{} // no secret: a Map is never stored

func (m *Map) secret() []byte { return mapSecret }
