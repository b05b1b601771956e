package dnsfacts

import (
	"context"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// Limits of one answer. It fails with more aliases; other records beyond a limit are dropped.
const (
	maxAliases  = 8   // CNAME records in a row
	maxPTR      = 10  // PTR names in Facts
	keepPTR     = 256 // PTR names kept to choose from
	maxMX       = 20  // MX hosts
	maxTXT      = 16  // TXT records that are no SPF record
	maxTXTOctet = 256 // octets kept of a TXT record that is no SPF record
)

// follow follows the CNAME records of m. It sets at.Name to the last target and lowers at.Ttl to
// the smallest TTL seen. It returns hops plus the aliases followed. It fails on an error RCODE,
// a loop, or more than maxAliases.
func follow(m *dns.Msg, at *dns.RR_Header, hops int) (int, error) {
	if m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError {
		return hops, rcodeFailure(m.Rcode)
	}
	for {
		aliases := matching(m.Answer, at, dns.TypeCNAME)
		if len(aliases) == 0 {
			return hops, nil
		}
		cname, ok := aliases[0].(*dns.CNAME)
		if hops++; !ok || hops > maxAliases || strings.EqualFold(cname.Target, at.Name) {
			return hops, fault(KindCNAME, "loop or too long a chain")
		}
		at.Name = strings.ToLower(cname.Target)
	}
}

// read converts a response into a record and the time to keep it. It returns a nil record and no
// error if the response ends with an alias: the caller must then query at.Name.
func read(m *dns.Msg, at *dns.RR_Header, aliased bool) (*record, time.Duration, error) {
	rec := new(record)
	if rrs := matching(m.Answer, at, at.Rrtype); len(rrs) > 0 {
		rec.collect(rrs)
		return rec, time.Duration(at.Ttl) * time.Second, nil
	}
	isSOA := func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeSOA }
	isNS := func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeNS }
	soaAt := slices.IndexFunc(m.Ns, isSOA)
	switch rec.denied = KindNoData; {
	case m.Rcode == dns.RcodeNameError:
		rec.denied = KindNXDomain
	case soaAt < 0 && aliased && len(m.Answer) > 0:
		return nil, 0, nil
	case soaAt < 0 && slices.ContainsFunc(m.Ns, isNS): // RFC 2308, section 2.2
		return nil, 0, fault(KindReferral, "the server does not recurse")
	}
	if soaAt < 0 {
		return rec, failTTL, nil
	}
	if soa, ok := m.Ns[soaAt].(*dns.SOA); ok { // RFC 2308, section 5
		shorten(at, soa.Hdr.Ttl)
		shorten(at, soa.Minttl)
	}
	return rec, time.Duration(at.Ttl) * time.Second, nil
}

// matching returns the records of rrtype with owner at.Name, and lowers at.Ttl to their TTLs.
func matching(rrs []dns.RR, at *dns.RR_Header, rrtype uint16) (found []dns.RR) {
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype == rrtype && h.Class == dns.ClassINET && strings.EqualFold(h.Name, at.Name) {
			found = append(found, rr)
			shorten(at, h.Ttl)
		}
	}
	return found
}

// shorten lowers at.Ttl to ttl. A TTL with its highest bit set counts as zero (RFC 2181,
// section 8).
func shorten(at *dns.RR_Header, ttl uint32) {
	if ttl >= 1<<31 {
		ttl = 0
	}
	at.Ttl = min(at.Ttl, ttl)
}

// collect stores the data of rrs, all of one type; MX hosts by preference. It keeps all addresses,
// since any of them may be a client's. The 64 KiB of a DNS message limit their number.
func (r *record) collect(rrs []dns.RR) {
	preference := func(rr dns.RR) int {
		if mx, ok := rr.(*dns.MX); ok {
			return int(mx.Preference)
		}
		return 0
	}
	slices.SortStableFunc(rrs, func(x, y dns.RR) int { return preference(x) - preference(y) })
	for _, rr := range rrs {
		switch rr := rr.(type) {
		case *dns.A:
			r.addAddr(rr.A)
		case *dns.AAAA:
			r.addAddr(rr.AAAA)
		case *dns.MX:
			r.addHost(rr.Mx, maxMX)
		case *dns.PTR:
			r.addHost(rr.Ptr, keepPTR)
		case *dns.TXT:
			// An SPF record must be complete. Other TXT records are only logged and can be cut.
			if s := octets(strings.Join(rr.Txt, "")); isSPF(s) {
				r.texts = append(r.texts, spfRecord(s))
			} else if len(r.texts) < maxTXT {
				r.texts = append(r.texts, strings.Clone(s[:min(len(s), maxTXTOctet)]))
			}
		}
	}
	r.texts, r.addrs = slices.Clip(r.texts), slices.Clip(r.addrs)
}

func (r *record) addAddr(octets []byte) {
	if addr, ok := netip.AddrFromSlice(octets); ok {
		r.addrs = append(r.addrs, addr.Unmap())
	}
}

func (r *record) addHost(s string, most int) {
	if name := hostName(s); name != "" && len(r.texts) < most {
		r.texts = append(r.texts, name)
	}
}

var escape = regexp.MustCompile(`\\(?:[0-9]{3}|.)`)

// octets undoes the escapes that the library puts into texts: \c and \DDD.
func octets(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	return escape.ReplaceAllStringFunc(s, func(e string) string {
		if n, err := strconv.ParseUint(e[1:], 10, 8); err == nil && len(e) > 2 {
			return string([]byte{byte(n)})
		}
		return e[1:]
	})
}

// hostName converts a DNS name to the form used in Facts. It returns "" for a name that
// no host can have, such as the root in a null MX (RFC 7505).
func hostName(s string) string {
	n := heloname.Parse(strings.TrimSuffix(s, "."))
	if n.TrailingDot {
		return ""
	}
	return n.ASCII
}

// family returns the RR type of the client's address family (A or AAAA), then that of the other.
func family(client netip.Addr) (own, other uint16) {
	if client.Is6() {
		return dns.TypeAAAA, dns.TypeA
	}
	return dns.TypeA, dns.TypeAAAA
}

// forward looks up the addresses of the HELO name. If the client's own family contains the
// client, the other family is not queried. Otherwise both lookups must succeed.
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

// answer converts r to a fact: Failed, NotFound, or Found with value v.
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

// mx looks up the MX hosts of the HELO name. If Forward is wanted too, mx sends its query
// after the lookup in the client's own address family found no address.
func (p *Pending) mx(f *checkhelo.Facts) (a checkhelo.Answer[[]string]) {
	addressed := !lacks(&f.Forward) && f.Forward.State != checkhelo.NotFound
	if f.Helo.ASCII == "" || addressed {
		return a
	}
	if lacks(&f.Forward) && p.want&checkhelo.NeedForward != 0 && p.over == nil {
		own, _ := family(f.Client)
		if r := p.get(key{name: f.Helo.ASCII, qtype: own}); r.failed() || len(r.addrs) > 0 {
			p.missed++ // wait until Forward is known
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

// tld looks up whether the root zone has the last label of the HELO name. Only NXDOMAIN
// gives NotFound: after NODATA the TLD exists.
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

// ptr looks up the PTR names of the client's address.
func (p *Pending) ptr(f *checkhelo.Facts) (a checkhelo.Answer[[]string]) {
	if !f.Client.IsValid() {
		return a
	}
	return ptrNames(p.get(key{addr: f.Client, qtype: dns.TypePTR}), f.Helo.ASCII)
}

// ptrNames converts a PTR answer to a fact. It is NotFound if no name is a valid host name.
func ptrNames(r *record, helo string) checkhelo.Answer[[]string] {
	if r.found() && len(r.texts) == 0 {
		return none[[]string]()
	}
	return answer(r, nearest(r.texts, helo))
}

// nearest returns at most maxPTR names. If there are more, it prefers the HELO name, then
// names of the same organisation.
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

// confirmed looks up which PTR names resolve back to the client.
func (p *Pending) confirmed(f *checkhelo.Facts) checkhelo.Answer[[]string] {
	if f.PTR.State != checkhelo.Found {
		return checkhelo.Answer[[]string]{State: f.PTR.State, Err: f.PTR.Err}
	}
	return p.confirm(f.PTR.Value, f)
}

// confirm returns the names that resolve to the client. One failed lookup makes the answer
// Failed, since that name might resolve to the client. Value has the confirmed names even then.
// The HELO name is not queried if Forward contains the client.
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
		if len(a.Value) == i { // all names so far are confirmed: share their array
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

// HostAddrs sets f.MX to the MX hosts of the HELO name and returns the addresses of the
// first eight hosts. It leaves out addresses whose lookup fails. p is the result of Start
// for the greeting and may be nil. The queries count against the budget of p.
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
