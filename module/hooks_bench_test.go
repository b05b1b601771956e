package module

import (
	"context"
	"net"
	"testing"

	"github.com/emersion/go-message/textproto"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/miekg/dns"
	"golang.org/x/net/publicsuffix"

	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// judged runs the check over one session of one message to one recipient.
func judged(tb testing.TB, c *Check, conn *module.ConnState) {
	tb.Helper()
	ctx := context.Background()
	if err := c.CheckConnection(ctx, conn); err != nil {
		tb.Fatal(err)
	}
	s, err := c.CheckStateForMsg(ctx, &module.MsgMetadata{ID: "1", Conn: conn})
	if err != nil {
		tb.Fatal(err)
	}
	s.CheckConnection(ctx)
	s.CheckSender(ctx, "sender@yourcompany.com")
	if res := s.CheckRcpt(ctx, "user@receiver-bench.org"); res.Reject {
		tb.Fatal(res.Reason)
	}
	if res := s.CheckBody(ctx, textproto.Header{}, nil); res.Reject || res.Quarantine {
		tb.Fatal(res.Reason)
	}
	if err := s.Close(); err != nil {
		tb.Fatal(err)
	}
}

// warm is a check whose cache has all that a good client needs.
func warm(tb testing.TB, policy string) (*Check, func() *module.ConnState) {
	tb.Helper()
	c, _, err := configured(tb, "helo_fqdn "+policy+" {\nexempt_networks 10.0.0.0/8\n}")
	if err != nil {
		tb.Fatal(err)
	}
	server := dnstest.Serve(tb, dnstest.HeloZone)
	c.judge.Gatherer.Exchange = dnsfacts.NewClient([]string{server.Addr}).Exchange
	local := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 25), Port: 25}
	port := 0
	conn := func() *module.ConnState { // a new one each time
		port++
		client := &net.TCPAddr{IP: net.IPv4(127, 0, 2, 1), Port: 1024 + port%(1<<16-1024)}
		return &module.ConnState{
			Proto: "ESMTP", Hostname: "mta01.yourcompany.com", RemoteAddr: client, LocalAddr: local,
		}
	}
	judged(tb, c, conn())
	c.judge.Gatherer.Exchange = func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
		tb.Errorf("a warm session asked for %s", q.Question[0].Name)
		return nil, net.ErrClosed
	}
	return c, conn
}

// A session costs sixteen allocations: the session, its place in Maddy's connection
// data, the state of the message, the domain of the recipient, what
// Authentication-Results gets, and the rest for answers out of the cache.
func TestAllocationsOfASession(t *testing.T) {
	// A lookup of a public suffix allocates from x/net 0.55 on, which custom builds have.
	most := 16 + 6*testing.AllocsPerRun(100, func() { publicsuffix.PublicSuffix("mail.example.org") })
	for _, policy := range []string{"lenient", "rfc", "strict"} {
		c, conn := warm(t, policy)
		own := testing.AllocsPerRun(200, func() { conn() })
		if n := testing.AllocsPerRun(200, func() { judged(t, c, conn()) }) - own; n > most {
			t.Errorf("%s: %.0f allocations", policy, n)
		} else {
			t.Logf("%s: %.0f allocations", policy, n)
		}
	}
}

func BenchmarkSessionWarm(b *testing.B) {
	for _, policy := range []string{"rfc", "strict"} {
		b.Run(policy, func(b *testing.B) {
			c, conn := warm(b, policy)
			b.ReportAllocs()
			for b.Loop() {
				judged(b, c, conn())
			}
		})
	}
}
