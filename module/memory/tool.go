package memory

import (
	"context"
	"database/sql"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// The kinds of Entry.
const (
	KindKnown     = "known"
	KindNeighbour = "neighbour"
	KindWaiting   = "waiting"
)

const toolLockTime = 10 * time.Second // a server writes for a moment only

// Entry is one row, for the operator.
type Entry struct {
	Kind     string    // one of the Kind constants
	Network  string    // /24 or /48; "" for a waiting message kept by organisation
	Name     string    // HELO name, organisation, or hash of a waiting message's addresses
	First    time.Time // day; of a waiting message the second of the first attempt
	Last     time.Time // day; zero for a waiting message
	Days     int       // days with a greeting, of a known sender
	Accepted bool      // of a known sender
}

// Grade returns how well a known sender is known, while its entry is kept.
func (e *Entry) Grade() checkhelo.Known {
	return row{e.First.Unix(), e.Last.Unix(), e.Days, e.Accepted}.grade()
}

// Filter chooses entries: of one network, or of a name and all names below it. The zero value
// chooses all.
type Filter struct {
	Network netip.Prefix
	Name    string
}

// ParseFilter reads an address, a network or a name.
func ParseFilter(arg string) (Filter, error) {
	if addr, err := netip.ParseAddr(strings.Trim(arg, "[]")); err == nil {
		return Filter{Network: networkOf(addr)}, nil
	}
	if p, err := netip.ParsePrefix(arg); err == nil {
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

// where returns the condition of f. The organisation of a waiting message is its scope.
func (f Filter) where() (condition string, args []any) {
	const name = "CASE WHEN kind = 3 THEN scope ELSE name END"
	switch {
	case f.Network.IsValid():
		return "scope = $1", []any{f.Network.String()}
	case f.Name != "":
		below := strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(f.Name)
		return "(" + name + " = $1 OR " + name + " LIKE $2 ESCAPE '!')", []any{f.Name, "%." + below}
	}
	return "1 = 1", nil
}

// OpenTool opens a store beside a running server, or without one. It reads only, unless write is
// set; then it is ErrNotOwner for anybody but the owner of the directory. Other than Open it
// fails when the store does not work. What a Memory writes there goes with Flush and Close.
func OpenTool(ctx context.Context, driver, dsn string, write bool) (*DB, error) {
	p, err := newPlace(driver, dsn, sql.Drivers())
	if err != nil {
		return nil, err
	}
	if p.kind == sqlite && write {
		if err := mayWrite(p.dsn); err != nil {
			return nil, err
		}
	}
	if p.kind == sqlite && !write {
		if _, err := os.Stat(p.dsn); err != nil {
			return nil, fmt.Errorf("memory: %w", err)
		}
	}
	d := newDB(p, Options{})
	d.users, d.readOnly, d.lockTime, d.readTime = 1, !write, toolLockTime, toolLockTime
	if err := d.Flush(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// List returns the entries that f chooses, sorted by network.
func (d *DB) List(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		db := d.db.Load()
		if db == nil {
			yield(Entry{}, ErrAway)
			return
		}
		where, args := f.where()
		//nolint:gosec // all parts are constants of this package
		rows, err := db.QueryContext(ctx, "SELECT kind, scope, name, first_seen, last_seen, days,"+
			" accepted FROM helo_memory WHERE "+where+" ORDER BY scope, kind, name", args...)
		if err != nil {
			yield(Entry{}, d.clean(err))
			return
		}
		defer func() { _ = rows.Close() }() // Err has it
		for rows.Next() {
			e, err := entry(rows)
			if !yield(e, d.clean(err)) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Entry{}, d.clean(err))
		}
	}
}

func entry(rows *sql.Rows) (e Entry, err error) {
	var k kind
	var first, last int64
	err = rows.Scan(&k, &e.Network, &e.Name, &first, &last, &e.Days, &e.Accepted)
	if err != nil {
		return e, err
	}
	e.Kind = kinds[k].name
	e.First, e.Last = time.Unix(first, 0).UTC(), time.Unix(last, 0).UTC()
	switch k {
	case neighbourRow:
		e.First = e.Last
	case waitingRow:
		e.First, e.Last = e.Last, time.Time{}
		if _, err := netip.ParsePrefix(e.Network); err != nil {
			e.Network, e.Name = "", e.Network+" "+e.Name
		}
	}
	return e, nil
}

// Forget deletes the entries that f chooses, in portions, and returns how many there were. A
// running server remembers them for another minute.
func (d *DB) Forget(ctx context.Context, f Filter) (n int64, err error) {
	db := d.db.Load()
	if db == nil {
		return 0, ErrAway
	}
	where, args := f.where()
	for {
		gone, err := d.remove(ctx, db, fmt.Sprintf(removeChosen, where), args...)
		n += gone
		if err != nil || gone == 0 {
			return n, d.clean(err)
		}
	}
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

// Stats counts. It reads the whole index of known senders.
func (d *DB) Stats(ctx context.Context) (Stats, error) {
	db := d.db.Load()
	if db == nil {
		return Stats{}, ErrAway
	}
	m, err := readMeta(ctx, db)
	if err != nil {
		return Stats{}, d.clean(err)
	}
	s := Stats{Place: d.Place(), Version: len(schema), Counts: m.counts}
	if m.newest != 0 {
		s.Newest = time.Unix(m.newest, 0).UTC()
	}
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM helo_memory WHERE kind = 1 AND accepted = 1").
		Scan(&s.Accepted)
	if err != nil {
		return Stats{}, d.clean(err)
	}
	if d.kind == sqlite {
		for _, suffix := range []string{"", "-wal"} {
			info, err := os.Stat(d.dsn + suffix)
			if err == nil {
				s.Size += info.Size()
			} else if suffix == "" {
				return Stats{}, errors.Join(ErrAway, err)
			}
		}
	}
	return s, nil
}

// Export writes the entries that f chooses as CSV with a header line. Days are YYYY-MM-DD, times
// RFC 3339.
func (d *DB) Export(ctx context.Context, w io.Writer, f Filter) error {
	out := csv.NewWriter(w)
	line := []string{"kind", "network", "name", "first", "last", "days", "accepted"}
	if err := out.Write(line); err != nil {
		return err
	}
	for e, err := range d.List(ctx, f) {
		if err != nil {
			return err
		}
		first, last := e.First.Format(time.DateOnly), e.Last.Format(time.DateOnly)
		if e.Kind == KindWaiting {
			first, last = e.First.Format(time.RFC3339), ""
		}
		err := out.Write([]string{e.Kind, e.Network, e.Name, first, last,
			strconv.Itoa(e.Days), strconv.FormatBool(e.Accepted)})
		if err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}
