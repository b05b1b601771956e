package module

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/foxcpp/maddy/framework/config"
	modconfig "github.com/foxcpp/maddy/framework/config/module"
	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"
)

// tables returns the directives without those tables that cannot be opened.
func (l *loader) tables(own *container.C, directives []config.Node) (kept []config.Node) {
	for _, node := range directives {
		switch node.Name {
		case "exempt_clients", "exempt_names", "deny_names", "deny_hosts":
		default:
			kept = append(kept, node)
			continue
		}
		if len(node.Args) == 0 {
			kept = append(kept, node) // Configure tells what is wrong
			continue
		}
		kind := strings.TrimPrefix(node.Args[0], "table.")
		var err error
		if name, ok := strings.CutPrefix(node.Args[0], "&"); ok {
			kind, err = l.register(own, name)
		} else {
			node, err = l.absolute(kind, node)
		}
		if err == nil {
			_, err = modconfig.TableDirective(config.NewMap(l.globals, node), node)
		}
		switch {
		case err == nil:
			kept = append(kept, node)
		case modules.Get("table."+kind) == nil:
			l.note("%s: table %s: not evaluated", node.Name, kind)
		default:
			l.note("%s: table %s: not evaluated: %v", node.Name, kind, err)
		}
	}
	return kept
}

// register makes the table that a reference names known to Maddy's registry.
func (l *loader) register(own *container.C, name string) (kind string, err error) {
	at := slices.IndexFunc(l.top, func(n config.Node) bool {
		return strings.HasPrefix(n.Name, "table.") &&
			(instance(&n) == name || slices.Contains(n.Args, name))
	})
	if at < 0 {
		return "&" + name, fmt.Errorf("no table of the name %q", name)
	}
	node := l.top[at]
	kind = strings.TrimPrefix(node.Name, "table.")
	factory := modules.Get(node.Name)
	if factory == nil {
		return kind, fmt.Errorf("unknown table %s", kind)
	}
	if _, unknown := own.Modules.Get(name); unknown == nil {
		return kind, nil
	}
	made, err := factory(own, node.Name, name)
	if err != nil {
		return kind, err
	}
	if node, err = l.absolute(kind, config.Node{
		Name: node.Name, Children: node.Children, File: node.File, Line: node.Line,
	}); err != nil {
		return kind, err
	}
	return kind, own.Modules.Register(made, func() error {
		return made.Configure(nil, config.NewMap(l.globals, node))
	})
}

// absolute makes the path of a table file one below Maddy's state directory,
// which is where Maddy works, and finds out whether it can be read: Maddy
// itself takes a missing file for an empty one.
func (l *loader) absolute(kind string, node config.Node) (config.Node, error) {
	if kind != "file" {
		return node, nil
	}
	node.Args, node.Children = slices.Clone(node.Args), slices.Clone(node.Children)
	var path *string
	if len(node.Args) > 1 {
		path = &node.Args[1]
	}
	for i := range node.Children {
		if child := &node.Children[i]; child.Name == "file" && len(child.Args) == 1 {
			child.Args = slices.Clone(child.Args)
			path = &child.Args[0]
		}
	}
	if path == nil {
		return node, nil
	}
	if !filepath.IsAbs(*path) {
		*path = filepath.Join(l.stateDir, *path)
	}
	file, err := os.Open(*path)
	if err == nil {
		err = file.Close()
	}
	return node, err
}

// standIn registers the tables file and static where Maddy's own are not
// linked in. They read what those read.
var standIn = sync.OnceFunc(func() {
	for _, name := range []string{"table.file", "table.static"} {
		if modules.Get(name) == nil {
			modules.Register(name, newFixedTable)
		}
	}
})

// fixedTable is a table whose content is read once.
type fixedTable struct {
	kind, name string
	entries    map[string]string
}

func newFixedTable(_ *container.C, kind, name string) (module.Module, error) {
	return &fixedTable{kind, name, make(map[string]string)}, nil
}

func (t *fixedTable) Name() string         { return t.kind }
func (t *fixedTable) InstanceName() string { return t.name }

func (t *fixedTable) Lookup(_ context.Context, key string) (value string, found bool, _ error) {
	value, found = t.entries[key]
	return value, found, nil
}

func (t *fixedTable) Configure(args []string, cfg *config.Map) error {
	var path string
	if t.kind == "table.file" {
		cfg.Bool("debug", true, false, nil)
		cfg.String("file", false, false, "", &path)
	} else {
		cfg.Callback("entry", func(_ *config.Map, node config.Node) error {
			if len(node.Args) < 2 {
				return config.NodeErr(node, "expected at least one value")
			}
			t.entries[node.Args[0]] = node.Args[1]
			return nil
		})
	}
	if _, err := cfg.Process(); err != nil || t.kind == "table.static" {
		return err
	}
	if len(args) > 1 || len(args) == 1 && path != "" {
		return config.NodeErr(cfg.Block, "more than one file")
	}
	if len(args) == 1 {
		path = args[0]
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	return t.read(file)
}

// read takes lines "KEY: VALUE, VALUE"; the first value counts.
func (t *fixedTable) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		key, values, _ := strings.Cut(text, ":")
		key = strings.TrimSpace(key)
		if key == "" {
			return fmt.Errorf("line %d: empty address before colon", n)
		}
		value, _, _ := strings.Cut(values, ",")
		if _, twice := t.entries[key]; !twice {
			t.entries[key] = strings.TrimSpace(value)
		}
	}
	return lines.Err()
}
