package app

import (
	"fmt"
	"io"
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

// bashScript asks the program itself, as the library's own scripts do. In a custom Maddy it
// completes Maddy's commands, too.
const bashScript = `_helo_complete() {
  local cur=${COMP_WORDS[COMP_CWORD]}
  local words=("${COMP_WORDS[@]:0:COMP_CWORD}")
  [[ $cur != -* ]] || words+=(-)
  COMPREPLY=($(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur"))
}
complete -o default -F _helo_complete PROGRAM
`

func runCompletion(c *cli.Context) error {
	script := strings.ReplaceAll(bashScript, "PROGRAM", c.App.Name)
	var err error
	switch shell := c.Args().First(); {
	case c.Args().Len() != 1:
		err = usage("completion takes one of bash, zsh, fish")
	case shell == "bash":
	case shell == "zsh":
		script = "#compdef " + c.App.Name + "\nautoload -U +X bashcompinit && bashcompinit\n" + script
	case shell == "fish":
		script, err = c.App.ToFishCompletion()
	default:
		err = usage(fmt.Sprintf("completion takes bash, zsh or fish, not %q", shell))
	}
	if err == nil {
		_, err = io.WriteString(c.App.Writer, script)
	}
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
