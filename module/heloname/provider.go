package heloname

import (
	"fmt"
	"strings"
)

// Provider is a well-known sender of mail. All names are lower-case domains;
// each means itself and everything below it. A name with "*" for its last
// label (yahoo.*) is a family: the domains yahoo.xx, yahoo.co.xx and
// yahoo.com.xx of all countries.
type Provider struct {
	Name string
	Helo []string // what its servers say in HELO
	PTR  []string // where the PTR names of its servers stand
	// Strong tells that every host of the provider has a PTR name of its
	// own, so that a PTR name elsewhere gives the lie to any name below its
	// HELO domains, not to the domains alone.
	Strong bool
}

// Owns tells whether a PTR name, lower-case and without final dot, is one of
// the provider's own. It says nothing about whether the name resolves back
// to the client.
func (p *Provider) Owns(ptrName string) bool {
	for _, domain := range p.PTR {
		label, isFamily := strings.CutSuffix(domain, familyMark)
		if Below(ptrName, domain) || isFamily && label == familyOf(ptrName) {
			return true
		}
	}
	return false
}

// Domain tells whether a name is one of the provider's HELO domains itself,
// not a host below it. The name is lower-case ASCII without final dot.
func (p *Provider) Domain(ascii string) bool {
	for _, domain := range p.Helo {
		if ascii == domain {
			return true
		}
		label, isFamily := strings.CutSuffix(domain, familyMark)
		if isFamily && strings.HasPrefix(ascii, label) && isCountry(ascii[len(label):]) {
			return true
		}
	}
	return false
}

// familyMark ends the name of a family.
const familyMark = ".*"

// isCountry tells whether s is ".xx", ".co.xx" or ".com.xx" with any two
// letters.
func isCountry(s string) bool {
	dot := len(s) - 3
	if dot < 0 || s[dot] != '.' || !isRun(s[dot+1:], lowerChar, 2, 2) {
		return false
	}
	return dot == 0 || s[:dot] == ".co" || s[:dot] == ".com"
}

// familyOf returns the label in front of the country part of a name, ""
// when the name has none.
func familyOf(ascii string) string {
	dot := len(ascii) - 3
	if dot < 1 || ascii[dot] != '.' {
		return ""
	}
	for _, part := range [...]string{".com", ".co"} {
		if strings.HasSuffix(ascii[:dot], part) {
			dot -= len(part)
			break
		}
	}
	if !isCountry(ascii[dot:]) {
		return ""
	}
	return ascii[strings.LastIndexByte(ascii[:dot], '.')+1 : dot]
}

func (p *Provider) check() error {
	if p.Name == "" || len(p.Helo) == 0 || len(p.PTR) == 0 {
		return fmt.Errorf("heloname: provider %q needs a name, HELO and PTR domains", p.Name)
	}
	for _, names := range [][]string{p.Helo, p.PTR} {
		for _, name := range names {
			if _, ok := providerDomain(name); !ok {
				return fmt.Errorf("heloname: provider %s: %q is not a domain name", p.Name, name)
			}
		}
	}
	return nil
}

// providerDomain brings a domain or family into the form it is stored in.
func providerDomain(name string) (string, bool) {
	label, isFamily := strings.CutSuffix(name, familyMark)
	s, ok := suffixOf(label)
	if !isFamily {
		return s, ok
	}
	return s + familyMark, ok && !strings.Contains(s, ".")
}

func (l *Lists) dropProvider(name string) {
	for _, m := range []map[string]*Provider{l.providers, l.families} {
		for key, old := range m {
			if strings.EqualFold(old.Name, name) {
				delete(m, key)
			}
		}
	}
}

// addProvider adds p, which check has passed.
func (l *Lists) addProvider(p Provider) {
	p.Helo, p.PTR = providerDomains(p.Helo), providerDomains(p.PTR)
	for _, s := range p.Helo {
		if label, isFamily := strings.CutSuffix(s, familyMark); isFamily {
			l.families[label] = &p
			continue
		}
		l.providers[s] = &p
		l.heloLengths.add(len(s))
	}
}

func providerDomains(names []string) []string {
	out := make([]string, 0, len(names))
	for _, name := range names {
		s, _ := providerDomain(name)
		out = append(out, s)
	}
	return out
}

// Provider returns the provider whose HELO domains a name equals or lies
// below, nil when there is none. The name is lower-case ASCII without final
// dot; the longest domain decides, a family comes last.
func (l *Lists) Provider(ascii string) *Provider {
	l = l.orDefault()
	var found *Provider
	for end := len(ascii); end > 0; {
		end = strings.LastIndexByte(ascii[:end], '.')
		suffix := ascii[end+1:]
		if !l.heloLengths.atLeast(len(suffix)) {
			break
		}
		if !l.heloLengths.has(len(suffix)) {
			continue
		}
		if p := l.providers[suffix]; p != nil {
			found = p
		}
	}
	if found == nil {
		if label := familyOf(ascii); label != "" {
			found = l.families[label]
		}
	}
	return found
}
