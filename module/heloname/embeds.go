package heloname

import (
	"encoding/binary"
	"iter"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
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

// embeds4 walks over the numbers of s, then over its hexadecimal digits.
func embeds4(s string, ip [4]byte) bool {
	a, b, c, d := int(ip[0]), int(ip[1]), int(ip[2]), int(ip[3])
	rev := [4]byte{ip[3], ip[2], ip[1], ip[0]}
	var last [4]int // the last four numbers, newest at the end
	seen := 0
	for number := range eachNumber(s) {
		last = [4]int{last[1], last[2], last[3], octet(number)}
		seen++
		inRow := last == [4]int{a, b, c, d} || last == [4]int{d, c, b, a} || last == [4]int{d, a, b, c}
		if seen >= 4 && inRow || joined(number, ip) || joined(number, rev) {
			return true
		}
	}
	return hasHex(s, ip, true)
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

// joined tells whether the digits s are the four octets in a row, padded with zeros or, if no other
// address is spelled so, not padded.
func joined(s string, ip [4]byte) bool {
	if len(s) < minJoined || len(s) > 12 {
		return false
	}
	padded := digits12(ip)
	if s == string(padded[:]) {
		return true
	}
	var buf [12]byte
	plain := buf[:0]
	for _, b := range ip {
		plain = strconv.AppendUint(plain, uint64(b), 10)
	}
	return s == string(plain) && splits(s, 4) == 1
}

// minJoined is the least length of unpadded octets in a row: shorter numbers
// are counters, dates and postcodes.
const minJoined = 8

// digits12 returns the octets of ip, each in three digits.
func digits12(ip [4]byte) (digits [12]byte) {
	for i, b := range ip {
		digits[3*i], digits[3*i+1], digits[3*i+2] = '0'+b/100, '0'+b/10%10, '0'+b%10
	}
	return digits
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

// hasHex looks for the eight hexadecimal digits of ip in either order: anywhere, or as a run of
// their own.
func hasHex(s string, ip [4]byte, own bool) bool {
	fwd := binary.BigEndian.Uint32(ip[:])
	rev := bits.ReverseBytes32(fwd)
	var last uint32
	run := 0
	for i := range len(s) {
		v := hexValue(s[i])
		if v > 15 {
			run = 0
			continue
		}
		last = last<<4 | uint32(v)
		run++
		ends := i+1 == len(s) || hexValue(s[i+1]) > 15
		if (run == 8 && ends || run >= 8 && !own) && (last == fwd || last == rev) {
			return true
		}
	}
	return false
}

// embeds6 looks for the 32 nibbles of ip in either order, joined, in groups of four or each apart,
// then for the groups without leading zeros and for the shortest text.
func embeds6(s string, ip netip.Addr) bool {
	b := ip.As16()
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	for _, n := range [...]int{32, 39, 63} {
		for i := 0; i+n <= len(s); i++ {
			first, second, ok := nibbles(s[i : i+n])
			if ok && apart(s, i, i+n, n > 32) &&
				(first == hi && second == lo || first == reversed(lo) && second == reversed(hi)) {
				return true
			}
		}
	}
	var buf [64]byte
	groups := buf[:0]
	for i := 0; i < len(b); i += 2 {
		groups = strconv.AppendUint(append(groups, ':'), uint64(binary.BigEndian.Uint16(b[i:])), 16)
	}
	return holds(s, groups[1:]) || holds(s, ip.AppendTo(buf[:0]))
}

// nibbles reads 32 hexadecimal digits with any separators between them.
func nibbles(s string) (hi, lo uint64, ok bool) {
	n := 0
	for i := range len(s) {
		switch v := hexValue(s[i]); {
		case v <= 15:
			hi, lo = hi<<4|lo>>60, lo<<4|uint64(v)
			n++
		case !separator(s[i]):
			return 0, 0, false
		}
	}
	return hi, lo, n == 32
}

// apart tells whether s[start:end] is no part of a longer row of hexadecimal digits. A row of
// several parts ends at a separator: in "d.d.example.net" the e belongs to no address.
func apart(s string, start, end int, parts bool) bool {
	return (start == 0 || hexValue(s[start-1]) > 15) &&
		(end == len(s) || separator(s[end]) || !parts && hexValue(s[end]) > 15)
}

// holds tells whether s holds the text of an address, with any separators for its colons.
func holds(s string, text []byte) bool {
	for i := 0; i+len(text) <= len(s); i++ {
		if end := i + len(text); apart(s, i, end, true) && spelled(s[i:end], text) {
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
	a, b, c, d := int(ip[0]), int(ip[1]), int(ip[2]), int(ip[3])
	fwd, rev := digits12(ip), digits12([4]byte{ip[3], ip[2], ip[1], ip[0]})
	var last [3]int
	seen := 0
	for number := range eachNumber(s) {
		last = [3]int{last[1], last[2], octet(number)}
		seen++
		inRow := last == [3]int{a, b, c} || last == [3]int{c, b, a} ||
			last == [3]int{b, c, d} || last == [3]int{d, c, b}
		if seen >= 3 && inRow || strings.Contains(number, string(fwd[:])) ||
			strings.Contains(number, string(rev[:])) {
			return true
		}
	}
	return hasHex(s, ip, false)
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
