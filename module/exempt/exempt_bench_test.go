package exempt

import (
	"fmt"
	"net/netip"
	"testing"
)

// BenchmarkConn is the cost for the usual client, whom nothing exempts.
func BenchmarkConn(b *testing.B) {
	for _, size := range networkSizes {
		args := make([]string, size)
		for i := range args {
			args[i] = fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff)
		}
		set, err := ParseNetworks(args, nil)
		if err != nil {
			b.Fatal(err)
		}
		l := &List{Authenticated: true, Networks: set}
		ip := netip.MustParseAddr("192.0.2.1")
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := l.Conn(b.Context(), ip, "mx.example.org", ""); ok {
					b.Fatal("a stranger is exempt")
				}
			}
		})
	}
}

// BenchmarkName looks up names in a table in memory.
func BenchmarkName(b *testing.B) {
	for _, size := range networkSizes {
		names := make(mapTable, size)
		for i := range size {
			names[fmt.Sprintf("mx%d.example.org", i)] = "192.0.2.1"
		}
		l := &List{Names: names}
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if listed, _, _ := l.Name(b.Context(), "mx.example.com", false); listed {
					b.Fatal("a stranger is listed")
				}
			}
		})
	}
}
