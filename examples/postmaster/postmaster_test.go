// Package postmaster has only tests: of the units, scripts and snippets beside it.
package postmaster

import (
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"maddy.example/checkhelo/cmd/helocheck/app"
)

func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip("no ", name)
	}
	return path
}

func TestUnits(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	units, err := filepath.Glob("systemd/*")
	if err != nil || len(units) != 5 {
		t.Fatalf("units %v, %v", units, err)
	}
	// The programs are not installed here: true stands for them.
	dir := t.TempDir()
	for _, unit := range units {
		text, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		start := regexp.MustCompile(`ExecStart=/usr/(?:bin|local/lib/helocheck)/[a-z-]+`)
		text = start.ReplaceAll(text, []byte("ExecStart=/bin/true"))
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(unit)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range units {
		name := strings.Replace(filepath.Base(unit), "@.", "@x.", 1)
		cmd := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", filepath.Join(dir, name))
		if said, err := cmd.CombinedOutput(); err != nil || strings.Contains(string(said), "helocheck") {
			t.Errorf("%s: %v\n%s", name, err, said)
		}
	}
}

// Only a change is mailed: usage, a machine that does not know its address, and a silent DNS are not,
// and a fault that stays does not come every minute.
func TestSelfMailsChangesOnly(t *testing.T) {
	for file, lines := range map[string][]string{
		"systemd/helocheck-self.service": {
			"EnvironmentFile=-/etc/default/helocheck", "SuccessExitStatus=2 3",
			"ExecStart=/usr/bin/helocheck self --watch --every 1h $SELF_OPTIONS",
		},
		"systemd/helocheck-self.timer": {"OnUnitInactiveSec=1h"},
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range lines {
			if !strings.Contains(string(text), "\n"+line+"\n") {
				t.Errorf("%s lacks %s", file, line)
			}
		}
	}
}

// What units, scripts and README call are commands and options that helocheck has.
func TestCommands(t *testing.T) {
	known := make(map[string]string)
	for _, c := range app.Mounted().Subcommands {
		for _, f := range c.Flags {
			known[c.Name] += " " + strings.Join(f.Names(), " ") + " "
		}
	}
	call := regexp.MustCompile(`helocheck ([a-z]+)((?: +-{1,2}[a-z]+(?: (?:"[^"]*"|[^\s"-]\S*))?)*)`)
	option := regexp.MustCompile(`(?:^| )-{1,2}([a-z]+)`)
	n := 0
	for _, path := range []string{
		"README.md", "helo.nginx", "helo.Caddyfile", "weekly-report", "systemd/helocheck-self.service",
	} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			if m[2] == "" {
				continue
			}
			n++
			for _, o := range option.FindAllStringSubmatch(m[2], -1) {
				if !strings.Contains(known[m[1]], " "+o[1]+" ") {
					t.Errorf("%s: helocheck %s has no option %s", path, m[1], o[1])
				}
			}
		}
	}
	if n < 5 {
		t.Errorf("found only %d calls", n)
	}
}

// receive takes one message by SMTP and returns what the client said.
func receive(t *testing.T) (address string, said <-chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	result := make(chan string, 1)
	go func() {
		var all strings.Builder
		defer func() { result <- all.String() }()
		tcp, err := listener.Accept()
		if err != nil {
			return
		}
		defer tcp.Close()
		conn := textproto.NewConn(tcp)
		reply := "220 mx1.example.org"
		for conn.PrintfLine("%s", reply) == nil {
			line, err := conn.ReadLine()
			if err != nil {
				return
			}
			fmt.Fprintln(&all, line)
			reply = "250 ok"
			switch line {
			case "DATA":
				if conn.PrintfLine("354 go on") != nil {
					return
				}
				message, err := io.ReadAll(conn.DotReader())
				if err != nil {
					return
				}
				all.Write(message)
			case "QUIT":
				_ = conn.PrintfLine("221 bye")
				return
			}
		}
	}()
	return listener.Addr().String(), result
}

func TestWeeklyReport(t *testing.T) {
	tool(t, "curl")
	address, said := receive(t)
	// journalctl and helocheck are played by scripts.
	dir := t.TempDir()
	for name, text := range map[string]string{
		"journalctl": "#!/bin/sh\necho 'helo_fqdn: helo verdict'\n",
		"helocheck":  "#!/bin/sh\necho \"called with $*\"\ncat\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "./weekly-report")
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "EXTRA=--against strict",
		"MAIL_TO=postmaster@example.org", "SMTP=smtp://"+address+"/mx1.example.org", "no_proxy=*")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got string
	select {
	case got = <-said:
	case <-time.After(time.Minute):
		t.Fatal("no message")
	}
	for _, want := range []string{
		"EHLO mx1.example.org\n", "MAIL FROM:<>", "RCPT TO:<postmaster@example.org>",
		"Subject: HELO check: the week on ", "Auto-Submitted: auto-generated\n",
		"called with replay --config /etc/maddy/maddy.conf --against strict -\n",
		"helo_fqdn: helo verdict\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestNginx(t *testing.T) {
	nginx := tool(t, "nginx")
	snippet, err := filepath.Abs("helo.nginx")
	if err != nil {
		t.Fatal(err)
	}
	conf := filepath.Join(t.TempDir(), "nginx.conf")
	var temporary strings.Builder
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&temporary, "%s_temp_path %s.%s;\n", what, conf, what)
	}
	text := fmt.Sprintf("pid %s.pid;\nevents {}\nhttp {\naccess_log off;\n%sserver {\nlisten 127.0.0.1:8080;\n"+
		"include %s;\n}\n}\n", conf, &temporary, snippet)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), nginx, "-t", "-e", "stderr", "-c", conf)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}

func TestCaddy(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), tool(t, "caddy"), "adapt", "--adapter", "caddyfile",
		"--config", "helo.Caddyfile", "--validate")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
}
