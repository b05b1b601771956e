package app

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// script writes the completion of a shell into a file.
func script(t *testing.T, shell string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := Main([]string{"helocheck", "completion", shell}, &stdout, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	path := filepath.Join(t.TempDir(), "completion."+shell)
	if err := os.WriteFile(path, stdout.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBashCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash on the PATH")
	}
	path := script(t, "bash")
	file := filepath.Base(path)
	tests := []struct{ line, want, not string }{
		{"helocheck ", "explain self pages", "fit"},
		{"helocheck se", "self", "explain"},
		{"helocheck self --", "--config --ip --watch --help", "--name"},
		{"helocheck self --format ", "text json", "html"},
		{"helocheck pages --lang ", "de en", "--name"},
		{"helocheck self --ip ", "", "--config"},
		{"helocheck self --config " + file[:4], file, "--ip"},
		{"helocheck completion ", "bash zsh fish", ""},
		{"helocheck replay " + file[:4], file, ""},
		{"helocheck explain --policy r", "rfc", "strict"},
	}
	for _, test := range tests {
		t.Run(test.line, func(t *testing.T) {
			words := strings.Split(test.line, " ")
			cmd := exec.CommandContext(t.Context(), bash, append([]string{"--norc", "-c",
				`source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _helocheck;` +
					` echo "${COMPREPLY[@]}"`,
				"bash", path}, words...)...)
			cmd.Dir = filepath.Dir(path)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			got := " " + strings.TrimSpace(string(out)) + " "
			for _, word := range strings.Fields(test.want) {
				if !strings.Contains(got, " "+word+" ") {
					t.Errorf("no %q in%s", word, got)
				}
			}
			extra := test.want == "" && strings.TrimSpace(got) != ""
			if extra || test.not != "" && strings.Contains(got, test.not) {
				t.Errorf("offers%s", got)
			}
		})
	}
}

// mounted writes the script of a custom Maddy.
func mounted(t *testing.T, shell string) string {
	t.Helper()
	var stdout bytes.Buffer
	maddy := &cli.App{Name: "maddy", Commands: []*cli.Command{Mounted()}, Writer: &stdout}
	if err := maddy.Run([]string{"maddy", "helo", "completion", shell}); err != nil {
		t.Fatal(err)
	}
	return stdout.String()
}

// In a custom Maddy the script completes maddy helo, and leaves the rest of maddy to others.
func TestMountedCompletion(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("needs bash on the PATH")
	}
	path := filepath.Join(t.TempDir(), "maddy")
	if err := os.WriteFile(path, []byte(mounted(t, "bash")), 0o600); err != nil {
		t.Fatal(err)
	}
	const before = `_other() { COMPREPLY=(run creds); }; complete -o default -F _other maddy;`
	for _, test := range []struct{ before, line, want string }{
		{"", "maddy helo ex", "explain"},
		{"", "maddy helo explain --policy r", "rfc"},
		{"", "maddy he", "helo"},
		{"", "maddy run ", ""},
		{before, "maddy helo ex", "explain"},
		{before, "maddy run ", "run creds"},
		{before, "maddy ", "run creds helo"},
	} {
		t.Run(test.before+test.line, func(t *testing.T) {
			words := strings.Split(test.line, " ")
			cmd := exec.CommandContext(t.Context(), bash, append([]string{"--norc", "-c", test.before +
				`source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));` +
				` $(complete -p maddy | sed 's/.* -F \([^ ]*\).*/\1/'); echo "${COMPREPLY[@]}"`,
				"bash", path}, words...)...)
			out, err := cmd.CombinedOutput()
			if err != nil || strings.TrimSpace(string(out)) != test.want {
				t.Errorf("%v, %q, want %q", err, out, test.want)
			}
		})
	}
	for shell, part := range map[string]string{"zsh": "#compdef maddy\n",
		"fish": "complete -c maddy -f -n '__fish_seen_subcommand_from helo; and "} {
		if script := mounted(t, shell); !strings.HasPrefix(script, part) {
			t.Errorf("%s: %.200s", shell, script)
		}
	}
}

// The scripts of the other shells are at least read without an error.
func TestOtherCompletions(t *testing.T) {
	for _, shell := range []string{"zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			path := script(t, shell)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, word := range []string{"self", "pages", "replay", "watch", "text json"} {
				if !bytes.Contains(data, []byte(word)) {
					t.Errorf("no %q", word)
				}
			}
			program, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("the script is not tried: no %s on the PATH", shell)
			}
			out, err := exec.CommandContext(t.Context(), program, "-n", path).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestCompletionUsage(t *testing.T) {
	for _, args := range []string{"", "tcsh", "bash zsh"} {
		var stdout, stderr bytes.Buffer
		line := append([]string{"helocheck", "completion"}, strings.Fields(args)...)
		if status := Main(line, &stdout, &stderr); status != exitUsage || stdout.Len() > 0 {
			t.Errorf("%q: status %d, %s%s", args, status, &stdout, &stderr)
		}
	}
}
