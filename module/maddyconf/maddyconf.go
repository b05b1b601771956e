// Package maddyconf reads a maddy.conf without a server, so that helocheck
// judges with the operator's own settings:
//
//	conf, err := maddyconf.Load("/etc/maddy/maddy.conf", "")
//	if err != nil {
//		return err
//	}
//	use(conf.Check)
//
// It parses and configures with Maddy's own code. It writes nothing and opens
// only the files that maddy.conf names. The HELO rules that the configuration
// sets follow RFC 5321, sections 4.1.1.1 and 4.1.4.
package maddyconf

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
	"github.com/foxcpp/maddy/framework/module/modules"

	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/heloname"
)

const modName = "check.helo_fqdn"

// ErrNoCheck is returned for a maddy.conf that has no helo_fqdn block, or none
// of the wanted name.
var ErrNoCheck = errors.New("no helo_fqdn check")

// Config is one helo_fqdn block of a maddy.conf.
type Config struct {
	Check *module.Check
	// Warnings are what Maddy logs at its start, one line each.
	Warnings []string
	// NotEvaluated lists the tables that Check does without.
	NotEvaluated []Table

	stateDir string
}

// Memory returns the kind and the place of the check's memory, as memory.OpenTool takes them; kind
// is "" with memory off. A relative path is below state_dir.
func (c *Config) Memory() (kind, place string) {
	kind, place, _ = c.Check.Memory()
	if kind == "sqlite3" && !filepath.IsAbs(place) {
		place = filepath.Join(c.stateDir, place)
	}
	return kind, place
}

// Table is a table that only the running server, or a custom Maddy, can read.
type Table struct {
	Directive string `json:"directive"`
	Table     string `json:"table"` // its kind, such as sql_query
	Reason    string `json:"reason"`
}

// String returns one line for the operator.
func (t Table) String() string {
	return fmt.Sprintf("%s: table %s: not evaluated: %s", t.Directive, t.Table, t.Reason)
}

// Read returns the blocks and directives of a maddy.conf, with its imports,
// snippets and macros expanded. An error names the file and mostly the line.
func Read(path string) ([]config.Node, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return parse(file, path)
}

// parse calls Maddy's parser. It adds the file to errors that lack it, and turns
// a panic into an error: the parser panics on a macro that consists only of
// macros that are not set.
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

// Load configures the helo_fqdn block of a maddy.conf. Name selects one of
// several blocks: the name of a check.helo_fqdn or checks block, FILE:LINE, or
// LINE; "" where all blocks have the same content. An error names file and line
// of the mistake, ErrNoCheck and fs.ErrNotExist can be told apart. Load replaces
// Maddy's global container while it runs: not safe for concurrent use.
//
// The addresses of the endpoints count as the server's own. Outside a custom
// Maddy, stand-ins read the tables file, static, regexp, chain and identity.
func Load(path, name string) (*Config, error) {
	top, err := Read(path)
	if err != nil {
		return nil, fmt.Errorf("maddyconf: %w", err)
	}
	r := reader{path: path, top: top, globals: make(map[string]any)}
	if err = r.readGlobals(); err != nil {
		return nil, fmt.Errorf("maddyconf: %w", err)
	}
	r.search()
	chosen, err := r.choose(name)
	if err != nil {
		return nil, fmt.Errorf("maddyconf: %s: %w", path, err)
	}
	r.addListeners(&chosen)
	if err = r.configure(chosen); err != nil {
		return nil, fmt.Errorf("maddyconf: %w", err)
	}
	return &r.conf, nil
}

// FromPolicy returns a check that has no setting but its policy: lenient, rfc
// or strict; "" is rfc.
func FromPolicy(preset string) (*module.Check, error) {
	if preset == "" {
		preset = "rfc"
	}
	var r reader
	if err := r.configure(block{args: []string{preset}}); err != nil {
		return nil, fmt.Errorf("maddyconf: %w", err)
	}
	return r.conf.Check, nil
}

// block is one helo_fqdn block of a maddy.conf.
type block struct {
	config.Node
	name     string       // of itself or its group; "" inside an endpoint
	args     []string     // inline arguments
	endpoint *config.Node // that it stands in; nil: at the top level
}

func (b *block) where() string { return b.File + ":" + strconv.Itoa(b.Line) }

// reader holds what one Load has read.
type reader struct {
	path     string
	top      []config.Node
	globals  map[string]any
	stateDir string // base of relative paths: Maddy's working directory
	blocks   []block
	own      *container.C
	named    map[string]*namedTable
	conf     Config
}

func (r *reader) warn(format string, args ...any) {
	r.conf.Warnings = append(r.conf.Warnings, fmt.Sprintf(format, args...))
}

func (r *reader) readGlobals() error {
	globals := config.NewMap(nil, config.Node{Children: r.top})
	var hostname string
	globals.String("state_dir", false, false, "/var/lib/maddy", &r.stateDir)
	globals.String("hostname", false, false, "", &hostname)
	globals.AllowUnknown()
	_, err := globals.Process()
	r.conf.stateDir = r.stateDir
	r.globals["hostname"] = hostname
	return err
}

// search collects every helo_fqdn block.
func (r *reader) search() {
	for i := range r.top {
		node := &r.top[i]
		switch node.Name {
		case modName:
			r.blocks = append(r.blocks, block{Node: *node, name: instance(node)})
		case "checks":
			r.group(node, instance(node), nil)
		default:
			r.descend(node.Children, node)
		}
	}
}

func (r *reader) descend(nodes []config.Node, endpoint *config.Node) {
	for i := range nodes {
		if nodes[i].Name == "check" {
			r.group(&nodes[i], "", endpoint)
		}
		r.descend(nodes[i].Children, endpoint)
	}
}

func (r *reader) group(group *config.Node, name string, endpoint *config.Node) {
	for _, node := range group.Children {
		if node.Name == "helo_fqdn" || node.Name == modName {
			r.blocks = append(r.blocks, block{node, name, node.Args, endpoint})
		}
	}
}

// instance returns the name that Maddy gives a block of the top level.
func instance(node *config.Node) string {
	if len(node.Args) == 0 {
		return node.Name
	}
	return node.Args[0]
}

// choose returns the block that name selects.
func (r *reader) choose(name string) (block, error) {
	var fit []block
	for _, b := range r.blocks {
		if name == "" || b.name == name || b.where() == name || strconv.Itoa(b.Line) == name ||
			filepath.Base(b.File)+":"+strconv.Itoa(b.Line) == name {
			fit = append(fit, b)
		}
	}
	if len(fit) == 0 {
		if name == "" || len(r.blocks) == 0 {
			return block{}, ErrNoCheck
		}
		return block{}, fmt.Errorf("%w %q; there are %s", ErrNoCheck, name, list(r.blocks))
	}
	other := func(b block) bool { return b.text() != fit[0].text() }
	if slices.ContainsFunc(fit, other) {
		return block{}, fmt.Errorf("several helo_fqdn checks, name one of %s", list(fit))
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

// text returns the content of the block without its place and name.
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

// configure makes a check of the block in a container of its own. Warnings that
// are logged meanwhile go to the Config; later log lines are dropped.
func (r *reader) configure(b block) (err error) {
	defer func() { // Maddy's table.regexp panics on a block of the top level
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: Maddy fails on this configuration: %v", r.path, p)
		}
	}()
	linked := registerStandIns()
	reading := true
	warn := func(_ time.Time, _ bool, text string) {
		if reading {
			r.warn("%s", strings.TrimSpace(text))
		}
	}
	r.own = container.New()
	r.own.DefaultLogger = &log.Logger{Out: log.FuncOutput(warn, func() error { return nil })}
	before := container.Global
	container.Global = r.own
	defer func() { container.Global, reading = before, false }()

	if err = r.registerTables(); err != nil {
		return err
	}
	b.Children = r.tables(b.Children, linked)
	made, err := modules.Get(modName)(r.own, modName, b.name)
	if err != nil {
		return err
	}
	if err = made.Configure(b.args, config.NewMap(r.globals, b.Node)); err != nil {
		return err
	}
	r.conf.Check = made.(*module.Check)
	return r.own.Lifetime.StartAll()
}

// addListeners adds the addresses of listeners to self_addresses.
func (r *reader) addListeners(b *block) {
	own := config.Node{Name: "self_addresses", File: b.File, Line: b.Line, Args: r.listeners(b)}
	b.Children = slices.Clone(b.Children)
	for i := range b.Children {
		if set := &b.Children[i]; set.Name == own.Name {
			if len(set.Args) > 0 { // else Configure has an error for it
				set.Args = slices.Concat(set.Args, own.Args)
			}
			return
		}
	}
	if len(own.Args) > 0 {
		b.Children = append(b.Children, own)
	}
}

// listeners returns the addresses of the endpoints that use the block: the one
// that contains it, those that refer to its name, or else all that take mail.
func (r *reader) listeners(b *block) (addrs []string) {
	var asking []config.Node
	if b.endpoint != nil && takesMail(b.endpoint) {
		asking = []config.Node{*b.endpoint}
	}
	for i := range r.top {
		if b.endpoint == nil && takesMail(&r.top[i]) && mentions(&r.top[i], "&"+b.name) {
			asking = append(asking, r.top[i])
		}
	}
	if len(asking) == 0 {
		other := func(n config.Node) bool { return !takesMail(&n) }
		asking = slices.DeleteFunc(slices.Clone(r.top), other)
	}
	for _, node := range asking {
		for _, arg := range node.Args {
			at, err := config.ParseEndpoint(arg)
			if err != nil {
				continue
			}
			addr, err := netip.ParseAddr(at.Host)
			if err == nil && !addr.IsUnspecified() {
				addrs = append(addrs, heloname.Unmap(addr).String())
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
