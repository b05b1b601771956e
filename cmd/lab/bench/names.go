package bench

import (
	"encoding/binary"
	"fmt"
	"net/netip"
)

// The names and addresses of all runs. smtp-source cannot choose its address, and always is
// 127.0.0.1; its name has that address, and back. The receiver is another host.
const (
	serverIP  = "127.0.0.25"
	serverMX  = "mx1.receiver-bench.org"
	domain    = "receiver-bench.org"
	recipient = "user@" + domain
	sender    = "sender@sender-bench.com"
	clientIP  = "127.0.0.1"
	warmName  = "loop.sender-bench.com"

	frontIP = "127.53.0.1" // the resolver that all servers ask; resolv.conf knows only port 53
	backIP  = "127.53.0.2" // what the resolver asks
)

// maxFresh is how many clients there are that nobody has seen before.
const maxFresh = 100 << 16

// freshName and freshAddr are the name and the address of the i-th new client.
func freshName(i int) string { return fmt.Sprintf("mta%d.sender-bench.com", i) }

func freshAddr(i int) netip.Addr {
	const first = 127<<24 | 100<<16
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], first+uint32(i)) //nolint:gosec // below maxFresh
	return netip.AddrFrom4(b)
}

// reverse returns the name of an IPv4 address in in-addr.arpa.
func reverse(a netip.Addr) string {
	b := a.As4()
	return fmt.Sprintf("%d.%d.%d.%d.in-addr.arpa", b[3], b[2], b[1], b[0])
}
