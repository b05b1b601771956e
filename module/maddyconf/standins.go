package maddyconf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"sync"

	"github.com/foxcpp/maddy/framework/config"
	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"

	"maddy.example/checkhelo/module/exempt"
)

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
