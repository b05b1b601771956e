package dnsfacts

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// spf learns the SPF result of the HELO identity (RFC 7208, section 2.3). A
// name that can have no SPF record, such as a literal, has "none".
func (a asker) spf(f *checkhelo.Facts) bool {
	if f.Helo.Kind != heloname.FQDN {
		publish(a, &f.SPF, known(string(spf.None)))
		return true
	}
	k := key{name: f.Helo.ASCII, addr: f.Client, qtype: typeSPF}
	var r record
	if !a.g.Cache.get(k, &r) {
		if !a.cold() {
			return false
		}
		r = a.evaluate(k)
	}
	if r.failed() {
		publish(a, &f.SPF, lost[string](r.err))
	} else {
		publish(a, &f.SPF, known(r.texts[0]))
	}
	return true
}

// evaluate runs the library over our look-ups and keeps its result for as
// long as the answers it rests on.
func (a asker) evaluate(k key) record {
	ctx, cancel := context.WithCancel(a.ctx)
	a.ctx = ctx
	s := &spfResolver{asker: a, client: k.addr, ttl: maxTTL}
	s.scout.budget.Store(spfLookups)
	defer s.scout.wg.Wait() // after cancel
	defer cancel()

	result, err := spf.CheckHostWithSender(k.addr.AsSlice(), k.name, "postmaster@"+k.name,
		spf.WithContext(ctx), spf.WithResolver(s))
	r := record{texts: []string{string(result)}}
	// A failed look-up counts as "this mechanism does not match" in some
	// places, which can turn a pass into a fail. Only a pass is sure then.
	failed := s.failure.Load()
	if result == spf.TempError && failed == nil {
		failed = &Error{Kind: kindOf(err), Name: k.name, Type: dns.TypeTXT, Err: err}
	}
	if failed != nil && result != spf.Pass {
		r = record{err: failed, fleeting: true}
	}
	if !r.fleeting {
		a.g.Cache.put(k, &r, s.ttl)
	}
	return r
}

// spfResolver is the library's way to our look-ups.
type spfResolver struct {
	asker   asker
	client  netip.Addr
	ttl     time.Duration // shortest life of an answer used
	failure atomic.Pointer[Error]
	scout   scout
}

var errNotFound = &net.DNSError{Err: "no such record", IsNotFound: true}

// look asks for what an SPF record names, which can be any text.
func (s *spfResolver) look(name string, qtype uint16) (*record, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return nil, errNotFound
	}
	r := s.asker.safely(key{name: name, qtype: qtype})
	return s.used(&r)
}

// used notes what an answer means for the result's life and certainty.
func (s *spfResolver) used(r *record) (*record, error) {
	if r.failed() {
		s.failure.CompareAndSwap(nil, r.err)
		return nil, &net.DNSError{Err: r.err.Kind, IsTemporary: true}
	}
	s.ttl = min(s.ttl, s.asker.g.Cache.left(r))
	if !r.found() {
		return nil, errNotFound
	}
	return r, nil
}

// LookupTXT implements spf.DNSResolver.
func (s *spfResolver) LookupTXT(_ context.Context, name string) ([]string, error) {
	r, err := s.look(name, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	for _, txt := range r.texts {
		s.scout.ahead(s, txt, name)
	}
	return r.texts, nil
}

// LookupMX implements spf.DNSResolver.
func (s *spfResolver) LookupMX(_ context.Context, name string) ([]*net.MX, error) {
	r, err := s.look(name, dns.TypeMX)
	if err != nil {
		return nil, err
	}
	hosts := make([]*net.MX, len(r.texts))
	for i, host := range r.texts {
		hosts[i] = &net.MX{Host: host}
	}
	return hosts, nil
}

// LookupIPAddr implements spf.DNSResolver. RFC 7208, section 5 asks for
// the client's address family only, but for "exists" always for A; as the
// library does not say which it is, an IPv6 client costs both.
func (s *spfResolver) LookupIPAddr(_ context.Context, host string) ([]net.IPAddr, error) {
	r, err := s.look(host, dns.TypeA)
	if s.client.Is6() {
		r6, err6 := s.look(host, dns.TypeAAAA)
		if err6 == nil {
			return append(ipAddrs(r), ipAddrs(r6)...), nil
		}
		if errors.Is(err, errNotFound) {
			err = err6
		}
	}
	return ipAddrs(r), err
}

func ipAddrs(r *record) []net.IPAddr {
	if r == nil {
		return nil
	}
	list := make([]net.IPAddr, len(r.addrs))
	for i, addr := range r.addrs {
		list[i].IP = addr.AsSlice()
	}
	return list
}

// LookupAddr implements spf.DNSResolver. It returns confirmed names only,
// RFC 7208, section 5.5; the library itself does not compare the addresses.
func (s *spfResolver) LookupAddr(_ context.Context, _ string) ([]string, error) {
	r := s.asker.safely(key{addr: s.client, qtype: dns.TypePTR})
	_, err := s.used(&r)
	if err != nil {
		return nil, err
	}
	good, _ := s.asker.confirm(ptrNames(&r, ""), s.client)
	if failed, ok := good.Err.(*Error); ok {
		s.failure.CompareAndSwap(nil, failed)
	}
	names := make([]string, len(good.Value))
	for i, name := range good.Value {
		names[i] = name + "."
	}
	return names, nil
}

// spfLookups bounds the mechanisms that cause look-ups, RFC 7208, 4.6.4.
const spfLookups = 10

// scout asks ahead for what an SPF record refers to. The library goes
// through the mechanisms one after the other, each waiting for the DNS; so
// the answers are on their way when it gets there.
type scout struct {
	wg     sync.WaitGroup
	budget atomic.Int32
}

// ahead begins the look-ups of one record of domain, up to the mechanism
// that ends the evaluation.
func (c *scout) ahead(s *spfResolver, txt, domain string) {
	terms := strings.Fields(strings.ToLower(txt))
	if len(terms) == 0 || terms[0] != "v=spf1" {
		return
	}
	for _, term := range terms[1:] {
		term = strings.TrimLeft(term, "+-~?")
		if term == "all" || matchesIP(term, s.client) {
			return
		}
		qtype, name := target(term, domain)
		if qtype == 0 || strings.ContainsAny(name, "%/") {
			continue
		}
		if c.budget.Add(-1) < 0 {
			return
		}
		c.wg.Add(1)
		go func() {
			defer c.wg.Done()
			s.scoutFor(qtype, name)
		}()
	}
}
