// Package build makes a custom Maddy: the mail server with its whole command
// line, the check of this project, and further packages.
//
// Maddy's command line lives in an internal package, which only a module below
// Maddy's own path may import. So the package writes a temporary module of
// that kind, copies Maddy's own replace lines into it, and runs the go command.
package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// DefaultMaddy is the version of Maddy that go.mod names.
const DefaultMaddy = "v0.9.5"

const (
	maddyPath  = "github.com/foxcpp/maddy"
	customPath = maddyPath + "/custom"
	checkPath  = "maddy.example/checkhelo"
)

// Builder is one request. The zero value builds the default Maddy into the
// file "maddy" of the working directory.
type Builder struct {
	Maddy     string   // version, version query ("latest") or directory; "" is DefaultMaddy
	Tags      string   // build tags of the go command, separated by commas
	With      []Module // further packages to link in
	Output    string   // file to write; "" is "maddy"
	Checkhelo string   // directory of this project's source; "" looks for it
	Version   string   // of this project, as "maddy helo version" shows it; "" finds it
	Go        string   // go command; "" is "go"

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
func (b *Builder) Build(ctx context.Context) error { return b.build(ctx, describe) }

// build takes the version of a checkout from fromGit when none is given.
func (b *Builder) build(
	ctx context.Context, fromGit func(ctx context.Context, dir string) string,
) error {
	if err := checkVersion(b.Version); err != nil {
		return err
	}
	output, err := b.output()
	if err != nil {
		return err
	}
	g, err := b.newGoCommand(ctx)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "checkhelo-build-")
	if err != nil {
		return fmt.Errorf("build: %w", err)
	}
	defer os.RemoveAll(work)
	g.dir = work

	maddy, check, err := b.writeModule(ctx, g)
	if err != nil {
		return err
	}
	linked := versions{shownVersion(maddy), strings.TrimPrefix(b.Version, "v")}
	if linked.check == "" {
		linked.check = check.shown(ctx, fromGit)
	}
	fresh, err := os.CreateTemp(filepath.Dir(output), "."+filepath.Base(output)+"-")
	if err != nil {
		return fmt.Errorf("build: output: %w", err)
	}
	defer os.Remove(fresh.Name())
	if err := fresh.Close(); err != nil {
		return fmt.Errorf("build: output: %w", err)
	}
	b.progress("compiling Maddy " + linked.maddy + "; the first time takes some minutes")
	if err := g.run(ctx, b.buildArgs(linked, fresh.Name())...); err != nil {
		return err
	}
	if err := os.Rename(fresh.Name(), output); err != nil {
		return fmt.Errorf("build: output: %w", err)
	}
	b.progress("wrote " + output)
	return nil
}

// output is the absolute path of the file to write.
func (b *Builder) output() (string, error) {
	name := b.Output
	if name == "" {
		name = "maddy"
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return "", fmt.Errorf("build: output: %w", err)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path, nil
	case err != nil:
		return "", fmt.Errorf("build: output: %w", err)
	case info.IsDir():
		return "", fmt.Errorf("build: output: %s is a directory; name a file in it", path)
	}
	return path, nil
}

func (b *Builder) buildArgs(v versions, output string) []string {
	set := "-X " + maddyPath + ".Version=" + v.maddy
	if v.check != "" {
		set += " -X " + checkPath + "/module.version=" + v.check
	}
	return []string{
		"build", "-trimpath", "-buildvcs=false", "-tags", b.Tags, "-ldflags", set, "-o", output, ".",
	}
}

func (b *Builder) progress(step string) {
	if b.Progress != nil {
		b.Progress(step)
	}
}
