package build

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

func git(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = dir
	// Settings of the machine, such as signed commits, must not matter.
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org",
		"GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@example.org")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

// What a checkout is called at each step of its life.
func TestVersionOfCheckout(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "inner")
	if err := os.Mkdir(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "a"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	commit := func(text string) {
		write(text)
		git(t, dir, "add", "a")
		git(t, dir, "commit", "-qm", text)
	}
	for _, step := range []struct {
		name string
		do   func()
		dir  string
		want string // a pattern
	}{
		{"no checkout", func() {}, dir, ``},
		{"no commit", func() { git(t, dir, "init", "-q") }, dir, ``},
		{"commit", func() { commit("1") }, dir, `[0-9a-f]{12}`},
		{"change", func() { write("2") }, dir, `[0-9a-f]{12}\+dirty`},
		{"folder within", func() {}, inner, ``},
		{"other tag", func() { commit("2"); git(t, dir, "tag", "latest") }, dir, `[0-9a-f]{12}`},
		{"tag", func() { git(t, dir, "tag", "v1.2.3") }, dir, `v1\.2\.3`},
		{"after the tag", func() { commit("3") }, dir, `v1\.2\.3-1-g[0-9a-f]{12}`},
		{"odd tag", func() { git(t, dir, "tag", "v9'x") }, dir, ``},
	} {
		step.do()
		got := source{dir: step.dir}.checkVersion(t.Context())
		if !regexp.MustCompile("^" + step.want + "$").MatchString(got) {
			t.Errorf("%s: %q, want %s", step.name, got, step.want)
		}
	}
}

// A release is called by its version, whatever lies around its files.
func TestVersionOfRelease(t *testing.T) {
	if got := (source{checkout(t), "v1.2.3"}).checkVersion(t.Context()); got != "v1.2.3" {
		t.Errorf("%q", got)
	}
}

// The builder finds the version of a checkout, and writes it where the check looks for it.
func TestBuildFindsVersion(t *testing.T) {
	checkhelo := unpackCheckhelo(t)
	git(t, checkhelo, "init", "-q")
	git(t, checkhelo, "add", ".")
	git(t, checkhelo, "commit", "-qm", "first")
	git(t, checkhelo, "tag", "v1.4.0")
	offline(t)
	b := Builder{Checkhelo: checkhelo, Output: filepath.Join(t.TempDir(), "binary")}
	if err := b.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := runFile(t, b.Output), "0.9.5 fork [check1.4.0 ctl helo]"; got != want {
		t.Errorf("the program prints %q, want %q", got, want)
	}
}
