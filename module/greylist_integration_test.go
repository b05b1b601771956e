package module_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// odd is a check that lets a stranger wait who greets with one label.
func odd(directives ...string) string {
	return "helo_fqdn {\nexempt_networks 10.0.0.0/8\nnot_fqdn_action greylist\ngreylist_delay 1s\n" +
		strings.Join(directives, "\n") + "\n}"
}

// startGreylisting runs a server with the check, which delivers to a sink.
func startGreylisting(t *testing.T, check string) (*server, *sink) {
	t.Helper()
	to := startSink(t)
	return start(t, strings.Replace(mx(check), "deliver_to dummy", "deliver_to "+to.module(), 1)), to
}

// attempt greets as a stranger with a fault and returns the reply to one recipient.
func (s *server) attempt(t *testing.T, from, rcpt string) (c *client, code int) {
	t.Helper()
	c = s.mx(t)
	c.say("EHLO friend", 250)
	c.say("MAIL FROM:<"+from+">", 250)
	return c, c.try("RCPT TO:<" + rcpt + ">")
}

// retry tries again until the recipient is taken and returns how often the server said 451.
func (s *server) retry(t *testing.T, from, rcpt string) (c *client, waits int) {
	t.Helper()
	for ; ; waits++ {
		c, code := s.attempt(t, from, rcpt)
		switch code {
		case 250:
			s.skipBusy(t)
			return c, waits
		case 451:
			_ = c.Close()
			time.Sleep(200 * time.Millisecond) // as a sender's queue does
		default:
			t.Fatalf("got %d", code)
		}
	}
}

// waitOver waits until the log has the end of a wait. It comes a moment after the reply.
func (s *server) waitOver(t *testing.T) {
	t.Helper()
	until(t, "a wait ends", func() bool {
		return s.logged(`"wait":"over"`) > 0 || s.logged(`"table":"memory"`) > 0
	})
	s.skipBusy(t)
}

// skipBusy skips the test where a lookup in memory took longer than its 50 ms: then nobody waits, as it
// has to be.
func (s *server) skipBusy(t *testing.T) {
	t.Helper()
	if s.logged(`"table":"memory"`) > 0 {
		t.Skip("a lookup in memory took longer than it may: the machine is too busy for this test")
	}
}

// A stranger with a fault waits once: told where to read more, told the same when it comes back too
// early, taken after the delay, and known from then on. Log and header say what memory changed.
func TestGreylist(t *testing.T) {
	s, to := startGreylisting(t, odd("help_url https://receiver-bench.org/helo", "header yes"))
	const from, rcpt = "sender@yourcompany.com", "user@receiver-bench.org"
	c := s.mx(t)
	c.begin("friend")
	reply := c.say("RCPT TO:<"+rcpt+">", 451)
	for _, want := range []string{"4.7.1", "not lost", "not_fqdn", "https://receiver-bench.org/helo#wait"} {
		if !strings.Contains(reply, want) {
			t.Errorf("no %q in %q", want, reply)
		}
	}
	if line := s.waitLog(t, `"wait":"started"`); !strings.Contains(line, `"action":"greylist"`) {
		t.Errorf("log: %s", line)
	}
	c, _ = s.retry(t, from, rcpt)
	s.waitOver(t)
	c.say("DATA", 354)
	c.say("Subject: test\r\n\r\nhello\r\n.", 250)
	if text := unfolded(to.all()[0]); !strings.Contains(text, "X-Helo-Check: score; rule=not_fqdn; ") ||
		!strings.Contains(text, "; waited=") {
		t.Errorf("header: %s", text)
	}
	// One delay in a sender's life.
	c, waits := s.retry(t, "other@yourcompany.com", "ann@receiver-bench.org")
	if waits != 0 {
		t.Errorf("a known sender waits %d times", waits)
	}
	if line := s.waitLog(t, `"lifted":"greylist"`); !strings.Contains(line, `"known":"accepted"`) {
		t.Errorf("log: %s", line)
	}
	c.say("DATA", 354)
	c.say("Subject: test\r\n\r\nhello again\r\n.", 250)
	if text := unfolded(to.all()[1]); !strings.Contains(text, "; known=accepted; lifted=greylist") {
		t.Errorf("header: %s", text)
	}
}

// unfolded joins the lines of each header field.
func unfolded(message string) string {
	return strings.NewReplacer("\r\n ", " ", "\n ", " ").Replace(message)
}

// Two servers with one database: a retry at the other one passes, and each works on while the
// database is away.
func TestGreylistOnTwoServers(t *testing.T) {
	db := startPostgres(t)
	conf := mx(odd(fmt.Sprintf("memory postgres %q", db.dsn())))
	one, two := start(t, conf), start(t, conf)
	const rcpt = "user@receiver-bench.org"
	if _, code := one.attempt(t, "a@yourcompany.com", rcpt); code != 451 {
		one.skipBusy(t)
		t.Fatalf("the first attempt: %d", code)
	}
	two.retry(t, "a@yourcompany.com", rcpt)
	two.waitOver(t)
	if n := two.logged(`"wait":"over"`); n != 1 {
		t.Errorf("the other server saw %d waits end", n)
	}

	db.Stop(t)
	// A wait that cannot be kept is no wait.
	for _, s := range []*server{one, two} {
		until(t, "a stranger is taken without the database", func() bool {
			_, code := s.attempt(t, "b@yourcompany.com", rcpt)
			return code == 250
		})
	}
	one.waitLog(t, "memory does not answer")
	db.Start(t)
	n := 0
	until(t, "a stranger waits again", func() bool {
		n++
		_, code := one.attempt(t, "stranger@x"+strings.Repeat("x", n)+".yourcompany.com", rcpt)
		return code == 451
	})
}

// program finds a mail server that may be installed, or skips the test.
func program(t *testing.T, names ...string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a mail server of its own needs root")
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("none of %q is installed", names)
	return ""
}

// place makes a folder that a mail server's own user can reach.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sender-") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// run calls a program with text as its input.
func run(t *testing.T, text, path string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = strings.NewReader(text)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", path, args, err, said)
	}
}

const letter = "From: sender@yourcompany.com\nTo: user@receiver-bench.org\nSubject: by a real queue\n\nhello\n"

// arrives waits for a message that a real sender's queue brings after one delay, while one of a client
// that never comes back does not arrive.
func arrives(t *testing.T, s *server, to *sink) {
	t.Helper()
	c := s.mx(t)
	c.begin("friend")
	c.say("RCPT TO:<never@receiver-bench.org>", 451)
	until(t, "the message arrives", func() bool { return to.count() > 0 })
	s.waitOver(t)
	if n := s.logged(`"wait":"over"`); n != 1 {
		t.Errorf("%d waits ended", n)
	}
	if all := to.all(); len(all) != 1 || !strings.Contains(all[0], "by a real queue") {
		t.Errorf("the sink has %q", all)
	}
}

func TestGreylistPostfix(t *testing.T) {
	postfix := program(t, "postfix")
	s, to := startGreylisting(t, odd())
	dir := place(t)
	conf := filepath.Join(dir, "conf")
	for _, sub := range []string{"conf", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "", "chown", "postfix", filepath.Join(dir, "data"))
	put(t, filepath.Join(conf, "main.cf"), `compatibility_level = 3.6
queue_directory = `+dir+`/queue
data_directory = `+dir+`/data
maillog_file = `+dir+`/log
maillog_file_prefixes = `+dir+`
myhostname = friend.yourcompany.com
smtp_helo_name = friend
inet_protocols = ipv4
inet_interfaces = loopback-only
smtp_bind_address = 127.0.2.1
mydestination =
alias_maps =
relayhost = [127.0.0.25]:`+s.ports["smtp"]+`
smtp_tls_security_level = none
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
`)
	var services strings.Builder
	for _, line := range []string{"pickup unix n - n 1 1 pickup", "cleanup unix n - n - 0 cleanup",
		"qmgr unix n - n 1 1 qmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
		"defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "smtp unix - - n - - smtp",
		"relay unix - - n - - smtp", "error unix - - n - - error", "retry unix - - n - - error",
		"proxymap unix - - n - - proxymap", "postlog unix-dgram n - n - 1 postlogd",
		"flush unix n - n 1000? 0 flush", "scache unix - - n - 1 scache"} {
		services.WriteString(line + "\n")
	}
	put(t, filepath.Join(conf, "master.cf"), services.String())
	run(t, "", postfix, "-c", conf, "start")
	t.Cleanup(func() {
		_ = exec.Command(postfix, "-c", conf, "stop").Run()
		if log, err := os.ReadFile(filepath.Join(dir, "log")); err == nil && t.Failed() {
			t.Logf("Postfix:\n%s", log)
		}
	})
	run(t, letter, "sendmail", "-C", conf, "-f", "sender@yourcompany.com", "user@receiver-bench.org")
	arrives(t, s, to)
}

func TestGreylistExim(t *testing.T) {
	exim := program(t, "exim4", "exim")
	s, to := startGreylisting(t, odd())
	dir := place(t)
	conf := filepath.Join(dir, "exim.conf")
	put(t, conf, `exim_user = mail
exim_group = mail
primary_hostname = friend
spool_directory = `+dir+`/spool
log_file_path = `+dir+`/log/%slog
qualify_domain = yourcompany.com
tls_advertise_hosts =
begin routers
all:
  driver = manualroute
  route_list = * 127.0.0.25 byname
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = `+s.ports["smtp"]+`
  interface = 127.0.2.1
  helo_data = friend
  hosts_avoid_tls = *
begin retry
* * F,1h,1s
`)
	for _, sub := range []string{"spool", "log"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
		run(t, "", "chown", "mail:mail", filepath.Join(dir, sub))
	}
	t.Cleanup(func() {
		if log, err := os.ReadFile(filepath.Join(dir, "log", "mainlog")); err == nil && t.Failed() {
			t.Logf("Exim:\n%s", log)
		}
	})
	run(t, letter, exim, "-C", conf, "-odf", "-f", "sender@yourcompany.com", "user@receiver-bench.org")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for to.count() == 0 && t.Context().Err() == nil {
			_ = exec.Command(exim, "-C", conf, "-q").Run() // what its cron or daemon does
		}
	}()
	t.Cleanup(func() { <-ended })
	arrives(t, s, to)
}
