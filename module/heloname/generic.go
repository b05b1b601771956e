package heloname

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// GenericPTR tells whether nobody chose a PTR name for this host: it holds
// the client's address (see ShowsAddr and EmbedsAddr), or a number and a word
// for rented machines and access lines. The name is lower-case and without
// final dot. It does not allocate.
func (l *Lists) GenericPTR(ptr string, client netip.Addr) bool {
	l = l.orDefault()
	return ShowsAddr(ptr, client) || l.rented(ptr)
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
	client = client.Unmap()
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
