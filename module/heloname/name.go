// Package heloname parses and classifies the one argument of an SMTP HELO or
// EHLO command (RFC 5321, section 4.1.1.1). It does no I/O.
package heloname

import "net/netip"

// Kind tells what a HELO argument is.
type Kind uint8

// The kinds of HELO argument.
const (
	Malformed   Kind = iota // breaks the grammar of RFC 5321, 4.1.2
	FQDN                    // two labels or more
	SingleLabel             // one label
	BareIP                  // an address without brackets, in any spelling inet_aton(3) takes, or IPv6
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
	Addr  netip.Addr // set for BareIP and Literal, v4-mapped addresses unmapped
	// Problem says in plain words what the first syntax fault is; "" when
	// Kind is neither Malformed nor BadLiteral.
	Problem     string
	Underscore  bool // otherwise valid, with at least one "_"
	TrailingDot bool // one final dot was cut off
}
