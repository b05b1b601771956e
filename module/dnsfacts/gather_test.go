package dnsfacts

import (
	"context"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

const (
	asked0 = checkhelo.NotAsked
	found  = checkhelo.Found
	absent = checkhelo.NotFound
	failed = checkhelo.Failed
)

func TestFillStates(t *testing.T) {
	noLeak(t)
	g, _ := newGatherer(t, testZone+"v4.example.org A 192.0.2.1\nv4.example.org AAAA 2001:db8::1\n"+
		"broken.example.net SERVFAIL\n")
	type want struct{ forward, mx, ptr, confirmed, tld, spf, listed checkhelo.State }
	tests := map[string]struct {
		helo, client string
		want         want
		spf          string
	}{
		"good":         {"mail.example.org", goodClient, want{found, found, found, found, found, found, absent}, "pass"},
		"good v6":      {"mail.example.org", "2001:db8::25", want{found, found, found, found, found, found, absent}, "pass"},
		"upper case":   {"MAIL.example.ORG.", goodClient, want{found, found, found, found, found, found, absent}, "pass"},
		"forged":       {"mail.example.org", "192.0.2.77", want{found, found, found, absent, found, found, absent}, "fail"},
		"no ptr":       {"mail.example.org", "192.0.2.1", want{found, found, absent, absent, found, found, absent}, "fail"},
		"bad ptr name": {"mail.example.org", "192.0.2.79", want{found, found, absent, absent, found, found, absent}, "fail"},
		"two ptr":      {"mail.example.org", "192.0.2.78", want{found, found, found, found, found, found, absent}, "fail"},
		"nothing":      {"gone.example.org", goodClient, want{absent, absent, found, found, found, found, absent}, "none"},
		"no tld":       {"host.invalidtld", goodClient, want{absent, absent, found, found, absent, found, absent}, "none"},
		"null mx":      {"nullmx.example.net", goodClient, want{absent, found, found, found, found, found, absent}, "none"},
		"servfail":     {"a.broken.example.net", goodClient, want{failed, failed, found, found, found, failed, absent}, ""},
		"listed":       {"listed.example.net", goodClient, want{found, absent, found, found, found, found, found}, "none"},
		"list error":   {"error.example.net", goodClient, want{absent, absent, found, found, found, found, failed}, "none"},
		"list wild":    {"wild.example.net", goodClient, want{absent, absent, found, found, found, found, absent}, "none"},
		"single label": {"localhost", goodClient, want{absent, absent, found, found, absent, found, asked0}, "none"},
		"numeric":      {"host.example.123", goodClient, want{asked0, asked0, found, found, asked0, found, asked0}, "none"},
		"bare ip":      {goodClient, goodClient, want{asked0, asked0, found, found, asked0, found, asked0}, "none"},
		"literal":      {"[192.0.2.25]", goodClient, want{asked0, asked0, found, found, asked0, found, asked0}, "none"},
		"malformed":    {"a..b", goodClient, want{asked0, asked0, found, found, asked0, found, asked0}, "none"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := fill(t, g, tt.helo, tt.client)
			got := want{f.Forward.State, f.MX.State, f.PTR.State, f.Confirmed.State, f.TLD.State,
				f.SPF.State, f.Listed.State}
			if got != tt.want {
				t.Errorf("states %v, want %v", got, tt.want)
			}
			if f.SPF.Value != tt.spf {
				t.Errorf("SPF %q, want %q", f.SPF.Value, tt.spf)
			}
			if again := fill(t, g, tt.helo, tt.client); !reflect.DeepEqual(stateList(&again), stateList(&f)) {
				t.Errorf("warm: %v, cold: %v", stateList(&again), stateList(&f))
			}
		})
	}
}

func TestFillValues(t *testing.T) {
	g, _ := newGatherer(t, testZone)
	f := fill(t, g, "mail.example.org", "192.0.2.78")
	if want := []string{"mx1.example.org", "mx2.example.org"}; !slices.Equal(f.MX.Value, want) {
		t.Errorf("MX %v, want %v", f.MX.Value, want)
	}
	if want := []string{"mail.example.org", "pool-78.example.net"}; !slices.Equal(f.PTR.Value, want) {
		t.Errorf("PTR %v, want %v", f.PTR.Value, want)
	}
	if want := []string{"pool-78.example.net"}; !slices.Equal(f.Confirmed.Value, want) {
		t.Errorf("confirmed %v, want %v", f.Confirmed.Value, want)
	}
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.25"), netip.MustParseAddr("2001:db8::25")}
	if !slices.Equal(f.Forward.Value, addrs) {
		t.Errorf("forward %v, want %v", f.Forward.Value, addrs)
	}
	if f = fill(t, g, "nullmx.example.net", goodClient); len(f.MX.Value) != 0 {
		t.Errorf("a null MX has hosts %v", f.MX.Value)
	}
}

// A client's own address is enough; without it, one family that fails hides it.
func TestFillOneFamilyFails(t *testing.T) {
	tests := map[string]struct {
		client string
		broken uint16
		want   checkhelo.State
	}{
		"client found, other family fails": {goodClient, dns.TypeAAAA, found},
		"client not found, other fails":    {"192.0.2.77", dns.TypeAAAA, failed},
		"client's family fails":            {goodClient, dns.TypeA, failed},
		"v6 client, A fails":               {"2001:db8::25", dns.TypeA, found},
		"v6 client, AAAA fails":            {"2001:db8::25", dns.TypeAAAA, failed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g, s := newGatherer(t, testZone)
			s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
				if q.Question[0].Qtype != tt.broken {
					return false
				}
				_ = w.WriteMsg(s.Answer(q, "SERVFAIL", "udp"))
				return true
			})
			for _, pass := range []string{"cold", "warm"} {
				f := factsOf("mail.example.org", tt.client)
				g.Fill(t.Context(), &f, checkhelo.NeedForward)
				if f.Forward.State != tt.want {
					t.Errorf("%s: %v, want %v", pass, f.Forward.State, tt.want)
				}
			}
		})
	}
}

// Two PTR names, one confirmed and one that fails: the proven one is told,
// but the answer is not complete.
func TestConfirmedPartly(t *testing.T) {
	g, _ := newGatherer(t, testZone+"ptr 192.0.2.80 ok.example.org\nok.example.org A 192.0.2.80\n"+
		"ptr 192.0.2.80 bad.example.com\nbad.example.com SERVFAIL\n")
	f := fill(t, g, "mail.example.org", "192.0.2.80")
	if f.Confirmed.State != failed || !slices.Equal(f.Confirmed.Value, []string{"ok.example.org"}) {
		t.Errorf("confirmed %v %v, want Failed with the proven name", f.Confirmed.State, f.Confirmed.Value)
	}
}

func TestFillAsksOnlyWhatIsMissing(t *testing.T) {
	g, s := newGatherer(t, testZone)
	fill(t, g, "mail.example.org", goodClient)
	cold := s.Count()
	fill(t, g, "mail.example.org", goodClient)
	if n := s.Count() - cold; n != 0 || cold == 0 {
		t.Errorf("%d questions warm, %d cold: %v", n, cold, s.Queries())
	}

	s.Reset()
	f := factsOf("other.example.com", "192.0.2.77")
	f.PTR = known([]string{"mail.example.org"})
	g.Fill(t.Context(), &f, checkhelo.NeedPTR)
	if n := s.Count(); n != 0 || f.Confirmed.State != absent {
		t.Errorf("a PTR name that is known and cached: %d questions, %v", n, f.Confirmed.State)
	}
	g.Fill(t.Context(), &f, checkhelo.NeedMX)
	if want := []string{"other.example.com. MX"}; !slices.Equal(s.Queries(), want) {
		t.Errorf("asked %v, want %v", s.Queries(), want)
	}
	s.Reset()
	lit := factsOf("[192.0.2.1]", goodClient)
	lit.PTR, lit.Confirmed = none[[]string](), none[[]string]()
	fillAll(g, &lit)
	if s.Count() != 0 {
		t.Errorf("a literal is asked for: %v", s.Queries())
	}
}

// With a dead server all ends in time and nothing counts against the client.
func TestFillSilence(t *testing.T) {
	for _, mode := range []string{"SERVFAIL", "REFUSED", "DROP"} {
		t.Run(mode, func(t *testing.T) {
			noLeak(t)
			g, s := newGatherer(t, testZone)
			g.Timeout = 200 * time.Millisecond
			s.SetFail(mode)
			begun := time.Now()
			f := fill(t, g, "mail.example.org", goodClient)
			if took := time.Since(begun); took > 2*g.Timeout+30*time.Second {
				t.Errorf("took %v", took)
			}
			for name, state := range stateList(&f) {
				if state != failed {
					t.Errorf("%s is %v, want Failed", name, state)
				}
			}
		})
	}
}

func TestFillCancelled(t *testing.T) {
	noLeak(t)
	g, s := newGatherer(t, testZone)
	g.Timeout = time.Minute
	s.SetFail("DROP")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	f := factsOf("mail.example.org", goodClient)
	begun := time.Now()
	g.Fill(ctx, &f, checkhelo.NeedMX)
	g.Fill(ctx, &f, all)
	if took := time.Since(begun); took > g.Timeout/2 {
		t.Errorf("took %v after the cancellation", took)
	}
	for name, state := range stateList(&f) {
		if state != failed {
			t.Errorf("%s is %v, want Failed", name, state)
		}
	}
	s.SetFail("")
	if f = fill(t, g, "mail.example.org", goodClient); f.Forward.State != found {
		t.Errorf("what was cancelled is kept as a failure: %v", f.Forward.Err)
	}
}

func TestFillPanic(t *testing.T) {
	noLeak(t)
	tests := map[string]func(g *Gatherer){
		"exchange": func(g *Gatherer) {
			g.Exchange = func(context.Context, *dns.Msg) (*dns.Msg, error) { panic("exchange") }
		},
		"observe": func(g *Gatherer) { g.Observe = func(string, string, time.Duration) { panic("observe") } },
		"cache":   func(g *Gatherer) { g.Cache.clock = func() time.Duration { panic("clock") } },
		"nil":     func(g *Gatherer) { g.Exchange = nil },
		"nothing": func(g *Gatherer) {
			g.Exchange = func(context.Context, *dns.Msg) (*dns.Msg, error) { return nil, nil }
		},
	}
	for name, breakIt := range tests {
		t.Run(name, func(t *testing.T) {
			g, _ := newGatherer(t, testZone)
			breakIt(g)
			f := factsOf("mail.example.org", goodClient)
			for _, need := range []checkhelo.Need{checkhelo.NeedMX, all} {
				if p := g.Start(&f, need, netip.AddrPort{}); p != nil {
					p.Wait(t.Context(), &f, need)
				}
			}
			for fact, state := range stateList(&f) {
				if state != failed {
					t.Errorf("%s is %v, want Failed", fact, state)
				}
			}
			if _, st := g.AllowListed(t.Context(), f.Client); st != failed {
				t.Errorf("allow list %v, want Failed", st)
			}
		})
	}
}

func TestObserve(t *testing.T) {
	g, _ := newGatherer(t, testZone)
	seen := make(chan string, 100)
	g.Observe = func(qtype, result string, d time.Duration) {
		if d <= 0 {
			t.Errorf("%s took %v", qtype, d)
		}
		seen <- qtype + " " + result
	}
	f := factsOf("host.invalidtld", goodClient)
	g.Fill(t.Context(), &f, checkhelo.NeedTLD|checkhelo.NeedPTR)
	close(seen)
	var got []string
	for s := range seen {
		got = append(got, s)
	}
	slices.Sort(got)
	if want := "A found,NS nxdomain,PTR found"; strings.Join(got, ",") != want {
		t.Errorf("observed %v, want %s", got, want)
	}
}
