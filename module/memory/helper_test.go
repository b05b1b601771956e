package memory

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/lab/pgtest"
	"maddy.example/checkhelo/module/heloname"
)

// start is the time at which the fake clocks begin: noon of a day.
var start = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// fakeClock stands still until it is moved.
type fakeClock struct{ unix atomic.Int64 }

func newClock() *fakeClock {
	c := &fakeClock{}
	c.unix.Store(start.Unix())
	return c
}

func (c *fakeClock) now() time.Time       { return time.Unix(c.unix.Load(), 0) }
func (c *fakeClock) move(d time.Duration) { c.unix.Add(int64(d / time.Second)) }
func (c *fakeClock) set(t time.Time)      { c.unix.Store(t.Unix()) }

const day = 24 * time.Hour

var cluster struct {
	sync.Once
	*pgtest.Server
	databases atomic.Int32
}

func TestMain(m *testing.M) {
	if name := os.Getenv(childEnv); name != "" {
		os.Exit(runChild(name))
	}
	code := m.Run()
	if cluster.Server != nil {
		cluster.Remove()
	}
	os.Exit(code)
}

// postgresDSN names a new database of the cluster that all tests share.
func postgresDSN(tb testing.TB) string {
	tb.Helper()
	cluster.Do(func() { cluster.Server = pgtest.New(tb) })
	if cluster.Server == nil {
		tb.Skip("SKIPPED: PostgreSQL is not installed (Debian: apt-get install postgresql)")
	}
	db, err := sql.Open(postgres, cluster.DSN("postgres"))
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	name := fmt.Sprintf("helo%d", cluster.databases.Add(1))
	if _, err := db.Exec("CREATE DATABASE " + name); err != nil {
		tb.Fatal(err)
	}
	return cluster.DSN(name)
}

// sqliteDrivers are the drivers of Maddy with cgo and without. The race detector, which makes the
// second one slow, sees the same code with the first.
func sqliteDrivers() []string {
	if raceEnabled && slices.Contains(sql.Drivers(), sqlite) {
		return []string{sqlite}
	}
	if slices.Contains(sql.Drivers(), sqlite) {
		return []string{sqlite, "sqlite"}
	}
	return []string{"sqlite"}
}

// onSQLite runs a test with each driver on a new file.
func onSQLite(t *testing.T, f func(t *testing.T, driver, path string)) {
	t.Helper()
	for _, driver := range sqliteDrivers() {
		t.Run(driver, func(t *testing.T) { f(t, driver, filepath.Join(t.TempDir(), "helo.db")) })
	}
}

// onDatabases runs a test with each driver on a new database.
func onDatabases(t *testing.T, f func(t *testing.T, driver, dsn string)) {
	t.Helper()
	onSQLite(t, f)
	t.Run(postgres, func(t *testing.T) { f(t, postgres, postgresDSN(t)) })
}

// reports collects what a store reports.
type reports struct {
	sync.Mutex
	list []string
}

func (r *reports) add(err error) {
	r.Lock()
	defer r.Unlock()
	r.list = append(r.list, err.Error())
}

// take returns what was reported since the last call.
func (r *reports) take() []string {
	r.Lock()
	defer r.Unlock()
	list := r.list
	r.list = nil
	return list
}

// openQuiet opens a store that writes on Flush alone.
func openQuiet(driver, dsn string, change ...func(*DB)) (*DB, error) {
	p, err := newPlace(driver, dsn, sql.Drivers())
	if err != nil {
		return nil, err
	}
	db := newDB(p)
	db.every = time.Hour
	for _, f := range change {
		f(db)
	}
	return db.join(), nil
}

// openDB opens a store that writes when the test says so, and wants no leak when it is closed.
func openDB(tb testing.TB, driver, dsn string, c *fakeClock, change ...func(*DB)) *DB {
	tb.Helper()
	db, err := openQuiet(driver, dsn, append(change, func(d *DB) { d.clock = c.now })...)
	if err != nil {
		tb.Fatal(err)
	}
	db.readTime = time.Minute // a loaded machine is no failure, except where the test is about it
	tb.Cleanup(func() {
		_ = db.Close()
		select {
		case <-db.done:
		default:
			if db.users <= 0 {
				tb.Error("the writer still runs after Close")
			}
		}
	})
	return db
}

func flush(tb testing.TB, db *DB) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := db.Flush(ctx); err != nil {
		tb.Fatal(err)
	}
}

// expireAll looks at the whole table.
func (d *DB) expireAll(tb testing.TB) {
	tb.Helper()
	for d.swept.org = "!"; d.swept != (key{}); { // the beginning of the table, and not yet its end
		if err := d.take(context.Background(), d.expire); err != nil {
			tb.Fatal(err)
		}
	}
}

func sender(helo, addr string, ptr ...string) Sender {
	return Sender{Helo: heloname.Parse(helo), Client: netip.MustParseAddr(addr), Confirmed: ptr}
}

// grade wants an answer of the store.
func grade(tb testing.TB, m *Memory, s Sender) checkhelo.Known {
	tb.Helper()
	g, err := m.Known(context.Background(), s)
	if err != nil {
		tb.Fatal(err)
	}
	return g
}

func contains(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}

// queued returns how many rows wait for the next batch.
func queued(db *DB) int {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.queue.room.Rows
}
