package memory

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/publicsuffix"

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
	// A lookup of a public suffix allocates from x/net 0.55 on, which custom builds have.
	most := 2 * testing.AllocsPerRun(100, func() { publicsuffix.PublicSuffix("mail.example.org") })
	if n > most && !raceEnabled {
		t.Errorf("%v allocations", n)
	}
	if after.Read != before.Read || queued(db) != 0 {
		t.Errorf("before %+v, after %+v", before, after)
	}
}

// sizes are the numbers of rows that the benchmarks compare: 10^4, and what CHECKHELO_ROWS says,
// such as 1000000,10000000.
func sizes(b *testing.B) []int {
	b.Helper()
	list := []int{10_000}
	for part := range strings.FieldsFuncSeq(os.Getenv("CHECKHELO_ROWS"), func(r rune) bool { return r == ',' }) {
		n, err := strconv.Atoi(part)
		if err != nil {
			b.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

// benchSender is what fillStore makes of a number.
func benchSender(i int) Sender {
	return Sender{
		Helo:   heloname.Name{Kind: heloname.FQDN, ASCII: fmt.Sprintf("mail%d.host%d.example", i%7, i)},
		Client: netip.AddrFrom4([4]byte{byte(20 + i%97), byte(i >> 8), byte(i), 1}),
	}
}

// fillStore makes known senders, of whom every second one is accepted, and neighbours.
var fillStore = strings.Split(`INSERT INTO helo_memory (kind, scope, name, first_seen, last_seen, days, accepted)
	WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ROWS - 1)
	SELECT 1, (20 + i % 97) || '.' || ((i >> 8) & 255) || '.' || (i & 255) || '.0/24',
		'mail' || (i % 7) || '.host' || i || '.example', TODAY - 86400 * (180 - 180 * i / ROWS),
		TODAY - 86400 * (180 - 180 * i / ROWS), 1, i % 2 FROM n ORDER BY 2, 3;
	INSERT INTO helo_memory (kind, scope, name, first_seen, last_seen, days, accepted)
	WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 4 FROM n WHERE i < ROWS - 4)
	SELECT 2, (20 + i % 97) || '.' || ((i >> 8) & 255) || '.' || (i & 255) || '.0/24',
		'host' || i || '.example', 0, TODAY - 86400 * (30 - 30 * i / ROWS), 0, 0 FROM n ORDER BY 2, 3;
	UPDATE helo_meta SET known = ROWS, neighbours = (ROWS + 3) / 4, newest = TODAY`, ";")

var stores = map[string]string{}

// filled returns a store with a number of known senders that greeted over the last 180 days, one
// for all benchmarks of a run.
func filled(b *testing.B, driver string, rows int) (dsn string, c *fakeClock) {
	b.Helper()
	c = newClock()
	key := strings.TrimSuffix(driver, "3") + strconv.Itoa(rows) // SQLite's drivers have one file
	if stores[key] != "" {
		return stores[key], c
	}
	if driver == postgres {
		dsn = postgresDSN(b)
	} else {
		//nolint:usetesting // for all benchmarks of a run
		dir, err := os.MkdirTemp(os.Getenv("CHECKHELO_BENCH_DIR"), "checkhelo-bench-")
		if err != nil {
			b.Fatal(err)
		}
		dsn = filepath.Join(dir, "helo.db")
	}
	stores[key] = dsn
	db := openDB(b, driver, dsn, c)
	end := "PRAGMA wal_checkpoint(TRUNCATE)"
	if driver == postgres {
		end = "VACUUM ANALYZE"
	}
	set := strings.NewReplacer("ROWS", strconv.Itoa(rows),
		"TODAY", strconv.FormatInt(dayOf(start.Unix()), 10))
	for _, statement := range append(slices.Clone(fillStore), end) {
		if _, err := db.db.Load().Exec(set.Replace(statement)); err != nil {
			b.Fatal(err)
		}
	}
	_ = db.Close()
	return dsn, c
}

func benchStores(b *testing.B, f func(b *testing.B, driver, dsn string, rows int, c *fakeClock)) {
	b.Helper()
	for _, driver := range append(sqliteDrivers(), postgres) {
		for _, rows := range sizes(b) {
			b.Run(fmt.Sprintf("%s/%d", driver, rows), func(b *testing.B) {
				dsn, c := filled(b, driver, rows)
				f(b, driver, dsn, rows, c)
			})
		}
	}
}

func benchOpen(b *testing.B, driver, dsn string, c *fakeClock) *DB {
	b.Helper()
	return openDB(b, driver, dsn, c, func(d *DB) { d.maxRows = 1 << 40 })
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

// A lookup in the database, of a sender who is there and of one who is not.
func BenchmarkLookupKnown(b *testing.B)    { benchLookup(b, "") }
func BenchmarkLookupStranger(b *testing.B) { benchLookup(b, "x") }

func benchLookup(b *testing.B, prefix string) {
	b.Helper()
	benchStores(b, func(b *testing.B, driver, dsn string, rows int, c *fakeClock) {
		b.Helper()
		m, i := &Memory{Store: benchOpen(b, driver, dsn, c)}, 0
		for b.Loop() {
			i += 7919
			s := benchSender(i % rows)
			s.Helo.ASCII = prefix + s.Helo.ASCII
			if r, err := m.row(context.Background(), s.key(), c.now().Unix()); err != nil || (r.last == 0) == (prefix == "") {
				b.Fatal(r, err)
			}
		}
	})
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

// One second's writes of a busy server: 100 senders greet again, whose organisations have greeted in
// the last 30 days, and 20 are new. Each 25 seconds are another day: of 10^4 senders, 2,500 have such an
// organisation. What SQLite moves from its journal into its file, while nothing waits for it, has figures
// of its own.
func BenchmarkWriteSecond(b *testing.B) {
	benchStores(b, func(b *testing.B, driver, dsn string, rows int, c *fakeClock) {
		b.Helper()
		db := benchOpen(b, driver, dsn, c)
		m := &Memory{Store: db, Clock: c.now}
		again := int(time.Now().UnixNano() % 1e6)
		fresh := 1<<28 + again
		var used, after, usedAfter time.Duration
		for second := 1; b.Loop(); second++ {
			b.StopTimer()
			if second%25 == 0 {
				c.move(day)
			}
			for range 100 {
				again += 7919
				m.Accept(benchSender(4 * again % rows))
			}
			for range 20 {
				fresh++
				m.Greet(benchSender(fresh), true)
			}
			began := processorTime(b)
			b.StartTimer()
			flush(b, db)
			b.StopTimer()
			written, now := processorTime(b), time.Now()
			used += written - began
			if err := db.take(context.Background(), db.checkpoint); err != nil {
				b.Fatal(err)
			}
			after += time.Since(now)
			usedAfter += processorTime(b) - written
			b.StartTimer()
		}
		for unit, total := range map[string]time.Duration{
			"cpu-ms/op": used, "checkpoint-ms/op": after, "checkpoint-cpu-ms/op": usedAfter,
		} {
			b.ReportMetric(float64(total.Microseconds())/1000/float64(b.N), unit)
		}
	})
}

// processorTime is what this process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// From Open to the first answer.
func BenchmarkStart(b *testing.B) {
	benchStores(b, func(b *testing.B, driver, dsn string, _ int, c *fakeClock) {
		b.Helper()
		for b.Loop() {
			db := benchOpen(b, driver, dsn, c)
			if _, _, err := db.list(context.Background(), friend.key().scope, c.now().Unix()); err != nil {
				b.Fatal(err)
			}
			_ = db.Close()
		}
	})
}

// One look for old rows, which finds one in 180: each second's. It runs last: the store gets smaller.
func BenchmarkZExpire(b *testing.B) {
	benchStores(b, func(b *testing.B, driver, dsn string, _ int, c *fakeClock) {
		b.Helper()
		db := benchOpen(b, driver, dsn, c)
		db.queue.era = era{}
		c.move(day)
		for b.Loop() {
			if err := db.take(context.Background(), db.expire); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(db.Counters().Expired)/float64(b.N), "rows/op")
	})
}

// The size of the database for 10^6 senders, and of each octet that is written through the queue.
func BenchmarkFileSize(b *testing.B) {
	const rows = 100_000
	for _, driver := range append(sqliteDrivers(), postgres) {
		b.Run(driver, func(b *testing.B) {
			dsn, c := filepath.Join(b.TempDir(), "helo.db"), newClock()
			if driver == postgres {
				dsn = postgresDSN(b)
			}
			db := benchOpen(b, driver, dsn, c)
			m := &Memory{Store: db, Clock: c.now}
			for i := range rows {
				if m.Greet(benchSender(i*7919%rows), true); i%10_000 == 0 {
					flush(b, db)
				}
			}
			flush(b, db)
			for b.Loop() { // only the size is of interest
			}
			var size int64
			if driver == postgres {
				const total = "SELECT pg_total_relation_size('helo_memory')"
				if err := db.db.Load().QueryRow(total).Scan(&size); err != nil {
					b.Fatal(err)
				}
			} else {
				_, _ = db.db.Load().Exec("PRAGMA wal_checkpoint(TRUNCATE)")
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
