package memory

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readTime    = 50 * time.Millisecond // of one look-up, within the session's own time
	writeTime   = 10 * time.Second      // of one batch
	startTime   = 2 * time.Second       // that Open waits for the first connection
	closeTime   = 3 * time.Second       // that the last Close waits for the last batch
	lockTime    = 200 * time.Millisecond
	reportEvery = 60 // seconds between two reports
	maxReaders  = 8
	maxFailures = 4 // reads in a row; then the store counts as away until a tick reaches it
	knownTTL    = 60
	strangerTTL = 5 // seconds; another server may have accepted a message meanwhile

	cacheEntries   = 1 << 15
	queueRows      = 1 << 16
	queueNames     = 128 // of one network
	defaultMaxRows = 2_000_000
)

// Options of Open. The zero value is usable.
type Options struct {
	// MaxRows bounds each of the tables known and waiting, and neighbours to as much; 0 is
	// 2,000,000. A full table takes no new row; strangers of earlier days make room.
	MaxRows int64
	// Report, when set, gets what keeps the store from working, at most once a minute.
	Report func(error)
	// Clock is time.Now when nil.
	Clock func() time.Time
	// Every is the time between two batches of writes; 0 is one second.
	Every time.Duration
}

// Counters are totals since the store was opened, and its state.
type Counters struct {
	Known, Neighbours, Waiting int64  // rows, as of the last batch
	Cached, Read, Failed       uint64 // look-ups: from the cache, from the database, without answer
	Written                    uint64 // rows
	Dropped                    uint64 // writes that found the queue or the table full
	OverShare                  uint64 // writes of a network past its share
	Expired                    uint64 // rows
	Queued                     int    // rows that wait for the next batch
	Away                       bool   // the last read or write did not work
}

// DB is a Store in a database. All DBs of a process that name the same place are one store. It is
// safe for concurrent use.
type DB struct {
	*shared
	report func(error)
	once   sync.Once
}

type shared struct {
	place
	opts     Options
	readOnly bool
	readTime time.Duration // of one look-up
	lockTime time.Duration // that a statement of SQLite waits for another process

	db     atomic.Pointer[sql.DB] // nil until the first connection
	key    atomic.Pointer[[]byte]
	away   atomic.Bool // reads do not work
	failed atomic.Int32
	slots  chan struct{} // one for each reader

	mu        sync.Mutex
	senders   recent[greeting, senderEntry]
	networks  recent[netip.Prefix, networkEntry]
	queue     *rows // waits for the next batch
	flying    *rows // is being written
	era       era
	count     Counters
	unwritten bool // the last batch failed

	saying   sync.Mutex
	reported int64 // Unix time of the last report; saying guards it

	writing sync.Mutex  // one batch at a time; it guards what follows
	file    os.FileInfo // what is open, for SQLite
	expires int64       // Unix time of the next look for old rows

	handles []*DB // the registry's lock guards it

	ready, stop, done chan struct{} // ready is closed after the first attempt to connect
}

// senderEntry is what the cache holds of a sender: its row, and what is written already.
type senderEntry struct {
	row             row
	read            int64 // Unix time of reading the row; 0: never
	greeted, day    int32 // last day written, of the organisation and of the name
	acceptedWritten bool
}

type networkEntry struct {
	orgs []orgDay
	read int64
}

var registry = struct {
	sync.Mutex
	open map[place]*shared
}{open: map[place]*shared{}}

// Open returns the store at a place: the path of a file for "sqlite3", a DSN for "postgres". The
// error is ErrNoDriver, or names an unknown database. Everything else that can be wrong with a
// database goes to Options.Report: the store is away then and tries again every second. A store
// that is open already keeps the options of its first Open, except Report.
func Open(driver, dsn string, opts Options) (*DB, error) {
	p, err := newPlace(driver, dsn, sql.Drivers())
	if err != nil {
		return nil, err
	}
	registry.Lock()
	s, ok := registry.open[p]
	if !ok {
		s = newShared(p, opts)
		registry.open[p] = s
	}
	d := &DB{shared: s, report: opts.Report}
	s.handles = append(s.handles, d)
	registry.Unlock()
	if !ok {
		go s.run()
		select {
		case <-s.ready:
		case <-time.After(startTime):
		}
	}
	return d, nil
}

func newShared(p place, opts Options) *shared {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Every == 0 {
		opts.Every = time.Second
	}
	if opts.MaxRows == 0 {
		opts.MaxRows = defaultMaxRows
	}
	return &shared{
		place: p, opts: opts, slots: make(chan struct{}, maxReaders), queue: newRows(),
		senders:  newRecent[greeting, senderEntry](cacheEntries),
		networks: newRecent[netip.Prefix, networkEntry](cacheEntries),
		readTime: readTime, lockTime: lockTime,
		ready: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// Close gives the store back. The last one writes what is queued, for at most 3 seconds.
func (d *DB) Close() error {
	d.once.Do(func() {
		registry.Lock()
		for i, h := range d.handles {
			if h == d {
				d.handles = append(d.handles[:i:i], d.handles[i+1:]...)
				break
			}
		}
		last := len(d.handles) == 0
		if last && registry.open[d.place] == d.shared {
			delete(registry.open, d.place)
		}
		registry.Unlock()
		if last {
			close(d.stop)
			select {
			case <-d.done:
			case <-time.After(closeTime): // the driver is stuck in a dead connection
			}
		}
	})
	return nil
}

// Place names the file, or PostgreSQL.
func (d *DB) Place() string { return d.String() }

// Counters returns the figures for metrics.
func (d *DB) Counters() Counters {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.count
	c.Queued = d.queue.size
	if d.flying != nil {
		c.Queued += d.flying.size
	}
	c.Away = d.away.Load() || d.db.Load() == nil || d.unwritten
	return c
}

func (s *shared) now() int64 { return s.opts.Clock().Unix() }

func (s *shared) secret() []byte {
	if key := s.key.Load(); key != nil {
		return *key
	}
	return nil
}

func (s *shared) expiryTime(now int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.era.at(now)
}

func fresh(read, now, ttl int64) bool { return read != 0 && now >= read && now-read < ttl }

// queued returns what is not in the database yet. It needs the lock.
func (s *shared) queued(k greeting) row {
	var r row
	if s.flying != nil {
		r = s.flying.known[k]
	}
	return r.with(s.queue.known[k])
}

func (s *shared) known(ctx context.Context, k greeting) (row, error) {
	now := s.now()
	s.mu.Lock()
	e, _ := s.senders.get(k)
	queued := s.queued(k)
	ttl := int64(strangerTTL)
	if e.row.accepted {
		ttl = knownTTL
	}
	if fresh(e.read, now, ttl) {
		s.count.Cached++
		s.mu.Unlock()
		return e.row, nil
	}
	s.mu.Unlock()
	r, err := read(ctx, s, func(ctx context.Context, db *sql.DB) (r row, err error) {
		var accepted int
		err = db.QueryRowContext(ctx, readKnown, k.network.String(), k.name).
			Scan(&r.first, &r.last, &r.days, &accepted)
		if errors.Is(err, sql.ErrNoRows) {
			return row{}, nil
		}
		r.accepted = accepted != 0
		return r, err
	})
	if err != nil {
		return row{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// A batch may have been written between the two looks into the queue.
	r = r.with(queued).with(s.queued(k))
	e, _ = s.senders.get(k)
	e.row, e.read = r, now
	s.senders.put(k, e)
	return r, nil
}

// queuedOrgs adds what is not in the database yet. It needs the lock.
func (s *shared) queuedOrgs(network netip.Prefix, list []orgDay) []orgDay {
	if s.flying != nil {
		list = mergeOrgs(list, s.flying.orgs[network])
	}
	return mergeOrgs(list, s.queue.orgs[network])
}

func mergeOrgs(list, n []orgDay) []orgDay {
	for _, o := range n {
		list, _ = addOrg(list, o)
	}
	return list
}

func (s *shared) neighbours(ctx context.Context, network netip.Prefix) ([]orgDay, error) {
	now := s.now()
	s.mu.Lock()
	e, _ := s.networks.get(network)
	queued := s.queuedOrgs(network, nil)
	if fresh(e.read, now, knownTTL) {
		defer s.mu.Unlock()
		s.count.Cached++
		return slices.Clone(e.orgs), nil
	}
	s.mu.Unlock()
	orgs, err := read(ctx, s, func(ctx context.Context, db *sql.DB) (orgs []orgDay, err error) {
		rows, err := db.QueryContext(ctx, readNeighbours, network.String())
		if err != nil {
			return nil, err
		}
		defer func() { _ = rows.Close() }() // Err has it
		for rows.Next() {
			var o orgDay
			if err := rows.Scan(&o.org, &o.last); err != nil {
				return nil, err
			}
			orgs = append(orgs, o)
		}
		return orgs, rows.Err()
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	orgs = s.queuedOrgs(network, mergeOrgs(orgs, queued))
	s.networks.put(network, networkEntry{orgs, now})
	return slices.Clone(orgs), nil
}

func (s *shared) waiting(ctx context.Context, k waitKeys, since int64) (tries, int, error) {
	s.mu.Lock()
	queued, kept := s.queue.waiting(k)
	if s.flying != nil {
		t, n := s.flying.waiting(k)
		queued, kept = t.with(queued), kept+n
	}
	s.mu.Unlock()
	type found struct {
		tries
		kept int
	}
	f, err := read(ctx, s, func(ctx context.Context, db *sql.DB) (f found, err error) {
		rows, err := db.QueryContext(ctx, readWaiting,
			k.network.scope, k.network.hash, k.org.scope, k.org.hash)
		if err != nil {
			return f, err
		}
		defer func() { _ = rows.Close() }() // Err has it
		for rows.Next() {
			var hash string
			var try int64
			if err = rows.Scan(&hash, &try); err != nil {
				return f, err
			}
			if hash == k.network.hash {
				f.network = try
			} else {
				f.org = try
			}
		}
		if err = rows.Err(); err != nil {
			return f, err
		}
		err = db.QueryRowContext(ctx, countWaiting, k.network.scope, since).Scan(&f.kept)
		return f, err
	})
	return f.with(queued), kept + f.kept, err
}

// see records a greeting. What is written already today costs one look into the cache.
func (s *shared) see(k greeting, org string, day int32, taken, accepted bool, now int64) {
	if s.queueGreeting(k, org, day, taken, accepted, now) {
		s.say(errJumped)
	}
}

func (s *shared) queueGreeting(
	k greeting, org string, day int32, taken, accepted bool, now int64,
) (jumped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	jumped = s.era.wrote(now)
	e, _ := s.senders.get(k)
	greet := org != "" && e.greeted != day
	touch := taken && (e.day != day || accepted && !e.acceptedWritten)
	if !greet && !touch {
		return jumped
	}
	l := limits{queueRows, queueNames, MaxWaiting}
	if greet && s.counted(s.queue.greet(k.network, orgDay{org, day}, l)) {
		e.greeted = day
		if n, ok := s.networks.get(k.network); ok {
			n.orgs, _ = addOrg(n.orgs, orgDay{org, day})
			s.networks.put(k.network, n)
		}
	}
	if touch {
		n := row{day, day, 1, accepted}
		if s.counted(s.queue.touch(k, n, l)) {
			e.day, e.acceptedWritten = day, e.acceptedWritten || accepted
			e.row = e.row.with(n)
		}
	}
	s.senders.put(k, e)
	return jumped
}

// counted counts a write that was not queued. It needs the lock.
func (s *shared) counted(err error) (queued bool) {
	switch {
	case errors.Is(err, ErrFull):
		s.count.Dropped++
	case err != nil:
		s.count.OverShare++
	}
	return err == nil
}

func (s *shared) wait(k waitKeys, first int64) error {
	s.mu.Lock()
	jumped := s.era.wrote(first)
	err := ErrFull
	if s.count.Waiting < s.opts.MaxRows {
		err = s.queue.wait(k, first, limits{queueRows, queueNames, MaxWaiting})
	}
	s.counted(err)
	s.mu.Unlock()
	if jumped {
		s.say(errJumped)
	}
	return err
}

type answer[T any] struct {
	value T
	err   error
}

// read runs f for at most 50 ms. A driver that does not come back keeps its goroutine and one of
// the slots, never a session.
func read[T any](
	ctx context.Context, s *shared, f func(context.Context, *sql.DB) (T, error),
) (T, error) {
	var a answer[T]
	db := s.db.Load()
	if db == nil || s.away.Load() {
		s.lookedUp(ErrAway)
		return a.value, ErrAway
	}
	limit, cancel := context.WithTimeout(ctx, s.readTime)
	select {
	case s.slots <- struct{}{}:
		done := make(chan answer[T], 1)
		go func() {
			defer func() { <-s.slots }()
			v, err := f(limit, db)
			done <- answer[T]{v, err}
		}()
		select {
		case a = <-done:
		case <-limit.Done():
			a.err = limit.Err()
		}
	case <-limit.Done():
		a.err = limit.Err()
	}
	cancel()
	s.lookedUp(a.err)
	if a.err != nil {
		if ctx.Err() == nil && s.failed.Add(1) >= maxFailures {
			s.away.Store(true)
			s.say(a.err)
		}
		return a.value, s.clean(a.err)
	}
	s.failed.Store(0)
	return a.value, nil
}

func (s *shared) lookedUp(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.count.Read++
	} else {
		s.count.Failed++
	}
}
