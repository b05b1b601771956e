package dnsfacts

import (
	"net/netip"
	"regexp"
	"strings"
)

// isSPF reports whether a TXT record is an SPF record, RFC 7208, section 4.5.
func isSPF(txt string) bool {
	version, _, _ := strings.Cut(txt, " ")
	return strings.EqualFold(version, "v=spf1")
}

// The grammar of RFC 7208, section 12, for what is no IP address. A macro letter
// c, r or t belongs into explanations only (section 7.2).
const (
	spfExpand  = `%\{[slodiphv](?:0*[1-9][0-9]*)?r?[-.+,/_=]*\}|%%|%_|%-`
	spfString  = `(?:` + spfExpand + `|[!-$&-~])*`
	spfLabel   = `[a-z0-9]*[a-z][a-z0-9]*|[a-z0-9]+-[a-z0-9-]*[a-z0-9]`
	spfDomain  = spfString + `(?:\.(?:` + spfLabel + `)\.?|` + spfExpand + `)`
	spfDual    = `(?:/(?:[0-9]|[12][0-9]|3[0-2]))?(?://(?:[0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))?`
	spfUnknown = `[a-z][a-z0-9._-]*=` + spfString
)

var (
	spfMechanism = regexp.MustCompile(`^[-+?~]?(?:all|(?:include|exists):` + spfDomain +
		`|ptr(?::` + spfDomain + `)?|(?:a|mx)(?::` + spfDomain + `)?` + spfDual + `)$`)
	spfNetwork  = regexp.MustCompile(`^[-+?~]?ip([46]):([^/]+)(?:/(0|[1-9][0-9]*))?$`)
	spfModifier = regexp.MustCompile(`^(?:redirect|exp)=` + spfDomain + `$`)
	spfOther    = regexp.MustCompile(`^` + spfUnknown + `$`)
)

// spfRecord checks an SPF record by the grammar of RFC 7208, section 12. It returns
// the record without unknown modifiers and explanations, which change no result
// (section 6), and whether the record has the mechanism "exists".
func spfRecord(txt string) (record string, exists, ok bool) {
	terms := []string{"v=spf1"}
	redirects, explanations := 0, 0
	for _, term := range strings.Split(txt, " ")[1:] {
		lower := strings.ToLower(term)
		name, value, _ := strings.Cut(lower, "=")
		switch {
		case term == "":
		case spfMechanism.MatchString(lower) || spfIP(lower):
			terms = append(terms, term)
			exists = exists || strings.HasPrefix(strings.TrimLeft(lower, "+-?~"), "exists:")
		case name == "redirect" && spfModifier.MatchString(lower):
			redirects++
			terms = append(terms, "redirect="+term[len(term)-len(value):])
		case name == "exp" && spfModifier.MatchString(lower):
			explanations++
		case name == "redirect" || name == "exp" || !spfOther.MatchString(lower):
			return "", false, false
		}
	}
	return strings.Join(terms, " "), exists, redirects <= 1 && explanations <= 1
}

// spfIP reports whether a term is a mechanism ip4 or ip6.
func spfIP(term string) bool {
	m := spfNetwork.FindStringSubmatch(term)
	if m == nil {
		return false
	}
	addr, err := netip.ParseAddr(m[2])
	if err != nil || addr.Zone() != "" || addr.Is4() != (m[1] == "4") {
		return false
	}
	if m[3] == "" {
		return true
	}
	_, err = netip.ParsePrefix(m[2] + "/" + m[3])
	return err == nil
}
