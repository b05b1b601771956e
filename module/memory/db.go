package memory

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"maps"
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
	reportEvery = 60                    // seconds between two reports
	maxFailures = 4                     // reads in a row; then it is away until a batch reaches it
	knownTTL    = 60
	strangerTTL = 5 // seconds; another server may have accepted a message meanwhile

	viewRows       = 1 << 16
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
	Cached, Read, Failed uint64 // lookups: from the cache, from the database, without answer
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
	tool     bool // it learns old mail, and waits longer
	readOnly bool
	readTime time.Duration // of one lookup

	db atomic.Pointer[sql.DB] // nil until the first connection

	mu        sync.Mutex
	key       []byte          // of the hashes; nil before the first connection
	queue     *Map            // what waits for the next batch
	view      *Map            // rows as far as this process knows them
	loaded    map[scope]int64 // its scopes, and the Unix times of reading all their rows; 0: never
	total     Counters
	failed    int   // reads in a row
	unwritten bool  // the last batch failed
	reported  int64 // Unix time of the last report

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
		registry.open[p] = d
	}
	d.users++
	registry.Unlock()
	if !ok {
		d.tick(startTime)
		go d.run()
	} else if opts.Report != nil { // the newest instance of a reload
		d.mu.Lock()
		d.opts.Report = opts.Report
		d.mu.Unlock()
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
		place: p, opts: opts, readTime: readTime, queue: NewMap(queueRows),
		view: NewMap(math.MaxInt), loaded: map[scope]int64{},
		writing: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
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
	c.Queued = d.queue.size
	c.Away = d.db.Load() == nil || d.unwritten || d.failed >= maxFailures
	return c
}

// Learner returns a Map of at most that many rows for mail of the past. Known senders and
// neighbours that are put into it go into the database too; what it answers does not come from
// there. So what is learnt depends on the mail alone, and learning it again changes nothing.
func (d *DB) Learner(most int) *Map {
	m := NewMap(most)
	m.db = d
	return m
}

func (d *DB) secret() []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.key
}

func (d *DB) get(ctx context.Context, k key, now int64) (row, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.load(ctx, k, now); err != nil {
		return row{}, err
	}
	return d.view.row(k).unlessOld(k.kind, d.queue.era.at(now)), nil
}

func (d *DB) list(ctx context.Context, s scope, now int64) ([]stored, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.load(ctx, key{scope: s}, now); err != nil {
		return nil, err
	}
	return withoutOld(slices.Clone(d.view.rows[s]), d.queue.era.at(now)), nil
}

// load reads the rows of the scope of a key into the view, unless they are there. It needs the
// lock, and frees it while it reads.
func (d *DB) load(ctx context.Context, k key, now int64) error {
	ttl := int64(strangerTTL)
	if d.view.row(k).accepted {
		ttl = knownTTL
	}
	if read, ok := d.loaded[k.scope]; ok && now >= read && now-read < ttl {
		d.total.Cached++
		return nil
	}
	queued := slices.Clone(d.queue.rows[k.scope]) // a batch may be written meanwhile
	found, err := d.read(ctx, k.scope)
	if err != nil {
		d.total.Failed++
		return d.clean(err)
	}
	d.total.Read++
	d.room()
	at := d.queue.era.at(now)
	d.view.set(k.scope, withoutOld(found, at))
	d.loaded[k.scope] = now
	for _, r := range append(queued, d.queue.rows[k.scope]...) {
		_ = d.view.merge(r.key, r.row, at) // past the share of the scope
	}
	return nil
}

// room drops random scopes from a full view. It needs the lock.
func (d *DB) room() {
	for s := range d.loaded {
		if max(d.view.size, len(d.loaded)) < viewRows {
			return
		}
		d.view.set(s, nil)
		delete(d.loaded, s)
	}
}

// put queues a row. What is written already today costs one look into the cache.
func (d *DB) put(k key, n row, now int64) error {
	d.mu.Lock()
	jumped := d.queue.era.wrote(now)
	err := d.enqueue(k, n, d.queue.era.at(now))
	switch {
	case errors.Is(err, ErrFull):
		d.total.Dropped++
	case err != nil:
		d.total.OverShare++
	}
	full := d.tool && d.queue.size > queueRows/2
	d.mu.Unlock()
	if jumped {
		d.say(errJumped)
	}
	if full { // a tool that learns has nobody else to write it; its last Flush has the error
		_ = d.Flush(context.Background())
	}
	return err
}

func (d *DB) enqueue(k key, n row, at int64) error {
	known := d.view.row(k)
	if known.with(k.kind, n) == known {
		return nil
	}
	if k.kind == waitingRow && d.total.Waiting >= d.opts.MaxRows {
		return ErrFull
	}
	if err := d.queue.merge(k, n, at); err != nil {
		return err
	}
	if _, ok := d.loaded[k.scope]; !ok {
		d.room()
		d.loaded[k.scope] = 0
	}
	if err := d.view.merge(k, n, at); k.kind == waitingRow { // its scope was read just now
		return err
	}
	return nil
}

// read reads a scope for at most 50 ms. It needs the lock, and frees it for that time.
func (d *DB) read(ctx context.Context, s scope) ([]stored, error) {
	db := d.db.Load()
	if db == nil || d.failed >= maxFailures {
		return nil, ErrAway
	}
	d.mu.Unlock()
	limit, cancel := context.WithTimeout(ctx, d.readTime)
	defer cancel()
	var rows []stored
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
	ticker := time.NewTicker(d.opts.Every)
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
		return d.clean(ctx.Err())
	}
	db, err := d.connect(ctx)
	for _, step := range steps {
		if err == nil {
			err = step(ctx, db)
		}
	}
	return d.clean(err)
}

// say reports an error, at most once a minute.
func (d *DB) say(err error) {
	now := d.opts.Clock().Unix()
	d.mu.Lock()
	report := d.opts.Report
	if err == nil || d.reported != 0 && now >= d.reported && now-d.reported < reportEvery {
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
	db, err := d.open(d.readOnly, d.tool)
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
	d.view, d.loaded = NewMap(math.MaxInt), map[scope]int64{}
	d.queue.era.sure = cmp.Or(d.queue.era.sure, m.newest)
	d.key = []byte(m.secret)
	d.db.Store(db)
	return db, nil
}

// Flush writes what is queued, now. Tools call it; in a server, a batch a second goes by itself.
func (d *DB) Flush(ctx context.Context) error {
	return d.take(ctx, d.flush)
}

func (d *DB) flush(ctx context.Context, db *sql.DB) error {
	d.mu.Lock()
	batch, e := make(map[key]row, d.queue.size), d.queue.era
	for _, list := range d.queue.rows {
		for _, r := range list {
			batch[r.key] = r.row
		}
	}
	d.mu.Unlock()

	m, err := d.write(ctx, db, batch, e)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unwritten = err != nil; err != nil {
		return err
	}
	for s, list := range d.queue.rows { // what has changed since stays
		d.queue.set(s, slices.DeleteFunc(list, func(r stored) bool { return r.row == batch[r.key] }))
	}
	d.failed = 0
	d.total.Written += uint64(len(batch))
	d.total.OverShare += m.over
	d.total.Counts = m.Counts
	return nil
}

// write writes a batch in one transaction. Without rows it asks whether the database answers.
func (d *DB) write(ctx context.Context, db *sql.DB, batch map[key]row, e era) (m meta, _ error) {
	if len(batch) == 0 {
		return m, m.read(ctx, db, readMeta)
	}
	at := e.at(d.opts.Clock().Unix())
	return change(ctx, db, func(tx *sql.Tx, m *meta) (err error) {
		m.newest = max(m.newest, e.sure)
		for keys := range slices.Chunk(slices.Collect(maps.Keys(batch)), mostKeys) {
			if err == nil {
				err = d.merge(ctx, tx, m, keys, batch, at)
			}
		}
		return err
	})
}

// expire looks for old rows in the next portion of the table, once a tick: of 10^7 rows each one is
// looked at every three hours. Strangers of earlier days make room in a full table.
func (d *DB) expire(ctx context.Context, db *sql.DB) error {
	d.mu.Lock()
	at, full := d.queue.era.at(d.opts.Clock().Unix()), d.total.Known >= d.opts.MaxRows
	d.mu.Unlock()
	rows, err := after(ctx, db, &d.swept)
	if err != nil {
		return err
	}
	n, err := d.remove(ctx, db, slices.DeleteFunc(rows, func(r stored) bool {
		inTheWay := full && r.kind == knownRow && !r.accepted && r.days < seenDays && r.last < dayOf(at)
		return r.unlessOld(r.kind, at) != row{} && !inTheWay
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
func after(ctx context.Context, db *sql.DB, k *key) ([]stored, error) {
	rows, err := query(ctx, db, readPortion, k.String(), k.kind, k.name)
	*k = key{}
	if len(rows) == portionRows {
		*k = rows[portionRows-1].key
	}
	return rows, err
}
