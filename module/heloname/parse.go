// Package heloname parses and classifies the one argument of an SMTP HELO or
// EHLO command (RFC 5321, section 4.1.1.1):
//
//	n := heloname.Parse("MAIL.example.org") // n.Kind is FQDN, n.ASCII "mail.example.org"
//
// It also tells what kind of host such a name is likely to have, from lists of reserved suffixes,
// providers and words. Its functions take names in the form of Name.ASCII: lower-case A-labels
// without a final dot. None allocates for a name that is not in a list. The package does no I/O.
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
	return [...]string{"malformed", "fqdn", "single_label", "bare_ip", "literal", "bad_literal"}[k]
}

// Name is one parsed HELO argument.
type Name struct {
	Raw  string // as the client sent it; never to be written anywhere uncleaned, see Clean
	Kind Kind
	// ASCII is the name in lower-case A-labels without a final dot;
	// "" unless Kind is FQDN or SingleLabel.
	ASCII string
	Addr  netip.Addr // set for BareIP and Literal, as Unmap returns it; not for 1.2.3.4.5
	// Problem says in plain words what the first syntax fault is: a clause about the
	// argument, fit for a reply. It is "" when Kind is neither Malformed nor BadLiteral.
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

// acePrefix starts an A-label, RFC 5890, 2.3.2.1.
const acePrefix = "xn--"

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyz"
)

func isLower(c byte) bool   { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool   { return c >= '0' && c <= '9' }
func isDecimal(c byte) bool { return isDigit(c) || c == '.' }
func isHex(c byte) bool     { return isDigit(c) || c >= 'a' && c <= 'f' }

// consists tells whether s is not empty and has no other octets than those of set.
func consists(s string, set func(byte) bool) bool {
	for i := range len(s) {
		if !set(s[i]) {
			return false
		}
	}
	return s != ""
}

// Parse classifies the argument of HELO or EHLO (RFC 5321, section 4.1.1.1): the first word after
// the verb. It accepts any bytes and never fails; what is wrong with the argument stands in
// Name.Kind and Name.Problem. It does not allocate for a well-formed name in lower case.
func Parse(arg string) Name {
	n := Name{Raw: arg}
	switch {
	case arg == "":
		n.Problem = "it is empty"
	case arg[0] == '[':
		n.parseLiteral()
	default:
		n.parseHost()
	}
	return n
}

func (n *Name) parseHost() {
	s, dotted := n.Raw, false
	if end := len(s) - 1; end > 0 && s[end] == '.' && s[end-1] != '.' {
		s, dotted = s[:end], true
	}
	addr := bareIP(s)
	if !addr.IsValid() {
		n.Problem = labelsProblem(s)
		if n.Problem == "" {
			s = strings.ToLower(s)
			n.Problem = nameProblem(s)
		} else if hasZone(s) {
			n.Problem = "it is an IPv6 address with a zone"
		}
		if n.Problem != "" {
			return
		}
	}
	n.TrailingDot = dotted
	switch {
	case addr.IsValid() || consists(s, isDecimal):
		n.Kind, n.Addr = BareIP, addr
		return
	case strings.Contains(s, "."):
		n.Kind = FQDN
	default:
		n.Kind = SingleLabel
	}
	n.ASCII, n.Underscore = s, strings.Contains(s, "_")
}

// labelsProblem returns the first fault of characters, labels and dots; "" when there
// is none. RFC 5321, 4.1.2 and RFC 1123, 2.1.
func labelsProblem(s string) string {
	for rest, more := s, true; more; {
		var label string
		label, rest, more = strings.Cut(rest, ".")
		for i := range len(label) {
			switch c := label[i]; {
			case isLower(c | 0x20), isDigit(c), c == '-', c == '_':
			case c >= 0x80:
				return "it holds a byte outside ASCII"
			case c < ' ', c == 0x7f:
				return "it holds a control character"
			default:
				return "it holds a character other than letters, digits, hyphens and dots"
			}
		}
		switch {
		case label == "" && s[0] == '.':
			return "it starts with a dot"
		case label == "" && strings.Contains(strings.TrimRight(s, "."), ".."):
			return "it has two dots in a row"
		case label == "":
			return "it ends with more than one dot"
		case len(label) > maxLabel:
			return "a part between dots is longer than 63 characters"
		case label[0] == '-':
			return "a part between dots starts with a hyphen"
		case label[len(label)-1] == '-':
			return "a part between dots ends with a hyphen"
		}
	}
	return ""
}

// nameProblem returns the first fault of a lower-case name whose labels are good by
// themselves; "" when there is none.
func nameProblem(s string) string {
	if len(s) > maxName {
		return "it is longer than 253 characters"
	}
	// Labels with other letters before "--" are ordinary host names and in use
	// (r3---sn-..., s1--mail).
	for rest := s; strings.Contains(rest, acePrefix); {
		var label string
		label, rest, _ = strings.Cut(rest, ".")
		if strings.HasPrefix(label, acePrefix) && !validALabel(label) {
			return "a part that starts with xn-- is not a valid encoded name"
		}
	}
	// RFC 1123, 2.1 and RFC 3696, 2: no top-level domain is all-numeric, so that a
	// host name cannot be taken for an address.
	if consists(TLD(s), isDigit) && !consists(s, isDecimal) {
		return "its last part is a number, so it is neither a host name nor an address"
	}
	return ""
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
