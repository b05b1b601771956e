package module_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// zone serves the names of the case table.
func zone(t *testing.T) *dnstest.Server {
	t.Helper()
	return dnstest.Serve(t, dnstest.HeloZone)
}

// withDNS is the check with policy, asking dns and judging loopback too.
func withDNS(policy string, dns *dnstest.Server, more ...string) string {
	return fmt.Sprintf("helo_fqdn %s {\nexempt_networks 10.0.0.0/8\ndns_servers %s\n%s\n}",
		policy, dns.Addr, strings.Join(more, "\n"))
}

type testCase struct{ id, source, verb, helo, expected string }

func cases(t *testing.T) (list []testCase) {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", "helo-cases.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		c := testCase{row[0], row[1], row[2], unescape(row[3]), row[4]}
		if c.source == "" {
			c.source = "127.0.2.1"
		}
		list = append(list, c)
	}
	return list
}

// greet sends the case's greeting and MAIL, whatever the replies are.
func (c *client) greet(tc testCase) {
	c.t.Helper()
	if tc.verb != "NONE" {
		c.try(strings.TrimSuffix("EHLO "+tc.helo, " "))
	}
	c.try("MAIL FROM:<sender@yourcompany.com>")
}

func TestCasesWithDNS(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns)))
	for _, tc := range cases(t) {
		if tc.expected == "depends" || unseen[tc.id] {
			continue
		}
		t.Run(tc.id, func(t *testing.T) {
			c := s.dial(t, "127.0.0.25", "smtp", tc.source)
			c.greet(tc)
			code := c.try("RCPT TO:<user@receiver-bench.org>")
			if accepted := code < 400; accepted != (tc.expected == "accept") {
				t.Errorf("got %d, want %s", code, tc.expected)
			}
		})
	}
}

// Under policy rfc a name that is not plainly wrong is never refused.
func TestCasesUnderRFC(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("rfc", dns)))
	for _, tc := range cases(t) {
		if tc.expected == "reject" {
			continue
		}
		t.Run(tc.id, func(t *testing.T) {
			c := s.dial(t, "127.0.0.25", "smtp", tc.source)
			c.greet(tc)
			c.say("RCPT TO:<user@receiver-bench.org>", 2)
		})
	}
}

// A resolver that fails in any way costs no good mail.
func TestResolverTrouble(t *testing.T) {
	for _, fault := range []string{"SERVFAIL", "REFUSED", "DROP"} {
		t.Run(fault, func(t *testing.T) {
			dns := zone(t)
			s := start(t, mx(withDNS("strict", dns, "dns_timeout 1s")))
			dns.SetFail(fault)
			for _, tc := range cases(t) {
				if tc.expected != "accept" {
					continue
				}
				c := s.dial(t, "127.0.0.25", "smtp", tc.source)
				c.greet(tc)
				c.say("RCPT TO:<user@receiver-bench.org>", 2)
			}
		})
	}
}

func TestTempfailOnRequest(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns, "dns_timeout 1s", "dns_error_action tempfail")))
	c := s.mx(t)
	c.begin("mail.servfail-bench.org")
	if got := c.say("RCPT TO:<user@receiver-bench.org>", 451); !strings.Contains(got, "4.4.3") {
		t.Errorf("got %q", got)
	}
	c.say("RCPT TO:<postmaster@receiver-bench.org>", 250)
}

// The look-ups begin at EHLO, and a client that comes again asks nothing.
func TestPrefetchAndCache(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns)))
	c := s.mx(t)
	c.say("EHLO unknown.sender-bench.com", 250)
	until(t, "a question before MAIL", func() bool { return dns.Count() > 0 })
	known := s.looksUp(t)
	dns.SetFail("DROP")
	s.mx(t).run(talk(send("EHLO "+known, 250), transaction(450)))
}

func TestOfflineRejectAsksNothing(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns)))
	c := s.mx(t)
	c.begin("localhost")
	c.say("RCPT TO:<user@receiver-bench.org>", 550)
	if n := dns.Count(); n != 0 {
		t.Errorf("asked %v", dns.Queries())
	}
}

// A name on exempt_names helps only the client it resolves to.
func TestExemptNameNeedsProof(t *testing.T) {
	dns := zone(t)
	table := "exempt_names static {\nentry under_score.sender-bench.com \"\"\nentry elsewhere.test 127.0.2.9/32\n" +
		"entry sender.invalid \"\"\n}"
	s := start(t, mx(withDNS("strict", dns, table)))
	for _, tc := range []struct {
		source, helo string
		code         int
	}{
		{"127.0.2.1", "under_score.sender-bench.com", 250}, // resolves to the client
		{"127.0.2.4", "under_score.sender-bench.com", 501}, // somebody else says so
		{"127.0.2.9", "elsewhere.test", 250},               // the address stands in the table
		{"127.0.2.4", "elsewhere.test", 550},
		{"127.0.2.1", "sender.invalid", 550}, // no proof at all
	} {
		c := s.dial(t, "127.0.0.25", "smtp", tc.source)
		c.begin(tc.helo)
		if got := c.try("RCPT TO:<user@receiver-bench.org>"); got != tc.code {
			t.Errorf("%s from %s: got %d, want %d", tc.helo, tc.source, got, tc.code)
		}
	}
}

func TestExemptClientByConfirmedName(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("strict", dns, "exempt_clients static {\nentry .yourcompany.com \"\"\n}")))
	for source, code := range map[string]int{"127.0.2.1": 250, "127.0.2.3": 504} {
		c := s.dial(t, "127.0.0.25", "smtp", source)
		c.begin("hostnameonly")
		if got := c.try("RCPT TO:<user@receiver-bench.org>"); got != code {
			t.Errorf("from %s: got %d, want %d", source, got, code)
		}
	}
}

func TestBlocklistsAndDNSWL(t *testing.T) {
	dns := zone(t)
	err := dns.Add(`mta01.yourcompany.com.dbl.example A 127.0.1.2
mta01.yourcompany.com.dbl.example TXT seen in spam
elsewhere.sender-bench.com.dbl.example A 127.255.255.254
cname.sender-bench.com.dbl.example A 192.0.2.99
other.yourcompany.com.soft.example A 127.0.1.3
4.2.0.127.wl.example A 127.0.5.1`)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, mx(withDNS("strict", dns, "blocklists dbl.example", "blocklists soft.example {\naction score 2\n}",
		"exempt_dnswl wl.example")))
	for _, tc := range []struct {
		source, helo string
		code         int
	}{
		{"127.0.2.1", "mta01.yourcompany.com", 554},
		{"127.0.2.1", "elsewhere.sender-bench.com", 250}, // the list says that it does not answer us
		{"127.0.2.1", "cname.sender-bench.com", 250},     // no list answers so
		{"127.0.2.4", "other.yourcompany.com", 250},      // two points refuse nobody
		{"127.0.2.4", "mta01.yourcompany.com", 250},      // listed, but on the allow-list too
	} {
		c := s.dial(t, "127.0.0.25", "smtp", tc.source)
		c.begin(tc.helo)
		if got := c.try("RCPT TO:<user@receiver-bench.org>"); got != tc.code {
			t.Errorf("%s from %s: got %d, want %d", tc.helo, tc.source, got, tc.code)
		}
	}
	if line := s.waitLog(t, `"rule":"listed","score":0`); !strings.Contains(line, "dbl.example 127.0.1.2 seen in spam") {
		t.Errorf("log line %s", line)
	}
}

func TestDenyHosts(t *testing.T) {
	dns := zone(t)
	s := start(t, mx(withDNS("rfc", dns, "deny_hosts static {\nentry 127.0.2.77 \"550 not that network\"\n"+
		"entry mta01.yourcompany.com \"\"\n}")))
	for helo, code := range map[string]int{
		"elsewhere.sender-bench.com": 550, "mxonly.sender-bench.com": 554, "cname.sender-bench.com": 250,
	} {
		c := s.mx(t)
		c.begin(helo)
		if got := c.try("RCPT TO:<user@receiver-bench.org>"); got != code {
			t.Errorf("%s: got %d, want %d", helo, got, code)
		}
	}
}

// The results reach Authentication-Results, and HELO SPF stays out of Maddy's DMARC.
func TestAuthenticationResults(t *testing.T) {
	dns := zone(t)
	if err := dns.Add("mta01.yourcompany.com TXT v=spf1 a -all"); err != nil {
		t.Fatal(err)
	}
	conf := `storage.imapsql local_mailboxes {
		driver sqlite3
		dsn imapsql.db
	}
	smtp tcp://127.0.0.25:{env:TEST_PORT_smtp} {
		tls off
		dmarc yes
		check {
			` + withDNS("rfc", dns) + `
		}
		deliver_to &local_mailboxes
	}
`
	s := start(t, conf, []string{"imap-acct", "create", "user@receiver-bench.org"})
	c := s.mx(t)
	c.say("EHLO mta01.yourcompany.com", 250)
	c.send("user@receiver-bench.org", 250)
	msg := regexp.MustCompile(`\r?\n[ \t]+`).ReplaceAllString(
		s.call(t, "imap-msgs", "dump", "user@receiver-bench.org", "INBOX", "1"), " ")
	for _, want := range []string{"iprev=pass policy.iprev=127.0.2.1", "spf=pass smtp.helo=mta01.yourcompany.com",
		"dmarc=none"} {
		if !strings.Contains(msg, want) {
			t.Errorf("no %q in %s", want, msg)
		}
	}
}
