// Package app holds the commands of helocheck. A custom Maddy has the same
// commands as "maddy helo".
package app

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/module"
	"maddy.example/checkhelo/module/build"
	"maddy.example/checkhelo/module/heloname"
)

// The exit statuses: the first two of every command, the others of the one named.
const (
	exitFailure     = 1
	exitUsage       = 2 // wrong arguments
	exitUnread      = 2 // replay: nothing of the input could be read
	exitQuarantined = 3 // explain: the message goes to the Junk folder
	exitUnknown     = 3 // self: nothing is to fix as far as known, and not all is known
	exitLater       = 4 // explain: the client has to try later
	exitPart        = 4 // replay: a part of the input could not be read
)

// usage is an error of whoever typed the command.
type usage string

func (u usage) Error() string { return string(u) }

// ExitCode makes usage a cli.ExitCoder: inside Maddy, errors without a code
// of their own end with status 0.
func (u usage) ExitCode() int { return exitUsage }

// Mounted returns the commands as one command of another program, new values at each call.
func Mounted() *cli.Command {
	mounted := &cli.Command{
		Name:  "helo",
		Usage: "build, explain and tune the HELO check of Maddy",
		Subcommands: []*cli.Command{
			explainCommand(), replayCommand(), rulesCommand(), buildCommand(), versionCommand(),
			selfCommand(), memoryCommand(), pagesCommand(), convertCommand(), completionCommand(),
		},
		Action: noCommand,
	}
	for _, command := range mounted.Subcommands {
		finish(command)
	}
	finish(mounted)
	return mounted
}

// finish adds what all commands share, wherever they are mounted. Flags may follow the arguments.
// A command ends with the right status and cleans up after an interrupt: its context is cancelled
// then.
func finish(command *cli.Command) {
	command.Flags = append(command.Flags, toggle("version", "print the version"))
	command.CustomHelpTemplate = help(command)
	command.OnUsageError = wrongUsage
	if command.Subcommands != nil {
		return
	}
	command.HideHelpCommand = true // "help" may be an argument
	command.SkipFlagParsing = true // operands does it
	action := command.Action
	command.Action = func(c *cli.Context) error {
		names, err := operands(c)
		switch {
		case err != nil:
			return wrongUsage(c, err, false)
		case c.Bool("help"):
			return cli.ShowSubcommandHelp(c)
		case c.Bool("version"):
			return runVersion(c)
		case len(names) > 0 && command.ArgsUsage == "":
			return usage(fmt.Sprintf("%s takes no argument %q (see: %s --help)",
				command.Name, names[0], c.Command.HelpName))
		}
		arguments := flag.NewFlagSet("", flag.ContinueOnError)
		_ = arguments.Parse(append([]string{"--"}, names...)) // there is no flag to fail
		ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
		defer stop()
		inner := cli.NewContext(c.App, arguments, c)
		inner.Command, inner.Context = c.Command, ctx
		err = action(inner)
		var coded cli.ExitCoder
		if err == nil || errors.As(err, &coded) {
			return err
		}
		return cli.Exit(err.Error(), exitFailure)
	}
}

func wrongUsage(c *cli.Context, err error, _ bool) error {
	return usage(fmt.Sprintf("%s (see: %s --help)", err, c.Command.HelpName))
}

// Main runs helocheck and returns the exit status: 0, 1 for a failure, 2 for
// wrong usage. Errors are one line on stderr, with details in further lines.
func Main(args []string, stdout, stderr io.Writer) int {
	mounted := Mounted()
	program := &cli.App{
		Name:                  "helocheck",
		CustomAppHelpTemplate: help(mounted),
		Commands:              mounted.Subcommands,
		Flags:                 mounted.Flags,
		Writer:                stdout,
		ErrWriter:             stderr,
		HideVersion:           true, // it has a flag of ours
		EnableBashCompletion:  true,
		ExitErrHandler:        func(*cli.Context, error) {},
		OnUsageError:          wrongUsage,
		Action:                noCommand,
	}
	err := program.Run(args)
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" { // "" where the status alone says it
		fmt.Fprintf(stderr, "helocheck: %s\n", text)
	}
	var coded cli.ExitCoder
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return exitFailure
}

// noCommand is what happens without a command, or with an unknown one.
func noCommand(c *cli.Context) error {
	if c.Bool("version") {
		return runVersion(c)
	}
	problem := "which command?"
	if name := c.Args().First(); name != "" {
		problem = fmt.Sprintf("no command %q", name)
	}
	return usage(fmt.Sprintf("%s (see: %s --help)", problem, c.Command.HelpName))
}

func versionCommand() *cli.Command {
	return &cli.Command{Name: "version", Usage: "print the version of the check", Action: runVersion}
}

func runVersion(c *cli.Context) error {
	s := newScreen(c.App.Writer)
	check := fmt.Sprintf("check.helo_fqdn %s, for Maddy %s", module.Version(), build.DefaultMaddy)
	by := fmt.Sprintf("%s, top-level domains of %s", runtime.Version(), heloname.TLDDate())
	_, err := fmt.Fprintf(c.App.Writer, "%s\n%s\n", s.Text(0, check), s.Text(0, by))
	return err
}

func buildCommand() *cli.Command {
	return &cli.Command{
		Name:  "build",
		Usage: "build a custom Maddy with the HELO check",
		Flags: []cli.Flag{
			option("output o", "maddy", "write the binary to `FILE`"),
			option("maddy", build.DefaultMaddy, "build this `VERSION|DIR` of Maddy"),
			option("tags", "", "build tags `T`, separated by commas"),
			repeated("with", "link in a `PACKAGE[@VERSION|=DIR]`"),
			option("checkhelo", "",
				"source `DIR` of the check; default: this checkout, else this program's version"),
			option("check-version", "",
				"let the check say that it is `VERSION`; default: its release, tag or commit"),
		},
		Action: runBuild,
	}
}

func runBuild(c *cli.Context) error {
	b := build.Builder{
		Maddy:     c.String("maddy"),
		Tags:      c.String("tags"),
		Output:    c.String("output"),
		Checkhelo: c.String("checkhelo"),
		Version:   c.String("check-version"),
		Progress:  func(step string) { fmt.Fprintln(c.App.ErrWriter, step) },
	}
	for _, arg := range c.StringSlice("with") {
		module, err := build.ParseModule(arg)
		if err != nil {
			return usage(err.Error())
		}
		b.With = append(b.With, module)
	}
	return b.Build(c.Context)
}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the completion script of a shell",
		ArgsUsage: "bash|zsh|fish",
		Action:    runCompletion,
	}
}

func runCompletion(c *cli.Context) error {
	shell := strings.Join(c.Args().Slice(), " ")
	if script := texts.Lookup("completion " + shell); script != nil {
		return script.Execute(c.App.Writer, c.App.Name)
	}
	if shell != "fish" {
		return usage(fmt.Sprintf("completion takes bash, zsh or fish, not %q", shell))
	}
	script, err := c.App.ToFishCompletion()
	fmt.Fprint(c.App.Writer, script)
	return err
}
