package heloname

import (
	_ "embed"
	"fmt"
	"maps"
	"strings"
	"sync"
)

var (
	//go:embed data/reserved.txt
	reservedText string
	//go:embed data/providers.txt
	providersText string
	//go:embed data/words.txt
	wordsText string
	//go:embed data/tlds.txt
	tldsText string
	//go:embed data/defaults.txt
	defaultsText string
)

// Lists holds the names that age: reserved suffixes, providers, the words of
// access networks, top-level domains and default host names. It is not
// changed after it was made and safe for concurrent use. The zero value is
// empty; a nil *Lists stands for DefaultLists.
type Lists struct {
	reserved  map[string]source
	providers map[string]*Provider // by HELO suffix
	families  map[string]*Provider // by first label
	words     map[string]wordClass
	tlds      map[string]tldClass
	labels    map[string]labelForm
	hosts     map[string]bool // default domains of rented machines
	blocks    []block

	// the lengths of the keys
	reservedLengths, heloLengths, labelLengths, hostLengths lengths
}

// source tells where a reserved suffix comes from.
type source uint8

const (
	notReserved source = iota // an operator's exception
	fromRegistry
	fromCustom
)

// wordClass tells what a word in a host name means, see data/words.txt: one
// of the first three, and rented or not.
type wordClass uint8

const (
	lineWord wordClass = 1 << iota
	weakWord
	staticWord
	rentedWord
)

var defaultLists = sync.OnceValue(func() *Lists {
	l, err := parseLists(texts{reservedText, providersText, wordsText, tldsText, defaultsText})
	if err != nil {
		panic(err) // the texts are part of the program, and a test reads them
	}
	return l
})

// DefaultLists returns the built-in lists. They are parsed at the first call.
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
	StaticWords  []string // words that acquit a name; a built-in word changes its class
	ReservedTLDs []string // suffixes to be treated like the customary private ones
	NotReserved  []string // suffixes to be taken out, with all below that has no entry of its own
}

// With returns a copy of l with ext laid over it; the last word on a suffix
// or word is the extension's. What Check complains about is left out.
func (l *Lists) With(ext Extension) *Lists {
	l = l.orDefault()
	n := new(Lists)
	*n = *l
	n.reserved = maps.Clone(l.reserved)
	n.providers = maps.Clone(l.providers)
	n.families = maps.Clone(l.families)
	n.words = maps.Clone(l.words)
	n.init()
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

// init makes the maps that an extension writes to.
func (l *Lists) init() {
	if l.reserved == nil {
		l.reserved = make(map[string]source)
	}
	if l.providers == nil {
		l.providers = make(map[string]*Provider)
	}
	if l.families == nil {
		l.families = make(map[string]*Provider)
	}
	if l.words == nil {
		l.words = make(map[string]wordClass)
	}
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
	for _, words := range [][]string{ext.DynamicWords, ext.StaticWords} {
		for _, w := range words {
			if !isWord(strings.ToLower(w)) {
				return fmt.Errorf("heloname: %q is not a word of letters", w)
			}
		}
	}
	for _, names := range [][]string{ext.ReservedTLDs, ext.NotReserved} {
		for _, name := range names {
			if _, ok := suffixOf(name); !ok {
				return fmt.Errorf("heloname: %q is not a domain name", name)
			}
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
			l.reservedLengths.add(len(s))
		}
	}
}

// suffixOf brings a domain of a list into the form of Name.ASCII.
func suffixOf(name string) (string, bool) {
	n := Parse(strings.TrimPrefix(name, "."))
	return n.ASCII, n.ASCII != ""
}

func isWord(s string) bool {
	for i := range len(s) {
		if classes[s[i]] != classLower {
			return false
		}
	}
	return s != ""
}
