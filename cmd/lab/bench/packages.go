package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const fetchLimit = 5 * time.Minute

const (
	harakaVersion = "3.3.4"
	checksVersion = "1.1.3"

	// The newest libmime asks for packages that not every registry has.
	harakaPackages = `{
  "private": true,
  "dependencies": {"Haraka": "` + harakaVersion + `", "haraka-plugin-helo.checks": "` +
		checksVersion + `"},
  "overrides": {"libmime": "5.3.7"}
}
`
)

// cacheDir holds what was fetched, for the next time.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	return filepath.Join(base, "checkhelo-bench"), nil
}

// command runs a program and returns what it printed.
func command(ctx context.Context, dir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // the bench's own words
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	output, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("bench: %s: %w\n%s", name, err, output)
	}
	return string(output), nil
}

// debian is Postfix and unbound, installed or only unpacked.
type debian struct{ root string } // "": installed

// fetchDebian unpacks what the machine does not have. Nothing is installed, so no service starts.
func fetchDebian(ctx context.Context, dir string) (debian, error) {
	if (debian{}).complete() {
		return debian{}, nil
	}
	d := debian{filepath.Join(dir, "debian")}
	if d.complete() {
		return d, nil
	}
	archives := filepath.Join(dir, "archives")
	if err := os.MkdirAll(filepath.Join(archives, "partial"), 0o755); err != nil { //nolint:gosec,lll // apt's own user reads it
		return d, fmt.Errorf("bench: %w", err)
	}
	_, err := command(ctx, dir, "apt-get", "update", "-q")
	if err != nil {
		return d, err
	}
	_, err = command(ctx, dir, "apt-get", "install", "-qy", "--download-only",
		"--no-install-recommends", "-o", "Dir::Cache::archives="+archives,
		"--reinstall", "postfix", "unbound")
	if err != nil {
		return d, err
	}
	packages, err := filepath.Glob(filepath.Join(archives, "*.deb"))
	if err != nil {
		return d, fmt.Errorf("bench: %w", err)
	}
	for _, path := range packages {
		if _, err := command(ctx, dir, "dpkg", "-x", path, d.root); err != nil {
			return d, err
		}
	}
	if !d.complete() {
		return d, fmt.Errorf("bench: apt-get fetched %q, which does not suffice", packages)
	}
	return d, nil
}

func (d debian) complete() bool {
	for _, path := range []string{d.sbin("smtp-source"), d.sbin("unbound"), d.daemons() + "/master"} {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

func (d debian) sbin(name string) string { return d.root + "/usr/sbin/" + name }
func (d debian) daemons() string         { return d.root + "/usr/lib/postfix/sbin" }
func (d debian) postfixLibs() string     { return d.root + "/usr/lib/postfix" }

// env lets unpacked programs find their libraries.
func (d debian) env() []string {
	if d.root == "" {
		return nil
	}
	dirs := []string{d.postfixLibs()}
	more, err := filepath.Glob(d.root + "/usr/lib/*-linux-gnu*")
	if err == nil {
		dirs = append(dirs, more...)
	}
	return []string{"LD_LIBRARY_PATH=" + strings.Join(dirs, ":")}
}

// version returns Debian's version of a package.
func (d debian) version(ctx context.Context, name string) string {
	text, err := command(ctx, "", "dpkg-query", "-W", "-f", "${Version}", name)
	if d.root == "" && err == nil {
		return text
	}
	found, err := filepath.Glob(filepath.Join(filepath.Dir(d.root), "archives", name+"_*.deb"))
	if err != nil || len(found) == 0 {
		return ""
	}
	return strings.Split(filepath.Base(found[0]), "_")[1]
}

// fetchHaraka returns the folder that npm has filled.
func fetchHaraka(ctx context.Context, dir string) (string, error) {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			return "", errors.New("bench: Haraka needs " + name + ", which is not installed")
		}
	}
	dir = filepath.Join(dir, "haraka")
	done := filepath.Join(dir, "node_modules", "haraka-plugin-helo.checks", "index.js")
	list := filepath.Join(dir, "package.json")
	if text, err := os.ReadFile(list); err == nil && string(text) == harakaPackages {
		if _, err := os.Stat(done); err == nil {
			return dir, nil
		}
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", fmt.Errorf("bench: %w", err)
	}
	if err := writeFile(list, harakaPackages); err != nil {
		return "", err
	}
	_, err := command(ctx, dir, "npm", "install", "--omit=dev", "--ignore-scripts", "--no-audit",
		"--no-fund")
	return dir, err
}
