package dnsfacts_test

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/heloname"
)

// UDP loses packets. The loss of each first question costs half a second a
// step, not a share of the whole time-out.
func TestLostQuestions(t *testing.T) {
	server := dnstest.Serve(t, dnstest.HeloZone)
	var mu sync.Mutex
	seen := make(map[dns.Question]bool)
	server.SetHook(func(_ dns.ResponseWriter, q *dns.Msg) bool {
		mu.Lock()
		defer mu.Unlock()
		first := !seen[q.Question[0]]
		seen[q.Question[0]] = true
		return first
	})
	g := &dnsfacts.Gatherer{
		Exchange: dnsfacts.NewClient([]string{server.Addr}).Exchange, Timeout: 20 * time.Second,
	}
	f := &checkhelo.Facts{
		Helo: heloname.Parse("mta01.yourcompany.com"), Client: netip.MustParseAddr("127.0.2.1"),
	}
	begun := time.Now()
	g.Fill(t.Context(), f, checkhelo.NeedForward|checkhelo.NeedPTR)
	if f.Forward.State != checkhelo.Found || f.Confirmed.State != checkhelo.Found {
		t.Errorf("forward %d, confirmed %d", f.Forward.State, f.Confirmed.State)
	}
	if took := time.Since(begun); took >= g.Timeout {
		t.Errorf("took %s", took)
	}
}
