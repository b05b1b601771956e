package app

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPagesCommand(t *testing.T) {
	dir := t.TempDir()
	site := filepath.Join(dir, "a", "site")
	tests := []struct {
		name   string
		args   []string
		status int
		want   string // on stderr
	}{
		{"made", []string{"-o", site, "--name", "Example Mail", "--contact",
			"postmaster@example.org"}, 0, ""},
		{"again, in German", []string{"-o", site, "--name", "Example Mail", "--contact",
			"abuse@example.org", "--lang", "de"}, 0, ""},
		{"contact that may be refused", []string{"-o", site, "--name", "Example Mail", "--contact",
			"help@example.org"}, 0, "exempt_recipients"},
		{"no directory", []string{"--name", "x", "--contact", "a@example.org"}, exitUsage,
			"--output is missing"},
		{"no name", []string{"-o", site, "--contact", "a@example.org"}, exitUsage, "--name is missing"},
		{"no contact", []string{"-o", site, "--name", "x"}, exitUsage, "--contact is missing"},
		{"bad contact", []string{"-o", site, "--name", "x", "--contact", "a"}, exitFailure,
			"found contact"},
		{"language", []string{"-o", site, "--name", "x", "--contact", "postmaster@example.org",
			"--lang", "tlh"}, exitUsage, "accepted: de, en"},
		{"argument", []string{"-o", site, "more"}, exitUsage, `no argument "more"`},
		{"no logo", []string{"-o", site, "--name", "x", "--contact", "postmaster@example.org",
			"--logo", dir + "/none"}, exitFailure, "no such file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			status := Main(append([]string{"helocheck", "pages"}, test.args...), &stdout, &stderr)
			if status != test.status || !strings.Contains(stderr.String(), test.want) {
				t.Errorf("status %d, want %d and %q: %s", status, test.status, test.want, &stderr)
			}
			if test.want == "" && stderr.Len() > 0 {
				t.Errorf("stderr: %s", &stderr)
			}
		})
	}
	data, err := os.ReadFile(filepath.Join(site, "not_fqdn.html"))
	if err != nil || !bytes.Contains(data, []byte("Example Mail")) {
		t.Errorf("no page: %v", err)
	}
}
