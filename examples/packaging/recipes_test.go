package packaging

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRecipes builds the source archive with each distribution's own tool, with
// the network cut and no module cache, as its build machines do.
func TestRecipes(t *testing.T) {
	asked(t)
	dir := t.TempDir()
	t.Setenv("SOURCE_DATE_EPOCH", "1790000000")
	tree := filepath.Join(dir, "maddy-helo-"+version)
	mustRun(t, "./from-source", "prepare", tree, version)
	archive := tree + "-source.tar.gz"
	mustRun(t, "tar", "-C", dir, "-I", "gzip -1", "-cf", archive, filepath.Base(tree))
	for _, recipe := range []struct {
		name  string
		tools []string
		build func(t *testing.T, dir, archive string)
	}{
		{"Debian", []string{"dpkg-buildpackage", "dh", "lintian"}, debian},
		{"RPM", []string{"rpmbuild", "rpmlint"}, rpm},
		{"Arch Linux", []string{"makepkg", "pacman"}, arch},
	} {
		t.Run(recipe.name, func(t *testing.T) {
			for _, tool := range append(recipe.tools, "unshare", "ip", "scdoc") {
				if _, err := exec.LookPath(tool); err != nil {
					t.Skipf("not built: there is no %s", tool)
				}
			}
			recipe.build(t, t.TempDir(), archive)
		})
	}
}

// alone runs a command without network but for a loopback of its own, and without a module cache.
func alone(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cache := strings.TrimSpace(mustRun(t, "go", "env", "GOCACHE"))
	const checkLimit = 20 * time.Minute // for the tests of the check, beside those of the build
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit+checkLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", append([]string{
		"-n", "sh", "-c", `ip link set lo up; exec "$@"`, "-",
	}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOCACHE="+cache, "GOMODCACHE=/nonexistent", "GOFLAGS=")
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, said)
	}
	if !strings.Contains(string(said), `504 5.5.2 "hostnameonly" is a host name`) {
		t.Errorf("%v: the recipe's own test got no refusal:\n%s", args, said)
	}
	return string(said)
}

// debian builds and checks the packages, and installs them as TestInstall does the others.
func debian(t *testing.T, dir, archive string) {
	t.Helper()
	mustRun(t, "tar", "-C", dir, "-xf", archive)
	alone(t, filepath.Join(dir, "maddy-helo-"+version), "dpkg-buildpackage", "-d", "-us", "-uc", "-b")
	changes, err := filepath.Glob(filepath.Join(dir, "*.changes"))
	if err != nil || len(changes) != 1 {
		t.Fatal(changes, err)
	}
	mustRun(t, "lintian", "--fail-on", "error,warning", changes[0])
	outer(t, dir)
}

func rpm(t *testing.T, dir, archive string) {
	t.Helper()
	alone(t, dir, "rpmbuild", "--nodeps", "--define", "_topdir "+dir, "-tb", archive)
	built, err := filepath.Glob(filepath.Join(dir, "RPMS", "*", "*.rpm"))
	if err != nil || len(built) != 2 {
		t.Fatal(built, err)
	}
	mustRun(t, "rpmlint", append([]string{"-c", "rpmlint.toml"}, built...)...)
}

// arch runs makepkg under another user's number, since it refuses to run as root.
func arch(t *testing.T, dir, archive string) {
	t.Helper()
	recipe, err := os.ReadFile("PKGBUILD")
	if err != nil {
		t.Fatal(err)
	}
	digest, _, _ := strings.Cut(mustRun(t, "sha256sum", archive), " ")
	text := strings.NewReplacer("@VERSION@", version, "@SHA256@", digest).Replace(string(recipe))
	if err := os.WriteFile(filepath.Join(dir, "PKGBUILD"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(archive, filepath.Join(dir, filepath.Base(archive))); err != nil {
		t.Fatal(err)
	}
	alone(t, dir, "unshare", "-U", "--map-user=1000", "--map-group=1000", "makepkg", "-d")
	built, err := filepath.Glob(filepath.Join(dir, "*.pkg.tar.*"))
	if err != nil || len(built) != 2 {
		t.Fatal(built, err)
	}
}
