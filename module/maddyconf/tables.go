package maddyconf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/foxcpp/maddy/framework/config"
	modconfig "github.com/foxcpp/maddy/framework/config/module"
	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"

	checks "maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/exempt"
)

// The reasons for a table that only Maddy's own code can read, or only the server.
var (
	errRunMaddy  = errors.New("run `maddy helo explain`")
	errRunServer = errors.New("only the running server opens it")
)

func kindOf(name string) string { return strings.TrimPrefix(name, "table.") }

// nameTables finds what &NAME means. Maddy knows a table by the name that its module reports, which
// for static, regexp and identity is the kind, so that &NAME does not find them.
func (r *reader) nameTables() error {
	r.named = make(map[string]config.Node)
	for _, node := range r.top {
		if !strings.Contains(node.Name, ".") { // a directive or an endpoint
			continue
		}
		name := instance(&node)
		if factory := modules.Get(node.Name); factory != nil && strings.HasPrefix(node.Name, "table.") {
			made, err := factory(container.Global, node.Name, name)
			if err != nil {
				return config.NodeErr(node, "%v", err)
			}
			name = made.InstanceName()
		}
		if _, taken := r.named[name]; taken {
			return config.NodeErr(node, "config block named %s already exists", name)
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
			if kind, err := r.prepare(&node); err != nil {
				r.NotEvaluated = append(r.NotEvaluated, Table{node.Name, kind, err.Error()})
				continue
			}
		case node.Name == "exempt_networks" || node.Name == "exempt_recipients":
			for i := 1; i < len(node.Args); i++ {
				if node.Args[i-1] == "file" { // never a path itself, once it is absolute
					node.Args[i] = r.absolute(node.Args[i])
				}
			}
		}
		kept = append(kept, node)
	}
	return kept
}

// prepare makes a directive whose Args are a table ready for Configure, in place of &NAME the table
// of that name, and returns its kind. An error means that the table cannot be read here, although
// the server may read it. Configure reports mistakes, with file and line.
func (r *reader) prepare(node *config.Node) (kind string, err error) {
	name, reference := strings.CutPrefix(node.Args[0], "&")
	if reference {
		block, known := r.named[name]
		if !known || len(node.Args) > 1 || node.Children != nil {
			return "", nil // Configure reports it
		}
		node.Args, node.Children = []string{block.Name}, block.Children
	}
	kind = kindOf(node.Args[0])
	switch known := modules.Get("table."+kind) != nil; {
	case kind == "file":
		err = r.file(node)
	case standIns[kind] != nil:
	case kind == "chain", r.linked && reference && !known: // the steps of a chain may write
		err = errRunServer
	case known:
		err = r.foreign(node, kind)
	case !r.linked && (reference || modules.Get(kind) == nil):
		err = errRunMaddy
	}
	return kind, err
}

// file makes the path of a table file absolute. Maddy takes a missing file for
// an empty one; one without permission may still be readable for the server.
func (r *reader) file(node *config.Node) error {
	path := checks.TableFile(node)
	if path == nil {
		return nil
	}
	*path = r.absolute(*path)
	switch file, err := os.Open(*path); {
	case err == nil:
		return file.Close()
	case errors.Is(err, fs.ErrNotExist):
		return nil
	default:
		return err
	}
}

// foreign opens one of Maddy's other tables once, to see whether it can be
// opened here. SQL tables are opened read-only.
func (r *reader) foreign(node *config.Node, kind string) error {
	if kind == "sql_query" || kind == "sql_table" {
		if err := r.readOnly(node, kind); err != nil {
			return err
		}
	}
	_, err := modconfig.TableDirective(config.NewMap(r.globals, *node), *node)
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
	if strings.HasPrefix(set["driver"], "sqlite") {
		path, options, _ := strings.Cut(strings.TrimPrefix(set["dsn"], "file:"), "?")
		path = r.absolute(path)
		file, err := os.Open(path) // SQLite creates a missing file
		if err != nil {
			return err
		}
		file.Close()
		options = strings.TrimPrefix(options+"&mode=ro", "&")
		set["dsn"] = "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + options
	}
	if kind == "sql_table" {
		lookup := "SELECT " + cmp.Or(set["value_column"], "value") + " FROM " + set["table_name"] +
			" WHERE " + cmp.Or(set["key_column"], "key") + " = $1"
		node.Args, node.Children = []string{"sql_query"}, []config.Node{
			{Name: "driver", Args: []string{set["driver"]}}, {Name: "lookup", Args: []string{lookup}},
		}
	}
	replaced := func(n config.Node) bool { return n.Name == "init" || n.Name == "dsn" }
	node.Children = append(slices.DeleteFunc(slices.Clone(node.Children), replaced),
		config.Node{Name: "dsn", Args: []string{set["dsn"]}})
	return nil
}

// lookup returns the first value of a key; found is false where there is none.
type lookup func(key string) (value string, found bool)

// standIns configure the tables that maddyconf reads by itself. Maddy's own are
// in its internal packages; a test compares each pair.
var standIns = map[string]func(args []string, cfg *config.Map) (lookup, error){
	"file": fileTable, "static": staticTable, "regexp": regexpTable,
}

// registerStandIns registers the stand-ins unless Maddy's own tables are in
// this binary, which it reports.
var registerStandIns = sync.OnceValue(func() (linked bool) {
	linked = modules.Get("table.file") != nil
	for kind := range standIns {
		if !linked {
			modules.Register("table."+kind, newStandIn)
		}
	}
	return linked
})

// standIn is a table whose content does not change once it is configured.
type standIn struct {
	kind, name string
	lookup     lookup
}

func newStandIn(_ *container.C, kind, name string) (module.Module, error) {
	return &standIn{kind: kind, name: name}, nil
}

func (t *standIn) Name() string { return t.kind }

// InstanceName returns what Maddy's own table returns: of these &NAME finds only files.
func (t *standIn) InstanceName() string {
	if t.kind == "table.file" {
		return t.name
	}
	return t.kind
}

func (t *standIn) Configure(args []string, cfg *config.Map) (err error) {
	t.lookup, err = standIns[kindOf(t.kind)](args, cfg)
	return err
}

func (t *standIn) Lookup(_ context.Context, key string) (value string, found bool, _ error) {
	value, found = t.lookup(key)
	return value, found, nil
}

func fileTable(args []string, cfg *config.Map) (lookup, error) {
	var path string
	cfg.Bool("debug", true, false, nil)
	cfg.String("file", false, false, "", &path)
	if _, err := cfg.Process(); err != nil {
		return nil, err
	}
	if len(args) > 1 || len(args) == 1 && path != "" {
		return nil, config.NodeErr(cfg.Block, "more than one file; accepted: file PATH")
	}
	if len(args) == 1 {
		path = args[0]
	}
	entries := make(map[string]string)
	err := exempt.ReadTable(path, func(line int, key, values string) error {
		if key == "" {
			return fmt.Errorf("%s:%d: no key before the colon; accepted: KEY or KEY: VALUE", path, line)
		}
		if _, again := entries[key]; !again {
			first, _, _ := strings.Cut(values, ",")
			entries[key] = strings.TrimSpace(first)
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return in(entries), err
}

func staticTable(_ []string, cfg *config.Map) (lookup, error) {
	entries := make(map[string]string)
	cfg.Callback("entry", func(_ *config.Map, node config.Node) error {
		if len(node.Args) < 2 {
			return config.NodeErr(node, "entry without a value; accepted: entry KEY VALUE...")
		}
		entries[node.Args[0]] = node.Args[1]
		return nil
	})
	_, err := cfg.Process()
	return in(entries), err
}

func in(entries map[string]string) lookup {
	return func(key string) (value string, found bool) {
		value, found = entries[key]
		return value, found
	}
}

func regexpTable(args []string, cfg *config.Map) (lookup, error) {
	var whole, fold, expand bool
	cfg.Bool("full_match", false, true, &whole)
	cfg.Bool("case_insensitive", false, true, &fold)
	cfg.Bool("expand_replaceholders", false, true, &expand)
	if _, err := cfg.Process(); err != nil {
		return nil, err
	}
	if len(args) == 0 {
		return nil, config.NodeErr(cfg.Block, "no pattern; accepted: regexp PATTERN VALUE...")
	}
	pattern := args[0]
	if whole { // the ends bind closer than |, as in Maddy
		pattern = "^" + strings.TrimPrefix(pattern, "^")
		pattern = strings.TrimSuffix(pattern, "$") + "$"
	}
	if fold {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, config.NodeErr(cfg.Block, "%v", err)
	}
	return func(key string) (value string, found bool) {
		at := re.FindStringSubmatchIndex(key)
		switch {
		case at == nil || len(args) == 1:
			return "", false
		case expand:
			return string(re.ExpandString(nil, args[1], key, at)), true
		}
		return args[1], true
	}, nil
}
