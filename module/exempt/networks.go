package exempt

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/gaissmai/bart"
)

// accepted is what every error about a network tells the operator.
const accepted = `accepted: an address (192.0.2.1, 2001:db8::1), ` +
	`a network (192.0.2.0/24, 2001:db8::/32), or "file" and a path`

var errNoPath = errors.New(`"file" without a path; ` + accepted)

// Networks is a set of IPv4 and IPv6 networks. A nil set is empty. It is safe
// for concurrent use once made.
type Networks struct {
	table bart.Lite
	v4    *index // nil for a small set
}

// ParseNetworks makes a set from addresses, networks in CIDR form, and pairs
// of "file" and a path. A file holds one address or network a line; "#" starts
// a comment, empty lines do not count, lines may end in CR LF. readFile reads
// a path, os.ReadFile when nil. An error names the entry and what is accepted,
// in a file also path and line.
func ParseNetworks(
	args []string, readFile func(path string) ([]byte, error),
) (*Networks, error) {
	if readFile == nil {
		readFile = os.ReadFile
	}
	n := new(Networks)
	file := false // the next argument is a path
	for _, arg := range args {
		var err error
		switch {
		case file && arg == "":
			err = errNoPath
		case file:
			err = n.addFile(arg, readFile)
			file = false
		case arg == "file":
			file = true
		default:
			err = n.add(arg)
		}
		if err != nil {
			return nil, fmt.Errorf("exempt: %w", err)
		}
	}
	if file {
		return nil, fmt.Errorf("exempt: %w", errNoPath)
	}
	if n.table.Size4() >= indexFrom {
		n.v4 = newIndex(n.table.All4())
	}
	return n, nil
}

// Contains reports whether ip lies in one of the networks; an IPv4-mapped
// address counts as its IPv4 address, a zone does not count.
func (n *Networks) Contains(ip netip.Addr) bool {
	if n == nil {
		return false
	}
	ip = plain(ip)
	if n.v4 != nil && ip.Is4() {
		return n.v4.contains(ip)
	}
	return n.table.Contains(ip)
}

// Len is the number of different networks, single addresses included.
func (n *Networks) Len() int {
	if n == nil {
		return 0
	}
	return n.table.Size()
}

func (n *Networks) add(entry string) error {
	prefix, err := parseNetwork(entry)
	if err != nil {
		return err
	}
	n.table.Insert(prefix)
	return nil
}

func (n *Networks) addFile(path string, readFile func(string) ([]byte, error)) error {
	data, err := readFile(path)
	if err != nil {
		return fmt.Errorf("networks: %w", err)
	}
	text := strings.TrimPrefix(string(data), "\ufeff") // some editors write it
	number := 0
	for line := range strings.Lines(text) {
		number++
		entry, _, _ := strings.Cut(line, "#")
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if err := n.add(entry); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	return nil
}

// parseNetwork reads an address or a network; IPv4-mapped ones become IPv4.
func parseNetwork(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q is not an address; %s", s, accepted)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network; %s", s, accepted)
	}
	if masked := prefix.Masked(); masked != prefix {
		return netip.Prefix{}, fmt.Errorf(
			"%q: the address has bits beyond /%d; write %s for the network or %s for the address",
			s, prefix.Bits(), masked, prefix.Addr())
	}
	if addr := prefix.Addr(); addr.Is4In6() {
		const mapped = 96 // ::ffff:0:0/96, RFC 4291, 2.5.5.2
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-mapped)
	}
	return prefix, nil
}
