package memory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// schema has the statements of each version, the first one for an empty database. The rows of one
// network lie together, so that a session writes one page. There is no index by time: it would have
// two more pages of each row written, and be half of the file.
var schema = [][]string{
	{
		`CREATE TABLE helo_meta (name TEXT PRIMARY KEY, number BIGINT NOT NULL, text TEXT NOT NULL)`,
		`INSERT INTO helo_meta (name, number, text) VALUES ('version', 0, ''), ('newest', 0, ''),
			('known', 0, ''), ('neighbour', 0, ''), ('waiting', 0, '')`,
		`CREATE TABLE helo_memory (scope TEXT NOT NULL, kind BIGINT NOT NULL, name TEXT NOT NULL,
			first_seen BIGINT NOT NULL, last_seen BIGINT NOT NULL, days BIGINT NOT NULL,
			accepted BIGINT NOT NULL, PRIMARY KEY (scope, kind, name)) WITHOUT ROWID`,
	},
}

const (
	readVersion = `SELECT number FROM helo_meta WHERE name = 'version'`
	setVersion  = `UPDATE helo_meta SET number = $1 WHERE name = 'version'`
	addKey      = `INSERT INTO helo_meta (name, number, text) VALUES ('key', 0, $1)`
	setNewest   = `UPDATE helo_meta SET number = $1 WHERE name = 'newest' AND (number < $1 OR $2 = 1)`
	addToCount  = `UPDATE helo_meta SET number = number + $1 WHERE name = $2`

	readKnown = `SELECT first_seen, last_seen, days, accepted FROM helo_memory
		WHERE kind = 1 AND scope = $1 AND name = $2`
	readNeighbours = `SELECT name, last_seen FROM helo_memory WHERE kind = 2 AND scope = $1
		AND last_seen >= $2`
	readWaiting = `SELECT
		COALESCE((SELECT last_seen FROM helo_memory WHERE kind = 3 AND scope = $1 AND name = $2), 0),
		COALESCE((SELECT last_seen FROM helo_memory WHERE kind = 3 AND scope = $3 AND name = $4), 0),
		(SELECT count(*) FROM helo_memory WHERE kind = 3 AND scope = $1 AND last_seen >= $5)`

	// updateRow merges a row as row.with does.
	updateRow = `UPDATE helo_memory SET
		days = days + CASE WHEN kind <> 1 THEN 0 ELSE LEAST(
			CAST($6 AS BIGINT) - CASE WHEN CAST($4 AS BIGINT) <= last_seen THEN 1 ELSE 0 END,
			GREATEST(0, (CAST($5 AS BIGINT) - last_seen) / 86400)) END,
		first_seen = LEAST(first_seen, CAST($4 AS BIGINT)),
		last_seen = CASE WHEN kind = 3 THEN CAST($5 AS BIGINT)
			ELSE GREATEST(last_seen, CAST($5 AS BIGINT)) END,
		accepted = GREATEST(accepted, CAST($7 AS BIGINT))
		WHERE kind = $1 AND scope = $2 AND name = $3`
	// insertRow adds a row where fewer rows of its scope are kept than its share, $8. Rows older
	// than $9 do not count.
	insertRow = `INSERT INTO helo_memory
			(kind, scope, name, first_seen, last_seen, days, accepted)
		SELECT CAST($1 AS BIGINT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT),
			CAST($5 AS BIGINT), CAST($6 AS BIGINT), CAST($7 AS BIGINT)
		WHERE (SELECT count(*) FROM (SELECT 1 FROM helo_memory WHERE kind = CAST($1 AS BIGINT)
			AND scope = CAST($2 AS TEXT) AND last_seen >= $9 LIMIT 2048) AS n) < $8
		ON CONFLICT DO NOTHING`

	// endOfPortion is the last key of the portion behind a key.
	endOfPortion = `SELECT scope, kind, name FROM helo_memory WHERE (scope, kind, name) > ($1, $2, $3)
		ORDER BY scope, kind, name LIMIT 1 OFFSET 999`
	// removeOld deletes in a portion what is older than $4, $5 or $6, and strangers older than $7.
	removeOld = `DELETE FROM helo_memory WHERE (scope, kind, name) > ($1, $2, $3)
		AND last_seen < CASE WHEN kind = 3 THEN CAST($6 AS BIGINT) WHEN kind = 2 THEN CAST($5 AS BIGINT)
			WHEN accepted = 0 AND days < 3 THEN CAST($7 AS BIGINT) ELSE CAST($4 AS BIGINT) END`
	toEndOfPortion = ` AND (scope, kind, name) <= ($8, $9, $10)`
	// removeChosen takes a condition.
	removeChosen = `DELETE FROM helo_memory WHERE (scope, kind, name) IN
		(SELECT scope, kind, name FROM helo_memory WHERE %s LIMIT 1000)`
)

// dialect returns a statement as the database spells it. To SQLite $2 is a name, ?2 a number.
func (p place) dialect(statement string) string {
	if p.kind == postgres {
		return strings.ReplaceAll(statement, "WITHOUT ROWID", "")
	}
	return strings.NewReplacer("LEAST", "MIN", "GREATEST", "MAX", "$", "?").Replace(statement)
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
		for ; version < len(schema); version++ {
			for _, statement := range schema[version] {
				//nolint:gosec // a constant
				if _, err := tx.ExecContext(ctx, d.dialect(statement)); err != nil {
					return err
				}
			}
			if version == 0 {
				secret := make([]byte, 32)
				if _, err := rand.Read(secret); err != nil {
					return err
				}
				if _, err := tx.ExecContext(ctx, addKey, hex.EncodeToString(secret)); err != nil {
					return err
				}
			}
		}
		_, err := tx.ExecContext(ctx, setVersion, version)
		return err
	})
}

// Counts are numbers of rows.
type Counts struct{ Known, Neighbours, Waiting int64 }

func (c *Counts) of(k kind) *int64 {
	return [...]*int64{knownRow: &c.Known, neighbourRow: &c.Neighbours, waitingRow: &c.Waiting}[k]
}

// store adds c to the counts of the database.
func (c *Counts) store(ctx context.Context, tx *sql.Tx) error {
	for k := knownRow; k <= waitingRow; k++ {
		if n := *c.of(k); n != 0 {
			if _, err := tx.ExecContext(ctx, addToCount, n, kinds[k].name); err != nil {
				return err
			}
		}
	}
	return nil
}

// meta is what the store knows about itself.
type meta struct {
	key    []byte
	newest int64 // Unix time of the last write
	counts Counts
}

func readMeta(ctx context.Context, db *sql.DB) (m meta, err error) {
	rows, err := db.QueryContext(ctx, `SELECT name, number, text FROM helo_meta`)
	if err != nil {
		return m, err
	}
	for name, text, number := "", "", int64(0); rows.Next(); {
		if err = errors.Join(err, rows.Scan(&name, &number, &text)); err != nil {
			continue
		}
		switch name {
		case "key":
			m.key, err = hex.DecodeString(text)
		case "newest":
			m.newest = number
		}
		for k := knownRow; k <= waitingRow; k++ {
			if kinds[k].name == name {
				*m.counts.of(k) = number
			}
		}
	}
	return m, errors.Join(err, rows.Err(), rows.Close())
}
