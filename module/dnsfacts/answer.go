package dnsfacts

import (
	"cmp"
	"errors"
	"net/netip"
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
	maxAddrs    = 64  // addresses in Facts
	maxMX       = 20  // MX hosts
	maxTXT      = 16  // TXT records that are no SPF record
	maxTXTOctet = 256 // of a TXT record that is no SPF record
)

// chain follows the CNAME records of an answer.
type chain struct {
	name string // where the chain has got to, lower-case, with final dot
	hops int
	ttl  uint32 // smallest TTL seen, in seconds
}

// follow goes along the CNAME records in rrs. It fails on a loop and on
// more than maxAliases.
func (c *chain) follow(rrs []dns.RR, qtype uint16) bool {
	for {
		i := slices.IndexFunc(rrs, func(rr dns.RR) bool {
			h := rr.Header()
			return h.Rrtype == dns.TypeCNAME && h.Class == dns.ClassINET && sameName(h.Name, c.name)
		})
		if i < 0 || qtype == dns.TypeCNAME {
			return true
		}
		cname, ok := rrs[i].(*dns.CNAME)
		if c.hops++; !ok || c.hops > maxAliases || sameName(cname.Target, c.name) {
			return false
		}
		c.name = strings.ToLower(cname.Target)
		c.ttl = min(c.ttl, seconds(cname.Hdr.Ttl))
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

// read turns an answer into a record and the time to keep it. It returns no record
// where the chain is not complete and its end, in name, has to be asked for.
func (c *chain) read(m *dns.Msg, qtype uint16) (*record, time.Duration, error) {
	bad := func(kind, text string) (*record, time.Duration, error) {
		return nil, 0, &Error{Kind: kind, Err: errors.New(text)}
	}
	switch {
	case m == nil:
		return bad(KindMalformed, "no answer")
	case m.Truncated:
		return bad(KindMalformed, "truncated")
	case m.Rcode != dns.RcodeSuccess && m.Rcode != dns.RcodeNameError:
		return nil, 0, rcodeFailure(m.Rcode)
	case !c.follow(m.Answer, qtype):
		return bad(KindCNAME, "loop or too long a chain")
	}
	rec := &record{secure: m.AuthenticatedData}
	if c.collect(rec, m.Answer, qtype) {
		return rec, time.Duration(c.ttl) * time.Second, nil
	}
	soa, referral := authority(m)
	switch rec.denied = KindNoData; {
	case m.Rcode == dns.RcodeNameError:
		rec.denied = KindNXDomain
	case len(m.Answer) > 0 && c.hops > 0 && soa == nil:
		return nil, 0, nil
	case referral && soa == nil: // RFC 2308, section 2.2
		return bad(KindReferral, "the server does not recurse")
	}
	if soa == nil {
		return rec, failTTL, nil
	}
	// RFC 2308, section 5.
	ttl := min(c.ttl, seconds(soa.Hdr.Ttl), seconds(soa.Minttl))
	return rec, time.Duration(ttl) * time.Second, nil
}

// authority returns the SOA record of the authority section, and whether NS records
// are there.
func authority(m *dns.Msg) (soa *dns.SOA, ns bool) {
	for _, rr := range m.Ns {
		switch rr := rr.(type) {
		case *dns.SOA:
			soa = cmp.Or(soa, rr)
		case *dns.NS:
			ns = true
		}
	}
	return soa, ns
}

// collect takes the records of the wanted type at the end of the chain and
// reports whether there was any.
func (c *chain) collect(rec *record, rrs []dns.RR, qtype uint16) bool {
	var mx []*dns.MX
	found := false
	for _, rr := range rrs {
		h := rr.Header()
		if h.Rrtype != qtype || h.Class != dns.ClassINET || !sameName(h.Name, c.name) {
			continue
		}
		found = true
		c.ttl = min(c.ttl, seconds(h.Ttl))
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
		r.addText(octets(strings.Join(rr.Txt, "")))
	}
}

// octets undoes the escapes that the library puts into texts: \c and \DDD.
func octets(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
			if n, err := strconv.ParseUint(s[i:min(i+3, len(s))], 10, 8); err == nil && i+2 < len(s) {
				b.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
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
// that a host can have. The root, as in a null MX (RFC 7505), is none.
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
