package module

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	maddydns "github.com/foxcpp/maddy/framework/dns"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

func TestUnreadableDNSServer(t *testing.T) {
	for conf, want := range map[string]string{
		"dns_servers ns.example.org":          "accepted: ADDRESS or ADDRESS:PORT",
		"dns_timeout 1ms":                     `dns_timeout: found "1ms"; accepted: 100ms to 1m0s`,
		"cache_size 0":                        `cache_size: found "0"; accepted: a number from 1 to 10000000`,
		"exempt_dnswl \"\"":                   "exempt_dnswl: zone 1 is no domain name",
		"blocklists":                          "found no zone",
		"blocklists a..b":                     "zone 1 is no domain name; accepted: the name of a zone",
		"blocklists a.example {\nresponse\n}": "found no answer",
		"blocklists a.example {\nresponse 10.0.0.1 {\naction reject\n}\n}":      "accepted: answers in 127.0.0.0/8",
		"blocklists a.example {\nresponse 127.0.0.2 {\naction reject 550\n}\n}": "found a reply",
		"blocklists a.example {\nresponse 0.0.0.0/0 {\naction quarantine\n}\n}": "found \"0.0.0.0/0\"",
		"dns_share 2":                           "accepted: JOBS QUESTIONS, each from 1 to 1024",
		"dns_share 0 64":                        "dns_share: found \"0 64\"",
		"dns_share 2 1025":                      "each from 1 to 1024",
		"blocklists a.example {\naction off\n}": "leave the list out",
		"dns_error_action retry":                "maddy.conf:2: invalid argument, valid values are: [",
	} {
		if _, _, err := configured(t, "helo_fqdn {\n"+conf+"\n}"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", conf, err, want)
		}
	}
}

// A block list has an action for each of its answers, and no error shows the key of its zone.
func TestBlocklistResponses(t *testing.T) {
	c, _ := mustConfigure(t, `helo_fqdn {
		dns_share 3 70
		blocklists a.example b.example {
			action score 2
			response 127.0.1.4 127.0.1.128/25 {
				action reject
			}
			response 127.0.1.2
		}
	}`)
	g := c.judge.Gatherer
	if g.ShareJobs != 3 || g.ShareQuestions != 70 || len(g.Blocklists) != 2 {
		t.Fatalf("shares %d %d, %d lists", g.ShareJobs, g.ShareQuestions, len(g.Blocklists))
	}
	l := g.Blocklists[1]
	if l.Zone != "b.example" || l.Action != checkhelo.Score || l.Score != 2 || len(l.Responses) != 2 ||
		l.Responses[0].Action != checkhelo.Reject || len(l.Responses[0].Codes) != 2 ||
		l.Responses[1].Action != checkhelo.Off {
		t.Errorf("list %+v", l)
	}
	const key = "abcdefghijklmnopqrstuvwx"
	for _, directive := range []string{"blocklists ", "exempt_dnswl "} {
		_, _, err := configured(t, "helo_fqdn {\n"+directive+key+"..example.net\n}")
		if err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("%s: error %v", directive, err)
		}
	}
}

// Start tests the lists, Stop ends it, and a dead resolver is told once.
func TestListsAreTestedFromStartToStop(t *testing.T) {
	c, _ := mustConfigure(t, "helo_fqdn {\nmemory off\nblocklists all.example\n}")
	asked := make(chan struct{}, 8)
	c.judge.Gatherer.Exchange = func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
		a, err := dns.NewRR(q.Question[0].Name + " 60 IN A 127.0.0.2")
		if err != nil {
			return nil, err
		}
		resp := new(dns.Msg).SetReply(q)
		resp.Answer = []dns.RR{a}
		asked <- struct{}{}
		return resp, nil
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	<-asked
	for begun := time.Now(); shown(t)["list_failed list=all.example module="+modName] != 1; {
		if time.Since(begun) > time.Minute {
			t.Fatal("list_failed is not 1 for a list that lists everything")
		}
		time.Sleep(time.Millisecond)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.tested:
	default:
		t.Error("the test of the lists goes on after Stop")
	}
}

func TestDeadResolverIsLogged(t *testing.T) {
	c, out := mustConfigure(t, "helo_fqdn strict")
	f := factsOf(c, "mail.example.net", netip.MustParseAddr("192.0.2.7"), netip.Addr{})
	c.judge.Gatherer.Fill(t.Context(), &f, c.judge.Policy.Needs(&f)&^checkhelo.NeedMemory)
	if n := strings.Count(out.String(), "no DNS server answers"); n != 1 {
		t.Errorf("%d lines in %q", n, out)
	}
	if shown(t)["dns_dead_total module="+modName] == 0 {
		t.Error("no question is counted as failed")
	}
}

// Without /etc/resolv.conf the server does not start, and the tool judges without DNS.
func TestNoResolver(t *testing.T) {
	kept := systemResolver
	systemResolver = func() (*maddydns.ExtResolver, error) { return nil, errors.New("no such file") }
	defer func() { systemResolver = kept }()
	c, _ := mustConfigure(t, "helo_fqdn rfc")
	if err := c.Start(); err == nil || !strings.Contains(err.Error(), "accepted: dns_servers ADDRESS") {
		t.Errorf("Start: %v", err)
	}
	s := c.greet(conn("friend"), true)
	if o := s.Rcpt(t.Context(), "", "", "user@example.org"); o.Rule() != "not_fqdn" {
		t.Errorf("decided by %s", o.Rule())
	}
	s = c.greet(conn("mail.example.net"), true)
	if o := s.Rcpt(t.Context(), "", "", "user@example.org"); o.Refused() {
		t.Errorf("refused by %s", o.Rule())
	}
}
