package memory

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"maddy.example/checkhelo"
)

// A child is this test binary as another process, with a driver and a path. It works until its
// standard input ends.
const childEnv = "CHECKHELO_MEMORY_CHILD"

const batchRows = 200

var children = map[string]func(driver, path string) error{
	// lock holds the file: BEGIN EXCLUSIVE shuts writers out of a file with a WAL.
	"lock": func(driver, path string) error {
		return hold(driver, path, "BEGIN EXCLUSIVE")
	},
	// seize shuts readers out, too: a file without a WAL has one lock for all.
	"seize": func(driver, path string) error {
		return hold(driver, path, "PRAGMA journal_mode=DELETE", "BEGIN EXCLUSIVE")
	},
	// write writes batches as fast as it can and says so after each.
	"write": func(driver, path string) error {
		db, err := openQuiet(driver, path)
		if err != nil {
			return err
		}
		m := &Memory{Store: db}
		for n := 0; ; n++ {
			for i := range batchRows {
				m.Accept(batchSender(n, i))
			}
			if err := db.Flush(context.Background()); err != nil {
				return err
			}
			fmt.Println(n)
		}
	},
	// serve is a server of user nobody, which writes one row for each line that it reads.
	"serve": func(driver, path string) error {
		if err := syscall.Setgid(65534); err != nil {
			return err
		}
		if err := syscall.Setuid(65534); err != nil {
			return err
		}
		db, err := openQuiet(driver, path)
		if err != nil {
			return err
		}
		m := &Memory{Store: db}
		in := bufio.NewScanner(os.Stdin)
		for n := 0; in.Scan(); n++ {
			m.Accept(batchSender(n, 0))
			if err := db.Flush(context.Background()); err != nil {
				return err
			}
			fmt.Println("written")
		}
		return db.Close()
	},
}

func batchSender(n, i int) Sender {
	return sender(fmt.Sprintf("b%d.i%d.example", n, i), fmt.Sprintf("10.%d.%d.1", n%250, i%250))
}

func hold(driver, path string, statements ...string) error {
	db, err := sql.Open(driver, path)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			return err
		}
	}
	fmt.Println("held")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func runChild(name string) int {
	if err := children[name](os.Args[1], os.Args[2]); err != nil {
		fmt.Println("child:", err)
		return 1
	}
	return 0
}

type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startChild(t *testing.T, name, driver, path string) *child {
	t.Helper()
	c := &child{Cmd: exec.Command(os.Args[0], driver, path)}
	c.Env = append(os.Environ(), childEnv+"="+name)
	var err error
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	return c
}

// line wants a line of the child.
func (c *child) line(t *testing.T, want string) {
	t.Helper()
	if !c.out.Scan() || c.out.Text() != want {
		t.Fatalf("the child said %q, want %q", c.out.Text(), want)
	}
}

// end lets the child end by itself.
func (c *child) end(t *testing.T) {
	t.Helper()
	_ = c.in.Close()
	if err := c.Wait(); err != nil {
		t.Fatal(err)
	}
}

// A server that dies in the middle of a write loses this batch whole, and no other.
func TestKilledWhileWriting(t *testing.T) {
	onSQLite(t, func(t *testing.T, driver, base string) {
		t.Helper()
		for round := range 5 {
			path := base + strconv.Itoa(round)
			c := startChild(t, "write", driver, path)
			said := 0
			for said < 3+round && c.out.Scan() {
				n, err := strconv.Atoi(c.out.Text())
				if err != nil {
					t.Fatal(c.out.Text())
				}
				said = n + 1
			}
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			for c.out.Scan() { // what it managed to say
				said++
			}
			_ = c.Wait()

			clock := newClock()
			clock.set(time.Now())
			db := openDB(t, driver, path, clock)
			sound(t, db)
			m := &Memory{Store: db, Clock: clock.now}
			n := 0
			for ; ; n++ {
				found := 0
				for i := range batchRows {
					if grade(t, m, batchSender(n, i)) == checkhelo.Accepted {
						found++
					}
				}
				if found == 0 {
					break
				}
				if found != batchRows {
					t.Fatalf("batch %d has %d rows of %d", n, found, batchRows)
				}
			}
			if n < said {
				t.Errorf("%d batches were written, %d are left", said, n)
			}
		}
	})
}

// sound wants an undamaged file whose counts are right.
func sound(t *testing.T, db *DB) {
	t.Helper()
	ctx := context.Background()
	var text string
	if err := db.db.Load().QueryRow("PRAGMA integrity_check").Scan(&text); err != nil || text != "ok" {
		t.Fatal(text, err)
	}
	counted(t, db)
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// counted wants the counts that the store keeps to be those of its table.
func counted(tb testing.TB, db *DB) Counts {
	tb.Helper()
	var n Counts
	for k := KindKnown; k <= KindWaiting; k++ {
		err := db.db.Load().QueryRow("SELECT count(*) FROM helo_memory WHERE kind = $1", int(k)).Scan(n.of(k))
		if err != nil {
			tb.Fatal(err)
		}
	}
	var m meta
	if err := m.read(context.Background(), db.db.Load(), readMeta); err != nil {
		tb.Fatal(err)
	}
	if m.Counts != n {
		tb.Fatalf("the store counts %+v, its table has %+v", m.Counts, n)
	}
	return n
}

// The tool runs as root beside a server of another user, and when that one is stopped: it reads,
// does not write, and leaves no file that locks the server out.
func TestToolAsRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
	for _, driver := range sqliteDrivers() {
		t.Run(driver, func(t *testing.T) {
			dir, err := os.MkdirTemp("/tmp", "checkhelo-memory-") //nolint:usetesting // open to nobody
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			if err := os.Chown(dir, 65534, 65534); err != nil {
				t.Fatal(err)
			}
			path := dir + "/helo.db"
			read := func(want int) {
				t.Helper()
				tool, err := OpenTool(context.Background(), driver, path, false)
				if err != nil {
					t.Fatal(err)
				}
				n := 0
				err = tool.List(context.Background(), Filter{}, func(e Entry) {
					if e.Kind == KindKnown {
						n++
					}
				})
				if err != nil {
					t.Fatal(err)
				}
				_ = tool.Close()
				if n != want {
					t.Errorf("the tool sees %d senders, want %d", n, want)
				}
				if _, err := OpenTool(context.Background(), driver, path, true); !strings.Contains(
					fmt.Sprint(err), "belongs to user 65534") {
					t.Errorf("writing: %v", err)
				}
				files, err := os.ReadDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					info, err := f.Info()
					if err != nil {
						t.Fatal(err)
					}
					if s := info.Sys().(*syscall.Stat_t); s.Uid != 65534 || info.Mode().Perm() != 0o600 {
						t.Errorf("%s: user %d, mode %o", f.Name(), s.Uid, info.Mode().Perm())
					}
				}
			}
			for range 2 {
				c := startChild(t, "serve", driver, path)
				fmt.Fprintln(c.in)
				c.line(t, "written")
				read(1)
				fmt.Fprintln(c.in)
				c.line(t, "written")
				read(2)
				c.end(t)
				read(2)
				for _, f := range []string{"", "-wal", "-shm"} { // a new one for the second round
					_ = os.Remove(path + f)
				}
				c = startChild(t, "serve", driver, path)
				fmt.Fprintln(c.in)
				c.line(t, "written")
				c.end(t)
				read(1)
				// The server starts on what the tool has left.
				c = startChild(t, "serve", driver, path)
				fmt.Fprintln(c.in)
				c.line(t, "written")
				c.end(t)
				_ = os.Remove(path)
			}
		})
	}
}
