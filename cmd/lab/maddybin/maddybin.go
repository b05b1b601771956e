// Package maddybin keeps a custom Maddy of this checkout in the user's cache
// directory, for tests, examples and the lab.
package maddybin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/lockedfile"

	"maddy.example/checkhelo/module/build"
)

const (
	entryPrefix = "maddy-"
	// keepEntries binaries stay in the cache, of some 45 MB each.
	keepEntries = 4
	// keepTime protects younger entries: another process may be about to run one.
	keepTime = time.Hour
)

// OtherMaddy is the environment variable that names the source of another Maddy.
const OtherMaddy = "MADDY_SRC"

// Build builds only when the inputs changed: the fields of b except Output, the
// Go version and target, the source of this project and every directory that b
// names. Processes that ask at the same time wait for one build. Old entries are
// removed. A version query such as "latest" is not asked again once built. The
// check is of version "devel" unless b names one, or each commit would make an
// entry. Without Checkhelo it has to run in a checkout.
//
// Where b names no Maddy, OtherMaddy may do it. Without either, a source archive
// for distributions is built from what it holds, with no network or module cache.
func Build(ctx context.Context, b build.Builder) (path string, err error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("maddybin: %w", err)
	}
	return buildIn(ctx, filepath.Join(base, "checkhelo"), b)
}

func buildIn(ctx context.Context, dir string, b build.Builder) (path string, err error) {
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("maddybin: %w", err)
	}
	if b.Checkhelo == "" {
		out, fault := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
		if fault != nil {
			return "", fmt.Errorf("maddybin: %w", fault)
		}
		b.Checkhelo = filepath.Dir(strings.TrimSpace(string(out)))
	}
	if b.Version == "" {
		b.Version = "devel"
	}
	if b.Maddy == "" {
		b.Maddy = os.Getenv(OtherMaddy)
	}
	key, err := keyOf(ctx, &b)
	if err != nil {
		return "", fmt.Errorf("maddybin: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("maddybin: %w", err)
	}
	defer unlock()

	b.Output = filepath.Join(dir, entryPrefix+key)
	now := time.Now()
	if err := os.Chtimes(b.Output, now, now); err == nil {
		return b.Output, nil
	}
	compile := b.Build
	if isArchive(&b) {
		compile = func(ctx context.Context) error { return buildArchive(ctx, &b) }
	}
	if err := compile(ctx); err != nil {
		return "", err
	}
	return b.Output, prune(dir, now)
}

// isArchive tells whether all that b asks for lies in a tree of "from-source prepare".
func isArchive(b *build.Builder) bool {
	_, err := os.Stat(filepath.Join(b.Checkhelo, "server", "go.mod"))
	return err == nil && b.Maddy == "" && len(b.With) == 0
}

// buildArchive compiles the program that the tree has in its folder server.
func buildArchive(ctx context.Context, b *build.Builder) error {
	fresh := filepath.Join(filepath.Dir(b.Output), "fresh")
	set := "-X github.com/foxcpp/maddy.Version=" + strings.TrimPrefix(build.DefaultMaddy, "v") +
		" -X maddy.example/checkhelo/module.version=" + b.Version
	//nolint:gosec // G204: the go command, on our own source
	cmd := exec.CommandContext(ctx, "go", "build", "-mod=vendor", "-trimpath", "-buildvcs=false",
		"-tags", b.Tags, "-ldflags", set, "-o", fresh, "./server")
	cmd.Dir = b.Checkhelo
	cmd.Env = append(os.Environ(), "GOWORK="+filepath.Join(b.Checkhelo, "go.work"))
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("maddybin: %w\n%s", err, said)
	}
	return os.Rename(fresh, b.Output)
}

// held is what an attempt at the lock came to.
type held struct {
	unlock func()
	err    error
}

// lock waits for the lock file, for as long as ctx lets it.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	done := make(chan held, 1)
	go func() {
		unlock, err := lockedfile.MutexAt(path).Lock()
		done <- held{unlock, err}
	}()
	return await(ctx, done)
}

func await(ctx context.Context, done <-chan held) (unlock func(), err error) {
	select {
	case h := <-done:
		return h.unlock, h.err
	case <-ctx.Done():
		go func() { // the lock may still come: give it back
			if h := <-done; h.err == nil {
				h.unlock()
			}
		}()
		return nil, ctx.Err()
	}
}

// keyOf is a hash of everything that decides what is built.
func keyOf(ctx context.Context, b *build.Builder) (string, error) {
	settings, err := exec.CommandContext(ctx,
		"go", "env", "GOVERSION", "GOTOOLCHAIN", "GOFLAGS", "GOOS", "GOARCH", "CGO_ENABLED").Output()
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%q %q %q\n", settings, b.Maddy, b.Tags, b.Version)
	dirs := []string{b.Checkhelo}
	if info, err := os.Stat(b.Maddy); err == nil && info.IsDir() {
		dirs = append(dirs, b.Maddy)
	}
	for _, with := range b.With {
		fmt.Fprintf(sum, "%q\n", with)
		if with.Dir != "" {
			dirs = append(dirs, with.Dir)
		}
	}
	for _, dir := range dirs {
		if err := hashTree(sum, dir); err != nil {
			return "", err
		}
	}
	const octets = 12 // 96 bits; nobody attacks their own cache
	return hex.EncodeToString(sum.Sum(nil)[:octets]), nil
}

// hashTree adds the files below dir that a build may read: not tests, not
// folders that the go command passes over.
func hashTree(sum hash.Hash, dir string) error {
	root := os.DirFS(dir)
	return fs.WalkDir(root, ".", func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != "." && ignoredDir(name):
			return fs.SkipDir
		case !entry.Type().IsRegular(), strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := root.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		content := sha256.New()
		if _, err := io.Copy(content, file); err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %x\n", path, content.Sum(nil))
		return nil
	})
}

func ignoredDir(name string) bool {
	return name[0] == '.' || name[0] == '_' || name == "testdata"
}

// prune removes the entries that were not used for longest.
func prune(dir string, now time.Time) error {
	paths, err := filepath.Glob(filepath.Join(dir, entryPrefix+"*"))
	if err != nil {
		return fmt.Errorf("maddybin: %w", err)
	}
	used := make(map[string]time.Time, len(paths))
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			used[path] = info.ModTime()
		}
	}
	slices.SortFunc(paths, func(a, b string) int { return used[b].Compare(used[a]) })
	for _, path := range paths[min(keepEntries, len(paths)):] {
		if now.Sub(used[path]) < keepTime {
			continue
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("maddybin: %w", err)
		}
	}
	return nil
}
