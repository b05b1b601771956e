package module

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/foxcpp/maddy/framework/module"
	"github.com/miekg/dns"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// questionsZone is one house with two servers, each well set up.
const questionsZone = `
mta01.example.net A 127.0.2.1
ptr 127.0.2.1 mta01.example.net
mta02.example.net A 127.0.2.2
ptr 127.0.2.2 mta02.example.net
`

// What a session of a good client asks the DNS: docs/performance.md calculates with these numbers.
func TestQuestionsOfASession(t *testing.T) {
	for policy, want := range map[string]struct{ cold, second, warm string }{
		"lenient": {cold: "A PTR TXT", second: "A PTR TXT"},
		"rfc":     {cold: "A PTR TXT", second: "A PTR TXT"},
		"strict":  {cold: "A PTR TXT", second: "A PTR TXT"},
	} {
		t.Run(policy, func(t *testing.T) {
			c, _, err := configured(t, "helo_fqdn "+policy+" {\nexempt_networks 10.0.0.0/8\n}")
			if err != nil {
				t.Fatal(err)
			}
			server := dnstest.Serve(t, questionsZone)
			var mu sync.Mutex
			var asked []string
			c.judge.Gatherer.Exchange = func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, dns.TypeToString[q.Question[0].Qtype])
				return server.Answer(q, "", "tcp"), nil // no packet that is late or lost
			}
			greeting := func(name string, last byte) *module.ConnState {
				return &module.ConnState{
					Proto: "ESMTP", Hostname: name,
					RemoteAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, last), Port: 4000},
					LocalAddr:  &net.TCPAddr{IP: net.IPv4(127, 0, 0, 25), Port: 25},
				}
			}
			for _, step := range []struct {
				name, want string
				conn       *module.ConnState
			}{
				{"cold", want.cold, greeting("mta01.example.net", 1)},
				{"warm", want.warm, greeting("mta01.example.net", 1)},
				{"second server", want.second, greeting("mta02.example.net", 2)},
			} {
				judged(t, c, step.conn)
				mu.Lock()
				slices.Sort(asked)
				got := strings.Join(asked, " ")
				asked = nil
				mu.Unlock()
				t.Logf("%s: %q", step.name, got)
				if got != step.want {
					t.Errorf("%s: asked %q, want %q", step.name, got, step.want)
				}
			}
		})
	}
}

// counted is an empty table that counts how often it is asked.
type counted struct{ asked int }

func (c *counted) Lookup(context.Context, string) (string, bool, error) {
	c.asked++
	return "", false, nil
}

// What a session asks tables such as table.sql_query: deny_names for each new greeting, the
// exemptions only when something speaks against the client. docs/performance.md calculates with it.
func TestLookupsOfASession(t *testing.T) {
	c, conn := warm(t, "strict")
	deny, names, clients := &counted{}, &counted{}, &counted{}
	c.judge.DenyNames, c.judge.Tables.Names, c.judge.Tables.Clients = deny, names, clients
	judged(t, c, conn())
	if deny.asked != 5 || names.asked != 0 || clients.asked != 0 {
		t.Errorf("a good client: deny_names %d, exempt_names %d, exempt_clients %d times",
			deny.asked, names.asked, clients.asked)
	}
	deny.asked = 0
	bad := conn()
	bad.Hostname = "mta01.example.local"
	c.judge.Gatherer.Exchange = nil
	s, err := c.CheckStateForMsg(t.Context(), &module.MsgMetadata{ID: "1", Conn: bad})
	if err != nil {
		t.Fatal(err)
	}
	if res := s.CheckRcpt(t.Context(), "user@receiver-bench.org"); !res.Reject {
		t.Error("a private name was not refused")
	}
	if deny.asked != 5 || names.asked != 6 || clients.asked != 1 {
		t.Errorf("a refused client: deny_names %d, exempt_names %d, exempt_clients %d times",
			deny.asked, names.asked, clients.asked)
	}
}
