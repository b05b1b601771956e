package memory

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A Map and a database give the same answers to the same sessions, in batches or not, also after
// the clock was set back.
func TestMapAndDatabaseAgree(t *testing.T) {
	onDatabases(t, func(t *testing.T, driver, dsn string) {
		t.Helper()
		random := rand.New(rand.NewPCG(1795700315852168465, 1)) // with this one both once differed
		c := newClock()
		db := openDB(t, driver, dsn, c)
		stored := &Memory{Store: db, Clock: c.now}
		entries, today := NewMap(&Room{Most: 1 << 16}), int64(0)
		mapped := &Memory{Store: entries, Clock: c.now}
		ctx := context.Background()
		names := []string{"mail.example.org", "out.example.org", "mail.example.net", "a.example",
			"b.example", "localhost", "[192.0.2.1]", "x..y", "c.example", "d.example", "e.example",
			"f.example", "g.example", "h.example"}
		for i := range 4000 {
			switch k := random.IntN(100); {
			case k < 10:
				flush(t, db)
			case k < 12:
				flush(t, db) // no batch is as long as a window
				c.move(time.Duration(random.IntN(40)) * time.Hour)
			case k < 14 && i < 2000: // what has expired does not come back with the time
				flush(t, db)
				c.move(-time.Duration(random.IntN(30)) * time.Hour)
			case k < 30:
				c.move(time.Duration(random.IntN(200)) * time.Second)
			}
			if i > 2000 && dayOf(c.now().Unix()) != today { // what a database deletes later, a Map may keep
				today = dayOf(c.now().Unix())
				flush(t, db)
				db.expireAll(t)
				for s, list := range entries.rows {
					entries.set(s, withoutOld(list, entries.era.at(c.now().Unix())))
				}
			}
			known := names
			if i < 2000 { // too few organisations for a network to have its most
				known = names[:8]
			}
			s := sender(known[random.IntN(len(known))], fmt.Sprintf("192.0.%d.%d", random.IntN(2),
				random.IntN(250)))
			if random.IntN(2) == 0 {
				s.Confirmed = []string{"out.example.org"}
			}
			var got, want any
			switch k := random.IntN(8); k {
			case 0, 1:
				if i >= 2000 { // one batch is written in the order of names, not of time
					flush(t, db)
				}
				stored.Greet(s, k == 0)
				mapped.Greet(s, k == 0)
			case 2:
				if random.IntN(20) == 0 { // rarely, so that some become Seen first
					if i >= 2000 { // it adds an organisation too
						flush(t, db)
					}
					stored.Accept(s)
					mapped.Accept(s)
				}
			case 3, 4:
				got, want = grade(t, stored, s), grade(t, mapped, s)
			case 5:
				a, b := stored.Neighbours(ctx, s), mapped.Neighbours(ctx, s)
				if !slices.Equal(a.Value, b.Value) || a.State != b.State {
					t.Fatalf("step %d: database %v, map %v", i, a, b)
				}
			default:
				from := fmt.Sprintf("u%d-%d@example.org", random.IntN(2), random.IntN(9))
				rcpt := string(rune('a'+random.IntN(3))) + "@example.net"
				a, err := stored.Wait(ctx, s, from, rcpt)
				if err != nil {
					t.Fatal(err)
				}
				b, err := mapped.Wait(ctx, s, from, rcpt)
				if err != nil {
					t.Fatal(err)
				}
				got, want = a, b
			}
			if got != want {
				t.Fatalf("step %d, %s: database %v, map %v", i, s.Helo.Raw, got, want)
			}
		}
		flush(t, db)
		counted(t, db)
	})
}

// Merging rows gives the same whatever the batches are, and twice the same changes nothing.
func TestMergeOfRows(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const now = 120 * daySeconds
	k := key{kind: KindKnown, name: "mail.example.org"}
	for range 20000 {
		var days []int64
		d := int64(100)
		for range 1 + random.IntN(8) {
			d += random.Int64N(4)
			days = append(days, d)
		}
		touch := func(from, to int) (r row) {
			for _, d := range days[from:to] {
				r = r.with(row{k, d * daySeconds, d * daySeconds, 1, d%5 == 0}, now)
			}
			return r
		}
		whole := touch(0, len(days))
		cut := random.IntN(len(days))
		a, b := touch(0, cut), touch(cut, len(days))
		if got := a.with(b, now); got != whole {
			t.Fatalf("%v cut at %d: %+v, want %+v", days, cut, got, whole)
		}
		if got := a.with(b, now).with(b, now); got != whole {
			t.Fatalf("%v twice: %+v, want %+v", days, got, whole)
		}
		if n := len(slices.Compact(slices.Clone(days))); whole.days != n {
			t.Fatalf("%v are %d days", days, whole.days)
		}
	}
}
