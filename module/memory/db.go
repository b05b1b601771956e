package memory

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"math"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readTime    = 50 * time.Millisecond // limit of one lookup, for which a session waits
	writeTime   = 10 * time.Second      // limit of one batch of writes
	startTime   = 2 * time.Second       // limit of the first connection, in Open
	closeTime   = 3 * time.Second       // limit of the last batch, in the last Close
	maxFailures = 4                     // failed reads in a row; then no reads until a batch works
	cachedFor   = 5                     // seconds; then rows are read again: others may write too

	viewRows       = 1 << 16
	queueRows      = 1 << 16
	defaultMaxRows = 2_000_000
)

var errJumped = errors.New("memory: the clock is more than two days ahead of the newest entry;" +
	" nothing expires until entries have been written for an hour")

// Counters are totals since the store was opened, and its current state.
type Counters struct {
	Counts                      // rows, as of the last batch
	Cached, Read, Failed uint64 // lookups: from the cache, from the database, without answer
	Written              uint64 // rows
	Dropped              uint64 // writes rejected because the queue or the table was full
	OverShare            uint64 // writes rejected because a network's share was used up
	Expired              uint64 // rows
	Away                 bool   // no connection: the last batch or the last reads failed
}

// DB is a Store in a database. It is safe for concurrent use.
type DB struct {
	place
	readOnly bool
	readTime time.Duration // of one lookup
	every    time.Duration // from one batch of writes to the next
	maxRows  int64         // limit of each kind; expire makes room in a full table
	clock    func() time.Time

	db atomic.Pointer[sql.DB] // nil until the first connection

	mu        sync.Mutex
	report    func(error)     // called with each error of the store; may be nil
	key       []byte          // HMAC key; nil before the first connection
	queue     *Map            // rows for the next batch
	view      *Map            // cache of the table, with the rows of queue
	loaded    map[scope]int64 // scopes of view, and the Unix time of their last full read; 0: never
	total     Counters
	failed    int  // failed reads in a row
	unwritten bool // the last batch failed

	writing chan struct{} // full while a batch is written; guards file and swept
	file    os.FileInfo   // the open file, for SQLite
	swept   key           // expire continues after this key; empty: at the first row

	users      int // guarded by the registry's lock
	stop, done chan struct{}
}

var registry = struct {
	sync.Mutex
	open map[place]*DB
}{open: map[place]*DB{}}

// Open returns the store at a place: the path of a file for "sqlite3", a DSN for "postgres". The
// error is ErrNoDriver, or names an unknown database. Each other fault of the database is passed to
// report, and the store tries again every second. If the place is open already, Open returns the
// same store and replaces its report. Each Open needs a Close.
func Open(driver, dsn string, report func(error)) (*DB, error) {
	p, err := newPlace(driver, dsn, sql.Drivers())
	if err != nil {
		return nil, err
	}
	d := newDB(p)
	d.report = report
	return d.join(), nil
}

func newDB(p place) *DB {
	return &DB{
		place: p, readTime: readTime, every: time.Second, maxRows: defaultMaxRows, clock: time.Now,
		queue: NewMap(&Room{Most: queueRows}), view: NewMap(&Room{Most: math.MaxInt}),
		loaded:  map[scope]int64{},
		writing: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// join returns the store that is open at d's place. If there is none, it opens and returns d.
func (d *DB) join() *DB {
	registry.Lock()
	open, ok := registry.open[d.place]
	if !ok {
		open, registry.open[d.place] = d, d
	}
	open.users++
	registry.Unlock()
	if !ok {
		d.tick(startTime)
		go d.run()
		return d
	}
	open.mu.Lock()
	defer open.mu.Unlock()
	open.report = d.report // after a reload the newest instance gets the errors
	return open
}

// Close releases the store. The last Close writes the queued rows, for at most 3 seconds.
func (d *DB) Close() error {
	registry.Lock()
	d.users--
	last := d.users == 0
	if last && registry.open[d.place] == d {
		delete(registry.open, d.place)
	}
	registry.Unlock()
	if last {
		close(d.stop)
		select {
		case <-d.done:
		case <-time.After(closeTime + time.Second): // the driver is stuck
		}
	}
	return nil
}

// Counters returns the figures for metrics.
func (d *DB) Counters() Counters {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.total
	c.Away = d.db.Load() == nil || d.unwritten || d.failed >= maxFailures
	return c
}

func (d *DB) secret() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.key
}

// list returns the rows of a scope from the view. If the last full read is older than cachedFor,
// it reads them from the database first.
func (d *DB) list(ctx context.Context, s scope, now int64) (rows []row, at int64, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	at = d.queue.era.at(now)
	if read, ok := d.loaded[s]; ok && now >= read && now-read < cachedFor {
		d.total.Cached++
		return d.view.rows[s], at, nil
	}
	queued := d.queue.rows[s] // a batch may be written meanwhile
	found, err := d.read(ctx, s)
	if err != nil {
		d.total.Failed++
		return nil, at, d.clean(err)
	}
	d.total.Read++
	d.makeRoom()
	d.view.set(s, withoutOld(found, at))
	d.loaded[s] = now
	for _, r := range slices.Concat(queued, d.queue.rows[s]) {
		_ = d.view.merge(r, at) // fails if the scope's share is used up
	}
	return d.view.rows[s], at, nil
}

// makeRoom drops random scopes from a full view. The caller holds mu.
func (d *DB) makeRoom() {
	for s := range d.loaded {
		if max(d.view.room.Rows, len(d.loaded)) < viewRows {
			return
		}
		d.view.set(s, nil)
		delete(d.loaded, s)
	}
}

// put queues a row. For a row that changes nothing it only searches the view.
func (d *DB) put(n row, now int64) error {
	d.mu.Lock()
	jumped := d.queue.era.wrote(now)
	err := d.enqueue(n, d.queue.era.at(now))
	switch {
	case errors.Is(err, errFull):
		d.total.Dropped++
	case err != nil:
		d.total.OverShare++
	}
	d.mu.Unlock()
	if jumped {
		d.say(errJumped)
	}
	return err
}

func (d *DB) enqueue(n row, at int64) error {
	if known := find(d.view.rows[n.scope], n.key); known.with(n, at) == known {
		return nil
	}
	if n.kind == KindWaiting && d.total.Waiting >= d.maxRows {
		return errFull
	}
	if err := d.queue.merge(n, at); err != nil {
		return err
	}
	if _, ok := d.loaded[n.scope]; !ok {
		d.makeRoom()
		d.loaded[n.scope] = 0
	}
	if err := d.view.merge(n, at); n.kind == KindWaiting { // the view has all its rows
		return err
	}
	return nil
}

// read reads a scope for at most readTime. The caller holds mu; read unlocks it meanwhile.
func (d *DB) read(ctx context.Context, s scope) ([]row, error) {
	db := d.db.Load()
	if db == nil || d.failed >= maxFailures {
		return nil, errAway
	}
	d.mu.Unlock()
	limit, cancel := context.WithTimeout(ctx, d.readTime)
	defer cancel()
	var rows []row
	err := within(limit, func() (err error) {
		rows, err = query(limit, db, readScope, s.String())
		return err
	})
	d.mu.Lock()
	switch {
	case err == nil:
		d.failed = 0
		return rows, nil
	case ctx.Err() == nil:
		d.failed++
	}
	return nil, err
}

// within returns the result of f, or the context's error if ctx ends first. A driver that hangs
// blocks its own goroutine and connection, but no session and not the end of the server.
func within(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes a batch a second until the last Close.
func (d *DB) run() {
	defer close(d.done)
	ticker := time.NewTicker(d.every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.tick(writeTime)
		case <-d.stop:
			if !d.readOnly {
				d.tick(closeTime)
			}
			d.shut()
			return
		}
	}
}

func (d *DB) tick(limit time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	d.say(within(ctx, func() error { return d.take(ctx, d.flush, d.expire, d.checkpoint) }))
}

// take connects to the database and runs steps until one fails. Other calls of take wait.
func (d *DB) take(ctx context.Context, steps ...func(context.Context, *sql.DB) error) error {
	select {
	case d.writing <- struct{}{}:
		defer func() { <-d.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	db, err := d.connect(ctx)
	for _, step := range steps {
		if err == nil {
			err = step(ctx, db)
		}
	}
	return err
}

// say passes an error to report; nil is no error.
func (d *DB) say(err error) {
	d.mu.Lock()
	report := d.report
	d.mu.Unlock()
	if err != nil && report != nil {
		report(d.clean(err))
	}
}

func (d *DB) shut() {
	if db := d.db.Swap(nil); db != nil {
		_ = db.Close() // no row can be written any more
	}
}

// connect returns the open database. If there is none, or another file has replaced it, connect
// opens the database and clears the view.
func (d *DB) connect(ctx context.Context) (*sql.DB, error) {
	if db := d.db.Load(); db != nil && !d.replaced(d.file) {
		return db, nil
	}
	d.shut()
	if !d.readOnly {
		file, err := d.prepare()
		if err != nil {
			return nil, err
		}
		d.file = file
	}
	db, err := d.open(d.readOnly)
	if err != nil {
		return nil, err
	}
	var m meta
	if err = d.upgrade(ctx, db); err == nil {
		err = m.read(ctx, db, readMeta)
	}
	if err != nil {
		_ = db.Close() // the first error is returned
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.view, d.loaded = NewMap(&Room{Most: math.MaxInt}), map[scope]int64{}
	d.queue.era.sure = cmp.Or(d.queue.era.sure, m.newest)
	d.key = []byte(m.secret)
	d.db.Store(db)
	return db, nil
}

// Flush writes the queued rows now. It is for tools: a server writes them once a second.
func (d *DB) Flush(ctx context.Context) error {
	return d.clean(d.take(ctx, d.flush))
}

func (d *DB) flush(ctx context.Context, db *sql.DB) error {
	d.mu.Lock()
	batch, e := d.queue.all(), d.queue.era
	d.mu.Unlock()
	m, err := d.write(ctx, db, batch, e)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unwritten = err != nil; err != nil {
		return err
	}
	written := make(map[row]bool, len(batch))
	for _, r := range batch {
		written[r] = true
	}
	for s, list := range d.queue.rows { // keep rows that have changed since
		list = slices.Clone(list)
		d.queue.set(s, slices.DeleteFunc(list, func(r row) bool { return written[r] }))
	}
	d.failed = 0
	d.total.Written += uint64(len(batch))
	d.total.OverShare += m.over
	d.total.Counts = m.Counts
	return nil
}

// write writes rows in one transaction. Without rows it only tests that the database answers.
func (d *DB) write(ctx context.Context, db *sql.DB, rows []row, e era) (m meta, _ error) {
	if len(rows) == 0 {
		return m, m.read(ctx, db, readMeta)
	}
	at := e.at(d.clock().Unix())
	return change(ctx, db, func(tx *sql.Tx, m *meta) error {
		m.newest = max(m.newest, e.sure)
		for some := range slices.Chunk(rows, mergedRows) {
			if err := d.merge(ctx, tx, m, some, at); err != nil {
				return err
			}
		}
		return nil
	})
}

// expire deletes old rows from the next portion of the table: 10^7 rows take three hours. If the
// table is full, it also deletes unaccepted senders of earlier days with fewer than seenDays days.
func (d *DB) expire(ctx context.Context, db *sql.DB) error {
	d.mu.Lock()
	at, full := d.queue.era.at(d.clock().Unix()), d.total.Known >= d.maxRows
	d.mu.Unlock()
	rows, err := after(ctx, db, &d.swept)
	if err != nil {
		return err
	}
	n, err := d.remove(ctx, db, slices.DeleteFunc(rows, func(r row) bool {
		inTheWay := full && r.kind == KindKnown && !r.accepted && r.days < seenDays && r.last < dayOf(at)
		return !r.old(at) && !inTheWay
	}))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.total.Expired += uint64(n) //nolint:gosec // a number of rows
	return err
}

// checkpoint copies the write-ahead log of SQLite into the database file, while no batch waits for
// it.
func (d *DB) checkpoint(ctx context.Context, db *sql.DB) (err error) {
	if d.kind == sqlite {
		_, err = db.ExecContext(ctx, "PRAGMA wal_checkpoint")
	}
	return err
}

// after returns the next portion of rows after k, and sets k to the last of them. After the last
// portion it sets k to the empty key, which is before the first row.
func after(ctx context.Context, db *sql.DB, k *key) ([]row, error) {
	rows, err := query(ctx, db, readPortion, k.String(), k.kind, k.name)
	*k = key{}
	if len(rows) == portionRows {
		*k = rows[portionRows-1].key
	}
	return rows, err
}
