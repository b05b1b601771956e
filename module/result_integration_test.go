package module_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/mail"
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
