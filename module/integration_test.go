package module_test

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"maddy.example/checkhelo/cmd/lab/maddybin"
	"maddy.example/checkhelo/module/build"
)

// unseen are the cases whose fault go-smtp cuts off before any module is asked.
var unseen = map[string]bool{"space_junk": true}

var repeated = regexp.MustCompile(`\$\{([^{}*]*)\*(\d+)\}|\\x([0-9A-Fa-f]{2})|\\\\`)

// unescape turns the escaped form of a case into the octets to send.
func unescape(text string) string {
	return repeated.ReplaceAllStringFunc(text, func(m string) string {
		part := repeated.FindStringSubmatch(m)
		switch {
		case part[3] != "":
			octet, _ := strconv.ParseUint(part[3], 16, 8)
			return string([]byte{byte(octet)})
		case part[2] != "":
			n, _ := strconv.Atoi(part[2])
			return strings.Repeat(part[1], n)
		default:
			return `\`
		}
	})
}

func TestPostmasterAndOthersInOneTransaction(t *testing.T) {
	s := start(t, mx(strict))
	c := s.mx(t)
	c.begin("localhost")
	c.say("RCPT TO:<user@receiver-bench.org>", 550)
	c.say("RCPT TO:<postmaster@receiver-bench.org>", 250)
	c.say("RCPT TO:<Abuse@receiver-bench.org>", 250)
	c.say("DATA", 354)
	c.say("Subject: help\r\n\r\nwhy?\r\n.", 250)
}

func TestVerdictDependsOnRecipient(t *testing.T) {
	s := start(t, mx(strict))
	c := s.mx(t)
	c.begin("other-bench.org")
	c.say("RCPT TO:<user@receiver-bench.org>", 250)
	c.say("RSET", 250)
	c.begin("receiver-bench.org")
	reply := c.say("RCPT TO:<user@receiver-bench.org>", 550)
	if !strings.Contains(reply, "recipient's domain") {
		t.Errorf("got %q", reply)
	}
	c.say("RCPT TO:<user@elsewhere.example>", 554)
}

// Maddy asks a check once about a recipient: the same one again passes at RCPT.
func TestRepeatedRecipientIsRefusedAtData(t *testing.T) {
	s := start(t, mx(strict))
	c := s.mx(t)
	c.begin("localhost")
	c.say("RCPT TO:<user@receiver-bench.org>", 550)
	c.say("RCPT TO:<user@receiver-bench.org>", 250)
	c.say("DATA", 354)
	c.say("Subject: spam\r\n\r\nspam\r\n.", 550)
}

func TestRegreeting(t *testing.T) {
	for _, when := range []string{"rcpt", "ehlo"} {
		t.Run(when, func(t *testing.T) {
			s := start(t, mx("helo_fqdn strict {\nexempt_networks 10.0.0.0/8\nenforce_at "+when+"\n}"))
			c := s.mx(t)
			atEHLO, atRCPT := 250, 550
			if when == "ehlo" {
				atEHLO, atRCPT = 550, 502
			}
			for range 2 {
				c.say("EHLO localhost", atEHLO)
				c.say("MAIL FROM:<sender@yourcompany.com>", atRCPT/550*250+atRCPT%550)
				c.say("RCPT TO:<user@receiver-bench.org>", atRCPT)
			}
			c.say("HELO localhost", atEHLO)
			c.say("EHLO mta01.yourcompany.com", 250)
			c.send("user@receiver-bench.org", 250)
		})
	}
}

func TestEarlyRefusalIsLoggedAndCounted(t *testing.T) {
	conf := mx("helo_fqdn strict {\nexempt_networks 10.0.0.0/8\nenforce_at ehlo\n}") +
		"openmetrics tcp://127.0.0.1:{env:TEST_PORT_lmtp} { }\n"
	s := start(t, conf)
	c := s.mx(t)
	c.say("EHLO foo.bar.local", 550)
	line := s.waitLog(t, "helo verdict")
	for _, want := range []string{`"rule":"reserved_tld"`, `"action":"reject"`, `"helo":"foo.bar.local"`,
		`"src_ip":"127.0.2.1"`, `"evidence":"local"`, `"score":0`} {
		if !strings.Contains(line, want) {
			t.Errorf("log line %s lacks %s", line, want)
		}
	}
	want := `maddy_helo_fqdn_verdicts_total{action="reject",module="check.helo_fqdn",rule="reserved_tld",would="reject"} 1`
	if !strings.Contains(s.metrics(t), want) {
		t.Errorf("metrics lack %s", want)
	}
}

func TestSTARTTLS(t *testing.T) {
	conf := strings.Replace(mx(strict), "tls off", "tls self_signed", 1)
	s := start(t, "tls self_signed\n"+conf)
	secure := func(first string) *client {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.2.1")}}).Dial("tcp",
			net.JoinHostPort("127.0.0.25", s.ports["smtp"]))
		if err != nil {
			t.Fatal(err)
		}
		c := greeted(t, conn)
		c.say("EHLO "+first, 250)
		c.say("STARTTLS", 220)
		upgraded := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		return &client{textproto.NewConn(upgraded), t}
	}
	c := secure("localhost")
	c.say("EHLO mta01.yourcompany.com", 250)
	c.send("user@receiver-bench.org", 250)
	c = secure("mta01.yourcompany.com")
	c.begin("localhost")
	c.say("RCPT TO:<user@receiver-bench.org>", 550)
}

func TestAuthenticatedUserWithLaptopName(t *testing.T) {
	conf := mx(strict) + `submission tcp://127.0.0.1:{env:TEST_PORT_submission} {
		tls off
		auth dummy
		check {
` + strict + `
}
		deliver_to dummy
	}
`
	s := start(t, conf)
	c := s.dial(t, "127.0.0.1", "submission", "127.0.2.9")
	c.say("EHLO my-laptop", 250)
	c.say("AUTH PLAIN AHVzZXIAc2VjcmV0", 235)
	c.say("MAIL FROM:<user@receiver-bench.org>", 250)
	c.say("RCPT TO:<friend@elsewhere.example>", 250)
	c.say("DATA", 354)
	c.say("From: <user@receiver-bench.org>\r\nSubject: hi\r\n\r\nhi\r\n.", 250)

	stranger := s.mx(t)
	stranger.begin("mta01.yourcompany.com")
	if got := stranger.say("RCPT TO:<friend@elsewhere.example>", 554); !strings.Contains(got, "5.7.1") {
		t.Errorf("got %q", got)
	}
}

func TestQuarantineLandsInJunk(t *testing.T) {
	conf := `storage.imapsql local_mailboxes {
		driver sqlite3
		dsn imapsql.db
	}
	smtp tcp://127.0.0.25:{env:TEST_PORT_smtp} {
		tls off
		check {
			helo_fqdn rfc {
				exempt_networks 10.0.0.0/8
				reserved_tld_action quarantine
				header yes
			}
		}
		deliver_to &local_mailboxes
	}
`
	s := start(t, conf, []string{"imap-acct", "create", "user@receiver-bench.org"})
	c := s.mx(t)
	c.say("EHLO foo.bar.local", 250)
	c.send("user@receiver-bench.org", 250)
	c.say("EHLO mta01.yourcompany.com", 250)
	c.send("user@receiver-bench.org", 250)
	for box, want := range map[string]string{
		"Junk":  "quarantine; rule=reserved_tld; score=0; helo=foo.bar.local; ip=127.0.2.1",
		"INBOX": "none; rule=none; score=0; helo=mta01.yourcompany.com; ip=127.0.2.1",
	} {
		msg := s.call(t, "imap-msgs", "dump", "user@receiver-bench.org", box, "1")
		unfolded := regexp.MustCompile(`\r?\n[ \t]+`).ReplaceAllString(msg, " ")
		if !strings.Contains(unfolded, "X-Helo-Check: "+want) {
			t.Errorf("%s has %s", box, msg)
		}
	}
}

func TestPROXYProtocol(t *testing.T) {
	conf := strings.Replace(mx("helo_fqdn strict"), "tls off", "tls off\nproxy_protocol 127.0.3.1", 1)
	s := start(t, conf)
	connect := func(source, header string) *client {
		conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}).Dial("tcp",
			net.JoinHostPort("127.0.0.25", s.ports["smtp"]))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(header)); err != nil {
			t.Fatal(err)
		}
		return greeted(t, conn)
	}
	// The balancer is on loopback, which is exempt; its client is not.
	c := connect("127.0.3.1", "PROXY TCP4 192.0.2.7 127.0.0.25 4000 25\r\n")
	c.begin("[192.0.2.7]")
	c.say("RCPT TO:<user@receiver-bench.org>", 550)
	if line := s.waitLog(t, "helo verdict"); !strings.Contains(line, `"src_ip":"192.0.2.7"`) ||
		!strings.Contains(line, `"rule":"address_literal"`) {
		t.Errorf("log line %s", line)
	}
}

func TestReloadTakesChangedList(t *testing.T) {
	list := filepath.Join(t.TempDir(), "networks")
	write := func(text string) {
		if err := os.WriteFile(list, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# nobody yet\n10.0.0.0/8\n")
	conf := mx("helo_fqdn strict {\nexempt_networks file " + list + "\n}")
	s := start(t, conf)
	before := s.mx(t)
	before.begin("localhost")
	before.say("RCPT TO:<user@receiver-bench.org>", 550)
	before.say("QUIT", 221)
	write("10.0.0.0/8\n127.0.2.0/24 # our branch office\n")
	s.reload(t, conf)
	s.settle(t)
	if code, err := s.verdict("localhost"); code != 250 || err != nil {
		t.Errorf("after the reload: %d, %v", code, err)
	}
}

// The pattern of docs/migrate.md refuses over SMTP what it refuses in the tool (module/maddyconf).
func TestPatternOfTheMigrationPage(t *testing.T) {
	page, err := os.ReadFile("../docs/migrate.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^ *deny_names regexp .*$`).FindAllString(string(page), -1)
	if len(lines) != 1 {
		t.Fatalf("deny_names regexp stands %d times in docs/migrate.md, want once", len(lines))
	}
	s := start(t, mx(withDNS("rfc", zone(t), lines[0], "no_address_action off")))
	for helo, text := range map[string]string{
		"bulk12.example.com": "No mail from here", "a.b.BULK12.example.com": "No mail from here",
		"bulk.example.com": "", "notbulk12.example.com": "",
	} {
		code := 250
		if text != "" {
			code = 554
		}
		s.mx(t).run(talk(send("EHLO "+helo, 250), send(mailFrom, 250), told(rcptTo, code, text)))
	}
}

func TestLocalProtocolsAreNotJudged(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "smtp.sock")
	conf := `lmtp tcp://127.0.0.1:{env:TEST_PORT_lmtp} {
		check {
` + strict + `
}
		deliver_to dummy
	}
	smtp unix://` + socket + ` {
		tls off
		check {
` + strict + `
}
		deliver_to dummy
	}
`
	s := start(t, conf)
	lmtp := s.dial(t, "127.0.0.1", "lmtp", "127.0.2.1")
	lmtp.say("LHLO localhost", 250)
	lmtp.say("MAIL FROM:<sender@yourcompany.com>", 250)
	lmtp.say("RCPT TO:<user@receiver-bench.org>", 250)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	c := greeted(t, conn)
	c.say("EHLO localhost", 250)
	c.send("user@receiver-bench.org", 250)
}

func TestCheckInSourceBlock(t *testing.T) {
	conf := `smtp tcp://127.0.0.25:{env:TEST_PORT_smtp} {
		tls off
		source yourcompany.com {
			check {
` + strict + `
}
			deliver_to dummy
		}
		default_source {
			deliver_to dummy
		}
	}
`
	s := start(t, conf)
	c := s.mx(t)
	c.begin("localhost")
	c.say("RCPT TO:<user@receiver-bench.org>", 550)
	c.say("RSET", 250)
	c.say("MAIL FROM:<sender@elsewhere.example>", 250)
	c.say("RCPT TO:<user@receiver-bench.org>", 250)
}

func TestLogOfRefusal(t *testing.T) {
	s := start(t, mx(strict))
	c := s.mx(t)
	c.begin("\x1b[31m\"evil\r")
	reply := c.say("RCPT TO:<user@receiver-bench.org>", 501)
	if strings.ContainsAny(reply, "\x1b\r\n") {
		t.Errorf("reply %q", reply)
	}
	line := s.waitLog(t, "helo verdict")
	var fields map[string]any
	_, text, _ := strings.Cut(line, "\t")
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatal(err)
	}
	if fields["helo"] != "?[31m?evil" || fields["rule"] != "malformed" || fields["msg_id"] == "" {
		t.Errorf("fields %v", fields)
	}
}

// TestVersionOfMaddy: the servers of the tests are the Maddy of go.mod, or the one that the
// environment names (docs/build.md).
func TestVersionOfMaddy(t *testing.T) {
	want := strings.TrimPrefix(build.DefaultMaddy, "v")
	if other := os.Getenv(maddybin.OtherMaddy); other != "" {
		text, err := os.ReadFile(filepath.Join(other, ".version"))
		if err != nil {
			t.Skip("no version in ", other)
		}
		want = strings.TrimSpace(string(text)) + "-custom"
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	said, err := exec.CommandContext(t.Context(), path, "version").Output()
	if err != nil || !strings.HasPrefix(string(said), want+" ") {
		t.Errorf("%v, got %q, want %s", err, said, want)
	}
}
