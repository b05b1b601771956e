package module_test

import (
	"strings"
	"testing"
)

// A check cannot close a connection of Maddy. Past the bound it gets one reply to every greeting and
// can send no mail; the client's next connection is judged as ever.
func TestGreetingAgainAndAgain(t *testing.T) {
	s := start(t, mx(strict))
	c := s.mx(t)
	for range 100 {
		c.say("EHLO mta01.yourcompany.com", 250)
	}
	first := c.say("EHLO mta01.yourcompany.com", 421)
	for _, helo := range []string{"mta01.yourcompany.com", "localhost"} {
		if reply := c.say("EHLO "+helo, 421); reply != first {
			t.Errorf("%q after %q", reply, first)
		}
	}
	c.say("MAIL FROM:<sender@yourcompany.com>", 5)
	line := s.waitLog(t, "too many greetings in one connection")
	if !strings.Contains(line, `"src_ip":"127.0.2.1"`) {
		t.Errorf("no address in %q", line)
	}
	c = s.mx(t)
	c.say("EHLO mta01.yourcompany.com", 250)
	c.send("user@receiver-bench.org", 250)
	if n := s.logged("too many greetings"); n != 1 {
		t.Errorf("%d lines", n)
	}
}
