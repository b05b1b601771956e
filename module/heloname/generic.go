package heloname

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// How many digits have to stand next to an access-network word before it
// counts without the client's address: in one number, or in two and more.
// cable1, wifi24 and dynamic2000 may well be somebody's mail server.
const (
	minOneNumber  = 5
	minTwoNumbers = 3
)

// Dynamic tells whether a name looks like that of an access line: the client's address in it
// together with an access-network word, or such a word right next to a number. Access-network words
// count only in front of the organisational domain. A name with a word for static or mail hosts in
// front of its public suffix is not dynamic, nor is that of a strong provider. The evidence is for
// a log.
func (l *Lists) Dynamic(ascii string, client netip.Addr) (evidence string, ok bool) {
	l = l.orDefault()
	if !strings.ContainsAny(ascii, digits) {
		return "", false
	}
	word, numbered := l.accessWords(ascii)
	if word == "" || l.static(ascii) {
		return "", false
	}
	// The customers of other providers have lines below the provider's name.
	if p := l.Provider(ascii); p != nil && p.Strong {
		return "", false
	}
	switch {
	case EmbedsAddr(ascii, client):
		return "the client's address and " + word, true
	case numbered != "":
		return numbered + " next to a number", true
	}
	return "", false
}

// accessWords returns the first access-network word of a name outside its organisational domain,
// and the first one that stands next to a number.
func (l *Lists) accessWords(ascii string) (word, numbered string) {
	org := -1 // where the organisational domain starts, looked up late
	for start, part := range runs(ascii, isLower) {
		class := l.words[part] & (lineWord | weakWord)
		if class == 0 {
			continue
		}
		if org < 0 {
			org = len(ascii) - len(OrgDomain(ascii))
		}
		if start >= org {
			break
		}
		if word == "" {
			word = part
		}
		before, after := ascii[:start], ascii[start+len(part):org]
		if numbered == "" && class == lineWord && besideNumber(before, after) {
			numbered = part
		}
	}
	return word, numbered
}

// minStatic is the least length in letters of a static word that also counts
// at the start or end of a part.
const minStatic = 4

// static tells whether a part of a name is, starts or ends with a word for static or mail hosts.
// The public suffix does not count: in dsl-1-2-3-4.example.mx and example.email it tells nothing.
func (l *Lists) static(ascii string) bool {
	for _, part := range runs(ascii[:suffixStart(ascii)], isLower) {
		for n := min(minStatic, len(part)); n <= len(part); n++ {
			if (l.words[part[:n]]|l.words[part[len(part)-n:]])&(staticWord|mailWord) != 0 {
				return true
			}
		}
	}
	return false
}

// suffixStart returns where the public suffix of a name starts. The private
// section of the list counts.
func suffixStart(ascii string) int {
	suffix, _ := publicsuffix.PublicSuffix(ascii)
	return len(ascii) - len(suffix)
}

// besideNumber tells whether enough digits stand right before or right after a word.
func besideNumber(before, after string) bool {
	const numeric = digits + "-._"
	before = before[len(strings.TrimRight(before, numeric)):]
	after = after[:len(after)-len(strings.TrimLeft(after, numeric))]
	return enoughDigits(before) || enoughDigits(after)
}

func enoughDigits(s string) bool {
	total, numbers := 0, 0
	for _, number := range runs(s, isDigit) {
		total += len(number)
		numbers++
	}
	return total >= minOneNumber || numbers > 1 && total >= minTwoNumbers
}

// DefaultHost tells whether a name is one that an installer, a hosting panel
// or a cloud gave a machine and nobody changed. It looks at the first label,
// unless the name is an organisational domain, and at the domain. A provider's
// name is never one: its hosts have numbers (mail-123456). The evidence is for a log.
func (l *Lists) DefaultHost(ascii string) (evidence string, ok bool) {
	l = l.orDefault()
	by := l.defaultLabel(firstLabel(ascii))
	if by != "" && OrgDomain(ascii) == ascii {
		by = ""
	}
	above := func(domain string) bool { return Below(ascii, domain) }
	if by == "" && (slices.ContainsFunc(rentedDomains, above) ||
		strings.Contains(ascii, "ip-") && networkDomain.MatchString(ascii)) {
		by = "default domain of rented machines"
	}
	if by == "" || l.Provider(ascii) != nil {
		return "", false
	}
	return by, true
}

// defaultLabel returns who makes such labels, "" when nobody does. A mail server may be numbered
// (mail-123456).
func (l *Lists) defaultLabel(label string) string {
	tail := strings.TrimLeft(label, letters)
	word := label[:len(label)-len(tail)]
	for _, form := range defaultLabels {
		if slices.Contains(form.words, word) && form.tail.MatchString(tail) {
			return form.by
		}
	}
	if l.words[word]&mailWord == 0 && len(label) >= 5 && strings.ContainsAny(label, digits) &&
		serialLabel.MatchString(label) {
		return "id or serial number"
	}
	return ""
}
