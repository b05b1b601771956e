package exempt

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// words makes a table of "name" and "name=value" words.
func words(text string) mapTable {
	entries := make(mapTable)
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		entries[name] = value
	}
	return entries
}

// keys lists what a well-formed name is found under, in plain code: the name,
// and with a leading dot the parents of at most maxParents labels.
func keys(helo string) []string {
	name := strings.ToLower(strings.TrimSuffix(helo, "."))
	labels := strings.Split(name, ".")
	if len(name) > maxName || slices.Contains(labels, "") ||
		strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return nil
	}
	list := []string{name}
	for i := max(1, len(labels)-maxParents); i < len(labels); i++ {
		list = append(list, "."+strings.Join(labels[i:], "."))
	}
	return list
}

// FuzzNames proves the third law for tables with anything in them: a HELO name
// exempts only with proof from the DNS or with the client's own address as the
// value, and only under a key that means it.
func FuzzNames(f *testing.F) {
	for _, seed := range [][2]string{
		{"mx.example.org", "mx.example.org"},
		{"a.mx.example.org", ".example.org=192.0.2.7"},
		{"a.b.c.d.e.f.g.h.i.j.example.org", ".j.example.org=192.0.2.0/24"},
		{"MX.example.org.", "mx.example.org=::ffff:192.0.2.7,x"},
		{"a..b", ".b=0.0.0.0/0"},
		{"mx.example.org", ".org=192.0.2.7/24 example.org=198.51.100.1"},
	} {
		f.Add(seed[0], seed[1], []byte{192, 0, 2, 7})
	}
	f.Fuzz(func(t *testing.T, helo, entries string, octets []byte) {
		ip, _ := netip.AddrFromSlice(octets)
		table := words(entries)
		l := List{Names: table}
		held, lists := false, false
		for _, key := range keys(helo) {
			value, found := table[key]
			held = held || found
			for word := range strings.SplitSeq(value, ",") {
				prefix, err := parseNetwork(word)
				lists = lists || err == nil && found && prefix.Contains(plain(ip))
			}
		}
		if why, ok := l.Conn(t.Context(), ip, helo, ""); ok != lists || ok != (why == WhyName) {
			t.Errorf("Conn(%v, %q) with %q = %q, %v; want %v", ip, helo, entries, why, ok, lists)
		}
		if listed, _, ok := l.Name(t.Context(), helo, false); ok || listed != held {
			t.Errorf("%q with %q, no proof: %v, %v; want %v", helo, entries, listed, ok, held)
		}
		if listed, _, ok := l.Name(t.Context(), helo, true); ok != held || listed != held {
			t.Errorf("%q with %q, proof: %v, %v; want %v", helo, entries, listed, ok, held)
		}
		if _, ok := l.ClientName(t.Context(), []string{helo}); ok {
			t.Errorf("%q with %q: exempt as a client", helo, entries)
		}
	})
}

// FuzzIndex compares the index of many networks with a walk through them.
func FuzzIndex(f *testing.F) {
	f.Add([]byte{192, 0, 2, 0, 24, 198, 51, 100, 7, 32}, uint32(0xc0000207))
	f.Add([]byte{10, 0, 0, 0, 8, 10, 1, 2, 128, 25}, uint32(0x0a010280))
	f.Add([]byte{0, 0, 0, 0, 0}, uint32(0xffffffff))
	f.Add([]byte{128, 0, 0, 0, 1, 203, 0, 113, 255, 32, 203, 0, 113, 254, 31}, uint32(0xcb0071ff))
	f.Fuzz(func(t *testing.T, data []byte, near uint32) {
		const record = 5 // octets of an address and a length
		var list []netip.Prefix
		for ; len(data) >= record && len(list) < 20; data = data[record:] {
			addr := netip.AddrFrom4([4]byte(data[:4]))
			prefix := netip.PrefixFrom(addr, int(data[4]%33)).Masked()
			if !slices.Contains(list, prefix) {
				list = append(list, prefix)
			}
		}
		x := newIndex(slices.Values(list))
		probe := func(number uint32) {
			var b [4]byte
			binary.BigEndian.PutUint32(b[:], number)
			ip := netip.AddrFrom4(b)
			inside := func(p netip.Prefix) bool { return p.Contains(ip) }
			if want := slices.ContainsFunc(list, inside); x.contains(ip) != want {
				t.Errorf("%v holds %s: %v, want %v", list, ip, !want, want)
			}
		}
		probe(near)
		for _, p := range list {
			first := number(p.Addr())
			last := first + uint32(1<<(addressBits-p.Bits())-1)
			for _, edge := range []uint32{first - 1, first, last, last + 1, last ^ 1} {
				probe(edge)
			}
		}
	})
}
