package memory

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"maddy.example/checkhelo"
)

// disk mounts a file system of some KiB in memory.
func disk(t *testing.T, kib int) (dir string) {
	t.Helper()
	dir = t.TempDir()
	err := syscall.Mount("checkhelo-test", dir, "tmpfs", 0, fmt.Sprintf("size=%dk", kib))
	if err != nil {
		t.Skipf("SKIPPED: needs the right to mount, which root has: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// A full disk takes no writes. Reads go on, and so does the queue, until there is room.
func TestDiskFull(t *testing.T) {
	for _, driver := range sqliteDrivers() {
		t.Run(driver, func(t *testing.T) {
			dir, c := disk(t, 1024), newClock()
			path := filepath.Join(dir, "helo.db")
			withFriend(t, driver, path, c)
			db := openDB(t, driver, path, c)
			m := &Memory{Store: db, Clock: c.now}
			filler, err := os.Create(filepath.Join(dir, "filler"))
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = filler.Write(make([]byte, 4096))
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			var senders []Sender
			for i := range 500 {
				s := sender(fmt.Sprintf("mail.s%d.example", i), fmt.Sprintf("10.1.%d.1", i/2))
				senders = append(senders, s)
				m.Accept(s)
			}
			if err := db.Flush(context.Background()); err == nil ||
				!strings.Contains(err.Error(), "full") {
				t.Fatalf("got %v from a full disk", err)
			}
			if !db.Counters().Away {
				t.Error("the counters do not show it")
			}
			if g := grade(t, m, friend); g != checkhelo.Accepted {
				t.Errorf("the friend is %v", g)
			}
			if g := grade(t, m, senders[0]); g != checkhelo.Accepted {
				t.Errorf("the queued one is %v", g)
			}
			if err := os.Remove(filler.Name()); err != nil {
				t.Fatal(err)
			}
			_ = filler.Close()
			flush(t, db)
			sound(t, db)
			if n := counted(t, db); n.Known != int64(len(senders))+1 {
				t.Errorf("%+v", n)
			}
			works(t, m, true)
		})
	}
}

// A file system that is mounted read-only takes no writes, and may refuse reads.
func TestReadOnlyDisk(t *testing.T) {
	for _, driver := range sqliteDrivers() {
		t.Run(driver, func(t *testing.T) {
			dir, c, r := disk(t, 4096), newClock(), &reports{}
			path := filepath.Join(dir, "helo.db")
			withFriend(t, driver, path, c)
			remount := func(flags uintptr) {
				t.Helper()
				err := syscall.Mount("checkhelo-test", dir, "tmpfs", syscall.MS_REMOUNT|flags, "")
				if err != nil {
					t.Fatal(err)
				}
			}
			remount(syscall.MS_RDONLY)
			db := openDB(t, driver, path, c, func(d *DB) { d.report = r.add })
			m := &Memory{Store: db, Clock: c.now}
			m.Accept(stranger)
			if err := db.Flush(context.Background()); err == nil {
				t.Fatal("a read-only file system took a write")
			}
			if !db.Counters().Away {
				t.Error("the counters do not show it")
			}
			g, err := m.Known(context.Background(), friend)
			if err == nil && g != checkhelo.Accepted || err != nil && g != checkhelo.Stranger {
				t.Errorf("the friend is %v, %v", g, err)
			}
			c.move(day)
			db.tick(writeTime)
			if said := r.take(); len(said) == 0 {
				t.Error("nothing is reported")
			}
			remount(0)
			flush(t, db)
			works(t, m, true)
			sound(t, db)
		})
	}
}
