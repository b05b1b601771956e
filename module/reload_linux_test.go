package module_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const page = 4096 // octets: a small disk grows by this much

// smallDisk mounts a file system of some KiB in memory.
func smallDisk(t *testing.T, kib string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("checkhelo-test", dir, "tmpfs", 0, "size="+kib+"k"); err != nil {
		t.Skipf("SKIPPED: needs the right to mount, which root has: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes into a file below dir until the disk is full.
func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, page))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}

// The operator writes a longer list while the disk is full. What is left of it
// ends within an address: 127.0.2.16 became 127.0.2.1, which is one, too.
func TestReloadOfListCutByFullDisk(t *testing.T) {
	const lost = "failed to load new configuration"
	disk := smallDisk(t, "16")
	list := filepath.Join(disk, "networks")
	if err := os.WriteFile(list, []byte("10.0.0.0/8\n127.0.2.8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, mx("helo_fqdn strict {\nexempt_networks file "+list+"\n}"))
	s.judged(t, "127.0.2.8", "127.0.2.1")
	before := s.mx(t)
	before.run(talk(send("EHLO localhost", 250)))
	fill(t, disk)

	text := []byte("10.0.0.0/8\n#" + strings.Repeat(" ", page) + "\n")
	cut := page - len("127.0.2.1")
	text = append(append(text[:cut-1], '\n'), "127.0.2.16\n127.0.2.8\n"...)
	if err := os.WriteFile(list, text, 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v from a full disk", err)
	}
	left, err := os.ReadFile(list)
	if err != nil || !bytes.HasSuffix(left, []byte("\n127.0.2.1")) {
		t.Fatalf("left: %d octets, %v", len(left), err)
	}
	s.signalReload(t)
	if line := s.waitLog(t, lost); !strings.Contains(line, list+":3: ") ||
		!strings.Contains(line, "may be cut") {
		t.Errorf("the log does not tell what is wrong: %s", line)
	}
	s.judged(t, "127.0.2.8", "127.0.2.1")
	before.run(transaction(550))
}

// A reload, and mail, need no place on the disk of Maddy's state and log.
func TestReloadWithFullStateDir(t *testing.T) {
	list := filepath.Join(t.TempDir(), "networks")
	write := func(text string) {
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("10.0.0.0/8\n127.0.2.8\n")
	if _, err := binary(); err != nil { // not on the small disk
		t.Fatal("build:", err)
	}
	disk := smallDisk(t, "256")
	t.Setenv("TMPDIR", disk) // the harness keeps state, log and configuration below it
	log := filepath.Join(disk, "maddy.log")
	s := start(t, strings.Replace(preamble, "stderr_ts", "stderr_ts "+log, 1)+
		mx("helo_fqdn strict {\nexempt_networks file "+list+"\n}"))
	if text, err := os.ReadFile(log); err != nil || !bytes.Contains(text, []byte("configuration loaded")) {
		t.Fatalf("the log has %q, %v", text, err)
	}
	s.judged(t, "127.0.2.8", "127.0.2.9")
	before := s.mx(t)
	before.run(talk(send("EHLO localhost", 250), transaction(550)))
	fill(t, disk)
	write("10.0.0.0/8\n127.0.2.9\n")
	s.signalReload(t)
	s.await(t, "new server started", 0)
	before.run(talk(send("RSET", 250), transaction(550), send("QUIT", 221)))
	s.settle(t)
	s.judged(t, "127.0.2.9", "127.0.2.8")
}
