package exempt

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

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
			set, err := ParseNetworks(args, nil)
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
