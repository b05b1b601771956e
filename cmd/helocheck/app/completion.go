package app

import (
	"fmt"
	"os"
	"slices"
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
	shell := c.Args().First()
	switch script := texts.Lookup("completion " + shell); {
	case c.Args().Len() != 1:
		return usage("completion takes one of bash, zsh, fish")
	case script != nil:
		return script.Execute(c.App.Writer, c.App.Name)
	case shell != "fish":
		return usage(fmt.Sprintf("completion takes bash, zsh or fish, not %q", shell))
	}
	script, err := c.App.ToFishCompletion()
	fmt.Fprint(c.App.Writer, script)
	return err
}

// complete prints what may follow the last word before the cursor.
func complete(c *cli.Context) {
	// The library has cut off its own flag, which the script puts last.
	for _, text := range following(c.Command, os.Args[max(len(os.Args)-2, 0)]) {
		fmt.Fprintln(c.App.Writer, text)
	}
}

// following returns the words that a flag or the command takes, otherwise flags or subcommands, and
// nothing where a file may follow.
func following(command *cli.Command, last string) (words []string) {
	for _, flag := range append(command.VisibleFlags(), cli.HelpFlag) {
		names, value, _ := wordsOf(flag)
		if value != "" && slices.Contains(names, last) {
			return choices(flag)
		}
		words = append(words, names...)
	}
	if takes := command.ArgsUsage; !strings.HasPrefix(last, "-") {
		words = nil
		if takes != "" && takes == strings.ToLower(takes) {
			words = strings.Split(takes, "|")
		}
	}
	for _, sub := range command.VisibleCommands() {
		words = append(words, sub.Name)
	}
	return words
}
