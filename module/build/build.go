// Package build makes a custom Maddy: the mail server with its whole command
// line, the check of this project, and further packages.
//
// Maddy's command line lies in an internal package, which only a module below
// Maddy's own path may import. So the package writes a temporary module of
// that kind, copies Maddy's own replace lines into it, and runs the go command.
package build

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"go/version"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/zip"
)

// DefaultMaddy is the version of Maddy that go.mod names.
const DefaultMaddy = "v0.9.5"

const (
	maddyPath  = "github.com/foxcpp/maddy"
	customPath = maddyPath + "/custom"
	checkPath  = "maddy.example/checkhelo"
	binary     = "maddy" // in the temporary module
)

// oneWord keeps a version one word on the linker's command line.
var oneWord = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~-]*$`)

// Builder is one request. The zero value builds the default Maddy into the
// file "maddy" of the working directory.
type Builder struct {
	Maddy     string   // version, version query ("latest") or directory; "" is DefaultMaddy
	Tags      string   // build tags of the go command, separated by commas
	With      []Module // further packages to link in
	Output    string   // file to write; "" is "maddy"
	Checkhelo string   // directory of this project's source; "" looks for it
	Version   string   // of this project, as "maddy helo version" shows it; "" finds it

	// Progress, when set, gets a line at each step and for each download.
	Progress func(step string)
}

// Module is a package to link in beside the check.
type Module struct {
	Package string // import path
	Version string // version or query; "" takes what the build has, else the newest
	Dir     string // directory of its module; excludes Version
}

// ParseModule reads PACKAGE, PACKAGE@VERSION or PACKAGE=DIR.
func ParseModule(s string) (Module, error) {
	var m Module
	var isDir, isVersion bool
	m.Package, m.Dir, isDir = strings.Cut(s, "=")
	if !isDir {
		m.Package, m.Version, isVersion = strings.Cut(s, "@")
	}
	if m.Package == "" || strings.ContainsAny(m.Package, " \t\r\n\"'`\\") ||
		isDir && m.Dir == "" || isVersion && m.Version == "" {
		return Module{}, fmt.Errorf(
			"build: %q is not a package; accepted: PACKAGE, PACKAGE@VERSION, PACKAGE=DIR", s)
	}
	return m, nil
}

// Build makes the binary and moves it to Output in one step; a failure leaves
// an older file there as it was. The same inputs give the same bytes. What the
// go command says is part of the error.
func (b *Builder) Build(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("build: %w", err)
		}
	}()
	if b.Version != "" && !oneWord.MatchString(b.Version) {
		return fmt.Errorf("version %q; accepted: such as 1.2.3 or 1.2.3-rc1", b.Version)
	}
	output, err := filepath.Abs(cmp.Or(b.Output, "maddy"))
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	if isDir(output) {
		return fmt.Errorf("output: %s is a directory; name a file in it", output)
	}
	// On the file system of the output, so that a rename puts the binary in its place.
	work, err := os.MkdirTemp(filepath.Dir(output), "."+filepath.Base(output)+"-")
	if err != nil {
		return fmt.Errorf("output: %w", err)
	}
	defer os.RemoveAll(work)
	g, err := newGoCommand(ctx, work, b.progress)
	if err != nil {
		return err
	}
	maddy, check, err := b.writeModule(ctx, g)
	if err != nil {
		return err
	}
	set := "-X " + maddyPath + ".Version=" + maddy.maddyVersion()
	if v := cmp.Or(b.Version, check.checkVersion(ctx)); v != "" {
		set += " -X " + checkPath + "/module.version=" + strings.TrimPrefix(v, "v")
	}
	b.progress("compiling Maddy " + maddy.maddyVersion() + "; the first time takes some minutes")
	_, err = g.run(ctx, "build", "-trimpath", "-buildvcs=false", "-tags", b.Tags, "-ldflags", set,
		"-o", binary, ".")
	if err != nil {
		return err
	}
	if err = os.Rename(filepath.Join(work, binary), output); err != nil {
		return fmt.Errorf("output: %w", err)
	}
	b.progress("wrote " + output)
	return nil
}

func (b *Builder) progress(step string) {
	if b.Progress != nil {
		b.Progress(step)
	}
}

// ErrNoGo means that there is no go command.
var ErrNoGo = errors.New("no go command found; install Go from https://go.dev/dl/")

type goCommand struct {
	dir      string
	env      []string
	progress func(string)
}

func newGoCommand(ctx context.Context, dir string, progress func(string)) (*goCommand, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoGo, err)
	}
	// A workspace of the caller must not leak into the build.
	g := &goCommand{dir, append(os.Environ(), "GO111MODULE=on", "GOWORK=off"), progress}
	flags, err := g.run(ctx, "env", "GOFLAGS")
	g.env = append(g.env, "GOFLAGS="+strings.TrimSpace(string(flags)+" -mod=mod"))
	return g, err
}

// run runs the go command and returns its output; the error holds what it said.
func (g *goCommand) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // G204: our arguments
	cmd.Dir, cmd.Env = g.dir, g.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second // that an interrupted go command may take to end
	said := stderr{progress: g.progress}
	cmd.Stderr = &said
	out, err := cmd.Output()
	if cause := ctx.Err(); err != nil && cause != nil {
		return nil, fmt.Errorf("go %s: %w", args[0], cause)
	}
	if err != nil {
		err = fmt.Errorf("go %s: %w\n%s", args[0], err, bytes.TrimSpace(said.text))
	}
	return out, err
}

// stderr keeps what the go command says, and passes on each line about a download.
type stderr struct {
	text     []byte
	progress func(string)
}

func (s *stderr) Write(p []byte) (int, error) {
	s.text = append(s.text, p...)
	for line := range bytes.Lines(p) { // the go command writes whole lines
		if bytes.HasPrefix(line, []byte("go: downloading ")) {
			s.progress(string(bytes.TrimSpace(line)))
		}
	}
	return len(p), nil
}

var (
	//go:embed main.txt
	mainText string
	// Newer versions than Maddy's, and their lines of go.sum.
	//go:embed newer.mod
	newerMod []byte
	//go:embed newer.sum
	newerSum []byte
)

// noVersion stands for the version of a module that is replaced by a directory.
const noVersion = "v0.0.0"

// mainFile is the program; its one argument are the further packages. The
// commands of helocheck become "maddy helo ...".
var mainFile = template.Must(template.New("main.go").Parse(mainText))

// writeModule fills the work directory and returns where Maddy and the check come from.
func (b *Builder) writeModule(ctx context.Context, g *goCommand) (maddy, check source, err error) {
	if check, err = b.checkSource(ctx, g); err != nil {
		return maddy, check, err
	}
	if maddy, err = b.maddySource(ctx, g); err != nil {
		return maddy, check, err
	}
	mod, err := newTempModule(g.dir, maddy, check)
	if err == nil {
		err = mod.write(b.With)
	}
	for _, with := range b.With {
		if err != nil || with.Version == "" {
			continue
		}
		if _, err = g.run(ctx, "get", with.Package+"@"+with.Version); err != nil {
			err = fmt.Errorf("package %s@%s: %w", with.Package, with.Version, err)
		}
	}
	return maddy, check, err
}

type tempModule struct {
	dir  string
	file *modfile.File
	sums []byte // go.sum
	dirs int    // directories linked so far
}

// newTempModule starts from Maddy's own go.mod, since replace lines of a dependency do not count.
// The go.sum files of both modules come along: some versions cannot be verified afresh everywhere.
func newTempModule(dir string, maddy, check source) (*tempModule, error) {
	file, err := readModFile(maddy.dir)
	if err != nil {
		return nil, err
	}
	own, err := readModFile(check.dir)
	if err != nil {
		return nil, err
	}
	m := &tempModule{dir: dir, file: file, sums: newerSum}
	for _, from := range []source{maddy, check} {
		data, err := os.ReadFile(filepath.Join(from.dir, "go.sum"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		m.sums = slices.Concat(m.sums, data)
	}
	file.DropToolchainStmt()
	return m, errors.Join(file.AddModuleStmt(customPath), m.raiseGo(own), m.raise(),
		m.use(maddyPath, maddy), m.use(checkPath, check))
}

// raise takes the versions of newer.mod where Maddy asks for older ones.
func (m *tempModule) raise() error {
	newer, err := modfile.Parse("newer.mod", newerMod, nil)
	if err != nil {
		return err
	}
	for _, want := range newer.Require {
		for _, has := range m.file.Require {
			if has.Mod.Path == want.Mod.Path && semver.Compare(has.Mod.Version, want.Mod.Version) < 0 {
				err = errors.Join(err, m.file.AddRequire(want.Mod.Path, want.Mod.Version), m.raiseGo(newer))
			}
		}
	}
	return err
}

// raiseGo takes the go directive of another module if that is later.
func (m *tempModule) raiseGo(other *modfile.File) error {
	if version.Compare("go"+m.file.Go.Version, "go"+other.Go.Version) >= 0 {
		return nil
	}
	return m.file.AddGoStmt(other.Go.Version)
}

// readModFile reads the go.mod in dir. Without a go directive the go command takes 1.16.
func readModFile(dir string) (*modfile.File, error) {
	path := filepath.Join(dir, "go.mod")
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("no Go module: %w", err)
	}
	file, err := modfile.Parse(path, data, nil)
	if err == nil && file.Module == nil {
		err = fmt.Errorf("%s names no module", path)
	}
	if err == nil && file.Go == nil {
		err = file.AddGoStmt("1.16")
	}
	return file, err
}

// use requires a module and pins it: without the replace line another module
// could raise the version that the operator chose.
func (m *tempModule) use(path string, from source) error {
	if from.version != "" {
		return errors.Join(m.file.AddRequire(path, from.version),
			m.file.AddReplace(path, "", path, from.version))
	}
	// The absolute path of a directory would end up in the binary and make it differ from machine to
	// machine.
	link := "dir" + strconv.Itoa(m.dirs)
	m.dirs++
	return errors.Join(os.Symlink(from.dir, filepath.Join(m.dir, link)),
		m.file.AddRequire(path, noVersion), m.file.AddReplace(path, "", "./"+link, ""))
}

// write writes go.mod, go.sum and main.go, with further packages.
func (m *tempModule) write(packages []Module) error {
	for _, with := range packages {
		if with.Dir == "" {
			continue
		}
		dir, path, err := moduleDir(with.Dir)
		if err == nil && with.Package != path && !strings.HasPrefix(with.Package, path+"/") {
			err = fmt.Errorf("it is not in the module %s of %s", path, dir)
		}
		if err == nil {
			err = m.use(path, source{dir: dir})
		}
		if err != nil {
			return fmt.Errorf("package %s: %w", with.Package, err)
		}
	}
	m.file.Cleanup()
	text, err := m.file.Format()
	var program bytes.Buffer
	err = errors.Join(err, mainFile.Execute(&program, packages))
	for name, data := range map[string][]byte{
		"go.mod": text, "go.sum": m.sums, "main.go": program.Bytes(),
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(m.dir, name), data, 0o600))
	}
	return err
}

// ErrNoSource means that the source of this project was not found.
var ErrNoSource = errors.New("no source of " + checkPath +
	" found; run in a checkout or name its directory")

// source is where a module comes from: a directory, and a version unless the
// directory is used as it stands.
type source struct {
	dir     string
	version string
}

// neededByCheck is a folder of Maddy that the check imports. Maddy 0.9.3 lacks it.
const neededByCheck = "framework/module/modules"

// maddySource finds the chosen Maddy and downloads it when need be.
func (b *Builder) maddySource(ctx context.Context, g *goCommand) (s source, err error) {
	chosen := cmp.Or(b.Maddy, DefaultMaddy)
	switch {
	case isDir(chosen):
		s, err = sourceIn(chosen, maddyPath)
	case strings.ContainsAny(chosen, `/\`):
		err = fmt.Errorf("no directory %s of Maddy", chosen)
	default:
		b.progress("fetching Maddy " + chosen)
		s, err = download(ctx, g, maddyPath, chosen)
	}
	if err == nil && !isDir(filepath.Join(s.dir, neededByCheck)) {
		err = fmt.Errorf("the check needs Maddy 0.9.4 or newer, not %s", chosen)
	}
	return s, err
}

// checkSource finds the source of this project: the directory asked for, the checkout around the
// working directory, the files this program was compiled from, the module zip of its package, at
// last the released version that it was installed from.
func (b *Builder) checkSource(ctx context.Context, g *goCommand) (source, error) {
	if b.Checkhelo != "" {
		return sourceIn(b.Checkhelo, checkPath)
	}
	here, _ := os.Getwd()
	_, compiled, _, _ := runtime.Caller(0) // no absolute path after -trimpath
	for _, dir := range []string{here, filepath.Dir(compiled)} {
		if root, ok := enclosing(dir); ok {
			return source{dir: root}, nil
		}
	}
	program, _ := os.Executable()
	packed, err := unpacked(program, filepath.Join(g.dir, "packed"))
	if !errors.Is(err, fs.ErrNotExist) {
		return packed, err
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if version := releasedVersion(info); version != "" {
			return download(ctx, g, checkPath, version)
		}
	}
	return source{}, ErrNoSource
}

// unpacked is the source that the package of a program installs.
func unpacked(program, dir string) (source, error) {
	path := filepath.Join(filepath.Dir(program), "..", "share", "helocheck", "module.zip")
	return source{dir: dir}, zip.Unzip(dir, module.Version{Path: checkPath, Version: noVersion}, path)
}

// releasedVersion is the version of this project in a program, "" when the
// program was not made from a release.
func releasedVersion(info *debug.BuildInfo) string {
	for _, m := range slices.Concat(info.Deps, []*debug.Module{&info.Main}) {
		m = cmp.Or(m.Replace, m) // a custom Maddy pins the version in this way
		if m.Path == checkPath && strings.HasPrefix(m.Version, "v") && !strings.Contains(m.Version, "+") {
			return m.Version
		}
	}
	return ""
}

// enclosing walks up from an absolute path to the root of this project's source.
func enclosing(dir string) (root string, ok bool) {
	if data, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
		return dir, modfile.ModulePath(data) == checkPath
	}
	if parent := filepath.Dir(dir); parent != dir && filepath.IsAbs(dir) {
		return enclosing(parent)
	}
	return "", false
}

// sourceIn is the source in dir, which has to be the root of a module.
func sourceIn(dir, module string) (source, error) {
	dir, path, err := moduleDir(dir)
	if err == nil && path != module {
		err = fmt.Errorf("%s holds the module %q, not %s", dir, path, module)
	}
	return source{dir: dir}, err
}

func moduleDir(dir string) (absolute, path string, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", "", err
	}
	file, err := readModFile(dir)
	if err != nil {
		return "", "", err
	}
	return dir, file.Module.Mod.Path, nil
}

// download fetches a module, or finds it in the module cache.
func download(ctx context.Context, g *goCommand, path, version string) (source, error) {
	out, err := g.run(ctx, "mod", "download", "-json", path+"@"+version)
	var found struct{ Version, Dir, Error string }
	err = cmp.Or(err, json.Unmarshal(out, &found))
	if found.Error != "" {
		err = errors.New(found.Error)
	}
	if err != nil {
		return source{}, fmt.Errorf("no version %q of %s: %w", version, path, err)
	}
	return source{dir: found.Dir, version: found.Version}, nil
}

// maddyVersion is what "maddy version" prints. A Maddy directory has it in a file.
func (s source) maddyVersion() string {
	if s.version != "" {
		return strings.TrimPrefix(s.version, "v")
	}
	return cmp.Or(s.versionIn(".version"), "unknown") + "-custom"
}

// versionIn is the version that a file holds, "" for none.
func (s source) versionIn(file string) string {
	data, _ := os.ReadFile(filepath.Join(s.dir, file))
	return oneWord.FindString(strings.TrimSpace(string(data)))
}

// checkVersion is the version of this project: the release, else what the file VERSION of a source
// archive holds, else the tag of the commit that a checkout stands on, else that commit, with
// "+dirty" after changes; "" when dir is no checkout or there is no git.
func (s source) checkVersion(ctx context.Context) string {
	if version := cmp.Or(s.version, s.versionIn("VERSION")); version != "" {
		return version
	}
	if _, err := os.Stat(filepath.Join(s.dir, ".git")); err != nil {
		return "" // a checkout around dir is another project's
	}
	//nolint:gosec // G204: the directory of this project
	out, _ := exec.CommandContext(ctx, "git", "-C", s.dir, "describe", "--tags",
		"--match", "v[0-9]*", "--always", "--abbrev=12", "--dirty=+dirty").Output()
	return oneWord.FindString(strings.TrimSpace(string(out)))
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
