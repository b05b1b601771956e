package maddyconf_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"maddy.example/checkhelo/cmd/helocheck/app"
	"maddy.example/checkhelo/cmd/lab/maddybin"
	"maddy.example/checkhelo/module/build"
)

// binary is a Maddy with the check in it, kept in the user's cache directory.
var binary = sync.OnceValues(func() (path string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 9*time.Minute)
	defer cancel()
	return maddybin.Build(ctx, build.Builder{Tags: "debugflags"})
})

// said is what a command prints and ends with.
type said struct {
	stdout, stderr string
	status         int
}

// maddy runs the custom Maddy.
func maddy(t *testing.T, args ...string) said {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return command(t, exec.Command(path, args...))
}

func command(t *testing.T, cmd *exec.Cmd) said {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return said{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

var oneMain sync.Mutex

// helocheck runs the stand-alone tool, which has no table of Maddy.
func helocheck(args ...string) said {
	var stdout, stderr bytes.Buffer
	oneMain.Lock() // the commands share flags, and one Load runs at a time
	defer oneMain.Unlock()
	status := app.Main(append([]string{"helocheck"}, args...), &stdout, &stderr)
	return said{stdout.String(), stderr.String(), status}
}

// explanation is what a test reads of explain's JSON.
type explanation struct {
	Reply *struct {
		Code int
		Text string
	}
	Exempt string
	Tables []map[string]string `json:"not_evaluated"`
}

func (s said) explained(t *testing.T) (e explanation) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.stdout), &e); err != nil {
		t.Fatalf("%v in the output\n%s%s", err, s.stdout, s.stderr)
	}
	return e
}

// write makes files in a new directory; "DIR" in their texts is where.
func write(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range files {
		text = strings.ReplaceAll(text, "DIR", dir)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

var tableFiles = map[string]string{
	"list": `# remark: with a colon
bad.example.net: 550 5.7.1 first: with a colon, 550 5.7.1 second
bad.example.net: 550 5.7.1 third

  spaced.example.net   :   550 5.7.1 spaced
valueless.example.net
 # indented.example.net: 550 5.7.1 no remark
empty.example.net:
2001:db8::1: 550 5.7.1 never
192.0.2.1: 550 5.7.1 address
UPPER.example.net: 550 5.7.1 never
two.example.net: b, c
`,
	"broken": "a.example.net: b\n: nothing\n",
	"long":   "a.example.net: b\n" + strings.Repeat("x", 1<<16) + "\n",
}

// none stands for a name that the table does not have.
const none = "accepted"

// tables are those of deny_names, or else of the directive named, with the reply
// to each greeting.
var tables = []struct {
	name, table string
	want        map[string]string
}{
	{"file", "file DIR/list", map[string]string{
		"bad.example.net": "first: with a colon", "a.bad.example.net": "first: with a colon",
		"spaced.example.net": "spaced", "valueless.example.net": "This server takes", "empty.example.net": "This server takes",
		"indented.example.net": none, "[192.0.2.1]": "address", "[IPv6:2001:db8::1]": none,
		"upper.example.net": none, "good.example.net": none,
	}},
	{"file in a block", "file {\nfile DIR/list\n}", map[string]string{"bad.example.net": "first"}},
	{"full name", "table.file DIR/list", map[string]string{"bad.example.net": "first"}},
	{"missing file", "file DIR/none", map[string]string{"bad.example.net": none}},
	{"no file", "file", map[string]string{"bad.example.net": none}},
	{"static", `static {
		entry bad.example.net "550 5.7.1 lost"
		entry bad.example.net "550 5.7.1 last" "550 5.7.1 more"
		entry 2001:db8::1 "550 5.7.1 six"
		entry UPPER.example.net "550 5.7.1 never"
		entry empty.example.net ""
	}`, map[string]string{
		"bad.example.net": "last", "[IPv6:2001:db8:0::1]": "six", "upper.example.net": none,
		"empty.example.net": "This server takes", "good.example.net": none,
	}},
	{"empty static", "static", map[string]string{"bad.example.net": none}},
	{"regexp", `regexp "bulk[0-9]+\.example\.com" "550 5.7.1 whole" "550 5.7.1 more"`, map[string]string{
		"bulk7.example.com": "whole", "a.bulk7.example.com": "whole", "bulk7.example.com.example.org": none,
		"bulkx.example.com": none, "BULK7.example.com": "whole",
	}},
	{"part", "regexp \"bulk\" \"550 5.7.1 part\" {\nfull_match no\n}", map[string]string{
		"abulkb.example.com": "part", "mail.example.com": none}},
	{"anchored", `regexp "^bulk.*$" "550 5.7.1 anchored"`, map[string]string{
		"bulk.example.com": "anchored", "abulk.example.com": none}},
	{"alternatives", `regexp "bulk|.*\.test\.example" "550 5.7.1 either"`, map[string]string{
		"bulk.example.com": "either", "a.test.example": "either", "a.test.example.net": none}},
	{"upper case", `regexp "BULK\.example\.com" "550 5.7.1 folded"`, map[string]string{
		"bulk.example.com": "folded"}},
	{"case counts", "regexp \"BULK\\.example\\.com\" \"550 5.7.1 never\" {\ncase_insensitive no\n}",
		map[string]string{"bulk.example.com": none}},
	{"groups", `regexp "(?P<host>[a-z]+)\.([a-z]+)\.example" "550 5.7.1 $host of ${2} is $3 $$1"`,
		map[string]string{"bulk.sub.example": "bulk of sub is  $1"}},
	{"no groups", "regexp \"(.*)\\.example\" \"550 5.7.1 as it is $1\" {\nexpand_replaceholders no\n}",
		map[string]string{"bulk.example": "as it is $1"}},
	{"regexp without value", `regexp ".*"`, map[string]string{"bulk.example.com": none}},
	{"regexp and colons", `regexp "2001:db8:.*" "550 5.7.1 net"`, map[string]string{
		"[IPv6:2001:db8::1]": "net", "[IPv6:2001:db9::1]": none}},
	{"named file", "&listed", map[string]string{"bad.example.net": "first", "good.example.net": none}},
	{"kind of a named static", "&table.static", map[string]string{"bad.example.net": "named"}},
}

// topTables are blocks of the top level. Maddy finds a static one by its kind only.
const topTables = `
state_dir DIR
table.file listed {
	file list
}
table.chain chained {
	step &listed
}
table.static fixed {
	entry bad.example.net "550 5.7.1 named"
}
`

// Each stand-in gives the same outcome as Maddy's own table.
func TestStandInsAreLikeMaddys(t *testing.T) {
	text := strings.Builder{}
	text.WriteString(topTables)
	for i, table := range tables {
		fmt.Fprintf(&text, "check.helo_fqdn t%d {\npolicy lenient\nnot_fqdn_action off\ndeny_names %s\n}\n", i, table.table)
	}
	files := map[string]string{"maddy.conf": text.String()}
	for name, content := range tableFiles {
		files[name] = content
	}
	conf := filepath.Join(write(t, files), "maddy.conf")
	for i, table := range tables {
		for helo, want := range table.want {
			t.Run(table.name+"/"+helo, func(t *testing.T) {
				t.Parallel()
				args := []string{"explain", "--config", conf, "--check", fmt.Sprintf("t%d", i),
					"--dns", "off", "--format", "json", helo}
				own, maddys := helocheck(args...), maddy(t, append([]string{"helo"}, args...)...)
				if own.stdout != maddys.stdout || own.status != maddys.status {
					t.Errorf("helocheck ends with %d\n%s\nmaddy helo with %d\n%s", own.status, own.stdout+own.stderr,
						maddys.status, maddys.stdout+maddys.stderr)
				}
				e := own.explained(t)
				got := none
				if e.Reply != nil {
					got = e.Reply.Text
				}
				if !strings.HasPrefix(got, want) || len(e.Tables) != 0 {
					t.Errorf("got %q, want %q; not evaluated %v", got, want, e.Tables)
				}
			})
		}
	}
}

// No tool follows a chain, whose steps may write or lead back to it.
func TestChainIsNotEvaluated(t *testing.T) {
	files := map[string]string{"maddy.conf": topTables + "check.helo_fqdn mx {\ndeny_names &chained\n}\n",
		"list": tableFiles["list"]}
	args := []string{"explain", "--config", filepath.Join(write(t, files), "maddy.conf"), "--dns", "off",
		"--format", "json", "bad.example.net"}
	for who, s := range map[string]said{
		"helocheck": helocheck(args...), "maddy helo": maddy(t, append([]string{"helo"}, args...)...),
	} {
		e := s.explained(t)
		if len(e.Tables) != 1 || e.Tables[0]["reason"] != "only the running server opens it" || e.Reply != nil {
			t.Errorf("%s: not evaluated %v, reply %v", who, e.Tables, e.Reply)
		}
	}
}

// What Maddy does not start with is an error of both, with the place.
func TestMistakesAreThoseOfMaddy(t *testing.T) {
	for name, table := range map[string]string{
		"static without value": "deny_names static {\nentry a\n}",
		"static directive":     "deny_names static {\nnonsense yes\n}",
		"file of nothing":      "deny_names file DIR/broken",
		"long line":            "deny_names file DIR/long",
		"directory":            "deny_names file DIR",
		"two files":            "deny_names file DIR/list DIR/list",
		"file twice":           "deny_names file DIR/list {\nfile DIR/list\n}",
		"pattern":              `deny_names regexp "(" x`,
		"regexp of nothing":    "deny_names regexp",
		"regexp directive":     "deny_names regexp a b {\nfullmatch no\n}",
		"unknown reference":    "deny_names &nobody",
		"reference to static":  "deny_names &fixed",
		"reference and more":   "deny_names &listed x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"maddy.conf": topTables + "check.helo_fqdn mx {\n" + table + "\n}\n"}
			for name, content := range tableFiles {
				files[name] = content
			}
			args := []string{"explain", "--config", filepath.Join(write(t, files), "maddy.conf"), "--dns", "off", "a.example.net"}
			own, maddys := helocheck(args...), maddy(t, append([]string{"helo"}, args...)...)
			if own.status != 1 || maddys.status == 0 {
				t.Errorf("helocheck ends with %d, maddy helo with %d\n%s", own.status, maddys.status, own.stdout)
			}
			if !regexp.MustCompile(`(maddy\.conf|broken):\d+: |/(long|00\d): `).MatchString(own.stderr) {
				t.Errorf("no file and line in %q", own.stderr)
			}
		})
	}
}

// The pattern of docs/migrate.md refuses, in the tool and in Maddy.
func TestPatternOfTheMigrationPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^ *deny_names regexp .*$`).FindAllString(string(page), -1)
	if len(lines) != 1 {
		t.Fatalf("deny_names regexp stands %d times in docs/migrate.md, want once", len(lines))
	}
	conf := filepath.Join(write(t, map[string]string{
		"maddy.conf": "check.helo_fqdn mx {\n" + lines[0] + "\n}\n",
	}), "maddy.conf")
	for helo, code := range map[string]int{
		"bulk12.example.com": 554, "a.b.bulk12.example.com": 554, "bulk.example.com": 0, "notbulk12.example.com": 0,
	} {
		args := []string{"explain", "--config", conf, "--dns", "off", "--format", "json", helo}
		for who, s := range map[string]said{
			"helocheck": helocheck(args...), "maddy helo": maddy(t, append([]string{"helo"}, args...)...),
		} {
			got := 0
			if e := s.explained(t); e.Reply != nil {
				got = e.Reply.Code
			}
			if got != code {
				t.Errorf("%s answers %s with %d, want %d", who, helo, got, code)
			}
		}
	}
}

// sqlConf has rows in a table that the command "maddy creds" fills.
const sqlConf = `
state_dir DIR/state
runtime_dir DIR/state
hostname mx.example.org
smtp tcp://127.0.0.1:25 {
	tls off
	deliver_to dummy
}
auth.pass_table local {
	table &accounts
}
table.sql_table accounts {
	driver sqlite3
	dsn accounts.db
	table_name passwords
}
check.helo_fqdn named { deny_names &accounts }
check.helo_fqdn inline {
	deny_names sql_table {
		driver sqlite3
		dsn accounts.db
		table_name passwords
	}
}
check.helo_fqdn query {
	deny_names sql_query {
		driver sqlite3
		dsn DIR/state/accounts.db
		init "DELETE FROM passwords" "CREATE TABLE other (a INT)"
		lookup "SELECT value FROM passwords WHERE key = $1"
	}
}
check.helo_fqdn absent {
	deny_names sql_table {
		driver sqlite3
		dsn absent.db
		table_name passwords
	}
}
check.helo_fqdn tableless {
	deny_names sql_table {
		driver sqlite3
		dsn accounts.db
		table_name absent
	}
}
`

// fill makes the database of sqlConf.
func fill(t *testing.T) (dir, conf string) {
	t.Helper()
	dir = write(t, map[string]string{"maddy.conf": sqlConf})
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // see asNobody
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	conf = filepath.Join(dir, "maddy.conf")
	made := maddy(t, "--config", conf, "creds", "create", "--cfg-block", "local", "--password", "x", "bad.example.net")
	if made.status != 0 || made.stderr != "" {
		t.Fatalf("maddy creds: %+v", made)
	}
	return dir, conf
}

// "maddy helo" reads SQL tables through Maddy's own code; helocheck says that it cannot.
func TestSQLTables(t *testing.T) {
	_, conf := fill(t)
	for check, want := range map[string]struct{ reply, kind, reason string }{
		"named":     {"bcrypt:", "sql_table", ""},
		"inline":    {"bcrypt:", "sql_table", ""},
		"query":     {"bcrypt:", "sql_query", ""},
		"absent":    {"", "sql_table", "absent.db: no such file"},
		"tableless": {"", "sql_table", "no such table"},
	} {
		args := []string{"explain", "--config", conf, "--check", check, "--dns", "off", "--format", "json", "bad.example.net"}
		s := maddy(t, append([]string{"helo"}, args...)...)
		e := s.explained(t)
		switch {
		case want.reason == "":
			if len(e.Tables) != 0 || e.Reply == nil || !strings.HasPrefix(e.Reply.Text, want.reply) {
				t.Errorf("%s: maddy helo: %+v, want the reply %s", check, e, want.reply)
			}
		case !strings.Contains(s.stdout, want.reason): // SQLite in Go finds no fault before the lookup
			t.Errorf("%s: maddy helo: not evaluated %v, want %q", check, e.Tables, want.reason)
		}
		s = helocheck(args...)
		e = s.explained(t)
		line := "deny_names: table " + want.kind + ": not evaluated: run `maddy helo explain`\n"
		if len(e.Tables) != 1 || e.Tables[0]["directive"] != "deny_names" || e.Tables[0]["table"] != want.kind ||
			e.Tables[0]["reason"] != "run `maddy helo explain`" || !strings.HasSuffix(s.stderr, line) {
			t.Errorf("%s: helocheck: not evaluated %v, on stderr %q", check, e.Tables, s.stderr)
		}
	}
}

// state describes every file below dir.
func state(t *testing.T, dir string) (text string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		content, _ := os.ReadFile(path) // nothing for a directory
		text += fmt.Sprintf("%s %v %v %x\n", path, info.Mode(), info.ModTime(), content)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The tool writes nothing, and runs as a user who may not write the state directory.
func TestNothingIsWritten(t *testing.T) {
	dir, conf := fill(t)
	cwd := t.TempDir()
	before := state(t, dir)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range []string{"named", "inline", "query", "absent", "tableless"} {
		args := []string{"helo", "explain", "--config", conf, "--check", check, "--dns", "off", "bad.example.net"}
		cmd := exec.Command(path, args...)
		cmd.Dir = cwd
		if got := command(t, cmd); got.stdout == "" {
			t.Errorf("%s: %+v", check, got)
		}
		cmd = exec.Command(path, args...)
		cmd.Dir = cwd
		if os.Getuid() == 0 {
			cmd = asNobody(t, path, args)
		} else if err := os.Chmod(filepath.Join(dir, "state"), 0o555); err != nil {
			t.Fatal(err)
		}
		if got := command(t, cmd); got.stdout == "" {
			t.Errorf("%s, without permission to write: %+v", check, got)
		}
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(filepath.Join(dir, "state"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if after := state(t, dir); after != before {
		t.Errorf("files before\n%s\nand after\n%s", before, after)
	}
	if files, err := os.ReadDir(cwd); err != nil || len(files) != 0 {
		t.Errorf("the working directory has %v, %v", files, err)
	}
}

// asNobody runs the program as another user. That user cannot enter the cache directory, so
// the program is an open file.
func asNobody(t *testing.T, path string, args []string) *exec.Cmd {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	cmd := exec.Command("/proc/self/fd/3", args...)
	cmd.ExtraFiles = []*os.File{file}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	return cmd
}

// Each way to name the server's maddy.conf, in the tool and below "maddy".
func TestSelfFindsTheConfiguration(t *testing.T) {
	dir := write(t, map[string]string{
		"flag.conf": "hostname flag.example.org\n", "outer.conf": "hostname outer.example.org\n",
		"env.conf": "hostname env.example.org\n",
	})
	at := func(name string) string { return filepath.Join(dir, name+".conf") }
	ask := []string{"self", "--ip", "192.0.2.25", "--dns", "127.0.0.1:9"}
	tests := []struct {
		name, outer, env, flag, want string
	}{
		{"flag", "outer", "env", "flag", "flag"},
		{"flag of maddy", "outer", "env", "", "outer"},
		{"flag of maddy alone", "outer", "", "", "outer"},
		{"environment", "", "env", "", "env"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"helo"}, ask...)
			if test.flag != "" {
				args = append(args, "--config", at(test.flag))
			}
			if test.outer != "" {
				args = append([]string{"--config", at(test.outer)}, args...)
			}
			if test.env != "" {
				t.Setenv("MADDY_CONFIG", at(test.env))
			}
			if got := maddy(t, args...); !strings.Contains(got.stdout, test.want+".example.org") {
				t.Errorf("got %+v, want %s.example.org", got, test.want)
			}
		})
	}
	t.Setenv("MADDY_CONFIG", at("env"))
	if got := helocheck(ask...); !strings.Contains(got.stdout, "env.example.org") {
		t.Errorf("helocheck: %+v, want env.example.org", got)
	}
	t.Setenv("MADDY_CONFIG", "")
	for who, got := range map[string]said{"helocheck": helocheck(ask...), "maddy": maddy(t, append([]string{"helo"}, ask...)...)} {
		if !strings.Contains(got.stderr, "/etc/maddy/maddy.conf") {
			t.Errorf("%s without a setting: %+v, want /etc/maddy/maddy.conf", who, got)
		}
	}
}
