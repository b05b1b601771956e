package heloname

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Lists holds the names that an operator may add to: reserved suffixes, providers
// and the words of access networks. It does not change and is safe for concurrent
// use. A nil *Lists stands for DefaultLists.
type Lists struct {
	reserved  map[string]bool      // suffixes; false: an operator's exception
	providers map[string]*Provider // by HELO domain or family
	words     map[string]wordClass
}

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

// DefaultLists returns the built-in lists. The first call makes their maps.
var DefaultLists = sync.OnceValue(func() *Lists {
	l := &Lists{make(map[string]bool), make(map[string]*Provider), make(map[string]wordClass)}
	for _, name := range reservedNames {
		l.reserved[name] = true
	}
	for class, words := range listedWords {
		for word := range strings.FieldsSeq(words) {
			l.words[word] |= class
		}
	}
	for _, row := range providerRows {
		strong, helo := strings.Fields(row.strong), strings.Fields(row.helo)
		ptr := slices.Concat(strong, helo, strings.Fields(row.ptr))
		l.add(&Provider{Name: row.name, Helo: strong, PTR: ptr, Strong: true})
		l.add(&Provider{Name: row.name, Helo: helo, PTR: ptr})
	}
	for domain := range strings.FieldsSeq(mailboxDomains) {
		own := []string{domain}
		l.add(&Provider{Name: domain, Helo: own, PTR: own})
	}
	return l
})

func (l *Lists) orDefault() *Lists {
	if l == nil {
		return DefaultLists()
	}
	return l
}

func (l *Lists) add(p *Provider) {
	for _, domain := range p.Helo {
		l.providers[domain] = p
	}
}

// Extension is what an operator adds to the lists or takes from them. Names
// may have capitals, a leading and a final dot.
type Extension struct {
	// Providers are taken as Strong. One with the name of a built-in provider replaces it.
	Providers    []Provider
	DynamicWords []string // access-network words, letters only; in a PTR name they count too
	StaticWords  []string // words of names that are never dynamic; a built-in word changes its class
	ReservedTLDs []string // suffixes to be treated like the customary private ones
	NotReserved  []string // suffixes to be taken out, with all below that has no entry of its own
}

// With returns a copy of l with the entries of ext, which replace built-in ones. It returns an
// error for an entry that cannot be used: a name that is no host name, a word with other characters
// than letters, or a provider without name, HELO domain or PTR domain.
func (l *Lists) With(ext Extension) (*Lists, error) {
	l = l.orDefault()
	n := &Lists{maps.Clone(l.reserved), maps.Clone(l.providers), maps.Clone(l.words)}
	var first error
	domains := func(names []string) []string {
		list := make([]string, len(names))
		for i, name := range names {
			var err error
			list[i], err = Domain(strings.TrimPrefix(name, "."))
			first = cmp.Or(first, err)
		}
		return list
	}
	for _, p := range ext.Providers {
		if p.Name == "" || len(p.Helo) == 0 || len(p.PTR) == 0 {
			first = cmp.Or(first, fmt.Errorf("provider %q needs a name, HELO and PTR domains", p.Name))
		}
		maps.DeleteFunc(n.providers, func(_ string, old *Provider) bool {
			return strings.EqualFold(old.Name, p.Name)
		})
		n.add(&Provider{Name: p.Name, Helo: domains(p.Helo), PTR: domains(p.PTR), Strong: true})
	}
	addWords := func(class wordClass, words []string) {
		for _, word := range words {
			lower := strings.ToLower(word)
			if !consists(lower, isLower) || len(lower) > maxLabel {
				first = cmp.Or(first, fmt.Errorf("%q is not a word of letters", word))
			}
			n.words[lower] = class
		}
	}
	addWords(lineWord|rentedWord, ext.DynamicWords)
	addWords(staticWord, ext.StaticWords)
	for _, suffix := range domains(ext.ReservedTLDs) {
		n.reserved[suffix] = true
	}
	for _, suffix := range domains(ext.NotReserved) {
		n.reserved[suffix] = false
	}
	if first != nil {
		return nil, fmt.Errorf("heloname: %w", first)
	}
	return n, nil
}

// Reserved returns the longest suffix of a name under which no public mail server can stand, by a
// standard (RFC 6761), by custom or by the operator's word; "" for none.
func (l *Lists) Reserved(ascii string) (suffix string) {
	l = l.orDefault()
	for suffix = ascii; suffix != ""; _, suffix, _ = strings.Cut(suffix, ".") {
		if reserved, listed := l.reserved[suffix]; reserved {
			return suffix
		} else if listed {
			return ""
		}
	}
	return ""
}

// Provider is a well-known sender of mail. All names are lower-case domains; each means itself and
// everything below it. A name with "*" for its last label (yahoo.*) is a family: the domains
// yahoo.xx, yahoo.co.xx and yahoo.com.xx of all countries.
type Provider struct {
	Name string
	Helo []string // what its servers say in HELO
	PTR  []string // where the PTR names of its servers stand
	// Strong: every host of the provider has a PTR name in PTR. So a confirmed
	// PTR name elsewhere shows that a name below Helo is forged; for other
	// providers that holds of the names in Helo themselves only.
	Strong bool
}

// familyMark ends the name of a family.
const familyMark = ".*"

// Owns tells whether a PTR name is one of the provider's own. It says nothing
// about whether the name resolves back to the client.
func (p *Provider) Owns(ptrName string) bool {
	above := func(domain string) bool { return Below(ptrName, domain) }
	return slices.ContainsFunc(p.PTR, above) ||
		slices.Contains(p.PTR, TLD(withoutCountry(ptrName))+familyMark)
}

// Domain tells whether a name is one of the provider's HELO domains itself, not a host below it.
func (p *Provider) Domain(ascii string) bool {
	return slices.Contains(p.Helo, ascii) || slices.Contains(p.Helo, withoutCountry(ascii)+familyMark)
}

// withoutCountry returns what stands before the .xx, .co.xx or .com.xx of a name; "" when it
// ends otherwise.
func withoutCountry(ascii string) string {
	dot := len(ascii) - 3
	if dot < 1 || ascii[dot] != '.' || !consists(ascii[dot+1:], isLower) {
		return ""
	}
	for _, second := range [...]string{".com", ".co"} {
		if rest, ok := strings.CutSuffix(ascii[:dot], second); ok {
			return rest
		}
	}
	return ascii[:dot]
}

// Provider returns the provider whose HELO domains a name equals or lies below,
// nil when there is none. The longest domain decides, a family comes last.
func (l *Lists) Provider(ascii string) *Provider {
	l = l.orDefault()
	for domain := ascii; domain != ""; _, domain, _ = strings.Cut(domain, ".") {
		if p := l.providers[domain]; p != nil {
			return p
		}
	}
	return l.providers[TLD(withoutCountry(ascii))+familyMark]
}
