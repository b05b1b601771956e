package app

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/maddyconf"
)

// policyFlags say what judges.
func policyFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Name:  "policy",
			Usage: "judge by preset `P`: lenient, rfc, strict; beside --config it replaces the preset",
		},
		&cli.StringFlag{
			Name: "config", Aliases: []string{"c"},
			Usage: "judge as the maddy.conf `FILE` says, without --policy as the server's",
		},
		&cli.StringFlag{
			Name: "check", Usage: "which check of the file: the `NAME` of its block, or FILE:LINE",
		},
	}
}

const usualPreset = "rfc"

func isPreset(name string) bool {
	return slices.Contains(checkhelo.Presets, checkhelo.Preset(name))
}

// usePreset puts a preset in the place of the policy of the file at path, whose other settings
// stay. It returns a name for both.
func usePreset(j *judge.Judge, preset, path string) (source string) {
	j.Policy = j.Policy.With(checkhelo.Preset(preset), j.Policy.Ceiling)
	return preset + " with " + path
}

// loadCheck makes the check that the flags name, otherwise that of the server's maddy.conf, and
// prints the warnings about it. Source is the preset or the file.
func loadCheck(c *cli.Context) (conf *maddyconf.Config, source string, err error) {
	preset := c.String("policy")
	if preset != "" && !isPreset(preset) {
		return nil, "", usage(fmt.Sprintf("no policy %q; accepted: lenient, rfc, strict", preset))
	}
	path, how := serverConfig(c)
	if preset == "" || how == "--config" {
		conf, err = loadServer(c, path, how)
	} else if c.IsSet("check") {
		err = usage("--check needs --config")
	}
	switch {
	case err != nil:
		return nil, "", err
	case conf == nil:
		preset = cmp.Or(preset, usualPreset)
		check, fault := maddyconf.FromPolicy(preset)
		return &maddyconf.Config{Check: check}, preset, fault
	case preset != "":
		path = usePreset(conf.Check.Judge(), preset, path)
	}
	return conf, path, nil
}

// loadServer reads the maddy.conf that serverConfig found. It returns nil for one that is missing,
// or has no check, and that nobody named, and for one that only the server may read.
func loadServer(c *cli.Context, path, how string) (*maddyconf.Config, error) {
	named := how == "--config" || c.IsSet("check")
	conf, err := loadConfig(c, path, c.String("check"))
	var absent usage
	secret := errors.Is(err, fs.ErrPermission) && !c.IsSet("config")
	switch {
	case err == nil && !c.IsSet("config"):
		fmt.Fprintf(c.App.ErrWriter, "%s is used\n", path)
	case err == nil:
	case !secret && (named || !errors.As(err, &absent)):
		return nil, err
	default:
		fmt.Fprintf(c.App.ErrWriter, "preset %s is used: %s\n",
			cmp.Or(c.String("policy"), usualPreset), strings.TrimPrefix(err.Error(), "maddyconf: "))
	}
	return conf, nil
}

// loadConfig reads a maddy.conf. A missing one, or one without the check, is an error of usage.
func loadConfig(c *cli.Context, path, name string) (*maddyconf.Config, error) {
	conf, err := maddyconf.Load(path, name)
	if errors.Is(err, maddyconf.ErrNoCheck) || errors.Is(err, fs.ErrNotExist) {
		return nil, usage(err.Error())
	}
	if err != nil {
		return nil, err
	}
	for _, text := range conf.Warnings {
		fmt.Fprintf(c.App.ErrWriter, "%s: %s\n", path, text)
	}
	for _, table := range conf.NotEvaluated {
		fmt.Fprintf(c.App.ErrWriter, "%s: %s\n", path, table)
	}
	return conf, nil
}

// serverConfig returns the path of the server's maddy.conf and how it was found:
// as maddyconf.Find does, with --config of the command or of the program around
// it ("maddy --config FILE helo ..."). A custom Maddy may have another default.
func serverConfig(c *cli.Context) (path, how string) {
	var explicit, fallback string
	for _, in := range c.Lineage() {
		switch value := in.String("config"); {
		case value == "" || explicit != "":
		case in.IsSet("config") && value != os.Getenv("MADDY_CONFIG"):
			explicit = value
		default:
			fallback = value
		}
	}
	path, how = maddyconf.Find(explicit)
	if how == "default" && fallback != "" {
		path = fallback
	}
	return path, how
}

// useDNS carries out --dns for those values that every command knows.
func useDNS(j *judge.Judge, dns string) error {
	switch dns {
	case "system":
	case "off":
		j.Gatherer.Exchange, j.Gatherer.Allowlists = nil, nil
	default:
		host, port, err := net.SplitHostPort(dns)
		if err != nil || host == "" || port == "" {
			return usage(fmt.Sprintf("--dns %q; accepted: system, off, HOST:PORT", dns))
		}
		j.Gatherer.Exchange = dnsfacts.NewClient([]string{dns}).Exchange
	}
	return nil
}

// formatOf returns --format if it is one of the accepted words.
func formatOf(c *cli.Context, accepted ...string) (string, error) {
	format := c.String("format")
	if !slices.Contains(accepted, format) {
		return "", usage(fmt.Sprintf("no format %q; accepted: %s", format, strings.Join(accepted, ", ")))
	}
	return format, nil
}

// operands returns the arguments that are no flags. The library stops reading
// flags at the first argument; this sets those that come later.
func operands(c *cli.Context) ([]string, error) {
	rest := c.Args().Slice()
	if len(rest) == 0 || isFlag(rest[0]) { // the latter only after "--"
		return rest, nil
	}
	var names []string
	for len(rest) > 0 {
		arg := rest[0]
		rest = rest[1:]
		switch {
		case arg == "--":
			return append(names, rest...), nil
		case !isFlag(arg):
			names = append(names, arg)
		default:
			used, err := setFlag(c, arg, rest)
			if errors.Is(err, flag.ErrHelp) {
				return nil, cli.Exit(cli.ShowSubcommandHelp(c), 0)
			}
			if err != nil {
				return nil, wrongUsage(c, err, false)
			}
			rest = rest[used:]
		}
	}
	return names, nil
}

func isFlag(arg string) bool { return len(arg) > 1 && arg[0] == '-' }

// setFlag sets one flag and returns how many of the next arguments it took.
func setFlag(c *cli.Context, arg string, next []string) (used int, err error) {
	name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	at := slices.IndexFunc(c.Command.Flags, func(f cli.Flag) bool {
		return slices.Contains(f.Names(), name)
	})
	switch {
	case name == "help" || name == "h":
		return 0, flag.ErrHelp
	case at < 0:
		return 0, fmt.Errorf("flag provided but not defined: -%s", name)
	}
	if _, isBool := c.Command.Flags[at].(*cli.BoolFlag); isBool && !given {
		value, given = "true", true
	}
	if !given {
		if len(next) == 0 {
			return 0, fmt.Errorf("flag needs an argument: -%s", name)
		}
		value, used = next[0], 1
	}
	return used, c.Set(c.Command.Flags[at].Names()[0], value)
}
