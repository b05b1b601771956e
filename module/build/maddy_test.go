package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRealMaddy builds this checkout into the real Maddy, and once more with
// the network shut off.
func TestRealMaddy(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles Maddy")
	}
	dir := t.TempDir()
	online := Builder{Checkhelo: checkout(t), Output: filepath.Join(dir, "online"),
		Version: "1.2.3", Progress: logTo(t)}
	if err := online.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-mod=mod")
	offline := online
	offline.Output = filepath.Join(dir, "offline")
	if err := offline.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	var binaries [2]string
	for i, path := range []string{online.Output, offline.Output} {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		binaries[i] = string(data)
	}
	if binaries[0] != binaries[1] {
		t.Error("two builds of the same sources differ")
	}
	tests := []struct {
		args []string
		want string
	}{
		{[]string{"version"}, strings.TrimPrefix(DefaultMaddy, "v") + " "},
		{[]string{"helo", "version"}, "check.helo_fqdn v1.2.3, for Maddy " + DefaultMaddy},
		{[]string{"--help"}, "run "},
		{[]string{"creds", "--help"}, "Local credentials management"},
		{[]string{"imap-acct", "--help"}, "IMAP storage accounts management"},
		{[]string{"helo", "build", "--help"}, "helo build - build a custom Maddy"},
	}
	for _, test := range tests {
		if got := runFile(t, offline.Output, test.args...); !strings.Contains(got, test.want) {
			t.Errorf("maddy %v lacks %q:\n%s", test.args, test.want, got)
		}
	}
}

func logTo(t *testing.T) func(string) {
	t.Helper()
	return func(step string) { t.Log(step) }
}
