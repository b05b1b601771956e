package build

import (
	"debug/buildinfo"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"
)

// TestRealMaddy builds this checkout into the real Maddy, and once more with
// the network shut off.
func TestRealMaddy(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles Maddy")
	}
	fetched(t)
	dir := t.TempDir()
	online := Builder{Checkhelo: checkout(t), Output: filepath.Join(dir, "online"),
		Version: "1.2.3", Progress: logTo(t)}
	if err := online.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	offline := online
	offline.Output = filepath.Join(dir, "offline")
	if err := offline.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	var binaries [2]string
	for i, path := range []string{online.Output, offline.Output} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		binaries[i] = string(data)
	}
	info, err := buildinfo.ReadFile(online.Output)
	if err != nil {
		t.Fatal(err)
	}
	newer, err := modfile.Parse("newer.mod", newerMod, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range newer.Require {
		i := slices.IndexFunc(info.Deps, func(m *debug.Module) bool { return m.Path == want.Mod.Path })
		if i < 0 || semver.Compare(info.Deps[i].Version, want.Mod.Version) < 0 {
			t.Errorf("%s is not linked, or older", want.Mod)
		}
	}
	if binaries[0] != binaries[1] {
		t.Error("two builds of the same sources differ")
	}
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"version"}, strings.TrimPrefix(DefaultMaddy, "v") + " "},
		{[]string{"helo", "version"}, "check.helo_fqdn v1.2.3, for Maddy " + DefaultMaddy},
		{[]string{"--help"}, "run "},
		{[]string{"creds", "--help"}, "Local credentials management"},
		{[]string{"imap-acct", "--help"}, "IMAP storage accounts management"},
		{[]string{"helo", "build", "--help"}, "helo build - build a custom Maddy"},
	}
	for _, test := range tests {
		if got := runFile(t, offline.Output, test.args...); !strings.Contains(got, test.want) {
			t.Errorf("maddy %v lacks %q:\n%s", test.args, test.want, got)
		}
	}
}

// TestNewerSums: newer.sum has what neither Maddy's go.sum nor ours has, so that a
// build verifies each module without asking a checksum database.
func TestNewerSums(t *testing.T) {
	if testing.Short() {
		t.Skip("reads the packages of Maddy")
	}
	fetched(t)
	work := t.TempDir()
	b := Builder{Progress: logTo(t)}
	maddy, err := b.maddySource(t.Context(), work)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.writeModule(t.Context(), work, maddy, source{dir: checkout(t)}); err != nil {
		t.Fatal(err)
	}
	sums := func() []string {
		text, err := os.ReadFile(filepath.Join(work, "go.sum"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(text), "\n")
	}
	had := sums()
	if _, err := b.run(t.Context(), work, "list", "-deps", "."); err != nil {
		t.Fatal(err)
	}
	for _, line := range sums() {
		if !slices.Contains(had, line) {
			t.Error("newer.sum lacks ", line)
		}
	}
}

func logTo(t *testing.T) func(string) {
	t.Helper()
	return func(step string) { t.Log(step) }
}
