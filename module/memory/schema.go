package memory

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"fmt"
)

// schema has the statements of each version, the first one for an empty database. SQLite and
// PostgreSQL take them alike. Days are counted from 1970 (UTC); first_try is a Unix time.
var schema = [][]string{
	{
		`CREATE TABLE helo_known (network TEXT NOT NULL, name TEXT NOT NULL,
			first_day INTEGER NOT NULL, last_day INTEGER NOT NULL, days INTEGER NOT NULL,
			accepted INTEGER NOT NULL, PRIMARY KEY (network, name))`,
		`CREATE INDEX helo_known_last ON helo_known (accepted, last_day)`,
		`CREATE TABLE helo_neighbour (network TEXT NOT NULL, org TEXT NOT NULL,
			last_day INTEGER NOT NULL, PRIMARY KEY (network, org))`,
		`CREATE INDEX helo_neighbour_last ON helo_neighbour (last_day)`,
		`CREATE TABLE helo_waiting (scope TEXT NOT NULL, hash TEXT NOT NULL,
			first_try BIGINT NOT NULL, PRIMARY KEY (scope, hash))`,
		`CREATE INDEX helo_waiting_first ON helo_waiting (first_try)`,
		`INSERT INTO helo_meta (name, number, text) VALUES
			('newest', 0, ''), ('known', 0, ''), ('neighbours', 0, ''), ('waiting', 0, '')`,
	},
}

const (
	makeMeta = `CREATE TABLE IF NOT EXISTS helo_meta
		(name TEXT PRIMARY KEY, number BIGINT NOT NULL, text TEXT NOT NULL)`
	readVersion = `SELECT number FROM helo_meta WHERE name = 'version'`
	addMeta     = `INSERT INTO helo_meta (name, number, text) VALUES ($1, $2, $3)
		ON CONFLICT DO NOTHING`
	setMeta = `UPDATE helo_meta SET number = CAST($1 AS BIGINT) WHERE name = $2`
	addTo   = `UPDATE helo_meta SET number = number + CAST($1 AS BIGINT) WHERE name = $2`

	readKnown = `SELECT first_day, last_day, days, accepted FROM helo_known
		WHERE network = $1 AND name = $2`
	readNeighbours = `SELECT org, last_day FROM helo_neighbour WHERE network = $1
		ORDER BY last_day DESC LIMIT 16`
	readWaiting = `SELECT hash, first_try FROM helo_waiting
		WHERE scope = $1 AND hash = $2 OR scope = $3 AND hash = $4`
	countWaiting = `SELECT count(*) FROM helo_waiting WHERE scope = $1 AND first_try >= $2`

	insertKnown = `INSERT INTO helo_known (network, name, first_day, last_day, days, accepted)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS INTEGER), CAST($4 AS INTEGER),
			CAST($5 AS INTEGER), CAST($6 AS INTEGER)
		WHERE (SELECT count(*) FROM
			(SELECT 1 FROM helo_known WHERE network = $1 LIMIT 2048) AS n) < CAST($7 AS INTEGER)
		ON CONFLICT DO NOTHING`
	updateKnown = `UPDATE helo_known SET
		days = days + CASE WHEN last_day >= CAST($1 AS INTEGER) THEN 0
			WHEN last_day < CAST($2 AS INTEGER) THEN CAST($3 AS INTEGER)
			WHEN CAST($1 AS INTEGER) - last_day < CAST($3 AS INTEGER) - 1
			THEN CAST($1 AS INTEGER) - last_day ELSE CAST($3 AS INTEGER) - 1 END,
		last_day = CASE WHEN last_day > CAST($1 AS INTEGER) THEN last_day
			ELSE CAST($1 AS INTEGER) END,
		first_day = CASE WHEN first_day < CAST($2 AS INTEGER) THEN first_day
			ELSE CAST($2 AS INTEGER) END,
		accepted = CASE WHEN accepted > CAST($4 AS INTEGER) THEN accepted
			ELSE CAST($4 AS INTEGER) END
		WHERE network = $5 AND name = $6`
	insertNeighbour = `INSERT INTO helo_neighbour (network, org, last_day)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS INTEGER)
		WHERE (SELECT count(*) FROM helo_neighbour WHERE network = $1
			AND last_day >= CAST($3 AS INTEGER) - 30) < CAST($4 AS INTEGER)
		ON CONFLICT DO NOTHING`
	updateNeighbour = `UPDATE helo_neighbour SET last_day = CAST($1 AS INTEGER)
		WHERE last_day < CAST($1 AS INTEGER) AND network = $2 AND org = $3`
	insertWaiting = `INSERT INTO helo_waiting (scope, hash, first_try)
		VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`
	updateWaiting = `UPDATE helo_waiting SET first_try = CAST($1 AS BIGINT)
		WHERE (first_try > CAST($1 AS BIGINT) OR first_try < CAST($1 AS BIGINT) - 172800)
		AND scope = $2 AND hash = $3`

	expireKnown = `DELETE FROM helo_known WHERE (network, name) IN (SELECT network, name
		FROM helo_known WHERE accepted = $1 AND last_day < $2 ORDER BY last_day LIMIT 500)`
	expireStrangers = `DELETE FROM helo_known WHERE (network, name) IN (SELECT network, name
		FROM helo_known WHERE accepted = 0 AND days < 3 AND last_day < $1
		ORDER BY last_day LIMIT 500)`
	expireNeighbours = `DELETE FROM helo_neighbour WHERE (network, org) IN (SELECT network, org
		FROM helo_neighbour WHERE last_day < $1 ORDER BY last_day LIMIT 500)`
	expireWaiting = `DELETE FROM helo_waiting WHERE (scope, hash) IN (SELECT scope, hash
		FROM helo_waiting WHERE first_try < $1 ORDER BY first_try LIMIT 500)`
	portion = 500 // rows that one of them deletes
)

// upgrade brings the tables to the newest version. Nothing is written when they have it.
func upgrade(ctx context.Context, db *sql.DB, readOnly bool) error {
	var version int
	err := db.QueryRowContext(ctx, readVersion).Scan(&version)
	switch {
	case err == nil && version > len(schema):
		return fmt.Errorf("%w: %d, this one knows %d", ErrNewer, version, len(schema))
	case err == nil && version == len(schema) || readOnly:
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	if version, err = prepareMeta(ctx, tx); err != nil {
		return err
	}
	for ; version < len(schema); version++ {
		for _, statement := range schema[version] {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
	}
	if _, err := tx.ExecContext(ctx, setMeta, version, "version"); err != nil {
		return err
	}
	return tx.Commit()
}

// prepareMeta makes the table of versions and the secret, if need be.
func prepareMeta(ctx context.Context, tx *sql.Tx) (version int, err error) {
	secret := make([]byte, 32)
	if _, err = rand.Read(secret); err != nil {
		return 0, err
	}
	if _, err = tx.ExecContext(ctx, makeMeta); err != nil {
		return 0, err
	}
	if _, err = tx.ExecContext(ctx, addMeta, "version", 0, ""); err != nil {
		return 0, err
	}
	if _, err = tx.ExecContext(ctx, addMeta, "key", 0, hex.EncodeToString(secret)); err != nil {
		return 0, err
	}
	err = tx.QueryRowContext(ctx, readVersion).Scan(&version)
	return version, err
}

// meta is what the store knows about itself.
type meta struct {
	key    []byte
	newest int64 // Unix time of the last write
	counts       // rows
}

type counts struct{ known, neighbours, waiting int64 }

func readMeta(ctx context.Context, db *sql.DB) (meta, error) {
	var m meta
	rows, err := db.QueryContext(ctx, `SELECT name, number, text FROM helo_meta`)
	if err != nil {
		return m, err
	}
	defer func() { _ = rows.Close() }() // Err has it
	for rows.Next() {
		var name, text string
		var number int64
		if err = rows.Scan(&name, &number, &text); err != nil {
			return m, err
		}
		switch name {
		case "key":
			if m.key, err = hex.DecodeString(text); err != nil {
				return m, err
			}
		case "newest":
			m.newest = number
		case "known":
			m.known = number
		case "neighbours":
			m.neighbours = number
		case "waiting":
			m.waiting = number
		}
	}
	return m, rows.Err()
}
