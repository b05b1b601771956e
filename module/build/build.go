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
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
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

// Build makes the binary and moves it to Output in one step; a failure leaves an older file there
// as it was. The same inputs give the same bytes. What the go command says is part of the error.
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
	if _, err = exec.LookPath("go"); err != nil {
		return errors.New("no go command found; install Go from https://go.dev/dl/")
	}
	check, err := b.checkSource(ctx, work)
	if err != nil {
		return err
	}
	maddy, err := b.maddySource(ctx, work)
	if err != nil {
		return err
	}
	if err = b.writeModule(ctx, work, maddy, check); err != nil {
		return err
	}
	set := "-X " + maddyPath + ".Version=" + maddy.maddyVersion()
	if v := cmp.Or(b.Version, check.checkVersion(ctx)); v != "" {
		set += " -X " + checkPath + "/module.version=" + strings.TrimPrefix(v, "v")
	}
	b.progress("compiling Maddy " + maddy.maddyVersion() + "; the first time takes some minutes")
	_, err = b.run(ctx, work, "build", "-trimpath", "-buildvcs=false", "-tags", b.Tags,
		"-ldflags", set, "-o", binary, ".")
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

// run runs the go command in a directory and returns its output; the error holds what it said.
func (b *Builder) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...) //nolint:gosec // G204: our arguments
	cmd.Dir = dir
	// A workspace of the caller must not leak into the build.
	cmd.Env = append(os.Environ(), "GO111MODULE=on", "GOWORK=off",
		"GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -mod=mod"))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second // that an interrupted go command may take to end
	said := stderr{progress: b.progress}
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

// writeModule fills the work directory. Its go.mod starts from Maddy's own, since replace lines of
// a dependency do not count. The go.sum files come along: some versions cannot be verified afresh
// everywhere.
func (b *Builder) writeModule(ctx context.Context, dir string, maddy, check source) error {
	file, err := readModFile(maddy.dir)
	if err != nil {
		return err
	}
	newer := source{dir: filepath.Join(dir, "newer")}
	err = errors.Join(os.Mkdir(newer.dir, 0o700), file.AddModuleStmt(customPath),
		os.WriteFile(filepath.Join(newer.dir, "go.mod"), newerMod, 0o600),
		os.WriteFile(filepath.Join(newer.dir, "go.sum"), newerSum, 0o600))
	file.DropToolchainStmt()
	modules := []source{newer, maddy, check}
	for _, with := range b.With {
		if with.Dir != "" {
			from, fault := sourceIn(with.Dir, with.Package)
			modules, err = append(modules, from), cmp.Or(err, fault)
		}
	}
	var sums, program bytes.Buffer
	for i, from := range modules {
		err = cmp.Or(err, from.use(file, filepath.Join(dir, "dir"+strconv.Itoa(i)), &sums))
	}
	if err != nil {
		return err
	}
	file.Cleanup()
	text, err := file.Format()
	err = errors.Join(err, mainFile.Execute(&program, b.With))
	for name, data := range map[string][]byte{
		"go.mod": text, "go.sum": sums.Bytes(), "main.go": program.Bytes(),
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
	for _, with := range b.With {
		if err == nil && with.Version != "" {
			_, err = b.run(ctx, dir, "get", with.Package+"@"+with.Version)
		}
	}
	return err
}

// use adds a module and its sums to those of the program. A version is pinned: without the replace
// line another module could raise what the operator chose. A directory is used by a link: its path
// would end up in the binary and make it differ from machine to machine.
func (s source) use(file *modfile.File, link string, sums *bytes.Buffer) error {
	own, err := readModFile(s.dir)
	if err != nil {
		return err
	}
	if version.Compare("go"+own.Go.Version, "go"+file.Go.Version) > 0 {
		err = file.AddGoStmt(own.Go.Version)
	}
	data, fault := os.ReadFile(filepath.Join(s.dir, "go.sum"))
	if !errors.Is(fault, fs.ErrNotExist) {
		err = errors.Join(err, fault)
	}
	sums.Write(data)
	path := own.Module.Mod.Path
	if s.version != "" {
		return errors.Join(err, file.AddRequire(path, s.version),
			file.AddReplace(path, "", path, s.version))
	}
	return errors.Join(err, os.Symlink(s.dir, link), file.AddRequire(path, noVersion),
		file.AddReplace(path, "", "./"+filepath.Base(link), ""))
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

// source is where a module comes from: a directory, and a version unless the
// directory is used as it stands.
type source struct {
	dir     string
	version string
}

// maddySource finds the chosen Maddy and downloads it when need be.
func (b *Builder) maddySource(ctx context.Context, work string) (s source, err error) {
	chosen := cmp.Or(b.Maddy, DefaultMaddy)
	switch {
	case isDir(chosen):
		s, err = sourceIn(chosen, maddyPath)
	case strings.ContainsAny(chosen, `/\`):
		err = fmt.Errorf("no directory %s of Maddy", chosen)
	default:
		b.progress("fetching Maddy " + chosen)
		s, err = b.download(ctx, work, maddyPath, chosen)
	}
	// The check imports this folder, which Maddy 0.9.3 lacks.
	if err == nil && !isDir(filepath.Join(s.dir, "framework", "module", "modules")) {
		err = fmt.Errorf("the check needs Maddy 0.9.4 or newer, not %s", chosen)
	}
	return s, err
}

// checkSource finds the source of this project: the directory asked for, the checkout around the
// working directory, the module zip of this program's package, at last the released version that it
// was installed from.
func (b *Builder) checkSource(ctx context.Context, work string) (source, error) {
	if b.Checkhelo != "" {
		return sourceIn(b.Checkhelo, checkPath)
	}
	here, _ := os.Getwd()
	if root, ok := enclosing(here); ok {
		return source{dir: root}, nil
	}
	program, _ := os.Executable()
	packed, err := unpacked(program, filepath.Join(work, "packed"))
	if !errors.Is(err, fs.ErrNotExist) {
		return packed, err
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if version := releasedVersion(info); version != "" {
			return b.download(ctx, work, checkPath, version)
		}
	}
	return source{}, fmt.Errorf("no source of %s found; run in a checkout or name its directory",
		checkPath)
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
	if parent := filepath.Dir(dir); parent != dir {
		return enclosing(parent)
	}
	return "", false
}

// sourceIn is the source in dir, which has to be the root of the module with a package.
func sourceIn(dir, pkg string) (source, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return source{}, err
	}
	file, err := readModFile(dir)
	if err != nil {
		return source{}, err
	}
	if path := file.Module.Mod.Path; pkg != path && !strings.HasPrefix(pkg, path+"/") {
		err = fmt.Errorf("%s holds the module %q, not %s", dir, path, pkg)
	}
	return source{dir: dir}, err
}

// download fetches a module, or finds it in the module cache.
func (b *Builder) download(ctx context.Context, work, path, version string) (source, error) {
	out, err := b.run(ctx, work, "mod", "download", "-json", path+"@"+version)
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
