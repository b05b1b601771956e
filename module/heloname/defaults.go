package heloname

import "strings"

// labelForm tells what may follow a word in a default host name, see
// data/defaults.txt.
type labelForm uint8

const (
	numberedForm labelForm = iota + 1
	imageForm
	setupForm
	quadForm
	cloudForm
	idForm
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

// block is a row of domains that are each named after a network.
type block struct{ word, tld string }

// DefaultHost tells whether a name is one that an installer, a hosting panel
// or a cloud gave a machine and nobody changed. It looks at the first label,
// unless the name is an organisational domain, and at the domain. The name is
// lower-case ASCII without final dot; the evidence is for a log. It does not
// allocate.
func (l *Lists) DefaultHost(ascii string) (evidence string, ok bool) {
	l = l.orDefault()
	label, _, _ := strings.Cut(ascii, ".")
	if by := l.defaultLabel(label); by != "" && OrgDomain(ascii) != ascii {
		return by, true
	}
	if l.defaultSuffix(ascii) || l.defaultBlock(ascii) {
		return bySuffix, true
	}
	return "", false
}

// defaultLabel returns who makes such labels, "" when nobody does.
func (l *Lists) defaultLabel(label string) string {
	letters := 0
	for letters < len(label) && classes[label[letters]] == classLower {
		letters++
	}
	word, tail := label[:letters], label[letters:]
	if l.labelLengths.has(letters) {
		if by := l.labels[word].maker(tail); by != "" {
			return by
		}
	}
	switch {
	case isSerial(letters, tail), isContainerID(label):
		return bySerial
	case isAlibaba(label):
		return byCloud
	}
	return ""
}

// afterHyphen tells for some forms what follows a hyphen, and who makes it.
var afterHyphen = [...]struct {
	set       uint8
	low, high int
	by        string
}{
	imageForm: {ldh, 1, maxLabel, byImage},
	setupForm: {lowerChar | digitChar, 7, 12, bySetup},
	cloudForm: {ldh, 1, maxLabel, byCloud},
	idForm:    {hexChar, 8, 17, byCloud},
}

// maker returns who puts tail after a word of this form, "" when nobody does.
func (f labelForm) maker(tail string) string {
	after, hyphen := strings.CutPrefix(tail, "-")
	switch {
	case f == numberedForm && isRun(after, digitChar, 0, 8):
		return byHosting
	case f == imageForm && isRun(tail, digitChar, 0, maxLabel):
		return byImage
	case f == quadForm && isNumbers(tail, 4):
		return byAddress
	}
	if form := &afterHyphen[f]; hyphen && isRun(after, form.set, form.low, form.high) {
		return form.by
	}
	return ""
}

// isSerial tells whether a label of that many letters and the tail is a
// number of five digits and more, or a short word and at least six digits.
func isSerial(letters int, tail string) bool {
	if letters == 0 {
		return isRun(tail, digitChar, 5, maxLabel)
	}
	return letters <= 6 && isRun(strings.TrimPrefix(tail, "-"), digitChar, 6, maxLabel)
}

// isContainerID tells whether a label is the short id of a container.
func isContainerID(label string) bool { return isRun(label, hexChar, 12, 12) }

// isAlibaba tells whether a label has the form of the host names that
// Alibaba Cloud makes up: iZ, letters and digits, Z.
func isAlibaba(label string) bool {
	return strings.HasPrefix(label, "iz") && label[len(label)-1] == 'z' &&
		isRun(label, lowerChar|digitChar, 13, maxLabel)
}

// defaultSuffix tells whether a name lies under a domain of rented machines.
func (l *Lists) defaultSuffix(ascii string) bool {
	for end := len(ascii); end > 0; {
		end = strings.LastIndexByte(ascii[:end], '.')
		suffix := ascii[end+1:]
		if l.hostLengths.has(len(suffix)) && l.hosts[suffix] {
			return true
		}
	}
	return false
}

// defaultBlock tells whether the organisational domain is named after a
// network.
func (l *Lists) defaultBlock(ascii string) bool {
	dot := strings.LastIndexByte(ascii, '.')
	if dot < 1 || classes[ascii[dot-1]] != classDigit {
		return false
	}
	label, tld := ascii[strings.LastIndexByte(ascii[:dot], '.')+1:dot], ascii[dot+1:]
	for _, b := range l.blocks {
		if tail, found := strings.CutPrefix(label, b.word); found && tld == b.tld &&
			isNumbers(tail, 3) {
			return true
		}
	}
	return false
}

// isNumbers tells whether s is n times a hyphen and one to three digits.
func isNumbers(s string, n int) bool {
	for ; n > 0; n-- {
		digits := 0
		for digits+1 < len(s) && classes[s[digits+1]] == classDigit {
			digits++
		}
		if digits < 1 || digits > 3 || s[0] != '-' {
			return false
		}
		s = s[digits+1:]
	}
	return s == ""
}
