package heloname

// ellipsis stands for what Clean left out.
const ellipsis = "..."

// harmful has the printable characters that open, close or escape something
// in an SMTP reply, a header field (RFC 5322, 3.2.1 and 3.2.2), JSON, HTML or
// a shell. Brackets and colons stay: they are part of an address literal.
var harmful = func() (t [256]bool) {
	for c := range t {
		t[c] = c <= ' ' || c >= 0x7f
	}
	for _, c := range []byte("<>()\"\\;&'`") {
		t[c] = true
	}
	return t
}()

// Clean makes text of a client fit for logs, replies, header fields and HTML:
// every byte that is not a harmless printable ASCII character becomes "?",
// and what is longer than the given octets loses its middle to "...". The result
// is never longer than that and has no space. It does not allocate when nothing
// has to change.
func Clean(s string, octets int) string {
	limit := max(octets, 0)
	if len(s) <= limit && isClean(s) {
		return s
	}
	head, tail := s, ""
	if len(s) > limit {
		keep := limit - min(limit, len(ellipsis))
		head, tail = s[:(keep+1)/2], s[len(s)-keep/2:]
	}
	b := make([]byte, 0, len(head)+len(ellipsis)+len(tail))
	b = appendClean(b, head)
	if len(s) > limit {
		b = append(b, ellipsis[:min(limit, len(ellipsis))]...)
	}
	return string(appendClean(b, tail))
}

func isClean(s string) bool {
	for i := range len(s) {
		if harmful[s[i]] {
			return false
		}
	}
	return true
}

func appendClean(b []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if harmful[c] {
			c = '?'
		}
		b = append(b, c)
	}
	return b
}

// Line makes text of our own fit for one line of an SMTP reply (RFC 5321,
// 4.2): what is not printable ASCII becomes "?", and what is longer than the
// given octets is cut off. Text of a client goes through Clean first.
func Line(s string, octets int) string {
	b := []byte(s[:min(len(s), max(octets, 0))])
	for i, c := range b {
		if c < ' ' || c >= 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}
