package exempt

import (
	"fmt"
	"iter"
	"net/netip"

	"github.com/gaissmai/bart"

	"maddy.example/checkhelo/module/heloname"
)

// accepted ends every error about a network.
const accepted = `accepted: an address (192.0.2.1, 2001:db8::1), ` +
	`a network (192.0.2.0/24, 2001:db8::/32), or "file" and a path`

// Networks is a set of IPv4 and IPv6 networks. A nil set is empty. It is safe
// for concurrent use once made.
type Networks struct{ table bart.Lite }

// ParseNetworks makes a set from addresses, networks in CIDR form, and pairs
// of "file" and a path. A file holds one address or network a line; "#" starts
// a comment, empty lines are skipped, lines may end in CR LF. readFile returns
// the contents of a path; nil means os.ReadFile. An error names the entry and
// the accepted forms, in a file also path and line.
func ParseNetworks(
	args []string, readFile func(path string) ([]byte, error),
) (*Networks, error) {
	n := new(Networks)
	if err := parseList(args, readFile, n.add); err != nil {
		return nil, err
	}
	return n, nil
}

// Contains reports whether ip, as heloname.Unmap returns it, lies in one of the
// networks.
func (n *Networks) Contains(ip netip.Addr) bool {
	return n != nil && n.table.Contains(heloname.Unmap(ip))
}

// All yields every network.
func (n *Networks) All() iter.Seq[netip.Prefix] { return n.table.All() }

func (n *Networks) add(entry string) error {
	prefix, err := parseNetwork(entry)
	if err != nil {
		return err
	}
	if problem, never := NetworkProblem(prefix); never {
		return fmt.Errorf("%s %s", entry, problem)
	}
	n.table.Insert(prefix)
	return nil
}

// parseNetwork is heloname.ParsePrefix with an error that names the accepted
// forms.
func parseNetwork(s string) (netip.Prefix, error) {
	prefix, err := heloname.ParsePrefix(s)
	if err != nil {
		return prefix, fmt.Errorf("%w; %s", err, accepted)
	}
	return prefix, nil
}
