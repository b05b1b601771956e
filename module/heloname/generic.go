package heloname

import (
	"iter"
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

// labelForm tells what may follow a word in a default host name.
type labelForm uint8

const (
	numberedForm labelForm = iota + 1 // nothing, or a number of at most 8 digits: host, host-12
	countedForm                       // a number of at most 8 digits: server1
	serialForm                        // a number of 3 to 8 digits: vps-1234
	imageForm                         // nothing, digits, or a hyphen and more: ubuntu-2gb
	setupForm                         // a hyphen, 7 to 12 letters and digits: win-0a1b2c3d4e5
	quadForm                          // four numbers after hyphens: ip-10-0-0-1
	cloudForm                         // a hyphen and anything: ecs-42a4
	idForm                            // a hyphen, 8 to 17 hexadecimal digits: i-0a1b2c3d
)

// Texts of the evidence.
const (
	byHosting = "default name of a rented server"
	byImage   = "name of a system image"
	bySetup   = "name made by Windows set-up"
	byAddress = "name made of an address"
	byCloud   = "name made by a cloud"
	bySerial  = "id or serial number"
	bySuffix  = "default domain of rented machines"
)

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
	if by == "" && (l.rentedDomain(ascii) || l.networkDomain(ascii)) {
		by = bySuffix
	}
	if by == "" || l.Provider(ascii) != nil {
		return "", false
	}
	return by, true
}

// defaultLabel returns who makes such labels, "" when nobody does.
func (l *Lists) defaultLabel(label string) string {
	letters := 0
	for letters < len(label) && isLower(label[letters]) {
		letters++
	}
	word, tail := label[:letters], label[letters:]
	if by := l.labels[word].maker(tail); by != "" {
		return by
	}
	switch {
	case isRun(label, isHex, 12, 12): // the short id of a container
		return bySerial
	case isSerial(letters, tail) && l.words[word]&mailWord == 0:
		return bySerial
	case strings.HasPrefix(label, "iz") && label[len(label)-1] == 'z' &&
		isRun(label, isAlnum, 13, maxLabel): // Alibaba Cloud: iZ, letters and digits, Z
		return byCloud
	}
	return ""
}

func isHex(c byte) bool   { return isDigit(c) || c >= 'a' && c <= 'f' }
func isAlnum(c byte) bool { return isLower(c) || isDigit(c) }
func isLDH(c byte) bool   { return isAlnum(c) || c == '-' }

// maker returns who puts tail after a word of this form, "" when nobody does.
func (f labelForm) maker(tail string) string {
	after, hyphen := strings.CutPrefix(tail, "-")
	switch {
	case f == numberedForm && isRun(after, isDigit, 0, 8),
		f == countedForm && isRun(after, isDigit, 1, 8),
		f == serialForm && isRun(after, isDigit, 3, 8):
		return byHosting
	case f == imageForm && isRun(tail, isDigit, 0, maxLabel):
		return byImage
	case f == quadForm && isNumbers(tail, 4):
		return byAddress
	case hyphen:
		return f.makerAfterHyphen(after)
	}
	return ""
}

func (f labelForm) makerAfterHyphen(after string) string {
	switch {
	case f == imageForm && isRun(after, isLDH, 1, maxLabel):
		return byImage
	case f == setupForm && isRun(after, isAlnum, 7, 12):
		return bySetup
	case f == cloudForm && isRun(after, isLDH, 1, maxLabel), f == idForm && isRun(after, isHex, 8, 17):
		return byCloud
	}
	return ""
}

// isSerial tells whether a label of that many letters and the tail is a
// number of five digits and more, or a short word and at least six digits.
func isSerial(letters int, tail string) bool {
	if letters == 0 {
		return isRun(tail, isDigit, 5, maxLabel)
	}
	return letters <= 6 && isRun(strings.TrimPrefix(tail, "-"), isDigit, 6, maxLabel)
}

// rentedDomain tells whether a name lies under a domain of rented machines.
func (l *Lists) rentedDomain(ascii string) bool {
	for s := ascii; s != ""; _, s, _ = strings.Cut(s, ".") {
		if l.hosts[s] {
			return true
		}
	}
	return false
}

// networkDomain tells whether the organisational domain is named after three
// octets of a network.
func (l *Lists) networkDomain(ascii string) bool {
	dot := strings.LastIndexByte(ascii, '.')
	if len(l.hosts) == 0 || dot < 1 || !isDigit(ascii[dot-1]) {
		return false
	}
	tail, found := strings.CutPrefix(ascii[strings.LastIndexByte(ascii[:dot], '.')+1:dot], "ip")
	return found && slices.Contains(networkDomains, ascii[dot+1:]) && isNumbers(tail, 3)
}

// isNumbers tells whether s is n times a hyphen and one to three digits.
func isNumbers(s string, n int) bool {
	for ; n > 0; n-- {
		digits := 0
		for digits+1 < len(s) && isDigit(s[digits+1]) {
			digits++
		}
		if digits < 1 || digits > 3 || s[0] != '-' {
			return false
		}
		s = s[digits+1:]
	}
	return s == ""
}
