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
	readTime    = 50 * time.Millisecond // of one lookup, within the session's own time
	writeTime   = 10 * time.Second      // of one batch
	startTime   = 2 * time.Second       // that Open takes for the first connection
	closeTime   = 3 * time.Second       // of the last batch, for which the last Close waits
	maxFailures = 4                     // reads in a row; then it is away until a batch reaches it
	cachedFor   = 5                     // seconds; another server may accept a message meanwhile

	viewRows       = 1 << 16
	queueRows      = 1 << 16
	defaultMaxRows = 2_000_000
)

var errJumped = errors.New("memory: the clock is more than two days ahead of the newest entry;" +
	" nothing expires until entries have been written for an hour")

// Counters are totals since the store was opened, and its state.
type Counters struct {
	Counts                      // rows, as of the last batch
	Cached, Read, Failed uint64 // lookups: from the cache, from the database, without answer
	Written              uint64 // rows
	Dropped              uint64 // writes that found the queue or the table full
	OverShare            uint64 // writes of a network past its share
	Expired              uint64 // rows
	Away                 bool   // the last read or write did not work
}

// DB is a Store in a database. It is safe for concurrent use.
type DB struct {
	place
	readOnly bool
	readTime time.Duration // of one lookup
	every    time.Duration // from one batch of writes to the next
	maxRows  int64         // of each kind; strangers of earlier days make room for new rows
	clock    func() time.Time

	db atomic.Pointer[sql.DB] // nil until the first connection

	mu        sync.Mutex
	report    func(error)     // nil, or gets what keeps the store from working
	key       []byte          // of the hashes; nil before the first connection
	queue     *Map            // what waits for the next batch
	view      *Map            // rows as far as this process knows them
	loaded    map[scope]int64 // its scopes, and the Unix times of reading all their rows; 0: never
	total     Counters
	failed    int  // reads in a row
	unwritten bool // the last batch failed

	writing chan struct{} // full while a batch is written; it guards what follows
	file    os.FileInfo   // what is open, for SQLite
	swept   key           // up to which old rows were looked for; empty: the beginning

	users      int // the registry's lock guards it
	stop, done chan struct{}
}

var registry = struct {
	sync.Mutex
	open map[place]*DB
}{open: map[place]*DB{}}

// Open returns the store at a place: the path of a file for "sqlite3", a DSN for "postgres". The
// error is ErrNoDriver, or names an unknown database. Everything else that can be wrong with a
// database goes to report, each time: the store is away then and tries again every second. A store
// that is open already gets this report in place of its own. Each Open wants a Close.
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

// join returns the store that is open at d's place, or opens d.
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
	open.report = d.report // of the newest instance of a reload
	return open
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

// list returns the rows of a scope as the view has them. It reads them from the database before,
// unless that was done just now.
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
		_ = d.view.merge(r, at) // past the share of the scope
	}
	return d.view.rows[s], at, nil
}

// makeRoom drops random scopes from a full view. It needs the lock.
func (d *DB) makeRoom() {
	for s := range d.loaded {
		if max(d.view.room.Rows, len(d.loaded)) < viewRows {
			return
		}
		d.view.set(s, nil)
		delete(d.loaded, s)
	}
}

// put queues a row. What is written already today costs one look into the cache.
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
	if err := d.view.merge(n, at); n.kind == KindWaiting { // its scope was read just now
		return err
	}
	return nil
}

// read reads a scope for at most 50 ms. It needs the lock, and frees it for that time.
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

// within returns what f returns, or an error when the context ends before. A driver that does not
// come back keeps its goroutine and its connection, never a session or the end of the server.
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

// take connects to the database and takes some steps there, while nobody else does.
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

// say reports an error.
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
		_ = db.Close() // all is written, or nothing can be
	}
}

// connect returns the open database, or opens it: for the first time, or when another file has
// taken its place. What was kept there is forgotten then.
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
		_ = db.Close() // the first error tells
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

// Flush writes what is queued, now. Tools call it; in a server, a batch a second goes by itself.
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
	for s, list := range d.queue.rows { // what has changed since stays
		list = slices.Clone(list)
		d.queue.set(s, slices.DeleteFunc(list, func(r row) bool { return written[r] }))
	}
	d.failed = 0
	d.total.Written += uint64(len(batch))
	d.total.OverShare += m.over
	d.total.Counts = m.Counts
	return nil
}

// write writes rows in one transaction. Without rows it asks whether the database answers.
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

// expire looks for old rows in the next portion of the table, once a tick: of 10^7 rows each one is
// looked at every three hours. Strangers of earlier days make room in a full table.
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

// checkpoint moves what was written from the journal of SQLite into its file, while no batch waits
// for it.
func (d *DB) checkpoint(ctx context.Context, db *sql.DB) (err error) {
	if d.kind == sqlite {
		_, err = db.ExecContext(ctx, "PRAGMA wal_checkpoint")
	}
	return err
}

// after returns the portion of the table behind a key, and moves the key to its end. Behind the
// last portion it is empty: the beginning.
func after(ctx context.Context, db *sql.DB, k *key) ([]row, error) {
	rows, err := query(ctx, db, readPortion, k.String(), k.kind, k.name)
	*k = key{}
	if len(rows) == portionRows {
		*k = rows[portionRows-1].key
	}
	return rows, err
}
