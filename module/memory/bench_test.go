package memory

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// A warm session reads and writes nothing and allocates nothing.
func TestWarmSessionAllocatesNothing(t *testing.T) {
	c := newClock()
	db := openDB(t, "sqlite", filepath.Join(t.TempDir(), "helo.db"), c)
	m := &Memory{Store: db, Clock: c.now}
	session := func() {
		if g, err := m.Known(context.Background(), friend); g != checkhelo.Accepted {
			t.Fatal(g, err)
		}
		m.Greet(friend, true)
		m.Accept(friend)
	}
	m.Accept(friend)
	flush(t, db)
	session()
	flush(t, db)
	before := db.Counters()
	n := testing.AllocsPerRun(100, session)
	after := db.Counters()
	if n != 0 && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	if after.Read != before.Read || after.Queued != 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// sizes are the numbers of rows that the benchmarks compare: 10^4, and what CHECKHELO_ROWS says,
// such as 1000000,10000000.
func sizes(b *testing.B) []int {
	b.Helper()
	list := []int{10_000}
	for n := range slices.Values(splitInts(b, os.Getenv("CHECKHELO_ROWS"))) {
		list = append(list, n)
	}
	return list
}

func splitInts(b *testing.B, text string) (list []int) {
	b.Helper()
	for len(text) != 0 {
		part := text
		if i := slices.Index([]byte(text), ','); i >= 0 {
			part, text = text[:i], text[i+1:]
		} else {
			text = ""
		}
		n, err := strconv.Atoi(part)
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

func benchSender(i int) Sender {
	return Sender{
		Helo: heloname.Name{Kind: heloname.FQDN, ASCII: fmt.Sprintf("mail%d.host%d.example", i%7, i)},
		Client: netip.AddrFrom4([4]byte{byte(20 + i*2654435761>>24&127), byte(i >> 8), byte(i),
			byte(i >> 16)}),
	}
}

// filled returns a store with a number of known senders that greeted over the last 180 days, one
// for all benchmarks of a run.
func filled(b *testing.B, driver string, rows int) (dsn string, c *fakeClock) {
	b.Helper()
	key := driver + strconv.Itoa(rows)
	c = newClock()
	if stores[key] != "" {
		return stores[key], c
	}
	dsn = filepath.Join(benchDir(b), key)
	if driver == postgres {
		dsn = postgresDSN(b)
	}
	stores[key] = dsn
	fill(b, driver, dsn, rows, c)
	return dsn, c
}

var stores = map[string]string{}

func benchDir(b *testing.B) string {
	b.Helper()
	if dir, ok := stores[""]; ok {
		return dir
	}
	dir, err := os.MkdirTemp("", "checkhelo-bench-") //nolint:usetesting // for all benchmarks of a run
	if err != nil {
		b.Fatal(err)
	}
	stores[""] = dir
	return dir
}

// fill writes rows in batches, a day after the other.
func fill(b *testing.B, driver, dsn string, rows int, c *fakeClock) {
	b.Helper()
	db := openDB(b, driver, dsn, c, func(o *Options) { o.MaxRows = 1 << 40 })
	const batch = 40_000
	m, err := readMeta(context.Background(), db.db.Load())
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < rows; i += batch {
		r := newRows(1 << 40)
		for j := i; j < min(i+batch, rows); j++ {
			s := benchSender(j)
			d := dayOf(start.Unix()) - int64(180-180*j/rows)*daySeconds
			_ = r.put(s.key(), row{d, d, 1, j%2 == 0})
			if j%4 == 0 {
				_ = r.put(key{scope{kind: neighbourRow, network: s.key().network}, s.org()}, row{last: d})
			}
		}
		err := transact(context.Background(), db.db.Load(), func(tx *sql.Tx) error {
			_, err := db.write(context.Background(), tx, r, &m.counts, era{sure: start.Unix()})
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	execute := "PRAGMA wal_checkpoint(TRUNCATE)"
	if driver == postgres {
		execute = "VACUUM ANALYZE"
	}
	if _, err := db.db.Load().Exec(execute); err != nil {
		b.Fatal(err)
	}
	_ = db.Close()
}

func benchStores(b *testing.B, f func(b *testing.B, driver, dsn string, rows int, c *fakeClock)) {
	b.Helper()
	for _, driver := range append(sqliteDrivers(), postgres) {
		for _, rows := range sizes(b) {
			dsn, c := filled(b, driver, rows)
			b.Run(fmt.Sprintf("%s/%d", driver, rows), func(b *testing.B) { f(b, driver, dsn, rows, c) })
		}
	}
}

func benchOpen(b *testing.B, driver, dsn string, c *fakeClock) *DB {
	b.Helper()
	return openDB(b, driver, dsn, c, func(o *Options) { o.MaxRows = 1 << 40 })
}

// A known sender whose row is in the cache: what a warm session costs more than without memory.
func BenchmarkWarmSession(b *testing.B) {
	benchStores(b, func(b *testing.B, driver, dsn string, _ int, c *fakeClock) {
		b.Helper()
		m := &Memory{Store: benchOpen(b, driver, dsn, c), Clock: c.now}
		s := benchSender(2)
		m.Accept(s)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := m.Known(context.Background(), s); err != nil {
				b.Fatal(err)
			}
			m.Greet(s, true)
			m.Accept(s)
		}
	})
}

// A look-up in the database, of a sender who is there and of one who is not.
func BenchmarkLookup(b *testing.B) {
	for _, known := range []bool{true, false} {
		b.Run(map[bool]string{true: "known", false: "stranger"}[known], func(b *testing.B) {
			benchStores(b, func(b *testing.B, driver, dsn string, rows int, c *fakeClock) {
				b.Helper()
				m := &Memory{Store: benchOpen(b, driver, dsn, c), Clock: c.now}
				i := 0
				for b.Loop() {
					i += 7919
					s := benchSender(i % rows)
					if !known {
						s.Helo.ASCII = "x" + s.Helo.ASCII
					}
					if _, err := m.Store.known(context.Background(), s.key()); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

// A greylisted stranger: three queries and a row in the queue.
func BenchmarkWait(b *testing.B) {
	benchStores(b, func(b *testing.B, driver, dsn string, _ int, c *fakeClock) {
		b.Helper()
		m := &Memory{Store: benchOpen(b, driver, dsn, c), Clock: c.now}
		i := 0
		for b.Loop() {
			i++
			from := strconv.Itoa(i) + "a@example.org"
			if _, err := m.Wait(context.Background(), benchSender(i), from, "b@example.net"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// One second's writes of a busy server: 100 senders greet again and 20 are new.
func BenchmarkWriteSecond(b *testing.B) {
	benchStores(b, func(b *testing.B, driver, dsn string, rows int, c *fakeClock) {
		b.Helper()
		db := benchOpen(b, driver, dsn, c)
		m := &Memory{Store: db, Clock: c.now}
		i := int(time.Now().UnixNano() % 1e6)
		for b.Loop() {
			b.StopTimer()
			for range 100 {
				i += 7919
				m.Accept(benchSender(i % rows))
			}
			for range 20 {
				i++
				m.Greet(benchSender(1<<28+i), true)
			}
			b.StartTimer()
			flush(b, db)
		}
	})
}

// From Open to the first answer.
func BenchmarkStart(b *testing.B) {
	benchStores(b, func(b *testing.B, driver, dsn string, _ int, c *fakeClock) {
		b.Helper()
		for b.Loop() {
			db := benchOpen(b, driver, dsn, c)
			if _, err := db.known(context.Background(), friend.key()); err != nil {
				b.Fatal(err)
			}
			_ = db.Close()
		}
	})
}

// One portion of the expiry: 500 rows of each kind. It runs last: the store gets smaller.
func BenchmarkZExpire(b *testing.B) {
	benchStores(b, func(b *testing.B, driver, dsn string, _ int, c *fakeClock) {
		b.Helper()
		db := benchOpen(b, driver, dsn, c)
		db.era = era{}
		for b.Loop() {
			c.move(day)
			db.expires = 0
			if err := db.expire(context.Background()); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(db.Counters().Expired)/float64(b.N), "rows/op")
	})
}

// The size of the file for 10^6 senders. It fills a store of its own.
func BenchmarkFileSize(b *testing.B) {
	rows := 100_000
	for _, driver := range append(sqliteDrivers(), postgres) {
		b.Run(driver, func(b *testing.B) {
			dsn, c := filled(b, driver, rows)
			db := benchOpen(b, driver, dsn, c)
			var size int64
			for b.Loop() {
				if driver == postgres {
					err := db.db.Load().QueryRow("SELECT pg_database_size(current_database())").Scan(&size)
					if err != nil {
						b.Fatal(err)
					}
					continue
				}
				s, err := db.Stats(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				size = s.Size
			}
			b.ReportMetric(float64(size)/float64(rows), "MB/million")
		})
	}
}
