package memory

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"maddy.example/checkhelo"
)

// openTool opens a store as the tool does.
func openTool(t *testing.T, driver, dsn string, write bool) *DB {
	t.Helper()
	tool, err := OpenTool(context.Background(), driver, dsn, write)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tool.Close() })
	return tool
}

func list(t *testing.T, db *DB, filter string) (lines []string) {
	t.Helper()
	var f Filter
	if filter != "" {
		var err error
		if f, err = ParseFilter(filter); err != nil {
			t.Fatal(err)
		}
	}
	err := db.List(context.Background(), f, func(e Entry) {
		name := e.Name
		if e.Kind == KindWaiting {
			name, _, _ = strings.Cut(name, " ") // the hash differs from store to store
			if e.Network != "" {
				name = ""
			}
		}
		lines = append(lines, strings.TrimSpace(fmt.Sprint(e.Kind, " ", e.Network, " ", name)))
	})
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// The operator lists, exports, counts and forgets beside a running server.
func TestTool(t *testing.T) {
	onDatabases(t, func(t *testing.T, driver, dsn string) {
		t.Helper()
		c, ctx := newClock(), context.Background()
		server := openDB(t, driver, dsn, c)
		m := &Memory{Store: server, Clock: c.now}
		m.Accept(friend)
		m.Greet(sender("a_b.example.org", "192.0.2.9"), true)
		m.Greet(sender("axb.example.org", "192.0.2.9"), true)
		m.Greet(sender("example.org", "198.51.100.1"), true)
		m.Greet(sender("notexample.org", "198.51.100.2"), true)
		m.Greet(sender("mail.example.net", "2001:db8::1"), true)
		if _, err := m.Wait(ctx, stranger, "a@example.org", "b@example.net"); err != nil {
			t.Fatal(err)
		}
		flush(t, server)

		tool := openTool(t, driver, dsn, false)
		all := list(t, tool, "")
		if len(all) != 12 {
			t.Errorf("%d entries: %q", len(all), all)
		}
		for filter, want := range map[string][]string{
			"192.0.2.200": {"known 192.0.2.0/24 a_b.example.org", "known 192.0.2.0/24 axb.example.org",
				"known 192.0.2.0/24 mail.example.org", "neighbour 192.0.2.0/24 example.org"},
			"2001:db8:0:ffff::/64": {"known 2001:db8::/48 mail.example.net",
				"neighbour 2001:db8::/48 example.net"},
			"Example.Org.": {"known 192.0.2.0/24 a_b.example.org", "known 192.0.2.0/24 axb.example.org",
				"known 192.0.2.0/24 mail.example.org", "neighbour 192.0.2.0/24 example.org",
				"known 198.51.100.0/24 example.org", "neighbour 198.51.100.0/24 example.org"},
			"b.example.org":   nil,
			"a_b.example.org": {"known 192.0.2.0/24 a_b.example.org"},
			"example.net": {"known 2001:db8::/48 mail.example.net", "neighbour 2001:db8::/48 example.net",
				"waiting  example.net"},
			"198.51.100.7": {"known 198.51.100.0/24 example.org", "known 198.51.100.0/24 notexample.org",
				"neighbour 198.51.100.0/24 example.org", "neighbour 198.51.100.0/24 notexample.org",
				"waiting 198.51.100.0/24"},
		} {
			if got := list(t, tool, filter); !slices.Equal(got, want) {
				t.Errorf("%s: %q", filter, got)
			}
		}

		s, err := tool.Stats(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if s.Known != 6 || s.Accepted != 1 || s.Neighbours != 4 || s.Waiting != 2 ||
			!s.Newest.Equal(start) || (s.Size > 0) == (driver == postgres) {
			t.Errorf("%+v", s)
		}

		var text bytes.Buffer
		if err := tool.Export(ctx, &text, Filter{Network: networkOf(friend.Client)}); err != nil {
			t.Fatal(err)
		}
		const want = `kind,network,name,first,last,days,accepted
known,192.0.2.0/24,a_b.example.org,2026-03-10,2026-03-10,1,false
known,192.0.2.0/24,axb.example.org,2026-03-10,2026-03-10,1,false
known,192.0.2.0/24,mail.example.org,2026-03-10,2026-03-10,1,true
neighbour,192.0.2.0/24,example.org,2026-03-10,2026-03-10,0,false
`
		if text.String() != want {
			t.Errorf("exported:\n%s", &text)
		}

		if _, err := tool.Forget(ctx, Filter{}); err == nil {
			if driver != postgres {
				t.Error("a store opened for reading forgot")
			}
			return
		}
		writer := openTool(t, driver, dsn, true)
		if n, err := writer.Forget(ctx, Filter{Name: "example.org"}); n != 6 || err != nil {
			t.Error(n, err)
		}
		if n := counted(t, server); n != (Counts{2, 2, 2}) {
			t.Errorf("%+v", n)
		}
		c.move(2 * time.Minute)
		if g := grade(t, m, friend); g != checkhelo.Stranger {
			t.Errorf("the forgotten one is %v", g)
		}
		if n, err := writer.Forget(ctx, Filter{}); n != 6 || err != nil {
			t.Error(n, err)
		}
		if n := counted(t, server); n != (Counts{}) {
			t.Errorf("%+v", n)
		}
		// What the tool learns is there after Close, and the server sees it.
		learn := &Memory{Store: writer, Clock: c.now}
		learn.Accept(stranger)
		_ = writer.Close()
		c.move(time.Minute)
		if g := grade(t, m, stranger); g != checkhelo.Accepted {
			t.Errorf("the learnt one is %v", g)
		}
	})
}

// More entries than one portion are forgotten whole.
func TestForgetMany(t *testing.T) {
	onDatabases(t, func(t *testing.T, driver, dsn string) {
		t.Helper()
		c, ctx := newClock(), context.Background()
		server := openDB(t, driver, dsn, c)
		m := &Memory{Store: server, Clock: c.now}
		const senders = 6000
		for i := range senders {
			m.Accept(sender(fmt.Sprintf("s%d.example.org", i), fmt.Sprintf("10.%d.%d.1", i/250, i%250)))
		}
		flush(t, server)
		writer := openTool(t, driver, dsn, true)
		if n, err := writer.Forget(ctx, Filter{Name: "example.org"}); n != 2*senders || err != nil {
			t.Error(n, err)
		}
		if n := counted(t, server); n != (Counts{}) {
			t.Errorf("%+v", n)
		}
	})
}

func TestParseFilter(t *testing.T) {
	for _, arg := range []string{"", "0.0.0.0/0", "192.0.0.0/16", "2001:db8::/32", "a..b", "%"} {
		if f, err := ParseFilter(arg); err == nil {
			t.Errorf("%q is %+v", arg, f)
		}
	}
}

// A tool fails where a server goes on: it says what is wrong.
func TestToolNeedsItsStore(t *testing.T) {
	onSQLite(t, func(t *testing.T, driver, path string) {
		t.Helper()
		ctx := context.Background()
		if _, err := OpenTool(ctx, driver, path, false); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("reading made a file")
		}
		withFriend(t, driver, path, newClock())
		execute(t, driver, path, "UPDATE helo_meta SET version = 2")
		for _, write := range []bool{false, true} {
			if _, err := OpenTool(ctx, driver, path, write); !errors.Is(err, errNewer) {
				t.Error(err)
			}
		}
		if _, err := OpenTool(ctx, "mysql", path, false); err == nil {
			t.Error("mysql is known")
		}
	})
	// The tool makes a file for learn, in a directory of its own user.
	path := filepath.Join(t.TempDir(), "new.db")
	openTool(t, "sqlite", path, true)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
}

// A binary without drivers gets ErrNoDriver, and so the package links none itself.
func TestBinaryWithoutDrivers(t *testing.T) {
	out, err := exec.Command("go", "run", "./testdata/nodriver").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(out), "true memory: ") {
		t.Errorf("%s%v", out, err)
	}
}
