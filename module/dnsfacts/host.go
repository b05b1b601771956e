package dnsfacts

import (
	"context"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// family returns the address type a client of this address is found under.
func family(client netip.Addr) (own, other uint16) {
	if client.Is6() {
		return dns.TypeAAAA, dns.TypeA
	}
	return dns.TypeA, dns.TypeAAAA
}

// forward learns the addresses of the HELO name. A name that has the client's
// address is Found whatever the other address family says; else both have
// to answer, since the missing one might have held the client.
func (a asker) forward(f *checkhelo.Facts) bool {
	own, other := family(f.Client)
	name := f.Helo.ASCII
	if !a.cold() {
		var mine, rest record
		if !a.ask(key{name: name, qtype: own}, &mine) {
			return false
		}
		if slices.Contains(mine.addrs, f.Client) {
			f.Forward = known(within(mine.addrs, f.Client))
			return true
		}
		if !a.ask(key{name: name, qtype: other}, &rest) {
			return false
		}
		f.Forward = joined(&mine, &rest, f.Client)
		return true
	}
	publish(a, &f.Forward, a.bothFamilies(name, f.Client))
	return true
}

// Authenticated reports, for the log, whether the addresses of the HELO name are
// known with the AD flag (RFC 4035, section 3.2.3) of a resolver on this host.
// It asks nothing.
func (g *Gatherer) Authenticated(f *checkhelo.Facts) bool {
	own, _ := family(f.Client)
	var r record
	return g.Cache.get(key{name: f.Helo.ASCII, qtype: own}, &r) && r.found() && r.secure
}

// bothFamilies asks for A and AAAA at once and does not wait for the second
// when the first has the client.
func (a asker) bothFamilies(name string, client netip.Addr) checkhelo.Answer[[]netip.Addr] {
	own, other := family(client)
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	second := make(chan record, 1)
	go func() {
		second <- asker{g: a.g, ctx: ctx}.safely(key{name: name, qtype: other})
	}()
	mine := a.safely(key{name: name, qtype: own})
	if slices.Contains(mine.addrs, client) {
		cancel()
		<-second
		return known(within(mine.addrs, client))
	}
	rest := <-second
	return joined(&mine, &rest, client)
}

// safely is ask in a goroutine that nobody else guards.
func (a asker) safely(k key) (r record) {
	defer func() {
		if v := recover(); v != nil {
			r = record{err: panicked(v, k)}
		}
	}()
	r.unknown = !a.ask(k, &r)
	return r
}

func joined(mine, rest *record, client netip.Addr) checkhelo.Answer[[]netip.Addr] {
	switch {
	case mine.failed():
		return lost[[]netip.Addr](mine.err)
	case rest.failed():
		return lost[[]netip.Addr](rest.err)
	case len(mine.addrs) == 0 && len(rest.addrs) == 0:
		return none[[]netip.Addr]()
	case len(rest.addrs) == 0:
		return known(within(mine.addrs, client))
	case len(mine.addrs) == 0:
		return known(within(rest.addrs, client))
	}
	return known(within(slices.Concat(mine.addrs, rest.addrs), client))
}

// within cuts a list of addresses to maxAddrs and keeps the client in it.
func within(addrs []netip.Addr, client netip.Addr) []netip.Addr {
	if len(addrs) <= maxAddrs {
		return addrs
	}
	cut := addrs[:maxAddrs:maxAddrs]
	if slices.Contains(addrs[maxAddrs:], client) {
		cut = slices.Concat([]netip.Addr{client}, addrs[:maxAddrs-1])
	}
	return cut
}

// mx learns the MX hosts of the HELO name. A null MX (RFC 7505) is an MX
// record without a host and therefore Found and empty.
func (a asker) mx(f *checkhelo.Facts) bool {
	var r record
	if !a.ask(key{name: f.Helo.ASCII, qtype: dns.TypeMX}, &r) {
		return false
	}
	publish(a, &f.MX, textAnswer(&r))
	return true
}

func textAnswer(r *record) checkhelo.Answer[[]string] {
	switch {
	case r.failed():
		return lost[[]string](r.err)
	case !r.found():
		return none[[]string]()
	}
	return known(r.texts)
}

// tld learns whether the root zone has the last label. Only NXDOMAIN denies
// it: a TLD without the type asked for is a TLD.
func (a asker) tld(f *checkhelo.Facts) bool {
	var r record
	if !a.ask(key{name: heloname.TLD(f.Helo.ASCII), qtype: dns.TypeNS}, &r) {
		return false
	}
	answer := known(true)
	switch {
	case r.failed():
		answer = lost[bool](r.err)
	case r.denied == KindNXDomain:
		answer = none[bool]()
	}
	publish(a, &f.TLD, answer)
	return true
}
