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
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
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
	for label := range strings.SplitSeq(s, ".") {
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
	for label := range strings.SplitSeq(s, ".") {
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

// maxAddr is the length of the longest text of an IP address in octets.
const maxAddr = len("0000:0000:0000:0000:0000:ffff:255.255.255.255")

// The tags of address literals, in any case. RFC 5321, 4.1.3 has the first one; some clients write
// the second one by analogy, and many write no tag.
const (
	ipv6Tag = "ipv6:"
	ipv4Tag = "ipv4:"
)

func cutTag(s, tag string) (rest string, tagged bool) {
	if len(s) >= len(tag) && strings.EqualFold(s[:len(tag)], tag) {
		return s[len(tag):], true
	}
	return s, false
}

// parseLiteral fills n for an argument that starts with a bracket, RFC 5321, 4.1.3.
func (n *Name) parseLiteral() {
	n.Kind = BadLiteral
	s, closed := strings.CutSuffix(n.Raw[1:], "]")
	switch {
	case !closed || strings.Contains(s, "]"):
		n.Problem = "it has no closing bracket at its end"
		return
	case s == "":
		n.Problem = "its brackets are empty"
		return
	}
	text, is6 := cutTag(s, ipv6Tag)
	text, is4 := cutTag(text, ipv4Tag)
	switch addr := parseAddr(text); {
	case addr.IsValid() && (!is6 || addr.Is6()) && (!is4 || addr.Is4()):
		n.Kind, n.Addr = Literal, Unmap(addr)
	case is6:
		n.Problem = "the text after its IPv6 tag is not an IPv6 address"
	case is4:
		n.Problem = "the text after its IPv4 tag is not an IPv4 address"
	default:
		n.Problem = "the text in its brackets is not an IP address"
	}
}

// parseAddr is netip.ParseAddr without zones (RFC 4007), which have a meaning on one host only, and
// without the cost of an error value for text that cannot be an address.
func parseAddr(s string) (addr netip.Addr) {
	if len(s) > 1 && len(s) <= maxAddr && !strings.Contains(s, "%") {
		addr, _ = netip.ParseAddr(s)
	}
	return addr
}

// bareIP reads s as an IPv6 address or as any text inet_aton(3) takes for an IPv4 address.
func bareIP(s string) netip.Addr {
	if strings.Contains(s, ":") {
		text, _ := cutTag(s, ipv6Tag)
		if addr := parseAddr(text); addr.Is6() {
			return Unmap(addr)
		}
	} else if last := TLD(s); last != "" && isDigit(last[0]) {
		return inetAton(s)
	}
	return netip.Addr{}
}

// inetAton reads one to four numbers, each decimal, octal or hexadecimal, of
// which the last fills all octets that are left. Four numbers in which a
// leading zero cannot mean octal (09) are read as decimal.
func inetAton(s string) netip.Addr {
	dots := strings.Count(s, ".")
	if dots > 3 {
		return netip.Addr{}
	}
	var all uint64
	left := dots
	for part := range strings.SplitSeq(s, ".") {
		bits := 8
		if left == 0 {
			bits = 32 - 8*dots
		}
		left--
		base := 10
		switch {
		case len(part) > 2 && part[0] == '0' && part[1]|0x20 == 'x':
			base, part = 16, part[2:]
		case len(part) > 1 && part[0] == '0' && (dots < 3 || !strings.ContainsAny(part, "89")):
			base = 8
		}
		number, err := strconv.ParseUint(part, base, bits)
		if err != nil {
			return netip.Addr{}
		}
		all = all<<bits | number
	}
	var octets [4]byte
	binary.BigEndian.PutUint32(octets[:], uint32(all)) // four octets in all, see bits
	return netip.AddrFrom4(octets)
}

// nat64 has the translated addresses, RFC 6052, 2.1.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// Unmap returns the IPv4 address that an IPv4-mapped or NAT64 (64:ff9b::/96)
// address holds, and every other address as it is. The result has no zone.
func Unmap(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if nat64.Contains(addr) {
		b := addr.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return addr
}

// ClientNetwork returns the network that a client's share is counted for: its IPv4 address, or the
// /64 of its IPv6 address.
func ClientNetwork(client netip.Addr) netip.Prefix {
	client = Unmap(client)
	network, _ := client.Prefix(min(64, client.BitLen()))
	return network
}

// ParsePrefix reads an address (192.0.2.1, 2001:db8::1), which becomes a
// network of one, or a network (192.0.2.0/24). IPv4-mapped and NAT64 addresses
// and networks become IPv4: ::ffff:192.0.2.0/120 is 192.0.2.0/24. A zone and an
// address bit beyond the length of the network are errors.
func ParsePrefix(s string) (netip.Prefix, error) {
	addr, err := netip.ParseAddr(s)
	p, wanted := netip.PrefixFrom(addr, addr.BitLen()), "an address"
	if strings.Contains(s, "/") {
		p, err = netip.ParsePrefix(s)
		wanted = "a network"
	}
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not %s", s, wanted)
	}
	if masked := p.Masked(); masked != p {
		return netip.Prefix{}, fmt.Errorf(
			"%q: the address has bits beyond /%d; write %s for the network or %s for the address",
			s, p.Bits(), masked, p.Addr())
	}
	if addr := Unmap(p.Addr()); addr != p.Addr() && p.Bits() >= nat64.Bits() {
		p = netip.PrefixFrom(addr, p.Bits()-nat64.Bits())
	}
	return p, nil
}

// Domain returns a domain name of an operator's text in the form of Name.ASCII.
// It takes capitals, U-labels (RFC 5890, 2.3.2.1) and one final dot, and
// returns an error for everything that is not a host name.
func Domain(s string) (string, error) {
	ascii := s
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) >= 0 {
		var err error
		if ascii, err = idna.Lookup.ToASCII(strings.TrimSuffix(s, ".")); err != nil {
			return "", fmt.Errorf("%q is not a domain name: %w", s, err)
		}
	}
	switch n := Parse(ascii); {
	case n.ASCII != "":
		return n.ASCII, nil
	case n.Addr.IsValid():
		return "", fmt.Errorf("%q is an address, not a domain name", s)
	default:
		return "", fmt.Errorf("%q is not a domain name: %s", s, n.Problem)
	}
}

// specialPrefixes are the blocks of the IANA IPv4 and IPv6 Special-Purpose Address Registries (RFC
// 6890) that are not globally reachable, with multicast and the relay anycast prefix of 6to4.
// 224.0.0.0/3 has class E and broadcast too; ::/8 is unspecified, loopback, IPv4-compatible and
// unassigned; 2001::/23 Teredo, benchmarking, ORCHID and other protocols.
var specialPrefixes = prefixes(`
	0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24
	192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24
	224.0.0.0/3
	::/8 64:ff9b:1::/48 100::/64 100:0:0:1::/64 2001::/23 2001:db8::/32 3fff::/20 5f00::/16
	fc00::/7 fe80::/10 fec0::/10 ff00::/8`)

func prefixes(words string) (list []netip.Prefix) {
	for word := range strings.FieldsSeq(words) {
		list = append(list, netip.MustParsePrefix(word))
	}
	return list
}

// Special tells whether no mail can come from an address over the Internet. A 6to4 address
// (2002::/16, RFC 3056) and a translated one (64:ff9b::/96) count as the IPv4 address they hold.
// The zero Addr is special.
func Special(addr netip.Addr) bool {
	addr = Unmap(addr)
	if !addr.IsValid() {
		return true
	}
	if b := addr.As16(); b[0] == 0x20 && b[1] == 0x02 {
		addr = netip.AddrFrom4([4]byte(b[2:]))
	}
	within := func(p netip.Prefix) bool { return p.Contains(addr) }
	return slices.ContainsFunc(specialPrefixes, within)
}

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
