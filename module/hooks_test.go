package module

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	_ "unsafe" // linkname

	"github.com/emersion/go-message/textproto"
	"github.com/foxcpp/maddy/framework/config"
	"github.com/foxcpp/maddy/framework/log"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
)

// ruleTable is the table of package checkhelo, in which a test makes rules panic.
//
//go:linkname ruleTable maddy.example/checkhelo.table
var ruleTable []checkhelo.Rule

// sharedLog is a log that goroutines may write to.
type sharedLog struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sharedLog) Write(_ time.Time, _ bool, msg string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.WriteString(msg + "\n")
}

func (*sharedLog) Close() error { return nil }

func (s *sharedLog) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// brokenLog is a log that panics.
type brokenLog struct{}

func (brokenLog) Write(time.Time, bool, string) { panic("disk on fire") }
func (brokenLog) Close() error                  { return nil }

// brokenTable is a table that panics.
type brokenTable struct{ module.Module }

func (brokenTable) Lookup(context.Context, string) (string, bool, error) { panic("broken table") }
func (brokenTable) Configure([]string, *config.Map) error                { return nil }
func (brokenTable) Name() string                                         { return "table.broken" }
func (brokenTable) InstanceName() string                                 { return "" }

// answers is a DNS in which every name has the address 192.0.2.50, and no address a name.
func answers(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	m := new(dns.Msg)
	m.SetReply(q)
	if name := q.Question[0]; name.Qtype == dns.TypeA {
		m.Answer = []dns.RR{&dns.A{
			Hdr: dns.RR_Header{Name: name.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
			A:   net.IPv4(192, 0, 2, 50),
		}}
	} else {
		m.Rcode = dns.RcodeNameError
	}
	return m, nil
}

// runSession does what Maddy does with one greeting and one message: early
// check, two recipients, body. It returns the reasons for which anything was refused.
func runSession(t *testing.T, c *Check, from *module.ConnState) (refusals []string) {
	t.Helper()
	note := func(res module.CheckResult) {
		if res.Reject || res.Quarantine {
			refusals = append(refusals, res.Reason.Error())
		}
	}
	if err := c.CheckConnection(t.Context(), from); err != nil {
		refusals = append(refusals, err.Error())
	}
	s, err := c.CheckStateForMsg(t.Context(), &module.MsgMetadata{ID: "1", Conn: from})
	if err != nil {
		t.Fatal(err)
	}
	note(s.CheckConnection(t.Context()))
	note(s.CheckSender(t.Context(), "sender@example.net"))
	note(s.CheckRcpt(t.Context(), "user@example.org"))
	note(s.CheckRcpt(t.Context(), "user@mail.example.net"))
	note(s.CheckBody(t.Context(), textproto.Header{}, nil))
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	return refusals
}

// unbroken is a strict check without the rules that hit every client of answers.
func unbroken(t *testing.T, conf string) (*Check, *sharedLog) {
	t.Helper()
	const off = "no_address_action off\nno_ptr_action off\naddress_mismatch_action off\n" +
		"private_address_action off\n"
	c, _ := mustConfigure(t, "helo_fqdn strict {\n"+off+conf+"\n}")
	out := &sharedLog{}
	c.log = &log.Logger{Out: out}
	c.judge.Gatherer.Exchange = answers
	return c, out
}

// The tests below prove nothing unless the unbroken check refuses.
func TestUnbrokenCheck(t *testing.T) {
	c, _ := unbroken(t, "")
	if refusals := runSession(t, c, conn("localhost")); len(refusals) != 3 {
		t.Errorf("refusals %v, want two recipients and the message", refusals)
	}
	if refusals := runSession(t, c, conn("mail.example.com")); len(refusals) != 0 {
		t.Errorf("a good name is refused: %v", refusals)
	}
}

// brokenDNS is a client of the DNS that panics.
func brokenDNS(context.Context, *dns.Msg) (*dns.Msg, error) { panic("broken client") }

// breakages are the parts that can panic, with the text that the log then has.
// A lookup that fails is no matter for the log.
var breakages = map[string]struct {
	conf, helo string
	spoil      func(c *Check, from *module.ConnState)
	logged     string
}{
	"policy": {"", "localhost",
		func(c *Check, _ *module.ConnState) { c.judge.Policy = nil }, "message passes"},
	"deny_names": {"", "mail.example.com",
		func(c *Check, _ *module.ConnState) { c.judge.DenyNames = brokenTable{} }, "broken table"},
	"deny_hosts": {"", "mail.example.com",
		func(c *Check, _ *module.ConnState) { c.judge.DenyHosts = brokenTable{} }, "broken table"},
	"exempt_clients": {"", "localhost",
		func(c *Check, _ *module.ConnState) { c.judge.Exempt.Clients = brokenTable{} }, "broken table"},
	"exempt_names": {"", "mail.corp.localhost",
		func(c *Check, _ *module.ConnState) { c.judge.Exempt.Names = brokenTable{} }, "broken table"},
	"peer address": {"", "localhost",
		func(_ *Check, from *module.ConnState) { from.RemoteAddr = (*net.TCPAddr)(nil) }, ""},
	"exempt_dnswl": {"exempt_dnswl wl.example.net", "ubuntu.example.com",
		func(c *Check, _ *module.ConnState) { c.judge.Gatherer.Exchange = brokenDNS }, "exempt_dnswl"},
	"lookup": {"", "gmail.com",
		func(c *Check, _ *module.ConnState) { c.judge.Gatherer.Exchange = brokenDNS }, ""},
	"lookup without an answer": {"", "gmail.com", func(c *Check, _ *module.ConnState) {
		c.judge.Gatherer.Exchange = func(context.Context, *dns.Msg) (*dns.Msg, error) { return nil, nil }
	}, ""},
	"cache": {"", "gmail.com",
		func(c *Check, _ *module.ConnState) { c.judge.Gatherer.Cache = &dnsfacts.Cache{} }, ""},
	"metrics of lookups": {"", "gmail.com", func(c *Check, _ *module.ConnState) {
		c.judge.Gatherer.Observe = func(string, string, time.Duration) { panic("broken metric") }
	}, ""},
}

// A panic anywhere in the check costs no mail and does not end the server.
func TestPanicAnywhere(t *testing.T) {
	for name, b := range breakages {
		for _, stage := range []string{"rcpt", "ehlo"} {
			t.Run(name+" at "+stage, func(t *testing.T) {
				c, out := unbroken(t, b.conf+"\nenforce_at "+stage)
				from := conn(b.helo)
				b.spoil(c, from)
				if refusals := runSession(t, c, from); len(refusals) != 0 {
					t.Errorf("refused: %v", refusals)
				}
				if text := out.String(); !strings.Contains(text, b.logged) {
					t.Errorf("log %q lacks %q", text, b.logged)
				}
			})
		}
	}
}

// A verdict does not depend on the log.
func TestPanicInTheLog(t *testing.T) {
	for stage, want := range map[string]int{"rcpt": 3, "ehlo": 4} {
		c, _ := unbroken(t, "enforce_at "+stage)
		c.log.Out = brokenLog{}
		if refusals := runSession(t, c, conn("localhost")); len(refusals) != want {
			t.Errorf("at %s: refusals %v, want %d", stage, refusals, want)
		}
		c.judge.Policy = nil
		if refusals := runSession(t, c, conn("localhost")); len(refusals) != 0 {
			t.Errorf("at %s: another panic refuses: %v", stage, refusals)
		}
	}
}

// greetings make every rule look at its client.
var greetings = []string{
	"", "localhost", "192.0.2.9", "[192.0.2.9]", "[192.0.2.1]", "mx.example.org", "mail.example.com",
	"example.org", "mail.example.com.", "mail_1.example.com", "hostnameonly", "mail.corp",
	"mail.example.notatld", "gmail.com", "host-192-0-2-7.dyn.example.net",
}

func TestPanicInEachRule(t *testing.T) {
	for i, rule := range checkhelo.Rules() {
		t.Run(rule.Name, func(t *testing.T) {
			kept := ruleTable[i].Match
			ruleTable[i].Match = func(*checkhelo.Facts) (checkhelo.Finding, bool) { panic("broken rule") }
			defer func() { ruleTable[i].Match = kept }()
			for _, stage := range []string{"rcpt", "ehlo"} {
				asked := false
				for _, helo := range greetings {
					c, out := unbroken(t, "enforce_at "+stage+"\nblocklists dbl.example.net")
					onlyRule(c, rule.Name)
					if refusals := runSession(t, c, conn(helo)); len(refusals) != 0 {
						t.Errorf("%q at %s: refused: %v", helo, stage, refusals)
					}
					asked = asked || strings.Contains(out.String(), "message passes: broken rule")
				}
				if !asked {
					t.Errorf("%s: no greeting made the rule panic", stage)
				}
			}
		})
	}
}

// onlyRule turns all rules off but one.
func onlyRule(c *Check, name string) {
	p := checkhelo.NewPolicy(checkhelo.Strict)
	p.Override = map[string]checkhelo.Rule{}
	for _, r := range checkhelo.Rules() {
		p.Override[r.Name] = checkhelo.Rule{Action: checkhelo.Off}
	}
	p.Override[name] = checkhelo.Rule{Action: checkhelo.Reject}
	c.judge.Policy = p
}

// A recipient that passes because of a panic takes its message along.
func TestPanicAfterRefusal(t *testing.T) {
	c, out := unbroken(t, "")
	s, err := c.CheckStateForMsg(t.Context(), &module.MsgMetadata{ID: "1", Conn: conn("localhost")})
	if err != nil {
		t.Fatal(err)
	}
	if res := s.CheckRcpt(t.Context(), "first@example.org"); !res.Reject {
		t.Fatal("localhost passes")
	}
	c.judge.Policy = nil
	if res := s.CheckRcpt(t.Context(), "second@example.com"); res.Reject {
		t.Fatal("refused after a panic")
	}
	if res := s.CheckBody(t.Context(), textproto.Header{}, nil); res.Reject {
		t.Errorf("the message is refused: %v; log %s", res.Reason, out)
	}
}

// countingTable counts what it is asked.
type countingTable struct {
	fakeTable
	asked int
}

func (c *countingTable) Lookup(ctx context.Context, key string) (string, bool, error) {
	c.asked++
	return c.fakeTable.Lookup(ctx, key)
}

// A client that alternates between recipients' domains must not make the
// operator's tables, which may stand in a database, work for each of them.
func TestRecipientsDoNotMultiplyTableLookups(t *testing.T) {
	const recipients = 1000
	for _, helo := range []string{"mail.example.com", "localhost"} {
		c, _ := unbroken(t, "")
		var names, hosts, clients countingTable
		c.judge.DenyNames, c.judge.DenyHosts, c.judge.Exempt.Clients = &names, &hosts, &clients
		s, err := c.CheckStateForMsg(t.Context(), &module.MsgMetadata{ID: "1", Conn: conn(helo)})
		if err != nil {
			t.Fatal(err)
		}
		for i := range recipients {
			s.CheckRcpt(t.Context(), "user@"+[]string{"a.example", "b.example"}[i%2])
		}
		if names.asked > 10 || hosts.asked > 10 || clients.asked > 10 {
			t.Errorf("%s: %d recipients caused %d deny_names, %d deny_hosts, %d exempt_clients lookups",
				helo, recipients, names.asked, hosts.asked, clients.asked)
		}
	}
}

// mapped is conn with a client as a dual-stack listener sees an IPv4 one.
func mapped(helo, client string) *module.ConnState {
	from := conn(helo)
	ip := netip.MustParseAddr("::ffff:" + client)
	from.RemoteAddr = &net.TCPAddr{IP: ip.AsSlice(), Port: 4000}
	return from
}

func TestMappedClientAgainstLists(t *testing.T) {
	for name, tc := range map[string]struct {
		conf, helo, client string
		refused            bool
	}{
		"exempt network":     {"exempt_networks 192.0.2.0/24", "localhost", "192.0.2.7", false},
		"mapped network":     {"exempt_networks ::ffff:192.0.2.0/120", "localhost", "192.0.2.7", false},
		"other network":      {"exempt_networks 192.0.2.0/24", "localhost", "198.51.100.7", true},
		"IPv6 network":       {"exempt_networks ::/16", "localhost", "198.51.100.7", true},
		"own address":        {"self_addresses 192.0.2.9", "mx.example.org", "192.0.2.9", false},
		"own mapped address": {"self_addresses ::ffff:192.0.2.9", "mx.example.org", "192.0.2.9", false},
		"not our address":    {"self_addresses 192.0.2.9", "mx.example.org", "192.0.2.10", true},
		"our address":        {"self_addresses 198.51.100.0/24", "[198.51.100.3]", "192.0.2.10", true},
		"own literal":        {"address_literal_action off", "[192.0.2.7]", "192.0.2.7", false},
		"own mapped literal": {"address_literal_action off", "[IPv6:::ffff:192.0.2.7]", "192.0.2.7",
			false},
		"foreign literal": {"address_literal_action off", "[192.0.2.8]", "192.0.2.7", true},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := unbroken(t, tc.conf)
			refusals := runSession(t, c, mapped(tc.helo, tc.client))
			if (len(refusals) != 0) != tc.refused {
				t.Errorf("refusals %v", refusals)
			}
		})
	}
}

// questionsZone is one house with two servers, each well set up.
const questionsZone = `
mta01.example.net A 127.0.2.1
ptr 127.0.2.1 mta01.example.net
mta02.example.net A 127.0.2.2
ptr 127.0.2.2 mta02.example.net
`

// What a session of a good client asks the DNS: docs/performance.md calculates with these numbers.
func TestQuestionsOfASession(t *testing.T) {
	for policy, want := range map[string]struct{ cold, second, warm string }{
		"lenient": {cold: "A PTR TXT", second: "A PTR TXT"},
		"rfc":     {cold: "A PTR TXT", second: "A PTR TXT"},
		"strict":  {cold: "A PTR TXT", second: "A PTR TXT"},
	} {
		t.Run(policy, func(t *testing.T) {
			c, _, err := configured(t, "helo_fqdn "+policy+" {\nexempt_networks 10.0.0.0/8\n}")
			if err != nil {
				t.Fatal(err)
			}
			server := dnstest.Serve(t, questionsZone)
			var mu sync.Mutex
			var asked []string
			c.judge.Gatherer.Exchange = func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, dns.TypeToString[q.Question[0].Qtype])
				return server.Answer(q, "", "tcp"), nil // no packet that is late or lost
			}
			greeting := func(name string, last byte) *module.ConnState {
				return &module.ConnState{
					Proto: "ESMTP", Hostname: name,
					RemoteAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, last), Port: 4000},
					LocalAddr:  &net.TCPAddr{IP: net.IPv4(127, 0, 0, 25), Port: 25},
				}
			}
			for _, step := range []struct {
				name, want string
				conn       *module.ConnState
			}{
				{"cold", want.cold, greeting("mta01.example.net", 1)},
				{"warm", want.warm, greeting("mta01.example.net", 1)},
				{"second server", want.second, greeting("mta02.example.net", 2)},
			} {
				judged(t, c, step.conn)
				mu.Lock()
				slices.Sort(asked)
				got := strings.Join(asked, " ")
				asked = nil
				mu.Unlock()
				t.Logf("%s: %q", step.name, got)
				if got != step.want {
					t.Errorf("%s: asked %q, want %q", step.name, got, step.want)
				}
			}
		})
	}
}

// counted is an empty table that counts how often it is asked.
type counted struct{ asked int }

func (c *counted) Lookup(context.Context, string) (string, bool, error) {
	c.asked++
	return "", false, nil
}

// What a session asks tables such as table.sql_query: deny_names for each new greeting, the
// exemptions only when a rule has hit. docs/performance.md uses these numbers.
func TestLookupsOfASession(t *testing.T) {
	c, conn := warm(t, "strict")
	deny, names, clients := &counted{}, &counted{}, &counted{}
	c.judge.DenyNames, c.judge.Exempt.Names, c.judge.Exempt.Clients = deny, names, clients
	judged(t, c, conn())
	if deny.asked != 5 || names.asked != 0 || clients.asked != 0 {
		t.Errorf("a good client: deny_names %d, exempt_names %d, exempt_clients %d times",
			deny.asked, names.asked, clients.asked)
	}
	deny.asked = 0
	bad := conn()
	bad.Hostname = "mta01.example.local"
	c.judge.Gatherer.Exchange = nil
	s, err := c.CheckStateForMsg(t.Context(), &module.MsgMetadata{ID: "1", Conn: bad})
	if err != nil {
		t.Fatal(err)
	}
	if res := s.CheckRcpt(t.Context(), "user@receiver-bench.org"); !res.Reject {
		t.Error("a private name was not refused")
	}
	if deny.asked != 5 || names.asked != 6 || clients.asked != 1 {
		t.Errorf("a refused client: deny_names %d, exempt_names %d, exempt_clients %d times",
			deny.asked, names.asked, clients.asked)
	}
}

// Labels in front of a listed domain do not hide it.
func TestDenyNamesUnderAnyNumberOfLabels(t *testing.T) {
	c, _ := mustConfigure(t, "helo_fqdn")
	c.judge.DenyNames = fakeTable{entries: map[string]string{"denied.example": ""}}
	for n := range 100 {
		name := strings.Repeat("a.", n) + "denied.example"
		o := c.greet(conn(name), false).Rcpt(t.Context(), "", "", "user@example.com")
		if len(o.Hits) == 0 || o.Hits[0].Rule.Name != "deny_name" {
			t.Fatalf("not denied with %d labels in front", n)
		}
	}
}

// factsOf is what a greeting tells by itself.
func factsOf(c *Check, helo string, client, local netip.Addr) checkhelo.Facts {
	return checkhelo.Facts{Helo: heloname.Parse(helo), Client: client, Local: local,
		Self: &c.judge.Self, Lists: c.judge.Lists}
}

// TestSessionIsNotQueued shows that the data of a connection, which the queue writes, has nothing
// of a session.
func TestSessionIsNotQueued(t *testing.T) {
	c, _ := mustConfigure(t, "helo_fqdn")
	state := conn("mail.example.org")
	if err := c.CheckConnection(context.Background(), state); err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(&state.ModData)
	if err != nil || strings.Contains(string(text), "example.org") {
		t.Errorf("got %s, %v", text, err)
	}
}

// The header of a message bears the outcome that explain has for it, also where another recipient
// was refused.
func TestHeaderBearsTheOutcome(t *testing.T) {
	const user, second, post = "user@example.org", "user@example.com", "postmaster@example.org"
	for _, tc := range []struct {
		helo, want string
		rcpts      []string
	}{
		{"mail.example.net", "none; rule=none; score=0; ", []string{user}},
		{"foo.bar.local", "quarantine; rule=reserved_tld; score=0; ", []string{user, post}},
		{"friend", "quarantine; rule=not_fqdn; score=0; ", []string{user, second}},
		{"friend", "exempt; reason=rcpt; ", []string{user, post}},
		{"friend", "exempt; reason=rcpt; ", []string{post}},
	} {
		c, _ := mustConfigure(t, "helo_fqdn rfc {\nheader yes\n}")
		c.judge.Gatherer.Exchange = nil
		c.judge.Recipients = fakeTable{entries: map[string]string{"@example.com": "ignore"}}
		s, err := c.CheckStateForMsg(t.Context(), &module.MsgMetadata{ID: "1", Conn: conn(tc.helo)})
		if err != nil {
			t.Fatal(err)
		}
		for _, rcpt := range tc.rcpts {
			s.CheckRcpt(t.Context(), rcpt)
		}
		res := s.CheckBody(t.Context(), textproto.Header{}, nil)
		got := res.Header.Get(traceHeader)
		if !strings.HasPrefix(got, tc.want) {
			t.Errorf("%s to %v: %q, want %q", tc.helo, tc.rcpts, got, tc.want)
		}
		e := c.judge.Explain(t.Context(), judge.Query{Conn: judge.Conn{Helo: tc.helo,
			Client: netip.MustParseAddr("192.0.2.7")}, Rcpts: tc.rcpts})
		if !strings.HasPrefix(got, e.Message.Word()+"; ") {
			t.Errorf("%s to %v: the header has %q, explain says %s", tc.helo, tc.rcpts, got, e.Message.Word())
		}
	}
	// A greeting from an exempt network says so.
	c, _ := mustConfigure(t, "helo_fqdn rfc {\nheader yes\nexempt_networks 192.0.2.0/24\n}")
	s, err := c.CheckStateForMsg(t.Context(), &module.MsgMetadata{ID: "1", Conn: conn("friend")})
	if err != nil {
		t.Fatal(err)
	}
	s.CheckRcpt(t.Context(), user)
	res := s.CheckBody(t.Context(), textproto.Header{}, nil)
	if got := res.Header.Get(traceHeader); got !=
		"exempt; reason=network; helo=friend; ip=192.0.2.7" {
		t.Errorf("exempt network: %q", got)
	}
}
