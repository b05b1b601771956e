package memory

import (
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

const (
	toolReadTime = 10 * time.Second
	learntRows   = 2000 // per transaction; a running server waits for its end
)

// Entry is one row, for the operator. A waiting message has the time of its first attempt, the
// others have days.
type Entry struct {
	Kind        Kind
	Network     string // /24 or /48; "" for a waiting message kept by organisation
	Name        string // HELO name, organisation, or hash of a waiting message's addresses
	First, Last string // YYYY-MM-DD; of a waiting message RFC 3339 and ""
	Days        int    // with a greeting, of a known sender
	Grade       checkhelo.Known
}

func (r row) entry() Entry {
	day := func(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.DateOnly) }
	e := Entry{r.kind, r.String(), r.name, day(r.first), day(r.last), r.days, r.grade()}
	switch r.kind {
	case KindNeighbour:
		e.First = e.Last
	case KindWaiting:
		e.First, e.Last = time.Unix(r.last, 0).UTC().Format(time.RFC3339), ""
		if r.org != "" {
			e.Network, e.Name = "", r.org+" "+r.name
		}
	}
	return e
}

// Filter chooses entries: of one network, or of a name and all names below it. The zero value
// chooses all.
type Filter struct {
	Network netip.Prefix
	Name    string
}

// ParseFilter reads an address, a network or a name.
func ParseFilter(arg string) (Filter, error) {
	if p, err := heloname.ParsePrefix(strings.Trim(arg, "[]")); err == nil {
		if network := networkOf(p.Addr()); network.Bits() <= p.Bits() {
			return Filter{Network: network}, nil
		}
		return Filter{}, fmt.Errorf("memory: %s is wider than what one row stands for", arg)
	}
	if name := heloname.Parse(strings.TrimSuffix(arg, ".")); name.ASCII != "" {
		return Filter{Name: name.ASCII}, nil
	}
	return Filter{}, fmt.Errorf("memory: %q is no address, network or host name", arg)
}

// has tells whether f chooses a row. The organisation of a waiting message is its scope.
func (f Filter) has(r row) bool {
	name := r.name
	if r.kind == KindWaiting {
		name = r.org
	}
	return (!f.Network.IsValid() || r.network == f.Network) &&
		(f.Name == "" || heloname.Below(name, f.Name))
}

// Learn writes the known senders and neighbours of a Map that was filled from old mail. The result
// depends only on that mail. Learning the same mail again changes nothing.
func (d *DB) Learn(ctx context.Context, m *Map) error {
	rows := slices.DeleteFunc(m.all(), func(r row) bool { return r.kind == KindWaiting })
	for some := range slices.Chunk(rows, learntRows) {
		err := d.take(ctx, func(ctx context.Context, db *sql.DB) error {
			_, err := d.write(ctx, db, some, m.era)
			return err
		})
		if err != nil {
			return d.clean(err)
		}
	}
	return nil
}

// OpenTool opens a store for a tool, with or without a running server. The store is read-only
// unless write is set, which needs the owner of the directory. Unlike Open, OpenTool fails if the
// store does not work. Rows are written by Flush and Close only.
func OpenTool(ctx context.Context, driver, dsn string, write bool) (*DB, error) {
	p, err := newPlace(driver, dsn, sql.Drivers())
	if err == nil && p.kind == sqlite {
		if write {
			err = mayWrite(p.dsn)
		} else if _, err = os.Stat(p.dsn); err != nil {
			err = fmt.Errorf("memory: %w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	d := newDB(p)
	d.users, d.readOnly, d.readTime, d.every = 1, !write, toolReadTime, math.MaxInt64
	if err := d.Flush(ctx); err != nil {
		return nil, err
	}
	go d.run()
	return d, nil
}

// mayWrite fails unless this process runs as the owner of the directory and of the file in it. Root
// may not write for another user: the server could not open files that root creates.
func mayWrite(path string) error {
	for _, name := range []string{filepath.Dir(path), path} {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) && name == path {
			return nil
		}
		if err != nil {
			return fmt.Errorf("memory: %w", err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if ok && int64(stat.Uid) != int64(os.Geteuid()) {
			return fmt.Errorf("memory: only the owner of the directory may write: %s belongs to"+
				" user %d; run this as that user", name, stat.Uid)
		}
	}
	return nil
}

// walk calls do for each portion of the rows that f chooses, in the order of keys.
func (d *DB) walk(ctx context.Context, f Filter, do func([]row) error) error {
	at := key{scope: scope{network: f.Network}}
	for {
		rows, err := after(ctx, d.db.Load(), &at)
		if err == nil {
			err = do(slices.DeleteFunc(rows, func(r row) bool { return !f.has(r) }))
		}
		if err != nil || at == (key{}) || f.Network.IsValid() && at.network != f.Network {
			return d.clean(err)
		}
	}
}

// List calls each with the entries that f chooses, sorted by network.
func (d *DB) List(ctx context.Context, f Filter, each func(Entry)) error {
	return d.walk(ctx, f, func(rows []row) error {
		for _, r := range rows {
			each(r.entry())
		}
		return nil
	})
}

// Forget deletes the entries that f chooses, in portions, and returns how many there were. A
// running server remembers them for another 5 seconds.
func (d *DB) Forget(ctx context.Context, f Filter) (n int, err error) {
	err = d.walk(ctx, f, func(rows []row) error {
		gone, fault := d.remove(ctx, d.db.Load(), rows)
		n += gone
		return fault
	})
	return n, err
}

// Stats describes a store.
type Stats struct {
	Place    string
	Version  int   // of the tables
	Counts         // rows
	Accepted int64 // known senders with an accepted message
	Newest   time.Time
	Size     int64 // octets of the file of SQLite with its journal, otherwise 0
}

// Stats counts. It reads the whole table.
func (d *DB) Stats(ctx context.Context) (Stats, error) {
	const accepted = "SELECT count(*) FROM helo_memory WHERE kind = 1 AND accepted = 1"
	s, db := Stats{Place: d.Place(), Version: len(schema)}, d.db.Load()
	m := meta{}
	err := m.read(ctx, db, readMeta)
	if err == nil {
		err = db.QueryRowContext(ctx, accepted).Scan(&s.Accepted)
	}
	if err != nil {
		return Stats{}, d.clean(err)
	}
	s.Counts = m.Counts
	if m.newest != 0 {
		s.Newest = time.Unix(m.newest, 0).UTC()
	}
	for _, suffix := range []string{"", "-wal"} {
		if info, err := os.Stat(d.dsn + suffix); err == nil && d.kind == sqlite {
			s.Size += info.Size()
		}
	}
	return s, nil
}

// Export writes the entries that f chooses as CSV with a header line. Days are YYYY-MM-DD, times
// RFC 3339.
func (d *DB) Export(ctx context.Context, w io.Writer, f Filter) error {
	out := csv.NewWriter(w) // Error has the first error of a Write
	_ = out.Write([]string{"kind", "network", "name", "first", "last", "days", "accepted"})
	err := d.List(ctx, f, func(e Entry) {
		_ = out.Write([]string{e.Kind.String(), e.Network, e.Name, e.First, e.Last,
			strconv.Itoa(e.Days), strconv.FormatBool(e.Grade == checkhelo.Accepted)})
	})
	if err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}
