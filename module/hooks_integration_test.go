package module_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-msgauth/authres"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
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

// payloads are what must reach no log, reply, header or label as it is.
var payloads = []string{
	"\x1b[31mred\x1b]0;title\x07", "nul\x00nul", "del\x7f\x7f", "a\rb", "a\vb\fc\bd",
	"caf\xc3\xa9", "\xff\xfe\x80", "\u202eevil\u2066\u2069\u200f", "\u2028\u2029\u0085",
	"$(reboot)", "`id`", "${HOME}", "%s%n%d", "{helo}{url}{rule}", `\r\nX-Injected:yes`, `"quoted"\"`,
	"<script>alert(1)</script>", "<!--#exec-->", "a,b;c=d", "'or''='",
	"=?utf-8?q?=0D=0AX-Injected:yes?=",
	strings.Repeat("x", 2000), strings.Repeat("long.", 400) + "org", "(comment(", "xn--\x1b\xff",
}

// hostileGreetings puts each payload where a name, a label or a literal could be.
func hostileGreetings() (list []string) {
	for _, p := range payloads {
		list = append(list, p, p+".sender-bench.com", "mail."+p+".example.org", "["+p+"]",
			"[IPv6:"+p+"]")
	}
	return list
}

// escaped writes text in the presentation form of the DNS library.
func escaped(text string, octets int) string {
	var b strings.Builder
	for _, c := range []byte(text[:min(len(text), octets)]) {
		fmt.Fprintf(&b, `\%03d`, c)
	}
	return b.String()
}

// hostileDNS answers PTR, MX and TXT questions with payloads, another one each time.
func hostileDNS(t *testing.T) *dnstest.Server {
	t.Helper()
	s := zone(t)
	err := s.Add("listed.sender-bench.com A 127.0.2.1\n" +
		"listed.sender-bench.com.dbl.example A 127.0.1.2\n" +
		"denied.sender-bench.com A 127.0.2.1")
	if err != nil {
		t.Fatal(err)
	}
	turns := make(chan int, 1)
	turns <- 0
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		name, qtype := q.Question[0].Name, q.Question[0].Qtype
		h := dns.RR_Header{Name: name, Rrtype: qtype, Class: dns.ClassINET, Ttl: 1}
		turn := <-turns
		turns <- turn + 1
		text := payloads[turn%len(payloads)]
		m := s.Answer(q, "", "tcp")
		m.Rcode = dns.RcodeSuccess
		switch qtype {
		case dns.TypePTR:
			m.Answer = []dns.RR{
				&dns.PTR{Hdr: h, Ptr: escaped(text, 60) + ".example.org."},
				&dns.PTR{Hdr: h, Ptr: "evil\\013\\010X-Injected:\\032yes.example.org."},
			}
		case dns.TypeMX:
			m.Answer = []dns.RR{&dns.MX{Hdr: h, Mx: escaped(text, 60) + ".example.org."}}
		case dns.TypeTXT:
			text = escaped("evil\r\nX-Injected: yes "+text, 250)
			m.Answer = []dns.RR{&dns.TXT{Hdr: h, Txt: []string{text}}}
		default:
			return false
		}
		return w.WriteMsg(m) == nil
	})
	return s
}

// hostileTable is a deny_names table with a payload as its answer to the sender.
func hostileTable(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "denied")
	text := "denied.sender-bench.com: 550 5.7.1 \x1b[31m<script>\x7f\u202e caf\xc3\xa9 $(reboot)\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// One Maddy that refuses on one port, and marks and delivers on another, hears
// everything hostile that there is.
func TestNothingHostileGetsThrough(t *testing.T) {
	resolver, target := hostileDNS(t), startSink(t)
	more := []string{"blocklists dbl.example", "deny_names file " + hostileTable(t), "header yes",
		"debug yes", `help_url "https://example.org/helo"`}
	deliver := mx(withDNS("strict", resolver, append(more, "fail_action quarantine")...))
	deliver = strings.Replace(deliver, "deliver_to dummy", "deliver_to "+target.module(), 1)
	conf := mx(withDNS("strict", resolver, more...)) +
		strings.Replace(deliver, "TEST_PORT_smtp", "TEST_PORT_submission", 1) + openmetrics
	s := start(t, conf)

	greetings := append(hostileGreetings(), "listed.sender-bench.com", "denied.sender-bench.com")
	for i, helo := range greetings {
		if strings.ContainsAny(helo, "\n") {
			t.Fatalf("%q would be two commands", helo)
		}
		source := fmt.Sprintf("127.0.4.%d", 1+i)
		checkReplies(t, helo, rawSession(t, s.ports["smtp"], source, helo))
		checkReplies(t, helo, rawSession(t, s.ports["submission"], source, helo))
	}
	if target.count() == 0 {
		t.Fatal("nothing was delivered")
	}
	for _, msg := range target.all() {
		checkHeader(t, msg)
	}
	checkLog(t, s.log.String(), len(greetings))
	checkLabels(t, s.metrics(t))
}

// rawSession greets, sends a message to one recipient and returns the replies after the greeting.
func rawSession(t *testing.T, port, source, helo string) (replies []string) {
	t.Helper()
	d := net.Dialer{Timeout: hang, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.25", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	say := func(line string) (reply string) {
		if line != "" {
			fmt.Fprintf(conn, "%s\r\n", line)
		}
		for {
			part, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("%q: %v", helo, err)
			}
			reply += part
			if len(part) > 3 && part[3] == ' ' {
				return reply
			}
		}
	}
	say("")
	if reply := say("EHLO " + helo); !strings.HasPrefix(reply, "250") {
		return []string{reply}
	}
	replies = append(replies, say(mailFrom), say(rcptTo))
	if strings.HasPrefix(replies[1], "250") {
		replies = append(replies, say("DATA"), say(message))
	}
	return replies
}

var replyLine = regexp.MustCompile(`^[2-5][0-9][0-9] [ -~]*\r\n$`)

// checkReplies wants one printable line within the limit of RFC 5321, 4.5.3.1.5.
func checkReplies(t *testing.T, helo string, replies []string) {
	t.Helper()
	for _, reply := range replies {
		if !replyLine.MatchString(reply) || len(reply) > 512 {
			t.Errorf("EHLO %.60q: reply %q", helo, reply)
		}
		for _, raw := range []string{"`", `\`, "<script", "$("} {
			if strings.Contains(reply, raw) {
				t.Errorf("EHLO %.60q: %s in reply %q", helo, raw, reply)
			}
		}
		if strings.Count(reply, "https://") > 1 {
			t.Errorf("EHLO %.60q: a placeholder of the client is filled in: %q", helo, reply)
		}
	}
}

var printable = regexp.MustCompile(`^[\t -~]*$`)

// checkHeader wants a message whose trace fields a mail program can read.
func checkHeader(t *testing.T, raw string) {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatalf("%v in %q", err, raw)
	}
	for field := range msg.Header {
		known := []string{"Authentication-Results", "X-Helo-Check", "Received", "Subject"}
		if !slices.Contains(known, field) {
			t.Errorf("a field %s in %q", field, raw)
		}
	}
	head, _, _ := strings.Cut(raw, "\r\n\r\n")
	for line := range strings.SplitSeq(head, "\r\n") {
		if strings.HasPrefix(line, "Received: ") { // Maddy's own, with what the client said as it is
			continue
		}
		if !printable.MatchString(line) || len(line) > 998 {
			t.Errorf("header line %q", line)
		}
	}
	trace := msg.Header["X-Helo-Check"]
	shape := regexp.MustCompile(`^(\w+); rule=(\w+); score=\d+; helo=([!-~]*); ip=127\.0\.4\.\d+$`)
	if len(trace) != 1 || !shape.MatchString(trace[0]) {
		t.Errorf("X-Helo-Check %q", trace)
	}
	for _, results := range msg.Header["Authentication-Results"] {
		if _, _, err := authres.Parse(results); err != nil {
			t.Errorf("Authentication-Results %q: %v", results, err)
		}
	}
}

// checkLog wants lines that a terminal and a JSON reader can take. Maddy itself
// logs what the client said as src_host, in JSON.
func checkLog(t *testing.T, content string, sessions int) {
	t.Helper()
	ours := 0
	for line := range strings.SplitSeq(strings.TrimSuffix(content, "\n"), "\n") {
		_, fields, found := strings.Cut(line, "\t")
		var values map[string]any
		if !found || fields != "" && json.Unmarshal([]byte(fields), &values) != nil {
			t.Errorf("log line %q", line)
		}
		if strings.Contains(line, "helo_fqdn: ") {
			ours++
			if !printable.MatchString(line) {
				t.Errorf("log line %q", line)
			}
		}
		delete(values, "src_host")
		for name, value := range values {
			if text := fmt.Sprint(value); !printable.MatchString(text) {
				t.Errorf("field %s is %q in %q", name, text, line)
			}
		}
	}
	if ours < sessions {
		t.Errorf("%d log lines for %d greetings", ours, sessions)
	}
}

// metrics returns the text of the metrics endpoint of s.
func (s *server) metrics(t *testing.T) string {
	t.Helper()
	res, err := http.Get(fmt.Sprintf("http://127.0.0.1:%s/metrics", s.ports["lmtp"]))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// checkLabels wants labels from closed sets.
func checkLabels(t *testing.T, text string) {
	t.Helper()
	sets := map[string][]string{
		"module": {"check.helo_fqdn"},
		"rule":   {"none"},
		"action": {"none", "off", "ignore", "score", "greylist", "quarantine", "reject", "tempfail", "echo"},
		"event": {"unknown", "seen", "accepted", "lifted", "wait_started", "wait_again", "wait_over",
			"wait_share"},
		"reason": {"auth", "network", "client", "client_name", "name", "rcpt", "table_failed", "dnswl",
			"dnswl_failed", "greetings"},
		"type": {"A", "AAAA", "MX", "PTR", "NS", "TXT"},
		"result": {"found", "nodata", "nxdomain", "servfail", "refused", "rcode", "timeout",
			"malformed", "cname", "referral", "network", "canceled", "listerror", "panic", "hit", "miss",
			"cached", "failed", "read", "dropped", "expired", "over_share", "written"},
		"kind":   {"known", "neighbours", "waiting"},
		"policy": {"lenient", "rfc", "strict"},
	}
	sets["would"], sets["ceiling"] = sets["action"], sets["action"]
	operators := []string{"le", "version", "list", "store"} // no client has a say in them
	for _, rule := range checkhelo.Rules() {
		sets["rule"] = append(sets["rule"], rule.Name)
	}
	label := regexp.MustCompile(`(\w+)="([^"]*)"`)
	lines := 0
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "maddy_helo_fqdn_") {
			continue
		}
		lines++
		for _, found := range label.FindAllStringSubmatch(line, -1) {
			if name, value := found[1], found[2]; !slices.Contains(operators, name) && !slices.Contains(sets[name], value) {
				t.Errorf("label %s in %s", found[0], line)
			}
		}
	}
	if lines == 0 {
		t.Error("no metrics")
	}
}
