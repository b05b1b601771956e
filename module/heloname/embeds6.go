package heloname

import (
	"bytes"
	"encoding/binary"
	"net/netip"
)

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
