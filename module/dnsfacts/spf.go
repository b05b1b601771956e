package dnsfacts

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"blitiri.com.ar/go/spf"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// spf looks up the SPF result of the HELO identity (RFC 7208, section 2.3). The result is
// "none" for a name that cannot have an SPF record, such as a literal. The library runs on
// the answers so far. The result is cached for the shortest TTL of its answers.
func (p *Pending) spf(f *checkhelo.Facts) (a checkhelo.Answer[string]) {
	switch {
	case !f.Client.IsValid():
		return a
	case f.Helo.Kind != heloname.FQDN:
		return known(string(spf.None))
	}
	name, client := f.Helo.ASCII, f.Client
	k := key{name: name, addr: client, qtype: typeSPF}
	txt := key{name: name, qtype: dns.TypeTXT}
	if !p.asked(txt) && p.over == nil {
		if r := p.g.Cache.get(k); r != nil {
			return known(r.texts[0])
		}
	}
	before := p.missed
	if r := p.get(txt); r.failed() {
		return answer(r, "")
	}
	s := &spfResolver{p: p, facts: f, ttl: maxTTL}
	result, _ := spf.CheckHostWithSender(client.AsSlice(), name, "postmaster@"+name,
		spf.WithResolver(s))
	if s.failure != nil && result != spf.Pass {
		// In some places the library counts a failed lookup as "no match", which
		// can turn a pass into a fail. So only a pass is certain.
		return answer(&record{err: s.failure}, "")
	}
	if p.missed == before {
		p.g.Cache.put(k, &record{texts: []string{string(result)}}, s.ttl)
	}
	return known(string(result))
}

// spfResolver gives the library the answers of the greeting. If an answer is missing, it queues
// the query and returns an answer that does not match. So the library goes on, and all queries of
// the record are sent at once. The result of such a run is dropped. If the query was sent before,
// the library stops instead, since that answer may decide the result.
type spfResolver struct {
	p       *Pending
	facts   *checkhelo.Facts
	ttl     time.Duration // shortest time left of an answer used
	failure *Error        // of the first lookup that failed
	stops   bool          // no more queries in this run
	exists  bool          // a record may have the mechanism "exists"
}

var (
	// unknown replaces a missing answer.
	unknown     = &record{texts: []string{""}, addrs: []netip.Addr{netip.IPv6Unspecified()}}
	errNotFound = &net.DNSError{Err: "no such record", IsNotFound: true}
	errStop     = &net.DNSError{Err: "waiting for an answer", IsTemporary: true}
)

// look returns the answer to a query from an SPF record. name can be any text.
func (s *spfResolver) look(name string, qtype uint16) (*record, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for len(name) > 253 && strings.Contains(name, ".") { // RFC 7208, section 7.3
		_, name, _ = strings.Cut(name, ".")
	}
	if name == "" {
		return new(record), errNotFound
	}
	return s.answer(key{name: name, qtype: qtype})
}

func (s *spfResolver) answer(k key) (*record, error) {
	if s.stops {
		return notYet, errStop
	}
	asked, r := s.p.asked(k), s.p.get(k)
	switch {
	case r == notYet && !asked:
		return unknown, nil
	case r == notYet:
		s.stops = true
		return r, errStop
	case r.failed():
		s.failure = cmp.Or(s.failure, r.err)
		return r, &net.DNSError{Err: r.err.Kind, IsTemporary: true}
	}
	s.ttl = min(s.ttl, s.p.g.Cache.left(r))
	if !r.found() {
		return r, errNotFound
	}
	return r, nil
}

// LookupTXT implements spf.DNSResolver.
func (s *spfResolver) LookupTXT(_ context.Context, name string) ([]string, error) {
	r, err := s.look(name, dns.TypeTXT)
	if r == unknown {
		return []string{spfVersion + " ?all"}, nil
	}
	hasExists := func(txt string) bool { return strings.Contains(strings.ToLower(txt), "exists:") }
	s.exists = s.exists || slices.ContainsFunc(r.texts, hasExists)
	return r.texts, err
}

// LookupMX implements spf.DNSResolver.
func (s *spfResolver) LookupMX(_ context.Context, name string) (hosts []*net.MX, err error) {
	r, err := s.look(name, dns.TypeMX)
	for _, host := range r.texts {
		hosts = append(hosts, &net.MX{Host: host})
	}
	return hosts, err
}

// LookupIPAddr implements spf.DNSResolver. RFC 7208, section 5 uses the client's address family,
// but "exists" always uses A. The library does not tell which mechanism it evaluates, so that for
// an IPv6 client both are queried once a record has an "exists".
func (s *spfResolver) LookupIPAddr(_ context.Context, host string) (list []net.IPAddr, _ error) {
	own, _ := family(s.facts.Client)
	types := []uint16{own}
	if s.exists && own != dns.TypeA {
		types = append(types, dns.TypeA)
	}
	var failed error = errNotFound
	for _, qtype := range types {
		r, err := s.look(host, qtype)
		if err != nil && err != error(errNotFound) {
			failed = err
		}
		for _, addr := range r.addrs {
			list = append(list, net.IPAddr{IP: addr.AsSlice()})
		}
	}
	if len(list) > 0 {
		failed = nil
	}
	return list, failed
}

// LookupAddr implements spf.DNSResolver. It returns confirmed names only,
// RFC 7208, section 5.5; the library itself does not compare the addresses.
func (s *spfResolver) LookupAddr(_ context.Context, _ string) (names []string, err error) {
	r, err := s.answer(key{addr: s.facts.Client, qtype: dns.TypePTR})
	if err != nil || r == unknown {
		return nil, err
	}
	before := s.p.missed
	good := s.p.confirm(ptrNames(r, "").Value, s.facts)
	if s.stops = s.p.missed > before; s.stops {
		return nil, errStop
	}
	if failed, ok := good.Err.(*Error); ok {
		s.failure = cmp.Or(s.failure, failed)
	}
	for _, name := range good.Value {
		names = append(names, name+".")
	}
	return names, nil
}

// spfVersion begins an SPF record.
const spfVersion = "v=spf1"

// isSPF reports whether a TXT record is an SPF record, RFC 7208, section 4.5.
func isSPF(txt string) bool {
	version, _, _ := strings.Cut(txt, " ")
	return strings.EqualFold(version, spfVersion)
}

// spfTerm matches a term of an SPF record by the grammar of RFC 7208, section 12, without the
// macro letters c, r and t, which are for explanations only (section 7.2).
var spfTerm = func() *regexp.Regexp {
	const (
		expand = `%\{[slodiphv](?:0*[1-9][0-9]*)?r?[-.+,/_=]*\}|%%|%_|%-`
		str    = `(?:` + expand + `|[!-$&-~])*`
		label  = `[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9]`
		domain = str + `(?:\.(?:` + label + `)\.?|` + expand + `)`
		length = `(?:/(?:[0-9]|[12][0-9]|3[0-2]))?(?://(?:[0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?`
	)
	return regexp.MustCompile(`(?i)^(?:[-+?~]?(?:all|(?:include|exists):` + domain +
		`|ptr(?::` + domain + `)?|(?:a|mx)(?::` + domain + `)?` + length +
		`|ip([46]):([^/]+)(?:/([0-9]+))?)` +
		`|(redirect|exp)=` + domain + `|([a-z][a-z0-9._-]*)=` + str + `)$`)
}()

// spfRecord checks an SPF record by the grammar of RFC 7208, section 12. It returns
// the record without unknown modifiers and explanations, which change no result
// (section 6), and spfBroken for a record with a syntax error anywhere (section 4.6).
func spfRecord(txt string) string {
	terms := strings.Split(txt, " ")
	kept := terms[:1]
	modifiers := make(map[string]bool)
	for _, term := range terms[1:] {
		if term == "" {
			continue
		}
		m := spfTerm.FindStringSubmatch(term)
		if m == nil {
			return spfBroken
		}
		ip, modifier, other := m[1], strings.ToLower(m[4]), strings.ToLower(m[5])
		switch {
		case ip != "" && !spfNetwork(ip, m[2], m[3]),
			modifiers[modifier], other == "redirect", other == "exp":
			return spfBroken
		case modifier != "":
			modifiers[modifier] = true
			if modifier == "redirect" { // the library accepts lower case only
				kept = append(kept, modifier+term[len(modifier):])
			}
		case other == "":
			kept = append(kept, term)
		}
	}
	return strings.Join(kept, " ")
}

// spfBroken is a record that the library reports as permerror.
const spfBroken = spfVersion + " !"

// spfNetwork reports whether addr and length, which may be "", are valid and of the family.
func spfNetwork(family, addr, length string) bool {
	a, err := netip.ParseAddr(addr)
	if err == nil && length != "" {
		_, err = netip.ParsePrefix(addr + "/" + length)
	}
	return err == nil && a.Zone() == "" && a.Is4() == (family == "4")
}
