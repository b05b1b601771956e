package heloname

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

var updateDocs = flag.Bool("update", false, "write the table of differences into the docs")

// The classes that the parsers are compared by.
const (
	asBad     = "not a name"
	asLiteral = "literal"
	asAddress = "address"
	asLabel   = "one label"
	asName    = "full name"
	asHost    = "name" // one label or more, where a parser does not tell them apart
)

// ourClass is what Parse makes of arg.
func ourClass(arg string) string {
	switch Parse(arg).Kind {
	case FQDN:
		return asName
	case SingleLabel:
		return asLabel
	case BareIP:
		return asAddress
	case Literal:
		return asLiteral
	default:
		return asBad
	}
}

// postfixClass follows what Postfix 3.12 does in reject_invalid_helo_hostname
// and reject_non_fqdn_helo_hostname.
func postfixClass(arg string) string {
	if strings.HasPrefix(arg, "[") {
		inner, closed := strings.CutSuffix(arg[1:], "]")
		if closed && postfixLiteral(inner) {
			return asLiteral
		}
		return asBad
	}
	name := strings.TrimSuffix(arg, ".") // one dot, not all
	switch {
	case quad(name) || plain6(name):
		return asAddress
	case !postfixName(name):
		return asBad
	case strings.Contains(name, "."):
		return asName
	default:
		return asLabel
	}
}

// postfixLiteral: dotted quad, or an IPv6 address with its tag in any case.
func postfixLiteral(inner string) bool {
	if len(inner) > 5 && strings.EqualFold(inner[:5], "IPv6:") {
		return plain6(inner[5:])
	}
	return quad(inner)
}

var (
	rfcQuad      = regexp.MustCompile(`^\d{1,3}(\.\d{1,3}){3}$`) // RFC 5321, 4.1.3
	postfixLabel = regexp.MustCompile(`^[0-9A-Za-z_]([0-9A-Za-z_-]*[0-9A-Za-z_])?$`)
	allDigits    = regexp.MustCompile(`^[0-9.]*$`)
)

func quad(s string) bool {
	if !rfcQuad.MatchString(s) {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if len(part) == 3 && part > "255" {
			return false
		}
	}
	return true
}

func plain6(s string) bool {
	addr, err := netip.ParseAddr(s)
	return err == nil && addr.Is6() && addr.Zone() == ""
}

// postfixName: at most 255 octets; labels of 1 to 63 letters, digits, hyphens
// and underscores, no hyphen first or last; not all labels numbers.
func postfixName(s string) bool {
	if len(s) > 255 || allDigits.MatchString(s) {
		return false
	}
	for part := range strings.SplitSeq(s, ".") {
		if len(part) > 63 || !postfixLabel.MatchString(part) {
			return false
		}
	}
	return true
}

// netipClass is what net/netip makes of arg, or of what stands in its brackets.
func netipClass(arg string) string {
	inner, class := arg, asAddress
	if len(arg) > 1 && arg[0] == '[' && arg[len(arg)-1] == ']' {
		inner, class = arg[1:len(arg)-1], asLiteral
	}
	if _, err := netip.ParseAddr(inner); err != nil {
		return asBad
	}
	return class
}

// dnsClass is what miekg/dns makes of arg.
func dnsClass(arg string) string {
	if _, ok := dns.IsDomainName(arg); ok {
		return asHost
	}
	return asBad
}

// difference is one row: where a parser and ours say different things, which
// is so for what all arguments have that when is true of.
type difference struct {
	other, example, ours, theirs, why string
	when                              func(arg string) bool
}

// What the rows are about, in terms of the argument and not of Parse.
var (
	foreign    = regexp.MustCompile(`(?s)[^0-9A-Za-z._-]`)
	hyphens    = regexp.MustCompile(`(^|\.)-|-(\.|$)`)
	encoded    = regexp.MustCompile(`(?i)(^|\.)xn--`)
	numbers    = regexp.MustCompile(`^((0[xX][0-9a-fA-F]+|\d+)(\.|$)){1,5}$`) // for inet_aton
	numericEnd = regexp.MustCompile(`(^|\.)\d+\.?$`)
	octal      = regexp.MustCompile(`(^|\.)0\d`)
	allNumbers = regexp.MustCompile(`^(\d+\.)*\d+\.?$`)
)

// undotted is arg without one final dot.
func undotted(arg string) string { return strings.TrimSuffix(arg, ".") }

func aton(arg string) bool { return numbers.MatchString(undotted(arg)) && !quad(undotted(arg)) }

func tagged(arg string) bool { return len(arg) > 5 && strings.EqualFold(arg[:5], ipv6Tag) }

func tagged4(arg string) bool {
	return len(arg) > 6 && strings.EqualFold(arg[:6], "[ipv4:")
}

func bracket(arg string) bool { return strings.HasPrefix(arg, "[") }

func inBrackets(arg string) string { return strings.TrimSuffix(strings.TrimPrefix(arg, "["), "]") }

func zoned(arg string) bool { return strings.ContainsAny(arg, "%") && strings.Contains(arg, ":") }

func long(arg string) bool { return len(undotted(arg)) > 253 && len(undotted(arg)) <= 255 }

const (
	postfix = "Postfix"
	goNetip = "net/netip"
	miekg   = "miekg/dns"
)

// differences are all there are: the tests fail on one without a row. The
// first row that fits is the one.
var differences = []difference{
	{postfix, "LABEL-63.LABEL-63.LABEL-63.LABEL-62", asBad, asName,
		"255 octets on the wire (RFC 1035, 2.3.4) are 253 in text; Postfix takes 255 in text", long},
	{postfix, "xn--a.example", asBad, asName,
		"a label with xn-- that does not decode is no name that anybody can have", encoded.MatchString},
	{postfix, "xn--a", asBad, asLabel, "the same with one label", encoded.MatchString},
	{postfix, "127.1", asAddress, asBad,
		"programs that use inet_aton take it for 127.0.0.1: an address without brackets", aton},
	{postfix, "0x7f.1", asAddress, asName, "the same with a hexadecimal part", aton},
	{postfix, "0x7f000001", asAddress, asLabel, "the same in one number", aton},
	{postfix, "1.2.3.4.5.6", asAddress, asBad,
		"numbers alone are meant for an address, and no host name (RFC 1123, 2.1)", allNumbers.MatchString},
	{postfix, "IPv6:2001:db8::1", asAddress, asBad,
		"a literal that lost its brackets: the reply about an address helps the sender more", tagged},
	{postfix, "a.10.1.2.999", asBad, asName,
		"a host name does not end in a number (RFC 1123, 2.1)", numericEnd.MatchString},
	{postfix, "[2001:db8::1]", asLiteral, asBad,
		"many clients leave the tag out, and it can mean nothing else",
		func(arg string) bool { return plain6(inBrackets(arg)) }},
	{postfix, "[IPv4:192.0.2.1]", asLiteral, asBad,
		"some clients write a tag for IPv4 by analogy, and it can mean nothing else", tagged4},
	{postfix, "[192.0.2.010]", asBad, asLiteral,
		"a leading zero means octal to some programs and nothing to others",
		func(arg string) bool { return octal.MatchString(inBrackets(arg)) }},

	{goNetip, "fe80::1%eth0", asBad, asAddress, "a zone (RFC 4007) means something on one host only",
		zoned},
	{goNetip, "[fe80::1%eth0]", asBad, asLiteral, "the same in brackets", zoned},
	{goNetip, "IPv6:2001:db8::1", asAddress, asBad, "the tag of a literal that lost its brackets",
		tagged},
	{goNetip, "[IPv6:2001:db8::1]", asLiteral, asBad, "the tag of RFC 5321, section 4.1.3",
		func(arg string) bool { return tagged(inBrackets(arg)) }},
	{goNetip, "[IPv4:192.0.2.1]", asLiteral, asBad, "the same for IPv4", tagged4},
	{goNetip, "0300.0.2.1", asAddress, asBad, "a spelling that inet_aton takes", aton},
	{goNetip, "192.0.2.010", asAddress, asBad, "the same: a leading zero",
		func(arg string) bool { return octal.MatchString(arg) && quad(undotted(arg)) }},
	{goNetip, "192.0.2.1.", asAddress, asBad, "one final dot is cut off before all else",
		func(arg string) bool { return strings.HasSuffix(arg, ".") }},
	{goNetip, "1.2.3.4.5.6", asAddress, asBad, "numbers alone are meant for an address",
		allNumbers.MatchString},

	{miekg, "192.0.2.1", asAddress, asHost, "to the DNS an address is a name like any other",
		func(arg string) bool { return !bracket(arg) }},
	{miekg, "ZEROS-64", asAddress, asBad,
		"inet_aton takes any number of zeros, a label has 63 octets", aton},
	{miekg, "[192.0.2.1]", asLiteral, asHost, "to the DNS a bracket is a character like any other",
		bracket},
	{miekg, "[192.0.2.1", asBad, asHost, "the same, and it is no literal", bracket},
	{miekg, ".", asBad, asHost, "the root is a name in the DNS and no host",
		func(arg string) bool { return arg == "." }},
	{miekg, "bücher.example", asBad, asHost,
		"the DNS holds any octet, a host name letters, digits and hyphens (RFC 1123, 2.1)",
		foreign.MatchString},
	{miekg, "-a.example", asBad, asHost, "a hyphen at the end of a label is forbidden to hosts only",
		hyphens.MatchString},
	{miekg, "xn--a.example", asBad, asHost, "the DNS does not decode labels", encoded.MatchString},
	{miekg, "a.10.1.2.999", asBad, asHost, "the DNS takes a number for a label like any other",
		numericEnd.MatchString},
	{miekg, "LABEL-63.LABEL-63.LABEL-63.LABEL-62", asBad, asHost,
		"it takes 255 octets of text", long},
}

// twoClasses returns what ours and another parser say, comparable.
func twoClasses(other, arg string) (ours, theirs string) {
	ours = ourClass(arg)
	switch other {
	case postfix:
		return ours, postfixClass(arg)
	case goNetip:
		if ours == asName || ours == asLabel {
			ours = asBad
		}
		return ours, netipClass(arg)
	default:
		if ours == asName || ours == asLabel {
			ours = asHost
		}
		return ours, dnsClass(arg)
	}
}

// explain returns the rows that arg falls under and what no row explains.
func explain(arg string) (rows []int, unexplained []string) {
	for _, other := range []string{postfix, goNetip, miekg} {
		ours, theirs := twoClasses(other, arg)
		if ours == theirs {
			continue
		}
		known := false
		for i, d := range differences {
			if d.other == other && d.ours == ours && d.theirs == theirs && d.when(arg) {
				rows, known = append(rows, i), true
				break
			}
		}
		if !known {
			text := fmt.Sprintf("%q is %s to us, %s to %s", arg, ours, theirs, other)
			unexplained = append(unexplained, text)
		}
	}
	return rows, unexplained
}

var placeholder = regexp.MustCompile(`(LABEL|ZEROS)-(\d+)`)

// argument makes the example of a row an argument.
func (d difference) argument() string {
	return placeholder.ReplaceAllStringFunc(d.example, func(word string) string {
		kind, count, _ := strings.Cut(word, "-")
		n, _ := strconv.Atoi(count)
		return strings.Repeat(map[string]string{"LABEL": "a", "ZEROS": "0"}[kind], n)
	})
}

// Each row's own example falls under it.
func TestDifferencesHaveExamples(t *testing.T) {
	for i, d := range differences {
		rows, unexplained := explain(d.argument())
		found := false
		for _, row := range rows {
			found = found || row == i
		}
		if !found || unexplained != nil {
			ours, theirs := twoClasses(d.other, d.argument())
			t.Errorf("row %d, %q: %s to us, %s to %s; rows %v; %s",
				i, d.argument(), ours, theirs, d.other, rows, unexplained)
		}
	}
}

// pieces are what arguments on the border of two classes are made of.
var pieces = []string{
	"a", "mail", "example", "org", ".", ".", ".", "-", "_", "[", "]", ":", "::", "%", "%0", "\\", "\\.",
	"\\046", "IPv6:", "ipv6:", "[IPv4:", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "0x", "0", "00", "09",
	"1", "255", "256", "999", "4294967295", "xn--", "xn--p1ai", "xn--a", "\x00", "\xff", "\u00fc",
	" ", "@", label("b", 31), label("c", 61), label("d", 62), label("e", 63),
}

// TestDifferences compares the parsers on arguments put together at random.
func TestDifferences(t *testing.T) {
	r, parts := random(), slices.Clone(pieces)
	for _, d := range differences {
		parts = append(parts, d.argument())
	}
	hits := make([]int, len(differences))
	for range 100 * rounds {
		var arg strings.Builder
		for range 1 + r.IntN(8) {
			arg.WriteString(parts[r.IntN(len(parts))])
		}
		rows, unexplained := explain(arg.String())
		if unexplained != nil {
			t.Fatal(unexplained)
		}
		for _, row := range rows {
			hits[row]++
		}
	}
	for row, n := range hits {
		if n == 0 {
			t.Errorf("row %d was never met: %+v", row, hits)
		}
	}
}

// FuzzDifferences finds arguments that no row explains.
func FuzzDifferences(f *testing.F) {
	for _, d := range differences {
		f.Add(d.argument())
	}
	f.Fuzz(func(t *testing.T, arg string) {
		if _, unexplained := explain(arg); unexplained != nil {
			t.Error(unexplained)
		}
		checkAddr(t, arg)
	})
}

// checkAddr: where both read an address, it is the same one.
func checkAddr(t *testing.T, arg string) {
	t.Helper()
	n := Parse(arg)
	inner := arg
	if n.Kind == Literal {
		inner, _ = cutTag(arg[1:len(arg)-1], ipv6Tag)
		inner, _ = cutTag(inner, "ipv4:")
	}
	if addr, err := netip.ParseAddr(inner); err == nil && n.Addr.IsValid() && n.Addr != addr.Unmap() {
		t.Errorf("%q is %s to us, %s to netip", arg, n.Addr, addr)
	}
}

// The table in the docs is this one.
func TestDifferencesAreDocumented(t *testing.T) {
	const (
		path       = "../../docs/security.md"
		begin, end = "<!-- differences -->\n\n", "\n<!-- /differences -->"
	)
	var want strings.Builder
	want.WriteString("| parser | example | to us | to it | why |\n| --- | --- | --- | --- | --- |\n")
	for _, d := range differences {
		fmt.Fprintf(&want, "| %s | `%s` | %s | %s | %s |\n",
			d.other, d.example, d.ours, d.theirs, d.why)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := strings.Cut(string(text), begin)
	got, tail, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no %q", path, begin)
	}
	if got == want.String() {
		return
	}
	if !*updateDocs {
		t.Fatalf("%s has not the differences of this test; run go test ./module/heloname -update", path)
	}
	if err := os.WriteFile(path, []byte(head+begin+want.String()+end+tail), 0o600); err != nil {
		t.Fatal(err)
	}
}
