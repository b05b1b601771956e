package app

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

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
	targets int // that greet
	inherit int // of them, those without a hostname of their own
}

// readSelfConf returns the global hostname and those of the smtp and submission
// endpoints and of the target.remote and target.smtp blocks.
func readSelfConf(path string) ([]selfName, error) {
	top, err := maddyconf.Read(path)
	if err != nil {
		return nil, fmt.Errorf("self: %w", err)
	}
	conf := selfConf{path: path}
	if node := child(top, "hostname"); node != nil {
		conf.global = conf.name(node, "hostname")
	}
	for i := range top {
		if kind := top[i].Name; kind == "smtp" || kind == "submission" {
			if node := child(top[i].Children, "hostname"); node != nil {
				conf.names = append(conf.names, *conf.name(node, "hostname of the "+kind+" endpoint"))
			}
		}
	}
	if err := conf.walk(top); err != nil {
		return nil, fmt.Errorf("self: %w", err)
	}
	if g := conf.global; g != nil {
		// A server without targets relays through something unknown to us.
		g.greets = conf.targets == 0
		conf.names = append(conf.names, *g)
	}
	if len(conf.names) == 0 || conf.inherit > 0 && conf.global == nil {
		return nil, fmt.Errorf("self: %s has no hostname; set: hostname mail.example.org", path)
	}
	return conf.names, nil
}

// walk finds the targets that deliver by SMTP, by themselves or inside others.
func (c *selfConf) walk(nodes []parser.Node) error {
	for i := range nodes {
		node := &nodes[i]
		if kind := targetKind(node); kind != "" {
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

// targetKind returns remote or smtp for a node that makes such a target, as
// "target.remote NAME {", "deliver_to smtp tcp://..." and "target remote {" do.
func targetKind(node *parser.Node) string {
	name := node.Name
	if (name == "deliver_to" || name == "target") && len(node.Args) > 0 {
		name = node.Args[0]
		if name == "remote" || name == "smtp" {
			return name
		}
	}
	switch name {
	case "target.remote":
		return "remote"
	case "target.smtp":
		return "smtp"
	}
	return ""
}

func (c *selfConf) target(node *parser.Node, kind string) error {
	c.targets++
	name := &selfName{}
	if own := child(node.Children, "hostname"); own != nil {
		name = c.name(own, "hostname of target."+kind)
	} else {
		c.inherit++
		if c.global == nil {
			return nil
		}
		*name = *c.global
	}
	name.greets = true
	if local := child(node.Children, "local_ip"); local != nil && kind == "remote" {
		addr, err := netip.ParseAddr(local.Args[0])
		if err != nil {
			return parser.NodeErr(*local, "local_ip is no address: %q", local.Args[0])
		}
		name.addrs = []netip.Addr{addr.Unmap()}
	}
	if !slices.ContainsFunc(c.names, name.equals) {
		c.names = append(c.names, *name)
	}
	return nil
}

func (n *selfName) equals(other selfName) bool {
	return n.said == other.said && n.source == other.source && n.greets == other.greets &&
		slices.Equal(n.addrs, other.addrs)
}

func (c *selfConf) name(node *parser.Node, what string) *selfName {
	file := filepath.Base(node.File)
	return &selfName{said: node.Args[0], source: fmt.Sprintf("%s, %s:%d", what, file, node.Line)}
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
