package build

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

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
			[]string{"nobody.example/x@v1.0.0", "go get"},
		},
		{
			"package outside its directory",
			Builder{With: []Module{{Package: "other.example/x", Dir: hello}}},
			[]string{hello + ` holds the module "plugin.example/hello", not other.example/x`},
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
	if err := (&Builder{}).Build(t.Context()); err == nil ||
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

// writeMod makes a directory with a go.mod.
func writeMod(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestWriteModule(t *testing.T) {
	const check = "module " + checkPath + "\n\n"
	const maddy = "module " + maddyPath + "\n\n"
	tests := []struct {
		name, maddy, check string
		version            string // of Maddy, "" for a directory
		want, lacks        []string
	}{
		{
			"newer Go of the check", maddy + "go 1.23.1\n\ntoolchain go1.23.5\n", check + "go 1.26.0\n",
			"v0.9.5", []string{"module " + customPath, "go 1.26.0"}, []string{"toolchain"},
		},
		{
			"newer Go of Maddy", maddy + "go 1.26\n", check + "go 1.24.0\n",
			"v0.9.5", []string{"go 1.26"}, nil,
		},
		{
			"no go line", maddy, check, "v0.9.5", []string{"go 1.25.0"}, nil,
		},
		{
			"requirements and replacements stay",
			maddy + "require a.example/b v1.0.0\n\nreplace a.example/b => c.example/d v1.1.0\n",
			check, "v0.9.5",
			[]string{"a.example/b v1.0.0", "a.example/b => c.example/d v1.1.0"}, nil,
		},
		{
			"a library with a known weakness", maddy + "go 1.23.1\n\nrequire golang.org/x/net v0.34.0\n",
			check, "v0.9.5", []string{"go 1.25.0", maddyPath + "/newer => ./dir0"}, nil,
		},
		{
			"chosen version is pinned", maddy, check, "v0.9.4",
			[]string{maddyPath + " v0.9.4", maddyPath + " => " + maddyPath + " v0.9.4"}, nil,
		},
		{
			"directories by relative path", maddy, check, "",
			[]string{maddyPath + " => ./dir1", checkPath + " => ./dir2"}, []string{os.TempDir()},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			maddyDir, checkDir := writeMod(t, test.maddy), writeMod(t, test.check)
			work := t.TempDir()
			err := new(Builder).writeModule(t.Context(), work,
				source{maddyDir, test.version}, source{dir: checkDir})
			if err != nil {
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

func TestWriteModuleErrors(t *testing.T) {
	good := writeMod(t, "module "+maddyPath+"\n")
	tests := []struct{ name, maddy, check, want string }{
		{"Maddy broken", writeMod(t, "nonsense\n"), good, "go.mod:1"},
		{"check broken", good, writeMod(t, "module x\nrequire\n"), "go.mod:2"},
		{"check missing", good, t.TempDir(), "no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := new(Builder).writeModule(t.Context(), t.TempDir(),
				source{dir: test.maddy}, source{dir: test.check})
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
	err := new(Builder).writeModule(t.Context(), work, source{dir: maddyDir}, source{dir: checkDir})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(work, "go.sum"))
	if err != nil || string(got) != string(newerSum)+"maddy sum\ncheck sum\n" {
		t.Errorf("go.sum is %q, %v", got, err)
	}
}

func TestStrangeGoCommand(t *testing.T) {
	standInGo(t, "echo out of order >&2; exit 3")
	if _, err := new(Builder).run(t.Context(), t.TempDir(), "env"); err == nil ||
		!strings.Contains(err.Error(), "out of order") {
		t.Errorf("got %v", err)
	}
}

// Lines about downloads are passed on; the error has everything else, too.
func TestGoCommandSays(t *testing.T) {
	standInGo(t, `printf 'go: downloading a.example/b v1.0.0\ngo: finding x\n# pkg\n' >&2
printf 'go: downloading c.example v2.0.0\nx.go:1: no' >&2; echo out; exit 1`)
	var lines []string
	b := Builder{Progress: func(line string) { lines = append(lines, line) }}
	out, err := b.run(t.Context(), t.TempDir(), "build")
	if string(out) != "out\n" || err == nil || !strings.Contains(err.Error(), "# pkg\n") ||
		!strings.HasSuffix(err.Error(), "x.go:1: no") {
		t.Errorf("got %q, %v", out, err)
	}
	want := []string{"go: downloading a.example/b v1.0.0", "go: downloading c.example v2.0.0"}
	if !slices.Equal(lines, want) {
		t.Errorf("got %q, want %q", lines, want)
	}
}

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
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(test.workDir)
			b := Builder{Checkhelo: test.given}
			got, err := b.checkSource(t.Context(), "")
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
	b, work := Builder{}, t.TempDir()
	got, err := b.download(t.Context(), work, checkPath, "v0.1.0")
	if err != nil {
		t.Fatal(err)
	}
	if got.version != "v0.1.0" || !isDir(got.dir) {
		t.Errorf("got %+v", got)
	}
	maddy, err := b.maddySource(t.Context(), work)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.writeModule(t.Context(), work, maddy, got); err != nil {
		t.Fatal(err)
	}
	output := filepath.Join(t.TempDir(), "out")
	if _, err := b.run(t.Context(), work, "build", "-o", output, "."); err != nil {
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
