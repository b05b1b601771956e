package maddyconf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/foxcpp/maddy/framework/config"
	modconfig "github.com/foxcpp/maddy/framework/config/module"
	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"

	checks "maddy.example/checkhelo/module"
)

// runMaddy is the reason for a table that only Maddy's own code can read.
const runMaddy = "run `maddy helo explain`"

// notEvaluated is the error of a table that cannot be read here, although the server may read it.
type notEvaluated struct{ table, reason string }

func (e *notEvaluated) Error() string { return e.table + ": " + e.reason }

// unknown is the error of a module that is not in this binary, or that has no table.
func (r *reader) unknown(kind string) error {
	if r.linked {
		return &notEvaluated{kind, "only the running server opens it"}
	}
	return &notEvaluated{kind, runMaddy}
}

func kindOf(name string) string { return strings.TrimPrefix(name, "table.") }

// nameTables finds what &NAME means. Maddy knows a table by the name that its module reports, which
// for static, regexp and identity is the kind, so that &NAME does not find them.
func (r *reader) nameTables() error {
	r.named = make(map[string]config.Node)
	tables := make(map[string]bool)
	for _, node := range r.top {
		name := instance(&node)
		if strings.HasPrefix(node.Name, "table.") && modules.Get(node.Name) != nil {
			made, err := modules.Get(node.Name)(container.Global, node.Name, name)
			if err != nil {
				return config.NodeErr(node, "%v", err)
			}
			if name = made.InstanceName(); tables[name] {
				return config.NodeErr(node, "config block named %s already exists", name)
			}
			tables[name] = true
		} else if tables[name] {
			continue
		}
		r.named[name] = node
	}
	return nil
}

// directives returns those of a check with paths made absolute, and without those
// whose table is not evaluated.
func (r *reader) directives(nodes []config.Node) (kept []config.Node) {
	for _, node := range nodes {
		switch {
		case checks.TakesTable(node):
			var err error
			var skip *notEvaluated
			if node, err = r.prepare(node); errors.As(err, &skip) {
				r.NotEvaluated = append(r.NotEvaluated, Table{node.Name, skip.table, skip.reason})
				continue
			}
		case node.Name == "exempt_networks" || node.Name == "exempt_recipients":
			node.Args = slices.Clone(node.Args)
			r.listPaths(node.Args)
		}
		kept = append(kept, node)
	}
	return kept
}

// listPaths makes the path after each "file" absolute.
func (r *reader) listPaths(args []string) {
	for i := 1; i < len(args); i++ {
		if args[i-1] == "file" && args[i] != "" {
			args[i] = r.absolute(args[i])
			i++ // a file may be called "file"
		}
	}
}

// prepare makes a directive whose Args are a table ready for Configure, in place of &NAME the table
// of that name. Above are the names of the tables that it is a step of. The only errors are
// notEvaluated: Configure reports mistakes, with file and line.
func (r *reader) prepare(node config.Node, above ...string) (config.Node, error) {
	if name, ok := strings.CutPrefix(node.Args[0], "&"); ok {
		block, known := r.named[name]
		switch {
		case !known || !strings.Contains(block.Name, ".") || len(node.Args) > 1 || node.Children != nil:
			return node, nil // Configure reports it
		case slices.Contains(above, name):
			return node, &notEvaluated{
				kindOf(block.Name), name + " refers to itself: Maddy never answers a lookup in it",
			}
		case !strings.HasPrefix(block.Name, "table.") || modules.Get(block.Name) == nil:
			return node, r.unknown(kindOf(block.Name))
		}
		above = append(above, name)
		node.Args, node.Children = []string{block.Name}, block.Children
	}
	node.Args, node.Children = slices.Clone(node.Args), slices.Clone(node.Children)
	kind := kindOf(node.Args[0])
	_, ours := standIns[kind]
	var err error
	switch {
	case kind == "file":
		err = r.file(&node)
	case kind == "chain":
		err = r.steps(node.Children, above)
	case ours:
	case modules.Get("table."+kind) != nil:
		err = r.foreign(&node, kind)
	case !r.linked && modules.Get(kind) == nil:
		err = r.unknown(kind)
	}
	return node, err
}

// steps prepares the tables of a chain.
func (r *reader) steps(nodes []config.Node, above []string) (err error) {
	for i, step := range nodes {
		if (step.Name == "step" || step.Name == "optional_step") && len(step.Args) > 0 && err == nil {
			nodes[i], err = r.prepare(step, above...)
		}
	}
	return err
}

// file makes the path of a table file absolute. Maddy takes a missing file for
// an empty one; one without permission may still be readable for the server.
func (r *reader) file(node *config.Node) error {
	path := checks.TableFile(node)
	if path == nil || *path == "" {
		return nil
	}
	*path = r.absolute(*path)
	file, err := os.Open(*path)
	switch {
	case err == nil:
		file.Close()
	case !errors.Is(err, fs.ErrNotExist):
		return &notEvaluated{"file", err.Error()}
	case !checks.TakesTable(*node): // of these Configure warns
		r.Warnings = append(r.Warnings, fmt.Sprintf(
			"%s:%d: %s does not exist; Maddy takes it for an empty table", node.File, node.Line, *path))
	}
	return nil
}

// foreign opens one of Maddy's other tables once, to see whether it can be
// opened here. SQL tables are opened read-only.
func (r *reader) foreign(node *config.Node, kind string) (err error) {
	if kind == "sql_query" || kind == "sql_table" {
		err = r.readOnly(node, kind)
	}
	var table module.Table
	if err == nil {
		err = modconfig.ModuleFromNode("table", node.Args, *node, r.globals, &table)
	}
	if err != nil {
		err = &notEvaluated{kind, err.Error()}
	}
	return err
}

// readOnly takes from an SQL table all that creates files or changes data. An
// sql_table, which creates its table, becomes the sql_query of its lookup.
func (r *reader) readOnly(node *config.Node, kind string) error {
	set := make(map[string]string)
	for _, c := range node.Children {
		set[c.Name] = strings.Join(c.Args, " ")
	}
	if set["driver"] == "" || set["dsn"] == "" || kind == "sql_table" && set["table_name"] == "" {
		return nil // Maddy opens nothing
	}
	query := "SELECT " + cmp.Or(set["value_column"], "value") + " FROM " + set["table_name"] +
		" WHERE " + cmp.Or(set["key_column"], "key")
	lookup, named := query+" = $1", "no"
	if strings.HasPrefix(set["driver"], "sqlite") {
		lookup, named = query+" = :key", "yes"
		path, options, _ := strings.Cut(strings.TrimPrefix(set["dsn"], "file:"), "?")
		path = r.absolute(path)
		file, err := os.Open(path) // SQLite creates a missing file
		if err != nil {
			return err
		}
		file.Close()
		if options != "" {
			options += "&"
		}
		set["dsn"] = "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + options + "mode=ro"
	}
	if kind == "sql_table" {
		node.Args[0], node.Children = "sql_query", []config.Node{
			{Name: "driver", Args: []string{set["driver"]}}, {Name: "lookup", Args: []string{lookup}},
			{Name: "named_args", Args: []string{named}},
		}
	}
	replaced := func(n config.Node) bool { return n.Name == "init" || n.Name == "dsn" }
	node.Children = append(slices.DeleteFunc(node.Children, replaced),
		config.Node{Name: "dsn", Args: []string{set["dsn"]}})
	return nil
}
