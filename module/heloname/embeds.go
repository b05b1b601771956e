package heloname

import (
	"iter"
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
	client = client.Unmap()
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
			for i < len(s) && classes[s[i]] == classDigit {
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
