package memory

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
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
	maxFailures = 4 // reads in a row; then the store counts as away until a batch reaches it
	knownTTL    = 60
	strangerTTL = 5 // seconds; another server may have accepted a message meanwhile

	cacheRows      = 1 << 16
	queueRows      = 1 << 16
	defaultMaxRows = 2_000_000
)

var errJumped = errors.New("memory: the clock is more than two days ahead of the newest entry;" +
	" nothing expires until entries have been written for an hour")

// Options of Open. The zero value is usable.
type Options struct {
	// MaxRows bounds the rows of each kind; 0 is 2,000,000. A full store takes no new row;
	// strangers of earlier days make room.
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
	Counts                      // rows, as of the last batch
	Cached, Read, Failed uint64 // look-ups: from the cache, from the database, without answer
	Written              uint64 // rows
	Dropped              uint64 // writes that found the queue or the table full
	OverShare            uint64 // writes of a network past its share
	Expired              uint64 // rows
	Queued               int    // rows that wait for the next batch
	Away                 bool   // the last read or write did not work
}

// DB is a Store in a database. It is safe for concurrent use.
type DB struct {
	place
	opts     Options
	readOnly bool
	readTime time.Duration // of one look-up
	lockTime time.Duration // that a statement of SQLite waits for another process

	db     atomic.Pointer[sql.DB] // nil until the first connection
	key    atomic.Pointer[[]byte]
	away   atomic.Bool // reads do not work
	failed atomic.Int32

	mu            sync.Mutex
	cache         recent[key, cached]
	queue, flying *rows // what waits for the next batch, and what is being written
	era           era
	count         Counters
	unwritten     bool  // the last batch failed
	reported      int64 // Unix time of the last report

	writing sync.Mutex  // one batch at a time; it guards what follows
	file    os.FileInfo // what is open, for SQLite
	swept   [3]any      // scope, kind and name up to which old rows were looked for

	users             int           // the registry's lock guards it
	ready, stop, done chan struct{} // nil for a tool; ready is closed after the first attempt
}

// cached is a row, as far as this process knows it.
type cached struct {
	row
	read int64 // Unix time of reading it; 0: never
}

var registry = struct {
	sync.Mutex
	open map[place]*DB
}{open: map[place]*DB{}}

// Open returns the store at a place: the path of a file for "sqlite3", a DSN for "postgres". The
// error is ErrNoDriver, or names an unknown database. Everything else that can be wrong with a
// database goes to Options.Report: the store is away then and tries again every second. A store
// that is open already keeps its options, except Report. Each Open wants a Close.
func Open(driver, dsn string, opts Options) (*DB, error) {
	p, err := newPlace(driver, dsn, sql.Drivers())
	if err != nil {
		return nil, err
	}
	registry.Lock()
	d, ok := registry.open[p]
	if !ok {
		d = newDB(p, opts)
		d.ready, d.stop, d.done = make(chan struct{}), make(chan struct{}), make(chan struct{})
		registry.open[p] = d
		go d.run()
	}
	d.users++
	registry.Unlock()
	if opts.Report != nil { // the newest instance of a reload
		d.mu.Lock()
		d.opts.Report = opts.Report
		d.mu.Unlock()
	}
	select {
	case <-d.ready:
	case <-time.After(startTime):
	}
	return d, nil
}

func newDB(p place, opts Options) *DB {
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	opts.Every = cmp.Or(opts.Every, time.Second)
	opts.MaxRows = cmp.Or(opts.MaxRows, defaultMaxRows)
	return &DB{
		place: p, opts: opts, readTime: readTime, lockTime: lockTime,
		cache: newRecent[key, cached](cacheRows), queue: newRows(queueRows), flying: newRows(0),
		swept: [3]any{"", 0, ""},
	}
}

// Close gives the store back. The last one writes what is queued, for at most 3 seconds.
func (d *DB) Close() error {
	registry.Lock()
	d.users--
	last := d.users == 0
	if last && registry.open[d.place] == d {
		delete(registry.open, d.place)
	}
	registry.Unlock()
	switch {
	case !last:
	case d.stop == nil:
		if !d.readOnly {
			d.tick(closeTime)
		}
		d.shut()
	default:
		close(d.stop)
		select {
		case <-d.done:
		case <-time.After(closeTime): // the driver is stuck in a dead connection
		}
	}
	return nil
}

// Place names the file, or PostgreSQL.
func (d *DB) Place() string { return d.String() }

// Counters returns the figures for metrics.
func (d *DB) Counters() Counters {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.count
	c.Queued = len(d.queue.all) + len(d.flying.all)
	c.Away = d.away.Load() || d.db.Load() == nil || d.unwritten
	return c
}

func (d *DB) now() int64 { return d.opts.Clock().Unix() }

func (d *DB) secret() []byte {
	if key := d.key.Load(); key != nil {
		return *key
	}
	return nil
}

func (d *DB) expiryTime(now int64) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.era.at(now)
}

// queued returns what is not in the database yet. It needs the lock.
func (d *DB) queued(k key) row { return d.flying.all[k].with(k.kind, d.queue.all[k]) }

func (d *DB) known(ctx context.Context, k key) (row, error) {
	now := d.now()
	d.mu.Lock()
	e, _ := d.cache.get(k)
	ttl := int64(strangerTTL)
	if e.accepted {
		ttl = knownTTL
	}
	if e.read != 0 && now >= e.read && now-e.read < ttl {
		d.count.Cached++
		d.mu.Unlock()
		return e.row, nil
	}
	queued := d.queued(k)
	d.mu.Unlock()
	r, err := read(ctx, d, func(ctx context.Context, db *sql.DB) (r row, err error) {
		err = db.QueryRowContext(ctx, readKnown, k.String(), k.name).
			Scan(&r.first, &r.last, &r.days, &r.accepted)
		if errors.Is(err, sql.ErrNoRows) {
			return row{}, nil
		}
		return r, err
	})
	if err != nil {
		return row{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	// A batch may have been written between the two looks into the queue.
	r = r.with(k.kind, queued).with(k.kind, d.queued(k))
	d.cache.put(k, cached{r, now})
	return r, nil
}

func (d *DB) neighbours(ctx context.Context, s scope, since int64) (map[string]row, error) {
	queued := map[string]row{}
	d.mu.Lock()
	d.flying.overlay(s, queued)
	d.queue.overlay(s, queued)
	d.mu.Unlock()
	list, err := read(ctx, d, func(ctx context.Context, db *sql.DB) (map[string]row, error) {
		rows, err := db.QueryContext(ctx, readNeighbours, s.String(), since)
		if err != nil {
			return nil, err
		}
		list := map[string]row{}
		for name, last := "", int64(0); rows.Next(); {
			err = errors.Join(err, rows.Scan(&name, &last))
			list[name] = row{last: last}
		}
		return list, errors.Join(err, rows.Err(), rows.Close())
	})
	if err != nil {
		return nil, err
	}
	for name, r := range queued {
		if old, ok := list[name]; ok || len(list) < MaxNeighbours {
			list[name] = old.with(s.kind, r)
		}
	}
	return list, nil
}

func (d *DB) waiting(ctx context.Context, own, org key, since int64) (tries, error) {
	d.mu.Lock()
	queued := tries{
		d.queued(own).last, d.queued(org).last,
		len(d.flying.names[own.scope]) + len(d.queue.names[own.scope]),
	}
	d.mu.Unlock()
	t, err := read(ctx, d, func(ctx context.Context, db *sql.DB) (t tries, err error) {
		err = db.QueryRowContext(ctx, readWaiting, own.String(), own.name, org.String(), org.name,
			since).Scan(&t.own, &t.org, &t.kept)
		return t, err
	})
	return tries{cmp.Or(queued.own, t.own), cmp.Or(queued.org, t.org), queued.kept + t.kept}, err
}

// put queues a row. What is written already today costs one look into the cache.
func (d *DB) put(k key, n row, now int64) error {
	d.mu.Lock()
	jumped := d.era.wrote(now)
	err := d.enqueue(k, n)
	switch {
	case errors.Is(err, ErrFull):
		d.count.Dropped++
	case err != nil:
		d.count.OverShare++
	}
	full := d.stop == nil && len(d.queue.all) > queueRows/2
	d.mu.Unlock()
	if jumped {
		d.say(errJumped)
	}
	if full { // a tool that learns has nobody else to write it; its last Flush has the error
		_ = d.Flush(context.Background())
	}
	return err
}

func (d *DB) enqueue(k key, n row) error {
	if k.kind == waitingRow {
		if d.count.Waiting >= d.opts.MaxRows {
			return ErrFull
		}
		return d.queue.put(k, n)
	}
	e, _ := d.cache.get(k)
	merged := e.with(k.kind, n)
	if merged == e.row {
		return nil
	}
	if err := d.queue.put(k, n); err != nil {
		return err
	}
	d.cache.put(k, cached{merged, e.read})
	return nil
}

// read runs f for at most 50 ms. A driver that does not come back keeps its goroutine and one of
// the connections, never a session.
func read[T any](
	ctx context.Context, d *DB, f func(context.Context, *sql.DB) (T, error),
) (T, error) {
	type answer struct {
		value T
		err   error
	}
	a := answer{err: ErrAway}
	if db := d.db.Load(); db != nil && !d.away.Load() {
		limit, cancel := context.WithTimeout(ctx, d.readTime)
		done := make(chan answer, 1)
		go func() {
			v, err := f(limit, db)
			done <- answer{v, err}
		}()
		select {
		case a = <-done:
		case <-limit.Done():
			a.err = limit.Err()
		}
		cancel()
		switch {
		case a.err == nil:
			d.failed.Store(0)
		case ctx.Err() == nil && d.failed.Add(1) >= maxFailures:
			d.away.Store(true)
			d.say(a.err)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.err != nil {
		d.count.Failed++
		return a.value, d.clean(a.err)
	}
	d.count.Read++
	return a.value, nil
}

// run writes a batch a second until the last Close.
func (d *DB) run() {
	defer close(d.done)
	ticker := time.NewTicker(d.opts.Every)
	defer ticker.Stop()
	d.tick(writeTime)
	close(d.ready)
	for {
		select {
		case <-ticker.C:
			d.tick(writeTime)
		case <-d.stop:
			d.tick(closeTime)
			d.shut()
			return
		}
	}
}

func (d *DB) tick(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := d.Flush(ctx)
	if err == nil {
		err = d.expire(ctx)
	}
	if err != nil {
		d.say(err)
	}
}

// say reports an error, at most once a minute.
func (d *DB) say(err error) {
	now := d.now()
	d.mu.Lock()
	report := d.opts.Report
	if d.reported != 0 && now >= d.reported && now-d.reported < reportEvery {
		report = nil
	} else {
		d.reported = now
	}
	d.mu.Unlock()
	if report != nil {
		report(d.clean(err))
	}
}

func (d *DB) shut() {
	if db := d.db.Swap(nil); db != nil {
		_ = db.Close() // all is written, or nothing can be
	}
}

// connect returns the open database, or opens it: for the first time, after a failure, or when
// another file has taken its place.
func (d *DB) connect(ctx context.Context) (*sql.DB, error) {
	if db := d.db.Load(); db != nil {
		var version int
		gone := d.replaced(d.file)
		if !gone && (!d.away.Load() || db.QueryRowContext(ctx, readVersion).Scan(&version) == nil) {
			d.failed.Store(0)
			d.away.Store(false)
			return db, nil
		}
		d.shut()
		if gone { // what was kept there is forgotten
			d.mu.Lock()
			d.cache = newRecent[key, cached](cacheRows)
			d.mu.Unlock()
		}
	}
	if !d.readOnly {
		file, err := d.prepare()
		if err != nil {
			return nil, err
		}
		d.file = file
	}
	db, err := d.open(d.readOnly, d.lockTime)
	if err != nil {
		return nil, err
	}
	m, err := meta{}, d.upgrade(ctx, db)
	if err == nil {
		m, err = readMeta(ctx, db)
	}
	if err != nil {
		_ = db.Close() // the first error tells
		return nil, err
	}
	d.mu.Lock()
	d.era.sure = cmp.Or(d.era.sure, m.newest)
	d.mu.Unlock()
	d.key.Store(&m.key)
	d.db.Store(db)
	d.failed.Store(0)
	d.away.Store(false)
	return db, nil
}

// Flush writes what is queued, now. Tools call it; in a server, a batch a second goes by itself.
func (d *DB) Flush(ctx context.Context) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	db, err := d.connect(ctx)
	if err != nil {
		d.away.Store(true)
		return d.clean(err)
	}
	d.mu.Lock()
	batch, clock := d.queue, d.era
	d.flying, d.queue = batch, newRows(queueRows)
	d.mu.Unlock()

	m, err := readMeta(ctx, db)
	var over uint64
	if err == nil && len(batch.all) != 0 {
		err = transact(ctx, db, func(tx *sql.Tx) (err error) {
			over, err = d.write(ctx, tx, batch, &m.counts, clock)
			return err
		})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.flying, d.unwritten = newRows(0), err != nil
	if err != nil {
		for k, r := range d.queue.all {
			if batch.put(k, r) != nil {
				d.count.Dropped++
			}
		}
		d.queue = batch
		return d.clean(err)
	}
	d.count.Written += uint64(len(batch.all))
	d.count.OverShare += over
	d.count.Counts = m.counts
	return nil
}

// write writes a batch in the order of keys, so that two servers never wait for each other. It adds
// new rows to the counts and returns how many rows the table did not take.
func (d *DB) write(
	ctx context.Context, tx *sql.Tx, batch *rows, counts *Counts, clock era,
) (over uint64, err error) {
	update, err := tx.PrepareContext(ctx, d.dialect(updateRow)) //nolint:gosec // a constant
	if err != nil {
		return 0, err
	}
	insert, err := tx.PrepareContext(ctx, d.dialect(insertRow)) //nolint:gosec // a constant
	if err != nil {
		return 0, err
	}
	keys := slices.SortedFunc(maps.Keys(batch.all), func(a, b key) int {
		return cmp.Or(strings.Compare(a.String(), b.String()), cmp.Compare(a.kind, b.kind),
			strings.Compare(a.name, b.name))
	})
	var added Counts
	at := clock.at(d.now())
	for _, k := range keys {
		r := batch.all[k]
		accepted, share := 0, kinds[k.kind].share
		if r.accepted {
			accepted, share = 1, 2*share
		}
		if *counts.of(k.kind) >= d.opts.MaxRows {
			share = 0
		}
		args := []any{int(k.kind), k.String(), k.name, r.first, r.last, r.days, accepted}
		n, err := affected(update.ExecContext(ctx, args...))
		if err == nil && n == 0 {
			n, err = affected(insert.ExecContext(ctx, append(args, share, k.kind.oldest(at))...))
			*added.of(k.kind) += n
		}
		if err == nil && n == 0 && d.kind == postgres { // another server may just have added it
			n, err = affected(update.ExecContext(ctx, args...))
		}
		if err != nil {
			return 0, err
		}
		over += uint64(1 - n) //nolint:gosec // n is 0 or 1
	}
	always := 1
	if d.stop == nil { // a tool learns old mail, too
		always = 0
	}
	if _, err := tx.ExecContext(ctx, setNewest, clock.sure, always); err != nil {
		return 0, err
	}
	for k := knownRow; k <= waitingRow; k++ {
		*counts.of(k) += *added.of(k)
	}
	return over, added.store(ctx, tx)
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// expire looks for old rows in the next portion of the table, once a tick: of 10^7 rows each one is
// looked at every three hours. Strangers of earlier days make room in a full table.
func (d *DB) expire(ctx context.Context) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	db := d.db.Load()
	if db == nil {
		return nil
	}
	d.mu.Lock()
	at, full := d.era.at(d.now()), d.count.Known >= d.opts.MaxRows
	d.mu.Unlock()
	strangers := knownRow.oldest(at)
	if full {
		strangers = dayOf(at)
	}
	statement, args := removeOld, append(slices.Clip(d.swept[:]),
		knownRow.oldest(at), neighbourRow.oldest(at), waitingRow.oldest(at), strangers)
	var scope, name string
	var k kind
	//nolint:gosec // a constant
	err := db.QueryRowContext(ctx, d.dialect(endOfPortion), d.swept[:]...).Scan(&scope, &k, &name)
	d.swept = [3]any{scope, int(k), name} // after the last portion empty: the beginning
	switch {
	case err == nil:
		statement, args = statement+toEndOfPortion, append(args, d.swept[:]...)
	case !errors.Is(err, sql.ErrNoRows):
		return d.clean(err)
	}
	n, err := d.remove(ctx, db, statement, args...)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count.Expired += uint64(n) //nolint:gosec // a number of rows
	return d.clean(err)
}

// remove deletes rows by a statement and returns how many there were.
func (d *DB) remove(ctx context.Context, db *sql.DB, statement string, args ...any) (int64, error) {
	var n int64
	err := transact(ctx, db, func(tx *sql.Tx) error {
		//nolint:gosec // constants of this package
		rows, err := tx.QueryContext(ctx, d.dialect(statement+" RETURNING kind"), args...)
		if err != nil {
			return err
		}
		var gone Counts
		for k := knownRow; rows.Next(); n++ {
			err = errors.Join(err, rows.Scan(&k))
			*gone.of(k)--
		}
		if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return err
		}
		return gone.store(ctx, tx)
	})
	if err != nil {
		n = 0
	}
	return n, err
}
