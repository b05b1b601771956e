package app

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"
)

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
