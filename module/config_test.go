package module

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	parser "github.com/foxcpp/maddy/framework/cfgparser"
	"github.com/foxcpp/maddy/framework/config"
	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/exterrors"
	"github.com/foxcpp/maddy/framework/log"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

// fakeTable stands for any of Maddy's table modules.
type fakeTable struct {
	module.Module
	entries map[string]string
	err     error
}

func (f fakeTable) Lookup(_ context.Context, key string) (string, bool, error) {
	value, found := f.entries[key]
	return value, found, f.err
}

func (fakeTable) Configure([]string, *config.Map) error { return nil }
func (fakeTable) Name() string                          { return "table.fake" }
func (fakeTable) InstanceName() string                  { return "" }

func init() {
	for _, kind := range []string{"table.fake", "table.static", "table.file"} {
		modules.Register(kind, func(*container.C, string, string) (module.Module, error) {
			return fakeTable{}, nil
		})
	}
	modules.Register("table.sick", func(*container.C, string, string) (module.Module, error) {
		return sickTable{}, nil
	})
}

// sickTable is a table that cannot be configured.
type sickTable struct{ fakeTable }

func (sickTable) Configure(_ []string, cfg *config.Map) error {
	if _, err := cfg.Process(); err != nil {
		return err
	}
	return errors.New("connection refused")
}

// kept is a log that a test reads.
type kept struct{ *bytes.Buffer }

func (kept) Close() error { return nil }

// configured reads one check from conf, the text of a `check { }` block.
func configured(tb testing.TB, conf string) (*Check, *bytes.Buffer, error) {
	tb.Helper()
	nodes, err := parser.Read(strings.NewReader(conf), "maddy.conf")
	if err != nil {
		tb.Fatal(err)
	}
	out := &bytes.Buffer{}
	c := container.New()
	c.DefaultLogger = &log.Logger{Out: log.WriteCloserOutput(kept{out}, false)}
	container.Global = c
	made, err := New(c, modName, "")
	if err != nil {
		tb.Fatal(err)
	}
	globals := map[string]any{"hostname": "mx.example.org"}
	check := made.(*Check)
	err = check.Configure(nodes[0].Args, config.NewMap(globals, nodes[0]))
	check.judge.Gatherer.Exchange = func(context.Context, *dns.Msg) (*dns.Msg, error) {
		return nil, errors.New("no DNS in this test")
	}
	return check, out, err
}

func mustConfigure(t *testing.T, conf string) (*Check, *bytes.Buffer) {
	t.Helper()
	c, out, err := configured(t, conf)
	if err != nil {
		t.Fatal(err)
	}
	return c, out
}

func TestConfigErrors(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "nets")
	if err := os.WriteFile(broken, []byte("10.0.0.0/8\nnonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ conf, want string }{
		"unknown policy":      {"helo_fqdn severe", `maddy.conf:1: policy: found "severe"; accepted: one of [lenient rfc strict]`},
		"two inline words":    {"helo_fqdn rfc strict", `policy: found "rfc strict"`},
		"policy twice":        {"helo_fqdn rfc {\npolicy strict\n}", "policy: is given inline too"},
		"policy in block":     {"helo_fqdn {\npolicy severe\n}", `maddy.conf:2: policy: found "severe"; accepted: one of [lenient rfc strict]`},
		"unknown rule":        {"helo_fqdn {\n\nno_such_action reject\n}", `maddy.conf:3: unknown rule "no_such"; accepted: address_literal, `},
		"unknown directive":   {"helo_fqdn {\nreject_all yes\n}", `maddy.conf:2: unknown directive "reject_all"`},
		"unknown action":      {"helo_fqdn {\nnot_fqdn_action deny\n}", `maddy.conf:2: not_fqdn_action: found "deny"; accepted: off, ignore, score N, greylist, quarantine, reject [CODE [ENHANCED [TEXT]]]`},
		"no action":           {"helo_fqdn {\nnot_fqdn_action\n}", "found no action"},
		"action block":        {"helo_fqdn {\nnot_fqdn_action off {\nx y\n}\n}", "found a block"},
		"action twice":        {"helo_fqdn {\nnot_fqdn_action off\nnot_fqdn_action off\n}", "maddy.conf:3: duplicate directive"},
		"score word":          {"helo_fqdn {\nnot_fqdn_action score many\n}", `found score "many", not a number from 1 to 1000`},
		"score zero":          {"helo_fqdn {\nnot_fqdn_action score 0\n}", `found score "0"`},
		"score alone":         {"helo_fqdn {\nnot_fqdn_action score\n}", `found score "", not a number`},
		"more after off":      {"helo_fqdn {\nnot_fqdn_action off now\n}", `found "now" after off`},
		"reject code":         {"helo_fqdn {\nnot_fqdn_action reject 250\n}", "error code should start with either 4 or 5"},
		"reject classes":      {"helo_fqdn {\nnot_fqdn_action reject 550 4.7.1\n}", "both must start with 5"},
		"reject enhanced":     {"helo_fqdn {\nnot_fqdn_action reject 550 5.7\n}", "wrong amount of enhanced code parts"},
		"reject text":         {"helo_fqdn {\nnot_fqdn_action reject 550 5.7.1 \"grüß\"\n}", "other than printable ASCII"},
		"reject long":         {"helo_fqdn {\nnot_fqdn_action reject 550 5.7.1 " + strings.Repeat("x", 251) + "\n}", "251 octets"},
		"score, no threshold": {"helo_fqdn {\nquarantine_threshold 0\nnot_fqdn_action score 2\n}", "maddy.conf:3: not_fqdn_action: a score has no effect"},
		"negative threshold":  {"helo_fqdn {\nreject_threshold -1\n}", `reject_threshold: found "-1"; accepted: a number from 0`},
		"fail_action":         {"helo_fqdn {\nfail_action drop\n}", `fail_action: found "drop"; accepted: one of reject [CODE [ENHANCED [TEXT]]], quarantine, ignore`},
		"enforce_at":          {"helo_fqdn {\nenforce_at data\n}", "maddy.conf:2: invalid argument, valid values are: ["},
		"empty self":          {"helo_fqdn {\n\nself_domains \"\"\n}", `maddy.conf:3: self_domains: found ""`},
		"lone dot":            {"helo_fqdn {\nself_domains .\n}", `found "."`},
		"self address":        {"helo_fqdn {\nself_addresses mail.example.org\n}", `maddy.conf:2: self_addresses: found "mail.example.org"`},
		"self host bits":      {"helo_fqdn {\nself_addresses 192.0.2.1/24\n}", "a network without host bits"},
		"bad CIDR":            {"helo_fqdn {\nexempt_networks 192.0.2.0/33\n}", `maddy.conf:2: exempt_networks: "192.0.2.0/33" `},
		"missing file":        {"helo_fqdn {\nexempt_networks file /nonexistent/nets\n}", "/nonexistent/nets"},
		"broken file":         {"helo_fqdn {\nexempt_networks file " + broken + "\n}", broken + ":2"},
		"recipient":           {"helo_fqdn {\nexempt_recipients \"a b\"\n}", "maddy.conf:2: exempt_recipients: "},
		"echo, no address":    {"helo_fqdn {\necho_recipients helo-test\n}", `echo_recipients: found "helo-test"; accepted: addresses`},
		"echo, a domain":      {"helo_fqdn {\necho_recipients @example.org\n}", "accepted: addresses"},
		"echo and exempt":     {"helo_fqdn {\n\necho_recipients abuse@example.org\n}", "maddy.conf:3: echo_recipients: abuse@example.org could never be written to"},
		"help_url":            {"helo_fqdn {\nhelp_url help.example.org\n}", "maddy.conf:2: help_url: found"},
		"help_url fragment":   {"helo_fqdn {\nhelp_url \"https://example.org/#x\"\n}", "without fragment"},
		"table":               {"helo_fqdn {\nexempt_names nosuch x\n}", `maddy.conf:2: exempt_names: found "nosuch": unknown module: nosuch (namespace: table); accepted: file, static, `},
		"table with block":    {"helo_fqdn {\n\ndeny_names nosuch { }\n}", `maddy.conf:3: deny_names: found "nosuch"`},
		"no table":            {"helo_fqdn {\ndeny_hosts\n}", "maddy.conf:2: deny_hosts: found no table; accepted: file, static, "},
		"nameless table":      {"helo_fqdn {\ndeny_hosts &\n}", "maddy.conf:2: deny_hosts: found no table; accepted: "},
		"unknown reference":   {"helo_fqdn {\nexempt_clients &ours\n}", `maddy.conf:2: exempt_clients: found "&ours": no such instance registered; accepted: `},
		"reference and more":  {"helo_fqdn {\nexempt_clients &ours x\n}", `maddy.conf:2: exempt_clients: found "&ours": exactly one argument`},
		"not a table":         {"helo_fqdn {\ndeny_names check.helo_fqdn\n}", "doesn't implement module.Table interface; accepted: "},
		"broken table":        {"helo_fqdn {\ndeny_names sick\n}", `maddy.conf:2: deny_names: found "sick": connection refused`},
		"table's own line":    {"helo_fqdn {\ndeny_names sick {\nnonsense yes\n}\n}", "maddy.conf:3: unexpected directive: nonsense"},
		"provider":            {"helo_fqdn {\nprovider example {\nhelo example.net\n}\n}", "missing required directive: ptr"},
		"provider empty":      {"helo_fqdn {\nprovider example\n}", "maddy.conf:2: accepted: provider NAME"},
		"dynamic word":        {"helo_fqdn {\ndynamic_words dsl2\n}", "maddy.conf:2: dynamic_words"},
		"reserved":            {"helo_fqdn {\nreserved_tlds \"a b\"\n}", "maddy.conf:2: reserved_tlds"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := configured(t, tc.conf)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want %s", err, tc.want)
			}
		})
	}
}

func TestConfigDefaults(t *testing.T) {
	c, out := mustConfigure(t, "helo_fqdn")
	p := c.judge.Policy
	if p.Preset != checkhelo.RFC || p.QuarantineScore != 5 || p.RejectScore != 0 || p.Ceiling != checkhelo.Off {
		t.Errorf("policy %+v", p)
	}
	if c.judge.AtEHLO || c.header || len(c.judge.Self.Names) != 1 || c.judge.Self.Names[0] != "mx.example.org" {
		t.Errorf("check %+v", c)
	}
	if out.Len() != 0 {
		t.Errorf("log: %s", out)
	}
}

func TestConfigTakesAll(t *testing.T) {
	c, out := mustConfigure(t, `helo_fqdn {
		policy lenient
		fail_action quarantine
		self_domains example.org .Example.ORG bücher.example
		self_addresses 192.0.2.1 2001:db8::/32
		ptr_mismatch_action reject
		not_fqdn_action reject 511 5.5.2 "HELO domain '{helo}' is not valid here"
		localhost_action score 7
		quarantine_threshold 6
		reject_threshold 9
		enforce_at ehlo
		exempt_names fake
		exempt_clients fake
		deny_names fake
		provider example {
			helo mail.example.net
			ptr example.net
		}
		dynamic_words funkdsl
		reserved_tlds lab
	}`)
	if len(c.judge.Self.Names) != 3 || c.judge.Self.Names[2] != "xn--bcher-kva.example" || c.judge.Self.Domains[0] != "example.org" {
		t.Errorf("self %+v", c.judge.Self)
	}
	if !strings.Contains(out.String(), "ptr_mismatch_action is reject: RFC 5321, section 4.1.4") {
		t.Errorf("no warning in %q", out)
	}
	if p := c.judge.Lists.Provider("mail.example.net"); p == nil || p.Name != "example" {
		t.Errorf("provider %v", p)
	}
	f := c.greet(conn("hostnameonly"), false).Facts()
	v := c.judge.Policy.Evaluate(f)
	reply := c.judge.Policy.Reply(v, f.Helo)
	if v.Action != checkhelo.Quarantine || v.Would != checkhelo.Reject || reply.Code != 511 ||
		reply.Text != "HELO domain 'hostnameonly' is not valid here" {
		t.Errorf("verdict %+v, reply %+v", v, reply)
	}
}

func conn(helo string) *module.ConnState {
	return &module.ConnState{
		Proto: "ESMTP", Hostname: helo,
		RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4000},
		LocalAddr:  &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 25},
	}
}

func TestPanicInEarlyCheckDoesNotEndTheServer(t *testing.T) {
	c, out := mustConfigure(t, "helo_fqdn strict {\nenforce_at ehlo\n}")
	c.judge.Policy = nil // whatever may break inside
	if err := c.CheckConnection(context.Background(), conn("localhost")); err != nil {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(out.String(), "panic at EHLO, client passes") {
		t.Errorf("log %s", out)
	}
}

func TestPanicAtRcptLetsMessagePass(t *testing.T) {
	c, out := mustConfigure(t, "helo_fqdn strict")
	c.judge.Policy = nil
	s, err := c.CheckStateForMsg(context.Background(), &module.MsgMetadata{ID: "1", Conn: conn("localhost")})
	if err != nil {
		t.Fatal(err)
	}
	if res := s.CheckRcpt(context.Background(), "user@example.org"); res.Reject || res.Quarantine {
		t.Errorf("got %+v", res)
	}
	if !strings.Contains(out.String(), "panic at RCPT, message passes") {
		t.Errorf("log %s", out)
	}
}

func TestMissingConnectionDataIsSkipped(t *testing.T) {
	c, _ := mustConfigure(t, "helo_fqdn strict {\nenforce_at ehlo\n}")
	for name, state := range map[string]*module.ConnState{
		"local":   nil,
		"empty":   {},
		"no addr": {Proto: "ESMTP", Hostname: "localhost"},
		"unix":    {Proto: "ESMTP", Hostname: "localhost", RemoteAddr: &net.UnixAddr{Name: "@"}},
		"lmtp":    {Proto: "LMTP", Hostname: "localhost", RemoteAddr: &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := c.CheckConnection(context.Background(), state); err != nil {
				t.Errorf("early: %v", err)
			}
			s, err := c.CheckStateForMsg(context.Background(), &module.MsgMetadata{Conn: state})
			if err != nil {
				t.Fatal(err)
			}
			if res := s.CheckRcpt(context.Background(), "user@example.org"); res.Reject {
				t.Errorf("rcpt: %+v", res)
			}
		})
	}
}

func TestDenyNames(t *testing.T) {
	for name, tc := range map[string]struct {
		entries map[string]string
		err     error
		helo    string
		code    int
		text    string
	}{
		"exact":         {map[string]string{"mail.example.net": "go away"}, nil, "mail.example.net", 554, "go away"},
		"parent":        {map[string]string{"example.net": "521 5.7.9 not you"}, nil, "a.b.example.net", 521, "not you"},
		"dotted parent": {map[string]string{".example.net": ""}, nil, "mail.example.net", 554, "takes no mail"},
		"address":       {map[string]string{"192.0.2.9": "450 later"}, nil, "[192.0.2.9]", 450, "later"},
		"sibling":       {map[string]string{"example.net": ""}, nil, "badexample.net", 0, ""},
		"table down":    {nil, errors.New("connection refused"), "mail.example.net", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c, out := mustConfigure(t, "helo_fqdn lenient")
			c.judge.DenyNames = fakeTable{entries: tc.entries, err: tc.err}
			s, err := c.CheckStateForMsg(context.Background(), &module.MsgMetadata{Conn: conn(tc.helo)})
			if err != nil {
				t.Fatal(err)
			}
			res := s.CheckRcpt(context.Background(), "user@example.org")
			var got exterrors.SMTPError
			if smtpErr := new(exterrors.SMTPError); errors.As(res.Reason, &smtpErr) {
				got = *smtpErr
			}
			if got.Code != tc.code || !strings.Contains(got.Message, tc.text) {
				t.Errorf("got %d %q", got.Code, got.Message)
			}
			if tc.err != nil && !strings.Contains(out.String(), "nobody is refused for that") {
				t.Errorf("log %s", out)
			}
		})
	}
}

// A connection that is refused at EHLO again and again writes one line a network, rule and minute.
func TestEarlyRefusalsAreLoggedOnceAMinute(t *testing.T) {
	c, out := mustConfigure(t, "helo_fqdn strict {\nenforce_at ehlo\n}")
	for i := range 1000 {
		from := conn([]string{"localhost", "friend"}[i%2])
		from.RemoteAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, byte(i%4/2)), Port: 4000}
		if err := c.CheckConnection(t.Context(), from); err == nil {
			t.Fatal("not refused")
		}
	}
	if n := strings.Count(out.String(), "helo verdict"); n != 4 {
		t.Errorf("%d lines for two networks and two rules", n)
	}
}
