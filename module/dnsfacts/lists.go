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

// reasonOctets limits how much of a list's TXT record is kept in Listing.Reason.
const reasonOctets = 200

// Blocklist is one domain blocklist, RFC 5782, section 2.2.
type Blocklist struct {
	Zone   string           // lower-case, without a final dot
	Action checkhelo.Action // of a hit; Off: the action of the rule
	Score  int              // points, when Action is Score
	// Responses, if not empty, sets actions by return code. A code that is in none
	// of them is no hit. If several match, the strongest counts.
	Responses []Response
}

// Response sets the action for some return codes of a Blocklist.
type Response struct {
	Codes  []netip.Prefix   // return codes, such as 127.0.1.2/32
	Action checkhelo.Action // Off: the action of the Blocklist
	Score  int              // points, when Action is Score
}

var (
	listAnswers = netip.MustParsePrefix("127.0.0.0/8") // RFC 5782, section 2.1
	// listErrors are codes by which a list refuses the query. The first is a convention
	// of lists. For the second see RFC 5782, section 5.
	listErrors = []netip.Prefix{
		netip.MustParsePrefix("127.255.255.0/24"), netip.MustParsePrefix("127.0.0.1/32"),
	}
	// dnswlBlocked is the answer of dnswl.org to clients that send too many queries.
	dnswlBlocked = netip.MustParseAddr("127.0.0.255")
)

// zoneKey matches a customer's key in a zone's name: a first label of at least 20 letters and
// digits, in a zone of at least three labels.
var zoneKey = regexp.MustCompile(`^[a-z0-9]{20,}(\.[^.]+\..)`)

// shownZone returns a zone's name with *** in place of a customer's key.
func shownZone(zone string) string { return zoneKey.ReplaceAllString(zone, "***$1") }

// lists looks up which blocklists list the HELO name. A failed list is no hit.
// Hits on other lists count even then.
func (p *Pending) lists(f *checkhelo.Facts) (listed checkhelo.Answer[[]checkhelo.Listing]) {
	name := f.Helo.ASCII
	if f.Helo.Kind != heloname.FQDN || heloname.NumericTLD(name) { // not on any domain list
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
				break // the longer name comes first: its reason is more specific
			}
		}
	}
	if len(hits) > 0 {
		return known(hits)
	}
	return listed
}

// listing returns the strongest hit of a name on a list. Addr is invalid if there is none.
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

// listed returns the return codes of a zone for a name or a reversed address. It drops addresses
// outside 127.0.0.0/8: they come from a wildcard or a captive portal. A zone that failed its last
// test is not queried.
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

// AllowListed queries Allowlists for a client's address (RFC 5782, section 2.1). It returns
// the first zone that lists the address and Found. If none does, it returns Failed if a
// zone did not answer, otherwise NotFound. Timeout limits it like Fill.
func (g *Gatherer) AllowListed(
	ctx context.Context, client netip.Addr,
) (zone string, state checkhelo.State) {
	if len(g.Allowlists) == 0 || !client.IsValid() {
		return "", checkhelo.NotFound
	}
	p := g.pending(&checkhelo.Facts{Client: client})
	// The reversed address, without the reverse zone.
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

// Intervals between tests of the DNS lists; testAgain if a zone did not answer.
const (
	testEvery = 24 * time.Hour
	testAgain = 10 * time.Minute
)

// Run tests the DNS lists at once and then daily, until ctx ends. It calls report for each zone
// (customer's key masked) with a message for the log, "" for none, and whether the test failed.
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

// testLists tests every DNS list with the test entries of RFC 5782, section 5. A domain list
// must list `test` and not `invalid`; an allowlist must list 127.0.0.2 and not 127.0.0.1. A
// zone that lists the wrong one is not queried until it passes a later test. testLists returns
// false if a zone did not answer; the state of that zone stays.
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
