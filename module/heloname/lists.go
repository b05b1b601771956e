package heloname

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Lists holds the names that age: reserved suffixes, providers, the words of
// access networks, top-level domains and default host names. It does not
// change and is safe for concurrent use. The zero value is empty; a nil *Lists
// stands for DefaultLists.
type Lists struct {
	reserved  map[string]source
	providers map[string]*Provider // by HELO suffix
	families  map[string]*Provider // by first label
	words     map[string]wordClass
	tlds      map[string]tldClass
	labels    map[string]labelForm
	hosts     map[string]bool // domains of rented machines
}

// labelForm is what may follow a word in a default host name, and the evidence for it.
type labelForm struct {
	by   string
	tail *regexp.Regexp
}

// source tells where a reserved suffix comes from.
type source uint8

const (
	notReserved source = iota // an operator's exception
	fromRegistry
	fromCustom
)

// wordClass tells what a word in a host name means, see listedWords. rentedWord
// may be joined with one of the others.
type wordClass uint8

const (
	lineWord wordClass = 1 << iota
	weakWord
	staticWord
	mailWord
	rentedWord
)

// tldClass tells how a top-level domain came to be.
type tldClass uint8

const (
	oldTLD tldClass = iota + 1
	freeTLD
)

var defaultLists = sync.OnceValue(func() *Lists {
	l := (&Lists{
		tlds: make(map[string]tldClass), labels: make(map[string]labelForm), hosts: make(map[string]bool),
	}).clone()
	for src, names := range reservedNames {
		l.addReserved(src, names)
	}
	for class, words := range listedWords {
		for _, w := range words {
			l.words[w] |= class
		}
	}
	for _, tld := range oldTLDs {
		l.tlds[tld] = oldTLD
	}
	for _, tld := range freeTLDs {
		l.tlds[tld] = freeTLD
	}
	for _, row := range defaultLabels {
		for _, word := range row.words {
			l.labels[word] = labelForm{row.by, row.tail}
		}
	}
	for _, domain := range rentedDomains {
		l.hosts[domain] = true
	}
	for _, row := range providerRows {
		ptr := slices.Concat(row.strong, row.helo, row.ptr)
		l.addProvider(Provider{Name: row.name, Helo: row.strong, PTR: ptr, Strong: true})
		l.addProvider(Provider{Name: row.name, Helo: row.helo, PTR: ptr})
	}
	for _, domain := range mailboxDomains {
		own := []string{domain}
		l.addProvider(Provider{Name: domain, Helo: own, PTR: own})
	}
	return l
})

// DefaultLists returns the built-in lists. The first call makes their maps.
func DefaultLists() *Lists { return defaultLists() }

func (l *Lists) orDefault() *Lists {
	if l == nil {
		return defaultLists()
	}
	return l
}

// Extension is what an operator adds to the lists or takes from them. Names
// may have capitals, a leading and a final dot.
type Extension struct {
	// Providers are taken as Strong. One with the name of a built-in
	// provider replaces it.
	Providers    []Provider
	DynamicWords []string // access-network words, letters only; in a PTR name they count too
	StaticWords  []string // words of names that are never dynamic; a built-in word changes its class
	ReservedTLDs []string // suffixes to be treated like the customary private ones
	NotReserved  []string // suffixes to be taken out, with all below that has no entry of its own
}

// With returns a copy of l with the entries of ext, which replace built-in ones.
// Entries that Check rejects are left out.
func (l *Lists) With(ext Extension) *Lists {
	l = l.orDefault()
	n := l.clone()
	for _, p := range ext.Providers {
		if p.check() == nil {
			p.Strong = true
			n.dropProvider(p.Name)
			n.addProvider(p)
		}
	}
	n.addWords(lineWord|rentedWord, ext.DynamicWords)
	n.addWords(staticWord, ext.StaticWords)
	n.addReserved(fromCustom, ext.ReservedTLDs)
	n.addReserved(notReserved, ext.NotReserved)
	return n
}

// clone copies the maps that an extension writes to.
func (l *Lists) clone() *Lists {
	n := *l
	n.reserved, n.words = copyOf(l.reserved), copyOf(l.words)
	n.providers, n.families = copyOf(l.providers), copyOf(l.families)
	return &n
}

func copyOf[V any](m map[string]V) map[string]V {
	n := make(map[string]V, len(m))
	maps.Copy(n, m)
	return n
}

// Check returns the first entry of ext that cannot be used: a name that is
// no host name, a word with other characters than letters, or a provider
// without name, HELO suffix or PTR suffix.
func (ext Extension) Check() error {
	for _, p := range ext.Providers {
		if err := p.check(); err != nil {
			return err
		}
	}
	for _, w := range slices.Concat(ext.DynamicWords, ext.StaticWords) {
		if !isWord(strings.ToLower(w)) {
			return fmt.Errorf("heloname: %q is not a word of letters", w)
		}
	}
	for _, name := range slices.Concat(ext.ReservedTLDs, ext.NotReserved) {
		if _, ok := suffixOf(name); !ok {
			return fmt.Errorf("heloname: %q is not a domain name", name)
		}
	}
	return nil
}

func (l *Lists) addWords(class wordClass, words []string) {
	for _, w := range words {
		if w = strings.ToLower(w); isWord(w) {
			l.words[w] = class
		}
	}
}

func (l *Lists) addReserved(src source, names []string) {
	for _, name := range names {
		if s, ok := suffixOf(name); ok {
			l.reserved[s] = src
		}
	}
}

// suffixOf brings a domain of a list into the form of Name.ASCII.
func suffixOf(name string) (string, bool) {
	ascii, err := Domain(strings.TrimPrefix(name, "."))
	return ascii, err == nil
}

func isWord(s string) bool { return isRun(s, isLower, 1, maxLabel) }

// Reserved returns the longest suffix of a name under which no public mail
// server can stand. The name is lower-case ASCII without final dot. registry
// is true for names reserved by a standard or by ICANN (RFC 6761, .internal,
// reverse zones) and false for those that are private by custom or by the
// operator's word.
func (l *Lists) Reserved(ascii string) (suffix string, registry bool, ok bool) {
	l = l.orDefault()
	src := notReserved
	for s := ascii; s != ""; _, s, _ = strings.Cut(s, ".") {
		if v, in := l.reserved[s]; in {
			suffix, src = s, v
			break
		}
	}
	// A lone label is a host called home or mail, not a name below that suffix.
	lone := src == fromCustom && suffix == ascii && !strings.Contains(suffix, ".")
	if lone || src == notReserved {
		return "", false, false
	}
	return suffix, src == fromRegistry, true
}

// NewTLD tells whether the last label of a name is a generic top-level domain
// of ICANN's New gTLD Program, opened in 2013, or a country code that was given
// away free. Other country codes, internationalised TLDs and what the root
// zone does not have are not new. The name is lower-case ASCII without final
// dot.
func (l *Lists) NewTLD(ascii string) bool {
	tld := TLD(ascii)
	l = l.orDefault()
	if class := l.tlds[tld]; class != 0 || len(l.tlds) == 0 {
		return class == freeTLD
	}
	return len(tld) > 2 && !hasACE(tld) && KnownTLD(tld)
}

// Provider is a well-known sender of mail. All names are lower-case domains;
// each means itself and everything below it. A name with "*" for its last
// label (yahoo.*) is a family: the domains yahoo.xx, yahoo.co.xx and
// yahoo.com.xx of all countries.
type Provider struct {
	Name string
	Helo []string // what its servers say in HELO
	PTR  []string // where the PTR names of its servers stand
	// Strong: every host of the provider has a PTR name in PTR. So a confirmed
	// PTR name elsewhere shows that a name below Helo is forged; for other
	// providers that holds of the names in Helo themselves only.
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
	if dot < 0 || s[dot] != '.' || !isRun(s[dot+1:], isLower, 2, 2) {
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
	for _, name := range slices.Concat(p.Helo, p.PTR) {
		if _, ok := providerDomain(name); !ok {
			return fmt.Errorf("heloname: provider %s: %q is not a domain name", p.Name, name)
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
	named := func(_ string, p *Provider) bool { return strings.EqualFold(p.Name, name) }
	maps.DeleteFunc(l.providers, named)
	maps.DeleteFunc(l.families, named)
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
	for s := ascii; s != ""; _, s, _ = strings.Cut(s, ".") {
		if p := l.providers[s]; p != nil {
			return p
		}
	}
	return l.families[familyOf(ascii)]
}
