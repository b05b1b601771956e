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
		r := a.ask(key{addr: f.Client, qtype: dns.TypePTR})
		if r.unknown {
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
	var list [maxPTR]record
	records := list[:min(len(names.Value), maxPTR)]
	if a.cold() {
		cold := make([]record, len(records))
		a.each(len(cold), func(i int) {
			cold[i] = a.safely(key{name: names.Value[i], qtype: own})
		})
		records = cold
	} else {
		for i := range records {
			records[i] = a.ask(key{name: names.Value[i], qtype: own})
			if records[i].unknown {
				return checkhelo.Answer[[]string]{}, false
			}
		}
	}
	return proven(names.Value, records, client), true
}

// proven sums up the confirmation of names[i] by records[i].
func proven(names []string, records []record, client netip.Addr) checkhelo.Answer[[]string] {
	answer := none[[]string]()
	good := 0
	for i := range records {
		r := &records[i]
		switch {
		case r.failed():
			answer.State, answer.Err = checkhelo.Failed, r.err
		case slices.Contains(r.addrs, client):
			good++
			if good == i+1 { // all so far: no list of its own is needed
				answer.Value = names[:good:good]
			} else {
				answer.Value = append(answer.Value, names[i])
			}
		}
	}
	if good > 0 && answer.State == checkhelo.NotFound {
		answer.State = checkhelo.Found
	}
	return answer
}
