package memory

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
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
	p := place{kind, choice[i], dsn}
	if kind == postgres {
		return p, nil
	}
	p.kind = sqlite
	path, err := filepath.Abs(dsn)
	if err != nil {
		return place{}, fmt.Errorf("memory: %w", err)
	}
	// Two names of one directory are one place.
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		path = filepath.Join(dir, filepath.Base(path))
	}
	p.dsn = path
	return p, nil
}

// String returns the file, or PostgreSQL without the DSN, which can hold a password.
func (p place) String() string {
	if p.kind == sqlite {
		return p.dsn
	}
	return "PostgreSQL"
}

// open returns the database without connecting to it.
func (p place) open(readOnly bool, lockTime time.Duration) (*sql.DB, error) {
	c := &connector{place: p}
	busy := fmt.Sprintf("PRAGMA busy_timeout=%d", lockTime.Milliseconds())
	// Driver sqlite3 has statements of its own before ours; driver sqlite ignores the parameter.
	file := func(mode string) string {
		u := url.URL{Scheme: "file", Path: p.dsn}
		u.RawQuery = fmt.Sprintf("mode=%s&_busy_timeout=%d", mode, lockTime.Milliseconds())
		return u.String()
	}
	switch {
	case p.kind == postgres && !strings.Contains(p.dsn, "connect_timeout"):
		// A server that does not answer must not hold a connection up for minutes.
		c.name = addOption(p.dsn, "connect_timeout=5")
	case p.kind == postgres:
		c.name = p.dsn
	case readOnly:
		c.name = file("ro")
		c.pragmas = []string{busy, "PRAGMA query_only=1"}
	default:
		c.name = file("rw")
		// FULL: a power cut loses no more than a crash, for one fsync a batch.
		c.pragmas = []string{busy, "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL"}
	}
	bare, err := sql.Open(p.driver, "")
	if err != nil {
		return nil, err
	}
	c.driver = bare.Driver()
	_ = bare.Close() // it never connected
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(maxReaders + 1)
	db.SetMaxIdleConns(maxReaders + 1)
	return db, nil
}

func addOption(dsn, option string) string {
	switch {
	case !strings.Contains(dsn, "://"):
		return dsn + " " + option
	case strings.Contains(dsn, "?"):
		return dsn + "&" + option
	}
	return dsn + "?" + option
}

// connector runs the PRAGMAs as statements on each connection: the two SQLite drivers spell them
// differently in a DSN.
type connector struct {
	place
	name    string
	driver  driver.Driver
	pragmas []string
}

// Driver returns the driver of the database.
func (c *connector) Driver() driver.Driver { return c.driver }

// Connect opens one connection.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.driver.Open(c.name)
	if err != nil {
		return nil, err
	}
	for _, pragma := range c.pragmas {
		e, ok := conn.(driver.ExecerContext)
		if !ok {
			return nil, errors.Join(ErrNoDriver, conn.Close())
		}
		// A file that cannot be written or has no shared memory keeps its journal mode.
		_, err := e.ExecContext(ctx, pragma, nil)
		if err != nil && !strings.Contains(pragma, "journal_mode") {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return conn, nil
}

// prepare makes the file of SQLite, which its owner alone may read, and returns what it is.
func (p place) prepare() (os.FileInfo, error) {
	if p.kind == postgres {
		return nil, nil
	}
	f, err := os.OpenFile(p.dsn, os.O_CREATE|os.O_RDWR, fileMode)
	if err == nil {
		err = f.Close()
	} else if errors.Is(err, fs.ErrPermission) || !errors.Is(err, fs.ErrNotExist) {
		err = nil // it may still be readable
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(p.dsn)
	if err == nil && info.Mode().Perm()&^fileMode != 0 {
		err = os.Chmod(p.dsn, fileMode)
	}
	return info, err
}

// replaced tells whether another file, or none, has taken the place of an open one.
func (p place) replaced(opened os.FileInfo) bool {
	if opened == nil {
		return false
	}
	info, err := os.Stat(p.dsn)
	return errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(opened, info)
}

var passwords = regexp.MustCompile(
	`(?i)\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|\S*)|://[^:/@\s]*:([^@\s]*)@|[?&]password=([^&\s]*)`)

// clean returns an error of a driver as text, with the place and without the password of a DSN.
func (p place) clean(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	switch own, ok := strings.CutPrefix(text, "memory: "); {
	case ok && strings.HasPrefix(own, p.String()):
		return err
	case ok:
		return fmt.Errorf("memory: %s: %w", p, err)
	case p.kind == postgres:
		text = p.redact(err)
	}
	return fmt.Errorf("memory: %s: %s", p, text)
}

// redact returns what the driver says about a connection. About a DSN that it cannot read it
// quotes parts of it: that is left out.
func (p place) redact(err error) string {
	text := err.Error()
	var network net.Error
	known := errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded)
	for _, prefix := range []string{"pq: ", "sql: ", "driver: "} {
		known = known || strings.HasPrefix(text, prefix)
	}
	if !known {
		return "the driver does not take the DSN, or the connection broke"
	}
	for _, m := range passwords.FindAllStringSubmatch(p.dsn, -1) {
		for _, secret := range m[1:] {
			plain, err := url.QueryUnescape(secret)
			if err != nil {
				plain = secret
			}
			for _, s := range []string{secret, strings.Trim(secret, "'"), plain} {
				if s != "" {
					text = strings.ReplaceAll(text, s, "...")
				}
			}
		}
	}
	return text
}
