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

func TestNewTempModule(t *testing.T) {
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
			"a library with a known weakness", maddy + "go 1.23.1\n\nrequire golang.org/x/net v0.34.0\n",
			check, "v0.9.5", []string{"go 1.25.0", "golang.org/x/net v0.55.0"}, []string{"v0.34.0"},
		},
		{
			"a newer library than that", maddy + "go 1.24.0\n\nrequire golang.org/x/net v0.99.0\n",
			check, "v0.9.5", []string{"go 1.24.0", "golang.org/x/net v0.99.0"}, nil,
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
			mod, err := newTempModule(work, source{maddyDir, test.version}, source{dir: checkDir})
			if err != nil {
				t.Fatal(err)
			}
			if err := mod.write(nil); err != nil {
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

func TestTempModuleErrors(t *testing.T) {
	good := writeMod(t, "module "+maddyPath+"\n")
	tests := []struct{ name, maddy, check, want string }{
		{"Maddy broken", writeMod(t, "nonsense\n"), good, "go.mod:1"},
		{"check broken", good, writeMod(t, "module x\nrequire\n"), "go.mod:2"},
		{"check missing", good, t.TempDir(), "no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := newTempModule(t.TempDir(), source{dir: test.maddy}, source{dir: test.check})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

// TestGoSums proves that the sums of both modules and of what is newer reach the build.
func TestGoSums(t *testing.T) {
	maddyDir := writeMod(t, "module "+maddyPath+"\n")
	checkDir := writeMod(t, "module "+checkPath+"\n")
	for dir, sum := range map[string]string{maddyDir: "maddy sum\n", checkDir: "check sum\n"} {
		if err := os.WriteFile(filepath.Join(dir, "go.sum"), []byte(sum), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	work := t.TempDir()
	mod, err := newTempModule(work, source{dir: maddyDir}, source{dir: checkDir})
	if err != nil {
		t.Fatal(err)
	}
	if err := mod.write(nil); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(work, "go.sum"))
	if err != nil || string(got) != string(newerSum)+"maddy sum\ncheck sum\n" {
		t.Errorf("go.sum is %q, %v", got, err)
	}
}

func TestStrangeGoCommand(t *testing.T) {
	standInGo(t, "echo out of order >&2; exit 3")
	if _, err := newGoCommand(t.Context(), t.TempDir(), nil); err == nil ||
		!strings.Contains(err.Error(), "out of order") {
		t.Errorf("got %v", err)
	}
}

// Lines about downloads are passed on; the error has everything else, too.
func TestGoCommandSays(t *testing.T) {
	standInGo(t, `[ $1 = env ] && exit
printf 'go: downloading a.example/b v1.0.0\ngo: finding x\n# pkg\n' >&2
printf 'go: downloading c.example v2.0.0\nx.go:1: no' >&2; echo out; exit 1`)
	var lines []string
	g, err := newGoCommand(t.Context(), t.TempDir(), func(line string) { lines = append(lines, line) })
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.run(t.Context(), "build")
	if string(out) != "out\n" || err == nil || !strings.Contains(err.Error(), "# pkg\n") ||
		!strings.HasSuffix(err.Error(), "x.go:1: no") {
		t.Errorf("got %q, %v", out, err)
	}
	want := []string{"go: downloading a.example/b v1.0.0", "go: downloading c.example v2.0.0"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}
