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
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
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
