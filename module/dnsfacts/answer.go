package dnsfacts

import (
	"errors"
	"net/netip"
	"slices"
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
	maxAddrs    = 64  // addresses in Facts
	maxMX       = 20  // MX hosts
	maxTXT      = 16  // TXT records that are no SPF record
	maxTXTOctet = 256 // of a TXT record that is no SPF record
)

// alias follows the CNAME records of an answer.
type alias struct {
	name string // where the chain has got to, lower-case, with final dot
	hops int
	ttl  uint32 // smallest TTL seen, in seconds
}

func newAlias(name string) alias {
	return alias{name: dns.Fqdn(name), ttl: ^uint32(0)}
}

// follow goes along the CNAME records in rrs. It fails on a loop and on
// more than maxAliases.
func (a *alias) follow(rrs []dns.RR, qtype uint16) bool {
	for {
		i := slices.IndexFunc(rrs, func(rr dns.RR) bool {
			h := rr.Header()
			return h.Rrtype == dns.TypeCNAME && h.Class == dns.ClassINET && sameName(h.Name, a.name)
		})
		if i < 0 || qtype == dns.TypeCNAME {
			return true
		}
		cname, ok := rrs[i].(*dns.CNAME)
		if a.hops++; !ok || a.hops > maxAliases || sameName(cname.Target, a.name) {
			return false
		}
		a.name = strings.ToLower(cname.Target)
		a.ttl = min(a.ttl, seconds(cname.Hdr.Ttl))
	}
}

func sameName(a, b string) bool { return strings.EqualFold(a, b) }

// seconds reads a TTL. One with its highest bit set counts as zero
// (RFC 2181, section 8).
func seconds(ttl uint32) uint32 {
	if ttl >= 1<<31 {
		return 0
	}
	return ttl
}

// read turns an answer into a record and the time to keep it. more is the
// name that an incomplete CNAME chain ends at and that has to be asked for.
func (a *alias) read(m *dns.Msg, qtype uint16) (rec record, ttl time.Duration, more bool) {
	switch {
	case m == nil:
		return failure(KindMalformed, "no answer"), failTTL, false
	case m.Truncated:
		return failure(KindMalformed, "truncated"), failTTL, false
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return failure(rcodeKind(m.Rcode), dns.RcodeToString[m.Rcode]), failTTL, false
	case !a.follow(m.Answer, qtype):
		return failure(KindCNAME, "loop or too long a chain"), failTTL, false
	}
	rec = record{secure: m.AuthenticatedData}
	if a.collect(&rec, m.Answer, qtype) {
		return rec, time.Duration(a.ttl) * time.Second, false
	}
	if m.Rcode == dns.RcodeNameError {
		rec.denied = KindNXDomain
		return rec, a.deniedFor(m), false
	}
	soa, referral := authority(m)
	switch {
	case len(m.Answer) > 0 && a.hops > 0 && !soa:
		return record{}, 0, true
	case referral && !soa: // RFC 2308, section 2.2
		return failure(KindReferral, "the server does not recurse"), failTTL, false
	}
	rec.denied = KindNoData
	return rec, a.deniedFor(m), false
}

func failure(kind, text string) record {
	return record{err: &Error{Kind: kind, Err: errors.New(text)}}
}

func authority(m *dns.Msg) (soa, ns bool) {
	for _, rr := range m.Ns {
		switch rr.Header().Rrtype {
		case dns.TypeSOA:
			soa = true
		case dns.TypeNS:
			ns = true
		}
	}
	return soa, ns
}

// deniedFor returns how long a denial holds, RFC 2308, section 5.
func (a *alias) deniedFor(m *dns.Msg) time.Duration {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			ttl := min(a.ttl, seconds(soa.Hdr.Ttl), seconds(soa.Minttl))
			return time.Duration(ttl) * time.Second
		}
	}
	return failTTL
}

// collect takes the records of the wanted type at the end of the chain and
// reports whether there was any.
func (a *alias) collect(rec *record, rrs []dns.RR, qtype uint16) bool {
	var mx []*dns.MX
	found := false
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || !sameName(h.Name, a.name) {
			continue
		}
		found = true
		a.ttl = min(a.ttl, seconds(h.Ttl))
		if host, ok := rr.(*dns.MX); ok {
			mx = append(mx, host)
			continue
		}
		rec.add(rr)
	}
	slices.SortStableFunc(mx, func(x, y *dns.MX) int { return int(x.Preference) - int(y.Preference) })
	for _, host := range mx[:min(len(mx), maxMX)] {
		if name := hostName(host.Mx); name != "" {
			rec.texts = append(rec.texts, name)
		}
	}
	rec.texts = slices.Clip(rec.texts)
	rec.addrs = slices.Clip(rec.addrs)
	return found
}

// add takes one record. All addresses are kept, since each client looks for
// another one; a message of 64 KiB bounds them.
func (r *record) add(rr dns.RR) {
	switch rr := rr.(type) {
	case *dns.A:
		r.addAddr(rr.A.To4())
	case *dns.AAAA:
		r.addAddr(rr.AAAA)
	case *dns.PTR:
		if name := hostName(rr.Ptr); name != "" && len(r.texts) < keepPTR {
			r.texts = append(r.texts, name)
		}
	case *dns.TXT:
		r.addText(strings.Join(rr.Txt, ""))
	}
}

func (r *record) addAddr(octets []byte) {
	if addr, ok := netip.AddrFromSlice(octets); ok {
		r.addrs = append(r.addrs, addr.Unmap())
	}
}

// addText keeps SPF records whole, because a part of one means something
// else, and of other texts what a log can use.
func (r *record) addText(s string) {
	const version = "v=spf1" // RFC 7208, section 4.5
	if len(s) >= len(version) && strings.EqualFold(s[:len(version)], version) {
		r.texts = append(r.texts, s)
	} else if len(r.texts) < maxTXT {
		r.texts = append(r.texts, strings.Clone(s[:min(len(s), maxTXTOctet)]))
	}
}

// hostName returns a name from the DNS as Facts have it, "" when it is none
// that a host can have. A null MX (RFC 7505) is such a one.
func hostName(s string) string {
	if len(s) > 1 && s[len(s)-1] == '.' {
		s = s[:len(s)-1]
	}
	n := heloname.Parse(s)
	if n.TrailingDot {
		return ""
	}
	return n.ASCII
}
