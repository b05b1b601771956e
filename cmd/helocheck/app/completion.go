package app

import (
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/urfave/cli/v2"
)

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the completion script of a shell",
		ArgsUsage: "bash|zsh|fish",
		Description: "bash: helocheck completion bash > /etc/bash_completion.d/helocheck\n" +
			"zsh:  helocheck completion zsh > /usr/local/share/zsh/site-functions/_helocheck\n" +
			"      (a directory of $fpath; Debian's packages use vendor-completions)\n" +
			"fish: helocheck completion fish > ~/.config/fish/completions/helocheck.fish",
		Action: runCompletion,
	}
}

func runCompletion(c *cli.Context) error {
	shell := c.Args().First()
	write, known := completions[shell]
	if !known || c.Args().Len() != 1 {
		return usage(fmt.Sprintf("completion takes bash, zsh or fish, not %q"+
			" (see: helocheck completion --help)", strings.Join(c.Args().Slice(), " ")))
	}
	words := strings.Fields(strings.TrimSuffix(c.Command.HelpName, c.Command.Name))
	_, err := io.WriteString(c.App.Writer, write(words, Commands()))
	return err
}

// completions write a script for a program: "helocheck", or "maddy" and its command "helo".
var completions = map[string]func(program []string, commands []*cli.Command) string{
	"bash": bashCompletion,
	"zsh": func(program []string, commands []*cli.Command) string {
		return "#compdef " + program[0] + "\nautoload -U +X bashcompinit && bashcompinit\n" +
			bashCompletion(program, commands)
	},
	"fish": fishCompletion,
}

// flagWords is what a shell has to know of one flag.
type flagWords struct {
	names   []string // with their hyphens
	usage   string
	value   bool     // takes one
	choices []string // values to offer
	files   bool     // the value is a file or directory
}

var (
	placeholder = regexp.MustCompile("`([^`]+)`(: (.*))?")
	choice      = regexp.MustCompile(`^[a-z]+$`)
)

// wordsOf reads a flag's usage: "write as `F`: text, json" offers these two,
// a placeholder that names a file offers files.
func wordsOf(flag cli.Flag) flagWords {
	var w flagWords
	for _, name := range flag.Names() {
		hyphens := "--"
		if len(name) == 1 {
			hyphens = "-"
		}
		w.names = append(w.names, hyphens+name)
	}
	doc, ok := flag.(cli.DocGenerationFlag)
	if !ok {
		return w
	}
	w.usage, w.value = strings.ReplaceAll(doc.GetUsage(), "`", ""), doc.TakesValue()
	m := placeholder.FindStringSubmatch(doc.GetUsage())
	if m == nil {
		return w
	}
	for _, name := range []string{"FILE", "DIR", "CONFIG"} {
		w.files = w.files || strings.Contains(m[1], name)
	}
	for _, word := range strings.FieldsFunc(m[3], func(r rune) bool { return r == ',' || r == ';' }) {
		if word, _, _ = strings.Cut(strings.TrimSpace(word), " "); choice.MatchString(word) {
			w.choices = append(w.choices, word)
		}
	}
	return w
}

func visible(commands []*cli.Command) (list []*cli.Command) {
	for _, c := range commands {
		if !c.Hidden {
			list = append(list, c)
		}
	}
	return list
}

// operandsOf returns what a command takes besides flags: words, or files.
func operandsOf(c *cli.Command) (words string, files bool) {
	if strings.Contains(c.ArgsUsage, "FILE") {
		return "", true
	}
	if strings.ToLower(c.ArgsUsage) == c.ArgsUsage {
		return strings.ReplaceAll(c.ArgsUsage, "|", " "), false
	}
	return "", false
}

func bashCompletion(program []string, commands []*cli.Command) string {
	shown := visible(commands)
	names := make([]string, 0, len(shown))
	var values, flags strings.Builder
	for _, c := range shown {
		names = append(names, c.Name)
		var all []string
		for _, flag := range c.VisibleFlags() {
			w := wordsOf(flag)
			all = append(all, w.names...)
			if w.value {
				pattern := `"` + c.Name + " " + strings.Join(w.names, `" | "`+c.Name+" ") + `"`
				fmt.Fprintf(&values, "    %s) %s; return ;;\n", pattern, bashReply(w.choices, w.files))
			}
		}
		words, files := operandsOf(c)
		all = append(all, "--help")
		if words != "" {
			all = append(all, words)
		}
		fmt.Fprintf(&flags, "    %s) %s", c.Name, bashReply(all, false))
		if files {
			flags.WriteString(`; [[ $cur == -* ]] || COMPREPLY=($(compgen -f -- "$cur"))`)
		}
		flags.WriteString(" ;;\n")
	}
	return `_helocheck() {
  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
  if [[ $COMP_CWORD -eq 1 ]]; then
    ` + bashReply(names, false) + `
    return
  fi
  case "${COMP_WORDS[1]} $prev" in
` + values.String() + `  esac
  case "${COMP_WORDS[1]}" in
` + flags.String() + `  esac
}
` + bashRegistration(program)
}

// bashRegistration makes bash call the function. Another completion of the program around stays
// in force for its other commands.
func bashRegistration(program []string) string {
	if len(program) == 1 {
		return "complete -o filenames -F _helocheck " + program[0] + "\n"
	}
	return strings.NewReplacer("PROGRAM", program[0], "COMMAND", program[1]).Replace(
		`_PROGRAM_before=$(complete -p PROGRAM 2>/dev/null | sed -n 's/.* -F \([^ ]*\).*/\1/p')
_PROGRAM_COMMAND() {
  if [[ $COMP_CWORD -lt 2 || ${COMP_WORDS[1]} != COMMAND ]]; then
    COMPREPLY=()
    [[ -z $_PROGRAM_before ]] || "$_PROGRAM_before" "$@"
    [[ $COMP_CWORD -ne 1 || COMMAND != "${COMP_WORDS[1]}"* ]] || COMPREPLY+=(COMMAND)
    return
  fi
  local COMP_WORDS=("${COMP_WORDS[@]:1}") COMP_CWORD=$((COMP_CWORD - 1))
  _helocheck
}
complete -o filenames -F _PROGRAM_COMMAND PROGRAM
`)
}

func bashReply(words []string, files bool) string {
	switch {
	case files:
		return `COMPREPLY=($(compgen -f -- "$cur"))`
	case len(words) > 0:
		return `COMPREPLY=($(compgen -W "` + strings.Join(words, " ") + `" -- "$cur"))`
	}
	return "COMPREPLY=()"
}

func fishCompletion(program []string, commands []*cli.Command) string {
	var b strings.Builder
	complete, first, inside := "complete -c "+program[0], "__fish_use_subcommand", ""
	if len(program) == 1 {
		b.WriteString(complete + " -f\n")
	} else {
		names := make([]string, 0, len(commands))
		for _, c := range visible(commands) {
			names = append(names, c.Name)
		}
		inside = "__fish_seen_subcommand_from " + program[1] + "; and "
		first = "'" + inside + "not __fish_seen_subcommand_from " + strings.Join(names, " ") + "'"
		complete += " -f"
	}
	for _, c := range visible(commands) {
		fmt.Fprintf(&b, "%s -n %s -a %s -d %s\n", complete, first, c.Name, fishQuote(c.Usage))
		when := complete + " -n '" + inside + "__fish_seen_subcommand_from " + c.Name + "'"
		words, files := operandsOf(c)
		switch {
		case files:
			fmt.Fprintf(&b, "%s -F\n", when)
		case words != "":
			fmt.Fprintf(&b, "%s -a %s\n", when, fishQuote(words))
		}
		for _, flag := range c.VisibleFlags() {
			b.WriteString(when + fishFlag(wordsOf(flag)) + "\n")
		}
	}
	return b.String()
}

func fishFlag(w flagWords) string {
	var b strings.Builder
	for _, name := range w.names {
		if long, ok := strings.CutPrefix(name, "--"); ok {
			b.WriteString(" -l " + long)
		} else {
			b.WriteString(" -s " + name[1:])
		}
	}
	switch {
	case w.files:
		b.WriteString(" -r -F")
	case len(w.choices) > 0:
		b.WriteString(" -x -a " + fishQuote(strings.Join(w.choices, " ")))
	case w.value:
		b.WriteString(" -x")
	}
	return b.String() + " -d " + fishQuote(w.usage)
}

func fishQuote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
}
