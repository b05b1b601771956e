package heloname

import (
	"iter"
	"net/netip"
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

// Dynamic tells whether a name looks like that of an access line: the
// client's address in it together with an access-network word, or such a
// word right next to a number. Access-network words count only in front of the
// organisational domain. A name with a word for static or mail hosts in front
// of its public suffix is not dynamic, nor is that of a strong provider. The name
// is lower-case ASCII without final dot; the evidence is for a log.
func (l *Lists) Dynamic(ascii string, client netip.Addr) (evidence string, ok bool) {
	l = l.orDefault()
	if !hasDigit(ascii) {
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

// accessWords returns the first access-network word of a name outside its
// organisational domain, and the first one that stands next to a number.
// Both are "" when the name has a static word outside its public suffix: in
// dsl-1-2-3-4.example.mx and example.email the suffix tells nothing.
func (l *Lists) accessWords(ascii string) (word, numbered string) {
	suffix, org := len(ascii), -1 // where they start, looked up late
	for start, part := range letterRuns(ascii) {
		class := l.words[part] &^ rentedWord
		if class == 0 {
			continue
		}
		if org < 0 {
			suffix = suffixStart(ascii)
			org = strings.LastIndexByte(ascii[:max(suffix-1, 0)], '.') + 1
		}
		if class&(staticWord|mailWord) != 0 && start < suffix {
			return "", ""
		}
		if class&(lineWord|weakWord) == 0 || start >= org {
			continue
		}
		if word == "" {
			word = part
		}
		if numbered == "" && class == lineWord && besideNumber(ascii[:org], start, len(part)) {
			numbered = part
		}
	}
	return word, numbered
}

// letterRuns yields the start and text of every run of letters.
func letterRuns(s string) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for i := 0; i < len(s); {
			end := i
			for end < len(s) && isLower(s[end]) {
				end++
			}
			if end > i && !yield(i, s[i:end]) {
				return
			}
			i = end + 1
		}
	}
}

// minStatic is the least length in letters of a static word that also counts
// at the start or end of a part.
const minStatic = 4

// static tells whether a part of a name in front of its public suffix starts or
// ends with a static word.
func (l *Lists) static(ascii string) bool {
	for _, part := range letterRuns(ascii[:suffixStart(ascii)]) {
		for n := minStatic; n < len(part); n++ {
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

// besideNumber tells whether enough digits stand right before or right after
// the word of n octets at start.
func besideNumber(s string, start, n int) bool {
	before, after := s[:start], s[start+n:]
	i := len(before)
	for i > 0 && numeric(before[i-1]) {
		i--
	}
	j := 0
	for j < len(after) && numeric(after[j]) {
		j++
	}
	return enoughDigits(before[i:]) || enoughDigits(after[:j])
}

func numeric(c byte) bool { return separator(c) || isDigit(c) }

func enoughDigits(s string) bool {
	total, numbers := 0, 0
	for i := range len(s) {
		if !isDigit(s[i]) {
			continue
		}
		total++
		if i == 0 || separator(s[i-1]) {
			numbers++
		}
	}
	return total >= minOneNumber || numbers > 1 && total >= minTwoNumbers
}

func hasDigit(s string) bool {
	for i := range len(s) {
		if isDigit(s[i]) {
			return true
		}
	}
	return false
}

// DefaultHost tells whether a name is one that an installer, a hosting panel
// or a cloud gave a machine and nobody changed. It looks at the first label,
// unless the name is an organisational domain, and at the domain. A provider's
// name is never one: its hosts have numbers (mail-123456). The name is
// lower-case ASCII without final dot; the evidence is for a log. It does not
// allocate.
func (l *Lists) DefaultHost(ascii string) (evidence string, ok bool) {
	l = l.orDefault()
	label, _, _ := strings.Cut(ascii, ".")
	by := l.defaultLabel(label)
	if by != "" && OrgDomain(ascii) == ascii {
		by = ""
	}
	if by == "" && l.rentedDomain(ascii) {
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
	letters := 0
	for letters < len(label) && isLower(label[letters]) {
		letters++
	}
	word := label[:letters]
	if form := l.labels[word]; form.tail != nil && form.tail.MatchString(label[letters:]) {
		return form.by
	}
	mail := l.words[word]&mailWord != 0
	if !mail && len(label) >= 5 && hasDigit(label) && serialLabel.MatchString(label) {
		return "id or serial number"
	}
	return ""
}

// rentedDomain tells whether a name lies under a domain of rented machines.
func (l *Lists) rentedDomain(ascii string) bool {
	for s := ascii; s != ""; _, s, _ = strings.Cut(s, ".") {
		if l.hosts[s] {
			return true
		}
	}
	return len(l.hosts) > 0 && strings.Contains(ascii, "ip-") && networkDomain.MatchString(ascii)
}
