package memory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// ErrNoDriver says that the binary has no driver for the database.
var ErrNoDriver = errors.New("memory: the binary has no driver for this database")

var errNewer = errors.New("memory: the tables are of a newer version of this program")

const (
	fileMode = 0o600
	sqlite   = "sqlite3"
	postgres = "postgres"
	maxConns = 5 // one of them writes
)

// place is the location of the rows.
type place struct {
	kind   string // sqlite or postgres
	driver string // its name in database/sql
	dsn    string // DSN of postgres; absolute path of the file of sqlite
}

// newPlace chooses the driver. Maddy's SQLite driver is called sqlite3 with cgo and sqlite
// without cgo. The kind "sqlite" accepts only the latter.
func newPlace(kind, dsn string, drivers []string) (place, error) {
	choice := map[string][]string{
		sqlite: {sqlite, "sqlite"}, "sqlite": {"sqlite"}, postgres: {postgres},
	}[kind]
	if choice == nil {
		return place{}, fmt.Errorf("memory: %q is no database; known: sqlite3, postgres", kind)
	}
	i := slices.IndexFunc(choice, func(name string) bool { return slices.Contains(drivers, name) })
	if i < 0 {
		return place{}, fmt.Errorf("%w: %s", ErrNoDriver, kind)
	}
	if kind == postgres {
		return place{kind, choice[i], dsn}, nil
	}
	path, err := filepath.Abs(dsn)
	if err != nil {
		return place{}, fmt.Errorf("memory: %w", err)
	}
	// Resolve symbolic links, so that all names of a directory give one place.
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	return place{sqlite, choice[i], path}, nil
}

// Place returns the file, or PostgreSQL without the DSN, which can hold a password.
func (p place) Place() string {
	if p.kind == sqlite {
		return p.dsn
	}
	return "PostgreSQL"
}

// open returns the database without connecting to it.
func (p place) open(readOnly bool) (*sql.DB, error) {
	dsn := p.dsn
	if p.kind == sqlite {
		dsn = p.sqliteDSN(readOnly)
	}
	db, err := sql.Open(p.driver, dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxConns)
	db.SetMaxIdleConns(maxConns)
	return db, nil
}

// sqliteDSN sets each PRAGMA twice: in the syntax of driver sqlite3 and of driver sqlite.
func (p place) sqliteDSN(readOnly bool) string {
	options := url.Values{}
	set := func(pragma, value string) {
		options.Add("_"+pragma, value)
		options.Add("_pragma", pragma+"="+value)
	}
	set("busy_timeout", "500") // ms to wait for the write of another process
	if readOnly {
		options.Set("mode", "ro")
		set("query_only", "1")
	} else {
		options.Set("mode", "rw")
		set("journal_mode", "WAL")
		set("synchronous", "FULL")  // a power cut loses no written batch; one fsync per batch
		set("cache_size", "-32000") // KiB; the inner B-tree pages of 10^7 rows take 9,000
	}
	return (&url.URL{Scheme: "file", Path: p.dsn, RawQuery: options.Encode()}).String()
}

// prepare creates the SQLite file if there is none, sets its mode to 0600, and returns its info.
func (p place) prepare() (os.FileInfo, error) {
	if p.kind == postgres {
		return nil, nil
	}
	f, err := os.OpenFile(p.dsn, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was not written to
	if err := f.Chmod(fileMode); err != nil {
		return nil, err
	}
	return f.Stat()
}

// replaced tells whether the open file has been replaced or removed.
func (p place) replaced(opened os.FileInfo) bool {
	if opened == nil {
		return false
	}
	info, err := os.Stat(p.dsn)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(opened, info)
}

// clean returns a driver's error as text, with the place and without the password of the DSN.
func (p place) clean(err error) error {
	if err == nil {
		return nil
	}
	var answer interface{ SQLState() string } // an error of the PostgreSQL server
	own, ok := strings.CutPrefix(err.Error(), "memory: ")
	switch {
	case ok:
		return fmt.Errorf("memory: %s: %w", p.Place(), err)
	case p.kind == postgres && !errors.As(err, &answer) && strings.Contains(own, `"`):
		own = "the driver does not take the DSN, or the connection broke" // it quotes the DSN
	}
	return fmt.Errorf("memory: %s: %s", p.Place(), own)
}

// schema has the statements that upgrade the tables by one version each, from an empty database on.
// The rows of one network are stored together, so that a session writes one page. There is no index
// by time: each row would cost two more page writes, and the index would be half of the file.
var schema = []string{
	`CREATE TABLE helo_meta (version BIGINT NOT NULL, newest BIGINT NOT NULL, known BIGINT NOT NULL,
		neighbours BIGINT NOT NULL, waiting BIGINT NOT NULL, secret TEXT NOT NULL);
	CREATE TABLE helo_memory (scope TEXT NOT NULL, kind BIGINT NOT NULL, name TEXT NOT NULL,
		first_seen BIGINT NOT NULL, last_seen BIGINT NOT NULL, days BIGINT NOT NULL,
		accepted BIGINT NOT NULL, PRIMARY KEY (scope, kind, name)) WITHOUT ROWID;
	INSERT INTO helo_meta VALUES (0, 0, 0, 0, 0, 'SECRET');`,
}

const (
	endUpgrade  = ` UPDATE helo_meta SET version = VERSION; COMMIT`
	readVersion = `SELECT version FROM helo_meta`
	readMeta    = `SELECT newest, known, neighbours, waiting, secret FROM helo_meta`
	setMeta     = `UPDATE helo_meta SET newest = $1, known = $2, neighbours = $3, waiting = $4`
	// lockMeta is the first statement of each transaction. Other transactions wait for its lock.
	lockMeta = `UPDATE helo_meta SET version = version
		RETURNING newest, known, neighbours, waiting, secret`

	readScope = `SELECT * FROM helo_memory WHERE scope = $1`
	// readPortion reads the rows after a key.
	readPortion = `SELECT * FROM helo_memory WHERE (scope, kind, name) > ($1, $2, $3)
		ORDER BY scope, kind, name LIMIT 1000` // portionRows

	// The next statements take a list of rows. readScopes reads all rows of their scopes.
	readScopes = `SELECT * FROM helo_memory WHERE scope IN (SELECT column1 FROM (VALUES %s) AS v)`
	writeRows  = `INSERT INTO helo_memory VALUES %s ON CONFLICT (scope, kind, name) DO UPDATE SET
		first_seen = excluded.first_seen, last_seen = excluded.last_seen, days = excluded.days,
		accepted = excluded.accepted`
	// deleteRows deletes the listed rows that have not changed, and returns them.
	deleteRows = `DELETE FROM helo_memory
		WHERE (scope, kind, name, first_seen, last_seen, days, accepted) IN (VALUES %s) RETURNING *`

	portionRows = 1000
	mergedRows  = 100 // per statement, which can read 3,000 rows of 100 networks
)

// Counts are numbers of rows.
type Counts struct{ Known, Neighbours, Waiting int64 }

func (c *Counts) of(k Kind) *int64 {
	return [...]*int64{KindKnown: &c.Known, KindNeighbour: &c.Neighbours, KindWaiting: &c.Waiting}[k]
}

// meta is the only row of helo_meta.
type meta struct {
	Counts
	newest int64 // Unix time of the last write
	secret string
	over   uint64 // rows that the table rejected in this transaction
}

func (m *meta) read(ctx context.Context, q queryer, statement string) error {
	return q.QueryRowContext(ctx, statement).
		Scan(&m.newest, &m.Known, &m.Neighbours, &m.Waiting, &m.secret)
}

// queryer is a database or a transaction.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// query returns the rows of a statement.
func query(ctx context.Context, q queryer, statement string, args ...any) ([]row, error) {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	var list []row
	for rows.Next() {
		var r row
		var scope string
		err = errors.Join(err, rows.Scan(&scope, &r.kind, &r.name, &r.first, &r.last, &r.days,
			&r.accepted))
		r.scope = parseScope(scope)
		list = append(list, r)
	}
	return list, errors.Join(err, rows.Err(), rows.Close())
}

// values puts rows into a statement: numbers as literals, text as parameters.
func (p place) values(statement string, rows []row) (text string, args []any) {
	var b strings.Builder
	for i, r := range rows {
		accepted := 0
		if r.accepted {
			accepted = 1
		}
		fmt.Fprintf(&b, ", ($%d, %d, $%d, %d, %d, %d, %d)", 2*i+1, r.kind, 2*i+2, r.first, r.last,
			r.days, accepted)
		args = append(args, r.String(), r.name)
	}
	text = fmt.Sprintf(statement, b.String()[len(", "):])
	if p.kind == sqlite { // SQLite searches $1 by name, but ?1 is an index
		text = strings.ReplaceAll(text, "$", "?")
	}
	return text, args
}

// change runs f in a transaction that excludes other writers. It stores m as f has changed it.
func change(
	ctx context.Context, db *sql.DB, f func(tx *sql.Tx, m *meta) error,
) (m meta, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return m, err
	}
	defer func() { _ = tx.Rollback() }() // has no effect after Commit
	if err = m.read(ctx, tx, lockMeta); err != nil {
		return m, err
	}
	if err = f(tx, &m); err != nil {
		return m, err
	}
	_, err = tx.ExecContext(ctx, setMeta, m.newest, m.Known, m.Neighbours, m.Waiting)
	if err != nil {
		return m, err
	}
	return m, tx.Commit()
}

// merge merges rows into the table. A new row needs room in its scope and in the table.
func (d *DB) merge(ctx context.Context, tx *sql.Tx, m *meta, rows []row, at int64) error {
	text, args := d.values(readScopes, rows)
	found, err := query(ctx, tx, text, args...)
	if err != nil {
		return err
	}
	table := NewMap(&Room{Most: math.MaxInt})
	for _, r := range found {
		table.rows[r.scope] = append(table.rows[r.scope], r)
	}
	var changed []row
	for _, n := range rows {
		before, count := find(table.rows[n.scope], n.key), m.of(n.kind)
		added := before.last == 0
		if added && *count >= d.maxRows || table.merge(n, at) != nil {
			m.over++
			continue
		}
		if added {
			*count++
		}
		if now := before.with(n, at); now != before {
			changed = append(changed, now)
		}
	}
	if len(changed) > 0 {
		text, args = d.values(writeRows, changed)
		_, err = tx.ExecContext(ctx, text, args...)
	}
	return err
}

// remove deletes the rows that have not changed since they were read, and returns their number.
func (d *DB) remove(ctx context.Context, db *sql.DB, rows []row) (n int, err error) {
	if len(rows) == 0 {
		return 0, nil
	}
	text, args := d.values(deleteRows, rows)
	_, err = change(ctx, db, func(tx *sql.Tx, m *meta) error {
		gone, fault := query(ctx, tx, text, args...)
		for _, r := range gone {
			*m.of(r.kind)--
		}
		n = len(gone)
		return fault
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// upgrade brings the tables to the newest version. It writes nothing if they have it.
func (d *DB) upgrade(ctx context.Context, db *sql.DB) error {
	var version int
	err := db.QueryRowContext(ctx, readVersion).Scan(&version)
	switch {
	case err == nil && version > len(schema):
		return fmt.Errorf("%w: %d, this one knows %d", errNewer, version, len(schema))
	case err == nil && version == len(schema) || d.readOnly:
		return err
	}
	text := strings.NewReplacer("SECRET", rand.Text(), "VERSION", strconv.Itoa(len(schema))).
		Replace("BEGIN; " + strings.Join(schema[version:], " ") + endUpgrade)
	if d.kind == postgres { // room for updated rows in their page: no index write
		text = strings.ReplaceAll(text, "WITHOUT ROWID", "WITH (fillfactor = 80)")
	}
	_, err = db.ExecContext(ctx, text)
	return err
}
