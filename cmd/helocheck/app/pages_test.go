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
	t.Setenv("MADDY_CONFIG", filepath.Join(dir, "none.conf"))
	site := filepath.Join(dir, "a", "site")
	conf, mild := filepath.Join(dir, "maddy.conf"), filepath.Join(dir, "mild.conf")
	for path, block := range map[string]string{
		conf: "fail_action ignore\nhelp_url https://mail.example.org/helo/\n" +
			"not_fqdn_action reject 554 5.7.0 \"A long name is wanted here\"\nmalformed_action ignore",
		mild: "policy lenient\nmalformed_action score 1\nself_address_action off\ndeny_name_action off",
	} {
		text := "hostname mx.example.org\ncheck.helo_fqdn local_checks {\n" + block + "\n}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name   string
		args   []string
		status int
		want   string // on stderr
	}{
		{"made", []string{"-o", site, "--name", "Example Mail", "--contact",
			"postmaster@example.org"}, 0, "preset rfc is used"},
		{"again, in German", []string{"-o", site, "--name", "Example Mail", "--contact",
			"abuse@example.org", "--lang", "de", "--policy", "rfc"}, 0, ""},
		{"contact that may be refused", []string{"-o", site, "--name", "Example Mail", "--contact",
			"help@example.org"}, 0, "exempt_recipients"},
		{"no directory", []string{"--name", "x", "--contact", "a@example.org"}, exitUsage,
			"--output is missing"},
		{"no name", []string{"-o", site, "--contact", "a@example.org"}, exitUsage, "--name is missing"},
		{"no contact", []string{"-o", site, "--name", "x"}, exitUsage, "--contact is missing"},
		{"bad contact", []string{"-o", site, "--name", "x", "--contact", "a"}, exitFailure,
			"found contact"},
		{"language", []string{"-o", site, "--name", "x", "--contact", "postmaster@example.org",
			"--lang", "tlh"}, exitFailure, "accepted, each once: de, en"},
		{"both", []string{"-o", filepath.Join(dir, "both"), "--name", "x", "--contact",
			"postmaster@example.org", "--lang", "de,en", "--policy", "strict"}, 0, ""},
		{"configuration", []string{"-o", filepath.Join(dir, "own"), "--name", "x", "--contact",
			"postmaster@example.org", "--config", conf}, 0, ""},
		{"nothing refused", []string{"-o", filepath.Join(dir, "none"), "--name", "x", "--contact",
			"postmaster@example.org", "--config", mild}, exitFailure, "no rule of this policy"},
		{"no configuration", []string{"-o", site, "--name", "x", "--contact",
			"postmaster@example.org", "--config", dir + "/none"}, exitUsage, "no such file"},
		{"argument", []string{"-o", site, "more"}, exitUsage, `no argument "more"`},
		{"no logo", []string{"-o", site, "--name", "x", "--contact", "postmaster@example.org",
			"--logo", dir + "/none.png"}, exitFailure, "no such file"},
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
	data, err = os.ReadFile(filepath.Join(dir, "own", "not_fqdn.html"))
	if err != nil || !bytes.Contains(data, []byte("554 5.7.0 A long name is wanted here</code>")) {
		t.Errorf("own words: %s, %v", data, err)
	}
	for file, want := range map[string]bool{
		"own/bare_ip.html": true, "own/malformed.html": false, "own/no_ptr.html": false,
		"both/index.html": true, "both/index.en.html": true, "both/index.de.html": false,
	} {
		if _, err := os.Stat(filepath.Join(dir, file)); (err == nil) != want {
			t.Errorf("%s: %v", file, err)
		}
	}
}
