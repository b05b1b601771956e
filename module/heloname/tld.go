package heloname

// tldClass tells how a top-level domain came to be, see data/tlds.txt.
type tldClass uint8

const (
	oldTLD tldClass = iota + 1
	freeTLD
)

// NewTLD tells whether the last label of a name is a generic top-level domain
// of ICANN's New gTLD Program, opened in 2013, or a country code that was given
// away free. Other country codes, internationalised TLDs and what the root
// zone does not have are not new. The name is lower-case ASCII without final
// dot.
func (l *Lists) NewTLD(ascii string) bool {
	tld := TLD(ascii)
	if isCommon(tld) {
		return false
	}
	l = l.orDefault()
	if class := l.tlds[tld]; class != 0 || len(l.tlds) == 0 {
		return class == freeTLD
	}
	return len(tld) > 2 && !hasACE(tld) && KnownTLD(tld)
}
