package dnsfacts

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"

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
}

var (
	listAnswers = netip.MustParsePrefix("127.0.0.0/8")      // RFC 5782, section 2.1
	listErrors  = netip.MustParsePrefix("127.255.255.0/24") // customary: blocked, no such list, ...
	// dnswlBlocked is what dnswl.org answers to who asks too much.
	dnswlBlocked = netip.MustParseAddr("127.0.0.255")
)

// listable reports whether a domain list can know a name.
func listable(n heloname.Name) bool {
	return n.Kind == heloname.FQDN && !heloname.NumericTLD(n.ASCII)
}

// lists learns which block lists hold the HELO name. A list that fails
// takes nothing away from the hits of others, and is no hit itself.
func (a asker) lists(f *checkhelo.Facts) bool {
	zones := a.g.Blocklists
	answer := none[[]checkhelo.Listing]()
	records := a.askLists(f.Helo.ASCII)
	if slices.ContainsFunc(records, unknown) {
		return false
	}
	var hits []checkhelo.Listing
	for i := range records {
		addr, err := listed(&records[i])
		switch {
		case err != nil:
			answer = lost[[]checkhelo.Listing](err)
		case addr.IsValid():
			z := zones[i]
			hits = append(hits, checkhelo.Listing{
				Zone: z.Zone, Addr: addr, Action: z.Action, Score: z.Score,
			})
		}
	}
	if len(hits) > 0 {
		a.reasons(f.Helo.ASCII, hits)
		answer = known(hits)
	}
	publish(a, &f.Listed, answer)
	return true
}

// askLists returns one record for each list, unknown where the cache lacks it.
func (a asker) askLists(name string) []record {
	records := make([]record, len(a.g.Blocklists))
	if a.cold() {
		a.each(len(records), func(i int) { records[i] = a.safely(a.g.listKey(name, i)) })
		return records
	}
	for i := range records {
		records[i].unknown = !a.ask(a.g.listKey(name, i), &records[i])
	}
	return records
}

func (g *Gatherer) listKey(name string, i int) key {
	return key{name: name + "." + g.Blocklists[i].Zone, qtype: dns.TypeA}
}

func unknown(r record) bool { return r.unknown }

// listed reads a list's answer; what lies outside of 127.0.0.0/8 comes from
// somebody who is no list (a wildcard, a captive portal) and does not count.
func listed(r *record) (netip.Addr, error) {
	if r.failed() {
		return netip.Addr{}, r.err
	}
	var hit netip.Addr
	for _, addr := range r.addrs {
		if listErrors.Contains(addr) {
			return netip.Addr{}, &Error{Kind: KindListError, Err: errors.New(addr.String())}
		}
		if !hit.IsValid() && listAnswers.Contains(addr) {
			hit = addr
		}
	}
	return hit, nil
}

// reasons adds the lists' texts for the log. It waits for them no longer than a
// fifth of the time-out, because the verdict does not need them.
func (a asker) reasons(name string, hits []checkhelo.Listing) {
	if a.cold() {
		ctx, cancel := context.WithTimeout(a.ctx, a.g.timeout()/5)
		defer cancel()
		a.ctx = ctx
	}
	a.each(len(hits), func(i int) {
		r := a.safely(key{name: name + "." + hits[i].Zone, qtype: dns.TypeTXT})
		if len(r.texts) > 0 {
			hits[i].Reason = heloname.Line(r.texts[0], reasonOctets)
		}
	})
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
	reversed := key{addr: client}.question()
	reversed = strings.TrimSuffix(strings.TrimSuffix(reversed, ".in-addr.arpa"), ".ip6.arpa")
	ctx, cancel := context.WithTimeout(ctx, g.timeout())
	defer cancel()
	records := make([]record, len(g.Allowlists))
	ask := func(a asker) {
		a.each(len(records), func(i int) {
			records[i] = a.safely(key{name: reversed + "." + g.Allowlists[i], qtype: dns.TypeA})
		})
	}
	if ask(asker{g: g}); slices.ContainsFunc(records, unknown) {
		ask(asker{g: g, ctx: ctx})
	}
	state = checkhelo.NotFound
	for i := range records {
		r := &records[i]
		addr, err := listed(r)
		switch {
		case err != nil || slices.Contains(r.addrs, dnswlBlocked):
			state = checkhelo.Failed
		case addr.IsValid():
			return g.Allowlists[i], checkhelo.Found
		}
	}
	return "", state
}
