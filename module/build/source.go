package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
)

// ErrNoSource means that the source of this project was not found.
var ErrNoSource = errors.New("no source of " + checkPath +
	" found; run in a checkout or name its directory")

// source is where a module comes from: a directory, and a version unless the
// directory is used as it stands.
type source struct {
	dir     string
	version string
}

// maddySource finds the chosen Maddy and downloads it when need be.
func (b *Builder) maddySource(ctx context.Context, g *goCommand) (source, error) {
	chosen := b.Maddy
	if chosen == "" {
		chosen = DefaultMaddy
	}
	if isDir(chosen) {
		dir, err := moduleDir(chosen, maddyPath)
		return source{dir: dir}, err
	}
	if strings.ContainsAny(chosen, `/\`) {
		return source{}, fmt.Errorf("build: Maddy: no directory %s", chosen)
	}
	b.progress("fetching Maddy " + chosen)
	return download(ctx, g, maddyPath, chosen)
}

// checkSource finds the source of this project: the directory asked for, the
// checkout around the working directory, the files this program was compiled
// from, at last the released version that it was installed from.
func (b *Builder) checkSource(ctx context.Context, g *goCommand) (source, error) {
	if b.Checkhelo != "" {
		dir, err := moduleDir(b.Checkhelo, checkPath)
		return source{dir: dir}, err
	}
	if dir, err := os.Getwd(); err == nil {
		if root, ok := enclosing(dir); ok {
			return source{dir: root}, nil
		}
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if root, ok := enclosing(filepath.Dir(file)); ok {
			return source{dir: root}, nil
		}
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		if version := releasedVersion(info); version != "" {
			return download(ctx, g, checkPath, version)
		}
	}
	return source{}, fmt.Errorf("build: %w", ErrNoSource)
}

// releasedVersion is the version of this project in a program, "" when the
// program was not made from a release.
func releasedVersion(info *debug.BuildInfo) string {
	for _, m := range slices.Concat(info.Deps, []*debug.Module{&info.Main}) {
		released := strings.HasPrefix(m.Version, "v") && !strings.Contains(m.Version, "+")
		if m.Path == checkPath && m.Replace == nil && released {
			return m.Version
		}
	}
	return ""
}

// enclosing walks up from dir to the root of this project's source.
func enclosing(dir string) (root string, ok bool) {
	for {
		if data, err := os.ReadFile(filepath.Join(dir, "go.mod")); err == nil {
			return dir, modfile.ModulePath(data) == checkPath
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", false
		}
		dir = parent
	}
}

// moduleDir makes dir absolute and checks that it is the root of module path,
// or of the module that holds the package path.
func moduleDir(dir, path string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	found, err := modulePath(dir)
	if err != nil {
		return "", err
	}
	if found != path {
		return "", fmt.Errorf("build: %s holds the module %q, not %s", dir, found, path)
	}
	return dir, nil
}

func modulePath(dir string) (string, error) {
	data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("build: no Go module: %w", err)
	}
	return modfile.ModulePath(data), nil
}

// download fetches a module, or finds it in the module cache.
func download(ctx context.Context, g *goCommand, path, version string) (source, error) {
	out, err := g.output(ctx, "mod", "download", "-json", path+"@"+version)
	var module struct{ Version, Dir, Error string }
	if jsonErr := json.Unmarshal(out, &module); jsonErr != nil && err == nil {
		err = jsonErr
	}
	if module.Error != "" {
		err = errors.New(module.Error)
	}
	if err != nil {
		return source{}, fmt.Errorf("build: no version %q of %s: %w", version, path, err)
	}
	return source{dir: module.Dir, version: module.Version}, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
