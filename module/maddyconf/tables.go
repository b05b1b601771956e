package maddyconf

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
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

// directives that take one table, and those that take "file" and a path.
var (
	tableDirectives = checks.Tables
	listDirectives  = []string{"exempt_networks", "exempt_recipients"} // also of tables
)

// notEvaluated is the error of a table that cannot be read here, although the
// server may read it.
type notEvaluated struct{ table, reason string }

func (e *notEvaluated) Error() string { return e.table + ": " + e.reason }

// namedTable is a table block of the top level.
type namedTable struct {
	config.Node
	made     module.Module
	state    int   // one of the constants below
	skip     error // a notEvaluated
	mistaken error // of its configuration
}

const (
	untouched = iota
	resolving
	resolved
)

// registerTables registers the top level's table blocks, as Maddy does: under
// the name that the module reports, which for static, regexp and identity is
// the kind, so that &NAME does not find them.
func (r *reader) registerTables() error {
	r.named = make(map[string]*namedTable)
	for i := range r.top {
		node := r.top[i]
		factory := modules.Get(node.Name)
		if node.Name == "table.sql_table" && factory != nil { // see readOnly
			factory = modules.Get("table.sql_query")
		}
		if !strings.HasPrefix(node.Name, "table.") || factory == nil {
			continue
		}
		made, err := factory(r.own, node.Name, instance(&node))
		if err != nil {
			return config.NodeErr(node, "%v", err)
		}
		named := &namedTable{Node: node, made: made}
		if err := r.own.Modules.Register(made, func() error { return named.mistaken }); err != nil {
			return config.NodeErr(node, "config block named %s already exists", made.InstanceName())
		}
		r.named[made.InstanceName()] = named
	}
	return nil
}

// tables returns the directives with paths made absolute, and without those
// whose table is not evaluated.
func (r *reader) tables(directives []config.Node, linked bool) (kept []config.Node) {
	for _, node := range directives {
		asTable := slices.Contains(tableDirectives, node.Name) && len(node.Args) > 0
		if slices.Contains(listDirectives, node.Name) {
			if asTable = checks.TakesTable(node); !asTable {
				node.Args = r.listPaths(node.Args)
			}
		}
		if asTable {
			var err error
			var skip *notEvaluated
			if node, err = r.resolve(node, linked); errors.As(err, &skip) {
				r.conf.NotEvaluated = append(r.conf.NotEvaluated,
					Table{node.Name, skip.table, skip.reason})
				continue
			}
		}
		kept = append(kept, node)
	}
	return kept
}

// listPaths makes the path after each "file" absolute.
func (r *reader) listPaths(args []string) []string {
	args = slices.Clone(args)
	for i := 1; i < len(args); i++ {
		if args[i-1] == "file" && args[i] != "" {
			args[i] = r.absolute(args[i])
			i++ // a file may be called "file"
		}
	}
	return args
}

// absolute returns path as the server sees it: relative to the state directory.
func (r *reader) absolute(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(r.stateDir, path)
}

// resolve prepares a directive whose Args are a table, for Configure. The only
// errors are notEvaluated: Configure reports mistakes, with file and line.
// Linked tells that Maddy's own tables are in this binary.
func (r *reader) resolve(node config.Node, linked bool) (config.Node, error) {
	if name, ok := strings.CutPrefix(node.Args[0], "&"); ok {
		return node, r.reference(name, linked)
	}
	node.Args, node.Children = slices.Clone(node.Args), slices.Clone(node.Children)
	kind := strings.TrimPrefix(node.Args[0], "table.")
	switch {
	case kind == "file":
		return node, r.file(&node)
	case kind == "chain":
		return node, r.steps(&node, linked)
	case slices.Contains(standInKinds, kind):
		return node, nil
	case modules.Get("table."+kind) != nil:
		return r.foreign(node, kind)
	case linked || modules.Get(kind) != nil:
		return node, nil
	default:
		return node, &notEvaluated{kind, runMaddy}
	}
}

// reference configures the block that &NAME stands for, once.
func (r *reader) reference(name string, linked bool) error {
	t := r.named[name]
	if t == nil {
		at := slices.IndexFunc(r.top, func(n config.Node) bool { // storage.imapsql is a table, too
			return strings.Contains(n.Name, ".") && instance(&n) == name
		})
		if at < 0 || modules.Get(r.top[at].Name) != nil && strings.HasPrefix(r.top[at].Name, "table.") {
			return nil
		}
		kind := strings.TrimPrefix(r.top[at].Name, "table.")
		if linked {
			return &notEvaluated{kind, "only the running server opens it"}
		}
		return &notEvaluated{kind, runMaddy}
	}
	kind := strings.TrimPrefix(t.Name, "table.")
	switch t.state {
	case resolving:
		return &notEvaluated{kind, name + " refers to itself: Maddy never answers a lookup in it"}
	case resolved:
		return t.skip
	}
	t.state = resolving
	inner := t.Node
	inner.Args = []string{kind}
	inner, t.skip = r.resolve(inner, linked)
	if t.skip == nil {
		inner.Args = nil
		t.mistaken = t.made.Configure(nil, config.NewMap(r.globals, inner))
		if living, ok := t.made.(container.LifetimeModule); ok && t.mistaken == nil {
			r.own.Lifetime.Add(living)
		}
	}
	t.state = resolved
	return t.skip
}

// steps resolves the tables of a chain.
func (r *reader) steps(node *config.Node, linked bool) error {
	for i, step := range node.Children {
		if (step.Name != "step" && step.Name != "optional_step") || len(step.Args) == 0 {
			continue
		}
		var err error
		if node.Children[i], err = r.resolve(step, linked); err != nil {
			return err
		}
	}
	return nil
}

// file makes the path of a table file absolute. Maddy takes a missing file for
// an empty one; one without permission may still be readable for the server.
func (r *reader) file(node *config.Node) error {
	path := child(node, "file")
	if len(node.Args) > 1 {
		path = &node.Args[1]
	}
	if path == nil || *path == "" {
		return nil
	}
	*path = r.absolute(*path)
	file, err := os.Open(*path)
	switch {
	case err == nil:
		file.Close()
	case errors.Is(err, fs.ErrNotExist) && slices.Contains(tableDirectives, node.Name):
		// Configure warns.
	case errors.Is(err, fs.ErrNotExist):
		r.warn("%s:%d: %s does not exist; Maddy takes it for an empty table", node.File, node.Line, *path)
	default:
		return &notEvaluated{"file", err.Error()}
	}
	return nil
}

// child returns the value of the directive name, nil when it has not just one.
// The value may be changed without effect on the parsed file.
func child(node *config.Node, name string) *string {
	for i := range node.Children {
		if c := &node.Children[i]; c.Name == name && len(c.Args) == 1 {
			c.Args = slices.Clone(c.Args)
			return &c.Args[0]
		}
	}
	return nil
}

// foreign opens one of Maddy's other tables once, to see whether it can be
// opened here. SQL tables are opened read-only.
func (r *reader) foreign(node config.Node, kind string) (config.Node, error) {
	if kind == "sql_query" || kind == "sql_table" {
		if err := r.readOnly(&node, kind); err != nil {
			return node, err
		}
	}
	var table module.Table
	if err := modconfig.ModuleFromNode("table", node.Args, node, r.globals, &table); err != nil {
		return node, &notEvaluated{kind, err.Error()}
	}
	return node, nil
}

// readOnly takes from an SQL table all that creates files or changes data. An
// sql_table, which creates its table, becomes the sql_query of its lookup.
func (r *reader) readOnly(node *config.Node, kind string) error {
	for i := range node.Children {
		if c := &node.Children[i]; c.Name == "dsn" && len(c.Args) > 0 {
			c.Args = []string{strings.Join(c.Args, " ")}
		}
	}
	driver, dsn := child(node, "driver"), child(node, "dsn")
	if driver == nil || dsn == nil {
		return nil
	}
	sqlite := strings.HasPrefix(*driver, "sqlite")
	if name := child(node, "table_name"); kind == "sql_table" && name != nil {
		key, value, param, named := "key", "value", "$1", "no"
		if column := child(node, "key_column"); column != nil {
			key = *column
		}
		if column := child(node, "value_column"); column != nil {
			value = *column
		}
		if sqlite {
			param, named = ":key", "yes"
		}
		query := fmt.Sprintf("SELECT %s FROM %s WHERE %s = %s", value, *name, key, param)
		node.Args[0], node.Children = "sql_query", []config.Node{
			{Name: "driver", Args: []string{*driver}}, {Name: "dsn", Args: []string{*dsn}},
			{Name: "lookup", Args: []string{query}}, {Name: "named_args", Args: []string{named}},
		}
	}
	writes := func(n config.Node) bool { return n.Name == "init" }
	node.Children = slices.DeleteFunc(node.Children, writes)
	if !sqlite {
		return nil
	}
	dsn = child(node, "dsn") // of the sql_query, where node was an sql_table
	path, query, _ := strings.Cut(strings.TrimPrefix(*dsn, "file:"), "?")
	path = r.absolute(path)
	file, err := os.Open(path) // SQLite creates a missing file
	if err != nil {
		return &notEvaluated{kind, err.Error()}
	}
	file.Close()
	if query != "" {
		query += "&"
	}
	*dsn = "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + query + "mode=ro"
	return nil
}
