package flood

import (
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func TestCount(t *testing.T) {
	c := Count[string]{For: time.Minute}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for i, tc := range []struct {
		after      time.Duration
		n, further int
	}{{0, 1, 0}, {time.Second, 2, 0}, {59 * time.Second, 3, 0}, {time.Minute, 1, 2},
		{61 * time.Second, 2, 0}, {-time.Hour, 1, 1}} {
		if n, further := c.Add("deny_names", now.Add(tc.after)); n != tc.n || further != tc.further {
			t.Errorf("step %d: %d, %d further", i, n, further)
		}
	}
	for i := range 3 * maxSources {
		c.Add(strconv.Itoa(i), now)
	}
	if len(c.sources) > maxSources {
		t.Errorf("%d sources are counted", len(c.sources))
	}
}

// A connection that greets on begins anew ten minutes after its first greeting, since another
// connection may have its port by then.
func TestCountEnds(t *testing.T) {
	c, now := Count[netip.AddrPort]{For: 10 * time.Minute}, time.Now()
	busy := netip.MustParseAddrPort("192.0.2.7:4000")
	for i := range 10 {
		if n, _ := c.Add(busy, now.Add(time.Duration(i)*time.Minute)); n != i+1 {
			t.Errorf("greeting %d is counted as %d", i+1, n)
		}
	}
	if n, _ := c.Add(busy, now.Add(c.For)); n != 1 {
		t.Errorf("after %v a greeting is counted as %d", c.For, n)
	}
}

// A flood of connections does not make the counts grow, and one that fits does not reset a
// connection that greets on.
func TestCountInFlood(t *testing.T) {
	c, now := Count[netip.AddrPort]{For: 10 * time.Minute}, time.Now()
	busy := netip.MustParseAddrPort("192.0.2.7:4000")
	for i := range 3 * maxSources {
		if n, _ := c.Add(busy, now); n != i+1 && i < maxSources-1 {
			t.Fatalf("greeting %d is counted as %d", i+1, n)
		}
		c.Add(netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 16), 1}), uint16(i)), now)
		if len(c.sources) > maxSources {
			t.Fatalf("%d connections are counted", len(c.sources))
		}
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
