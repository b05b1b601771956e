package memory

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"maddy.example/checkhelo"
)

// floodSize is 10,000 greetings, with the race detector 3,000, or what CHECKHELO_FLOOD says: 1000000 takes some minutes.
func floodSize(t *testing.T) int {
	t.Helper()
	text := os.Getenv("CHECKHELO_FLOOD")
	if text == "" && raceEnabled {
		return 3_000
	}
	if text == "" {
		return 10_000
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// flood lets strangers greet and wait, with a batch after every 1000 and a day after the half.
func flood(t *testing.T, m *Memory, c *fakeClock, db *DB, stranger func(i int) Sender) (kept int) {
	t.Helper()
	n := floodSize(t)
	for i := range n {
		s := stranger(i)
		m.Greet(s, true)
		w, err := m.Wait(context.Background(), s, fmt.Sprintf("u%dx@example.org", i), "b@example.net")
		if err == nil && w.Result == WaitStarted {
			kept++
		}
		if rows := queued(db); rows > queueRows {
			t.Fatalf("%d rows are queued", rows)
		}
		if i%1000 == 999 {
			flush(t, db)
		}
		if i == n/2 {
			c.move(day)
		}
	}
	flush(t, db)
	return kept
}

// A flood of names from one network uses its share up and nothing else: others are known, become
// known and wait as before, and no stranger is known.
func TestFloodFromOneNetwork(t *testing.T) {
	onDatabases(t, func(t *testing.T, driver, dsn string) {
		t.Helper()
		c := newClock()
		db := openDB(t, driver, dsn, c)
		m := &Memory{Store: db, Clock: c.now}
		m.Accept(friend)
		near := sender("mail.near.example", "203.0.113.250") // in the network of the flood
		m.Accept(near)
		flush(t, db)
		name := func(i int) Sender {
			return sender(fmt.Sprintf("mail.s%d.example", i), fmt.Sprintf("203.0.113.%d", i%250))
		}
		kept := flood(t, m, c, db, name)
		if kept == 0 || kept > MaxWaiting {
			t.Errorf("%d messages wait, want at most %d", kept, MaxWaiting)
		}
		w, err := m.Wait(context.Background(), name(1), "new@example.org", "b@example.net")
		if w.Result != WaitShare || w.Left == 0 || err != nil {
			t.Errorf("past its share: %+v, %v", w, err)
		}
		n := counted(t, db)
		// Each message has a row of its organisation, too.
		if n.Known > MaxNames+2 || n.Neighbours > MaxNeighbours+1 || n.Waiting > 2*MaxWaiting {
			t.Errorf("rows: %+v", n)
		}
		c.move(time.Minute)
		for i := range floodSize(t) / 97 {
			if g := grade(t, m, name(i*97)); g != checkhelo.Stranger {
				t.Fatalf("stranger %d is %v", i*97, g)
			}
		}
		for _, s := range []Sender{friend, near} {
			if g := grade(t, m, s); g != checkhelo.Accepted {
				t.Errorf("%s is %v", s.Helo.ASCII, g)
			}
		}
		// An accepted message in the network of the flood still makes known.
		other := sender("mail.other.example", "203.0.113.251")
		m.Accept(other)
		flush(t, db)
		c.move(2 * time.Minute)
		if g := grade(t, m, other); g != checkhelo.Accepted {
			t.Errorf("an accepted sender near the flood is %v", g)
		}
		works(t, m, true)
		t.Logf("%d greetings: %+v, %+v; %d octets", floodSize(t), n, db.Counters(), octets(t, db))
	})
}

// A flood from many networks fills the tables and no more. Strangers of earlier days make room.
func TestFloodFromManyNetworks(t *testing.T) {
	const most = 2000
	onDatabases(t, func(t *testing.T, driver, dsn string) {
		t.Helper()
		c := newClock()
		db := openDB(t, driver, dsn, c, func(d *DB) { d.maxRows = most })
		m := &Memory{Store: db, Clock: c.now}
		m.Accept(friend)
		regular := sender("mail.regular.example", "192.0.2.77")
		for range seenDays {
			m.Greet(regular, true)
			c.move(4 * day)
			m.Greet(sender("daily.example", "192.0.2.78"), true)
		}
		flush(t, db)
		flood(t, m, c, db, ofManyNetworks)
		n := counted(t, db)
		// One batch goes in whole once the table has room.
		if n.Known > most+1000 || n.Neighbours > most+1000 || n.Waiting > most+2*1000 {
			t.Errorf("rows: %+v", n)
		}
		if g := grade(t, m, friend); g != checkhelo.Accepted {
			t.Errorf("the friend is %v", g)
		}
		if g := grade(t, m, regular); g != checkhelo.Seen {
			t.Errorf("the regular one is %v", g)
		}
		c.move(time.Minute)
		for i := range floodSize(t) / 97 {
			if g := grade(t, m, ofManyNetworks(i*97)); g != checkhelo.Stranger {
				t.Fatalf("stranger %d is %v", i*97, g)
			}
		}
		// The tables are full: nobody waits, since no wait can be kept.
		w, err := m.Wait(context.Background(), stranger, "a@example.org", "b@example.net")
		if w != (Wait{}) || err == nil {
			t.Errorf("wait: %+v, %v", w, err)
		}
		c.move(day)
		m.Greet(friend, true)
		flush(t, db)
		db.expireAll(t)
		flush(t, db)
		late := sender("mail.late.example", "198.51.100.9")
		m.Accept(late)
		flush(t, db)
		c.move(2 * time.Minute)
		for _, s := range []Sender{friend, late} {
			if g := grade(t, m, s); g != checkhelo.Accepted {
				t.Errorf("%s is %v", s.Helo.ASCII, g)
			}
		}
		if g := grade(t, m, regular); g != checkhelo.Seen {
			t.Errorf("the regular one is %v", g)
		}
		t.Logf("%d greetings: %+v, later %+v; %+v", floodSize(t), n, counted(t, db), db.Counters())
	})
}

// ofManyNetworks is a sender of one of 62,500 networks.
func ofManyNetworks(i int) Sender {
	return sender(fmt.Sprintf("mail.s%d.example", i), fmt.Sprintf("10.%d.%d.1", i/250%250, i%250))
}

// With its own bound of 2,000,000 rows of each kind, the store keeps all that a flood writes. The size
// of the file is for the docs.
func TestFloodSize(t *testing.T) {
	c := newClock()
	db := openDB(t, sqliteDrivers()[0], filepath.Join(t.TempDir(), "helo.db"), c)
	flood(t, &Memory{Store: db, Clock: c.now}, c, db, ofManyNetworks)
	if n := counted(t, db); n.Known != int64(floodSize(t)) {
		t.Errorf("%+v", n)
	}
	t.Logf("%d greetings: %+v; %d octets", floodSize(t), counted(t, db), octets(t, db))
}

// octets is the size of the database, with its journal emptied.
func octets(t *testing.T, db *DB) int64 {
	t.Helper()
	if db.kind == sqlite {
		if _, err := db.db.Load().Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			t.Fatal(err)
		}
	}
	s, err := db.Stats(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s.Size
}

// What this process keeps of the database is bounded, whoever greets or is looked up.
func TestViewIsBounded(t *testing.T) {
	c := newClock()
	db := openDB(t, "sqlite", filepath.Join(t.TempDir(), "helo.db"), c)
	m := &Memory{Store: db, Clock: c.now}
	small := db.queue
	db.queue = NewMap(&Room{Most: 4 * viewRows})
	for i := range viewRows {
		m.Greet(sender(fmt.Sprintf("mail.s%d.example", i), fmt.Sprintf("10.%d.%d.1", i/256, i%256)), true)
	}
	if _, err := m.Known(context.Background(), friend); err != nil {
		t.Fatal(err)
	}
	if len(db.loaded) > viewRows || db.view.room.Rows > viewRows+1 || db.view.room.Rows < viewRows/2 {
		t.Errorf("%d scopes, %d rows", len(db.loaded), db.view.room.Rows)
	}
	db.queue = small // nothing is to be written
}

// The same in a Map, which a replay uses: it says that its answers are incomplete.
func TestMapOverflows(t *testing.T) {
	c := newClock()
	s := NewMap(&Room{Most: 1000})
	m := &Memory{Store: s, Clock: c.now}
	m.Accept(friend)
	for i := range 5000 {
		m.Greet(sender(fmt.Sprintf("mail.s%d.example", i), fmt.Sprintf("10.%d.%d.1", i/250, i%250)),
			true)
	}
	if s.Dropped == 0 || s.room.Rows > 1000 {
		t.Errorf("%d rows, %d dropped", s.room.Rows, s.Dropped)
	}
	if g := grade(t, m, friend); g != checkhelo.Accepted {
		t.Errorf("the friend is %v", g)
	}
	m.Accept(stranger)
	if g := grade(t, m, stranger); g != checkhelo.Accepted {
		t.Errorf("a quarter is kept for accepted ones; this one is %v", g)
	}
	// Old rows make room.
	for range 200 {
		c.move(day)
		m.Greet(friend, true)
	}
	dropped := s.Dropped
	m.Greet(sender("mail.new.example", "198.51.100.7"), true)
	if s.Dropped != dropped || s.room.Rows > 10 {
		t.Errorf("%d rows, %d dropped more", s.room.Rows, s.Dropped-dropped)
	}
}
