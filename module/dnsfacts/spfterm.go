package dnsfacts

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// matchesIP reports whether an ip4 or ip6 mechanism has the client.
func matchesIP(term string, client netip.Addr) bool {
	text, ok := strings.CutPrefix(term, "ip4:")
	if !ok {
		if text, ok = strings.CutPrefix(term, "ip6:"); !ok {
			return false
		}
	}
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Contains(client)
	}
	addr, err := netip.ParseAddr(text)
	return err == nil && addr == client
}

// target returns what a lower-case SPF term of domain will be asked for; 0
// when it asks for nothing.
func target(term, domain string) (qtype uint16, name string) {
	if other, ok := strings.CutPrefix(term, "redirect="); ok {
		return dns.TypeTXT, other
	}
	term, _, _ = strings.Cut(term, "/")
	mechanism, name, given := strings.Cut(term, ":")
	if !given {
		name = domain
	}
	switch mechanism {
	case "a":
		return dns.TypeA, name
	case "mx":
		return dns.TypeMX, name
	case "include":
		return dns.TypeTXT, name
	case "exists":
		return dns.TypeA, name
	}
	return 0, ""
}

// scoutFor asks for one target and, when that is a list of MX hosts or another SPF
// record, for what this refers to.
func (s *spfResolver) scoutFor(qtype uint16, name string) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, ok := dns.IsDomainName(name); !ok || name == "" {
		return
	}
	if qtype == dns.TypeA && s.client.Is6() {
		qtype = dns.TypeAAAA
	}
	r := s.asker.safely(key{name: name, qtype: qtype})
	switch qtype {
	case dns.TypeTXT:
		for _, txt := range r.texts {
			s.scout.ahead(s, txt, name)
		}
	case dns.TypeMX:
		own, _ := family(s.client)
		hosts := r.texts[:min(len(r.texts), spfLookups)]
		s.asker.each(len(hosts), func(i int) {
			s.asker.safely(key{name: hosts[i], qtype: own})
		})
	}
}
