// Package packaging has only tests: of the packages that the script build
// makes, and of the scripts beside it.
//
// What takes minutes, a network or root runs only when it is asked for:
//
//	CHECKHELO_PACKAGES=1 go test -v -timeout 90m ./examples/packaging
package packaging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"maddy.example/checkhelo/cmd/lab/maddybin"
	"maddy.example/checkhelo/module/build"
)

const (
	askFor     = "CHECKHELO_PACKAGES"
	version    = "0.1.0"
	buildLimit = 20 * time.Minute // compiling Maddy and nfpm on a fresh machine
)

var (
	outDir    string // of all packages of one run
	makeOnce  sync.Once
	errOfMake error
)

func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(m.Run()) // see TestInstall; the packages are those of the outer run
	}
	dir, err := os.MkdirTemp("", "checkhelo-packages-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	outDir = dir
	status := m.Run()
	os.RemoveAll(dir)
	os.Exit(status)
}

// packages is the folder with version 0.1.0 in all formats, made once.
func packages(t *testing.T) string {
	t.Helper()
	asked(t)
	makeOnce.Do(func() { errOfMake = makeAll(outDir) })
	if errOfMake != nil {
		t.Fatal(errOfMake)
	}
	return outDir
}

func makeAll(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	said, err := exec.CommandContext(ctx, "./build", "-o", dir, "-v", version).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w\n%s", err, said)
	}
	return nil
}

func asked(t *testing.T) {
	t.Helper()
	if os.Getenv(askFor) == "" {
		t.Skipf("takes minutes and a network; %s=1 asks for it", askFor)
	}
}

func TestScripts(t *testing.T) {
	for _, script := range []string{
		"build", "from-source", "module-path", "release", "refusal", "postinstall", "preremove", "postremove",
	} {
		if said, err := exec.CommandContext(t.Context(), "sh", "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", script, err, said)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range []string{"", "-o", "-x", "-o /dev/null/x -v one", "-v 1.2.3 -o x y"} {
		cmd := exec.CommandContext(t.Context(), "./build", strings.Fields(args)...)
		cmd.Dir = "."
		said, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || !bytes.Contains(said, []byte("build")) {
			t.Errorf("build %s: %v, %s", args, err, said)
		}
	}
}

// Maddy loads the packages' configuration, on a machine that has nothing else.
func TestConfiguration(t *testing.T) {
	text, err := os.ReadFile("maddy.conf.in")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
	defer cancel()
	maddy, err := maddybin.Build(ctx, build.Builder{Tags: "debugflags"})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "maddy.conf")
	dirs := fmt.Sprintf("state_dir %s/state\nruntime_dir %s/run\n", dir, dir)
	if err := os.WriteFile(path, append([]byte(dirs), text...), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(ctx, maddy, "--config", path, "verify-config").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

// contents are the files that each package holds, in every format.
var contents = map[string][]string{
	"maddy-helo": {
		"usr/bin/maddy", "usr/bin/maddyctl", "etc/maddy/maddy.conf",
		"usr/lib/systemd/system/maddy.service", "usr/lib/systemd/system/maddy@.service",
		"usr/share/man/man1/maddy.1.gz", "usr/share/man/man5/check.helo_fqdn.5.gz",
		"usr/share/doc/maddy-helo/check.helo_fqdn.md", "usr/share/doc/maddy-helo/migrate.md",
		"usr/share/doc/maddy-helo/CHANGELOG.md", "usr/share/doc/maddy-helo/copyright",
		"usr/share/doc/maddy-helo/LICENSES",
	},
	"helocheck": {
		"usr/bin/helocheck", "usr/share/helocheck/module.zip", "usr/share/bash-completion/completions/helocheck",
		"usr/share/man/man1/helocheck.1.gz",
		"usr/share/fish/vendor_completions.d/helocheck.fish",
		"usr/share/doc/helocheck/CHANGELOG.md", "usr/share/doc/helocheck/copyright",
	},
}

// formats are the ends of the names, and the command that lists a file of that kind.
var formats = []struct {
	end   string
	list  []string
	extra []string // further files of maddy-helo
	meta  []string // bookkeeping of the format, not installed
}{
	{end: "_0.1.0-1_amd64.deb", list: []string{"dpkg-deb", "--fsys-tarfile"}},
	{end: "-0.1.0-1.x86_64.rpm", list: []string{"rpm", "-qpl"}},
	{
		end: "_0.1.0-r1_x86_64.apk", list: []string{"bsdtar", "-tf"},
		extra: []string{"etc/init.d/maddy"},
		meta:  []string{".PKGINFO", ".post-install", ".pre-deinstall", ".post-deinstall", ".post-upgrade"},
	},
	{
		end: "-0.1.0-1-x86_64.pkg.tar.zst", list: []string{"bsdtar", "-tf"},
		meta: []string{".PKGINFO", ".MTREE", ".INSTALL"},
	},
}

func TestContents(t *testing.T) {
	dir := packages(t)
	for name, want := range contents {
		for _, f := range formats {
			t.Run(name+f.end, func(t *testing.T) {
				if _, err := exec.LookPath(f.list[0]); err != nil {
					t.Skip("no ", f.list[0])
				}
				want := slices.Clone(want)
				if name == "maddy-helo" {
					want = append(append(want, f.extra...), forOperators(t)...)
				} else {
					want = append(want, "usr/share/zsh/"+zshFolder(f.end)+"/_helocheck")
				}
				got := list(t, filepath.Join(dir, name+f.end), f.list)
				got = slices.DeleteFunc(got, func(file string) bool {
					return slices.Contains(f.meta, file)
				})
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
			})
		}
	}
}

// forOperators are the files of the examples for operators, as a package has them.
func forOperators(t *testing.T) (files []string) {
	t.Helper()
	for _, dir := range []string{"monitoring", "postmaster"} {
		err := fs.WalkDir(os.DirFS(".."), dir, func(path string, entry fs.DirEntry, err error) error {
			if entry.IsDir() && entry.Name() == "testdata" {
				return fs.SkipDir
			}
			if !entry.IsDir() && !strings.HasSuffix(path, "_test.go") {
				files = append(files, "usr/share/doc/maddy-helo/examples/"+path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// zshFolder is where the zsh of a distribution looks for completions of packages.
func zshFolder(end string) string {
	if strings.HasSuffix(end, ".deb") {
		return "vendor-completions"
	}
	return "site-functions"
}

// list are the files of a package, without folders.
func list(t *testing.T, path string, command []string) (found []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], append(command[1:], path)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v", cmd, err)
	}
	if command[0] == "dpkg-deb" {
		archive := tar.NewReader(bytes.NewReader(out))
		for {
			entry, err := archive.Next()
			if errors.Is(err, io.EOF) {
				return found
			}
			if err != nil {
				t.Fatal(err)
			}
			if entry.Typeflag != tar.TypeDir {
				found = append(found, strings.TrimPrefix(entry.Name, "./"))
			}
			if entry.Uid != 0 || entry.Gid != 0 || entry.Mode&0o022 != 0 {
				t.Errorf("%s belongs to %d:%d, mode %o", entry.Name, entry.Uid, entry.Gid, entry.Mode)
			}
		}
	}
	for file := range strings.Lines(string(out)) {
		file = strings.TrimPrefix(strings.TrimSpace(file), "/")
		if file != "" && !strings.HasSuffix(file, "/") {
			found = append(found, file)
		}
	}
	// rpm lists folders as it lists files.
	return slices.DeleteFunc(slices.Clone(found), func(file string) bool {
		return slices.ContainsFunc(found, func(other string) bool {
			return strings.HasPrefix(other, file+"/")
		})
	})
}

// What each format says of the package: what it stands in for, and that its
// configuration is the operator's.
func TestMetadata(t *testing.T) {
	dir := packages(t)
	for _, test := range []struct {
		command string
		want    []string
	}{
		{"dpkg-deb -f maddy-helo_0.1.0-1_amd64.deb", []string{
			"Package: maddy-helo", "Version: 0.1.0-1", "Provides: maddy (= 0.9.5)",
			"Conflicts: maddy", "Replaces: maddy",
		}},
		{"dpkg-deb -I maddy-helo_0.1.0-1_amd64.deb conffiles", []string{"/etc/maddy/maddy.conf"}},
		{"rpm -qp --provides --conflicts --obsoletes --configfiles maddy-helo-0.1.0-1.x86_64.rpm",
			[]string{"maddy = 0.9.5", "/etc/maddy/maddy.conf"}},
		{"rpm -qp --scripts maddy-helo-0.1.0-1.x86_64.rpm", []string{"useradd -r", "daemon-reload"}},
		{"bsdtar -xOf maddy-helo_0.1.0-r1_x86_64.apk .PKGINFO",
			[]string{"pkgname = maddy-helo", "pkgver = 0.1.0-r1", "provides = maddy=0.9.5"}},
		{"bsdtar -xOf maddy-helo-0.1.0-1-x86_64.pkg.tar.zst .PKGINFO", []string{
			"provides = maddy=0.9.5", "conflict = maddy", "backup = etc/maddy/maddy.conf",
		}},
		{"bsdtar -xOf maddy-helo-0.1.0-1-x86_64.pkg.tar.zst .INSTALL",
			[]string{"function post_install()", "function post_upgrade()", "useradd -r"}},
	} {
		words := strings.Fields(test.command)
		if _, err := exec.LookPath(words[0]); err != nil {
			t.Logf("no %s", words[0])
			continue
		}
		cmd := exec.CommandContext(t.Context(), words[0], words[1:]...)
		cmd.Dir = dir
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", test.command, err)
		}
		for _, want := range test.want {
			if !bytes.Contains(out, []byte(want)) {
				t.Errorf("%s: no %q in\n%s", test.command, want, out)
			}
		}
	}
}

// The same source and SOURCE_DATE_EPOCH give the same bytes, in all formats.
func TestReproducible(t *testing.T) {
	first, second := packages(t), t.TempDir()
	if err := makeAll(second); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(second)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(contents)*len(formats) {
		t.Errorf("%d packages", len(entries))
	}
	for _, entry := range entries {
		one, two := sum(t, filepath.Join(first, entry.Name())), sum(t, filepath.Join(second, entry.Name()))
		if one != two {
			t.Errorf("%s differs", entry.Name())
		}
	}
}

func sum(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(data)
}

// The manual page within the package is the reference of this source.
func TestManualPage(t *testing.T) {
	dir := packages(t)
	fsys, err := exec.CommandContext(t.Context(), "dpkg-deb", "--fsys-tarfile",
		filepath.Join(dir, "maddy-helo_0.1.0-1_amd64.deb")).Output()
	if err != nil {
		t.Skip("no dpkg-deb: ", err)
	}
	archive := tar.NewReader(bytes.NewReader(fsys))
	for {
		entry, err := archive.Next()
		if err != nil {
			t.Fatal("no page: ", err)
		}
		if !strings.HasSuffix(entry.Name, "/check.helo_fqdn.5.gz") {
			continue
		}
		unzipped, err := gzip.NewReader(archive)
		if err != nil {
			t.Fatal(err)
		}
		page, err := io.ReadAll(unzipped)
		if err != nil || !bytes.Contains(page, []byte(".SH DIRECTIVES")) {
			t.Errorf("%v\n%.500s", err, page)
		}
		return
	}
}

// The image's configuration: what the Containerfile makes of the packages' one.
func TestContainerConfiguration(t *testing.T) {
	file, err := os.ReadFile("Containerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, edit, found := strings.Cut(string(file), "    sed ")
	edit, _, closed := strings.Cut(edit, "examples/packaging/maddy.conf.in > /data/maddy.conf")
	if !found || !closed {
		t.Fatal("no sed in the Containerfile")
	}
	out, err := exec.CommandContext(t.Context(), "sh", "-c", "sed "+edit+" maddy.conf.in").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"$(hostname) = {env:MADDY_HOSTNAME}\n", "$(primary_domain) = {env:MADDY_DOMAIN}\n",
		"file /data/aliases\n",
	} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if bytes.Contains(out, []byte("/etc/maddy")) {
		t.Error("a path of a host is left")
	}
}
