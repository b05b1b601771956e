package build

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// writeMod makes a directory with a go.mod.
func writeMod(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestNewModFile(t *testing.T) {
	const check = "module " + checkPath + "\n\n"
	const maddy = "module " + maddyPath + "\n\n"
	tests := []struct {
		name, maddy, check string
		version            string // of Maddy, "" for a directory
		want, lacks        []string
	}{
		{
			"newer Go of the check", maddy + "go 1.23.1\n\ntoolchain go1.23.5\n", check + "go 1.24.0\n",
			"v0.9.5", []string{"module " + customPath, "go 1.24.0"}, []string{"toolchain"},
		},
		{
			"newer Go of Maddy", maddy + "go 1.25\n", check + "go 1.24.0\n",
			"v0.9.5", []string{"go 1.25"}, nil,
		},
		{
			"no go line", maddy, check, "v0.9.5", []string{"go 1.16"}, nil,
		},
		{
			"requirements and replacements stay",
			maddy + "require a.example/b v1.0.0\n\nreplace a.example/b => c.example/d v1.1.0\n",
			check, "v0.9.5",
			[]string{"a.example/b v1.0.0", "a.example/b => c.example/d v1.1.0"}, nil,
		},
		{
			"chosen version is pinned", maddy, check, "v0.9.4",
			[]string{maddyPath + " v0.9.4", maddyPath + " => " + maddyPath + " v0.9.4"}, nil,
		},
		{
			"directories by relative path", maddy, check, "",
			[]string{maddyPath + " => ./dir0", checkPath + " => ./dir1"}, []string{os.TempDir()},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			maddyDir, checkDir := writeMod(t, test.maddy), writeMod(t, test.check)
			work := t.TempDir()
			mod, err := newModFile(work, source{maddyDir, test.version}, source{dir: checkDir})
			if err != nil {
				t.Fatal(err)
			}
			if err := mod.write(nil, maddyDir, checkDir); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(work, "go.mod"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := modfile.Parse("go.mod", text, nil); err != nil {
				t.Error(err)
			}
			for _, part := range test.want {
				if !strings.Contains(string(text), part) {
					t.Errorf("go.mod lacks %q:\n%s", part, text)
				}
			}
			for _, part := range test.lacks {
				if strings.Contains(string(text), part) {
					t.Errorf("go.mod has %q:\n%s", part, text)
				}
			}
		})
	}
}

func TestModFileErrors(t *testing.T) {
	good := writeMod(t, "module "+maddyPath+"\n")
	tests := []struct{ name, maddy, check, want string }{
		{"Maddy broken", writeMod(t, "nonsense\n"), good, "go.mod:1"},
		{"check broken", good, writeMod(t, "module x\nrequire\n"), "go.mod:2"},
		{"check missing", good, t.TempDir(), "no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := newModFile(t.TempDir(), source{dir: test.maddy}, source{dir: test.check})
			if err == nil || !strings.Contains(err.Error(), test.want) ||
				!strings.HasPrefix(err.Error(), "build: ") {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

// TestGoSums proves that the sums of both modules reach the build.
func TestGoSums(t *testing.T) {
	maddyDir := writeMod(t, "module "+maddyPath+"\n")
	checkDir := writeMod(t, "module "+checkPath+"\n")
	for dir, sum := range map[string]string{maddyDir: "maddy sum\n", checkDir: "check sum\n"} {
		if err := os.WriteFile(filepath.Join(dir, "go.sum"), []byte(sum), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	work := t.TempDir()
	mod, err := newModFile(work, source{dir: maddyDir}, source{dir: checkDir})
	if err != nil {
		t.Fatal(err)
	}
	if err := mod.write(nil, maddyDir, checkDir); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(work, "go.sum"))
	if err != nil || string(got) != "maddy sum\ncheck sum\n" {
		t.Errorf("go.sum is %q, %v", got, err)
	}
}

func TestProgressWriter(t *testing.T) {
	var lines []string
	w := progressWriter{line: func(line string) { lines = append(lines, line) }}
	for _, part := range []string{
		"go: downloading a.example/b v1", ".0.0\ngo: finding x\n# pkg\ngo: downloading c.exam",
		"ple v2.0.0\nx.go:1: no\ngo: downloading unfinished",
	} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("Write gives %d, %v", n, err)
		}
	}
	want := []string{"go: downloading a.example/b v1.0.0", "go: downloading c.example v2.0.0"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
	kept := w.all.String()
	if !strings.Contains(kept, "# pkg\n") || !strings.HasSuffix(kept, "unfinished") {
		t.Errorf("kept only %q", kept)
	}
}

func TestStrangeGoCommand(t *testing.T) {
	tests := []struct{ name, script, want string }{
		{"fails", "echo out of order >&2; exit 3", "out of order"},
		{"says no JSON", "echo hello", "build: go env: "},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "go")
			if err := os.WriteFile(path, []byte("#!/bin/sh\n"+test.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			b := Builder{Go: path}
			if _, err := b.newGoCommand(t.Context()); err == nil ||
				!strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}
