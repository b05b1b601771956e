package module_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"testing"
)

const (
	mailFrom = "MAIL FROM:<sender@yourcompany.com>"
	rcptTo   = "RCPT TO:<user@receiver-bench.org>"
	good     = "mta01.yourcompany.com" // resolves to 127.0.2.1, and back

	ourName    = "is a name of this server" // texts of replies
	theirName  = "is the recipient's domain"
	ourAddress = "is an address of this server"
	everybody  = "is what every machine calls itself"
)

// step is one packet of a client, the codes of the replies to it, and a part of the last one.
type step struct {
	say  string
	want []int
	text string
}

func send(say string, want ...int) step { return step{say: say, want: want} }

// told is send with a text that the reply must have.
func told(say string, want int, text string) step { return step{say, []int{want}, text} }

// transaction is an envelope whose recipient gets code.
func transaction(code int) []step { return []step{send(mailFrom, 250), send(rcptTo, code)} }

// refused is an envelope whose recipient is refused for a reason.
func refused(code int, text string) []step {
	return []step{send(mailFrom, 250), told(rcptTo, code, text)}
}

// talk joins steps and lists of steps.
func talk(parts ...any) (all []step) {
	for _, part := range parts {
		switch part := part.(type) {
		case step:
			all = append(all, part)
		case []step:
			all = append(all, part...)
		}
	}
	return all
}

func (c *client) run(steps []step) {
	c.t.Helper()
	for _, one := range steps {
		if _, err := c.W.WriteString(one.say + "\r\n"); err != nil {
			c.t.Fatal(err)
		}
		if err := c.W.Flush(); err != nil {
			c.t.Fatal(err)
		}
		for i, want := range one.want {
			code, text, err := c.ReadResponse(0)
			if code == 0 {
				c.t.Fatalf("after %.60q: %v", one.say, err)
			}
			if code != want && code/100 != want {
				c.t.Fatalf("after %.60q: got %d %s, want %d", one.say, code, text, want)
			}
			if i == len(one.want)-1 && !strings.Contains(text, one.text) {
				c.t.Fatalf("after %.60q: got %d %s, want %q", one.say, code, text, one.text)
			}
		}
	}
}

const message = "Subject: test\r\n\r\nhello\r\n."

// Chunks of a message (RFC 3030). A greeting between them ends no transaction in go-smtp.
var firstChunk, lastChunk = send("BDAT 17\r\nSubject: test\r\n", 250), send("BDAT 7 LAST\r\nhello", 250)

// dialogue is all that one client says.
type dialogue struct {
	name  string
	steps []step
}

// Each way round the check that a dialogue alone may try. The client has no right to any of
// the names but good.
var dialogues = []dialogue{
	{"no greeting at all", talk(send(mailFrom, 502), send(rcptTo, 502))},
	{"re-greeting after a refusal", talk(send("EHLO localhost", 250), transaction(550),
		send("EHLO localhost", 250), transaction(550), send("HELO localhost", 250), transaction(550))},
	{"re-greeting with a good name within the transaction", talk(send("EHLO localhost", 250),
		transaction(550), send("EHLO "+good, 250), send("DATA", 5))},
	{"bad name within the transaction", talk(send("EHLO "+good, 250), transaction(250),
		send("EHLO localhost", 250), send("RCPT TO:<other@receiver-bench.org>", 550))},
	{"DATA after a bad name within the transaction", talk(send("EHLO "+good, 250), transaction(250),
		send("EHLO localhost", 250), send("DATA", 354), send(message, 4))},
	{"HELO after EHLO", talk(send("EHLO "+good, 250), send("HELO localhost", 250),
		transaction(550))},
	{"EHLO after HELO", talk(send("HELO "+good, 250), send("EHLO localhost", 250),
		transaction(550))},
	{"empty EHLO after a bad one", talk(send("EHLO localhost", 250), send("EHLO", 501),
		transaction(550))},
	{"pipelining with EHLO", talk(
		send("EHLO localhost\r\n"+mailFrom+"\r\n"+rcptTo+"\r\nDATA", 250, 250, 550, 5))},
	{"pipelining past a re-greeting", talk(
		send("EHLO "+good+"\r\nEHLO localhost\r\n"+mailFrom+"\r\n"+rcptTo, 250, 250, 250, 550))},
	{"MAIL again without RSET", talk(send("EHLO localhost", 250), transaction(550), transaction(250),
		send("DATA", 354), send(message, 550))},
	{"RSET", talk(send("EHLO localhost", 250), transaction(550), send("RSET", 250), transaction(550),
		send("RSET", 250), transaction(550))},
	{"DATA without an accepted recipient", talk(send("EHLO localhost", 250), transaction(550),
		send("DATA", 5))},
	{"BDAT without an accepted recipient", talk(send("EHLO localhost", 250), transaction(550),
		send("BDAT 7 LAST\r\nhello", 5))},
	{"BDAT after a repeated recipient", talk(send("EHLO localhost", 250), transaction(550),
		send(rcptTo, 250), send("BDAT 24 LAST\r\nSubject: test\r\n\r\nhello", 550))},
	{"bad name between chunks", talk(send("EHLO "+good, 250), transaction(250), firstChunk,
		send("EHLO localhost", 250), send(rcptTo, 502), lastChunk, transaction(550))},
	{"good name between chunks", talk(send("EHLO localhost", 250), send(mailFrom, 250),
		send("RCPT TO:<postmaster@receiver-bench.org>", 250), firstChunk, send("EHLO "+good, 250),
		send(rcptTo, 502), lastChunk, send("EHLO localhost", 250), transaction(550))},
	{"DATA after a repeated recipient", talk(send("EHLO localhost", 250), transaction(550),
		send(rcptTo, 250), send("DATA", 354), send(message, 550))},
	{"repeated recipient in other letters", talk(send("EHLO localhost", 250), transaction(550),
		send("RCPT TO:<User@RECEIVER-bench.org>", 550))},
	{"second message", talk(send("EHLO localhost", 250), send(mailFrom, 250),
		send("RCPT TO:<postmaster@receiver-bench.org>", 250), send("DATA", 354), send(message, 250),
		transaction(550))},
	{"EHLO changed between messages", talk(send("EHLO "+good, 250), transaction(250),
		send("DATA", 354), send(message, 250), send("EHLO localhost", 250), transaction(550),
		send("EHLO "+good, 250), transaction(250))},
	{"bounce", talk(send("EHLO localhost", 250), send("MAIL FROM:<>", 250), send(rcptTo, 550))},
	{"AUTH parameter without login", talk(send("EHLO localhost", 250),
		send(mailFrom+" AUTH=user@receiver-bench.org", 250), send(rcptTo, 550))},
	{"own name", talk(send("EHLO mx1.receiver-bench.org", 250), refused(550, ourName))},
	{"own name with a dot", talk(send("EHLO mx1.receiver-bench.org.", 250), refused(550, ourName))},
	{"own name in capitals", talk(send("EHLO MX1.Receiver-Bench.ORG", 250), refused(550, ourName))},
	{"self_domains", talk(send("EHLO receiver-bench.net", 250), refused(550, ourName))},
	{"self_domains, below", talk(send("EHLO a.B.Receiver-bench.NET.", 250), refused(550, ourName))},
	{"own U-label as A-label", talk(send("EHLO xn--bcher-kva.example", 250), refused(550, ourName))},
	{"own A-label in capitals", talk(send("EHLO XN--BCHER-KVA.Example.", 250),
		refused(550, ourName))},
	{"own U-label raw", talk(send("EHLO bücher.example", 250), transaction(501))},
	{"own U-label raw, upper case", talk(send("EHLO BÜCHER.example", 250), transaction(501))},
	{"own A-label, unnormalised form", talk(send("EHLO xn--bucher-jbf.example", 250),
		refused(501, "not a valid encoded name"))},
	{"recipient's domain", talk(send("EHLO receiver-bench.org", 250), refused(550, theirName))},
	{"recipient's domain in capitals", talk(send("EHLO Receiver-Bench.org", 250),
		send(mailFrom, 250), told("RCPT TO:<user@RECEIVER-BENCH.ORG>", 550, theirName))},
	{"recipient's domain with a dot", talk(send("EHLO receiver-bench.org", 250), send(mailFrom, 250),
		told("RCPT TO:<user@receiver-bench.org.>", 550, theirName))},
	{"recipient in quotes", talk(send("EHLO receiver-bench.org", 250), send(mailFrom, 250),
		told(`RCPT TO:<"us@er"@receiver-bench.org>`, 550, theirName))},
	{"recipient by a source route", talk(send("EHLO receiver-bench.org", 250), send(mailFrom, 250),
		told(`RCPT TO:<@a.example,@b.example:user@receiver-bench.org>`, 550, theirName))},
	{"recipient's U-label domain", talk(send("EHLO xn--mnchen-3ya.example", 250),
		send(mailFrom+" SMTPUTF8", 250), told("RCPT TO:<user@münchen.example>", 550, theirName))},
	{"recipient's A-label domain", talk(send("EHLO xn--mnchen-3ya.example", 250),
		send(mailFrom, 250), told("RCPT TO:<user@xn--mnchen-3ya.example>", 550, theirName))},
	{"deny_names in capitals", talk(send("EHLO MAIL.Denied.Example", 250), transaction(556))},
	{"deny_names, far below", talk(send("EHLO a.b.c.mail.denied.example.", 250), transaction(556))},
	{"deny_names, own name", talk(send("EHLO denied.example", 250), transaction(556))},
	{"exempt_names without proof", talk(send("EHLO partner.example", 250), transaction(550),
		send("EHLO below.PARTNER.example.", 250), transaction(501))},
	{"PROXY header on a plain port", talk(send("PROXY TCP4 10.1.1.1 127.0.0.25 4000 25", 5),
		send("EHLO localhost", 250), transaction(550))},
	{"XCLIENT", talk(send("EHLO localhost", 250), send("XCLIENT ADDR=10.1.1.1 NAME="+good, 5),
		transaction(550))},
	{"a line of 4000 octets", talk(send("EHLO "+strings.Repeat("a.", 1996)+"a", 250),
		transaction(501))},
	{"a literal of ours", talk(send("EHLO [127.0.0.25]", 250), refused(550, ourAddress))},
	{"a v4-mapped literal of ours", talk(send("EHLO [IPv6:::ffff:127.0.0.25]", 250),
		refused(550, ourAddress), send("EHLO ::ffff:127.0.0.25", 250), refused(550, ourAddress))},
	{"our address as a number", talk(send("EHLO 2130706457", 250), refused(550, ourAddress),
		send("EHLO 0x7f.25", 250), refused(550, ourAddress))},
	{"a tab before the name", talk(send("EHLO \tlocalhost", 250), refused(550, everybody))},
	{"two names", talk(send("EHLO localhost "+good, 250), transaction(550))},
}

func listsServer(t *testing.T) *server {
	t.Helper()
	dns := zone(t)
	err := dns.Add("partner.example A 127.0.2.6\n" +
		"ptr 127.0.2.6 partner.example\nptr 127.0.2.5 partner.example\n" +
		"xn--mnchen-3ya.example A 127.0.2.50\nmail.denied.example A 127.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	return start(t, mx(withDNS("strict", dns,
		"self_domains Receiver-Bench.NET. .receiver-BENCH.net. bücher.example",
		"exempt_names static {\nentry partner.example \"\"\nentry .partner.example \"\"\n}",
		"exempt_clients static {\nentry partner.example \"\"\n}",
		"deny_names static {\nentry denied.example \"556 5.7.1 not you\"\n}")))
}

func TestDialogues(t *testing.T) {
	s := listsServer(t)
	for _, way := range dialogues {
		t.Run(way.name, func(t *testing.T) {
			c := s.mx(t)
			c.run(way.steps)
			alive := s.mx(t)
			alive.run(talk(send("EHLO "+good, 250), transaction(250)))
		})
	}
}

// With enforce_at ehlo a refused greeting is none.
func TestDialoguesAtEHLO(t *testing.T) {
	s := start(t, mx("helo_fqdn strict {\nexempt_networks 10.0.0.0/8\nenforce_at ehlo\n}"))
	for _, way := range []dialogue{
		{"MAIL all the same", talk(send("EHLO localhost", 550), send(mailFrom, 502),
			send(rcptTo, 502))},
		{"HELO instead", talk(send("EHLO localhost", 550), send("HELO localhost", 550),
			send(mailFrom, 502))},
		{"good, then bad", talk(send("EHLO "+good, 250), send("EHLO localhost", 550),
			send(mailFrom, 502))},
		{"pipelining", talk(send("EHLO localhost\r\n"+mailFrom+"\r\n"+rcptTo, 550, 502, 502))},
		{"bad, then good", talk(send("EHLO localhost", 550), send("EHLO "+good, 250),
			transaction(250))},
		{"recipient's domain", talk(send("EHLO receiver-bench.org", 250), refused(550, theirName))},
	} {
		t.Run(way.name, func(t *testing.T) {
			s.dial(t, "127.0.0.25", "smtp", "127.0.2.9").run(way.steps)
		})
	}
}

// A PTR record alone is said by who owns the address: it counts only when the
// name leads back.
func TestPTRWithoutProof(t *testing.T) {
	s := listsServer(t)
	for source, code := range map[string]int{"127.0.2.5": 504, "127.0.2.6": 250} {
		c := s.dial(t, "127.0.0.25", "smtp", source)
		c.run(talk(send("EHLO hostnameonly", 250), transaction(code)))
	}
}

// A refused recipient that is given twice beside postmaster passes unmarked: Maddy does not ask a
// check about the second time, and the copy of an exempt recipient must not go to the Junk folder.
// docs/check.helo_fqdn.md names this limit. Beside a judged recipient the message is quarantined.
func TestRepeatedRecipientBesidePostmaster(t *testing.T) {
	s := start(t, mx(strict))
	c := s.mx(t)
	c.run(talk(send("EHLO localhost", 250), transaction(550),
		send("RCPT TO:<postmaster@receiver-bench.org>", 250), send(rcptTo, 250),
		send("DATA", 354), send(message, 250)))
	s.waitLog(t, "RCPT error")
	if n := s.logged("quarantined"); n != 0 {
		t.Error("postmaster's copy is quarantined")
	}
}

func TestLongLine(t *testing.T) {
	s := start(t, mx(strict))
	c := s.mx(t)
	if _, err := c.W.WriteString("EHLO " + strings.Repeat("x", 5000) + "\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.W.Flush(); err != nil {
		t.Fatal(err)
	}
	// What the server did not read makes its system reset the connection, which may eat the reply.
	if code, text, _ := c.ReadResponse(0); code != 0 && code != 500 {
		t.Errorf("got %d %s", code, text)
	}
	if code, text, err := c.ReadResponse(0); err == nil {
		t.Errorf("the connection goes on with %d %s", code, text)
	}
}

// Every greeting makes a new session, in which nobody is logged in.
func TestLoginBeforeGreeting(t *testing.T) {
	conf := strings.Replace(mx(strict), "tls off", "tls off\nauth dummy", 1)
	s := start(t, conf)
	c := s.mx(t)
	c.run(talk(send("EHLO localhost", 250), send("AUTH PLAIN AHVzZXIAc2VjcmV0", 235), transaction(250),
		send("RSET", 250), transaction(250), send("EHLO localhost", 250), transaction(550),
		send("HELO localhost", 250), transaction(550)))
}

var ownCertificate = &tls.Config{InsecureSkipVerify: true}

func TestGreetingAfterTLS(t *testing.T) {
	conf := strings.Replace(mx(strict), "tls off", "tls self_signed", 1)
	s := start(t, "tls self_signed\n"+conf)
	for name, after := range map[string][]step{
		"no greeting after TLS":  talk(send(mailFrom, 502), send(rcptTo, 502)),
		"bad greeting after TLS": talk(send("EHLO localhost", 250), transaction(550)),
		"HELO after TLS":         talk(send("HELO localhost", 250), transaction(550)),
	} {
		t.Run(name, func(t *testing.T) {
			conn := s.connect(t, "127.0.2.1", "")
			greeted(t, conn).run(talk(send("EHLO "+good, 250), send("STARTTLS", 220)))
			secure := tls.Client(conn, ownCertificate)
			(&client{textproto.NewConn(secure), t}).run(after)
		})
	}
}

// connect opens a connection to the MX of s and sends a prefix before anything is read.
func (s *server) connect(t *testing.T, source, prefix string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: hang, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.25", s.ports["smtp"]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := conn.Write([]byte(prefix)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A PROXY header counts only from the balancer. Everybody else is judged by his own address.
func TestPROXYHeader(t *testing.T) {
	conf := strings.Replace(mx(strict), "tls off", "tls off\nproxy_protocol 127.0.3.1", 1)
	s := start(t, conf)
	for _, tc := range []struct {
		source, header string
		code           int
	}{
		{"127.0.3.1", "PROXY TCP4 10.1.1.1 127.0.0.25 4000 25\r\n", 250}, // from an exempt network
		{"127.0.3.1", "PROXY TCP6 ::ffff:10.1.1.1 ::1 4000 25\r\n", 250},
		{"127.0.3.1", "PROXY TCP4 192.0.2.7 127.0.0.25 4000 25\r\n", 550},
		// Maddy reads the header of others, too, and does not believe it.
		{"127.0.2.1", "PROXY TCP4 10.1.1.1 127.0.0.25 4000 25\r\n", 550},
		{"127.0.2.1", "PROXY TCP4 127.0.3.1 127.0.0.25 4000 25\r\n", 550},
	} {
		t.Run(tc.source+" "+tc.header, func(t *testing.T) {
			c := greeted(t, s.connect(t, tc.source, tc.header))
			c.run(talk(send("EHLO localhost", 250), transaction(tc.code)))
		})
	}
}

// A listener for both families sees IPv4 clients as ::ffff:a.b.c.d. They are the same to the lists.
func TestMappedAddress(t *testing.T) {
	if l, err := net.Listen("tcp6", "[::1]:0"); err != nil {
		t.Skip("SKIPPED: no IPv6 on loopback; the mapped addresses of a dual listener are not tested")
	} else {
		l.Close()
	}
	conf := strings.Replace(mx("helo_fqdn strict {\nexempt_networks 127.0.2.8/32 10.0.0.0/8\n"+
		"self_addresses 127.0.0.0/30\n}"), "127.0.0.25", "[::]", 1)
	s := start(t, conf)
	for _, tc := range []struct {
		source, helo string
		code         int
	}{
		{"127.0.2.8", "localhost", 250}, // exempt
		{"127.0.2.9", "localhost", 550},
		{"127.0.2.9", "[127.0.0.2]", 550}, // ours
		{"127.0.2.9", "[IPv6:::ffff:127.0.0.2]", 550},
	} {
		for _, host := range []string{"127.0.0.1", "::ffff:127.0.0.1"} {
			c := s.dial(t, host, "smtp", tc.source)
			c.run(talk(send("EHLO "+tc.helo, 250), transaction(tc.code)))
		}
	}
}

// A thousand recipients of a bad client get a thousand refusals, with one lookup of each fact
// and one log line.
func TestThousandRecipients(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns, "blocklists dbl.example",
		"deny_hosts static {\nentry nobody \"\"\n}")))
	c := s.dial(t, "127.0.0.25", "smtp", "127.0.2.3")
	c.run(talk(send("EHLO nosuch.sender-bench.com", 250), send(mailFrom, 250)))
	const recipients = 1000
	for i := range recipients {
		c.run(talk(send(fmt.Sprintf("RCPT TO:<user%d@receiver%d-bench.org>", i, i%2), 450)))
	}
	c.run(talk(send("DATA", 502)))
	if n := s.logged("helo verdict"); n != 1 {
		t.Errorf("%d log lines for one verdict", n)
	}
	if n := dns.Count(); n > 10 {
		t.Errorf("%d questions for one greeting: %v", n, dns.Queries())
	}
}
