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
	_, err := io.WriteString(c.App.Writer, write(Commands()))
	return err
}

var completions = map[string]func([]*cli.Command) string{
	"bash": bashCompletion,
	"zsh": func(commands []*cli.Command) string {
		return "#compdef helocheck\nautoload -U +X bashcompinit && bashcompinit\n" +
			bashCompletion(commands)
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

func bashCompletion(commands []*cli.Command) string {
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
complete -o filenames -F _helocheck helocheck
`
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

func fishCompletion(commands []*cli.Command) string {
	var b strings.Builder
	b.WriteString("complete -c helocheck -f\n")
	for _, c := range visible(commands) {
		fmt.Fprintf(&b, "complete -c helocheck -n __fish_use_subcommand -a %s -d %s\n",
			c.Name, fishQuote(c.Usage))
		when := "complete -c helocheck -n '__fish_seen_subcommand_from " + c.Name + "'"
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
