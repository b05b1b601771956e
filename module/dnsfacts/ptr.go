package dnsfacts

import (
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// ptr learns the names of the client's address and which of them lead back to
// it. PTR names that the caller already has are only confirmed.
func (a asker) ptr(f *checkhelo.Facts) bool {
	names := f.PTR
	if names.State == checkhelo.NotAsked {
		var r record
		if !a.ask(key{addr: f.Client, qtype: dns.TypePTR}, &r) {
			return false
		}
		names = ptrNames(&r, f.Helo.ASCII)
		publish(a, &f.PTR, names)
	}
	confirmed, ok := a.confirm(names, f.Client)
	if ok {
		publish(a, &f.Confirmed, confirmed)
	}
	return ok
}

// ptrNames makes a PTR answer's first ten names a fact. Names of the HELO
// name's organisation go before, so that the cut cannot speak against it.
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

// confirm returns those names that resolve to client. One failed look-up
// makes the answer Failed, because the name it hides might have been the one
// that speaks for the client; what was proven stands in Value all the same.
func (a asker) confirm(
	names checkhelo.Answer[[]string], client netip.Addr,
) (checkhelo.Answer[[]string], bool) {
	if names.State != checkhelo.Found {
		return checkhelo.Answer[[]string]{State: names.State, Err: names.Err}, true
	}
	own, _ := family(client)
	n := min(len(names.Value), maxPTR)
	p := proof{names: names.Value, client: client}
	if !a.cold() {
		for i := range n {
			var r record
			if !a.ask(key{name: names.Value[i], qtype: own}, &r) {
				return checkhelo.Answer[[]string]{}, false
			}
			p.add(i, &r)
		}
		return p.answer(), true
	}
	records := make([]record, n)
	a.each(n, func(i int) {
		records[i] = a.safely(key{name: names.Value[i], qtype: own})
	})
	for i := range records {
		p.add(i, &records[i])
	}
	return p.answer(), true
}

// proof sums up the confirmation of names.
type proof struct {
	names  []string
	client netip.Addr

	good []string
	err  error
}

// add takes the addresses of names[i], in the order of i.
func (p *proof) add(i int, r *record) {
	switch {
	case r.failed():
		p.err = r.err
	case !slices.Contains(r.addrs, p.client):
	case len(p.good) == i: // all so far: no list of its own is needed
		p.good = p.names[: i+1 : i+1]
	default:
		p.good = append(p.good, p.names[i])
	}
}

func (p *proof) answer() checkhelo.Answer[[]string] {
	state := checkhelo.NotFound
	switch {
	case p.err != nil:
		state = checkhelo.Failed
	case len(p.good) > 0:
		state = checkhelo.Found
	}
	return checkhelo.Answer[[]string]{State: state, Value: p.good, Err: p.err}
}
