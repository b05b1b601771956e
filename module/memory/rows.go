package memory

import (
	"context"
	"errors"
	"net/netip"
	"sync"
)

const (
	windowSeconds = int64(Window / 1e9)
	jumpSeconds   = 2 * daySeconds // a clock that is further ahead of the rows has jumped
	trustSeconds  = 60 * 60        // for how long rows are written until the clock is trusted again
)

// errShare says that a network has used its share up.
var errShare = errors.New("memory: the network has used its share up")

// row is what is known about a sender. Days are counted from 1970.
type row struct {
	first, last int32 // days
	days        int32 // how many days had a greeting; 0: there is no row
	accepted    bool
}

// with returns r with the greetings of n, which are later or of the same day. It gives the same
// row when n was merged before.
func (r row) with(n row) row {
	if r.days == 0 {
		return n
	}
	if n.days == 0 {
		return r
	}
	more := n.days
	if n.first <= r.last { // r has this day already
		more--
	}
	return row{
		first:    min(r.first, n.first),
		last:     max(r.last, n.last),
		days:     r.days + min(more, max(0, n.last-r.last)),
		accepted: r.accepted || n.accepted,
	}
}

// orgDay is an organisation that greeted from a network.
type orgDay struct {
	org  string
	last int32 // day
}

// firstOf merges two first attempts: the earlier one counts, unless it lies out of the window
// or in the future. 0 is none.
func firstOf(old, now int64) int64 {
	if old == 0 || now != 0 && (old > now || now-old > windowSeconds) {
		return now
	}
	return old
}

// limits bound rows. names and waits are the share of one network.
type limits struct{ size, names, waits int }

// rows is a bounded set of rows, the content of a Map and the queue of a DB.
type rows struct {
	known map[greeting]row
	orgs  map[netip.Prefix][]orgDay
	waits map[string]map[string]int64 // by scope, then by hash
	names map[netip.Prefix]int        // how many known rows a network has
	size  int
}

func newRows() *rows {
	return &rows{
		known: map[greeting]row{}, orgs: map[netip.Prefix][]orgDay{},
		waits: map[string]map[string]int64{}, names: map[netip.Prefix]int{},
	}
}

// touch merges a row of a sender. Strangers leave a quarter of the rows to accepted senders,
// who also have twice the share of their network.
func (r *rows) touch(k greeting, n row, l limits) error {
	old, ok := r.known[k]
	if !ok {
		size, names := l.size-l.size/4, l.names
		if n.accepted {
			size, names = l.size, 2*l.names
		}
		if r.names[k.network] >= names {
			return errShare
		}
		if r.size >= size {
			return ErrFull
		}
		r.names[k.network]++
		r.size++
	}
	r.known[k] = old.with(n)
	return nil
}

// addOrg merges an organisation into the list of a network. Of more than MaxNeighbours the first
// ones stay, until they expire.
func addOrg(list []orgDay, n orgDay) (_ []orgDay, added bool) {
	old := -1
	for i, o := range list {
		if o.org == n.org {
			list[i].last = max(o.last, n.last)
			return list, true
		}
		if n.last-o.last > NeighbourDays {
			old = i
		}
	}
	switch {
	case old >= 0:
		list[old] = n
	case len(list) >= MaxNeighbours:
		return list, false
	default:
		list = append(list, n)
	}
	return list, true
}

// greet merges an organisation of a network.
func (r *rows) greet(network netip.Prefix, n orgDay, l limits) error {
	old := r.orgs[network]
	if len(old) == 0 && r.size >= l.size-l.size/4 {
		return ErrFull
	}
	list, added := addOrg(old, n)
	if !added {
		return errShare
	}
	r.orgs[network] = list
	r.size += len(list) - len(old)
	return nil
}

// wait merges a first attempt. The row of the organisation is a help for senders with several
// networks: the wait counts without it.
func (r *rows) wait(k waitKeys, first int64, l limits) error {
	if err := r.wait1(k.network, first, l); err != nil {
		return err
	}
	if k.org.scope != "" {
		_ = r.wait1(k.org, first, l)
	}
	return nil
}

func (r *rows) wait1(k waitKey, first int64, l limits) error {
	scope := r.waits[k.scope]
	if old, ok := scope[k.hash]; ok {
		scope[k.hash] = firstOf(old, first)
		return nil
	}
	if len(scope) >= l.waits {
		return errShare
	}
	if r.size >= l.size-l.size/4 {
		return ErrFull
	}
	if scope == nil {
		scope = map[string]int64{}
		r.waits[k.scope] = scope
	}
	scope[k.hash] = first
	r.size++
	return nil
}

// tries are the first attempts of a message, by network and by organisation; 0 is none.
type tries struct{ network, org int64 }

// with returns t with later attempts.
func (t tries) with(n tries) tries {
	return tries{firstOf(t.network, n.network), firstOf(t.org, n.org)}
}

// at returns the attempts that count now. One in the future was written before the clock was set
// back.
func (t tries) at(now int64) tries {
	counts := func(try int64) int64 {
		if try > now || now-try > windowSeconds {
			return 0
		}
		return try
	}
	return tries{counts(t.network), counts(t.org)}
}

// waiting returns the attempts of a message and the number of rows of its network.
func (r *rows) waiting(k waitKeys) (t tries, kept int) {
	network := r.waits[k.network.scope]
	return tries{network[k.network.hash], r.waits[k.org.scope][k.org.hash]}, len(network)
}

// earlier returns the smaller of two times, of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// add merges all rows of n, which are later, and returns how many did not fit.
func (r *rows) add(n *rows, l limits) (dropped uint64) {
	count := func(err error) {
		if err != nil {
			dropped++
		}
	}
	for k, v := range n.known {
		count(r.touch(k, v, l))
	}
	for network, list := range n.orgs {
		for _, o := range list {
			count(r.greet(network, o, l))
		}
	}
	for scope, hashes := range n.waits {
		for hash, first := range hashes {
			count(r.wait1(waitKey{scope, hash}, first, l))
		}
	}
	return dropped
}

// expire deletes what is old at a time.
func (r *rows) expire(now int64) {
	today := dayOf(now)
	for k, v := range r.known {
		if today-v.last > KnownDays {
			delete(r.known, k)
			r.size--
			if r.names[k.network]--; r.names[k.network] == 0 {
				delete(r.names, k.network)
			}
		}
	}
	for network, list := range r.orgs {
		kept := list[:0]
		for _, o := range list {
			if today-o.last <= NeighbourDays {
				kept = append(kept, o)
			}
		}
		r.size -= len(list) - len(kept)
		if r.orgs[network] = kept; len(kept) == 0 {
			delete(r.orgs, network)
		}
	}
	for scope := range r.waits {
		r.expireScope(scope, now-windowSeconds)
	}
}

func (r *rows) expireScope(scope string, since int64) {
	hashes := r.waits[scope]
	for hash, first := range hashes {
		if first < since {
			delete(hashes, hash)
			r.size--
		}
	}
	if len(hashes) == 0 {
		delete(r.waits, scope)
	}
}

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
	limits  limits
	era     era
	swept   int64 // when old rows were last looked for
	dropped uint64
}

var mapSecret = make([]byte, 32) // a Map is written nowhere

// NewMap returns a Map of at most that many rows.
func NewMap(size int) *Map {
	return &Map{rows: newRows(), limits: limits{size, MaxNames, MaxWaiting}}
}

// Resize sets the largest number of rows.
func (m *Map) Resize(size int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits.size = size
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
	return m.rows.size
}

func (m *Map) known(_ context.Context, k greeting) (row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rows.known[k], nil
}

func (m *Map) neighbours(_ context.Context, network netip.Prefix) ([]orgDay, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]orgDay(nil), m.rows.orgs[network]...), nil
}

func (m *Map) waiting(_ context.Context, k waitKeys, since int64) (tries, int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.rows.waits[k.network.scope]) >= MaxWaiting {
		m.rows.expireScope(k.network.scope, since)
	}
	t, kept := m.rows.waiting(k)
	return t, kept, nil
}

func (m *Map) see(k greeting, org string, day int32, taken, accepted bool, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.era.wrote(now)
	if org != "" {
		_ = m.write(now, func() error {
			return m.rows.greet(k.network, orgDay{org, day}, m.limits)
		})
	}
	if taken {
		_ = m.write(now, func() error {
			return m.rows.touch(k, row{day, day, 1, accepted}, m.limits)
		})
	}
}

func (m *Map) wait(k waitKeys, first int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.era.wrote(first)
	return m.write(first, func() error { return m.rows.wait(k, first, m.limits) })
}

// write tries again without the old rows, which it looks for at most once a day.
func (m *Map) write(now int64, try func() error) error {
	err := try()
	if err != nil && (now < m.swept || now-m.swept >= daySeconds) {
		m.swept = now
		m.rows.expire(m.era.at(now))
		err = try()
	}
	if errors.Is(err, ErrFull) {
		m.dropped++
	}
	return err
}

func (m *Map) expiryTime(now int64) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.era.at(now)
}

func (m *Map) secret() []byte { return mapSecret }
