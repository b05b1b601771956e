package exempt

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"maddy.example/checkhelo/module/heloname"
)

func TestKeys(t *testing.T) {
	tests := []struct {
		name string
		helo string
		want []string
	}{
		{
			"parents", "MX.a.Example.Org.",
			[]string{"mx.a.example.org", ".a.example.org", ".example.org", ".org"},
		},
		{"one label", "localhost", []string{"localhost"}},
		{"many labels", "1.2.3.4.5.6.7.8.9.10.example", []string{
			"1.2.3.4.5.6.7.8.9.10.example", ".4.5.6.7.8.9.10.example", ".5.6.7.8.9.10.example",
			".6.7.8.9.10.example", ".7.8.9.10.example", ".8.9.10.example", ".9.10.example",
			".10.example", ".example",
		}},
		{"empty", "", nil},
		{"dot", ".", nil},
		{"empty label", "a..example.org", nil},
		{"address", "192.0.2.1", nil},
		{"final hyphen", "a-.example.org", nil},
		{"leading dot", ".example.org", nil},
		{"two final dots", "example.org..", nil},
		{"literal", "[192.0.2.1]", nil},
		{"NUL", "a\x00.example.org", nil},
		{"broken UTF-8", "\xff.example.org", nil},
		{"quote", "'or'1.example.org", nil},
		{"too long", strings.Repeat("a.", 127) + "a", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			names := table()
			l := List{Names: names}
			if l.Name(t.Context(), test.helo) != "" {
				t.Error("listed")
			}
			if !slices.Equal(names.keys, test.want) {
				t.Errorf("looked up %q, want %q", names.keys, test.want)
			}
		})
	}
}

// words makes a table of "name" and "name=value" words.
func words(text string) mapTable {
	entries := make(mapTable)
	for word := range strings.FieldsSeq(text) {
		name, value, _ := strings.Cut(word, "=")
		entries[name] = value
	}
	return entries
}

// keys lists the keys of a name in plain code: the name, and with a leading dot
// its parents of at most maxParents labels.
func keys(helo string) []string {
	name := heloname.Parse(helo).ASCII
	if name == "" {
		return nil
	}
	labels := strings.Split(name, ".")
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
				prefix, err := heloname.ParsePrefix(word)
				lists = lists || err == nil && found && prefix.Contains(heloname.Unmap(ip))
			}
		}
		if why := l.Conn(t.Context(), ip, helo); lists != (why != "") || lists != (why == WhyName) {
			t.Errorf("Conn(%v, %q) with %q = %q; want %v", ip, helo, entries, why, lists)
		}
		if why := l.Name(t.Context(), helo); held != (why != "") {
			t.Errorf("%q with %q: %q; want %v", helo, entries, why, held)
		}
		if why := l.ClientName(t.Context(), helo, false); why != "" {
			t.Errorf("%q with %q: exempt as a client", helo, entries)
		}
	})
}
