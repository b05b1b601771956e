package memory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// schema has the statements of each version, the first one for an empty database. The rows of one
// network lie together, so that a session writes one page. There is no index by time: it would have
// two more pages of each row written, and be half of the file.
var schema = [][]string{
	{
		`CREATE TABLE helo_meta (version BIGINT NOT NULL, newest BIGINT NOT NULL, known BIGINT NOT NULL,
			neighbours BIGINT NOT NULL, waiting BIGINT NOT NULL, secret TEXT NOT NULL)`,
		`CREATE TABLE helo_memory (scope TEXT NOT NULL, kind BIGINT NOT NULL, name TEXT NOT NULL,
			first_seen BIGINT NOT NULL, last_seen BIGINT NOT NULL, days BIGINT NOT NULL,
			accepted BIGINT NOT NULL, PRIMARY KEY (scope, kind, name)) WITHOUT ROWID`,
	},
}

const (
	readVersion = `SELECT version FROM helo_meta`
	setVersion  = `UPDATE helo_meta SET version = $1`
	addMeta     = `INSERT INTO helo_meta VALUES (0, 0, 0, 0, 0, $1)`
	readMeta    = `SELECT newest, known, neighbours, waiting, secret FROM helo_meta`
	setMeta     = `UPDATE helo_meta SET newest = $1, known = $2, neighbours = $3, waiting = $4`
	// lockMeta comes first in each transaction: the others wait for it, on all servers.
	lockMeta = `UPDATE helo_meta SET version = version
		RETURNING newest, known, neighbours, waiting, secret`

	readScope = `SELECT * FROM helo_memory WHERE scope = $1 AND kind = $2`
	// countScope counts the rows of a scope that are not older than $3.
	countScope = `SELECT count(*) FROM helo_memory WHERE scope = $1 AND kind = $2 AND last_seen >= $3`
	// readPortion reads the rows behind a key.
	readPortion = `SELECT * FROM helo_memory WHERE (scope, kind, name) > ($1, $2, $3)
		ORDER BY scope, kind, name LIMIT 1000` // portionRows
	// readKeys reads the rows of a list of keys, writeRows writes a list of rows.
	readKeys = `SELECT m.* FROM (VALUES %s) AS v JOIN helo_memory AS m
		ON m.scope = v.column1 AND m.kind = v.column2 AND m.name = v.column3`
	writeRows = `INSERT INTO helo_memory VALUES %s ON CONFLICT (scope, kind, name) DO UPDATE SET
		first_seen = excluded.first_seen, last_seen = excluded.last_seen, days = excluded.days,
		accepted = excluded.accepted`
	deleteRow = `DELETE FROM helo_memory WHERE scope = $1 AND kind = $2 AND name = $3`

	portionRows = 1000
	mostKeys    = 200 // of one statement
)

// dialect returns a statement as the database spells it. To SQLite $2 is a name, ?2 a number. Free
// room in a page of PostgreSQL takes the new form of a row, which the index then need not know.
func (p place) dialect(statement string) string {
	if p.kind == postgres {
		return strings.ReplaceAll(statement, "WITHOUT ROWID", "WITH (fillfactor = 80)")
	}
	return strings.ReplaceAll(statement, "$", "?")
}

// id is the key of a row in the table.
type id struct {
	scope string
	kind  kind
	name  string
}

// stored is a row of the table.
type stored struct {
	id
	row
}

// Counts are numbers of rows.
type Counts struct{ Known, Neighbours, Waiting int64 }

func (c *Counts) of(k kind) *int64 {
	return [...]*int64{knownRow: &c.Known, neighbourRow: &c.Neighbours, waitingRow: &c.Waiting}[k]
}

// meta is what the store knows about itself.
type meta struct {
	Counts
	newest int64 // Unix time of the last write
	secret string
	over   uint64 // rows that the table did not take, in this transaction
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
func query(ctx context.Context, q queryer, statement string, args ...any) ([]stored, error) {
	rows, err := q.QueryContext(ctx, statement, args...)
	if err != nil {
		return nil, err
	}
	var list []stored
	for rows.Next() {
		var s stored
		err = errors.Join(err, rows.Scan(&s.scope, &s.kind, &s.name, &s.first, &s.last, &s.days,
			&s.accepted))
		list = append(list, s)
	}
	return list, errors.Join(err, rows.Err(), rows.Close())
}

// values sets the keys of rows, or the whole rows, into a statement.
func (p place) values(
	statement string, rows []stored, whole bool,
) (text string, args []any) {
	var b strings.Builder
	for i, r := range rows {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "($%d, %d, $%d", 2*i+1, r.kind, 2*i+2)
		if whole {
			accepted := 0
			if r.accepted {
				accepted = 1
			}
			fmt.Fprintf(&b, ", %d, %d, %d, %d", r.first, r.last, r.days, accepted)
		}
		b.WriteByte(')')
		args = append(args, r.scope, r.name)
	}
	return p.dialect(fmt.Sprintf(statement, b.String())), args
}

// find returns which of some rows are in the table, and as what.
func (p place) find(ctx context.Context, tx *sql.Tx, rows []stored) ([]stored, error) {
	statement, args := p.values(readKeys, rows, false)
	return query(ctx, tx, statement, args...)
}

// transact runs f in a transaction.
func transact(ctx context.Context, db *sql.DB, f func(*sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		_ = tx.Rollback() // the first error tells
		return err
	}
	return tx.Commit()
}

// change runs f in a transaction while no other process writes, and writes what f makes of m.
func change(
	ctx context.Context, db *sql.DB, f func(tx *sql.Tx, m *meta) error,
) (m meta, err error) {
	return m, transact(ctx, db, func(tx *sql.Tx) error {
		if err := m.read(ctx, tx, lockMeta); err != nil {
			return err
		}
		if err := f(tx, &m); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, setMeta, m.newest, m.Known, m.Neighbours, m.Waiting)
		return err
	})
}

// merge merges rows into the table.
func (d *DB) merge(ctx context.Context, tx *sql.Tx, m *meta, rows []stored, at int64) error {
	found, err := d.find(ctx, tx, rows)
	if err != nil {
		return err
	}
	old := make(map[id]row, len(found))
	for _, r := range found {
		old[r.id] = r.row
	}
	sizes := map[id]int{}
	merged := make([]stored, 0, len(rows))
	for _, r := range rows {
		before, ok := old[r.id]
		if !ok {
			if ok, err = d.takes(ctx, tx, m, r, at, sizes); err != nil {
				return err
			}
		}
		if ok {
			merged = append(merged, stored{r.id, before.unlessOld(r.kind, at).with(r.kind, r.row)})
		}
	}
	if len(merged) > 0 {
		statement, args := d.values(writeRows, merged, true)
		_, err = tx.ExecContext(ctx, statement, args...) //nolint:gosec // all text in it is $1, $2 ...
	}
	return err
}

// takes counts a new row, if there is room for it in its scope and in the table. sizes are those of
// the scopes so far.
func (d *DB) takes(
	ctx context.Context, tx *sql.Tx, m *meta, r stored, at int64, sizes map[id]int,
) (bool, error) {
	in := id{r.scope, r.kind, ""}
	size, ok := sizes[in]
	if !ok {
		err := tx.QueryRowContext(ctx, countScope, in.scope, int(in.kind), in.kind.oldest(at)).
			Scan(&size)
		if err != nil {
			return false, err
		}
	}
	n := m.of(r.kind)
	if ok = size < r.kind.share(r.row) && *n < d.opts.MaxRows; ok {
		size++
		*n++
	} else {
		m.over++
	}
	sizes[in] = size
	return ok, nil
}

// remove deletes those of some rows that are as old as they must be, and returns their number.
func (d *DB) remove(
	ctx context.Context, db *sql.DB, rows []stored, must func(stored) bool,
) (n int64, _ error) {
	if len(rows) == 0 {
		return 0, nil
	}
	_, err := change(ctx, db, func(tx *sql.Tx, m *meta) error {
		for some := range slices.Chunk(rows, mostKeys) {
			found, err := d.find(ctx, tx, some)
			for _, r := range found {
				if err == nil && must(r) {
					_, err = tx.ExecContext(ctx, deleteRow, r.scope, int(r.kind), r.name)
					*m.of(r.kind)--
					n++
				}
			}
			if err != nil {
				n = 0
				return err
			}
		}
		return nil
	})
	return n, err
}

// upgrade brings the tables to the newest version. Nothing is written when they have it.
func (d *DB) upgrade(ctx context.Context, db *sql.DB) error {
	var version int
	err := db.QueryRowContext(ctx, readVersion).Scan(&version)
	switch {
	case err == nil && version > len(schema):
		return fmt.Errorf("%w: %d, this one knows %d", ErrNewer, version, len(schema))
	case err == nil && version == len(schema) || d.readOnly:
		return err
	}
	return transact(ctx, db, func(tx *sql.Tx) error {
		for _, statement := range slices.Concat(schema[version:]...) {
			if _, err := tx.ExecContext(ctx, d.dialect(statement)); err != nil { //nolint:gosec // a constant
				return err
			}
		}
		if version == 0 {
			if _, err := tx.ExecContext(ctx, addMeta, rand.Text()); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, setVersion, len(schema))
		return err
	})
}
