package dnsfacts

import (
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
func (p *Pending) forward(f *checkhelo.Facts) bool {
	own, other := family(f.Client)
	mine := p.get(key{name: f.Helo.ASCII, qtype: own})
	switch {
	case mine == nil:
		return false
	case mine.failed():
		f.Forward = lost[[]netip.Addr](mine.err)
		return true
	case slices.Contains(mine.addrs, f.Client):
		f.Forward = known(within(mine.addrs, f.Client))
		return true
	}
	rest := p.get(key{name: f.Helo.ASCII, qtype: other})
	if rest == nil {
		return false
	}
	switch {
	case rest.failed():
		f.Forward = lost[[]netip.Addr](rest.err)
	case len(mine.addrs) == 0 && len(rest.addrs) == 0:
		f.Forward = none[[]netip.Addr]()
	default:
		f.Forward = known(within(slices.Concat(mine.addrs, rest.addrs), f.Client))
	}
	return true
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

// Authenticated reports, for the log, whether the addresses of the HELO name are
// known with the AD flag (RFC 4035, section 3.2.3) of a resolver on this host.
// It asks nothing.
func (g *Gatherer) Authenticated(f *checkhelo.Facts) bool {
	own, _ := family(f.Client)
	r := g.Cache.get(key{name: f.Helo.ASCII, qtype: own})
	return r != nil && r.found() && r.secure
}

// mx learns the MX hosts of the HELO name. A null MX (RFC 7505) is an MX
// record without a host and therefore Found and empty. Where Forward is wanted
// too, MX is asked as soon as the name may turn out to have no address.
func (p *Pending) mx(f *checkhelo.Facts) bool {
	switch {
	case !lacks(&f.Forward):
		if f.Forward.State != checkhelo.NotFound {
			return true
		}
	case p.want&checkhelo.NeedForward != 0:
		own, _ := family(f.Client)
		mine := p.get(key{name: f.Helo.ASCII, qtype: own})
		if mine == nil || mine.failed() || len(mine.addrs) > 0 {
			return false
		}
	}
	r := p.get(key{name: f.Helo.ASCII, qtype: dns.TypeMX})
	if r != nil {
		f.MX = textAnswer(r)
	}
	return r != nil
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
func (p *Pending) tld(f *checkhelo.Facts) bool {
	r := p.get(key{name: heloname.TLD(f.Helo.ASCII), qtype: dns.TypeNS})
	switch {
	case r == nil:
		return false
	case r.failed():
		f.TLD = lost[bool](r.err)
	case r.denied == KindNXDomain:
		f.TLD = none[bool]()
	default:
		f.TLD = known(true)
	}
	return true
}

// ptr learns the names of the client's address and which of them resolve back to
// it. PTR names that the caller already has are only confirmed.
func (p *Pending) ptr(f *checkhelo.Facts) bool {
	if f.PTR.State != checkhelo.Found {
		r := p.get(key{addr: f.Client, qtype: dns.TypePTR})
		if r == nil {
			return false
		}
		f.PTR = ptrNames(r, f.Helo.ASCII)
	}
	if f.PTR.State != checkhelo.Found {
		f.Confirmed = checkhelo.Answer[[]string]{State: f.PTR.State, Err: f.PTR.Err}
		return true
	}
	confirmed, ok := p.confirm(f.PTR.Value, f.Client, func(name string) bool {
		return name == f.Helo.ASCII && slices.Contains(f.Forward.Value, f.Client)
	})
	if ok {
		f.Confirmed = confirmed
	}
	return ok
}

// ptrNames makes a PTR answer's first ten names a fact. Names of the HELO
// name's organisation come first, so that the cut never removes them.
// An answer whose names no host can have counts as no name.
func ptrNames(r *record, helo string) checkhelo.Answer[[]string] {
	names := textAnswer(r)
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
	var same, foreign []string
	for _, name := range names {
		switch {
		case name == helo:
			same = slices.Insert(same, 0, name)
		case len(same) < maxPTR && helo != "" && heloname.SameOrg(name, helo):
			same = append(same, name)
		case len(foreign) < maxPTR:
			foreign = append(foreign, name)
		}
	}
	return slices.Clip(append(same, foreign...)[:maxPTR])
}

// confirm returns those names that resolve to client, and false while an answer
// is out. One failed look-up makes the answer Failed, because the hidden name might
// be a confirmed one; Value has the confirmed names all the same. Names that
// shown reports are not asked.
func (p *Pending) confirm(
	names []string, client netip.Addr, shown func(name string) bool,
) (a checkhelo.Answer[[]string], ok bool) {
	own, _ := family(client)
	names = names[:min(len(names), maxPTR)]
	a.State, ok = checkhelo.NotFound, true
	for i, name := range names {
		if !shown(name) {
			r := p.get(key{name: name, qtype: own})
			switch {
			case r == nil:
				ok = false
				continue
			case r.failed():
				a.State, a.Err = checkhelo.Failed, r.err
				continue
			case !slices.Contains(r.addrs, client):
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
	return a, ok
}
