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
type kind int

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

// scope is a network, or the organisation of a waiting message. Its rows of one kind share a limit.
type scope struct {
	kind    kind
	network netip.Prefix
	org     string
}

func (s scope) String() string {
	if s.org != "" {
		return s.org
	}
	return s.network.String()
}

// key names a row.
type key struct {
	scope
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

// with returns r with what n adds, which is later or of the same day. It gives the same row when n
// was merged before. The statement updateRow does the same.
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

// rows is a bounded set of rows: a Map, or the queue of a DB.
type rows struct {
	all   map[key]row
	names map[scope][]string
	most  int
}

func newRows(most int) *rows {
	return &rows{map[key]row{}, map[scope][]string{}, most}
}

// put merges a row. Strangers leave a quarter of the rows to accepted senders, who have twice the
// share of their network, too.
func (r *rows) put(k key, n row) error {
	old, ok := r.all[k]
	if !ok {
		share, most := kinds[k.kind].share, r.most-r.most/4
		if n.accepted {
			share, most = 2*share, r.most
		}
		names := r.names[k.scope]
		switch {
		case len(names) >= share:
			return errShare
		case len(r.all) >= most:
			return ErrFull
		}
		r.names[k.scope] = append(names, k.name)
	}
	r.all[k] = old.with(k.kind, n)
	return nil
}

// overlay merges the rows of a scope into a list by name.
func (r *rows) overlay(s scope, list map[string]row) {
	for _, name := range r.names[s] {
		list[name] = list[name].with(s.kind, r.all[key{s, name}])
	}
}

// expire deletes what is old at a time.
func (r *rows) expire(now int64) {
	for s, names := range r.names {
		oldest := s.kind.oldest(now)
		kept := slices.DeleteFunc(names, func(name string) bool {
			k := key{s, name}
			old := r.all[k].last < oldest
			if old {
				delete(r.all, k)
			}
			return old
		})
		if r.names[s] = kept; len(kept) == 0 {
			delete(r.names, s)
		}
	}
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

// Map is a bounded Store in memory, for a replay. It is safe for concurrent use.
type Map struct {
	mu      sync.Mutex
	rows    *rows
	era     era
	swept   int64 // when old rows were last looked for, in units of sweepSeconds
	dropped uint64
}

const sweepSeconds = 10 * 60

// NewMap returns a Map of at most that many rows.
func NewMap(most int) *Map { return &Map{rows: newRows(most)} }

// Resize sets the largest number of rows.
func (m *Map) Resize(most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rows.most = most
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
	return len(m.rows.all)
}

func (m *Map) known(_ context.Context, k key) (row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows.all[k], nil
}

func (m *Map) neighbours(_ context.Context, s scope, _ int64) (map[string]row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := map[string]row{}
	m.rows.overlay(s, list)
	return list, nil
}

func (m *Map) waiting(_ context.Context, own, org key, since int64) (tries, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rows.names[own.scope]) >= MaxWaiting {
		m.sweep(since + windowSeconds)
	}
	return tries{m.rows.all[own].last, m.rows.all[org].last, len(m.rows.names[own.scope])}, nil
}

// put looks for old rows when a row finds no room.
func (m *Map) put(k key, n row, now int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.era.wrote(now)
	err := m.rows.put(k, n)
	if err != nil && m.sweep(now) {
		err = m.rows.put(k, n)
	}
	if errors.Is(err, ErrFull) {
		m.dropped++
	}
	return err
}

// sweep deletes old rows, unless it has just done so.
func (m *Map) sweep(now int64) (swept bool) {
	if bin := now / sweepSeconds; bin != m.swept {
		m.swept, swept = bin, true
		m.rows.expire(m.era.at(now))
	}
	return swept
}

func (m *Map) expiryTime(now int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.era.at(now)
}

var mapSecret = make([]byte, 32) // a Map is written nowhere

func (m *Map) secret() []byte { return mapSecret }
