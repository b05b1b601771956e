package module_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
)

// postgres is a private cluster on a port of its own.
type postgres struct {
	t    *testing.T
	bin  string
	data string
	port string
	*sql.DB
}

// startPostgres makes and runs a cluster, or skips the test where there is no PostgreSQL.
func startPostgres(t *testing.T) *postgres {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		t.Skip("SKIPPED: PostgreSQL is not installed (Debian: apt-get install postgresql); " +
			"lists shared through table.sql_query are not tested")
	}
	//nolint:usetesting // t.TempDir is too long for a socket, and closed to the user postgres
	dir, err := os.MkdirTemp("/tmp", "checkhelo-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &postgres{t: t, bin: filepath.Dir(found[len(found)-1]), data: filepath.Join(dir, "data"), port: freePort()}
	if os.Getuid() == 0 { // PostgreSQL does not run as root
		id := p.account()
		if err := os.Chown(dir, int(id.Uid), int(id.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	p.run("initdb", "-D", p.data, "-A", "trust", "-U", "maddy", "--no-sync")
	p.start()
	t.Cleanup(func() { _ = p.command("pg_ctl", "-D", p.data, "-m", "immediate", "stop").Run() })
	p.DB, err = sql.Open("postgres", p.dsn())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	p.exec("CREATE TABLE helo_names (name TEXT PRIMARY KEY, value TEXT NOT NULL DEFAULT '')")
	p.exec("CREATE TABLE helo_denied (name TEXT PRIMARY KEY, value TEXT NOT NULL DEFAULT '')")
	return p
}

func (p *postgres) account() *syscall.Credential {
	p.t.Helper()
	u, err := user.Lookup("postgres")
	if err != nil {
		p.t.Skip("SKIPPED: there is no user postgres to run PostgreSQL as")
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (p *postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: p.account()}
	}
	return cmd
}

func (p *postgres) run(name string, args ...string) {
	p.t.Helper()
	var out bytes.Buffer
	cmd := p.command(name, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		p.t.Fatalf("%s: %v\n%s", name, err, &out)
	}
}

func (p *postgres) start() {
	p.t.Helper()
	p.run("pg_ctl", "-D", p.data, "-w", "-l", filepath.Join(filepath.Dir(p.data), "log"),
		"-o", fmt.Sprintf("-p %s -c listen_addresses=127.0.0.1 -c unix_socket_directories=%s -c fsync=off",
			p.port, filepath.Dir(p.data)), "start")
}

func (p *postgres) dsn() string {
	return fmt.Sprintf("host=127.0.0.1 port=%s user=maddy dbname=postgres sslmode=disable", p.port)
}

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

	db.run("pg_ctl", "-D", db.data, "-m", "immediate", "-w", "stop")
	both("under_score.sender-bench.com", 250)
	both("mta01.yourcompany.com", 250)
	both("mta01.yourcompany.com", 250)
	for i, s := range servers {
		text, err := os.ReadFile(s.log)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(text), `nobody is refused for that`); n < 1 || n > 2 {
			t.Errorf("server %d logged the dead tables %d times", i, n)
		}
	}
	db.start()
	for range 50 { // the servers' connections come back one by one
		if _, err := db.Exec("SELECT 1"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	both("mta01.yourcompany.com", 550)
}
