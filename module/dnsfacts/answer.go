package dnsfacts

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo/module/heloname"
)

// Bounds of what one answer may hold. What lies above is cut.
const (
	maxAliases  = 8   // CNAME records in a row
	maxPTR      = 10  // PTR names in Facts
	keepPTR     = 256 // PTR names kept to choose from
	maxMX       = 20  // MX hosts
	maxTXT      = 16  // TXT records that are no SPF record
	maxTXTOctet = 256 // of a TXT record that is no SPF record
)

// follow goes along the CNAME records of an answer: at is what is looked for, whose name moves on
// and whose TTL becomes the smallest seen. It adds the records passed to hops, and fails where the
// answer is none, on a loop, and on more than maxAliases.
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

// read turns an answer into a record and the time to keep it. It returns no record where aliases
// were followed and their end, at, has to be asked for.
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

// matching returns the records of a type and of at's name.
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

// shorten lowers the time to keep the answer to a TTL. One with its highest bit set
// counts as zero (RFC 2181, section 8).
func shorten(at *dns.RR_Header, ttl uint32) {
	if ttl >= 1<<31 {
		ttl = 0
	}
	at.Ttl = min(at.Ttl, ttl)
}

// collect takes records of one type, MX hosts by preference.
func (r *record) collect(rrs []dns.RR) {
	preference := func(rr dns.RR) int {
		if mx, ok := rr.(*dns.MX); ok {
			return int(mx.Preference)
		}
		return 0
	}
	slices.SortStableFunc(rrs, func(x, y dns.RR) int { return preference(x) - preference(y) })
	for _, rr := range rrs {
		r.add(rr)
	}
	r.texts, r.addrs = slices.Clip(r.texts), slices.Clip(r.addrs)
}

// add takes one record. All addresses are kept, since each client looks for
// another one; a message of 64 KiB bounds them.
func (r *record) add(rr dns.RR) {
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
		// Of an SPF record a part means something else; of others a log can use the beginning.
		if s := octets(strings.Join(rr.Txt, "")); isSPF(s) {
			r.texts = append(r.texts, spfRecord(s))
		} else if len(r.texts) < maxTXT {
			r.texts = append(r.texts, strings.Clone(s[:min(len(s), maxTXTOctet)]))
		}
	}
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

// hostName returns a name from the DNS as Facts have it, "" when it is none
// that a host can have. The root, as in a null MX (RFC 7505), is none.
func hostName(s string) string {
	n := heloname.Parse(strings.TrimSuffix(s, "."))
	if n.TrailingDot {
		return ""
	}
	return n.ASCII
}
