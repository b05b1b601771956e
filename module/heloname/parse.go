// Package heloname parses and classifies the one argument of an SMTP HELO or
// EHLO command (RFC 5321, section 4.1.1.1):
//
//	n := heloname.Parse("MAIL.example.org") // n.Kind is FQDN, n.ASCII "mail.example.org"
//
// It also tells what kind of host such a name is likely to have, from lists of
// reserved suffixes, providers and words. It does no I/O.
package heloname

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Kind tells what a HELO argument is.
type Kind uint8

// The kinds of HELO argument.
const (
	Malformed   Kind = iota // breaks the grammar of RFC 5321, 4.1.2
	FQDN                    // two labels or more
	SingleLabel             // one label
	BareIP                  // an address without brackets, as inet_aton(3) takes it, or numbers only
	Literal                 // a valid address literal, RFC 5321, 4.1.3
	BadLiteral              // starts with a bracket but is no valid literal
)

// String returns the kind's name as logs and JSON show it.
func (k Kind) String() string {
	switch k {
	case FQDN:
		return "fqdn"
	case SingleLabel:
		return "single_label"
	case BareIP:
		return "bare_ip"
	case Literal:
		return "literal"
	case BadLiteral:
		return "bad_literal"
	default:
		return "malformed"
	}
}

// Name is one parsed HELO argument.
type Name struct {
	Raw  string // as the client sent it; never to be written anywhere uncleaned, see Clean
	Kind Kind
	// ASCII is the name in lower-case A-labels without a final dot;
	// "" unless Kind is FQDN or SingleLabel.
	ASCII string
	Addr  netip.Addr // set for BareIP and Literal, as Unmap returns it; not for 1.2.3.4.5
	// Problem says in plain words what the first syntax fault is; "" when
	// Kind is neither Malformed nor BadLiteral.
	Problem     string
	Underscore  bool // otherwise valid, with at least one "_"
	TrailingDot bool // one final dot was cut off
}

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
	problemNumeric     = "its last part is a number, so it is neither a host name nor an address"

	problemUnclosed    = "it has no closing bracket at its end"
	problemNoAddress   = "its brackets are empty"
	problemNotIPv6     = "the text after its IPv6 tag is not an IPv6 address"
	problemNotIPv4     = "the text after its IPv4 tag is not an IPv4 address"
	problemNotAddress  = "the text in its brackets is not an IP address"
	problemLiteralZone = "the IPv6 address in its brackets has a zone"
)

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// isRun tells whether s has low to high octets, all of them in set.
func isRun(s string, set func(byte) bool, low, high int) bool {
	if len(s) < low || len(s) > high {
		return false
	}
	for i := range len(s) {
		if !set(s[i]) {
			return false
		}
	}
	return true
}

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
	// RFC 1123, 2.1 and RFC 3696, 2: no top-level domain is all-numeric, so that a
	// host name cannot be taken for an address.
	if problem == "" && isRun(TLD(s), isDigit, 1, maxLabel) {
		if strings.Trim(s, ".0123456789") == "" {
			n.Kind = BareIP
			return
		}
		problem = problemNumeric
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
		switch c := s[i]; {
		case isLower(c), isDigit(c), c == '-':
		case c >= 'A' && c <= 'Z':
			sc.upper = true
		case c == '_':
			sc.underscore = true
		case c == '.':
			if problem := labelFault(s, start, i); problem != "" {
				return sc, problem
			}
			sc.alabel = sc.alabel || hasACE(s[start:i])
			sc.dots++
			start = i + 1
		default:
			return sc, badByte(c)
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
	base, _, found := strings.Cut(untag(s, ipv6Tag), "%")
	if !found || len(base) > maxAddr {
		return false
	}
	addr, err := netip.ParseAddr(base)
	return err == nil && addr.Is6()
}

// hasACE tells whether a label starts with the prefix of an A-label,
// RFC 5890, 2.3.2.1.
func hasACE(label string) bool {
	return len(label) >= 4 && label[2] == '-' && label[3] == '-' &&
		label[0]|0x20 == 'x' && label[1]|0x20 == 'n'
}

// validALabels checks every label of the lower-case name s that starts with
// xn--. Labels with other letters before "--" are ordinary host names and
// in use (r3---sn-..., s1--mail), so they are not looked at.
func validALabels(s string) bool {
	for s != "" {
		label, rest, _ := strings.Cut(s, ".")
		if hasACE(label) && !validALabel(label) {
			return false
		}
		s = rest
	}
	return true
}

// validALabel tells whether label decodes to a U-label that encodes to the
// same label again, RFC 5891, 5.4 with the mapping of UTS 46.
func validALabel(label string) bool {
	u, err := idna.Lookup.ToUnicode(label)
	if err != nil {
		return false
	}
	// An A-label of nothing but ASCII (xn--abc-) does not come back as it was.
	back, err := idna.Lookup.ToASCII(u)
	return err == nil && back == label
}
