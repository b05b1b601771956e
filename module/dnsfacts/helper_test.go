package dnsfacts

import (
	"context"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
	"maddy.example/checkhelo/module/heloname"
)

const all = checkhelo.NeedForward | checkhelo.NeedMX | checkhelo.NeedPTR | checkhelo.NeedTLD |
	checkhelo.NeedSPF | checkhelo.NeedLists

// testZone has one name for each thing to learn.
const testZone = `
mail.example.org A 192.0.2.25
mail.example.org AAAA 2001:db8::25
mail.example.org MX 20 mx2.example.org
mail.example.org MX 10 mx1.example.org
mail.example.org TXT v=spf1 a -all
mx1.example.org A 192.0.2.26
ptr 192.0.2.25 mail.example.org
ptr 2001:db8::25 mail.example.org
ptr 192.0.2.77 other.example.org
ptr 192.0.2.78 mail.example.org
ptr 192.0.2.78 pool-78.example.net
pool-78.example.net A 192.0.2.78
ptr 192.0.2.79 -bad-
listed.example.net A 192.0.2.25
listed.example.net.dbl.example A 127.0.1.2
listed.example.net.dbl.example TXT see https://dbl.example/q
error.example.net.dbl.example A 127.255.255.254
wild.example.net.dbl.example A 192.0.2.1
nullmx.example.net MX 0 .
25.2.0.192.wl.example A 127.0.10.1
77.2.0.192.wl.example A 127.0.0.255
`

const goodClient = "192.0.2.25"

func newGatherer(tb testing.TB, zone string) (*Gatherer, *dnstest.Server) {
	tb.Helper()
	s := dnstest.Serve(tb, zone)
	return &Gatherer{
		Exchange:   NewClient([]string{s.Addr}).Exchange,
		Timeout:    2 * time.Second,
		Cache:      NewCache(1),
		Blocklists: []Blocklist{{Zone: "dbl.example", Action: checkhelo.Score, Score: 7}},
		Allowlists: []string{"wl.example"},
	}, s
}

func factsOf(helo, client string) checkhelo.Facts {
	return checkhelo.Facts{Helo: heloname.Parse(helo), Client: netip.MustParseAddr(client)}
}

func fill(tb testing.TB, g *Gatherer, helo, client string) checkhelo.Facts {
	tb.Helper()
	f := factsOf(helo, client)
	fillAll(g, &f)
	return f
}

// fillAll asks for MX first: it is not asked about a name that has an address.
func fillAll(g *Gatherer, f *checkhelo.Facts) {
	g.Fill(context.Background(), f, checkhelo.NeedMX)
	g.Fill(context.Background(), f, all)
}

// stateList has the state of every fact under its name.
func stateList(f *checkhelo.Facts) map[string]checkhelo.State {
	return map[string]checkhelo.State{
		"forward": f.Forward.State, "mx": f.MX.State, "ptr": f.PTR.State,
		"confirmed": f.Confirmed.State, "tld": f.TLD.State, "spf": f.SPF.State,
		"listed": f.Listed.State,
	}
}

// missing returns what of need f lacks and can have.
func missing(f *checkhelo.Facts, need checkhelo.Need) (left checkhelo.Need) {
	var g Gatherer // without a cache
	for bit := checkhelo.Need(1); bit <= need; bit <<= 1 {
		p, facts := g.pending(f), *f
		p.want = need & bit
		if p.learn(&facts); p.missed > 0 {
			left |= bit
		}
	}
	return left
}

// noLeak fails the test when goroutines are left at its end. It has to be
// called before the test starts anything.
func noLeak(tb testing.TB) {
	tb.Helper()
	before := runtime.NumGoroutine()
	tb.Cleanup(func() {
		var now int
		for range 100 {
			if now = runtime.NumGoroutine(); now <= before {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		buf := make([]byte, 1<<16)
		tb.Errorf("%d goroutines left, %d before:\n%s", now, before, buf[:runtime.Stack(buf, true)])
	})
}

// exchangeOf makes a function that answers from records without a network.
func exchangeOf(answer func(q dns.Question) []dns.RR) func(context.Context, *dns.Msg) (*dns.Msg, error) {
	return func(_ context.Context, m *dns.Msg) (*dns.Msg, error) {
		resp := new(dns.Msg)
		resp.SetReply(m)
		resp.Answer = answer(m.Question[0])
		return resp, nil
	}
}

func rr(tb testing.TB, text string) dns.RR {
	tb.Helper()
	r, err := dns.NewRR(text)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}
