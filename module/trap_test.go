package module_test

import (
	"regexp"
	"strings"
	"testing"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// These are the false-positive traps that only show in a whole session; docs/accuracy.md names all.

// rcpt greets from an address and returns the code of RCPT TO.
func (s *server) rcpt(t *testing.T, source, helo, from, rcpt string) int {
	t.Helper()
	c := s.dial(t, "127.0.0.25", "smtp", source)
	c.say("EHLO "+helo, 250)
	c.say("MAIL FROM:<"+from+">", 250)
	return c.try("RCPT TO:<" + rcpt + ">")
}

const (
	stranger = "sender@yourcompany.com"
	ourUser  = "user@receiver-bench.org"
)

// Scanners and monitoring in the own network say what they like; nobody else does.
func TestTrapSingleLabelInOwnNetwork(t *testing.T) {
	s := start(t, mx("helo_fqdn strict {\nexempt_networks 127.0.4.0/24\n}"))
	for source, want := range map[string]int{"127.0.4.7": 250, "127.0.2.1": 504} {
		for _, helo := range []string{"scanner", "nagios"} {
			if got := s.rcpt(t, source, helo, stranger, ourUser); got != want {
				t.Errorf("%s from %s: got %d, want %d", helo, source, got, want)
			}
		}
	}
}

// A relay of ours hands over mail of others: what it says is not the sender's fault.
func TestTrapRelayOfOurs(t *testing.T) {
	dns := zone(t)
	err := dns.Add("backup.receiver-bench.org A 127.0.5.1\nptr 127.0.5.1 backup.receiver-bench.org")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, mx(withDNS("strict", dns, "exempt_clients static {\n"+
		"entry backup.receiver-bench.org \"backup MX\"\nentry 127.0.5.2 \"relay\"\n}")))
	for _, tc := range []struct {
		source, helo string
		want         int
	}{
		{"127.0.5.1", "relay-7f9c6b", 250},           // known by its confirmed name
		{"127.0.5.2", "[10.0.0.7]", 250},             // known by its address
		{"127.0.5.2", "mx1.receiver-bench.org", 250}, // even under our name
		{"127.0.5.3", "relay-7f9c6b", 504},
		{"127.0.5.3", "backup.receiver-bench.org", 250}, // quarantined at most: the address is another
		{"127.0.5.3", "mx1.receiver-bench.org", 550},
	} {
		if got := s.rcpt(t, tc.source, tc.helo, stranger, ourUser); got != tc.want {
			t.Errorf("%s from %s: got %d, want %d", tc.helo, tc.source, got, tc.want)
		}
	}
}

// A container on the host, or mail that comes back through the router, has our address and name.
func TestTrapHelloFromOurselves(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns)))
	for source, want := range map[string]int{"127.0.0.25": 250, "127.0.2.1": 550} {
		if got := s.rcpt(t, source, "mx1.receiver-bench.org", stranger, ourUser); got != want {
			t.Errorf("from %s: got %d, want %d", source, got, want)
		}
	}
	// Our own address in brackets is an address literal, which strict refuses, but no theft of it.
	c := s.dial(t, "127.0.0.25", "smtp", "127.0.0.25")
	c.say("EHLO [127.0.0.25]", 250)
	c.say("MAIL FROM:<"+stranger+">", 250)
	c.say("RCPT TO:<"+ourUser+">", 550)
	line := s.waitLog(t, `"helo":"[127.0.0.25]"`)
	if !strings.Contains(line, `"rule":"address_literal"`) {
		t.Errorf("log line %s", line)
	}
}

// An empty sender makes nothing worse, and postmaster hears everybody.
func TestTrapBouncesAndPostmaster(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns)))
	for _, tc := range []struct {
		helo, rcpt string
		want       int
	}{
		{"mta01.yourcompany.com", ourUser, 250},
		{"nullspf.sender-bench.com", ourUser, 550}, // SPF of the greeting says fail
		{"nullspf.sender-bench.com", "postmaster@receiver-bench.org", 250},
		{"localhost", ourUser, 550},
		{"localhost", "postmaster@receiver-bench.org", 250},
		{"localhost", "abuse@receiver-bench.org", 250},
	} {
		for _, from := range []string{"", stranger} {
			if got := s.rcpt(t, "127.0.2.1", tc.helo, from, tc.rcpt); got != tc.want {
				t.Errorf("%s from <%s> to %s: got %d, want %d", tc.helo, from, tc.rcpt, got, tc.want)
			}
		}
	}
}

// unfold joins the lines of folded header fields.
func unfold(msg string) string {
	return regexp.MustCompile(`\r?\n[ \t]+`).ReplaceAllString(msg, " ")
}

const mailboxes = `storage.imapsql local_mailboxes {
	driver sqlite3
	dsn imapsql.db
}
`

// What the client says ends up in a header field of the message: it stays inside.
func TestTrapInjectionIntoHeader(t *testing.T) {
	conf := mailboxes + `smtp tcp://127.0.0.25:{env:TEST_PORT_smtp} {
	tls off
	check {
		helo_fqdn rfc {
			exempt_networks 10.0.0.0/8
			malformed_action ignore
			header yes
		}
	}
	deliver_to &local_mailboxes
}
`
	s := start(t, conf, []string{"imap-acct", "create", ourUser})
	c := s.mx(t)
	c.say("EHLO a\x1b[31m;rule=none\x80", 250) // Maddy itself stops at a line break
	c.send(ourUser, 250)
	msg := s.call(t, "imap-msgs", "dump", ourUser, "INBOX", "1")
	field := regexp.MustCompile(`(?m)^X-Helo-Check: .*$`).FindString(unfold(msg))
	if !strings.Contains(field, "rule=malformed;") ||
		!strings.Contains(field, "helo=a?[31m?rule=none?;") {
		t.Errorf("field %q", field)
	}
}

// DMARC wants the SPF result of MAIL FROM (RFC 7489, 4.1): that of HELO must not stand in for it.
func TestTrapHeloSPFIsNotDMARC(t *testing.T) {
	dns := dnstest.Serve(t, dnstest.HeloZone+"\nmta01.yourcompany.com TXT v=spf1 a -all\n")
	conf := `smtp tcp://127.0.0.25:{env:TEST_PORT_smtp} {
	tls off
	dmarc yes
	check {
		spf
		dkim
		` + withDNS("rfc", dns) + `
	}
	deliver_to dummy
}
`
	s := startDNS(t, conf, `
_dmarc.yourcompany.com       TXT v=DMARC1; p=reject
mta01.yourcompany.com        A   127.0.2.1
ptr                          127.0.2.1 mta01.yourcompany.com
elsewhere-bench.org          A   127.0.2.1
elsewhere-bench.org          TXT v=spf1 a -all
_dmarc.elsewhere-bench.org   TXT v=DMARC1; p=reject
`)
	for from, want := range map[string]int{
		"sender@yourcompany.com":     5,   // only the greeting has SPF
		"sender@elsewhere-bench.org": 250, // so has MAIL FROM
	} {
		c := s.mx(t)
		c.say("EHLO mta01.yourcompany.com", 250)
		c.say("MAIL FROM:<sender@elsewhere-bench.org>", 250)
		c.say("RCPT TO:<"+ourUser+">", 250)
		c.say("DATA", 354)
		c.say("From: <"+from+">\r\nSubject: test\r\n\r\nhello\r\n.", want)
	}
}
