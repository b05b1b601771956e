package exempt

import (
	"context"
	"net/netip"
	"strings"
	"testing"
)

// keyTable holds nothing and checks the keys it is asked for.
type keyTable struct {
	t     *testing.T
	count int
}

func (k *keyTable) Lookup(_ context.Context, key string) (string, bool, error) {
	k.count++
	odd := strings.ContainsAny(key, "\x00 \r\n'\"%") || key != strings.ToLower(key)
	if odd || len(key) > maxName {
		k.t.Errorf("looked up %q", key)
	}
	return "", false, nil
}

// FuzzConn proves that a HELO name without a listed address exempts nobody,
// whatever it holds, and that it costs a bounded number of clean look-ups.
func FuzzConn(f *testing.F) {
	for _, helo := range []string{
		"mx.example.org", "[192.0.2.1]", "a..b", "\xff\x00", strings.Repeat("a.", 127),
	} {
		f.Add(helo, []byte{192, 0, 2, 1})
	}
	f.Fuzz(func(t *testing.T, helo string, address []byte) {
		ip, _ := netip.AddrFromSlice(address)
		names := &keyTable{t: t}
		l := List{Authenticated: true, Names: names, Networks: networks(t, "192.0.2.0/24")}
		why, ok := l.Conn(t.Context(), ip, helo, "")
		inside := netip.MustParsePrefix("192.0.2.0/24").Contains(ip.Unmap())
		if ok != inside || ok != (why == WhyNetwork) {
			t.Errorf("Conn(%v, %q) = %q, %v", ip, helo, why, ok)
		}
		if names.count > maxParents+1 {
			t.Errorf("%q causes %d look-ups", helo, names.count)
		}
	})
}

// FuzzRecipient proves that nothing is taken for postmaster that does not say
// so, and that an accepted entry matches itself in any case of ASCII letters.
func FuzzRecipient(f *testing.F) {
	for _, rcpt := range []string{
		"postmaster", "Abuse@example.org", `"a b"@example.org`, "@example.net", "a@b@c",
	} {
		f.Add(rcpt)
	}
	base, err := ParseRecipients([]string{"postmaster"})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, rcpt string) {
		plainRcpt := strings.ToLower(strings.ReplaceAll(rcpt, `\`, ""))
		if base.Contains(rcpt) && !strings.Contains(plainRcpt, "postmaster") {
			t.Errorf("%q is exempt", rcpt)
		}
		own, err := ParseRecipients([]string{rcpt})
		if err != nil {
			return
		}
		if !own.Contains(rcpt) {
			t.Errorf("the entry %q does not match itself", rcpt)
		}
		upper := []byte(rcpt)
		for i, c := range upper {
			if c >= 'a' && c <= 'z' {
				upper[i] = c - 'a' + 'A'
			}
		}
		if !own.Contains(string(upper)) {
			t.Errorf("the entry %q does not match %q", rcpt, upper)
		}
	})
}

// FuzzNetworks reads arbitrary files; what is accepted holds its own address.
func FuzzNetworks(f *testing.F) {
	for _, text := range []string{
		"192.0.2.0/24\r\n# x\n", "::ffff:10.0.0.0/104", "\ufeff::1", "10.0.0.1/8",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		readFile := func(string) ([]byte, error) { return []byte(text), nil }
		set, err := ParseNetworks([]string{"file", "x"}, readFile)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "exempt: x:") {
				t.Errorf("the error %q names no line", err)
			}
			return
		}
		for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
			entry, _, _ := strings.Cut(line, "#")
			address, _, _ := strings.Cut(strings.TrimSpace(entry), "/")
			if ip, err := netip.ParseAddr(address); err == nil && !set.Contains(ip) {
				t.Errorf("%q does not hold %s", text, ip)
			}
		}
	})
}
