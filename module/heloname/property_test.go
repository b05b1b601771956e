package heloname

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

const rounds = 1000

// random returns a source that is the same in every run.
func random() *rand.Rand { return rand.New(rand.NewPCG(1, 2)) }

func randomAddr(r *rand.Rand, octets int) netip.Addr {
	b := make([]byte, octets)
	for i := range b {
		b[i] = byte(r.Uint32())
		if r.IntN(3) == 0 {
			b[i] = 0 // zeros are what spellings shorten
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// TestBareIPSpellings writes addresses in random mixtures of bases and
// lengths; each must be read back.
func TestBareIPSpellings(t *testing.T) {
	r := random()
	forms := []string{"%d", "0%o", "0x%x", "0X%X", "00%o", "0x0%x"}
	for range rounds {
		want := randomAddr(r, 4)
		b := want.As4()
		n := 1 + r.IntN(4)
		var parts []string
		for _, v := range b[:n-1] {
			parts = append(parts, fmt.Sprintf(forms[r.IntN(len(forms))], v))
		}
		last := uint32(0)
		for _, v := range b[n-1:] {
			last = last<<8 | uint32(v)
		}
		text := strings.Join(append(parts, fmt.Sprintf(forms[r.IntN(len(forms))], last)), ".")
		if got := Parse(text); got.Kind != BareIP || got.Addr != want {
			t.Fatalf("Parse(%q) = %v %v, want %v", text, got.Kind, got.Addr, want)
		}
		if got := Parse("[" + text + "]"); text != want.String() && got.Kind != BadLiteral {
			t.Fatalf("Parse([%s]) = %v, want bad_literal", text, got.Kind)
		}
		for _, name := range []string{
			"a" + text, text + "g", text + ".example", "0." + text + ".0.0.0.0",
		} {
			if got := Parse(name); got.Addr.IsValid() {
				t.Fatalf("Parse(%q) has the address %v", name, got.Addr)
			}
		}
	}
}

// TestIPv6Spellings: every text of an IPv6 address is a bare IP, and a
// literal with and without the tag.
func TestIPv6Spellings(t *testing.T) {
	r := random()
	for range rounds {
		want := randomAddr(r, 16)
		for _, text := range []string{
			want.String(), want.StringExpanded(), strings.ToUpper(want.String()),
		} {
			for arg, kind := range map[string]Kind{
				text: BareIP, "IPv6:" + text: BareIP, "[" + text + "]": Literal,
				"[IPV6:" + text + "]": Literal, "[" + text + "%0]": BadLiteral, text + "%0": Malformed,
			} {
				got := Parse(arg)
				if got.Kind != kind || got.Addr.IsValid() && got.Addr != want.Unmap() {
					t.Fatalf("Parse(%q) = %v %v, want %v", arg, got.Kind, got.Addr, kind)
				}
			}
		}
	}
}

// TestEmbedsRandom: an address is found in all its spellings, and another
// random address is not.
func TestEmbedsRandom(t *testing.T) {
	r := random()
	for range rounds {
		for _, octets := range []int{4, 16} {
			client, other := randomAddr(r, octets), randomAddr(r, octets)
			spellings := spellings6
			if client.Unmap().Is4() {
				client = client.Unmap()
				spellings = spellings4
			}
			for _, s := range spellings(client) {
				name := "x." + s + ".example.net"
				if !EmbedsAddr(name, client) {
					t.Fatalf("%s is not found in %s", client, name)
				}
				if digitsOf(client) != digitsOf(other) && EmbedsAddr(name, other) {
					t.Fatalf("%s is found in %s", other, name)
				}
			}
		}
	}
}

// TestNamesAgainstLabels builds random names from good and bad labels; a
// name is well-formed exactly when all its labels are.
func TestNamesAgainstLabels(t *testing.T) {
	good := []string{"a", "Mail", "mx-1", "1", "a--b", "_x", "xn--p1ai", label("z", 63), "0x1g"}
	bad := []string{"", "-", "-a", "a-", "a b", "\x00", "\xff", "a@b", "xn--a", label("z", 64)}
	r := random()
	for range rounds {
		n, ok := 1+r.IntN(4), true
		labels := make([]string, n)
		for i := range labels {
			labels[i] = good[r.IntN(len(good))]
			if r.IntN(8) == 0 {
				labels[i], ok = bad[r.IntN(len(bad))], false
			}
		}
		// A last label that is no number keeps bare addresses out, and an
		// empty one at the end would be a final dot.
		name := strings.Join(append(labels, "example"), ".")
		got := Parse(name)
		if (got.Kind == FQDN) != ok {
			t.Fatalf("Parse(%q) = %v %q, want well-formed %v", name, got.Kind, got.Problem, ok)
		}
		if ok && (got.ASCII != strings.ToLower(name) || got.Underscore != strings.Contains(name, "_")) {
			t.Fatalf("Parse(%q) = %+v", name, got)
		}
	}
}

// TestProblems: what goes into a reply is short plain ASCII and holds
// nothing of the client.
func TestProblems(t *testing.T) {
	seen := map[string]bool{}
	for _, arg := range []string{
		"", "\xfc", "\t", "a!", ".a", "a..b", "a..", label("a", 64), strings.Repeat("a.", 127) + "a",
		"-a", "a-", "xn--a", "a.1", "[", "[]", "[IPv6:x]", "[IPv4:x]", "[x]",
	} {
		p := Parse(arg).Problem
		if p == "" || seen[p] || len(p) > 80 || Line(p, 80) != p {
			t.Errorf("Parse(%q): problem %q", arg, p)
		}
		seen[p] = true
	}
	if len(seen) != 18 {
		t.Errorf("%d texts, want all 18", len(seen))
	}
}
