package build

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// checkout is the root of the tree that holds this test.
func checkout(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// fetched leaves a test out that takes modules from the module cache: a source archive has none.
func fetched(t *testing.T) {
	t.Helper()
	if isDir(filepath.Join(checkout(t), "server")) {
		t.Skip("left out: a source archive has no module cache")
	}
}

func TestDefaultMaddyIsWhatGoModNames(t *testing.T) {
	file, err := readModFile(checkout(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, require := range file.Require {
		if require.Mod.Path == maddyPath {
			if require.Mod.Version != DefaultMaddy {
				t.Errorf("go.mod has Maddy %s, DefaultMaddy is %s", require.Mod.Version, DefaultMaddy)
			}
			return
		}
	}
	t.Error("go.mod does not name Maddy")
}

func TestCheckSource(t *testing.T) {
	root := checkout(t)
	stub := unpackCheckhelo(t)
	tests := []struct {
		name, given, workDir, want string
	}{
		{"given", stub, root, stub},
		{"root of a checkout", "", stub, stub},
		{"inside a checkout", "", filepath.Join(stub, "module"), stub},
		{"anywhere: where this program was compiled", "", t.TempDir(), root},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(test.workDir)
			b := Builder{Checkhelo: test.given}
			got, err := b.checkSource(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got != (source{dir: test.want}) {
				t.Errorf("got %+v, want the directory %s", got, test.want)
			}
		})
	}
}

// TestModulezip: a package's program finds the source that is installed with it.
func TestModulezip(t *testing.T) {
	stub := unpackCheckhelo(t)
	if err := os.WriteFile(filepath.Join(stub, "VERSION"), []byte("1.2.3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	program := filepath.Join(root, "bin", "helocheck")
	if _, err := unpacked(program, t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("where nothing is: %v", err)
	}
	share := filepath.Join(root, "share", "helocheck")
	if err := os.MkdirAll(share, 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := os.Create(filepath.Join(share, "module.zip"))
	if err != nil {
		t.Fatal(err)
	}
	named := module.Version{Path: checkPath, Version: noVersion}
	if err := errors.Join(zip.CreateFromDir(file, named, stub), file.Close()); err != nil {
		t.Fatal(err)
	}
	offline(t)
	got, err := unpacked(program, filepath.Join(t.TempDir(), "packed"))
	if err != nil {
		t.Fatal(err)
	}
	if v := got.checkVersion(t.Context()); v != "1.2.3" {
		t.Errorf("version %q", v)
	}
	output := filepath.Join(t.TempDir(), "maddy")
	if err := (&Builder{Checkhelo: got.dir, Output: output}).Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	if said, want := runFile(t, output), "0.9.5 fork [check1.2.3 ctl helo]"; said != want {
		t.Errorf("the program prints %q, want %q", said, want)
	}
}

func TestReleasedVersion(t *testing.T) {
	own := func(version string, replace *debug.Module) *debug.Module {
		return &debug.Module{Path: checkPath, Version: version, Replace: replace}
	}
	other := debug.Module{Path: "other.example/x", Version: "v9.0.0"}
	tests := []struct {
		name string
		info debug.BuildInfo
		want string
	}{
		{"installed tool", debug.BuildInfo{Main: *own("v1.2.3", nil)}, "v1.2.3"},
		{"dependency", debug.BuildInfo{
			Main: other, Deps: []*debug.Module{&other, own("v1.0.0", nil)},
		}, "v1.0.0"},
		{"working copy", debug.BuildInfo{Main: *own("(devel)", nil)}, ""},
		{"changed working copy", debug.BuildInfo{Main: *own("v1.2.3+dirty", nil)}, ""},
		{"replaced", debug.BuildInfo{Main: other, Deps: []*debug.Module{
			own("v1.0.0", &debug.Module{Path: "./dir0"}),
		}}, ""},
		{"custom Maddy of a release", debug.BuildInfo{Main: other, Deps: []*debug.Module{
			own("v1.0.0", own("v1.0.0", nil)),
		}}, "v1.0.0"},
		{"unrelated", debug.BuildInfo{Main: other}, ""},
	}
	for _, test := range tests {
		if got := releasedVersion(&test.info); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// TestReleasedCheckhelo builds with a version of this project instead of a
// directory, as a tool made by "go install" does.
func TestReleasedCheckhelo(t *testing.T) {
	offline(t)
	b := Builder{}
	g, err := newGoCommand(t.Context(), t.TempDir(), b.progress)
	if err != nil {
		t.Fatal(err)
	}
	got, err := download(t.Context(), g, checkPath, "v0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	if got.version != "v0.1.0" || !isDir(got.dir) {
		t.Errorf("got %+v", got)
	}
	maddy, err := b.maddySource(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	mod, err := newTempModule(g.dir, maddy, got)
	if err != nil {
		t.Fatal(err)
	}
	if err := mod.write(nil); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(t.TempDir(), "out")
	if _, err := g.run(t.Context(), "build", "-o", output, "."); err != nil {
		t.Fatal(err)
	}
	if got, want := runFile(t, output), "unset fork [check ctl helo]"; got != want {
		t.Errorf("the program prints %q, want %q", got, want)
	}
}

func TestMaddyVersion(t *testing.T) {
	tests := []struct{ content, want string }{
		{"0.9.5\n", "0.9.5-custom"},
		{"", "unknown-custom"},
		{"1.0 -X evil=1", "unknown-custom"},
	}
	for _, test := range tests {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, ".version"), []byte(test.content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := (source{dir: dir}).maddyVersion(); got != test.want {
			t.Errorf("%q: got %q, want %q", test.content, got, test.want)
		}
	}
	if got := (source{dir: t.TempDir()}).maddyVersion(); got != "unknown-custom" {
		t.Errorf("without a file: got %q", got)
	}
}
