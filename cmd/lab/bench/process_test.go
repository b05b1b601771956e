package bench

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// listen makes this test a server that runs until it is stopped.
const listen = "BENCH_TEST_LISTEN"

func TestMain(m *testing.M) {
	if address := os.Getenv(listen); address != "" {
		l, err := net.Listen("tcp", address)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		for {
			conn, err := l.Accept()
			if err != nil {
				os.Exit(1)
			}
			_ = conn.Close()
		}
	}
	os.Exit(m.Run())
}

// startSelf starts this test as a server. The caller has to stop it.
func startSelf(t *testing.T) *process {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address, err := freePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	p, err := start(t.Context(), program{name: "test", argv: []string{binary}, address: address,
		env: []string{listen + "=" + address}}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestStartAndStop(t *testing.T) {
	p := startSelf(t)
	if err := p.stop(); err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", p.address); err == nil {
		_ = conn.Close()
		t.Error("still answers")
	}
}

func TestStartTellsWhatWentWrong(t *testing.T) {
	address, err := freePort("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for want, argv := range map[string][]string{
		"left this log:\nbroken": {"sh", "-c", "echo broken; exit 3"},
		"no such file":           {"/nonexistent/server"},
	} {
		_, err := start(t.Context(), program{name: "test", argv: argv, address: address}, t.TempDir())
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", argv, err)
		}
	}
	if _, err := start(t.Context(), program{name: "test"}, "/nonexistent"); err == nil {
		t.Error("started without a place for its log")
	}
}

func TestSpace(t *testing.T) {
	s, err := newSpace(t.TempDir(), frontIP)
	if err != nil {
		t.Fatal(err)
	}
	got := readText(filepath.Join(s.dir, "resolv.conf"))
	if !strings.HasPrefix(got, "nameserver "+frontIP+"\n") {
		t.Errorf("%q", got)
	}
	argv := s.inside([]string{"server", "-x"})
	if argv[0] != "unshare" || !slices.Equal(argv[len(argv)-2:], []string{"server", "-x"}) ||
		!slices.Contains(argv, filepath.Join(s.dir, "hosts")) {
		t.Errorf("%q", argv)
	}
	if _, err := newSpace("/nonexistent", frontIP); err == nil {
		t.Error("made files nowhere")
	}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]int{
		"-h": 0, "-nosuch": 2, "-pairs 0": 2, "-messages 1": 2, "-sessions 0": 2, "more": 2,
	} {
		var said strings.Builder
		b := bench{err: &said}
		if got := b.main(t.Context(), strings.Fields(args)); got != want {
			t.Errorf("%s: %d, want %d", args, got, want)
		}
		if !strings.Contains(said.String(), "usage: go run ./cmd/lab bench") {
			t.Errorf("%s: %q", args, said.String())
		}
	}
}

func TestWants(t *testing.T) {
	if all := (&bench{}); !all.wants("maddy") || !all.wants("haraka") {
		t.Error("not all")
	}
	if one := (&bench{only: "haraka"}); one.wants("maddy") || !one.wants("haraka") {
		t.Error("not one")
	}
	if n := (&bench{messages: 19}).coldMessages(); n != 4 {
		t.Error(n)
	}
	if n := (&bench{messages: 1}).coldMessages(); n != 1 {
		t.Error(n)
	}
}

func TestMaddyConfig(t *testing.T) {
	off, on := maddyConfig("/x", "127.0.0.25:1", ""), maddyConfig("/x", "127.0.0.25:1", maddyStrict)
	if strings.Contains(off, "check") || !strings.Contains(off, "smtp tcp://127.0.0.25:1 {\n") {
		t.Error(off)
	}
	_, rest, found := strings.Cut(on, "    check {\n        helo_fqdn strict {\n")
	_, rest, found2 := strings.Cut(rest, "        }\n    }\n")
	if !found || !found2 || !strings.HasSuffix(off, rest) {
		t.Error(on)
	}
}

func TestDebian(t *testing.T) {
	dir := t.TempDir()
	d := debian{filepath.Join(dir, "debian")}
	if d.complete() || d.version(t.Context(), "postfix") != "" {
		t.Error("complete without files")
	}
	for _, path := range []string{d.sbin("smtp-source"), d.sbin("unbound"), d.daemons() + "/master",
		d.root + "/usr/lib/x86_64-linux-gnu/libprotobuf-c.so.1",
		dir + "/archives/postfix_3.7.11-0_amd64.deb"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !d.complete() {
		t.Error("not complete")
	}
	want := "LD_LIBRARY_PATH=" + d.root + "/usr/lib/postfix:" + d.root + "/usr/lib/x86_64-linux-gnu"
	if got := d.env(); len(got) != 1 || got[0] != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := d.version(t.Context(), "postfix"); got != "3.7.11-0" {
		t.Errorf("version %q", got)
	}
	if got := (debian{}).env(); got != nil {
		t.Errorf("installed programs need %q", got)
	}
}

func TestHarakaIsFetchedOnce(t *testing.T) {
	t.Setenv("PATH", "/nonexistent")
	if _, err := fetchHaraka(t.Context(), t.TempDir()); err == nil ||
		!strings.Contains(err.Error(), "not installed") {
		t.Error(err)
	}
	bin, dir := t.TempDir(), t.TempDir()
	for _, name := range []string{"node", "npm"} { // npm fails, so a second fetch would be seen
		script := []byte("#!/bin/sh\nexit 1\n")
		if err := os.WriteFile(filepath.Join(bin, name), script, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin)
	if _, err := fetchHaraka(t.Context(), dir); err == nil {
		t.Error("npm failed unseen")
	}
	plugin := filepath.Join(dir, "haraka", "node_modules", "haraka-plugin-helo.checks")
	if err := os.MkdirAll(plugin, 0o700); err != nil {
		t.Fatal(err)
	}
	list := readText(filepath.Join(dir, "haraka", "package.json"))
	if !strings.Contains(list, `"Haraka": "`+harakaVersion+`"`) {
		t.Errorf("package.json: %s", list)
	}
	if err := os.WriteFile(filepath.Join(plugin, "index.js"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := fetchHaraka(t.Context(), dir); err != nil || got != filepath.Join(dir, "haraka") {
		t.Errorf("%s, %v", got, err)
	}
}

func TestPrograms(t *testing.T) {
	l := &lab{bench: &bench{}, debian: debian{t.TempDir()}}
	for folder, want := range map[string]bool{"": false, "/x": true} {
		l.haraka = folder
		got := l.programs(t.Context())
		if !strings.HasPrefix(got, "Maddy v") || strings.Contains(got, "Haraka "+harakaVersion) != want {
			t.Errorf("%q: %q", folder, got)
		}
	}
}

func TestBothCaches(t *testing.T) {
	all := bothCaches("Test", "on", side{name: "off"}, side{name: "on"})
	if len(all) != 2 || all[0].cache() != "warm" || all[1].cache() != "cold" ||
		all[0].off.name != "off" || all[1].on.name != "on" {
		t.Errorf("%+v", all)
	}
}

// A lab that was given up halfway still clears away.
func TestCloseHalfALab(t *testing.T) {
	l := &lab{bench: &bench{err: io.Discard}, dir: t.TempDir()}
	if err := l.close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(l.dir); !os.IsNotExist(err) {
		t.Errorf("folder still there: %v", err)
	}
}

func TestLogTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, "line %d\n", i)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	got := logTail(path)
	if !strings.HasPrefix(got, "line 10\n") || !strings.HasSuffix(got, "line 29") {
		t.Errorf("%q", got)
	}
	if got := logTail(path + "x"); !strings.Contains(got, "no such file") {
		t.Errorf("%q", got)
	}
}
