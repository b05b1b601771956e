package memory

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Errors of opening.
var (
	// ErrNoDriver says that the binary has no driver for the database.
	ErrNoDriver = errors.New("memory: the binary has no driver for this database")
	// ErrNewer says that a newer version of this program has changed the tables.
	ErrNewer = errors.New("memory: the tables are of a newer version of this program")
	// ErrNotOwner says that the tool would leave files that lock the server out.
	ErrNotOwner = errors.New("memory: only the owner of the directory may write")
)

const (
	fileMode = 0o600
	sqlite   = "sqlite3"
	postgres = "postgres"
	maxConns = 5 // one of them writes
)

// place says where the rows lie.
type place struct {
	kind   string // sqlite or postgres
	driver string // as database/sql has it registered
	dsn    string // of postgres; the absolute path of the file of sqlite
}

// newPlace finds the driver. Maddy's SQLite driver is called sqlite3 with cgo and sqlite
// without; "sqlite" as kind wants the latter.
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
	// Two names of one directory are one place.
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

// sqliteDSN names each PRAGMA twice: as driver sqlite3 reads it, and as driver sqlite does.
func (p place) sqliteDSN(readOnly bool) string {
	options := url.Values{}
	set := func(pragma, value string) {
		options.Add("_"+pragma, value)
		options.Add("_pragma", pragma+"="+value)
	}
	set("busy_timeout", "500") // ms that a write waits for that of another process
	if readOnly {
		options.Set("mode", "ro")
		set("query_only", "1")
	} else {
		options.Set("mode", "rw")
		set("journal_mode", "WAL")
		set("synchronous", "FULL")  // a power cut loses no more than a crash, for one fsync a batch
		set("cache_size", "-32000") // KiB; the inner pages of 10^7 rows take 9,000
	}
	return (&url.URL{Scheme: "file", Path: p.dsn, RawQuery: options.Encode()}).String()
}

// prepare makes the file of SQLite, which its owner alone may read, and returns what it is.
func (p place) prepare() (os.FileInfo, error) {
	if p.kind == postgres {
		return nil, nil
	}
	f, err := os.OpenFile(p.dsn, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	if err := f.Chmod(fileMode); err != nil {
		return nil, err
	}
	return f.Stat()
}

// replaced tells whether another file, or none, has taken the place of an open one.
func (p place) replaced(opened os.FileInfo) bool {
	if opened == nil {
		return false
	}
	info, err := os.Stat(p.dsn)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(opened, info)
}

// clean returns an error of a driver as text, with the place and without the password of a DSN.
func (p place) clean(err error) error {
	if err == nil {
		return nil
	}
	var answer interface{ SQLState() string } // of PostgreSQL
	own, ok := strings.CutPrefix(err.Error(), "memory: ")
	switch {
	case ok && strings.HasPrefix(own, p.Place()):
		return err
	case ok:
		return fmt.Errorf("memory: %s: %w", p.Place(), err)
	case p.kind == postgres && !errors.As(err, &answer) && strings.Contains(own, `"`):
		own = "the driver does not take the DSN, or the connection broke" // its words quote the DSN
	}
	return fmt.Errorf("memory: %s: %s", p.Place(), own)
}
