package packaging

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"maddy.example/checkhelo/cmd/lab/maddybin"
)

// TestPatch does what docs/packaging.md says to the Maddy of the module cache,
// without network, and gets a refusal from the result.
func TestPatch(t *testing.T) {
	asked(t)
	page, err := os.ReadFile("../../docs/packaging.md")
	if err != nil {
		t.Fatal(err)
	}
	_, commands, found := strings.Cut(string(page), "```sh\n")
	commands, _, closed := strings.Cut(commands, "```")
	if !found || !closed {
		t.Fatal("docs/packaging.md has no commands")
	}
	check, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	maddy := maddySource(t)
	before := requirements(t, maddy)
	cmd := exec.CommandContext(t.Context(), "sh", "-e", "-c", commands)
	cmd.Dir = maddy
	cmd.Env = append(os.Environ(), "CHECK="+check, "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var added []string
	after := requirements(t, maddy)
	for path, version := range after {
		switch old, had := before[path]; {
		case !had:
			added = append(added, path)
		case old != version && path != "golang.org/x/sync": // as docs/packaging.md says
			t.Errorf("%s is %s, was %s", path, version, old)
		}
	}
	slices.Sort(added)
	want := []string{"github.com/coocood/freecache", "github.com/gaissmai/bart", "maddy.example/checkhelo"}
	if !slices.Equal(added, want) {
		t.Errorf("go.mod asks for %v, want %v", added, want)
	}
	mustRun(t, "./refusal", filepath.Join(maddy, "cmd", "maddy", "maddy"), freePort(t))
}

// maddySource is a copy of the Maddy in the module cache.
func maddySource(t *testing.T) string {
	t.Helper()
	dir := strings.TrimSpace(mustRun(t, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/foxcpp/maddy"))
	maddy := filepath.Join(t.TempDir(), "maddy")
	mustRun(t, "cp", "-R", dir, maddy)
	mustRun(t, "chmod", "-R", "u+w", maddy)
	return maddy
}

// TestOtherMaddy runs tests against a Maddy that differs from the one of go.mod.
func TestOtherMaddy(t *testing.T) {
	asked(t)
	maddy := maddySource(t)
	if err := os.WriteFile(filepath.Join(maddy, ".version"), []byte("0.9.99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(maddybin.OtherMaddy, maddy)
	said := mustRun(t, "go", "test", "-v", "-run", "^(TestVersionOfMaddy|TestPostmasterAndOthers)", "../../module")
	if strings.Count(said, "--- PASS") != 2 {
		t.Error(said)
	}
}

// TestModulePath gives a copy of the checkout another module path; it compiles, its licences are those
// of the list, and a custom Maddy is made of it.
func TestModulePath(t *testing.T) {
	asked(t)
	dir := t.TempDir()
	mustRun(t, "sh", "-e", "-c", `cd ../.. && git ls-files -z --cached --others --exclude-standard |
		xargs -0 cp --parents -t "$1" && cd "$1" && git init -q && git add .`, "-", dir)
	t.Setenv("GOWORK", "off")
	t.Chdir(dir)
	const path = "git.example.net/Mail/helo"
	mustRun(t, "examples/packaging/module-path", path)
	if left, err := exec.CommandContext(t.Context(), "git", "grep", "-F", "maddy.example"+"/").Output(); err == nil {
		t.Errorf("the old path is left:\n%s", left)
	}
	mustRun(t, "go", "vet", "./...")
	mustRun(t, ".ci/licences")
	mustRun(t, "go", "test", "./module/build", "./docs")
	mustRun(t, "go", "run", "./cmd/helocheck", "build", "--check-version", "1.2.3", "-o", "maddy")
	if said := mustRun(t, "./maddy", "helo", "version"); !strings.HasPrefix(said, "check.helo_fqdn v1.2.3") {
		t.Error(said)
	}
}

// requirements are the modules that a go.mod asks for, with their versions.
func requirements(t *testing.T, dir string) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, r := range mod.Require {
		versions[r.Path] = r.Version
	}
	return versions
}

// freePort is a port of loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
