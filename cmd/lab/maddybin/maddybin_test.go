package maddybin

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"maddy.example/checkhelo/cmd/lab/standin"
	"maddy.example/checkhelo/module/build"
)

var mods = filepath.Join("..", "..", "..", "module", "build", "testdata", "mod")

// offline makes the go command see only the stand-ins for modules of package build.
func offline(t *testing.T) {
	t.Helper()
	t.Setenv(OtherMaddy, "")
	standin.Offline(t, mods)
}

func unpack(t *testing.T, name string) string {
	t.Helper()
	return standin.Unpack(t, mods, name)
}

// TestBuild changes one input after the other and counts builds.
func TestBuild(t *testing.T) {
	checkhelo := unpack(t, "maddy.example_checkhelo_v0.1.0")
	maddy := unpack(t, "github.com_foxcpp_maddy_v0.9.5")
	hello := unpack(t, "plugin.example_hello_v1.2.0")
	offline(t)
	dir := t.TempDir()
	b := build.Builder{Checkhelo: checkhelo, Maddy: maddy}
	appendTo := func(text string, path ...string) func() {
		return func() {
			f, err := os.OpenFile(filepath.Join(path...), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteString(text); err != nil {
				t.Fatal(err)
			}
		}
	}
	steps := []struct {
		name   string
		change func()
		builds bool
	}{
		{"first", func() {}, true},
		{"nothing changed", func() {}, false},
		{"source of the check", appendTo("// changed\n", checkhelo, "module", "module.go"), true},
		{"test of the check", appendTo("package module\n", checkhelo, "module", "module_test.go"), false},
		{"source of Maddy", appendTo("// changed\n", maddy, "maddy.go"), true},
		{"with a package", func() {
			b.With = []build.Module{{Package: "plugin.example/hello", Dir: hello}}
		}, true},
		{"source of the package", appendTo("// changed\n", hello, "hello.go"), true},
		{"version", func() { b.Version = "1.2.3" }, true},
		{"tags", func() { b.Tags = "extra" }, true},
		{"flags of Go", func() { t.Setenv("GOFLAGS", "-modcacherw -tags=other") }, true},
		{"output does not count", func() { b.Output = "elsewhere" }, false},
	}
	for _, step := range steps {
		step.change()
		builds := 0
		b.Progress = func(line string) {
			if strings.HasPrefix(line, "compiling") {
				builds++
			}
		}
		path, err := buildIn(t.Context(), dir, b)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if (builds == 1) != step.builds || builds > 1 {
			t.Errorf("%s: %d builds, want one: %v", step.name, builds, step.builds)
		}
		got, err := exec.CommandContext(t.Context(), path).CombinedOutput()
		if err != nil || !strings.Contains(string(got), "fork [check") {
			t.Errorf("%s: the program prints %q, %v", step.name, got, err)
		}
	}
}

// TestOtherMaddy: the environment names a Maddy, and the caller one that comes before it.
func TestOtherMaddy(t *testing.T) {
	checkhelo := unpack(t, "maddy.example_checkhelo_v0.1.0")
	other := unpack(t, "github.com_foxcpp_maddy_v0.9.5")
	if err := os.WriteFile(filepath.Join(other, ".version"), []byte("0.9.9\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	offline(t)
	t.Setenv(OtherMaddy, other)
	dir := t.TempDir()
	for asked, want := range map[string]string{"": "0.9.9-custom fork ", "v0.9.4": "0.9.4 fork "} {
		path, err := buildIn(t.Context(), dir, build.Builder{Checkhelo: checkhelo, Maddy: asked})
		if err != nil {
			t.Fatal(err)
		}
		got, err := exec.CommandContext(t.Context(), path).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(got), want) {
			t.Errorf("asked for %q: the program prints %q, %v, want %q", asked, got, err, want)
		}
	}
	t.Setenv(OtherMaddy, t.TempDir())
	_, err := buildIn(t.Context(), dir, build.Builder{Checkhelo: checkhelo})
	if err == nil || !strings.Contains(err.Error(), "no Go module") {
		t.Errorf("a folder without Maddy: got %v", err)
	}
}

// TestBuildArchive: a tree of "from-source prepare" needs neither a proxy nor a module cache.
func TestBuildArchive(t *testing.T) {
	tree := t.TempDir()
	for path, text := range map[string]string{
		"go.mod":        "module maddy.example/checkhelo\n\ngo 1.24.0\n",
		"module/set.go": "package module\n\nvar version string\n\nfunc Version() string { return version }\n",
		"server/go.mod": "module github.com/foxcpp/maddy/custom\n\ngo 1.24.0\n",
		"server/main.go": "package main\n\nimport (\n\t\"fmt\"\n\n\t\"maddy.example/checkhelo/module\"\n)\n\n" +
			"func main() { fmt.Println(\"from the archive\", module.Version()) }\n",
		"go.work":            "go 1.24.0\n\nuse (\n\t.\n\t./server\n)\n",
		"vendor/modules.txt": "## workspace\n",
	} {
		path = filepath.Join(tree, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	offline(t)
	t.Setenv("GOPROXY", "off")
	path, err := buildIn(t.Context(), t.TempDir(), build.Builder{Checkhelo: tree, Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := exec.CommandContext(t.Context(), path).CombinedOutput()
	if err != nil || string(got) != "from the archive 1.2.3\n" {
		t.Errorf("the program prints %q, %v", got, err)
	}
}

func TestBuildBuildsOnceForMany(t *testing.T) {
	checkhelo := unpack(t, "maddy.example_checkhelo_v0.1.0")
	offline(t)
	dir := t.TempDir()
	var builds atomic.Int32
	var wait sync.WaitGroup
	for range 4 {
		wait.Add(1)
		go func() {
			defer wait.Done()
			b := build.Builder{Checkhelo: checkhelo, Progress: func(step string) {
				if strings.HasPrefix(step, "compiling") {
					builds.Add(1)
				}
			}}
			if _, err := buildIn(t.Context(), dir, b); err != nil {
				t.Error(err)
			}
		}()
	}
	wait.Wait()
	if got := builds.Load(); got != 1 {
		t.Errorf("%d builds, want 1", got)
	}
}

func TestBuildStopsWaiting(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	done, given := make(chan held), make(chan struct{})
	if _, err := await(ctx, done); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	done <- held{unlock: func() { close(given) }}
	<-given
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	ages := map[string]time.Duration{
		"maddy-a": 0, "maddy-b": 30 * time.Minute, "maddy-c": 2 * time.Hour,
		"maddy-d": 3 * time.Hour, "maddy-e": 4 * time.Hour, "maddy-f": 5 * time.Hour,
		"lock": 9 * time.Hour,
	}
	for name, age := range ages {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	if err := prune(dir, now); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, entry := range entries {
		left = append(left, entry.Name())
	}
	if got, want := strings.Join(left, " "), "lock maddy-a maddy-b maddy-c maddy-d"; got != want {
		t.Errorf("left: %s, want %s", got, want)
	}
	if err := prune(dir, now.Add(-4*time.Hour)); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(left) {
		t.Errorf("young entries were removed: %v, %v", entries, err)
	}
}

// Without Checkhelo the source is that of the checkout around the working directory.
func TestKeyFollowsTheCheckout(t *testing.T) {
	checkhelo := unpack(t, "maddy.example_checkhelo_v0.1.0")
	offline(t)
	t.Chdir(filepath.Join(checkhelo, "module"))
	dir := t.TempDir()
	given, err := buildIn(t.Context(), dir, build.Builder{Checkhelo: checkhelo})
	if err != nil {
		t.Fatal(err)
	}
	if found, err := buildIn(t.Context(), dir, build.Builder{}); err != nil || found != given {
		t.Errorf("got %s, %v, want %s", found, err, given)
	}
}
