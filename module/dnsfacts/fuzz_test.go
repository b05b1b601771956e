package dnsfacts

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// FuzzAnswer feeds any bytes as the answer to every question of a Fill.
func FuzzAnswer(f *testing.F) {
	for _, text := range []string{
		"mail.example.org. 60 IN A 192.0.2.25", "mail.example.org. 60 IN CNAME mail.example.org.",
		"mail.example.org. 60 IN MX 0 .", `mail.example.org. 60 IN TXT "v=spf1 a mx ptr include:x -all"`,
		"25.2.0.192.in-addr.arpa. 60 IN PTR mail.example.org.", "org. 60 IN NS a.example.",
		"mail.example.org.dbl.example. 60 IN A 127.0.0.2",
	} {
		r := rr(f, text)
		m := new(dns.Msg)
		m.SetQuestion(r.Header().Name, r.Header().Rrtype)
		m.Response, m.Answer = true, []dns.RR{r}
		packet, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet)
		m.Answer, m.Rcode = nil, dns.RcodeNameError
		m.Ns = []dns.RR{rr(f, "org. 60 IN SOA a. b. 1 2 3 4 5")}
		packet, _ = m.Pack()
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		g := &Gatherer{
			Cache:      NewCache(1),
			Blocklists: []Blocklist{{Zone: "dbl.example"}},
			Exchange: func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
				return answerWith(packet, q)
			},
		}
		facts := factsOf("mail.example.org", goodClient)
		fillAll(g, &facts)
		checkSane(t, &facts)
		checkBounds(t, &facts)
		for name, state := range stateList(&facts) {
			if state > checkhelo.Failed || state == checkhelo.NotAsked {
				t.Errorf("%s is %v", name, state)
			}
		}
		need := all
		if facts.SPF.State == checkhelo.Failed {
			need &^= checkhelo.NeedSPF // is evaluated anew each time
			facts.SPF = checkhelo.Answer[string]{}
		}
		warm := factsOf("mail.example.org", goodClient)
		g.Exchange = func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
			return nil, fmt.Errorf("%s is not in the cache", q.Question[0].String())
		}
		g.Fill(t.Context(), &warm, need&checkhelo.NeedMX)
		g.Fill(t.Context(), &warm, need)
		if got, want := answers(warm), answers(facts); !reflect.DeepEqual(got, want) {
			t.Errorf("from the cache %+v, learnt %+v", got, want)
		}
	})
}

// answers lists what is known, with errors as their texts.
func answers(f checkhelo.Facts) []any {
	var list []any
	add := func(state checkhelo.State, value any, err error) {
		list = append(list, state, value, fmt.Sprint(err))
	}
	add(f.Forward.State, f.Forward.Value, f.Forward.Err)
	add(f.MX.State, f.MX.Value, f.MX.Err)
	add(f.PTR.State, f.PTR.Value, f.PTR.Err)
	add(f.Confirmed.State, f.Confirmed.Value, f.Confirmed.Err)
	add(f.TLD.State, f.TLD.Value, f.TLD.Err)
	add(f.SPF.State, f.SPF.Value, f.SPF.Err)
	add(f.Listed.State, f.Listed.Value, f.Listed.Err)
	return list
}

// answerWith takes a packet for the answer to q as Client does, twice: as it
// is, and with the question and all owners made to fit, so that more of it counts.
func answerWith(packet []byte, q *dns.Msg) (*dns.Msg, error) {
	id := q.Copy()
	if len(packet) > 1 {
		id.Id = uint16(packet[0])<<8 | uint16(packet[1])
	}
	if m, err := accept(packet, id); m != nil || err != nil {
		return m, err
	}
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		return nil, err
	}
	m.Question = q.Question
	for i, r := range m.Answer {
		if h := r.Header(); i%2 == 0 {
			h.Name = q.Question[0].Name
		}
	}
	return m, nil
}

// checkSane allows only names of hosts and texts a log can have.
func checkSane(t *testing.T, f *checkhelo.Facts) {
	t.Helper()
	for _, names := range [][]string{f.MX.Value, f.PTR.Value, f.Confirmed.Value} {
		for _, name := range names {
			if n := heloname.Parse(name); n.ASCII != name || name == "" {
				t.Errorf("name %q", name)
			}
		}
	}
	for _, addr := range f.Forward.Value {
		if !addr.IsValid() || addr.Is4In6() {
			t.Errorf("address %v", addr)
		}
	}
	for _, l := range f.Listed.Value {
		if !netip.MustParsePrefix("127.0.0.0/8").Contains(l.Addr) || len(l.Reason) > reasonOctets {
			t.Errorf("listing %v", l)
		}
	}
}
