package exempt

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"strings"

	"github.com/gaissmai/bart"

	"maddy.example/checkhelo/module/heloname"
)

// accepted ends every error about a network.
const accepted = `accepted: an address (192.0.2.1, 2001:db8::1), ` +
	`a network (192.0.2.0/24, 2001:db8::/32), or "file" and a path`

var errNoPath = errors.New(`"file" without a path; ` + accepted)

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

// parseList calls add for each entry among args and in the files that they name.
func parseList(
	args []string, readFile func(path string) ([]byte, error), add func(entry string) error,
) error {
	if readFile == nil {
		readFile = os.ReadFile
	}
	for i := 0; i < len(args); i++ {
		var err error
		switch {
		case args[i] != "file":
			err = add(args[i])
		case i+1 == len(args) || args[i+1] == "":
			err = errNoPath
		default:
			i++ // a file may be called "file"
			err = addFile(args[i], readFile, add)
		}
		if err != nil {
			return fmt.Errorf("exempt: %w", err)
		}
	}
	return nil
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

func addFile(path string, readFile func(string) ([]byte, error), add func(string) error) error {
	data, err := readFile(path)
	if err != nil {
		return err
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
		if err := add(entry); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
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
