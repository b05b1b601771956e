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
func (p *Pending) forward(f *checkhelo.Facts) (a checkhelo.Answer[[]netip.Addr]) {
	if f.Helo.ASCII == "" {
		return a
	}
	own, other := family(f.Client)
	r := p.get(key{name: f.Helo.ASCII, qtype: own})
	addrs := r.addrs
	if !r.failed() && !slices.Contains(addrs, f.Client) {
		r = p.get(key{name: f.Helo.ASCII, qtype: other})
		addrs = slices.Concat(addrs, r.addrs)
	}
	if !r.failed() && len(addrs) > 0 {
		return known(addrs)
	}
	return answer(r, addrs)
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

// mx learns the MX hosts of the HELO name. Where Forward is wanted
// too, MX is asked as soon as the name may turn out to have no address.
func (p *Pending) mx(f *checkhelo.Facts) (a checkhelo.Answer[[]string]) {
	addressed := !lacks(&f.Forward) && f.Forward.State != checkhelo.NotFound
	if f.Helo.ASCII == "" || addressed {
		return a
	}
	if lacks(&f.Forward) && p.want&checkhelo.NeedForward != 0 && p.over == nil {
		own, _ := family(f.Client)
		if r := p.get(key{name: f.Helo.ASCII, qtype: own}); r.failed() || len(r.addrs) > 0 {
			p.missed = true // until Forward is known
			return a
		}
	}
	return p.hosts(f)
}

// hosts returns the MX hosts of the HELO name. A null MX (RFC 7505) is an MX
// record without a host and therefore Found and empty.
func (p *Pending) hosts(f *checkhelo.Facts) checkhelo.Answer[[]string] {
	r := p.get(key{name: f.Helo.ASCII, qtype: dns.TypeMX})
	return answer(r, r.texts)
}

// tld learns whether the root zone has the last label. Only NXDOMAIN denies
// it: a TLD without the type asked for is a TLD.
func (p *Pending) tld(f *checkhelo.Facts) (a checkhelo.Answer[bool]) {
	if f.Helo.ASCII == "" {
		return a
	}
	r := p.get(key{name: heloname.TLD(f.Helo.ASCII), qtype: dns.TypeNS})
	if r.denied == KindNoData {
		return known(true)
	}
	return answer(r, true)
}

// ptr learns the names of the client's address.
func (p *Pending) ptr(f *checkhelo.Facts) (a checkhelo.Answer[[]string]) {
	if !f.Client.IsValid() {
		return a
	}
	return ptrNames(p.get(key{addr: f.Client, qtype: dns.TypePTR}), f.Helo.ASCII)
}

// ptrNames makes a PTR answer a fact. An answer whose names no host can have counts as no name.
func ptrNames(r *record, helo string) checkhelo.Answer[[]string] {
	if r.found() && len(r.texts) == 0 {
		return none[[]string]()
	}
	return answer(r, nearest(r.texts, helo))
}

// nearest returns at most maxPTR names. Where it has to cut, those of the HELO name's
// organisation come first, so that the cut never removes them.
func nearest(names []string, helo string) []string {
	if len(names) <= maxPTR {
		return names
	}
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

// confirmed learns which PTR names resolve back to the client.
func (p *Pending) confirmed(f *checkhelo.Facts) checkhelo.Answer[[]string] {
	if f.PTR.State != checkhelo.Found {
		return checkhelo.Answer[[]string]{State: f.PTR.State, Err: f.PTR.Err}
	}
	return p.confirm(f.PTR.Value, f)
}

// confirm returns those names that resolve to the client. One failed look-up makes the answer
// Failed, because the hidden name might be a confirmed one; Value has the confirmed names all
// the same. The HELO name is not asked where Forward has the client.
func (p *Pending) confirm(names []string, f *checkhelo.Facts) (a checkhelo.Answer[[]string]) {
	own, _ := family(f.Client)
	a.State = checkhelo.NotFound
	for i, name := range names[:min(len(names), maxPTR)] {
		if name != f.Helo.ASCII || !slices.Contains(f.Forward.Value, f.Client) {
			r := p.get(key{name: name, qtype: own})
			if r.failed() {
				a.State, a.Err = checkhelo.Failed, r.err
			}
			if !slices.Contains(r.addrs, f.Client) {
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
	return a
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
	p, release := g.alone(ctx, p, f)
	defer release()
	p.want = checkhelo.NeedMX
	p.until(ctx, func() {
		fact(p, f, checkhelo.NeedMX, &f.MX, (*Pending).hosts)
		addrs = nil
		for _, host := range f.MX.Value[:min(len(f.MX.Value), maxHosts)] {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
				addrs = append(addrs, p.get(key{name: host, qtype: qtype}).addrs...)
			}
		}
	})
	return addrs
}
