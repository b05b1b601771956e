package heloname

import "strings"

const ellipsis = "..."

// harmful tells whether c is not printable, or opens, closes or escapes something
// in an SMTP reply, a header field (RFC 5322, 3.2.1 and 3.2.2), JSON, HTML or
// a shell. Brackets and colons are not: they are part of an address literal.
func harmful(c byte) bool {
	return c <= ' ' || c >= 0x7f || strings.IndexByte("<>()\"\\;&'`", c) >= 0
}

func unprintable(c byte) bool { return c < ' ' || c >= 0x7f }

// Clean makes text of a client fit for logs, replies, header fields and HTML:
// every byte that is not a harmless printable ASCII character becomes "?",
// and what is longer than the given octets loses its middle to "...". The result
// is never longer than that and has no space. It does not allocate when nothing
// has to change.
func Clean(s string, octets int) string {
	if limit := max(octets, 0); len(s) > limit {
		keep := max(limit-len(ellipsis), 0)
		s = s[:(keep+1)/2] + ellipsis[:min(limit, len(ellipsis))] + s[len(s)-keep/2:]
	}
	return mask(s, harmful)
}

// Line makes text of our own fit for one line of an SMTP reply (RFC 5321,
// 4.2): what is not printable ASCII becomes "?", and what is longer than the
// given octets is cut off. Text of a client goes through Clean first.
func Line(s string, octets int) string {
	return mask(s[:min(len(s), max(octets, 0))], unprintable)
}

// mask returns s with a "?" for each octet that bad is true of.
func mask(s string, bad func(byte) bool) string {
	var masked []byte
	for i := range len(s) {
		if bad(s[i]) {
			if masked == nil {
				masked = []byte(s)
			}
			masked[i] = '?'
		}
	}
	if masked == nil {
		return s
	}
	return string(masked)
}
