package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
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
