//go:build go1.25

package flood

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// A connection that greets on begins anew ten minutes after its first greeting, since another
// connection may have its port by then.
func TestGreetingsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGreetings()
		busy := netip.MustParseAddrPort("192.0.2.7:4000")
		for i := range 10 {
			if n := g.Add(busy, time.Now()); n != i+1 {
				t.Errorf("greeting %d is counted as %d", i+1, n)
			}
			time.Sleep(countedFor / 10)
		}
		if n := g.Add(busy, time.Now()); n != 1 {
			t.Errorf("after %v a greeting is counted as %d", countedFor, n)
		}
	})
}
