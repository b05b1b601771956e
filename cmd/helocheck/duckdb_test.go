package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"maddy.example/checkhelo/cmd/helocheck/app"
	"maddy.example/checkhelo/cmd/lab/mailog"
)

const duckDB = "@duckdb/node-api@1.5.6-r.1"

// statements returns the SQL of docs/replay.md.
func statements(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "replay.md"))
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, m := range regexp.MustCompile("(?s)```sql\n(.*?)```").FindAllSubmatch(page, -1) {
		blocks = append(blocks, string(m[1]))
	}
	if len(blocks) != 4 {
		t.Fatalf("%d statements in the page", len(blocks))
	}
	return blocks
}

// replayedMessages replays a file under strict and returns the messages of each action.
func replayedMessages(t *testing.T, path string) map[string]int {
	t.Helper()
	var out, bad bytes.Buffer
	args := []string{"helocheck", "replay", "--policy", "strict", "--memory", "off", "--format", "json", path}
	if status := app.Main(args, &out, &bad); status != 0 {
		t.Fatalf("status %d: %s", status, &bad)
	}
	var report struct {
		Classes map[string]struct {
			Actions map[string]struct{ Messages int }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]int)
	for _, class := range report.Classes {
		for action, n := range class.Actions {
			sums[action] += n.Messages
		}
	}
	return sums
}

// What the page on replay says of DuckDB works, and the counts give the same figures as the log.
func TestDuckDB(t *testing.T) {
	if testing.Short() {
		t.Skip("installs DuckDB")
	}
	dir := t.TempDir()
	install := exec.Command("npm", "install", "--prefix", dir, "--no-audit", "--no-fund", "--fetch-retries=0", duckDB)
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm cannot install %s here: %v\n%s", duckDB, err, out)
	}
	log := filepath.Join(dir, "mail.log")
	var text, bad bytes.Buffer
	text.WriteString("2026-03-01T00:00:00+00:00 mx postfix/smtpd[1]: NOQUEUE: info: RCPT from a.example.org[192.0.2.7]:" +
		" <friend>: Helo command greeting; from=<a@example.org> to=<bob@example.com> proto=ESMTP helo=<friend>\n" +
		"2026-03-01T00:00:00+00:00 mx postfix/smtpd[1]: 4A: client=a.example.org[192.0.2.7]\n" +
		"2026-03-01T00:00:00+00:00 mx postfix/qmgr[1]: 4A: from=<a@example.org>, size=1, nrcpt=1 (queue active)\n")
	if status := mailog.Main(t.Context(), []string{"-lines", "20000", "-hosts", "100"}, &text, &bad); status != 0 {
		t.Fatal(bad.String())
	}
	if err := os.WriteFile(log, text.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	status := app.Main([]string{"helocheck", "replay", "--policy", "strict", "--memory", "off", "--format", "ndjson",
		"-o", filepath.Join(dir, "greetings.ndjson"), log}, &out, &bad)
	if status != 0 {
		t.Fatal(bad.String())
	}
	script, err := filepath.Abs(filepath.Join("testdata", "duckdb.js"))
	if err != nil {
		t.Fatal(err)
	}
	sql := statements(t)
	query := func(text string) []map[string]any {
		cmd := exec.Command("node", script)
		cmd.Dir, cmd.Stdin, cmd.Stderr = dir, strings.NewReader(text), &bad
		out, err := cmd.Output()
		var rows []map[string]any
		if err == nil {
			err = json.Unmarshal(out, &rows)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, &bad)
		}
		return rows
	}
	rows := query(sql[0] + sql[3])
	if len(rows) != 1 || rows[0]["rule"] != "not_fqdn" || rows[0]["action"] != "reject" || rows[0]["messages"] != "1" {
		t.Errorf("lost %v", rows)
	}
	want, got := replayedMessages(t, log), replayedMessages(t, filepath.Join(dir, "counts.csv"))
	for _, action := range []string{"reject", "quarantine", "none"} {
		if want[action] == 0 || want[action] != got[action] {
			t.Errorf("%s: %d messages, the counts give %d", action, want[action], got[action])
		}
	}
	// The columns of the page are the fields of a line.
	fields := regexp.MustCompile(`"?(\w+)"?: '`).FindAllStringSubmatch(sql[0], -1)
	line, _, _ := bytes.Cut(read(t, filepath.Join(dir, "greetings.ndjson")), []byte("\n"))
	var keys map[string]any
	if err := json.Unmarshal(line, &keys); err != nil {
		t.Fatal(err)
	}
	for key := range keys {
		if !slices.ContainsFunc(fields, func(m []string) bool { return m[1] == key }) {
			t.Errorf("the page has no column %s", key)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
