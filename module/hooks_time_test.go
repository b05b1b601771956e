//go:build go1.25

package module

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/foxcpp/maddy/framework/module"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
)

// gauge measures how many are inside at the same time.
type gauge struct{ now, most, all atomic.Int64 }

func (g *gauge) enter() (leave func()) {
	g.all.Add(1)
	n := g.now.Add(1)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
		continue
	}
	return func() { g.now.Add(-1) }
}

// However many clients get to RCPT TO while no DNS server answers, the questions under way have a
// bound. 300 questions share 90 places, and each keeps its place until the time-out.
func TestQuestionsUnderWay(t *testing.T) {
	for _, conf := range []string{"helo_fqdn strict", "helo_fqdn strict {\nenforce_at ehlo\n}"} {
		synctest.Test(t, func(t *testing.T) {
			c, _ := mustConfigure(t, conf)
			var under gauge
			c.judge.Gatherer.Exchange = func(ctx context.Context, _ *dns.Msg) (*dns.Msg, error) {
				defer under.enter()()
				<-ctx.Done()
				return nil, ctx.Err()
			}
			c.judge.Gatherer.MaxQuestions = 90
			begun := time.Now()
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Add(1)
				go func() {
					defer wg.Done()
					from := conn(fmt.Sprintf("mail%d.example.net", i))
					from.RemoteAddr = &net.TCPAddr{IP: net.IPv4(198, 51, 100, byte(i)), Port: 4000}
					_ = c.CheckConnection(t.Context(), from)
					s, _ := c.CheckStateForMsg(t.Context(), &module.MsgMetadata{Conn: from})
					if res := s.CheckRcpt(t.Context(), "user@example.org"); res.Reject {
						t.Errorf("refused without an answer: %v", res.Reason)
					}
				}()
			}
			wg.Wait()
			if n := under.most.Load(); n != 90 {
				t.Errorf("%s: %d questions under way", conf, n)
			}
			if took := time.Since(begun); took > 5*dnsfacts.DefaultTimeout {
				t.Errorf("%s: the verdicts took %s", conf, took)
			}
		})
	}
}

// greedy answers with as much to ask as RFC 7208 allows, and with many PTR names.
func greedy(m *dns.Msg) *dns.Msg {
	resp := new(dns.Msg)
	resp.SetReply(m)
	name := m.Question[0].Name
	add := func(format string, args ...any) {
		r, err := dns.NewRR(name + " 60 IN " + fmt.Sprintf(format, args...))
		if err != nil {
			panic(err)
		}
		resp.Answer = append(resp.Answer, r)
	}
	switch m.Question[0].Qtype {
	case dns.TypeA:
		add("A 198.51.100.1")
	case dns.TypeAAAA:
		add("AAAA 2001:db8::99")
	case dns.TypeTXT:
		var mechanisms strings.Builder
		for i := range 10 {
			fmt.Fprintf(&mechanisms, " mx:m%d.example.net", i)
		}
		add(`TXT "v=spf1%s -all"`, mechanisms.String())
	case dns.TypeMX:
		for i := range 10 {
			add("MX 1 x%d.%s", i, name)
		}
	case dns.TypePTR:
		for i := range 20 {
			add("PTR p%d.example.net.", i)
		}
	}
	return resp
}

// The most that one greeting costs in questions, as docs/security.md says.
func TestQuestionsOfTheWorstGreeting(t *testing.T) {
	for client, most := range map[string]int64{"192.0.2.7": 60, "2001:db8::7": 60} {
		synctest.Test(t, func(t *testing.T) {
			var under gauge
			c, _ := mustConfigure(t, "helo_fqdn strict")
			c.judge.Gatherer.Cache = dnsfacts.NewCache(0)
			c.judge.Gatherer.Exchange = func(_ context.Context, m *dns.Msg) (*dns.Msg, error) {
				defer under.enter()()
				return greedy(m), nil
			}
			f := factsOf(c, "mail.example.net", netip.MustParseAddr(client), netip.Addr{})
			c.judge.Gatherer.Fill(t.Context(), &f, c.judge.Policy.Needs(&f)&^checkhelo.NeedMemory)
			synctest.Wait()
			if n := under.all.Load(); n != most || f.SPF.State != checkhelo.Failed {
				t.Errorf("%s: %d questions, want %d; SPF %v", client, n, most, f.SPF)
			}
		})
	}
}
