package app

import (
	"fmt"
	"net/netip"
	"path/filepath"
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

// selfConf collects the host names in a maddy.conf.
type selfConf struct {
	path    string
	global  *selfName
	names   []selfName
	targets int  // that greet
	lacks   bool // one of them has no name, of its own or global
}

// readSelfConf returns the global hostname and those of the smtp and submission
// endpoints and of the target.remote and target.smtp blocks.
func readSelfConf(path string) ([]selfName, error) {
	top, err := maddyconf.Read(path)
	if err != nil {
		return nil, fmt.Errorf("self: %w", err)
	}
	c := selfConf{path: path, global: hostname(top, "hostname")}
	for i := range top {
		if kind := top[i].Name; kind == "smtp" || kind == "submission" {
			if name := hostname(top[i].Children, "hostname of the "+kind+" endpoint"); name != nil {
				c.names = append(c.names, *name)
			}
		}
	}
	if err := c.walk(top); err != nil {
		return nil, fmt.Errorf("self: %w", err)
	}
	if c.global != nil {
		// A server without targets relays through something unknown to us.
		c.global.greets = c.targets == 0
		c.names = append(c.names, *c.global)
	}
	if len(c.names) == 0 || c.lacks {
		return nil, fmt.Errorf("self: %s has no hostname; set: hostname mail.example.org", path)
	}
	return c.names, nil
}

// walk finds the targets that deliver by SMTP, by themselves or inside others: "target.remote
// NAME {", "deliver_to smtp tcp://..." and "target remote {".
func (c *selfConf) walk(nodes []parser.Node) error {
	for i := range nodes {
		node := &nodes[i]
		kind := strings.TrimPrefix(node.Name, "target.")
		if (kind == "deliver_to" || kind == "target") && len(node.Args) > 0 {
			kind = node.Args[0]
		} else if kind == node.Name {
			kind = ""
		}
		if kind == "remote" || kind == "smtp" {
			if err := c.target(node, kind); err != nil {
				return err
			}
		}
		if err := c.walk(node.Children); err != nil {
			return err
		}
	}
	return nil
}

func (c *selfConf) target(node *parser.Node, kind string) error {
	c.targets++
	name := hostname(node.Children, "hostname of target."+kind)
	if name == nil {
		if name = c.global; name == nil {
			c.lacks = true
			return nil
		}
	}
	greeting := *name
	greeting.greets = true
	if local := child(node.Children, "local_ip"); local != nil && kind == "remote" {
		addr, err := netip.ParseAddr(local.Args[0])
		if err != nil {
			return parser.NodeErr(*local, "local_ip is no address: %q", local.Args[0])
		}
		greeting.addrs = []netip.Addr{addr.Unmap()}
	}
	c.names = append(c.names, greeting)
	return nil
}

// hostname returns the name that the directive hostname sets, nil without one.
func hostname(nodes []parser.Node, what string) *selfName {
	node := child(nodes, "hostname")
	if node == nil {
		return nil
	}
	source := fmt.Sprintf("%s, %s:%d", what, filepath.Base(node.File), node.Line)
	return &selfName{said: node.Args[0], source: source}
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
