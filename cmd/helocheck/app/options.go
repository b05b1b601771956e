package app

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
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

// option declares a flag that takes a value. Names are the long one, and a letter for some.
func option(names, value, usage string) cli.Flag {
	name, letter, _ := strings.Cut(names, " ")
	return &cli.StringFlag{
		Name: name, Aliases: strings.Fields(letter), Value: value, Usage: usage,
	}
}

// repeated declares an option that may be given several times.
func repeated(name, usage string) cli.Flag { return &cli.StringSliceFlag{Name: name, Usage: usage} }

func toggle(name, usage string) cli.Flag {
	return &cli.BoolFlag{Name: name, Usage: usage, DisableDefaultText: true}
}

// policyFlags say what judges.
func policyFlags() []cli.Flag {
	return []cli.Flag{
		oneOf("policy", "judge by preset `P`: %s; beside --config it replaces the preset", "",
			"lenient", "rfc", "strict"),
		option("config c", "", "judge as the maddy.conf `FILE` says, without --policy as the server's"),
		option("check", "", "which check of the file: the `NAME` of its block, or FILE:LINE"),
	}
}

// choice is the value of an option that takes one of some words.
type choice struct {
	value string
	words []string
}

func (c *choice) String() string { return c.value }

// Set refuses what is none of the words.
func (c *choice) Set(text string) error {
	if !slices.Contains(c.words, text) {
		return errors.New("accepted: " + strings.Join(c.words, ", "))
	}
	c.value = text
	return nil
}

// oneOf declares an option that takes one of some words, which its usage lists.
func oneOf(name, usage, value string, words ...string) cli.Flag {
	return &cli.GenericFlag{
		Name: name, Value: &choice{value, words}, Usage: fmt.Sprintf(usage, strings.Join(words, ", ")),
	}
}

// formatFlag chooses one of the formats, the first of which is text.
func formatFlag(formats ...string) cli.Flag {
	return oneOf("format", "write as `F`: %s", "text", formats...)
}

const usualPreset = "rfc"

func isPreset(name string) bool {
	return slices.Contains(checkhelo.Presets, checkhelo.Preset(name))
}

// loadCheck makes the check that the flags name, otherwise that of the server's maddy.conf. A file
// that is missing or has no check and that nobody named, and one that only the server may read,
// leave the preset.
func loadCheck(c *cli.Context) (conf *maddyconf.Config, source string, err error) {
	preset, own := c.String("policy"), c.IsSet("config")
	path, named := serverConfig(c)
	if preset != "" && !named {
		if c.IsSet("check") {
			return nil, "", usage("--check needs --config")
		}
		return load(c, preset, "", "")
	}
	conf, source, err = load(c, preset, path, c.String("check"))
	var absent usage
	switch {
	case errors.Is(err, fs.ErrPermission) && !own,
		errors.As(err, &absent) && !named && !c.IsSet("check"):
		preset = cmp.Or(preset, usualPreset)
		fmt.Fprintf(c.App.ErrWriter, "preset %s is used: %s\n",
			preset, strings.TrimPrefix(err.Error(), "maddyconf: "))
		return load(c, preset, "", "")
	case err == nil && !own:
		fmt.Fprintf(c.App.ErrWriter, "%s is used\n", path)
	}
	return conf, source, err
}

// load makes a check by a preset, by the maddy.conf at path, or by both: the preset then replaces
// that of the file. Warnings about the file are printed. A file that is missing or lacks the check
// is an error of usage. Source names what judges.
func load(
	c *cli.Context, preset, path, name string,
) (conf *maddyconf.Config, source string, err error) {
	if path == "" {
		conf = new(maddyconf.Config)
		conf.Check, err = maddyconf.FromPolicy(preset)
		return conf, preset, err
	}
	conf, err = maddyconf.Load(path, name)
	if errors.Is(err, maddyconf.ErrNoCheck) || errors.Is(err, fs.ErrNotExist) {
		return nil, "", usage(err.Error())
	}
	if err != nil {
		return nil, "", err
	}
	for _, text := range conf.Warnings {
		fmt.Fprintf(c.App.ErrWriter, "%s: %s\n", path, text)
	}
	for _, table := range conf.NotEvaluated {
		fmt.Fprintf(c.App.ErrWriter, "%s: %s\n", path, table)
	}
	if preset != "" {
		j := conf.Check.Judge()
		j.Policy = j.Policy.With(checkhelo.Preset(preset), j.Policy.Ceiling)
		path = preset + " with " + path
	}
	return conf, path, nil
}

// serverConfig returns the path of the server's maddy.conf: that of --config of the command or of
// the program around it ("maddy --config FILE helo ..."), and then named is true, else
// $MADDY_CONFIG, else the default of that program, else Maddy's.
func serverConfig(c *cli.Context) (path string, named bool) {
	env := os.Getenv("MADDY_CONFIG")
	path = cmp.Or(env, "/etc/maddy/maddy.conf")
	for _, in := range c.Lineage() {
		switch value := in.String("config"); {
		case value == "":
		case in.IsSet("config") && value != env:
			return value, true
		case env == "":
			path = value
		}
	}
	return path, false
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

// operands sets the flags, which may stand anywhere before "--", and returns the other arguments.
// The library would stop at the first of these.
func operands(c *cli.Context) (names []string, err error) {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, f := range c.Command.Flags {
		to := func(value string) error { return c.Set(f.Names()[0], value) }
		for _, name := range f.Names() {
			if _, isBool := f.(*cli.BoolFlag); isBool {
				set.BoolFunc(name, "", to)
			} else {
				set.Func(name, "", to)
			}
		}
	}
	rest, last := c.Args().Slice(), []string(nil)
	if at := slices.Index(rest, "--"); at >= 0 {
		rest, last = rest[:at], rest[at+1:]
	}
	for err = set.Parse(rest); err == nil && set.NArg() > 0; err = set.Parse(set.Args()[1:]) {
		names = append(names, set.Arg(0))
	}
	return append(names, last...), err
}
