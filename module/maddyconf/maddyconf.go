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
	"cmp"
	"errors"
	"fmt"
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

// ErrNoCheck is returned for a maddy.conf that has no helo_fqdn block, or none of the wanted name.
var ErrNoCheck = errors.New("no helo_fqdn check")

// Config is one helo_fqdn block of a maddy.conf.
type Config struct {
	Check *module.Check
	// Warnings are what Maddy logs at its start, one line each.
	Warnings []string
	// NotEvaluated lists the tables that Check does without.
	NotEvaluated []Table

	stateDir string // base of relative paths: Maddy's working directory
}

// Memory returns the kind and the place of the check's memory, as memory.OpenTool takes them; kind
// is "" with memory off. A relative path is below state_dir.
func (c *Config) Memory() (kind, place string) {
	kind, place, _ = c.Check.Memory()
	if kind == "sqlite3" {
		place = c.absolute(place)
	}
	return kind, place
}

// absolute returns path as the server sees it: relative to the state directory. "" stays.
func (c *Config) absolute(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.stateDir, path)
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
func Read(path string) (nodes []config.Node, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	defer func() { // on a macro that consists only of macros that are not set
		if p := recover(); p != nil {
			nodes, err = nil, fmt.Errorf("%s: Maddy's parser fails on this file, and Maddy would not"+
				" start with it: %v; look for a macro that is empty or not set", path, p)
		}
	}()
	nodes, err = parser.Read(file, path)
	if err != nil && !strings.HasPrefix(err.Error(), path+":") {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return nodes, err
}

// Load configures the helo_fqdn block of a maddy.conf. Name selects one of several blocks: the name
// of a check.helo_fqdn or checks block, FILE:LINE, or LINE; "" where all blocks have the same
// content. An error names file and line of the mistake, ErrNoCheck and fs.ErrNotExist can be told
// apart. Load replaces Maddy's global container while it runs: not safe for concurrent use.
//
// The addresses of the endpoints count as the server's own. Outside a custom
// Maddy, stand-ins read the tables file, static and regexp.
func Load(path, name string) (*Config, error) {
	r := reader{path: path}
	if err := r.load(name); err != nil {
		return nil, fmt.Errorf("maddyconf: %w", err)
	}
	return &r.Config, nil
}

// FromPolicy returns a check that has no setting but its policy: lenient, rfc or strict; "" is rfc.
func FromPolicy(preset string) (*module.Check, error) {
	var r reader
	if err := r.configure(block{Node: config.Node{Args: strings.Fields(preset)}}); err != nil {
		return nil, fmt.Errorf("maddyconf: %w", err)
	}
	return r.Check, nil
}

// block is one helo_fqdn block of a maddy.conf.
type block struct {
	config.Node              // its Args are inline arguments
	name        string       // of itself or its group; "" inside an endpoint
	top         *config.Node // the block of the top level that it stands in or is
}

// String returns what choose knows the block by.
func (b block) String() string {
	if b.name != "" {
		return b.name + " (" + b.where() + ")"
	}
	return b.where()
}

// list names blocks for an error.
func list(blocks []block) string {
	texts := make([]string, len(blocks))
	for i, b := range blocks {
		texts[i] = b.String()
	}
	return strings.Join(texts, ", ")
}

func (b block) where() string { return b.File + ":" + strconv.Itoa(b.Line) }

type reader struct {
	Config
	path    string
	top     []config.Node
	globals map[string]any
	linked  bool                   // Maddy's own tables are in this binary
	named   map[string]config.Node // blocks of the top level
}

func (r *reader) load(name string) (err error) {
	if r.top, err = Read(r.path); err != nil {
		return err
	}
	globals := config.NewMap(nil, config.Node{Children: r.top})
	globals.String("state_dir", false, false, "/var/lib/maddy", &r.stateDir)
	globals.String("hostname", false, false, "", nil)
	globals.AllowUnknown()
	if _, err = globals.Process(); err != nil {
		return err
	}
	r.globals = globals.Values
	chosen, err := choose(blocksOf(r.top, nil), name)
	if err != nil {
		return fmt.Errorf("%s: %w", r.path, err)
	}
	if err = r.configure(chosen); err != nil {
		return err
	}
	self := &r.Check.Judge().Self
	self.Addrs = append(self.Addrs, r.listeners(&chosen)...)
	return nil
}

// blocksOf returns every helo_fqdn block among nodes and inside them. They stand in top, nil for
// those of the top level.
func blocksOf(nodes []config.Node, top *config.Node) (blocks []block) {
	for i := range nodes {
		node := &nodes[i]
		in := cmp.Or(top, node)
		if node.Name == modName || node.Name == "helo_fqdn" && top != nil {
			b := block{Node: *node, top: in}
			b.Name = modName
			if in.Name == modName || in.Name == "checks" {
				b.name = instance(in)
			}
			if top == nil {
				b.Args = nil
			}
			blocks = append(blocks, b)
		}
		blocks = append(blocks, blocksOf(node.Children, in)...)
	}
	return blocks
}

// instance returns the name that Maddy gives a block of the top level.
func instance(node *config.Node) string {
	if len(node.Args) == 0 {
		return node.Name
	}
	return node.Args[0]
}

func choose(blocks []block, name string) (block, error) {
	var fit []block
	for _, b := range blocks {
		line := strconv.Itoa(b.Line)
		names := []string{"", b.name, line, b.where(), filepath.Base(b.File) + ":" + line}
		if slices.Contains(names, name) {
			fit = append(fit, b)
		}
	}
	switch {
	case len(blocks) == 0:
		return block{}, ErrNoCheck
	case len(fit) == 0:
		return block{}, fmt.Errorf("%w %q; there are %s", ErrNoCheck, name, list(blocks))
	case slices.ContainsFunc(fit, func(b block) bool { return !same(b.Node, fit[0].Node) }):
		return block{}, fmt.Errorf("several helo_fqdn checks, name one of %s", list(fit))
	}
	return fit[0], nil
}

// same tells whether two directives say the same, wherever they stand.
func same(a, b config.Node) bool {
	return a.Name == b.Name && slices.Equal(a.Args, b.Args) &&
		slices.EqualFunc(a.Children, b.Children, same)
}

// configure makes a check of the block in a container of its own. Warnings that
// are logged meanwhile go to the Config; later log lines are dropped.
func (r *reader) configure(b block) (err error) {
	reading := true
	warn := func(_ time.Time, _ bool, text string) {
		if reading {
			r.Warnings = append(r.Warnings, strings.TrimSpace(text))
		}
	}
	own, before := container.New(), container.Global
	own.DefaultLogger = &log.Logger{Out: log.FuncOutput(warn, func() error { return nil })}
	container.Global = own
	defer func() {
		container.Global, reading = before, false
		if p := recover(); p != nil { // Maddy's table.regexp panics on a block of the top level
			err = fmt.Errorf("%s: Maddy fails on this configuration: %v", r.path, p)
		}
	}()
	r.linked = registerStandIns()
	if err = r.nameTables(); err != nil {
		return err
	}
	b.Children = r.directives(b.Children)
	made, err := modules.Get(modName)(own, modName, b.name)
	if err != nil {
		return err
	}
	if err = made.Configure(b.Args, config.NewMap(r.globals, b.Node)); err != nil {
		return err
	}
	r.Check = made.(*module.Check)
	return own.Lifetime.StartAll()
}

// listeners returns the addresses of the endpoints that use the block: the one
// that contains it, those that refer to its name, or else all that take mail.
func (r *reader) listeners(b *block) (addrs []netip.Prefix) {
	var all, using []*config.Node
	for i := range r.top {
		node := &r.top[i]
		if node.Name != "smtp" && node.Name != "submission" {
			continue
		}
		all = append(all, node)
		if node == b.top || b.name != "" && mentions(node, "&"+b.name) {
			using = append(using, node)
		}
	}
	if len(using) == 0 {
		using = all
	}
	for _, node := range using {
		for _, arg := range node.Args {
			endpoint, _ := config.ParseEndpoint(arg) // without a host where it is wrong
			addr, err := heloname.ParsePrefix(endpoint.Host)
			if err == nil && !addr.Addr().IsUnspecified() {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs
}

func mentions(n *config.Node, word string) bool {
	inside := func(c config.Node) bool { return mentions(&c, word) }
	return slices.Contains(n.Args, word) || slices.ContainsFunc(n.Children, inside)
}
