package build

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"maddy.example/checkhelo/cmd/lab/standin"
)

var mods = filepath.Join("testdata", "mod")

// offline makes the go command see only the modules of testdata/mod.
func offline(t *testing.T) {
	t.Helper()
	standin.Offline(t, mods)
}

func unpack(t *testing.T, name string) string {
	t.Helper()
	return standin.Unpack(t, mods, name)
}

func unpackCheckhelo(t *testing.T) string {
	t.Helper()
	return unpack(t, "maddy.example_checkhelo_v0.1.0")
}

// runFile runs a built binary and returns what it prints, without the line end.
func runFile(t *testing.T, path string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", path, args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestBuild(t *testing.T) {
	checkhelo := unpackCheckhelo(t)
	maddy := unpack(t, "github.com_foxcpp_maddy_v0.9.5")
	hello := unpack(t, "plugin.example_hello_v1.2.0")
	offline(t)
	tests := []struct {
		name    string
		builder Builder
		want    string // what the program prints: version, replaced module, what is linked in
	}{
		{"default", Builder{}, "0.9.5 fork [check ctl helo]"},
		{"version", Builder{Maddy: "v0.9.4"}, "0.9.4 fork [check ctl helo]"},
		{"version of the check", Builder{Version: "v1.2.3-rc1"}, "0.9.5 fork [check1.2.3-rc1 ctl helo]"},
		{"query", Builder{Maddy: "latest"}, "0.9.5 fork [check ctl helo]"},
		{"directory", Builder{Maddy: maddy}, "0.9.5-custom fork [check ctl helo]"},
		{
			"package of a version does not raise Maddy",
			Builder{Maddy: "v0.9.4", With: []Module{
				{Package: "plugin.example/hello", Version: "v1.2.0"},
			}},
			"0.9.4 fork [check ctl hello-v1.2.0 helo]",
		},
		{
			"newest package",
			Builder{With: []Module{{Package: "plugin.example/hello"}}},
			"0.9.5 fork [check ctl hello-v1.2.0 helo]",
		},
		{
			"package of a directory",
			Builder{With: []Module{{Package: "plugin.example/hello", Dir: hello}}},
			"0.9.5 fork [check ctl hello-v1.2.0 helo]",
		},
		{
			"tags",
			Builder{Tags: "extra", With: []Module{
				{Package: "plugin.example/hello/tagged", Dir: hello},
			}},
			"0.9.5 fork [check ctl extra-tag helo]",
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.builder.Checkhelo = checkhelo
			test.builder.Output = filepath.Join(t.TempDir(), "binary")
			if err := test.builder.Build(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := runFile(t, test.builder.Output); got != test.want {
				t.Errorf("the program prints %q, want %q", got, test.want)
			}
		})
	}
}

func TestBuildErrors(t *testing.T) {
	checkhelo := unpackCheckhelo(t)
	hello := unpack(t, "plugin.example_hello_v1.2.0")
	offline(t)
	tests := []struct {
		name    string
		builder Builder
		want    []string // parts of the error
	}{
		{
			"no such version", Builder{Maddy: "v9.9.9"},
			[]string{`no version "v9.9.9" of github.com/foxcpp/maddy`},
		},
		{"too old", Builder{Maddy: "v0.9.3"}, []string{"needs Maddy 0.9.4 or newer, not v0.9.3"}},
		{"no such directory", Builder{Maddy: "./nowhere"}, []string{"no directory ./nowhere"}},
		{
			"directory of another module", Builder{Maddy: hello},
			[]string{`holds the module "plugin.example/hello", not github.com/foxcpp/maddy`},
		},
		{"no module", Builder{Maddy: t.TempDir()}, []string{"no Go module", "go.mod"}},
		{"no checkhelo there", Builder{Checkhelo: t.TempDir()}, []string{"no Go module"}},
		{
			"package that does not compile",
			Builder{With: []Module{{Package: "plugin.example/hello/broken", Dir: hello}}},
			[]string{"go build", "broken/broken.go:3", "this does not compile"},
		},
		{
			"package of no module",
			Builder{With: []Module{{Package: "nobody.example/x", Version: "v1.0.0"}}},
			[]string{"package nobody.example/x@v1.0.0", "go get"},
		},
		{
			"package outside its directory",
			Builder{With: []Module{{Package: "other.example/x", Dir: hello}}},
			[]string{"package other.example/x: it is not in the module plugin.example/hello of " + hello},
		},
		{
			"version of two words", Builder{Version: "1.2.3 -s"},
			[]string{`version "1.2.3 -s"`, "accepted: such as 1.2.3"},
		},
		{"output is a directory", Builder{Output: "."}, []string{"is a directory"}},
		{"output nowhere", Builder{Output: "no/such/maddy"}, []string{"build: output", "no/such"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := test.builder
			if b.Checkhelo == "" {
				b.Checkhelo = checkhelo
			}
			err := b.Build(t.Context())
			if err == nil {
				t.Fatal("no error")
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error %q lacks %q", err, part)
				}
			}
		})
	}
}

func TestBuildWithoutGo(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := (&Builder{}).Build(t.Context()); !errors.Is(err, ErrNoGo) ||
		!strings.Contains(err.Error(), "install Go from https://go.dev/dl/") {
		t.Errorf("got %v", err)
	}
}

// standInGo puts a shell script in the place of the go command.
func standInGo(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	text := []byte("#!/bin/sh\n" + script + "\n")
	if err := os.WriteFile(filepath.Join(dir, "go"), text, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

func TestBuildKeepsOldFileOnFailure(t *testing.T) {
	checkhelo := unpackCheckhelo(t)
	hello := unpack(t, "plugin.example_hello_v1.2.0")
	offline(t)
	if err := os.WriteFile("maddy", []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	b := Builder{
		Checkhelo: checkhelo,
		With:      []Module{{Package: "plugin.example/hello/broken", Dir: hello}},
	}
	if err := b.Build(t.Context()); err == nil {
		t.Fatal("a broken package builds")
	}
	if data, err := os.ReadFile("maddy"); err != nil || string(data) != "old" {
		t.Errorf("the old file is now %q, %v", data, err)
	}
	if files, err := os.ReadDir("."); err != nil || len(files) != 1 {
		t.Errorf("files left behind: %v, %v", files, err)
	}
}

// TestBuildIsReproducible moves all source directories between two builds.
func TestBuildIsReproducible(t *testing.T) {
	var sums [2]string
	var dirs [2][]string
	for i := range dirs {
		dirs[i] = []string{
			unpackCheckhelo(t),
			unpack(t, "github.com_foxcpp_maddy_v0.9.5"),
			unpack(t, "plugin.example_hello_v1.2.0"),
		}
	}
	offline(t)
	for i, dir := range dirs {
		b := Builder{
			Checkhelo: dir[0], Maddy: dir[1], Output: filepath.Join(t.TempDir(), "out"),
			With: []Module{{Package: "plugin.example/hello", Dir: dir[2]}},
		}
		if err := b.Build(t.Context()); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(b.Output)
		if err != nil {
			t.Fatal(err)
		}
		sums[i] = string(data)
		for _, path := range append(dir, os.TempDir()) {
			if strings.Contains(sums[i], path) {
				t.Errorf("the binary holds the path %s", path)
			}
		}
	}
	if sums[0] != sums[1] {
		t.Error("two builds of the same sources differ")
	}
}

func TestBuildCancelled(t *testing.T) {
	checkhelo := unpackCheckhelo(t)
	offline(t)
	ctx, cancel := context.WithCancel(t.Context())
	b := Builder{Checkhelo: checkhelo, Progress: func(step string) {
		if strings.HasPrefix(step, "compiling") {
			cancel()
		}
	}}
	if err := b.Build(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

// TestOldGo: a go command that is too old and may not fetch a newer one says what is needed.
func TestOldGo(t *testing.T) {
	checkhelo := unpackCheckhelo(t)
	offline(t)
	t.Setenv("GOTOOLCHAIN", "local")
	mod := filepath.Join(checkhelo, "go.mod")
	if err := os.WriteFile(mod, []byte("module "+checkPath+"\n\ngo 1.999.0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := (&Builder{Checkhelo: checkhelo}).Build(t.Context())
	if err == nil || !strings.Contains(err.Error(), "requires go >= 1.999.0 (running go") {
		t.Errorf("got %v", err)
	}
}

func TestParseModule(t *testing.T) {
	tests := []struct {
		in   string
		want Module
		ok   bool
	}{
		{"a.example/b", Module{Package: "a.example/b"}, true},
		{"a.example/b@v1.2.3", Module{Package: "a.example/b", Version: "v1.2.3"}, true},
		{"a.example/b=../b@home", Module{Package: "a.example/b", Dir: "../b@home"}, true},
		{"", Module{}, false},
		{"@v1", Module{}, false},
		{"=dir", Module{}, false},
		{"a.example/b@", Module{}, false},
		{"a.example/b=", Module{}, false},
		{"a.example/b\" \"c", Module{}, false},
	}
	for _, test := range tests {
		got, err := ParseModule(test.in)
		if got != test.want || (err == nil) != test.ok {
			t.Errorf("ParseModule(%q) = %+v, %v, want %+v", test.in, got, err, test.want)
		}
		if err != nil && !strings.Contains(err.Error(), "accepted: PACKAGE") {
			t.Errorf("the error %q does not say what is accepted", err)
		}
	}
}
