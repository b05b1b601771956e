package heloname

import (
	"iter"
	"net/netip"
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
// word right next to a number. Words count only outside the organisational
// domain; a word for static or mail hosts anywhere, and the name of a
// strong provider, acquit. The name is lower-case ASCII without final dot; the evidence is
// for a log.
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
// Both are "" when the name has a static word.
func (l *Lists) accessWords(ascii string) (word, numbered string) {
	org := -1 // where the organisational domain starts, looked up late
	for start, part := range letterRuns(ascii) {
		class := l.words[part] &^ rentedWord
		if class == staticWord {
			return "", ""
		}
		if class == 0 {
			continue
		}
		if org < 0 {
			org = len(ascii) - len(OrgDomain(ascii))
		}
		if start >= org {
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
			for end < len(s) && classes[s[end]] == classLower {
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

// static tells whether a part of a name starts or ends with a static word.
func (l *Lists) static(ascii string) bool {
	for _, part := range letterRuns(ascii) {
		for n := minStatic; n < len(part); n++ {
			if (l.words[part[:n]]|l.words[part[len(part)-n:]])&staticWord != 0 {
				return true
			}
		}
	}
	return false
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

func numeric(c byte) bool { return separator(c) || classes[c] == classDigit }

func enoughDigits(s string) bool {
	total, numbers := 0, 0
	for i := range len(s) {
		if classes[s[i]] != classDigit {
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
		if classes[s[i]] == classDigit {
			return true
		}
	}
	return false
}
