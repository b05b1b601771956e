package memory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"maddy.example/checkhelo"
)

var (
	friend   = sender("mail.example.org", "192.0.2.1")
	stranger = sender("mail.example.net", "198.51.100.1")
)

// away wants a store that answers nothing and keeps everybody passing.
func away(t *testing.T, m *Memory) {
	t.Helper()
	ctx := context.Background()
	for _, s := range []Sender{friend, stranger} {
		if g, err := m.Known(ctx, s); g != checkhelo.Stranger || err == nil {
			t.Errorf("known: %v, %v", g, err)
		}
		if a := m.Neighbours(ctx, s); a.State != checkhelo.Failed || a.Err == nil {
			t.Errorf("neighbours: %v", a)
		}
		w, err := m.Wait(ctx, s, "a@example.org", "b@example.net")
		if w != (Wait{}) || err == nil {
			t.Errorf("wait: %+v, %v", w, err)
		}
		m.Greet(s, true)
	}
	if c := m.Store.(*DB).Counters(); !c.Away {
		t.Error("the counters do not show it")
	}
}

// works wants a store that knows the friend, if known is set, and keeps what it is told.
func works(t *testing.T, m *Memory, known bool) {
	t.Helper()
	want := checkhelo.Stranger
	if known {
		want = checkhelo.Accepted
	}
	if g := grade(t, m, friend); g != want {
		t.Errorf("the friend is %v, want %v", g, want)
	}
	w, err := m.Wait(context.Background(), stranger, "c@example.org", "d@example.net")
	if (w.Result != WaitStarted && w.Result != WaitAgain) || err != nil {
		t.Errorf("wait: %+v, %v", w, err)
	}
	m.Accept(friend)
	flush(t, m.Store.(*DB))
	if g := grade(t, m, friend); g != checkhelo.Accepted {
		t.Errorf("the friend is %v after a message", g)
	}
	if c := m.Store.(*DB).Counters(); c.Away {
		t.Error("the counters say that the store is away")
	}
}

// withFriend makes a store that knows the friend and closes it.
func withFriend(t *testing.T, driver, dsn string, c *fakeClock) {
	t.Helper()
	db := openDB(t, driver, dsn, c)
	m := &Memory{Store: db, Clock: c.now}
	m.Accept(friend)
	flush(t, db)
	_ = db.Close()
}

func execute(t *testing.T, driver, dsn, statement string) {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.Exec(statement); err != nil {
		t.Fatal(err)
	}
}

// What keeps a store from opening keeps no server from starting. It says so, and
// works as soon as the fault is gone.
func TestStartsWithoutItsStore(t *testing.T) {
	type fault struct {
		breaks func(t *testing.T, driver, path string) (mend func())
		says   string
		keeps  bool // the friend is known afterwards
	}
	for name, f := range map[string]fault{
		"no directory": {func(t *testing.T, _, path string) func() {
			t.Helper()
			dir := filepath.Dir(path)
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Mkdir(dir, 0o700) }
		}, "no such file", false},
		"a directory": {func(t *testing.T, _, path string) func() {
			t.Helper()
			_ = os.Remove(path)
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Remove(path) }
		}, "is a directory", false},
		"no database": {func(t *testing.T, _, path string) func() {
			t.Helper()
			text := strings.Repeat("no database\n", 500)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Remove(path) }
		}, "file is not a database", false},
		"another program's database": {func(t *testing.T, driver, path string) func() {
			t.Helper()
			execute(t, driver, path, "DROP TABLE helo_meta")
			return func() { _ = os.Remove(path) }
		}, "already exists", false},
		"a newer version": {func(t *testing.T, driver, path string) func() {
			t.Helper()
			execute(t, driver, path, "UPDATE helo_meta SET version = 99")
			return func() {
				execute(t, driver, path, "UPDATE helo_meta SET version = 1")
			}
		}, "newer version of this program: 99", true},
		"seized by another process": {func(t *testing.T, driver, path string) func() {
			t.Helper()
			c := startChild(t, "seize", driver, path)
			c.line(t, "held")
			return func() { c.end(t) }
		}, "database is locked", true},
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			onSQLite(t, func(t *testing.T, driver, path string) {
				t.Helper()
				c, r := newClock(), &reports{}
				withFriend(t, driver, path, c)
				mend := f.breaks(t, driver, path)
				db := openDB(t, driver, path, c, func(d *DB) { d.report = r.add })
				m := &Memory{Store: db, Clock: c.now}
				said := r.take()
				if len(said) != 1 || !strings.Contains(said[0], f.says) ||
					!strings.Contains(said[0], path) {
					t.Fatalf("reported: %q", said)
				}
				away(t, m)
				db.tick(writeTime)
				if said := r.take(); len(said) != 1 {
					t.Errorf("a second later: %q", said)
				}
				away(t, m)
				mend()
				flush(t, db)
				works(t, m, f.keeps)
			})
		})
	}
}

// A file that goes away under a running server is made anew, and nobody in it is known.
func TestFileGone(t *testing.T) {
	onSQLite(t, func(t *testing.T, driver, path string) {
		t.Helper()
		c := newClock()
		db := openDB(t, driver, path, c)
		m := &Memory{Store: db, Clock: c.now}
		works(t, m, false)
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(path + suffix); err != nil {
				t.Fatal(err)
			}
		}
		flush(t, db)
		works(t, m, false)
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Error(info, err)
		}
		sound(t, db)
	})
}

// Another process that writes holds up our writes and nothing else.
func TestLockedByAnotherProcess(t *testing.T) {
	onSQLite(t, func(t *testing.T, driver, path string) {
		t.Helper()
		c := newClock()
		withFriend(t, driver, path, c)
		db := openDB(t, driver, path, c)
		m := &Memory{Store: db, Clock: c.now}
		other := startChild(t, "lock", driver, path)
		other.line(t, "held")
		m.Accept(stranger)
		if err := db.Flush(context.Background()); err == nil ||
			!strings.Contains(err.Error(), "locked") {
			t.Fatal(err)
		}
		if g := grade(t, m, friend); g != checkhelo.Accepted {
			t.Errorf("the friend is %v", g)
		}
		if g := grade(t, m, stranger); g != checkhelo.Accepted {
			t.Errorf("the queued one is %v", g)
		}
		if !db.Counters().Away {
			t.Error("the counters do not show it")
		}
		other.end(t)
		flush(t, db)
		if db.Counters().Away || queued(db) != 0 {
			t.Errorf("%+v", db.Counters())
		}
		if n := counted(t, db); n.Known != 2 {
			t.Errorf("%+v", n)
		}
	})
}

// Pages that are damaged give errors and nobody a wrong grade.
func TestDamagedPages(t *testing.T) {
	const senders = 5000
	name := func(i int) Sender {
		return sender(fmt.Sprintf("mail.s%d.example", i), fmt.Sprintf("10.%d.%d.1", i%200, i/200))
	}
	onSQLite(t, func(t *testing.T, driver, path string) {
		t.Helper()
		c := newClock()
		db := openDB(t, driver, path, c)
		m := &Memory{Store: db, Clock: c.now}
		for i := range senders {
			m.Accept(name(i))
		}
		flush(t, db)
		_ = db.Close()
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		info, err := file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		const page, roots = 4096, 16
		random := rand.New(rand.NewPCG(1, 2))
		pages := info.Size() / page
		for range pages / 5 {
			at := (roots + random.Int64N(pages-roots)) * page
			if _, err := file.WriteAt([]byte(strings.Repeat("\xa5", page)), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}

		r := &reports{}
		db = openDB(t, driver, path, c, func(d *DB) { d.report = r.add })
		m = &Memory{Store: db, Clock: c.now}
		good, failed := 0, 0
		for i := range senders {
			g, err := m.Known(context.Background(), name(i))
			switch {
			case err != nil:
				failed++
			case g == checkhelo.Accepted:
				good++
			default:
				t.Fatalf("sender %d is %v without an error", i, g)
			}
			if db.Counters().Away {
				_ = db.Flush(context.Background())
			}
		}
		t.Logf("%d known, %d failed; reported: %q", good, failed, r.take())
		if failed == 0 {
			t.Error("no damaged page was met")
		}
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(path + suffix)
		}
		flush(t, db)
		works(t, m, false)
	})
}

// Without a driver memory is off; without a known name the configuration is wrong.
func TestNoDriver(t *testing.T) {
	for _, kind := range []string{"sqlite3", "sqlite", "postgres"} {
		if _, err := newPlace(kind, "x", []string{"mysql"}); !errors.Is(err, ErrNoDriver) {
			t.Errorf("%s: %v", kind, err)
		}
	}
	if _, err := newPlace("mysql", "x", []string{"mysql"}); err == nil || errors.Is(err, ErrNoDriver) {
		t.Error(err)
	}
	for _, c := range []struct{ drivers, want string }{
		{"sqlite3 sqlite", "sqlite3"}, {"sqlite postgres", "sqlite"},
	} {
		p, err := newPlace("sqlite3", "x", strings.Fields(c.drivers))
		if err != nil || p.driver != c.want {
			t.Errorf("of %s: %+v, %v", c.drivers, p, err)
		}
	}
}

// Instances that name the same file have one store, however they spell it.
func TestOneStoreForOnePlace(t *testing.T) {
	onSQLite(t, func(t *testing.T, driver, path string) {
		t.Helper()
		c := newClock()
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(filepath.Dir(path), link); err != nil {
			t.Fatal(err)
		}
		r := &reports{}
		old := openDB(t, driver, path, c)
		renewed := openDB(t, driver, filepath.Join(link, ".", filepath.Base(path)), c,
			func(d *DB) { d.report = r.add })
		if old != renewed {
			t.Fatal("two stores")
		}
		(&Memory{Store: old, Clock: c.now}).Accept(friend)
		_ = old.Close()
		m := &Memory{Store: renewed, Clock: c.now}
		works(t, m, true)
		renewed.say(errors.New("fault"))
		if said := r.take(); len(said) != 1 {
			t.Error(said)
		}
		_ = renewed.Close()
		select {
		case <-renewed.done:
		default:
			t.Error("the writer still runs")
		}
		works(t, &Memory{Store: openDB(t, driver, path, c), Clock: c.now}, true)
	})
}

// The file belongs to its owner alone, also one that was made with another mode.
func TestFileMode(t *testing.T) {
	onSQLite(t, func(t *testing.T, driver, path string) {
		t.Helper()
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		c := newClock()
		db := openDB(t, driver, path, c)
		works(t, &Memory{Store: db, Clock: c.now}, false)
		files, err := filepath.Glob(path + "*")
		if err != nil || len(files) != 3 {
			t.Fatal(files, err)
		}
		for _, f := range files {
			info, err := os.Stat(f)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", f, info.Mode(), err)
			}
		}
	})
}

// Names of files that mean something in a DSN.
func TestOddPath(t *testing.T) {
	onSQLite(t, func(t *testing.T, driver, path string) {
		t.Helper()
		path = filepath.Join(filepath.Dir(path), "a ?mode=memory&x#%41'.db")
		c := newClock()
		withFriend(t, driver, path, c)
		if _, err := os.Stat(path); err != nil {
			t.Fatal(err)
		}
		works(t, &Memory{Store: openDB(t, driver, path, c), Clock: c.now}, true)
	})
}

// A clock that jumps deletes nothing, until an hour of writes has passed under it.
func TestClockJumps(t *testing.T) {
	onDatabases(t, func(t *testing.T, driver, dsn string) {
		t.Helper()
		c, r := newClock(), &reports{}
		reopen := func() (*DB, *Memory) {
			db := openDB(t, driver, dsn, c, func(d *DB) { d.report = r.add })
			return db, &Memory{Store: db, Clock: c.now}
		}
		db, m := reopen()
		m.Accept(friend)
		m.Greet(sender("other.example", "192.0.2.7"), true)
		flush(t, db)
		rows := counted(t, db)
		step := func(what string, want checkhelo.Known, known int64) {
			t.Helper()
			flush(t, db)
			db.expireAll(t)
			if got := grade(t, m, friend); got != want {
				t.Errorf("%s: the friend is %v", what, got)
			}
			if n := counted(t, db).Known; n != known {
				t.Errorf("%s: %d known rows, want %d", what, n, known)
			}
		}
		step("before", checkhelo.Accepted, rows.Known)
		c.move(-day)
		step("set back a day", checkhelo.Accepted, rows.Known)
		c.move(day)

		c.move(365 * day)
		step("forward a year", checkhelo.Accepted, rows.Known)
		m.Greet(sender("first.example", "203.0.113.1"), true)
		step("the first write", checkhelo.Accepted, rows.Known+1)
		if said := r.take(); len(said) != 1 || !strings.Contains(said[0], "more than two days") {
			t.Errorf("reported: %q", said)
		}
		c.move(59 * time.Minute)
		m.Greet(sender("second.example", "203.0.113.1"), true)
		step("59 minutes of writes", checkhelo.Accepted, rows.Known+2)
		// A restart in that hour does not shorten it.
		_ = db.Close()
		db, m = reopen()
		step("a restart", checkhelo.Accepted, rows.Known+2)
		m.Greet(sender("third.example", "203.0.113.1"), true)
		step("a write after the restart", checkhelo.Accepted, rows.Known+3)

		c.move(-365 * day)
		m.Greet(sender("fourth.example", "203.0.113.1"), true)
		step("the clock is right again", checkhelo.Accepted, rows.Known+4)

		c.move(365 * day)
		m.Greet(sender("fifth.example", "203.0.113.1"), true)
		c.move(time.Hour)
		m.Greet(sender("sixth.example", "203.0.113.1"), true)
		// Only the year that the clock insists on deletes: the friend, and who greeted as long ago.
		step("an hour of writes", checkhelo.Stranger, 5)
	})
}
