package memory

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"maddy.example/checkhelo"
)

// Two servers with one database: a sender known to one is known to the other, and a retry at the
// other passes.
func TestTwoServers(t *testing.T) {
	dsn, c := postgresDSN(t), newClock()
	var servers []*Memory
	for i := range 2 {
		db := openDB(t, postgres, dsn+strings.Repeat(" ", i), c)
		servers = append(servers, &Memory{Store: db, Clock: c.now})
	}
	if servers[0].Store == servers[1].Store {
		t.Fatal("the servers are one")
	}
	a, b := servers[0], servers[1]
	write := func() {
		flush(t, a.Store.(*DB))
		flush(t, b.Store.(*DB))
	}
	write()
	if g := grade(t, b, friend); g != checkhelo.Stranger {
		t.Error(g)
	}
	ctx := context.Background()
	if w, err := a.Wait(ctx, friend, "a@example.org", "b@example.net"); w.Result != WaitStarted {
		t.Error(w, err)
	}
	write()
	c.move(5 * time.Minute)
	if w, err := b.Wait(ctx, friend, "a@example.org", "b@example.net"); w.Result != WaitOver {
		t.Error(w, err)
	}
	b.Accept(friend)
	write()
	if g := grade(t, a, friend); g != checkhelo.Accepted {
		t.Error(g)
	}
	// Both count one day once.
	a.Greet(stranger, true)
	b.Greet(stranger, true)
	write()
	c.move(8 * day)
	a.Greet(stranger, true)
	b.Greet(stranger, true)
	write()
	if g := grade(t, a, stranger); g != checkhelo.Stranger {
		t.Errorf("two days seen by two servers are %v", g)
	}
	counted(t, a.Store.(*DB))
}

// Servers that start at once on an empty database make its tables once.
func TestServersStartAtOnce(t *testing.T) {
	dsn, c := postgresDSN(t), newClock()
	var wg sync.WaitGroup
	stores := make([]*DB, 4)
	for i := range stores {
		wg.Add(1)
		go func() {
			defer wg.Done()
			stores[i] = openDB(t, postgres, dsn+strings.Repeat(" ", i), c)
		}()
	}
	wg.Wait()
	for i, db := range stores {
		_ = db.Flush(context.Background()) // who came second tries again with the next batch
		m := &Memory{Store: db, Clock: c.now}
		m.Accept(sender(fmt.Sprintf("s%d.example", i), "192.0.2.1"))
		flush(t, db)
		if string(db.secret()) != string(stores[0].secret()) {
			t.Error("two secrets")
		}
	}
	if n := counted(t, stores[0]); n.Known != int64(len(stores)) {
		t.Errorf("%+v", n)
	}
}

// PostgreSQL crashes and comes back while sessions go on. Nobody waits for it, nobody is known
// by mistake, and nothing that was written is lost.
func TestPostgreSQLStopsUnderLoad(t *testing.T) {
	dsn, c, r := postgresDSN(t), newClock(), &reports{}
	db := openDB(t, postgres, dsn, c, func(d *DB) { d.report = r.add })
	m := &Memory{Store: db, Clock: c.now}
	m.Accept(friend)
	flush(t, db)

	stop := make(chan struct{})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				s := sender(fmt.Sprintf("m.w%d-%d.example", worker, i%1000), fmt.Sprintf("10.%d.%d.1",
					worker, i%100))
				if g, err := m.Known(context.Background(), s); g != checkhelo.Stranger {
					t.Errorf("%v is %v, %v", s.Helo.ASCII, g, err)
				}
				w, err := m.Wait(context.Background(), s, "a@example.org", "b@example.net")
				if err != nil && w.Left != 0 {
					t.Errorf("waits without being kept: %+v, %v", w, err)
				}
				m.Greet(s, true)
			}
		}()
	}
	flush(t, db)
	cluster.Stop(t)
	for range 3 {
		c.move(time.Minute)
		db.tick(writeTime)
	}
	away(t, m)
	if said := r.take(); len(said) < 3 || contains(said, "maddy") {
		t.Errorf("reported: %q", said)
	}
	cluster.Start(t)
	flush(t, db)
	close(stop)
	wg.Wait()
	flush(t, db)
	works(t, m, true)
	counted(t, db)
}

// frozen is a way to PostgreSQL that stops moving octets without closing a connection, as a
// machine that hangs does.
type frozen struct {
	net.Listener
	gate sync.RWMutex // locked: nothing passes
}

func newFrozen(t *testing.T, to string) *frozen {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &frozen{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				_ = from.Close()
				continue
			}
			go f.copy(up, from)
			go f.copy(from, up)
		}
	}()
	return f
}

func (f *frozen) copy(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		f.gate.RLock()
		_, werr := to.Write(b[:n])
		f.gate.RUnlock()
		if err != nil || werr != nil {
			return
		}
	}
}

// A database that hangs holds up no session and no stop of the server.
func TestPostgreSQLHangs(t *testing.T) {
	dsn, c := postgresDSN(t), newClock()
	_, port, _ := strings.Cut(dsn, "port=")
	port, _, _ = strings.Cut(port, " ")
	f := newFrozen(t, "127.0.0.1:"+port)
	_, own, _ := net.SplitHostPort(f.Addr().String())
	db := openDB(t, postgres, strings.Replace(dsn, "port="+port, "port="+own, 1), c)
	m := &Memory{Store: db, Clock: c.now}
	m.Accept(friend)
	flush(t, db)
	f.gate.Lock()
	db.readTime = readTime
	began := time.Now()
	for range 100 {
		c.move(time.Minute) // past the cache
		if g, err := m.Known(context.Background(), friend); g != checkhelo.Stranger || err == nil {
			t.Fatal(g, err)
		}
	}
	// Four lookups take 50 ms each, the others none.
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("100 lookups took %v", took)
	}
	f.gate.Unlock()
	db.readTime = time.Minute
	flush(t, db)
	works(t, m, true)
	f.gate.Lock()
	m.Accept(stranger)
	began = time.Now()
	_ = db.Close()
	if took := time.Since(began); took > 2*closeTime {
		t.Errorf("Close took %v", took)
	}
	f.gate.Unlock()
	<-db.done
}

// A server that takes connections and never answers holds up neither start nor stop, and is reported.
func TestPostgreSQLNeverAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	c, r := newClock(), &reports{}
	began := time.Now()
	db := openDB(t, postgres, "host=127.0.0.1 user=x sslmode=disable port="+port, c, func(d *DB) {
		d.report = r.add
	})
	if said := r.take(); len(said) != 1 || !strings.Contains(said[0], "deadline exceeded") {
		t.Errorf("reported: %q", said)
	}
	m := &Memory{Store: db, Clock: c.now}
	away(t, m)
	c.move(time.Minute)
	db.tick(time.Second)
	if said := r.take(); len(said) != 1 {
		t.Errorf("a minute later: %q", said)
	}
	_ = db.Close()
	if took, most := time.Since(began), startTime+time.Second+closeTime; took > 2*most {
		t.Errorf("all took %v, want %v", took, most)
	}
	<-db.done
}

// No error shows a password, whatever is wrong with the DSN.
func TestPasswordsAreNotShown(t *testing.T) {
	const secret = "s3cr3tpass"
	port := closedPort(t)
	for _, dsn := range []string{
		"host=127.0.0.1 port=" + port + " user=x password=" + secret,
		"host=127.0.0.1 port=" + port + " user=x password='" + secret + " more' sslmode=disable",
		"password=" + secret + " " + secret,
		"password = '" + secret,
		"postgres://x:" + secret + "@127.0.0.1:" + port + "/db?sslmode=disable",
		"postgres://x:" + secret + "@127.0.0.1:port/db",
		"postgres://x:" + secret + "%zz@127.0.0.1/db",
		"postgres://127.0.0.1:" + port + "/db?user=x&password=" + secret,
		"postgres://x@127.0.0.1/" + secret + "?password=" + secret + "&sslmode=" + secret,
		secret,
	} {
		r, c := &reports{}, newClock()
		db := openDB(t, postgres, dsn, c, func(d *DB) { d.report = r.add })
		said := r.take()
		if len(said) != 1 || contains(said, secret) || !strings.HasPrefix(said[0], "memory: PostgreSQL: ") {
			t.Errorf("%s: %q", dsn, said)
		}
		if _, err := OpenTool(context.Background(), postgres, dsn, false); err == nil ||
			strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the tool says %v", dsn, err)
		}
		if strings.Contains(db.Place(), secret) {
			t.Error(db.Place())
		}
		_ = db.Close()
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
