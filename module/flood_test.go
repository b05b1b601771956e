package module

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Past the bound a connection gets one reply, nothing is looked up, and one line tells it.
func TestGreetingsOfOneConnection(t *testing.T) {
	c, out := mustConfigure(t, "helo_fqdn")
	for i := range 3 * maxGreetings {
		state := conn("friend")
		err := c.CheckConnection(t.Context(), state)
		judged := state.ModData.Get(c.key, false) != nil
		if over := i >= maxGreetings; (err != nil) != over || judged == over {
			t.Fatalf("greeting %d: %v, judged %v", i+1, err, judged)
		}
	}
	if n := strings.Count(out.String(), "too many greetings in one connection"); n != 1 {
		t.Errorf("%d lines: %s", n, out)
	}
	const refused = "exempt_total module=" + modName + " reason=greetings"
	if n := shown(t)[refused]; n < 2*maxGreetings {
		t.Errorf("%g greetings are counted", n)
	}
	other := conn("friend")
	other.RemoteAddr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4001}
	if err := c.CheckConnection(t.Context(), other); err != nil {
		t.Errorf("another connection of the same client: %v", err)
	}
}

func TestFrontIsLogged(t *testing.T) {
	c, out := mustConfigure(t, "helo_fqdn")
	for range 12 {
		c.front.Saw(netip.MustParseAddr("172.17.0.1"), time.Now().Add(-time.Hour))
	}
	for range 2 {
		if err := c.CheckConnection(t.Context(), conn("friend")); err != nil {
			t.Fatal(err)
		}
	}
	const want = `{"greetings":12,"src_ip":"172.17.0.1"}`
	if n := strings.Count(out.String(), "from one private address"); n != 1 || !strings.Contains(out.String(), want) {
		t.Errorf("%d lines: %s", n, out)
	}
}
