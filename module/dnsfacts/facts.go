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

// forward learns the addresses of the HELO name. The client's own family is enough
// where it holds the client. Else both have to answer.
func (p *Pending) forward(f *checkhelo.Facts) {
	if f.Helo.ASCII == "" || !lacks(&f.Forward) {
		return
	}
	own, other := family(f.Client)
	mine := p.get(key{name: f.Helo.ASCII, qtype: own})
	if mine == nil {
		return
	}
	if mine.failed() || slices.Contains(mine.addrs, f.Client) {
		f.Forward = answer(mine, within(mine.addrs, f.Client))
		return
	}
	rest := p.get(key{name: f.Helo.ASCII, qtype: other})
	if rest == nil {
		return
	}
	addrs := slices.Concat(mine.addrs, rest.addrs)
	switch {
	case rest.failed():
		f.Forward = answer(rest, addrs)
	case len(addrs) == 0:
		f.Forward = none[[]netip.Addr]()
	default:
		f.Forward = known(within(addrs, f.Client))
	}
}

// answer makes a fact of a record that found v, unless it failed or was denied.
func answer[T any](r *record, v T) checkhelo.Answer[T] {
	switch {
	case r.failed():
		return checkhelo.Answer[T]{State: checkhelo.Failed, Err: r.err}
	case r.denied != "":
		return none[T]()
	}
	return known(v)
}

func known[T any](v T) checkhelo.Answer[T] {
	return checkhelo.Answer[T]{State: checkhelo.Found, Value: v}
}

func none[T any]() checkhelo.Answer[T] {
	return checkhelo.Answer[T]{State: checkhelo.NotFound}
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
// record without a host and therefore Found and empty. Where Forward is wanted
// too, MX is asked as soon as the name may turn out to have no address.
func (p *Pending) mx(f *checkhelo.Facts) {
	addressed := !lacks(&f.Forward) && f.Forward.State != checkhelo.NotFound
	if f.Helo.ASCII == "" || addressed || !lacks(&f.MX) {
		return
	}
	if lacks(&f.Forward) && p.want&checkhelo.NeedForward != 0 && p.over == nil {
		own, _ := family(f.Client)
		mine := p.get(key{name: f.Helo.ASCII, qtype: own})
		if mine == nil || mine.failed() || len(mine.addrs) > 0 {
			p.missed = true // until Forward is known
			return
		}
	}
	if r := p.get(key{name: f.Helo.ASCII, qtype: dns.TypeMX}); r != nil {
		f.MX = answer(r, r.texts)
	}
}

// tld learns whether the root zone has the last label. Only NXDOMAIN denies
// it: a TLD without the type asked for is a TLD.
func (p *Pending) tld(f *checkhelo.Facts) {
	if f.Helo.ASCII == "" || !lacks(&f.TLD) {
		return
	}
	r := p.get(key{name: heloname.TLD(f.Helo.ASCII), qtype: dns.TypeNS})
	switch {
	case r == nil:
	case r.denied == KindNoData:
		f.TLD = known(true)
	default:
		f.TLD = answer(r, true)
	}
}

// ptr learns the names of the client's address and which of them resolve back to
// it. PTR names that the caller already has are only confirmed.
func (p *Pending) ptr(f *checkhelo.Facts) {
	if !f.Client.IsValid() {
		return
	}
	if lacks(&f.PTR) {
		r := p.get(key{addr: f.Client, qtype: dns.TypePTR})
		if r == nil {
			return
		}
		f.PTR = ptrNames(r, f.Helo.ASCII)
	}
	if f.PTR.State != checkhelo.Found {
		f.Confirmed = checkhelo.Answer[[]string]{State: f.PTR.State, Err: f.PTR.Err}
		return
	}
	if !lacks(&f.Confirmed) {
		return
	}
	known := "" // a name of the client that needs no question
	if slices.Contains(f.Forward.Value, f.Client) {
		known = f.Helo.ASCII
	}
	if confirmed, complete := p.confirm(f.PTR.Value, f.Client, known); complete {
		f.Confirmed = confirmed
	}
}

// ptrNames makes a PTR answer's first ten names a fact. Names of the HELO
// name's organisation come first, so that the cut never removes them.
// An answer whose names no host can have counts as no name.
func ptrNames(r *record, helo string) checkhelo.Answer[[]string] {
	names := answer(r, r.texts)
	if names.State == checkhelo.Found && len(names.Value) == 0 {
		return none[[]string]()
	}
	if len(names.Value) > maxPTR {
		names.Value = nearest(names.Value, helo)
	}
	return names
}

// nearest returns maxPTR names, those of the HELO name's organisation first.
func nearest(names []string, helo string) []string {
	distance := func(name string) int {
		switch {
		case name == helo:
			return 0
		case helo != "" && heloname.SameOrg(name, helo):
			return 1
		default:
			return 2
		}
	}
	nearer := func(a, b string) int { return distance(a) - distance(b) }
	return slices.SortedStableFunc(slices.Values(names), nearer)[:maxPTR:maxPTR]
}

// confirm returns those names that resolve to client, and whether all answers are there. One
// failed look-up makes the answer Failed, because the hidden name might be a confirmed
// one; Value has the confirmed names all the same. The name known is not asked.
func (p *Pending) confirm(
	names []string, client netip.Addr, known string,
) (a checkhelo.Answer[[]string], complete bool) {
	own, _ := family(client)
	a.State, complete = checkhelo.NotFound, true
	for i, name := range names[:min(len(names), maxPTR)] {
		if name != known {
			r := p.get(key{name: name, qtype: own})
			complete = complete && r != nil
			if r != nil && r.failed() {
				a.State, a.Err = checkhelo.Failed, r.err
			}
			if r == nil || !slices.Contains(r.addrs, client) {
				continue
			}
		}
		if len(a.Value) == i { // all so far: no list of its own is needed
			a.Value = names[: i+1 : i+1]
		} else {
			a.Value = append(a.Value, name)
		}
	}
	if a.State == checkhelo.NotFound && len(a.Value) > 0 {
		a.State = checkhelo.Found
	}
	return a, complete
}

// HostAddrs looks up the MX hosts of the HELO name, which it sets in f, and returns
// the addresses of the first eight that are known. p is what Start returned for the
// greeting and may be nil; the questions count against its budget.
func (g *Gatherer) HostAddrs(
	ctx context.Context, p *Pending, f *checkhelo.Facts,
) (addrs []netip.Addr) {
	const maxHosts = 8
	if f.Helo.ASCII == "" {
		return nil
	}
	if p == nil || !p.acquire(ctx) {
		p = g.pending(f)
	} else {
		defer p.release()
	}
	p.until(ctx, func() {
		if lacks(&f.MX) {
			if r := p.get(key{name: f.Helo.ASCII, qtype: dns.TypeMX}); r != nil {
				f.MX = answer(r, r.texts)
			}
		}
		addrs = nil
		for _, host := range f.MX.Value[:min(len(f.MX.Value), maxHosts)] {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				if r := p.get(key{name: host, qtype: qtype}); r != nil {
					addrs = append(addrs, r.addrs...)
				}
			}
		}
	})
	return addrs
}
