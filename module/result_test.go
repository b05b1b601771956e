package module

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/emersion/go-message/textproto"
	"github.com/foxcpp/maddy/framework/module"

	"maddy.example/checkhelo/module/judge"
)

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
