package heloname

import (
	"net/netip"
	"strings"
)

// Limits of a name in octets, RFC 1035, 2.3.4. The 255 octets on the wire
// leave 253 for the text form without its final dot.
const (
	maxName  = 253
	maxLabel = 63
)

// Texts of Name.Problem: clauses about the argument, fit for a reply.
const (
	problemEmpty       = "it is empty"
	problem8Bit        = "it holds a byte outside ASCII"
	problemControl     = "it holds a control character"
	problemChar        = "it holds a character other than letters, digits, hyphens and dots"
	problemLeadingDot  = "it starts with a dot"
	problemEmptyLabel  = "it has two dots in a row"
	problemFinalDots   = "it ends with more than one dot"
	problemLongLabel   = "a part between dots is longer than 63 characters"
	problemLongName    = "it is longer than 253 characters"
	problemHyphenFirst = "a part between dots starts with a hyphen"
	problemHyphenLast  = "a part between dots ends with a hyphen"
	problemALabel      = "a part that starts with xn-- is not a valid encoded name"
	problemZone        = "it is an IPv6 address with a zone"

	problemUnclosed    = "it has no closing bracket at its end"
	problemNoAddress   = "its brackets are empty"
	problemNotIPv6     = "the text after its IPv6 tag is not an IPv6 address"
	problemNotAddress  = "the text in its brackets is not an IP address"
	problemLiteralZone = "the IPv6 address in its brackets has a zone"
)

// The classes of an octet in a host name.
const (
	classBad = iota
	classLower
	classUpper
	classDigit
	classHyphen
	classUnderscore
	classDot
)

var classes = func() (t [256]uint8) {
	for c := byte('a'); c <= 'z'; c++ {
		t[c] = classLower
		t[c-'a'+'A'] = classUpper
	}
	for c := byte('0'); c <= '9'; c++ {
		t[c] = classDigit
	}
	t['-'], t['_'], t['.'] = classHyphen, classUnderscore, classDot
	return t
}()

// Parse classifies the argument of HELO or EHLO (RFC 5321, section 4.1.1.1):
// the first word after the verb. It accepts any bytes and never fails; what
// is wrong with the argument stands in Name.Kind and Name.Problem. It does
// not allocate for a well-formed name in lower case.
func Parse(arg string) Name {
	n := Name{Raw: arg}
	if arg == "" {
		n.Problem = problemEmpty
		return n
	}
	if arg[0] == '[' {
		parseLiteral(&n)
		return n
	}
	s := arg
	if len(s) > 1 && s[len(s)-1] == '.' && s[len(s)-2] != '.' {
		s = s[:len(s)-1]
		n.TrailingDot = true
	}
	if addr, ok := bareIP(s); ok {
		n.Kind, n.Addr = BareIP, addr
		return n
	}
	parseHost(&n, s)
	if n.Kind == Malformed {
		n.TrailingDot = false
	}
	return n
}

// parseHost fills n for a host name s without its final dot.
func parseHost(n *Name, s string) {
	sc, problem := scan(s)
	if problem == problemChar && hasZone(s) {
		problem = problemZone
	}
	if problem == "" && len(s) > maxName {
		problem = problemLongName
	}
	if problem == "" && sc.upper {
		s = strings.ToLower(s)
	}
	if problem == "" && sc.alabel && !validALabels(s) {
		problem = problemALabel
	}
	if problem != "" {
		n.Problem = problem
		return
	}
	n.ASCII, n.Underscore = s, sc.underscore
	n.Kind = SingleLabel
	if sc.dots > 0 {
		n.Kind = FQDN
	}
}

// scanned is what one pass over a name found.
type scanned struct {
	dots                      int
	upper, underscore, alabel bool
}

// scan goes once over s and returns the first fault of characters, labels
// and dots; "" when there is none. RFC 5321, 4.1.2 and RFC 1123, 2.1.
func scan(s string) (sc scanned, problem string) {
	start := 0
	for i := range len(s) {
		switch classes[s[i]] {
		case classUpper:
			sc.upper = true
		case classUnderscore:
			sc.underscore = true
		case classDot:
			if problem := labelFault(s, start, i); problem != "" {
				return sc, problem
			}
			sc.alabel = sc.alabel || hasACE(s[start:i])
			sc.dots++
			start = i + 1
		case classBad:
			return sc, badByte(s[i])
		}
	}
	sc.alabel = sc.alabel || hasACE(s[start:])
	return sc, labelFault(s, start, len(s))
}

// labelFault returns what is wrong with the dots and hyphens of s[start:end],
// a label whose characters are known to be good.
func labelFault(s string, start, end int) string {
	switch {
	case end == 0:
		return problemLeadingDot
	case start == end && strings.Trim(s[start:], ".") == "":
		return problemFinalDots
	case start == end:
		return problemEmptyLabel
	case end-start > maxLabel:
		return problemLongLabel
	case s[start] == '-':
		return problemHyphenFirst
	case s[end-1] == '-':
		return problemHyphenLast
	}
	return ""
}

func badByte(c byte) string {
	switch {
	case c >= 0x80:
		return problem8Bit
	case c < 0x20 || c == 0x7f:
		return problemControl
	}
	return problemChar
}

// hasZone tells whether s is an IPv6 address with a zone (RFC 4007), which
// has a meaning on one host only.
func hasZone(s string) bool {
	base, _, found := strings.Cut(untag(s), "%")
	if !found || len(base) > maxAddr {
		return false
	}
	addr, err := netip.ParseAddr(base)
	return err == nil && addr.Is6()
}
