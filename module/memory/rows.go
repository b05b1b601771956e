package memory

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
)

// Errors of a store.
var (
	// ErrAway says that the store does not answer. Callers go on without memory.
	ErrAway = errors.New("memory: the store does not answer")
	// ErrFull says that the store takes no new row.
	ErrFull  = errors.New("memory: the store is full")
	errShare = errors.New("memory: the network has used its share up")
)

// kind says what a row is about. The table holds its number.
type kind uint8

const (
	knownRow     kind = iota + 1 // name: a HELO name
	neighbourRow                 // name: the organisation of a HELO name
	waitingRow                   // name: a hash of sender and recipient
)

// kinds are the limits of each kind: seconds that a row is kept, and rows of one scope.
var kinds = [...]struct {
	name  string
	keep  int64
	share int
}{
	knownRow:     {KindKnown, KnownDays * daySeconds, MaxNames},
	neighbourRow: {KindNeighbour, NeighbourDays * daySeconds, MaxNeighbours},
	waitingRow:   {KindWaiting, windowSeconds, MaxWaiting},
}

// oldest returns the earliest last time of a row that is kept.
func (k kind) oldest(now int64) int64 {
	if k != waitingRow {
		now = dayOf(now)
	}
	return now - kinds[k].keep
}

// share returns how many rows of its scope leave room for a new row. Accepted senders have twice
// the share of their network.
func (k kind) share(n row) int {
	if n.accepted {
		return 2 * kinds[k].share
	}
	return kinds[k].share
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
	kind kind
	name string
}

// row is what is kept under a key. Times are Unix seconds. Those of a sender or a neighbour are the
// start of a day (UTC).
type row struct {
	first    int64 // of a known sender, otherwise 0
	last     int64 // of a waiting message the first attempt; 0: there is no row
	days     int   // days with a greeting, of a known sender
	accepted bool
}

// stored is a row and its key.
type stored struct {
	key
	row
}

// unlessOld returns r, or no row if it is older than its kind is kept.
func (r row) unlessOld(k kind, now int64) row {
	if r.last < k.oldest(now) {
		return row{}
	}
	return r
}

// with returns r with what n adds, which is later or of the same day. It gives the same row when n
// was merged before.
func (r row) with(k kind, n row) row {
	switch {
	case n.last == 0:
		return r
	case r.last == 0 || k == waitingRow:
		return n
	}
	more := n.days
	if n.first <= r.last { // r has this day already
		more--
	}
	if k == knownRow {
		r.days += min(more, int(max(0, n.last-r.last)/daySeconds))
	}
	r.first, r.last = min(r.first, n.first), max(r.last, n.last)
	r.accepted = r.accepted || n.accepted
	return r
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
// those that it has read. It is safe for concurrent use.
type Map struct {
	mu      sync.Mutex
	rows    map[scope][]stored
	size    int
	most    int
	era     era
	swept   int64 // when old rows were last looked for, in units of sweepSeconds
	dropped uint64
	db      *DB // of a Learner
}

const sweepSeconds = 60 * 60

// NewMap returns a Map of at most that many rows.
func NewMap(most int) *Map { return &Map{rows: map[scope][]stored{}, most: most} }

// Resize sets the largest number of rows.
func (m *Map) Resize(most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.most = most
}

// Dropped returns how many writes found the Map full. Answers are incomplete when it is not 0.
func (m *Map) Dropped() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dropped
}

// Len returns the number of rows, old ones included.
func (m *Map) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.size
}

func (m *Map) get(_ context.Context, k key, now int64) (row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.row(k).unlessOld(k.kind, m.era.at(now)), nil
}

func (m *Map) list(_ context.Context, s scope, now int64) ([]stored, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return withoutOld(slices.Clone(m.rows[s]), m.era.at(now)), nil
}

// row returns the row of a key, or none.
func (m *Map) row(k key) row {
	for _, r := range m.rows[k.scope] {
		if r.key == k {
			return r.row
		}
	}
	return row{}
}

// withoutOld removes old rows from a list.
func withoutOld(list []stored, at int64) []stored {
	return slices.DeleteFunc(list, func(r stored) bool { return r.unlessOld(r.kind, at) == row{} })
}

// put looks for old rows when a row finds no room.
func (m *Map) put(k key, n row, now int64) error {
	if m.db != nil && k.kind != waitingRow {
		_ = m.db.put(k, n, now) // it counts what it does not take
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.era.wrote(now)
	at := m.era.at(now)
	err := m.merge(k, n, at)
	if bin := now / sweepSeconds; err != nil && bin != m.swept {
		m.swept = bin
		for s, list := range m.rows {
			m.set(s, withoutOld(list, at))
		}
		err = m.merge(k, n, at)
	}
	if errors.Is(err, ErrFull) {
		m.dropped++
	}
	return err
}

// merge merges a row. Strangers leave a quarter of the rows to accepted senders.
func (m *Map) merge(k key, n row, at int64) error {
	list, same := m.rows[k.scope], 0
	for i := range list {
		switch r := &list[i]; {
		case r.key == k:
			r.row = r.unlessOld(k.kind, at).with(k.kind, n)
			return nil
		case r.kind == k.kind:
			same++
		}
	}
	most := m.most
	if !n.accepted {
		most -= most / 4
	}
	switch {
	case same >= k.kind.share(n):
		return errShare
	case m.size >= most:
		return ErrFull
	}
	m.set(k.scope, append(list, stored{k, n}))
	return nil
}

// set replaces the rows of a scope.
func (m *Map) set(s scope, list []stored) {
	m.size += len(list) - len(m.rows[s])
	if m.rows[s] = list; len(list) == 0 {
		delete(m.rows, s)
	}
}

var mapSecret = []byte{} // a Map is written nowhere

func (m *Map) secret() []byte { return mapSecret }
