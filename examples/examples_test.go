// Package examples has only this test: Maddy itself loads every configuration
// that the repository shows.
package examples

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/lab/maddybin"
	"maddy.example/checkhelo/module/build"
	"maddy.example/checkhelo/module/heloname"
)

const (
	buildLimit  = 9 * time.Minute // compiling Maddy on a fresh machine
	verifyLimit = 5 * time.Minute
)

// snippet is one configuration and the place where it stands.
type snippet struct{ where, text string }

func TestConfigurations(t *testing.T) {
	binary := customMaddy(t)
	snippets := append(files(t), blocks(t)...)
	if len(snippets) == 0 {
		t.Fatal("nothing found")
	}
	for _, s := range snippets {
		t.Run(s.where, func(t *testing.T) {
			if output, err := verify(t, binary, s.text); err != nil {
				t.Errorf("%v\n%s\n%s", err, output, s.text)
			}
		})
	}
}

// TestNamedFiles fails when a file that README or issue name is missing.
func TestNamedFiles(t *testing.T) {
	var found []string
	for _, s := range files(t) {
		found = append(found, s.where)
	}
	for _, want := range []string{"maddy-mx.conf", "strict.conf", "dry-run.conf", "demo/maddy.conf"} {
		if !slices.Contains(found, want) {
			t.Errorf("no %s in %v", want, found)
		}
	}
}

// TestMistakes proves that verify sees mistakes, in each way a block is completed.
func TestMistakes(t *testing.T) {
	binary := customMaddy(t)
	for text, want := range map[string]string{
		"helo_fqdn {\n    policy harsh\n}":                    `policy: found "harsh"; accepted: one of [lenient rfc strict]`,
		"helo_fqdn {\n    localhots_action off\n}":            "unknown rule \"localhots\"",
		"check {\n    helo_fqdn {\n        debug 3\n    }\n}": "bool argument",
		"smtp tcp://127.0.0.1:2525 {\n    check {\n        helo_fqdn soft\n    }\n" +
			"    deliver_to dummy\n}": "soft",
	} {
		output, err := verify(t, binary, complete(text))
		if err == nil || !strings.Contains(output, want) {
			t.Errorf("error %v, want one with %q, for\n%s\n%s", err, want, text, output)
		}
	}
}

func TestComplete(t *testing.T) {
	for text, want := range map[string][]string{
		"helo_fqdn strict\nspf":   {"check {\nhelo_fqdn strict\nspf\n}", "deliver_to dummy", "tls off"},
		"# why\nhelo_fqdn strict": {"check {\n# why\nhelo_fqdn strict\n}"},
		"check {\n    spf\n}":     {"smtp tcp://127.0.0.1:2525 {\ncheck {\n    spf\n}"},
		"hostname mx.example.org": {"state_dir {env:HOME}/state\n"},
		"state_dir /x\nsmtp x {}": {"state_dir /x\nsmtp x {}"},
		"tls file a b\nsmtp x {}": {"tls file a b"},
	} {
		got := complete(text)
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("no %q in\n%s", part, got)
			}
		}
		for _, once := range []string{"state_dir", "tls ", "hostname "} {
			if n := strings.Count(got, once); n != 1 {
				t.Errorf("%q stands %d times in\n%s", once, n, got)
			}
		}
	}
}

func TestCut(t *testing.T) {
	text := "one\n```maddy\nhelo_fqdn\n```\n```text\nno\n```\n\n" +
		"  ```maddy\n  a {\n  }\n  ```\n```maddy\nopen\n"
	want := []snippet{{"x.md:3", "helo_fqdn"}, {"x.md:10", "  a {\n  }"}}
	if got := cut("x.md", text); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestReadmeReply keeps what the README says of a refusal in step with the rule table.
func TestReadmeReply(t *testing.T) {
	policy := checkhelo.NewPolicy(checkhelo.RFC)
	policy.HelpURL = "https://www.example.org/helo"
	facts := checkhelo.Facts{Helo: heloname.Parse("hostnameonly")}
	reply := policy.Reply(policy.Evaluate(&facts), facts.Helo)
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	e := reply.Enhanced
	line := fmt.Sprintf("%d %d.%d.%d %s", reply.Code, e[0], e[1], e[2], reply.Text)
	if !strings.Contains(strings.Join(strings.Fields(string(readme)), " "), line) {
		t.Errorf("README.md does not have the reply\n%s", line)
	}
}

// customMaddy is the binary that the demo uses too, so that it is built once.
func customMaddy(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit)
	defer cancel()
	step := func(step string) { t.Log(step) }
	path, err := maddybin.Build(ctx, build.Builder{Tags: "debugflags", Progress: step})
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// verify lets Maddy load a configuration in a home directory of its own.
func verify(t *testing.T, binary, text string) (output string, err error) {
	t.Helper()
	home := t.TempDir()
	path := filepath.Join(home, "maddy.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), verifyLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "--config", path, "verify-config")
	cmd.Dir = home
	cmd.Env = append(os.Environ(), "HOME="+home,
		"DEMO_DIR="+home, "DEMO_MX=127.0.0.25:2525", "DEMO_SUBMISSION=127.0.0.25:2526",
		"DEMO_DNS=127.0.0.1:5353")
	said, err := cmd.CombinedOutput()
	return string(said), err
}

// files are all *.conf below this directory.
func files(t *testing.T) (found []snippet) {
	t.Helper()
	walk(t, ".", ".conf", func(path, text string) { found = append(found, snippet{path, text}) })
	return found
}

// blocks are the maddy blocks of all pages, made complete.
func blocks(t *testing.T) (found []snippet) {
	t.Helper()
	add := func(path, text string) {
		for _, s := range cut(path, text) {
			found = append(found, snippet{s.where, complete(s.text)})
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	add("../README.md", string(readme))
	for _, dir := range []string{"../docs", "."} {
		walk(t, dir, ".md", add)
	}
	return found
}

func walk(t *testing.T, dir, ext string, each func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || filepath.Ext(path) != ext {
			return err
		}
		text, err := os.ReadFile(path)
		each(filepath.ToSlash(path), string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var fenced = regexp.MustCompile("(?ms)^ *```maddy\n(.*?)\n *```$")

// cut returns the maddy blocks of a Markdown page, each with its first line's number.
func cut(path, page string) (found []snippet) {
	for _, at := range fenced.FindAllStringSubmatchIndex(page, -1) {
		line := 1 + strings.Count(page[:at[2]], "\n")
		found = append(found, snippet{fmt.Sprintf("%s:%d", path, line), page[at[2]:at[3]]})
	}
	return found
}

var comment = regexp.MustCompile(`(?m)^\s*(#.*)?\n`)

// complete puts round a block what a whole configuration needs.
func complete(text string) string {
	words := strings.Fields(comment.ReplaceAllString(text, "") + " -")
	switch words[0] {
	case "helo_fqdn":
		text = "smtp tcp://127.0.0.1:2525 {\ncheck {\n" + text + "\n}\ndeliver_to dummy\n}\n"
	case "check":
		text = "smtp tcp://127.0.0.1:2525 {\n" + text + "\ndeliver_to dummy\n}\n"
	}
	var head strings.Builder
	for _, global := range []struct{ name, args string }{
		{"state_dir", "{env:HOME}/state"}, {"runtime_dir", "{env:HOME}/run"},
		{"hostname", "mx1.example.org"}, {"tls", "off"},
	} {
		if !regexp.MustCompile(`(?m)^` + global.name + ` `).MatchString(text) {
			fmt.Fprintf(&head, "%s %s\n", global.name, global.args)
		}
	}
	return head.String() + text
}
