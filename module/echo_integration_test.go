package module_test

import (
	"strings"
	"testing"
)

// The echo address answers every client, in a dry run and from an exempt network too.
func TestEchoAddress(t *testing.T) {
	s := start(t, mx("helo_fqdn {\nmax_action ignore\nexempt_networks 127.0.0.0/8\n"+
		"echo_recipients helo-test@receiver-bench.org\n}"))
	c := s.mx(t)
	c.begin("friend")
	reply := c.say("RCPT TO:<helo-test@receiver-bench.org>", 550)
	if !strings.Contains(reply, "5.7.1 You are [127.0.2.1], said friend: not_fqdn") {
		t.Errorf("got %q", reply)
	}
	// Maddy does not ask a check about a recipient again.
	c.say("RCPT TO:<helo-test@receiver-bench.org>", 250)
	c.say("DATA", 354)
	if again := c.say("Subject: test\r\n\r\ntest\r\n.", 550); !strings.Contains(again, "said friend: not_fqdn") {
		t.Errorf("got %q", again)
	}
	c.say("RSET", 250)
	c.say("MAIL FROM:<>", 250)
	c.say("RCPT TO:<helo-test@receiver-bench.org>", 550)
	c.say("RCPT TO:<bob@receiver-bench.org>", 250)
	c.say("DATA", 354)
	c.say("Subject: test\r\n\r\ntest\r\n.", 250)
}
