package heloname

import (
	"bytes"
	"encoding/binary"
	"iter"
	"math/bits"
	"net/netip"
)

// EmbedsAddr tells whether a lower-case name holds the client's address in a
// usual spelling. IPv4: the octets as four numbers one after the other,
// whatever stands between them, forward, reversed or with the last one first
// (29.ip-51-91-79), zero-padded or not; twelve digits in a row; the octets in
// a row without padding when only one address can be meant; eight
// hexadecimal digits. IPv6: all nibbles, forward or reversed, joined or
// separated, or groups with separators. A number that only starts or ends
// like an octet does not count. It does not allocate.
func EmbedsAddr(ascii string, client netip.Addr) bool {
	client = Unmap(client)
	switch {
	case client.Is4():
		return embeds4(ascii, client.As4())
	case client.Is6():
		return embeds6(ascii, client)
	}
	return false
}

// embeds4 walks over the numbers of s.
func embeds4(s string, ip [4]byte) bool {
	rev := [4]byte{ip[3], ip[2], ip[1], ip[0]}
	rot := [4]byte{ip[3], ip[0], ip[1], ip[2]}
	last := [4]int{-1, -1, -1, -1} // the last four numbers, newest at the end
	for number := range eachNumber(s) {
		last = [4]int{last[1], last[2], last[3], octet(number)}
		if sameOctets(last, ip) || sameOctets(last, rev) || sameOctets(last, rot) ||
			joined(number, ip) || joined(number, rev) {
			return true
		}
	}
	return embedsHex(s, ip) || embedsHex(s, rev)
}

// eachNumber yields each run of decimal digits in s.
func eachNumber(s string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := 0; i < len(s); i++ {
			start := i
			for i < len(s) && isDigit(s[i]) {
				i++
			}
			if i > start && !yield(s[start:i]) {
				return
			}
		}
	}
}

func separator(c byte) bool { return c == '-' || c == '.' || c == '_' }

// octet returns the value of up to three decimal digits, -1 for more.
func octet(s string) int {
	if len(s) > 3 {
		return -1
	}
	v := 0
	for i := range len(s) {
		v = 10*v + int(s[i]-'0')
	}
	return v
}

func sameOctets(v [4]int, ip [4]byte) bool {
	for i := range v {
		if v[i] != int(ip[i]) {
			return false
		}
	}
	return true
}

// joined tells whether the digits s are the four octets in a row.
func joined(s string, ip [4]byte) bool {
	if len(s) == 12 {
		for i, b := range ip {
			if octet(s[3*i:3*i+3]) != int(b) {
				return false
			}
		}
		return true
	}
	if len(s) < minJoined || len(s) > 12 || !hasOctets(s, ip) {
		return false
	}
	return splits(s, 4) == 1
}

// minJoined is the least length of unpadded octets in a row: shorter numbers
// are counters, dates and postcodes.
const minJoined = 8

func hasOctets(s string, ip [4]byte) bool {
	for _, b := range ip {
		n := 1
		if b > 99 {
			n = 3
		} else if b > 9 {
			n = 2
		}
		if len(s) < n || octet(s[:n]) != int(b) {
			return false
		}
		s = s[n:]
	}
	return s == ""
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

// embedsHex looks for the eight hexadecimal digits of ip as a run of its own.
func embedsHex(s string, ip [4]byte) bool {
	for i := 0; i+8 <= len(s); i++ {
		if hexValue(s[i]) == ip[0]>>4 && (i == 0 || hexValue(s[i-1]) > 15) &&
			(i+8 == len(s) || hexValue(s[i+8]) > 15) && sameHex(s[i:i+8], ip) {
			return true
		}
	}
	return false
}

func sameHex(s string, ip [4]byte) bool {
	for i, b := range ip {
		if hexValue(s[2*i]) != b>>4 || hexValue(s[2*i+1]) != b&15 {
			return false
		}
	}
	return true
}

// embeds6 compares s with every spelling of ip in turn. In a spelling "-"
// stands for any separator.
func embeds6(s string, ip netip.Addr) bool {
	var buf [64]byte
	b := ip.As16()
	if len(s) >= 32 && (holds(s, nibbles(buf[:0], b, false, false)) ||
		holds(s, nibbles(buf[:0], b, true, false)) ||
		holds(s, groups(buf[:0], b, true))) {
		return true
	}
	if len(s) >= 63 && (holds(s, nibbles(buf[:0], b, false, true)) ||
		holds(s, nibbles(buf[:0], b, true, true))) {
		return true
	}
	return holds(s, groups(buf[:0], b, false)) || holds(s, dashes(ip.AppendTo(buf[:0])))
}

const hexDigits = "0123456789abcdef"

// nibbles appends the 32 nibbles of an address, last one first when reverse,
// with "-" between them when split.
func nibbles(dst []byte, ip [16]byte, reverse, split bool) []byte {
	for i := range 32 {
		n := i
		if reverse {
			n = 31 - i
		}
		v := ip[n/2] >> 4
		if n%2 == 1 {
			v = ip[n/2] & 15
		}
		if split && i > 0 {
			dst = append(dst, '-')
		}
		dst = append(dst, hexDigits[v])
	}
	return dst
}

// groups appends the eight groups with "-" between them, each of four digits
// when padded, else without leading zeros.
func groups(dst []byte, ip [16]byte, padded bool) []byte {
	for i := 0; i < len(ip); i += 2 {
		if i > 0 {
			dst = append(dst, '-')
		}
		v := binary.BigEndian.Uint16(ip[i:])
		for shift := 12; shift >= 0; shift -= 4 {
			if padded || shift == 0 || v>>shift != 0 {
				dst = append(dst, hexDigits[v>>shift&15])
			}
		}
	}
	return dst
}

func dashes(text []byte) []byte {
	for i, c := range text {
		if c == ':' {
			text[i] = '-'
		}
	}
	return text
}

// holds tells whether s holds the spelling, not as a part of a longer row of
// hexadecimal digits. The last of several parts ends at a separator: in
// "d.d.example.net" the e belongs to no address.
func holds(s string, spelling []byte) bool {
	apart := bytes.IndexByte(spelling, '-') >= 0
	for i := 0; i+len(spelling) <= len(s); i++ {
		if i > 0 && hexValue(s[i-1]) <= 15 || !spelled(s[i:i+len(spelling)], spelling) {
			continue
		}
		end := i + len(spelling)
		if end == len(s) || separator(s[end]) || !apart && hexValue(s[end]) > 15 {
			return true
		}
	}
	return false
}

func spelled(s string, spelling []byte) bool {
	for i, c := range spelling {
		if s[i] != c && (c != '-' || !separator(s[i])) {
			return false
		}
	}
	return true
}

// GenericPTR tells whether nobody chose a PTR name for this host: it holds
// the client's address (see ShowsAddr and EmbedsAddr), or a number and a word
// for rented machines and access lines. The name is lower-case and without
// final dot. It does not allocate.
func (l *Lists) GenericPTR(ptr string, client netip.Addr) bool {
	l = l.orDefault()
	return ShowsAddr(ptr, client) || l.rented(ptr)
}

// LineName tells whether a PTR name is one that a provider gives to the line of any customer: it
// shows the client's address and has no word for mail hosts in front of its public suffix. The name
// is lower-case and without final dot. It does not allocate.
func (l *Lists) LineName(ptr string, client netip.Addr) bool {
	if !ShowsAddr(ptr, client) {
		return false
	}
	l = l.orDefault()
	for _, word := range letterRuns(ptr[:suffixStart(ptr)]) {
		if l.words[word]&mailWord != 0 {
			return false
		}
	}
	return true
}

// rented tells whether a name has a digit and a word for rented machines or
// access lines.
func (l *Lists) rented(ascii string) bool {
	if !hasDigit(ascii) {
		return false
	}
	for _, word := range letterRuns(ascii) {
		if l.words[word]&rentedWord != 0 {
			return true
		}
	}
	return false
}

// ShowsAddr tells whether a lower-case name holds the client's address or so
// much of it that the owner of the network must have made the name: all that
// EmbedsAddr finds, three neighbouring octets as numbers one after the other
// in either order, eight hexadecimal digits anywhere, or half of an IPv6
// address. It is the looser sister of EmbedsAddr, for names that a network's
// owner gives (PTR), not for what a client says. It does not allocate.
func ShowsAddr(name string, client netip.Addr) bool {
	client = Unmap(client)
	switch {
	case client.Is4():
		return shows4(name, client.As4()) || embeds4(name, client.As4())
	case client.Is6():
		return shows6(name, client.As16()) || embeds6(name, client)
	}
	return false
}

// shows4 walks over the numbers of s, then over its hexadecimal digits.
func shows4(s string, ip [4]byte) bool {
	last := [3]int{-1, -1, -1}
	for number := range eachNumber(s) {
		last = [3]int{last[1], last[2], octet(number)}
		if threeOctets(last, ip) || threeOctets([3]int{last[2], last[1], last[0]}, ip) ||
			padded(number, ip) {
			return true
		}
	}
	rev := [4]byte{ip[3], ip[2], ip[1], ip[0]}
	for i := 0; i+8 <= len(s); i++ {
		if sameHex(s[i:i+8], ip) || sameHex(s[i:i+8], rev) {
			return true
		}
	}
	return false
}

func threeOctets(v [3]int, ip [4]byte) bool {
	return v[1] == int(ip[1]) && v[0] == int(ip[0]) && v[2] == int(ip[2]) ||
		v[1] == int(ip[2]) && v[0] == int(ip[1]) && v[2] == int(ip[3])
}

// padded tells whether twelve neighbouring digits of s are the octets of ip
// in either order.
func padded(s string, ip [4]byte) bool {
	for ; len(s) >= 12; s = s[1:] {
		a, b, c, d := octet(s[:3]), octet(s[3:6]), octet(s[6:9]), octet(s[9:12])
		if a == int(ip[0]) && b == int(ip[1]) && c == int(ip[2]) && d == int(ip[3]) ||
			d == int(ip[0]) && c == int(ip[1]) && b == int(ip[2]) && a == int(ip[3]) {
			return true
		}
	}
	return false
}

// minNibbles is how many different digits half an IPv6 address must have:
// a row of zeros is in every other one.
const minNibbles = 5

// shows6 slides over the last 16 hexadecimal digits of s, with whatever stands
// between them, and compares them with every 16 neighbours of the address.
func shows6(s string, ip [16]byte) bool {
	hi, lo := binary.BigEndian.Uint64(ip[:8]), binary.BigEndian.Uint64(ip[8:])
	var last uint64
	seen := 0
	for i := range len(s) {
		v := hexValue(s[i])
		if v > 15 {
			continue
		}
		last = last<<4 | uint64(v)
		if seen++; seen < 16 || different(last) < minNibbles {
			continue
		}
		if halfOf(last, hi, lo) || halfOf(reversed(last), hi, lo) {
			return true
		}
	}
	return false
}

// halfOf tells whether v is any 16 neighbouring nibbles of hi and lo.
func halfOf(v, hi, lo uint64) bool {
	for shift := 0; shift <= 64; shift += 4 {
		if hi<<shift|lo>>(64-shift) == v {
			return true
		}
	}
	return false
}

// reversed turns the order of the nibbles of v round.
func reversed(v uint64) uint64 {
	const low = 0x0f0f0f0f0f0f0f0f
	v = bits.ReverseBytes64(v)
	return v&low<<4 | v>>4&low
}

// different counts the different nibbles of v.
func different(v uint64) int {
	var seen uint16
	for range 16 {
		seen |= 1 << (v & 15)
		v >>= 4
	}
	return bits.OnesCount16(seen)
}
