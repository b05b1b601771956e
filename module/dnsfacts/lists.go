package dnsfacts

import (
	"cmp"
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// reasonOctets bounds what a log gets of a list's TXT record.
const reasonOctets = 200

// Blocklist is one domain block list, RFC 5782, section 2.2.
type Blocklist struct {
	Zone   string           // lower-case, without a final dot
	Action checkhelo.Action // of a hit; Off: what the rule says
	Score  int              // points, when Action is Score
	// Responses, if any, tells the answers of the list apart. An answer that is
	// in none of them is no hit; of several the strongest counts.
	Responses []Response
}

// Response is what one kind of answer of a Blocklist means.
type Response struct {
	Codes  []netip.Prefix   // answers, such as 127.0.1.2/32
	Action checkhelo.Action // Off: what the list says
	Score  int              // points, when Action is Score
}

var (
	listAnswers = netip.MustParsePrefix("127.0.0.0/8") // RFC 5782, section 2.1
	// listErrors say that the list does not answer us. Lists use the first by custom,
	// and RFC 5782, section 5 forbids an entry 127.0.0.1.
	listErrors = []netip.Prefix{
		netip.MustParsePrefix("127.255.255.0/24"), netip.MustParsePrefix("127.0.0.1/32"),
	}
	// dnswlBlocked is what dnswl.org answers to clients that ask too much.
	dnswlBlocked = netip.MustParseAddr("127.0.0.255")
)

// zoneKey is a customer's key: a first label of 20 letters and digits or more in a zone of
// three labels or more.
var zoneKey = regexp.MustCompile(`^[a-z0-9]{20,}(\.[^.]+\..)`)

// shownZone returns a zone with *** in the place of the customer's key.
func shownZone(zone string) string { return zoneKey.ReplaceAllString(zone, "***$1") }

// lists learns which block lists hold the HELO name. A list that fails
// takes nothing away from the hits of others, and is no hit itself.
func (p *Pending) lists(f *checkhelo.Facts) (listed checkhelo.Answer[[]checkhelo.Listing]) {
	name := f.Helo.ASCII
	if f.Helo.Kind != heloname.FQDN || heloname.NumericTLD(name) { // no list can know it
		return listed
	}
	names := slices.Compact([]string{name, cmp.Or(heloname.OrgDomain(name), name)})
	listed = none[[]checkhelo.Listing]()
	var hits []checkhelo.Listing
	for i := range p.g.Blocklists {
		z := &p.g.Blocklists[i]
		for _, name := range names {
			hit, err := p.listing(z, name)
			if err != nil {
				e := *err
				e.Name = strings.Replace(e.Name, z.Zone, shownZone(z.Zone), 1)
				listed.State, listed.Err = checkhelo.Failed, &e
			}
			if hit.Addr.IsValid() {
				hits = append(hits, hit)
				break // the reason of the longer name is the better one
			}
		}
	}
	if len(hits) > 0 {
		return known(hits)
	}
	return listed
}

// listing returns the strongest entry that a list has for a name; without Addr it has none.
func (p *Pending) listing(z *Blocklist, name string) (hit checkhelo.Listing, err *Error) {
	addrs, err := p.listed(name, z.Zone)
	responses := z.Responses
	if len(responses) == 0 {
		responses = []Response{{Codes: []netip.Prefix{listAnswers}}}
	}
	for _, addr := range addrs {
		for _, resp := range responses {
			if !inAny(addr, resp.Codes) {
				continue
			}
			l := checkhelo.Listing{
				Zone: shownZone(z.Zone), Addr: addr, Action: resp.Action, Score: resp.Score,
			}
			if l.Action == checkhelo.Off {
				l.Action, l.Score = z.Action, z.Score
			}
			stronger := cmp.Or(cmp.Compare(l.Action, hit.Action), cmp.Compare(l.Score, hit.Score)) > 0
			if stronger || !hit.Addr.IsValid() {
				hit = l
			}
		}
	}
	if hit.Addr.IsValid() {
		reason := p.get(key{name: name + "." + z.Zone, qtype: dns.TypeTXT})
		hit.Reason = heloname.Line(strings.Join(reason.texts, " "), reasonOctets)
	}
	return hit, err
}

// listed returns the addresses with which a zone lists a name or a reversed address. What lies
// outside of 127.0.0.0/8 comes from elsewhere (a wildcard, a captive portal) and does not count.
// A zone that failed its last test is not asked.
func (p *Pending) listed(name, zone string) (hits []netip.Addr, err *Error) {
	if _, out := p.g.out.Load(zone); out {
		return nil, nil
	}
	k := key{name: name + "." + zone, qtype: dns.TypeA}
	r := p.get(k)
	for _, addr := range r.addrs {
		switch {
		case inAny(addr, listErrors):
			return nil, wrap(fault(KindListError, addr.String()), k)
		case listAnswers.Contains(addr):
			hits = append(hits, addr)
		}
	}
	return hits, r.err
}

func inAny(addr netip.Addr, networks []netip.Prefix) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// AllowListed asks Allowlists for a client's address (RFC 5782, section
// 2.1) and returns the first zone that has it with Found. Failed means that a
// zone which did not answer might have it. It takes no longer than Timeout.
func (g *Gatherer) AllowListed(
	ctx context.Context, client netip.Addr,
) (zone string, state checkhelo.State) {
	if len(g.Allowlists) == 0 || !client.IsValid() {
		return "", checkhelo.NotFound
	}
	p := g.pending(&checkhelo.Facts{Client: client})
	// An address as lists of addresses have it.
	reversed := strings.TrimSuffix(key{addr: client}.question(), ".in-addr.arpa")
	reversed = strings.TrimSuffix(reversed, ".ip6.arpa")
	p.until(ctx, func() {
		zone, state = "", checkhelo.NotFound
		for _, z := range g.Allowlists {
			switch hits, err := p.listed(reversed, z); {
			case state == checkhelo.Found:
			case err != nil || slices.Contains(hits, dnswlBlocked):
				state = checkhelo.Failed
			case len(hits) > 0:
				zone, state = shownZone(z), checkhelo.Found
			}
		}
	})
	return zone, state
}

// Times between two tests of the DNS lists, the second after a test without an answer.
const (
	testEvery = 24 * time.Hour
	testAgain = 10 * time.Minute
)

// Run tests the DNS lists at once and then daily, until ctx ends. report gets the result for
// each zone, whose key is hidden: news for the log, "" for none, and whether the test failed.
func (g *Gatherer) Run(ctx context.Context, report func(zone, news string, failed bool)) {
	if len(g.Blocklists)+len(g.Allowlists) == 0 {
		return
	}
	for ctx.Err() == nil {
		wait := testEvery
		if !g.testLists(ctx, report) {
			wait = testAgain
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// testLists tests every DNS list by its entries for tests, RFC 5782, section 5: `invalid`,
// which it must never have, and `test` of domain lists, 127.0.0.1 and 127.0.0.2 of Allowlists.
// A zone that lists the first is asked no more until a later test finds it well. testLists
// returns false when a zone did not answer, which changes nothing.
func (g *Gatherer) testLists(
	ctx context.Context, report func(zone, news string, failed bool),
) (answered bool) {
	answered = true
	test := func(zone, never, always string) {
		var bad, good *record
		p := g.pending(new(checkhelo.Facts))
		p.until(ctx, func() {
			bad = p.get(key{name: never + "." + zone, qtype: dns.TypeA})
			good = p.get(key{name: always + "." + zone, qtype: dns.TypeA})
		})
		news, failed := "", true
		switch lists := listAnswers.Contains; {
		case bad.failed() || good.failed():
			answered, news = false, "its test got no answer"
		case slices.ContainsFunc(bad.addrs, lists):
			g.out.Store(zone, true)
			news = "lists " + never + " and is not asked"
		case g.out.CompareAndDelete(zone, true):
			news, failed = "lists "+never+" no more and is asked again", false
		case slices.ContainsFunc(good.addrs, func(a netip.Addr) bool { return inAny(a, listErrors) }):
			news = "refuses to answer"
		case !slices.ContainsFunc(good.addrs, lists):
			news = "does not list " + always
		default:
			failed = false
		}
		report(shownZone(zone), news, failed)
	}
	for i := range g.Blocklists {
		test(g.Blocklists[i].Zone, "invalid", "test")
	}
	for _, zone := range g.Allowlists {
		test(zone, "1.0.0.127", "2.0.0.127")
	}
	return answered
}
