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

// A flood of connections does not make the counts grow. A flood of a third of the room does not
// reset a connection that greets on.
func TestGreetingCount(t *testing.T) {
	c, _ := mustConfigure(t, "helo_fqdn")
	now := time.Now()
	busy := netip.MustParseAddrPort("192.0.2.7:4000")
	const room = countedOctets / 31 // octets of an IPv4 connection
	for i := range 3 * room {
		if n := c.count(busy, now); n != min(i+1, 255) && i < room/3 {
			t.Fatalf("greeting %d is counted as %d", i+1, n)
		}
		c.count(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 16), 1}), uint16(i)), now)
	}
	if held := c.greetings.EntryCount(); held > room {
		t.Errorf("%d connections are held", held)
	}
}

func TestFront(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	hour := func(f *front, at time.Duration, greetings int, clients ...string) (told int) {
		for i := range greetings {
			addr, n := f.saw(netip.MustParseAddr(clients[i%len(clients)]), start.Add(at))
			if n > 0 && !addr.IsPrivate() && !addr.IsLoopback() {
				t.Errorf("told of %s", addr)
			}
			told += n
		}
		return told
	}
	for name, tc := range map[string]struct {
		greetings int
		clients   []string
		want      int
	}{
		"a container's bridge": {50, []string{"172.17.0.1"}, 50},
		"a proxy of IPv6":      {10, []string{"fd00::1"}, 10},
		"a proxy on the host":  {10, []string{"127.0.0.1"}, 10},
		"few":                  {9, []string{"172.17.0.1"}, 0},
		"a public address":     {50, []string{"192.0.2.7"}, 0},
		"two private ones":     {50, []string{"172.17.0.1", "172.17.0.2"}, 0},
		"one from outside":     {50, []string{"172.17.0.1", "192.0.2.7"}, 0},
	} {
		var f front
		hour(&f, 0, tc.greetings, tc.clients...)
		if told := hour(&f, time.Hour, 1, "172.17.0.1"); told != tc.want {
			t.Errorf("%s: %d greetings told, want %d", name, told, tc.want)
		}
	}
	var f front
	lines := 0
	for h := range 49 { // two days
		if hour(&f, time.Duration(h)*time.Hour, 20, "172.17.0.1") > 0 {
			lines++
		}
	}
	if lines != 2 {
		t.Errorf("%d lines in two days", lines)
	}
}

func TestFrontIsLogged(t *testing.T) {
	c, out := mustConfigure(t, "helo_fqdn")
	c.front = front{addr: netip.MustParseAddr("172.17.0.1"), greetings: 12,
		since: time.Now().Add(-time.Hour)}
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
