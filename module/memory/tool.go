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
	first, last := dayOf(e.First.Unix()), dayOf(e.Last.Unix())
	return row{first, last, int32(e.Days), e.Accepted}.grade() //nolint:gosec // Days are an int32
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

// where returns the condition of f for a table whose columns are network and name.
func (f Filter) where(network, name string) (condition string, args []any) {
	switch {
	case f.Network.IsValid():
		return network + " = $1", []any{f.Network.String()}
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
	s := newShared(p, Options{})
	s.readOnly, s.lockTime = !write, toolLockTime
	d := &DB{shared: s}
	s.handles = []*DB{d}
	if err := s.Flush(ctx); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.done)
		<-s.stop
		if write {
			s.tick(closeTime)
		}
		s.shut()
	}()
	return d, nil
}

// List returns the entries that f chooses, sorted by network.
func (d *DB) List(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for _, kind := range []string{KindKnown, KindNeighbour, KindWaiting} {
			if more, err := d.list(ctx, kind, f, yield); err != nil {
				yield(Entry{}, d.clean(err))
				return
			} else if !more {
				return
			}
		}
	}
}

var listed = map[string]struct{ columns, table, network, name, key string }{
	KindKnown: {"network, name, first_day, last_day, days, accepted", "helo_known",
		"network", "name", "network, name"},
	KindNeighbour: {"network, org, last_day, last_day, 0, 0", "helo_neighbour",
		"network", "org", "network, org"},
	KindWaiting: {"scope, hash, first_try, 0, 0, 0", "helo_waiting",
		"scope", "scope", "scope, hash"},
}

func (d *DB) list(
	ctx context.Context, kind string, f Filter, yield func(Entry, error) bool,
) (more bool, err error) {
	db := d.db.Load()
	if db == nil {
		return false, ErrAway
	}
	t := listed[kind]
	where, args := f.where(t.network, t.name)
	//nolint:gosec // all parts are constants of this package
	rows, err := db.QueryContext(ctx, "SELECT "+t.columns+" FROM "+t.table+" WHERE "+where+
		" ORDER BY "+t.key, args...)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }() // Err has it
	for rows.Next() {
		e := Entry{Kind: kind}
		var first, last int64
		if err := rows.Scan(&e.Network, &e.Name, &first, &last, &e.Days, &e.Accepted); err != nil {
			return false, err
		}
		if kind == KindWaiting {
			e.First = time.Unix(first, 0).UTC()
			if _, err := netip.ParsePrefix(e.Network); err != nil {
				e.Network, e.Name = "", e.Network+" "+e.Name
			}
		} else {
			e.First = time.Unix(first*daySeconds, 0).UTC()
			e.Last = time.Unix(last*daySeconds, 0).UTC()
		}
		if !yield(e, nil) {
			return false, nil
		}
	}
	return true, rows.Err()
}

// Forget deletes the entries that f chooses, in portions, and returns how many there were. A
// running server remembers them for another minute.
func (d *DB) Forget(ctx context.Context, f Filter) (n int64, err error) {
	db := d.db.Load()
	if db == nil {
		return 0, ErrAway
	}
	for _, kind := range []string{KindKnown, KindNeighbour, KindWaiting} {
		for {
			gone, err := d.forget(ctx, db, kind, f)
			n += gone
			if err != nil {
				return n, d.clean(err)
			}
			if gone == 0 {
				break
			}
		}
	}
	return n, nil
}

func (d *DB) forget(ctx context.Context, db *sql.DB, kind string, f Filter) (int64, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	t := listed[kind]
	where, args := f.where(t.network, t.name)
	n, err := affected(tx.ExecContext(ctx, "DELETE FROM "+t.table+" WHERE ("+t.key+") IN (SELECT "+
		t.key+" FROM "+t.table+" WHERE "+where+" LIMIT 5000)", args...))
	if err != nil || n == 0 {
		return 0, err
	}
	c := map[string]counts{
		KindKnown: {known: -n}, KindNeighbour: {neighbours: -n}, KindWaiting: {waiting: -n},
	}[kind]
	if err := addCounts(ctx, tx, c); err != nil {
		return 0, err
	}
	return n, tx.Commit()
}

// Stats describes a store.
type Stats struct {
	Place                      string
	Version                    int   // of the tables
	Known, Neighbours, Waiting int64 // rows
	Accepted                   int64 // known senders with an accepted message
	Newest                     time.Time
	Size                       int64 // octets of the file of SQLite with its journal, otherwise 0
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
	s := Stats{
		Place: d.Place(), Version: len(schema),
		Known: m.known, Neighbours: m.neighbours, Waiting: m.waiting,
	}
	if m.newest != 0 {
		s.Newest = time.Unix(m.newest, 0).UTC()
	}
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM helo_known WHERE accepted = 1").
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
