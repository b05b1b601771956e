package exempt

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNetworks(t *testing.T) {
	files := map[string]string{
		"nets": "\ufeff# ours\r\n192.0.2.0/25 # office\r\n\r\n  2001:db8::/32\r\n198.51.100.7",
	}
	readFile := func(path string) ([]byte, error) {
		if text, ok := files[path]; ok {
			return []byte(text), nil
		}
		return nil, fs.ErrNotExist
	}
	set, err := ParseNetworks(
		[]string{"203.0.113.0/24", "file", "nets", "::ffff:127.0.0.0/104", "::1"}, readFile)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := set.Len(), 6; got != want {
		t.Errorf("Len is %d, want %d", got, want)
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
		{"198.51.100.8", false},
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
	if none.Contains(ip) || none.Len() != 0 {
		t.Error("a nil set holds something")
	}
	set := networks(t)
	if set.Contains(ip) || set.Contains(netip.Addr{}) || set.Len() != 0 {
		t.Error("an empty set holds something")
	}
	if networks(t, "0.0.0.0/0", "::/0").Contains(netip.Addr{}) {
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
			set, err := ParseNetworks(test.args, nil)
			if err == nil || set != nil {
				t.Fatalf("got %v, %v, want an error", set, err)
			}
			for _, part := range append(test.want, "exempt: ") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error %q lacks %q", err, part)
				}
			}
		})
	}
	failing := func(string) ([]byte, error) { return nil, fs.ErrPermission }
	if _, err := ParseNetworks([]string{"file", "x"}, failing); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("got %v, want fs.ErrPermission", err)
	}
}

// TestIndexAgreesWithTrie compares a set above indexFrom with its own trie, at
// random addresses and at the edges of its networks.
func TestIndexAgreesWithTrie(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	args := []string{"2001:db8::/32"}
	for range 2 * indexFrom {
		bits := 12 + random.IntN(21)
		args = append(args, netip.PrefixFrom(randomIPv4(random), bits).Masked().String())
	}
	set := networks(t, args...)
	if set.v4 == nil {
		t.Fatal("no index")
	}
	var addrs []netip.Addr
	for prefix := range set.table.All4() {
		first := prefix.Addr()
		addrs = append(addrs, first, first.Prev(), first.Next())
	}
	for range 100_000 {
		addrs = append(addrs, randomIPv4(random))
	}
	hits := 0
	for _, ip := range addrs {
		if !ip.IsValid() { // the neighbour of the first or last address of all
			continue
		}
		want := set.table.Contains(ip)
		if got := set.Contains(ip); got != want {
			t.Fatalf("Contains(%s) = %v, the trie says %v", ip, got, want)
		}
		if want {
			hits++
		}
	}
	if hits == 0 || hits == len(addrs) {
		t.Errorf("%d of %d addresses hit: the test shows nothing", hits, len(addrs))
	}
	if !set.Contains(netip.MustParseAddr("2001:db8::1")) {
		t.Error("IPv6 is lost beside the index")
	}
}

func TestIndexOfEverything(t *testing.T) {
	args := []string{"0.0.0.0/0"}
	for i := range indexFrom {
		args = append(args, fmt.Sprintf("10.0.%d.%d", i>>8, i&0xff))
	}
	set := networks(t, args...)
	for _, ip := range []string{"0.0.0.0", "10.0.0.7", "255.255.255.255"} {
		if !set.Contains(netip.MustParseAddr(ip)) {
			t.Errorf("%s is not in 0.0.0.0/0", ip)
		}
	}
}

// TestLargeFile loads 10^6 lines in much less than the 2 s that a reload may
// take; the bound is wide for slow machines and the race detector.
func TestLargeFile(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 10^6 lines")
	}
	const lines, bound = 1_000_000, 20 * time.Second
	var text strings.Builder
	for i := range lines {
		fmt.Fprintf(&text, "10.%d.%d.%d\n", i>>16, i>>8&0xff, i&0xff)
	}
	start := time.Now()
	set, err := ParseNetworks([]string{"file", "nets"},
		func(string) ([]byte, error) { return []byte(text.String()), nil })
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	t.Logf("%d lines in %v", lines, took)
	if took > bound || set.Len() != lines {
		t.Errorf("%d networks in %v, want %d within %v", set.Len(), took, lines, bound)
	}
}
