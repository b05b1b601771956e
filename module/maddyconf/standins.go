package maddyconf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
)

// values returns the values of a key; none: not found.
type values func(key string) []string

// standIns configure the tables that maddyconf reads by itself. Maddy's own are
// in its internal packages; a test compares each pair.
var standIns = map[string]func(args []string, cfg *config.Map) (values, error){
	"file": fileTable, "static": staticTable, "regexp": regexpTable, "chain": chainTable,
	"identity": func([]string, *config.Map) (values, error) { // takes any directive
		return func(key string) []string { return []string{key} }, nil
	},
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
	values     values
}

func newStandIn(_ *container.C, kind, name string) (module.Module, error) {
	return &standIn{kind: kind, name: name}, nil
}

func (t *standIn) Name() string { return t.kind }

// InstanceName returns what Maddy's own table returns: &NAME finds only files and chains.
func (t *standIn) InstanceName() string {
	if t.kind == "table.file" || t.kind == "table.chain" {
		return t.name
	}
	return t.kind
}

func (t *standIn) Configure(args []string, cfg *config.Map) (err error) {
	t.values, err = standIns[kindOf(t.kind)](args, cfg)
	return err
}

// Lookup returns the first value.
func (t *standIn) Lookup(_ context.Context, key string) (value string, found bool, _ error) {
	if found := t.values(key); len(found) > 0 {
		return found[0], true, nil
	}
	return "", false, nil
}

func fileTable(args []string, cfg *config.Map) (values, error) {
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
	entries := make(map[string][]string)
	err := checks.ReadTable(path, func(line int, key, values string) error {
		if key == "" {
			return fmt.Errorf("%s:%d: no key before the colon; accepted: KEY or KEY: VALUE", path, line)
		}
		for value := range strings.SplitSeq(values, ",") { // several lines of a key add up
			entries[key] = append(entries[key], strings.TrimSpace(value))
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return func(key string) []string { return entries[key] }, err
}

func staticTable(_ []string, cfg *config.Map) (values, error) {
	entries := make(map[string][]string)
	cfg.Callback("entry", func(_ *config.Map, node config.Node) error {
		if len(node.Args) < 2 {
			return config.NodeErr(node, "entry without a value; accepted: entry KEY VALUE...")
		}
		entries[node.Args[0]] = node.Args[1:]
		return nil
	})
	_, err := cfg.Process()
	return func(key string) []string { return entries[key] }, err
}

func regexpTable(args []string, cfg *config.Map) (values, error) {
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
	return func(key string) []string {
		at := re.FindStringSubmatchIndex(key)
		if at == nil {
			return nil
		}
		found := slices.Clone(args[1:])
		for i, value := range found {
			if expand {
				found[i] = string(re.ExpandString(nil, value, key, at))
			}
		}
		return found
	}, nil
}

func chainTable(_ []string, cfg *config.Map) (values, error) {
	type step struct {
		*standIn
		optional bool
	}
	var steps []step
	add := func(m *config.Map, node config.Node) error {
		next := step{optional: node.Name == "optional_step"}
		err := modconfig.ModuleFromNode("table", node.Args, node, m.Globals, &next.standIn)
		steps = append(steps, next)
		return err
	}
	cfg.Callback("step", add)
	cfg.Callback("optional_step", add)
	_, err := cfg.Process()
	return func(key string) []string {
		keys := []string{key}
		for _, s := range steps {
			var next []string
			missing := false
			for _, key := range keys {
				found := s.values(key)
				next = append(next, found...)
				missing = missing || len(found) == 0
			}
			switch {
			case !missing:
				keys = next
			case !s.optional:
				return nil
			}
		}
		return keys
	}, err
}
