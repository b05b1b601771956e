package dnsfacts

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"time"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// spf learns the SPF result of the HELO identity (RFC 7208, section 2.3). A
// name that can have no SPF record, such as a literal, has "none".
func (p *Pending) spf(f *checkhelo.Facts) {
	if !f.Client.IsValid() || !lacks(&f.SPF) {
		return
	}
	if f.Helo.Kind != heloname.FQDN {
		f.SPF = known(string(spf.None))
	} else if r := p.evaluated(key{name: f.Helo.ASCII, addr: f.Client, qtype: typeSPF}); r != nil {
		f.SPF = answer(r, strings.Join(r.texts, ""))
	}
}

// evaluated returns the result for k that is known, or runs the library over the
// answers there are. It returns nil while an answer is out: the library runs again
// when that has arrived. The result is kept for as long as its answers.
func (p *Pending) evaluated(k key) *record {
	txt := key{name: k.name, qtype: dns.TypeTXT}
	if p.questions[txt] == nil && p.over == nil {
		if r := p.g.Cache.get(k); r != nil {
			return r
		}
	}
	if r := p.get(txt); r == nil || r.failed() {
		return r
	}
	s := &spfResolver{p: p, client: k.addr, ttl: maxTTL}
	result, _ := spf.CheckHostWithSender(k.addr.AsSlice(), k.name, "postmaster@"+k.name,
		spf.WithResolver(s))
	switch {
	case p.missed:
		return nil
	case s.failure != nil && result != spf.Pass:
		// A failed look-up counts as "this mechanism does not match" in some
		// places, which can turn a pass into a fail. Only a pass is sure then.
		return &record{err: s.failure}
	}
	r := &record{texts: []string{string(result)}}
	p.g.Cache.put(k, r, s.ttl)
	return r
}

// spfResolver answers the library from what the greeting has learnt. An answer
// that is not there looks like one that does not match, so that the library goes on
// and names what the record asks for next: all of it is asked at once. The result
// of such a run is thrown away. The library stops where an answer is already on
// its way, since that one may settle the result.
type spfResolver struct {
	p       *Pending
	client  netip.Addr
	ttl     time.Duration // shortest life of an answer used
	failure *Error        // of the first look-up that failed
	stops   bool          // nothing more is asked in this run
	exists  bool          // a record has the mechanism "exists"
}

var (
	errNotFound = &net.DNSError{Err: "no such record", IsNotFound: true}
	errStop     = &net.DNSError{Err: "waiting for an answer", IsTemporary: true}
	errSyntax   = errors.New("the record breaks the grammar")
)

// look returns the answer about what an SPF record names, which can be any text;
// nil, nil while it is not there.
func (s *spfResolver) look(name string, qtype uint16) (*record, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for len(name) > 253 && strings.Contains(name, ".") { // RFC 7208, section 7.3
		_, name, _ = strings.Cut(name, ".")
	}
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, errNotFound
	}
	return s.answer(key{name: name, qtype: qtype})
}

func (s *spfResolver) answer(k key) (*record, error) {
	if s.stops {
		return nil, errStop
	}
	before := len(s.p.wanted)
	r := s.p.get(k)
	switch {
	case r == nil:
		if s.stops = len(s.p.wanted) == before; s.stops {
			return nil, errStop
		}
		return nil, nil
	case r.failed():
		if s.failure == nil {
			s.failure = r.err
		}
		return nil, &net.DNSError{Err: r.err.Kind, IsTemporary: true}
	}
	s.ttl = min(s.ttl, s.p.g.Cache.left(r))
	if !r.found() {
		return nil, errNotFound
	}
	return r, nil
}

// LookupTXT implements spf.DNSResolver. A record with a syntax error anywhere is an
// error that the library reports as permerror (RFC 7208, section 4.6).
func (s *spfResolver) LookupTXT(_ context.Context, name string) ([]string, error) {
	r, err := s.look(name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return []string{"v=spf1 ?all"}, nil
	}
	var records []string
	for _, txt := range r.texts {
		if !isSPF(txt) {
			continue
		}
		record, exists, ok := spfRecord(txt)
		if !ok {
			return nil, errSyntax
		}
		records = append(records, record)
		s.exists = s.exists || exists
	}
	return records, nil
}

// LookupMX implements spf.DNSResolver.
func (s *spfResolver) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	r, err := s.look(name, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return []*net.MX{{}}, nil
	}
	hosts := make([]*net.MX, len(r.texts))
	for i, host := range r.texts {
		hosts[i] = &net.MX{Host: host}
	}
	return hosts, nil
}

// LookupIPAddr implements spf.DNSResolver. RFC 7208, section 5 asks for
// the client's address family only, but for "exists" always for A; as the
// library does not say which it is, an IPv6 client costs both once a record has
// an "exists".
func (s *spfResolver) LookupIPAddr(_ context.Context, host string) ([]net.IPAddr, error) {
	own, _ := family(s.client)
	list, err := s.addrs(host, own)
	if own == dns.TypeA || !s.exists {
		return list, err
	}
	more, errA := s.addrs(host, dns.TypeA)
	if err == nil || errors.Is(errA, errNotFound) {
		return append(list, more...), err
	}
	return more, errA
}

func (s *spfResolver) addrs(host string, qtype uint16) ([]net.IPAddr, error) {
	r, err := s.look(host, qtype)
	if err != nil {
		return nil, err
	}
	if r == nil {
		return []net.IPAddr{{IP: net.IPv6unspecified}}, nil
	}
	list := make([]net.IPAddr, len(r.addrs))
	for i, addr := range r.addrs {
		list[i].IP = addr.AsSlice()
	}
	return list, nil
}

// LookupAddr implements spf.DNSResolver. It returns confirmed names only,
// RFC 7208, section 5.5; the library itself does not compare the addresses.
func (s *spfResolver) LookupAddr(_ context.Context, _ string) ([]string, error) {
	r, err := s.answer(key{addr: s.client, qtype: dns.TypePTR})
	if err != nil || r == nil {
		return nil, err
	}
	missed := s.p.missed
	s.p.missed = false
	good := s.p.confirm(ptrNames(r, "").Value, s.client, "")
	if s.p.missed {
		s.stops = true
		return nil, errStop
	}
	s.p.missed = missed
	var failed *Error
	if errors.As(good.Err, &failed) && s.failure == nil {
		s.failure = failed
	}
	names := make([]string, len(good.Value))
	for i, name := range good.Value {
		names[i] = name + "."
	}
	return names, nil
}
