package maddyconf

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"sync"

	"github.com/foxcpp/maddy/framework/config"
	modconfig "github.com/foxcpp/maddy/framework/config/module"
	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"
)

// standInKinds are the tables that maddyconf reads by itself. Maddy's own are
// in its internal packages; a test compares each pair.
var standInKinds = []string{"file", "static", "regexp", "chain", "identity"}

// registerStandIns registers the stand-ins unless Maddy's own tables are in
// this binary, which it reports.
var registerStandIns = sync.OnceValue(func() (linked bool) {
	linked = modules.Get("table.file") != nil
	for _, kind := range standInKinds {
		if !linked {
			modules.Register("table."+kind, newStandIn)
		}
	}
	return linked
})

// standIn is a table whose content does not change once it is configured.
type standIn struct {
	kind, name string
	values     func(key string) []string // none: not found
}

func newStandIn(_ *container.C, kind, name string) (module.Module, error) {
	return &standIn{kind: kind, name: name}, nil
}

func (t *standIn) Name() string { return t.kind }

// InstanceName returns what Maddy's own table returns: &NAME finds only files
// and chains.
func (t *standIn) InstanceName() string {
	if t.kind == "table.file" || t.kind == "table.chain" {
		return t.name
	}
	return t.kind
}

// Lookup returns the first value.
func (t *standIn) Lookup(_ context.Context, key string) (value string, found bool, _ error) {
	if values := t.values(key); len(values) > 0 {
		return values[0], true, nil
	}
	return "", false, nil
}

func (t *standIn) Configure(args []string, cfg *config.Map) (err error) {
	switch t.kind {
	case "table.file":
		t.values, err = fileTable(args, cfg)
	case "table.static":
		t.values, err = staticTable(cfg)
	case "table.regexp":
		t.values, err = regexpTable(args, cfg)
	case "table.chain":
		t.values, err = chainTable(cfg)
	default: // identity takes any directive
		t.values = func(key string) []string { return []string{key} }
	}
	return err
}

func fileTable(args []string, cfg *config.Map) (func(string) []string, error) {
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
	if err := readFile(path, entries); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return func(key string) []string { return entries[key] }, nil
}

// readFile reads lines "KEY: VALUE, VALUE". The first colon ends the key; the
// values of a key that has several lines add up.
func readFile(path string, entries map[string][]string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		key, values, _ := strings.Cut(text, ":")
		key = strings.TrimSpace(key)
		if key == "" {
			return fmt.Errorf("%s:%d: no key before the colon; accepted: KEY or KEY: VALUE", path, n)
		}
		for value := range strings.SplitSeq(values, ",") {
			entries[key] = append(entries[key], strings.TrimSpace(value))
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func staticTable(cfg *config.Map) (func(string) []string, error) {
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

func regexpTable(args []string, cfg *config.Map) (func(string) []string, error) {
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
	return func(key string) (values []string) {
		at := re.FindStringSubmatchIndex(key)
		if at == nil {
			return nil
		}
		for _, value := range args[1:] {
			if expand {
				value = string(re.ExpandString(nil, value, key, at))
			}
			values = append(values, value)
		}
		return values
	}, nil
}

func chainTable(cfg *config.Map) (func(string) []string, error) {
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
			switch next := s.all(keys); {
			case next != nil:
				keys = next
			case !s.optional:
				return nil
			}
		}
		return keys
	}, err
}

// all returns the values of all keys, nil if one key is not found.
func (t *standIn) all(keys []string) (values []string) {
	for _, key := range keys {
		found := t.values(key)
		if len(found) == 0 {
			return nil
		}
		values = append(values, found...)
	}
	return values
}
