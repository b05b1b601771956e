package module_test

import (
	"database/sql"
	"fmt"
	"testing"

	_ "github.com/lib/pq"

	"maddy.example/checkhelo/cmd/lab/pgtest"
)

// postgres is a private cluster with the tables that the lists of two servers share.
type postgres struct {
	t *testing.T
	*pgtest.Server
	*sql.DB
}

// startPostgres makes and runs a cluster, or skips the test where there is no PostgreSQL.
func startPostgres(t *testing.T) *postgres {
	t.Helper()
	p := &postgres{t: t, Server: pgtest.New(t)}
	t.Cleanup(p.Remove)
	var err error
	if p.DB, err = sql.Open("postgres", p.dsn()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	p.exec("CREATE TABLE helo_names (name TEXT PRIMARY KEY, value TEXT NOT NULL DEFAULT '')")
	p.exec("CREATE TABLE helo_denied (name TEXT PRIMARY KEY, value TEXT NOT NULL DEFAULT '')")
	return p
}

func (p *postgres) dsn() string { return p.DSN("postgres") }

func (p *postgres) exec(query string) {
	p.t.Helper()
	if _, err := p.Exec(query); err != nil {
		p.t.Fatal(err)
	}
}

// tables is the part of a check's configuration that names the shared lists.
func (p *postgres) tables() string {
	table := func(name string) string {
		return fmt.Sprintf("sql_query {\ndriver postgres\ndsn \"%s\"\nlookup \"SELECT value FROM %s WHERE name = $1\"\n}",
			p.dsn(), name)
	}
	return "exempt_names " + table("helo_names") + "\ndeny_names " + table("helo_denied")
}

// Two servers share lists in one database: a row counts at once in both, and a
// database that is down refuses nobody.
func TestListsSharedThroughPostgreSQL(t *testing.T) {
	db, dns := startPostgres(t), zone(t)
	var servers []*server
	for range 2 {
		servers = append(servers, start(t, mx(withDNS("strict", dns, db.tables()))))
	}
	both := func(helo string, want int) {
		t.Helper()
		for i, s := range servers {
			c := s.mx(t)
			c.begin(helo)
			if got := c.try("RCPT TO:<user@receiver-bench.org>"); got != want {
				t.Errorf("server %d, %s: got %d, want %d", i, helo, got, want)
			}
		}
	}
	both("under_score.sender-bench.com", 501)
	both("mta01.yourcompany.com", 250)
	db.exec("INSERT INTO helo_names (name) VALUES ('under_score.sender-bench.com')")
	db.exec("INSERT INTO helo_denied VALUES ('yourcompany.com', '550 5.7.1 not welcome')")
	both("under_score.sender-bench.com", 250)
	both("mta01.yourcompany.com", 550)
	// Octets that PostgreSQL refuses must not pass for a failing table.
	both("a\xff\x01b.example.com", 501)

	db.Stop(t)
	both("under_score.sender-bench.com", 250)
	both("mta01.yourcompany.com", 250)
	both("mta01.yourcompany.com", 250)
	for i, s := range servers {
		if n := s.logged(`nobody is refused for that`); n < 1 || n > 2 {
			t.Errorf("server %d logged the dead tables %d times", i, n)
		}
	}
	db.Start(t)
	until(t, "the database is back", func() bool { return db.Ping() == nil })
	both("mta01.yourcompany.com", 550)
}
