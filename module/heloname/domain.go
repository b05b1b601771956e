package heloname

import (
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// The functions of this file take names as Name.ASCII holds them: lower-case
// A-labels without a final dot.

// TLD returns the last label of a name.
func TLD(ascii string) string {
	return ascii[strings.LastIndexByte(ascii, '.')+1:]
}

// KnownTLD tells whether the last label stood in the root zone when the
// ICANN section of the Public Suffix List was compiled in. What lies before
// the last label plays no part, so that a host whose name is a suffix of the
// list's private section is like any other.
func KnownTLD(ascii string) bool {
	tld := TLD(ascii)
	switch {
	case isCommon(tld):
		return true // the search below is the dearest step of all
	case isRun(tld, lowerChar, 2, 2):
		return countryCodes()[codeIndex(tld)]
	}
	return tld != "" && searchTLD(tld)
}

// isCommon tells whether a TLD is one of the three that most names end in.
func isCommon(tld string) bool { return tld == "com" || tld == "net" || tld == "org" }

// countryCodes are all two-letter TLDs, searched for once.
var countryCodes = sync.OnceValue(func() *[26 * 26]bool {
	var known [26 * 26]bool
	for a := 'a'; a <= 'z'; a++ {
		for b := 'a'; b <= 'z'; b++ {
			tld := string([]rune{a, b})
			known[codeIndex(tld)] = searchTLD(tld)
		}
	}
	return &known
})

func codeIndex(tld string) int { return int(tld[0]-'a')*26 + int(tld[1]-'a') }

func searchTLD(tld string) bool {
	if _, icann := publicsuffix.PublicSuffix(tld); icann {
		return true
	}
	// A TLD with nothing but a wildcard rule (*.ck) shows one label deeper.
	_, icann := publicsuffix.PublicSuffix("x." + tld)
	return icann
}

// NumericTLD tells whether the last label is a number, decimal or
// hexadecimal with 0x. The root zone has none (RFC 3696, section 2), and
// programs take such names for addresses.
func NumericTLD(ascii string) bool {
	label, base := TLD(ascii), byte(10)
	if len(label) > 2 && label[:2] == "0x" {
		label, base = label[2:], 16
	}
	for i := range len(label) {
		if hexValue(label[i]) >= base {
			return false
		}
	}
	return label != ""
}

// OrgDomain returns the organisational domain: one label more than the
// public suffix, private section included. A name that is itself a public
// suffix is returned whole.
func OrgDomain(ascii string) string {
	suffix, _ := publicsuffix.PublicSuffix(ascii)
	rest := len(ascii) - len(suffix) - 1
	if rest <= 0 {
		return ascii
	}
	return ascii[strings.LastIndexByte(ascii[:rest], '.')+1:]
}

// SameOrg tells whether two names have the same organisational domain.
func SameOrg(a, b string) bool {
	return a == b || OrgDomain(a) == OrgDomain(b)
}

// Below tells whether name equals domain or lies below it. Nothing lies
// below "".
func Below(name, domain string) bool {
	rest := len(name) - len(domain)
	if domain == "" || rest < 0 || name[rest:] != domain {
		return false
	}
	return rest == 0 || name[rest-1] == '.'
}

// Localhost tells whether a name is localhost (RFC 6761, section 6.3), lies
// below it, or has localhost as its first label, as localhost.localdomain.
func Localhost(ascii string) bool {
	const localhost = "localhost"
	if Below(ascii, localhost) {
		return true
	}
	return len(ascii) > len(localhost) && ascii[len(localhost)] == '.' &&
		ascii[:len(localhost)] == localhost
}
