package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The files of a vulnerability database in which a library of ours has a weakness.
const (
	advisory = `{"schema_version":"1.3.1","id":"GO-2026-0001","summary":"stands for a weakness",
		"modified":"2026-01-02T00:00:00Z","published":"2026-01-02T00:00:00Z","affected":[{
		"package":{"name":"github.com/gaissmai/bart","ecosystem":"Go"},
		"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"FIXED"}]}]}],
		"database_specific":{"url":"https://pkg.go.dev/vuln/GO-2026-0001"}}`
	modules = `[{"path":"github.com/gaissmai/bart","vulns":[
		{"id":"GO-2026-0001","modified":"2026-01-02T00:00:00Z","fixed":"FIXED"}]}]`
)

// tools leaves a test out that compiles programs of the folder tools, as they are in no source archive.
func tools(t *testing.T) {
	t.Helper()
	if _, err := os.Stat("../../server/go.mod"); err == nil {
		t.Skip("left out: a source archive has not what the folder tools needs")
	}
}

// database packs the database as a release carries it.
func database(t *testing.T, fixed string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{
		"ID/GO-2026-0001.json": advisory,
		"index/db.json":        `{"modified":"2026-01-02T00:00:00Z"}`,
		"index/modules.json":   modules,
	} {
		path = filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		text = strings.ReplaceAll(text, "FIXED", fixed)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "vulndb.tar.gz")
	mustRun(t, "tar", "-C", dir, "-czf", file, "ID", "index")
	return file
}

// TestVulnerabilities: the database of a release is a file, a finding fails, and
// so does a release that cannot check.
func TestVulnerabilities(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles govulncheck")
	}
	tools(t)
	binary := filepath.Join(t.TempDir(), "helocheck")
	mustRun(t, "go", "build", "-buildvcs=false", "-o", binary, "../../cmd/helocheck")
	const nowhere = "http://127.0.0.1:1"
	for _, test := range []struct {
		name, db string
		must     bool
		code     int
		want     string
	}{
		{"fixed", database(t, "0.0.1"), true, 0, "No vulnerabilities found"},
		{"found", database(t, "99.0.0"), false, 1, "GO-2026-0001"},
		{"no database", nowhere, false, 0, "SKIPPED"},
		{"no database for a release", nowhere, true, 1, "SKIPPED"},
		{"no file", "nowhere.tar.gz", false, 2, "nowhere.tar.gz"},
	} {
		t.Run(test.name, func(t *testing.T) {
			args := []string{binary}
			if test.must {
				args = []string{"--must", binary}
			}
			cmd := exec.CommandContext(t.Context(), "../../.ci/vuln", args...)
			cmd.Env = append(os.Environ(), "GOVULNDB="+test.db)
			said, err := cmd.CombinedOutput()
			if cmd.ProcessState == nil {
				t.Fatal(err)
			}
			got := cmd.ProcessState.ExitCode()
			if got != test.code || !strings.Contains(string(said), test.want) {
				t.Errorf("status %d, want %d and %q in\n%s", got, test.code, test.want, said)
			}
		})
	}
}

// TestLicenceTexts: each library of docs/licences.md has its text in the one file
// of the packages, but for those that have none.
func TestLicenceTexts(t *testing.T) {
	if testing.Short() {
		t.Skip("lists the packages of Maddy")
	}
	tools(t)
	file := filepath.Join(t.TempDir(), "LICENSES")
	mustRun(t, "../../.ci/licences", "-texts", file)
	texts, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile("../../docs/licences.md")
	if err != nil {
		t.Fatal(err)
	}
	libraries := 0
	for line := range strings.Lines(string(list)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[2], " v") || strings.Contains(line, "version") {
			continue
		}
		libraries++
		version := strings.TrimSpace(cells[2])
		if strings.HasPrefix(cells[3], " none") {
			continue
		}
		// A library may be a folder of the module that the text is of.
		path, found := strings.TrimSpace(cells[1]), false
		for ; !found && strings.Contains(path, "/"); path = filepath.Dir(path) {
			found = strings.Contains(string(texts), "\n==== "+path+" "+version+": ") ||
				strings.Contains(string(texts), "\n==== "+path+" "+version+"+incompatible: ")
		}
		if !found {
			t.Errorf("no text of %s", line)
		}
	}
	if libraries < 50 {
		t.Errorf("%d libraries in docs/licences.md", libraries)
	}
}
