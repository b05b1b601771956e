package module

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	parser "github.com/foxcpp/maddy/framework/cfgparser"
	"github.com/foxcpp/maddy/framework/config"
	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/log"
)

// Notes says what a Check made by Load does otherwise than the server, such as
// "exempt_names: table sql_query: not evaluated", and what Maddy would warn
// about at its start. Each note is one line.
type Notes []string

// ErrNoCheck says that a maddy.conf has no helo_fqdn block, or none of that name.
var ErrNoCheck = errors.New("no helo_fqdn check")

// Load reads the helo_fqdn block of a maddy.conf, to judge outside a server
// with the same code. Name selects one of several blocks: the name of a
// check.helo_fqdn or checks block, or FILE:LINE; it may be "" where all blocks
// say the same. Only one Load may run at a time.
//
// Outside Maddy's own binary the tables file and static are read; any other,
// and one that cannot be opened, is left out and stands in Notes. The
// addresses that the endpoints listen at count as the server's own.
func Load(path, name string) (*Check, Notes, error) {
	top, err := ReadConf(path)
	if err != nil {
		return nil, nil, fmt.Errorf("module: %w", err)
	}
	l := loader{path: path, top: top, globals: make(map[string]any)}
	if err = l.readGlobals(); err != nil {
		return nil, nil, fmt.Errorf("module: %w", err)
	}
	l.search()
	chosen, err := l.choose(name)
	if err != nil {
		return nil, nil, err
	}
	c, err := l.configure(chosen)
	if err != nil {
		return nil, nil, fmt.Errorf("module: %w", err)
	}
	for _, addr := range l.listeners(chosen) {
		c.self.Addrs = append(c.self.Addrs, netip.PrefixFrom(addr, addr.BitLen()))
	}
	return c, l.notes, nil
}

// ReadConf returns the blocks and directives of a maddy.conf.
func ReadConf(path string) ([]config.Node, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parse(file, path)
}

// parse is Maddy's parser, whose errors get the file where they lack it, and
// of which a panic becomes an error: it does not expect a macro of nothing but
// macros that nobody has set.
func parse(r io.Reader, path string) (nodes []config.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			nodes, err = nil, fmt.Errorf("%s: Maddy's parser fails on this file, and Maddy would not"+
				" start with it: %v; look for a macro that is empty or not set", path, p)
		}
	}()
	nodes, err = parser.Read(r, path)
	if err != nil && !strings.HasPrefix(err.Error(), path+":") {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return nodes, err
}

// FromPolicy returns a check with no setting but its policy: lenient, rfc or
// strict; "" is rfc.
func FromPolicy(preset string) (*Check, error) {
	if preset == "" {
		preset = "rfc"
	}
	l := loader{}
	c, err := l.configure(block{args: []string{preset}})
	if err != nil {
		return nil, fmt.Errorf("module: %w", err)
	}
	return c, nil
}

// block is one helo_fqdn block of a maddy.conf.
type block struct {
	config.Node
	name     string       // of itself or its group; "" inside an endpoint
	args     []string     // inline arguments
	endpoint *config.Node // that it stands in; nil: at the top level
}

func (b *block) where() string { return b.File + ":" + strconv.Itoa(b.Line) }

type loader struct {
	path     string
	top      []config.Node
	globals  map[string]any
	stateDir string
	blocks   []block
	notes    Notes
}

func (l *loader) note(format string, args ...any) {
	l.notes = append(l.notes, fmt.Sprintf(format, args...))
}

func (l *loader) readGlobals() error {
	globals := config.NewMap(nil, config.Node{Children: l.top})
	var hostname string
	globals.String("state_dir", false, false, "/var/lib/maddy", &l.stateDir)
	globals.String("hostname", false, false, "", &hostname)
	globals.AllowUnknown()
	_, err := globals.Process()
	l.globals["hostname"] = hostname
	return err
}

// search finds every helo_fqdn block.
func (l *loader) search() {
	for i := range l.top {
		node := &l.top[i]
		switch node.Name {
		case modName:
			l.blocks = append(l.blocks, block{Node: *node, name: instance(node)})
		case "checks":
			l.group(node, instance(node), nil)
		default:
			l.descend(node.Children, node)
		}
	}
}

func (l *loader) descend(nodes []config.Node, endpoint *config.Node) {
	for i := range nodes {
		if nodes[i].Name == "check" {
			l.group(&nodes[i], "", endpoint)
		}
		l.descend(nodes[i].Children, endpoint)
	}
}

func (l *loader) group(group *config.Node, name string, endpoint *config.Node) {
	for _, node := range group.Children {
		if node.Name == "helo_fqdn" || node.Name == modName {
			l.blocks = append(l.blocks, block{node, name, node.Args, endpoint})
		}
	}
}

// instance is the name that Maddy gives a block of the top level.
func instance(node *config.Node) string {
	if len(node.Args) == 0 {
		return node.Name
	}
	return node.Args[0]
}

// choose returns the block that name means.
func (l *loader) choose(name string) (block, error) {
	var fit []block
	for _, b := range l.blocks {
		if name == "" || b.name == name || b.where() == name || strconv.Itoa(b.Line) == name ||
			filepath.Base(b.File)+":"+strconv.Itoa(b.Line) == name {
			fit = append(fit, b)
		}
	}
	if len(fit) == 0 {
		if name == "" || len(l.blocks) == 0 {
			return block{}, fmt.Errorf("module: %s: %w", l.path, ErrNoCheck)
		}
		return block{}, fmt.Errorf("module: %s: %w %q; there are %s",
			l.path, ErrNoCheck, name, list(l.blocks))
	}
	other := func(b block) bool { return b.text() != fit[0].text() }
	if slices.ContainsFunc(fit, other) {
		return block{}, fmt.Errorf("module: %s: several helo_fqdn checks, name one of %s",
			l.path, list(fit))
	}
	return fit[0], nil
}

func list(blocks []block) string {
	texts := make([]string, 0, len(blocks))
	for _, b := range blocks {
		text := b.where()
		if b.name != "" {
			text = b.name + " (" + text + ")"
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, ", ")
}

// text is what the block says, whatever its place and name.
func (b *block) text() string {
	var text strings.Builder
	var write func(args []string, children []config.Node)
	write = func(args []string, children []config.Node) {
		fmt.Fprintf(&text, "%q{", args)
		for _, c := range children {
			text.WriteString(c.Name)
			write(c.Args, c.Children)
		}
		text.WriteString("}")
	}
	write(b.args, b.Children)
	return text.String()
}

// configure makes a Check of a block in a container of its own.
func (l *loader) configure(b block) (*Check, error) {
	standIn()
	warn := func(_ time.Time, _ bool, text string) { l.note("%s", strings.TrimSpace(text)) }
	own := container.New()
	own.DefaultLogger = &log.Logger{Out: log.FuncOutput(warn, func() error { return nil })}
	before := container.Global
	container.Global = own
	defer func() { container.Global = before }()

	made, err := New(own, modName, b.name)
	if err != nil {
		return nil, err
	}
	b.Children = l.tables(own, b.Children)
	c := made.(*Check)
	if err := c.Configure(b.args, config.NewMap(l.globals, b.Node)); err != nil {
		return nil, err
	}
	c.log.Out, own.DefaultLogger.Out = log.NopOutput{}, log.NopOutput{}
	return c, own.Lifetime.StartAll()
}

// listeners returns the addresses of the endpoints that ask the block: the one
// it stands in, those that refer to its name, or else all that take mail.
func (l *loader) listeners(b block) (addrs []netip.Addr) {
	var asking []config.Node
	if b.endpoint != nil && takesMail(b.endpoint) {
		asking = []config.Node{*b.endpoint}
	}
	for i := range l.top {
		if b.endpoint == nil && takesMail(&l.top[i]) && mentions(&l.top[i], "&"+b.name) {
			asking = append(asking, l.top[i])
		}
	}
	if len(asking) == 0 {
		other := func(n config.Node) bool { return !takesMail(&n) }
		asking = slices.DeleteFunc(slices.Clone(l.top), other)
	}
	for _, node := range asking {
		for _, arg := range node.Args {
			at, err := config.ParseEndpoint(arg)
			if err != nil {
				continue
			}
			addr, err := netip.ParseAddr(at.Host)
			if err == nil && !addr.IsUnspecified() {
				addrs = append(addrs, addr.Unmap().WithZone(""))
			}
		}
	}
	return addrs
}

func takesMail(n *config.Node) bool { return n.Name == "smtp" || n.Name == "submission" }

func mentions(n *config.Node, word string) bool {
	inside := func(c config.Node) bool { return mentions(&c, word) }
	return slices.Contains(n.Args, word) || slices.ContainsFunc(n.Children, inside)
}
