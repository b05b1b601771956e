package packaging

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// inside is set in the copy of this test that runs in namespaces of its own.
const inside = "CHECKHELO_INSIDE"

const (
	ourIP    = "192.0.2.25"
	goodIP   = "192.0.2.7" // mail.example.net in the test's DNS
	installs = 5 * time.Minute
	answers  = 3 * time.Minute
)

// here is this folder, which the copy of the root folder has, too.
var here string

// TestInstall installs the packages on this Debian, lets the server run from
// the package's own configuration, upgrades, removes and purges.
//
// Nothing of that happens to the machine: a copy of the test runs in
// namespaces of its own, on a copy of the root folder that lies in memory and
// is gone with the last process, with a network that has only itself.
func TestInstall(t *testing.T) {
	if os.Getenv(inside) == "" {
		outer(t, packages(t))
		return
	}
	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"prepare", prepare}, {"replaces", replaces}, {"units", units}, {"serves", serves},
		{"upgrade", upgrade}, {"remove", remove}, {"helocheck", helocheck},
	}
	for _, step := range steps {
		if !t.Run(step.name, step.run) {
			return
		}
	}
}

func outer(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for _, tool := range []string{"dpkg", "dpkg-deb", "ip", "mount", "setpriv", "useradd"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip("no ", tool)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), installs)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.v", "-test.run", "^TestInstall$")
	cmd.Env = append(os.Environ(), inside+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	said, err := cmd.CombinedOutput()
	t.Logf("%s", said)
	if errors.Is(err, syscall.EPERM) {
		t.Skip("no namespaces here: ", err)
	}
	if err != nil {
		t.Error(err)
	}
}

// prepare makes the copy of the root folder and moves into it.
func prepare(t *testing.T) {
	t.Helper()
	dir := os.Getenv(inside)
	var err error
	if here, err = os.Getwd(); err != nil {
		t.Fatal(err)
	}
	mustRun(t, "mount", "--make-rprivate", "/")
	mustRun(t, "mount", "-t", "tmpfs", "-o", "size=4g", "none", "/mnt")
	for _, sub := range []string{"/mnt/upper", "/mnt/work", "/mnt/root"} {
		if err := os.Mkdir(sub, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "mount", "-t", "overlay", "overlay",
		"-o", "lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work", "/mnt/root")
	for _, packed := range []string{"maddy-helo", "helocheck"} {
		mustRun(t, "cp", filepath.Join(dir, packed+"_0.1.0-1_amd64.deb"), "/mnt/root/"+packed+".deb")
	}
	mustRun(t, "mount", "--rbind", "/dev", "/mnt/root/dev")
	mustRun(t, "mount", "-t", "proc", "proc", "/mnt/root/proc")
	if err := syscall.Chroot("/mnt/root"); err != nil {
		t.Fatal(err)
	}
	//nolint:usetesting // there is no way back into the former folder
	if err := os.Chdir("/"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DEBIAN_FRONTEND", "noninteractive")
	for _, path := range []string{"/etc/maddy", "/var/lib/maddy", "/run/maddy"} {
		if err := os.RemoveAll(path); err != nil { // of the copy
			t.Fatal(err)
		}
	}
	mustRun(t, "ip", "link", "set", "lo", "up")
	for _, ip := range []string{ourIP, goodIP} {
		mustRun(t, "ip", "address", "add", ip+"/32", "dev", "lo")
	}
	if err := os.WriteFile("/etc/resolv.conf", []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	serveDNS(t)
}

// serveDNS answers for mail.example.net; every other name does not exist.
func serveDNS(t *testing.T) {
	t.Helper()
	records := map[string]string{}
	for _, line := range []string{
		"mail.example.net. 60 IN A " + goodIP, "7.2.0.192.in-addr.arpa. 60 IN PTR mail.example.net.",
		"example.net. 60 IN MX 10 mail.example.net.",
	} {
		f := strings.Fields(line)
		records[f[0]+f[3]] = line
	}
	answer := func(w dns.ResponseWriter, question *dns.Msg) {
		reply := new(dns.Msg).SetReply(question)
		q := question.Question[0]
		line, ok := records[strings.ToLower(q.Name)+dns.TypeToString[q.Qtype]]
		if record, err := dns.NewRR(line); ok && err == nil {
			reply.Answer = append(reply.Answer, record)
		} else if !strings.HasSuffix(strings.ToLower(q.Name), "example.net.") {
			reply.Rcode = dns.RcodeNameError
		}
		_ = w.WriteMsg(reply)
	}
	conn, err := net.ListenPacket("udp", "127.0.0.1:53")
	if err != nil {
		t.Fatal(err)
	}
	// It serves until the test's process ends, and with it the namespaces.
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(answer)}
	go func() { _ = server.ActivateAndServe() }()
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	said, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, said)
	}
	return string(said)
}

// deb makes a package from a control file and writes it to /NAME.deb.
func deb(t *testing.T, name, control string, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	files["DEBIAN/control"] = control
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mustRun(t, "dpkg-deb", "-Znone", "--build", dir, "/"+name+".deb")
	return "/" + name + ".deb"
}

// replaces: ours takes the place of a distribution's Maddy, and its files.
func replaces(t *testing.T) {
	t.Helper()
	other := deb(t, "maddy", "Package: maddy\nVersion: 0.8.2-1\nArchitecture: all\n"+
		"Maintainer: postmaster@example.org\nDescription: stands for a distribution's Maddy\n",
		map[string]string{"usr/bin/maddy": "#!/bin/sh\n"})
	mustRun(t, "dpkg", "-i", other)
	said := mustRun(t, "dpkg", "-i", "/maddy-helo.deb")
	if !strings.Contains(said, "write your own names into /etc/maddy/maddy.conf") {
		t.Errorf("no hint what to do next:\n%s", said)
	}
	status := mustRun(t, "dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\n", "maddy*")
	if !strings.Contains(status, "maddy-helo ii") || strings.Contains(status, "maddy ii") {
		t.Errorf("installed:\n%s", status)
	}
	if said := mustRun(t, "dpkg", "-V", "maddy-helo"); said != "" {
		t.Errorf("changed since it was packed:\n%s", said)
	}
	if said := mustRun(t, "maddy", "helo", "version"); !strings.HasPrefix(said, "check.helo_fqdn v0.1.0,") {
		t.Errorf("version: %s", said)
	}
	passwd := mustRun(t, "getent", "passwd", "maddy")
	if !strings.HasSuffix(passwd, ":maddy mail server:/var/lib/maddy:/sbin/nologin\n") {
		t.Errorf("user %q", passwd)
	}
	// Before the first start, and without making files that the server may not write.
	if said, err := maddy(t, "verify-config").CombinedOutput(); err != nil ||
		strings.Contains(string(said), "failed") {
		t.Errorf("verify-config: %v\n%s", err, said)
	}
	if owner := mustRun(t, "stat", "-c", "%U:%G %a", "/var/lib/maddy"); owner != "maddy:maddy 750\n" {
		t.Errorf("/var/lib/maddy: %s", owner)
	}
	// What debian/tests does.
	mustRun(t, filepath.Join(here, "refusal"), "/usr/bin/maddy")
	for _, example := range []string{"monitoring/alerts.yml", "postmaster/answer.txt"} {
		if _, err := os.Stat("/usr/share/doc/maddy-helo/examples/" + example); err != nil {
			t.Error(err)
		}
	}
}

func units(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("no systemd-analyze")
	}
	// PrivateHome in Maddy's template unit is an unknown setting to systemd, which it ignores.
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no",
		"/usr/lib/systemd/system/maddy.service").CombinedOutput()
	if err != nil || strings.Contains(string(out), "maddy.service") {
		t.Errorf("%v\n%s", err, out)
	}
}

// maddy runs the unit's binary as the unit's user, with what else the unit gives it.
func maddy(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	unit, err := os.ReadFile("/usr/lib/systemd/system/maddy.service")
	if err != nil {
		t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=(\S+) run$`).FindSubmatch(unit)
	if start == nil {
		t.Fatal("no ExecStart in the unit")
	}
	caps := "+net_bind_service"
	cmd := exec.CommandContext(t.Context(), "setpriv", append([]string{
		"--reuid", "maddy", "--regid", "maddy", "--init-groups",
		"--inh-caps", caps, "--ambient-caps", caps, string(start[1]),
	}, args...)...)
	cmd.Dir = "/var/lib/maddy"
	return cmd
}

// server starts Maddy as its unit does and returns how to stop it.
func server(t *testing.T) (stop func()) {
	t.Helper()
	cmd := maddy(t, "run")
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	deadline := time.Now().Add(answers)
	for {
		conn, err := net.Dial("tcp", ourIP+":25")
		if err == nil {
			conn.Close()
			break
		}
		select {
		case err := <-ended:
			t.Fatalf("Maddy ended: %v\n%s", err, said.String())
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	return func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("Maddy ended: %v\n%s", err, said.String())
		}
		t.Logf("Maddy's log:\n%s", said.String())
	}
}

// deliver sends a message from the address of mail.example.net and returns the last reply.
func deliver(t *testing.T, helo string) string {
	t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(goodIP)}, Timeout: answers}
	tcp, err := from.DialContext(t.Context(), "tcp", ourIP+":25")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	if err := tcp.SetDeadline(time.Now().Add(answers)); err != nil {
		t.Fatal(err)
	}
	conn := textproto.NewConn(tcp)
	code, text, err := conn.ReadResponse(220)
	for _, command := range []string{
		"EHLO " + helo, "MAIL FROM:<alice@example.net>", "RCPT TO:<bob@example.org>", "DATA",
		"From: <alice@example.net>\r\nTo: <bob@example.org>\r\nSubject: " + helo + "\r\n" +
			"Date: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@example.net>\r\n\r\nHello\r\n.",
	} {
		if err == nil {
			err = conn.PrintfLine("%s", command)
		}
		if err == nil {
			code, text, err = conn.ReadResponse(0)
		}
		if err != nil {
			t.Fatal(err)
		}
		if code >= 400 {
			break
		}
	}
	return fmt.Sprint(code, " ", text)
}

// judges is the point of it all: a refusal and an acceptance over SMTP.
func judges(t *testing.T) {
	t.Helper()
	for helo, want := range map[string]string{
		"hostnameonly":     `504 5.5.2 "hostnameonly" is a host name without its domain.`,
		"mx1.example.org":  `550 5.7.1 `,
		"192.0.2.7":        `501 5.5.2 `,
		"mail.example.net": `250 2.0.0 OK`,
	} {
		if got := deliver(t, helo); !strings.HasPrefix(got, want) {
			t.Errorf("HELO %s: %s, want %s", helo, got, want)
		}
	}
}

func serves(t *testing.T) {
	t.Helper()
	stop := server(t)
	// Maddy's commands need the folder in /run, which the unit makes, and end with status 0 even
	// when they fail.
	for _, args := range [][]string{
		{"creds", "create", "--password", "secret", "bob@example.org"},
		{"imap-acct", "create", "bob@example.org"},
	} {
		said, err := maddy(t, args...).CombinedOutput()
		if err != nil || strings.Contains(string(said), "failed") {
			t.Fatalf("%v: %v\n%s", args, err, said)
		}
	}
	judges(t)
	list, err := maddy(t, "imap-msgs", "list", "bob@example.org", "INBOX").CombinedOutput()
	if err != nil || strings.Count(string(list), "alice@example.net") != 1 {
		t.Errorf("%v, INBOX:\n%s", err, list)
	}
	stop()
	if said := mustRun(t, "maddy", "helo", "rules"); !strings.Contains(said, "not_fqdn") {
		t.Errorf("maddy helo rules: %s", said)
	}
	if _, err := os.Lstat("/usr/bin/maddyctl"); err != nil {
		t.Error(err)
	}
}

const conffile = "/etc/maddy/maddy.conf"

// upgrade over an edited configuration: the operator's file stays, also when
// the package brings a new one.
func upgrade(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(conffile)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.Replace(string(text), "header yes", "header no # edited", 1)
	if edited == string(text) {
		t.Fatal("nothing to edit")
	}
	if err := os.WriteFile(conffile, []byte(edited), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "next")
	mustRun(t, "dpkg-deb", "-R", "/maddy-helo.deb", dir)
	mustRun(t, "sed", "-i", "s/^Version: .*/Version: 0.1.1-1/", dir+"/DEBIAN/control")
	mustRun(t, "sh", "-c", "echo '# news' >> "+dir+conffile)
	mustRun(t, "dpkg-deb", "-Znone", "--build", dir, "/next.deb")
	mustRun(t, "dpkg", "--force-confdef", "--force-confold", "-i", "/next.deb")

	kept, err := os.ReadFile(conffile)
	if err != nil || string(kept) != edited {
		t.Errorf("%v, the edited configuration is not kept:\n%s", err, kept)
	}
	if _, err := os.Stat(conffile + ".dpkg-dist"); err != nil {
		t.Errorf("the package's new configuration is not beside it: %v", err)
	}
	stop := server(t)
	judges(t)
	stop()
}

func remove(t *testing.T) {
	t.Helper()
	mustRun(t, "dpkg", "-r", "maddy-helo")
	if _, err := os.Stat("/usr/bin/maddy"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the binary is still there: %v", err)
	}
	if _, err := os.Stat(conffile); err != nil {
		t.Errorf("the configuration went with the package: %v", err)
	}
	mustRun(t, "dpkg", "-P", "maddy-helo")
	if _, err := os.Stat(conffile); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the configuration is still there: %v", err)
	}
	if _, err := os.Stat("/var/lib/maddy/imapsql.db"); err != nil {
		t.Errorf("the mail is gone: %v", err)
	}
	status, err := exec.CommandContext(t.Context(), "dpkg", "-s", "maddy-helo").CombinedOutput()
	if err == nil {
		t.Errorf("dpkg still knows it:\n%s", status)
	}
}

func helocheck(t *testing.T) {
	t.Helper()
	mustRun(t, "dpkg", "-i", "/helocheck.deb")
	if said := mustRun(t, "helocheck", "version"); !strings.HasPrefix(said, "check.helo_fqdn v0.1.0,") {
		t.Errorf("version: %s", said)
	}
	completed := mustRun(t, "bash", "-c", ". /usr/share/bash-completion/completions/helocheck; complete -p")
	if !strings.Contains(completed, " helocheck\n") {
		t.Errorf("completion: %q", completed)
	}
	mustRun(t, "dpkg", "-P", "helocheck")
}
