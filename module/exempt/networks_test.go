package exempt

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNetworks(t *testing.T) {
	const text = "\ufeff# ours\r\n192.0.2.0/25 # office\r\n\r\n  2001:db8::/32\r\n198.51.100.7"
	path := filepath.Join(t.TempDir(), "nets")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := ParseNetworks(
		[]string{"203.0.113.0/24", "file", path, "::ffff:127.0.0.0/104", "64:ff9b::198.51.100.8/127",
			"::1"})
	if err != nil {
		t.Fatal(err)
	}
	if all := slices.Collect(set.All()); len(all) != 7 {
		t.Errorf("the set has %d networks, want 7: %v", len(all), all)
	}
	tests := []struct {
		ip   string
		want bool
	}{
		{"203.0.113.255", true},
		{"203.0.114.0", false},
		{"192.0.2.127", true},
		{"192.0.2.128", false},
		{"198.51.100.7", true},
		{"198.51.100.8", true},
		{"64:ff9b::198.51.100.9", true},
		{"198.51.100.10", false},
		{"127.1.2.3", true},
		{"::ffff:127.1.2.3", true},
		{"128.0.0.0", false},
		{"::1", true},
		{"::2", false},
		{"2001:db8:ffff::1", true},
		{"2001:db8:ffff::1%eth0", true},
		{"2001:db9::1", false},
	}
	for _, test := range tests {
		if got := set.Contains(netip.MustParseAddr(test.ip)); got != test.want {
			t.Errorf("Contains(%s) = %v, want %v", test.ip, got, test.want)
		}
	}
}

func TestNetworksEmpty(t *testing.T) {
	ip := netip.MustParseAddr("192.0.2.1")
	var none *Networks
	if none.Contains(ip) {
		t.Error("a nil set holds something")
	}
	set := networks(t)
	if set.Contains(ip) || set.Contains(netip.Addr{}) {
		t.Error("an empty set holds something")
	}
	if networks(t, "0.0.0.0/1", "::/1").Contains(netip.Addr{}) {
		t.Error("no address lies in a network")
	}
}

func TestNetworkErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "nets")
	tests := []struct {
		name, file string
		args       []string
		want       []string
	}{
		{"word", "", []string{"office"}, []string{`"office" is not an address`, accepted}},
		{"empty", "", []string{""}, []string{`"" is not an address`, accepted}},
		{"bits", "", []string{"192.0.2.0/33"}, []string{`"192.0.2.0/33" is not a network`, accepted}},
		{"zone", "", []string{"fe80::1%eth0"}, []string{`"fe80::1%eth0" is not an address`}},
		{"leading zero", "", []string{"192.0.2.01"}, []string{"is not an address"}},
		{
			"host bits", "", []string{"10.0.0.1/8"},
			[]string{`"10.0.0.1/8"`, "beyond /8", "write 10.0.0.0/8", "or 10.0.0.1 for the address"},
		},
		{"mapped host bits", "", []string{"::ffff:10.0.0.0/95"}, []string{"beyond /95"}},
		{"no path", "", []string{"192.0.2.1", "file"}, []string{`"file" without a path`, accepted}},
		{"no file", "", []string{"file", path + "-none"}, []string{path + "-none", "no such file"}},
		{
			"line", "# x\n\n192.0.2.1\noops\n", []string{"file", path},
			[]string{path + ":4: ", `"oops"`, accepted},
		},
		{"two in a line", "192.0.2.1 192.0.2.2", []string{"file", path}, []string{path + ":1: "}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(test.file), 0o600); err != nil {
				t.Fatal(err)
			}
			set, err := ParseNetworks(test.args)
			if err == nil || set != nil {
				t.Fatalf("got %v, %v, want an error", set, err)
			}
			for _, part := range test.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error %q lacks %q", err, part)
				}
			}
		})
	}
	gone := filepath.Join(t.TempDir(), "gone")
	if _, err := ParseNetworks([]string{"file", gone}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

// FuzzNetworks reads arbitrary files; what is accepted holds its own address.
func FuzzNetworks(f *testing.F) {
	for _, text := range []string{
		"192.0.2.0/24\r\n# x\n", "::ffff:10.0.0.0/104", "\ufeff::1", "10.0.0.1/8",
	} {
		f.Add(text)
	}
	path := filepath.Join(f.TempDir(), "nets")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		whole.Clear()
		set, err := ParseNetworks([]string{"file", path})
		if err != nil {
			if !strings.HasPrefix(err.Error(), path+":") {
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

var networkSizes = []int{10, 10_000, 1_000_000}

// BenchmarkNetworks looks up random addresses in sets of growing size: IPv4
// networks of /16 to /32, IPv4 networks of /24, single IPv4 addresses, IPv6
// networks of /32 to /64. 1024 clients come again and again; 65536 leave
// nothing in the processor's cache.
func BenchmarkNetworks(b *testing.B) {
	kinds := []struct {
		name      string
		bits, max int
		addr      func(*rand.Rand) netip.Addr
	}{
		{"ipv4", 16, 32, randomIPv4},
		{"ipv4-24", 24, 24, randomIPv4},
		{"ipv4-32", 32, 32, randomIPv4},
		{"ipv6", 32, 64, randomIPv6},
	}
	for _, kind := range kinds {
		for _, size := range networkSizes {
			random := rand.New(rand.NewPCG(1, 2))
			args := make([]string, size)
			for i := range args {
				bits := kind.bits + random.IntN(kind.max-kind.bits+1)
				args[i] = netip.PrefixFrom(kind.addr(random), bits).Masked().String()
			}
			set, err := ParseNetworks(args)
			if err != nil {
				b.Fatal(err)
			}
			addrs := make([]netip.Addr, 1<<16)
			for i := range addrs {
				addrs[i] = kind.addr(random)
			}
			for _, clients := range []int{1 << 10, 1 << 16} {
				name := fmt.Sprintf("%s/clients=%d/size=%d", kind.name, clients, size)
				b.Run(name, func(b *testing.B) { lookUp(b, set, addrs[:clients]) })
			}
		}
	}
}

func lookUp(b *testing.B, set *Networks, addrs []netip.Addr) {
	b.Helper()
	b.ReportAllocs()
	hits := 0
	for i := 0; b.Loop(); i++ {
		if set.Contains(addrs[i%len(addrs)]) {
			hits++
		}
	}
	b.ReportMetric(float64(hits)/float64(b.N), "hits/op")
}

func randomIPv4(r *rand.Rand) netip.Addr {
	v := r.Uint32()
	return netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
}

// randomIPv6 stays in 2001::/16, where lists of networks are crowded.
func randomIPv6(r *rand.Rand) netip.Addr {
	v := r.Uint64()
	return netip.AddrFrom16([16]byte{
		0x20, 0x01, byte(v), byte(v >> 8), byte(v >> 16), byte(v >> 24), byte(v >> 32), byte(v >> 40),
		byte(v >> 48),
	})
}
