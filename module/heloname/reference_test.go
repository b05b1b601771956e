package heloname

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Slow and plain versions of what the package does without allocation, to
// hold it against.

var (
	digitRuns     = regexp.MustCompile(`[0-9]+`)
	notHex        = regexp.MustCompile(`[^0-9a-f]+`)
	notLetters    = regexp.MustCompile(`[^a-z]+`)
	familyPattern = regexp.MustCompile(`(?:^|\.)([^.]*)\.(?:com?\.)?[a-z]{2}$`)
)

// plainShows4 is ShowsAddr for IPv4.
func plainShows4(name string, client netip.Addr) bool {
	b := client.As4()
	var numbers []int
	for _, run := range digitRuns.FindAllString(name, -1) {
		v, err := strconv.Atoi(run)
		if err != nil || len(run) > 3 {
			v = -1
		}
		numbers = append(numbers, v)
	}
	rev := [4]byte{b[3], b[2], b[1], b[0]}
	for _, o := range [][4]byte{b, rev} {
		for i := range max(0, len(numbers)-2) {
			for _, three := range [][]byte{o[:3], o[1:]} {
				want := []int{int(three[0]), int(three[1]), int(three[2])}
				if slices.Equal(numbers[i:i+3], want) {
					return true
				}
			}
		}
		padded := fmt.Sprintf("%03d%03d%03d%03d", o[0], o[1], o[2], o[3])
		if strings.Contains(name, padded) || strings.Contains(name, hex.EncodeToString(o[:])) {
			return true
		}
	}
	return EmbedsAddr(name, client)
}

// plainShows6 is ShowsAddr for IPv6.
func plainShows6(name string, client netip.Addr) bool {
	b := client.As16()
	forward := hex.EncodeToString(b[:])
	backward := []byte(forward)
	slices.Reverse(backward)
	digits := notHex.ReplaceAllString(name, "")
	for _, all := range []string{forward, string(backward)} {
		for i := range 17 {
			half := all[i : i+16]
			if countDigits(half) >= minNibbles && strings.Contains(digits, half) {
				return true
			}
		}
	}
	return EmbedsAddr(name, client)
}

// plainRelated is Related.
func plainRelated(helo, ptr string) bool {
	x := strings.Split(OrgDomain(helo), ".")[0]
	y := strings.Split(OrgDomain(ptr), ".")[0]
	if len(x) >= 4 && len(y) >= 4 && (strings.Contains(x, y) || strings.Contains(y, x)) {
		return true
	}
	if len(x) >= 4 && slices.Contains(strings.Split(ptr, "."), x) {
		return true
	}
	host := strings.Split(helo, ".")[0]
	return host == strings.Split(ptr, ".")[0] && digitRuns.MatchString(host) &&
		threeLetters.MatchString(host)
}

// plainProvider is Lists.Provider.
func plainProvider(l *Lists, name string) *Provider {
	labels := strings.Split(name, ".")
	for i := range labels {
		if p := l.providers[strings.Join(labels[i:], ".")]; p != nil {
			return p
		}
	}
	if m := familyPattern.FindStringSubmatch(name); m != nil {
		return l.providers[m[1]+familyMark]
	}
	return nil
}

// plainReserved is Lists.Reserved for names of two labels and more.
func plainReserved(l *Lists, name string) string {
	labels := strings.Split(name, ".")
	for i := range labels {
		suffix := strings.Join(labels[i:], ".")
		if yes, in := l.reserved[suffix]; in && yes {
			return suffix
		} else if in {
			return ""
		}
	}
	return ""
}

// plainRented is Lists.GenericPTR without an address.
func plainRented(l *Lists, name string) bool {
	rented := func(w string) bool { return l.words[w]&rentedWord != 0 }
	return digitRuns.MatchString(name) &&
		slices.ContainsFunc(notLetters.Split(name, -1), rented)
}

// addressPieces returns parts of names about a client.
func addressPieces(client netip.Addr) []string {
	pieces := []string{"-", ".", "x", "-", ".", "0", "ab", "mail", "7"}
	if client.Is4() {
		b := client.As4()
		for _, v := range b {
			pieces = append(pieces, strconv.Itoa(int(v)), strconv.Itoa(int(v))+"-",
				fmt.Sprintf("%03d", v), fmt.Sprintf("%02x", v))
		}
		return append(pieces, fmt.Sprintf("%d-%d-%d", b[1], b[2], b[3]), hex.EncodeToString(b[:]))
	}
	b := client.As16()
	for i := 0; i < len(b); i += 4 {
		pieces = append(pieces, hex.EncodeToString(b[i:i+4]), hex.EncodeToString(b[i:i+2])+"-")
	}
	return append(pieces, hex.EncodeToString(b[:8]), hex.EncodeToString(b[5:13]))
}

func TestShowsAgainstPlain(t *testing.T) {
	r := random()
	hits := [2]int{}
	for i := range 4 * rounds {
		plain, client := plainShows4, randomAddr(r, 4)
		if i%2 == 1 {
			plain, client = plainShows6, randomAddr(r, 16)
		}
		if i%2 == 1 && !client.Is6() || client.Is4In6() {
			continue
		}
		pieces := addressPieces(client)
		var name strings.Builder
		for range 2 + r.IntN(9) {
			name.WriteString(pieces[r.IntN(len(pieces))])
		}
		want := plain(name.String(), client)
		if got := spells(name.String(), client, true); got != want {
			t.Fatalf("ShowsAddr(%q, %s) = %v, want %v", name.String(), client, got, want)
		}
		if want {
			hits[i%2]++
		}
	}
	if hits[0] < 20 || hits[1] < 20 {
		t.Errorf("only %v names show their address", hits)
	}
}

// nameLabels are labels with which the lists and Related have something to do.
var nameLabels = []string{
	"mail", "mail5", "mx1", "example", "examples", "a", "abc", "first", "yahoo", "gmx", "aol",
	"google", "gmail", "sina", "vip", "att", "worldnet", "vps", "dsl", "pool", "unused", "host7",
	"corp", "local", "home", "arpa", "in-addr", "fritz", "box", "mshome", "co", "com", "de",
}

var nameTLDs = []string{
	"com", "com", "net", "org", "de", "co.uk", "com.br", "co.jp", "ru", "local", "arpa", "box",
	"internal", "corp", "online", "tk", "test",
}

func TestNamesAgainstPlain(t *testing.T) {
	r := random()
	name := func() string {
		var labels []string
		for range 1 + r.IntN(3) {
			labels = append(labels, nameLabels[r.IntN(len(nameLabels))])
		}
		return strings.Join(append(labels, nameTLDs[r.IntN(len(nameTLDs))]), ".")
	}
	l := DefaultLists()
	var related, provided, reserved, rented int
	for range 10 * rounds {
		a, b := name(), name()
		if got := Related(a, b); got != plainRelated(a, b) {
			t.Fatalf("Related(%q, %q) = %v", a, b, got)
		} else if got {
			related++
		}
		if got := l.Provider(a); got != plainProvider(l, a) {
			t.Fatalf("Provider(%q) = %+v, want %+v", a, got, plainProvider(l, a))
		} else if got != nil {
			provided++
		}
		if got := l.Reserved(a); got != plainReserved(l, a) {
			t.Fatalf("Reserved(%q) = %q, want %q", a, got, plainReserved(l, a))
		} else if got != "" {
			reserved++
		}
		if got := l.GenericPTR(a, netip.Addr{}); got != plainRented(l, a) {
			t.Fatalf("rented(%q) = %v", a, got)
		} else if got {
			rented++
		}
	}
	if min(related, provided, reserved, rented) < rounds/4 {
		t.Errorf("related %d, provider %d, reserved %d, rented %d: too few of 10000",
			related, provided, reserved, rented)
	}
}

// TestEveryEntry: each entry of a list does what its list is for.
func TestEveryEntry(t *testing.T) {
	l := DefaultLists()
	for suffix := range l.reserved {
		if got := l.Reserved("mx1.example." + suffix); got != suffix {
			t.Errorf("%s is not reserved, %q is", suffix, got)
		}
	}
	for _, tld := range slices.Concat(oldTLDs, freeTLDs) {
		if got := NewTLD("mail.example." + tld); got != slices.Contains(freeTLDs, tld) {
			t.Errorf("%s is new: %v", tld, got)
		}
	}
	for _, suffix := range rentedDomains {
		if !defaultHost(l, "mail."+suffix) || defaultHost(l, "mail.x"+suffix) {
			t.Errorf("%s is no default domain", suffix)
		}
	}
	for domain, p := range l.providers {
		label, isFamily := strings.CutSuffix(domain, familyMark)
		if !isFamily {
			continue
		}
		for _, country := range []string{".at", ".co.nz", ".com.mx"} {
			if !p.Domain(label+country) || !p.Owns("mx."+label+country) || p.Strong {
				t.Errorf("%s%s is not a family's: %+v", label, country, p)
			}
		}
	}
	for word, class := range l.words {
		if got := l.GenericPTR("a7."+word+".example.net", addr("")); got != (class&rentedWord != 0) {
			t.Errorf("%s is rented: %v", word, got)
		}
	}
}
