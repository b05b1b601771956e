package heloname

import (
	_ "embed"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// TLD returns the last label of a name.
func TLD(ascii string) string {
	return ascii[strings.LastIndexByte(ascii, '.')+1:]
}

// rootZone is IANA's list of top-level domains, as the npm package tlds 1.261.0 has it; its first
// line has the date. go generate replaces it by the list that IANA publishes on the day.
//
//go:generate curl -sSfo tlds.txt https://data.iana.org/TLD/tlds-alpha-by-domain.txt
//go:embed tlds.txt
var rootZone string

var knownTLDs = sync.OnceValue(func() map[string]bool {
	known := make(map[string]bool)
	for line := range strings.Lines(rootZone) {
		if !strings.HasPrefix(line, "#") {
			known[strings.ToLower(strings.TrimSpace(line))] = true
		}
	}
	return known
})

// TLDDate returns the day of the built-in list of top-level domains, as
// YYYY-MM-DD: IANA writes "# Version YYYYMMDDNN" into its first line.
func TLDDate() string {
	_, version, _ := strings.Cut(rootZone, "# Version ")
	return version[:4] + "-" + version[4:6] + "-" + version[6:8]
}

// KnownTLD tells whether the root zone had the last label of a name on TLDDate.
func KnownTLD(ascii string) bool { return knownTLDs()[TLD(ascii)] }

// NewTLD tells whether the last label of a name is of ICANN's New gTLD Program, opened in 2013, or
// a country code that was given away free. Internationalised TLDs are not new.
func NewTLD(ascii string) bool {
	tld := TLD(ascii)
	return slices.Contains(freeTLDs, tld) || len(tld) > 2 && !strings.HasPrefix(tld, acePrefix) &&
		!slices.Contains(oldTLDs, tld) && KnownTLD(tld)
}

// NumericTLD tells whether the last label is a number, decimal or hexadecimal with 0x. The root
// zone has none (RFC 3696, section 2), and programs take such names for addresses.
func NumericTLD(ascii string) bool {
	number, hexadecimal := strings.CutPrefix(TLD(ascii), "0x")
	return consists(number, isDigit) || hexadecimal && consists(number, isHex)
}

// OrgDomain returns the organisational domain: one label more than the public suffix, private
// section included. A name that is itself a public suffix is returned whole.
func OrgDomain(ascii string) string {
	rest := suffixStart(ascii) - 1
	if rest <= 0 {
		return ascii
	}
	return ascii[strings.LastIndexByte(ascii[:rest], '.')+1:]
}

// suffixStart returns where the public suffix of a name starts. The private
// section of the list counts.
func suffixStart(ascii string) int {
	suffix, _ := publicsuffix.PublicSuffix(ascii)
	return len(ascii) - len(suffix)
}

// PublicSuffix reports whether everybody may register names below a known name,
// as below "org" and "co.uk".
func PublicSuffix(ascii string) bool {
	suffix, public := publicsuffix.PublicSuffix(ascii)
	return public && suffix == ascii
}

// SameOrg tells whether two names have the same organisational domain.
func SameOrg(a, b string) bool {
	return a == b || OrgDomain(a) == OrgDomain(b)
}

// Below tells whether name equals domain or lies below it. Nothing lies below "".
func Below(name, domain string) bool {
	rest, ends := strings.CutSuffix(name, domain)
	return ends && domain != "" && (rest == "" || strings.HasSuffix(rest, "."))
}

// Localhost tells whether a name is localhost (RFC 6761, section 6.3), lies
// below it, or has localhost as its first label, as localhost.localdomain.
func Localhost(ascii string) bool {
	const localhost = "localhost"
	return Below(ascii, localhost) || strings.HasPrefix(ascii, localhost+".")
}

// minShared is the least length in octets of a label that relates two domains:
// shorter ones (mail, it, web) are too common.
const minShared = 4

var threeLetters = regexp.MustCompile(`[a-z]{3}`)

// Related tells whether the HELO name and the PTR name look like two domains of one operator: the
// first label of one organisational domain holds that of the other (example.co.uk,
// example-mail.net), the HELO name's is a label of the PTR name (example.org, example.isp.net), or
// the hosts have the same distinctive first label (mail5.example.org, mail5.example.net).
func Related(helo, ptr string) bool {
	x, y := firstLabel(OrgDomain(helo)), firstLabel(OrgDomain(ptr))
	if len(x) >= minShared {
		for label := range strings.SplitSeq(ptr, ".") {
			if label == x {
				return true
			}
		}
		if strings.Contains(y, x) || len(y) >= minShared && strings.Contains(x, y) {
			return true
		}
	}
	host := firstLabel(helo)
	return host == firstLabel(ptr) && strings.ContainsAny(host, digits) &&
		threeLetters.MatchString(host)
}

func firstLabel(s string) string {
	label, _, _ := strings.Cut(s, ".")
	return label
}
