package flood

import (
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func TestQuiet(t *testing.T) {
	var q Quiet
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for i, tc := range []struct {
		after time.Duration
		want  bool
		held  int
	}{{0, true, 0}, {time.Second, false, 0}, {59 * time.Second, false, 0}, {time.Minute, true, 2},
		{61 * time.Second, false, 0}, {-time.Hour, true, 1}} {
		if got, held := q.Allows("deny_names", now.Add(tc.after)); got != tc.want || held != tc.held {
			t.Errorf("step %d: %v, %d held back", i, got, held)
		}
	}
	for i := range 3 * maxSources {
		q.Allows(strconv.Itoa(i), now)
	}
	if len(q.last) > maxSources {
		t.Errorf("%d sources are kept", len(q.last))
	}
}

// A flood of connections does not make the counts grow. A flood of a third of the room does not
// reset a connection that greets on.
func TestGreetings(t *testing.T) {
	g := NewGreetings()
	now := time.Now()
	busy := netip.MustParseAddrPort("192.0.2.7:4000")
	const room = countedOctets / 31 // octets of an IPv4 connection
	for i := range 3 * room {
		if n := g.Add(busy, now); n != min(i+1, 255) && i < room/3 {
			t.Fatalf("greeting %d is counted as %d", i+1, n)
		}
		g.Add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 16), 1}), uint16(i)), now)
	}
	if held := g.cache().EntryCount(); held > room {
		t.Errorf("%d connections are held", held)
	}
}

func TestFront(t *testing.T) {
	start := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	hour := func(f *Front, at time.Duration, greetings int, clients ...string) (told int) {
		for i := range greetings {
			addr, n := f.Saw(netip.MustParseAddr(clients[i%len(clients)]), start.Add(at))
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
		var f Front
		hour(&f, 0, tc.greetings, tc.clients...)
		if told := hour(&f, time.Hour, 1, "172.17.0.1"); told != tc.want {
			t.Errorf("%s: %d greetings told, want %d", name, told, tc.want)
		}
	}
	var f Front
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
