package heloname

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
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
	word := label[:len(label)-len(strings.TrimLeft(label, letters))]
	if l.words[word]&mailWord != 0 {
		return ""
	}
	for _, form := range defaultLabels {
		if form.label.MatchString(label) {
			return form.by
		}
	}
	return ""
}

// EmbedsAddr tells whether a lower-case name holds the client's address in a usual spelling. IPv4:
// the octets as four numbers one after the other, whatever stands between them, forward, reversed
// or with the last one first (29.ip-51-91-79), zero-padded or not; twelve digits in a row; the
// octets in a row without padding when only one address can be meant; eight hexadecimal digits.
// IPv6: all nibbles, forward or reversed, joined or separated, or groups with separators. A number
// that only starts or ends like an octet does not count.
func EmbedsAddr(ascii string, client netip.Addr) bool { return spells(ascii, client, false) }

// spells is EmbedsAddr or, if loose, its sister for names that a network's owner gives (PTR), not
// for what a client says. That one finds so much of the address that the owner must have made the
// name: also three neighbouring octets as numbers one after the other in either order, eight
// hexadecimal digits or twelve decimal ones anywhere, or half of an IPv6 address.
func spells(s string, client netip.Addr, loose bool) bool {
	client = Unmap(client)
	switch {
	case client.Is4():
		return spells4(s, client.As4(), loose)
	case client.Is6():
		return spells6(s, client, loose)
	}
	return false
}

// spells4 looks for the octets of ip as numbers, then for all of them in a row.
func spells4(s string, ip [4]byte, loose bool) bool {
	reversed := [4]byte{ip[3], ip[2], ip[1], ip[0]}
	a, b, c, d := int(ip[0]), int(ip[1]), int(ip[2]), int(ip[3])
	last := [4]int{-1, -1, -1, -1} // the last four numbers, newest at the end
	for _, run := range runs(s, isDigit) {
		last = [4]int{last[1], last[2], last[3], octet(run)}
		switch three := [3]int(last[1:]); {
		case last == [4]int{a, b, c, d}, last == [4]int{d, c, b, a}, last == [4]int{d, a, b, c}:
			return true
		case loose && (three == [3]int{a, b, c} || three == [3]int{c, b, a} ||
			three == [3]int{b, c, d} || three == [3]int{d, c, b}):
			return true
		case joined(run, ip, loose), joined(run, reversed, loose):
			return true
		}
	}
	for _, octets := range [...][4]byte{ip, reversed} {
		var text [8]byte
		hex.Encode(text[:], octets[:])
		if holds(s, text[:]) || loose && strings.Contains(s, string(text[:])) {
			return true
		}
	}
	return false
}

// runs yields the start and text of every run of octets in a set.
func runs(s string, set func(byte) bool) iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for i := 0; i < len(s); i++ {
			start := i
			for i < len(s) && set(s[i]) {
				i++
			}
			if i > start && !yield(start, s[start:i]) {
				return
			}
		}
	}
}

// octet returns the value of up to three decimal digits, -1 for more.
func octet(s string) int {
	if len(s) > 3 {
		return -1
	}
	v, _ := strconv.Atoi(s)
	return v
}

// minJoined is the least length of unpadded octets in a row: shorter numbers
// are counters, dates and postcodes.
const minJoined = 8

// joined tells whether a run of digits is the four octets in a row, padded with zeros (loose: has
// them anywhere) or, if no other address is spelled so, not padded.
func joined(run string, ip [4]byte, loose bool) bool {
	if len(run) < minJoined {
		return false
	}
	var buf [12]byte
	padded := fmt.Appendf(buf[:0], "%03d%03d%03d%03d", ip[0], ip[1], ip[2], ip[3])
	if run == string(padded) || loose && strings.Contains(run, string(padded)) {
		return true
	}
	plain := fmt.Appendf(buf[:0], "%d%d%d%d", ip[0], ip[1], ip[2], ip[3])
	return run == string(plain) && splits(run, 4) == 1
}

// splits counts the ways to cut s into n octets without leading zeros.
func splits(s string, n int) int {
	if n == 0 {
		if s == "" {
			return 1
		}
		return 0
	}
	count := 0
	for k := 1; k <= 3 && k <= len(s); k++ {
		if octet(s[:k]) <= 255 && (k == 1 || s[0] != '0') {
			count += splits(s[k:], n-1)
		}
	}
	return count
}

// spells6 looks for the 32 nibbles of ip in either order, joined, in groups of four or each apart,
// then for the groups without leading zeros and for the shortest text.
func spells6(s string, ip netip.Addr, loose bool) bool {
	b := ip.As16()
	var forward [32]byte
	var buf [64]byte
	hex.Encode(forward[:], b[:])
	backward := forward
	slices.Reverse(backward[:])
	for _, nibbles := range [...][32]byte{forward, backward} {
		for _, size := range [...]int{32, 4, 1} {
			text := buf[:0]
			for i := 0; i < len(nibbles); i += size {
				text = append(append(text, ':'), nibbles[i:i+size]...)
			}
			if holds(s, text[1:]) {
				return true
			}
		}
		if loose && holdsHalf(s, nibbles) {
			return true
		}
	}
	groups := buf[:0]
	for i := 0; i < len(b); i += 2 {
		groups = strconv.AppendUint(append(groups, ':'), uint64(binary.BigEndian.Uint16(b[i:])), 16)
	}
	return holds(s, groups[1:]) || holds(s, ip.AppendTo(buf[:0]))
}

func separator(c byte) bool { return c == '-' || c == '.' || c == '_' }

// holds tells whether s holds the text of an address, with any separators for its colons, and not
// as part of a longer row of hexadecimal digits. A text of several groups ends at a separator: in
// "2001-db8--example.net" the e belongs to no address.
func holds(s string, text []byte) bool {
	grouped := bytes.IndexByte(text, ':') >= 0
	for start := 0; start+len(text) <= len(s); start++ {
		end := start + len(text)
		if (start == 0 || !isHex(s[start-1])) && spelled(s[start:end], text) &&
			(end == len(s) || separator(s[end]) || !grouped && !isHex(s[end])) {
			return true
		}
	}
	return false
}

func spelled(s string, text []byte) bool {
	for i, c := range text {
		if s[i] != c && (c != ':' || !separator(s[i])) {
			return false
		}
	}
	return true
}

// minNibbles is how many different digits half an IPv6 address must have:
// a row of zeros is in every other one.
const minNibbles = 5

// holdsHalf tells whether s holds 16 neighbouring nibbles of an address, whatever stands between
// them.
func holdsHalf(s string, nibbles [32]byte) bool {
	var buf [maxName]byte
	all := buf[:0]
	for i := range len(s) {
		if isHex(s[i]) {
			all = append(all, s[i])
		}
	}
	for i := range 17 {
		half := nibbles[i : i+16]
		if bytes.Contains(all, half) &&
			len(slices.Compact(slices.Sorted(slices.Values(half)))) >= minNibbles {
			return true
		}
	}
	return false
}

// GenericPTR tells whether nobody chose a PTR name for this host: it holds the client's address
// (see spells), or a number and a word for rented machines and access lines.
func (l *Lists) GenericPTR(ptr string, client netip.Addr) bool {
	return spells(ptr, client, true) ||
		strings.ContainsAny(ptr, digits) && l.orDefault().has(rentedWord, ptr)
}

// LineName tells whether a PTR name is one that a provider gives to the line of any customer: it
// shows the client's address and has no word for mail hosts in front of its public suffix.
func (l *Lists) LineName(ptr string, client netip.Addr) bool {
	return spells(ptr, client, true) && !l.orDefault().has(mailWord, ptr[:suffixStart(ptr)])
}

// has tells whether a run of letters in s is a word of that class.
func (l *Lists) has(class wordClass, s string) bool {
	for _, word := range runs(s, isLower) {
		if l.words[word]&class != 0 {
			return true
		}
	}
	return false
}
