package app

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	parser "github.com/foxcpp/maddy/framework/cfgparser"

	"maddy.example/checkhelo/module/maddyconf"
)

// selfName is a name that this server gives itself.
type selfName struct {
	said   string
	source string // where it was set, for a reader
	// greets: said in HELO to other servers. Else the name stands only in the
	// answers of an endpoint, which nobody compares with an address.
	greets bool
	addrs  []netip.Addr // local_ip of the target; none: those of the machine
}

// readSelfConf returns the hostname of each target that delivers by SMTP, then those of the
// endpoints and the global one. A server without targets relays through something unknown to us.
func readSelfConf(path string) (names []selfName, err error) {
	top, err := maddyconf.Read(path)
	if err != nil {
		return nil, fmt.Errorf("self: %w", err)
	}
	global, lacks := hostname(top, "hostname"), false
	for _, node := range targets(top) {
		name := hostname(node.Children, "hostname of target."+node.Name)
		if name.said == "" {
			name = global
		}
		name.greets, lacks = true, lacks || name.said == ""
		if local := child(node.Children, "local_ip"); local != nil && node.Name == "remote" {
			addr, err := netip.ParseAddr(local.Args[0])
			if err != nil {
				return nil, fmt.Errorf("self: %w",
					parser.NodeErr(*local, "local_ip is no address: %q", local.Args[0]))
			}
			name.addrs = []netip.Addr{addr.Unmap()}
		}
		names = append(names, name)
	}
	if global.greets = len(names) == 0; global.greets {
		names = append(names, global)
	}
	for _, node := range top {
		if node.Name == "smtp" || node.Name == "submission" {
			names = append(names, hostname(node.Children, "hostname of the "+node.Name+" endpoint"))
		}
	}
	names = slices.DeleteFunc(append(names, global), func(n selfName) bool { return n.said == "" })
	if len(names) == 0 || lacks {
		return nil, fmt.Errorf("self: %s has no hostname; set: hostname mail.example.org", path)
	}
	return names, nil
}

// targets returns the blocks that deliver by SMTP, named remote or smtp, by themselves or inside
// others: "target.remote NAME {", "deliver_to smtp tcp://..." and "target remote {".
func targets(nodes []parser.Node) (found []parser.Node) {
	for _, node := range nodes {
		kind, target := strings.CutPrefix(node.Name, "target.")
		if (kind == "deliver_to" || kind == "target") && len(node.Args) > 0 {
			kind, target = node.Args[0], true
		}
		if target && (kind == "remote" || kind == "smtp") {
			node.Name = kind
			found = append(found, node)
		}
		found = append(found, targets(node.Children)...)
	}
	return found
}

// hostname returns the name that the directive hostname sets, "" without one.
func hostname(nodes []parser.Node, what string) selfName {
	node := child(nodes, "hostname")
	if node == nil {
		return selfName{}
	}
	source := fmt.Sprintf("%s, %s:%d", what, filepath.Base(node.File), node.Line)
	return selfName{said: node.Args[0], source: source}
}

// child returns the first node of that name with a value.
func child(nodes []parser.Node, name string) *parser.Node {
	for i := range nodes {
		if nodes[i].Name == name && len(nodes[i].Args) > 0 {
			return &nodes[i]
		}
	}
	return nil
}
