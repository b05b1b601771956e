package app

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// The colours of a terminal (ECMA-48, 8.3.117).
const (
	plain  = "\x1b[39m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	grey   = "\x1b[90m"
)

const (
	usualWidth = 80
	leastWidth = 40 // narrower lines cannot be read
)

// screen writes lines that a terminal can show.
type screen struct {
	io.Writer
	width  int // of a line, in columns
	colour bool
}

// newScreen takes the width of COLUMNS, else that of a terminal of this process, else 80. Colour
// needs w to be a terminal and nobody to ask for plain text (https://no-color.org).
func newScreen(w io.Writer) *screen {
	s := &screen{w, 0, isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
	s.width, _ = strconv.Atoi(os.Getenv("COLUMNS"))
	for _, file := range []*os.File{os.Stdout, os.Stderr} {
		if s.width <= 0 {
			s.width, _, _ = term.GetSize(int(file.Fd()))
		}
	}
	if s.width <= 0 {
		s.width = usualWidth
	}
	s.width = max(s.width, leastWidth)
	return s
}

// isTerminal reports whether somebody looks at what is written to w.
func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// text writes a paragraph whose lines begin with indent blanks.
func (s *screen) text(indent int, text string) { s.row(indent, "", "", text) }

// Where the text beside a label, and beside the name of a rule, begins.
const (
	labelColumn = 10
	ruleColumn  = 18
)

func (s *screen) field(label, text string) { s.row(labelColumn, label, "", text) }

// row writes a label, and from a column on text that continues below itself. A label that is too
// long has a line of its own.
func (s *screen) row(column int, label, colour, text string) {
	if label != "" && utf8.RuneCountInString(label) >= column {
		s.text(0, label)
		label = ""
	}
	for _, line := range fold(text, s.width-column) {
		if s.colour && colour != "" {
			line = colour + line + plain
		}
		fmt.Fprintln(s, strings.TrimRight(fmt.Sprintf("%-*s%s", column, label, line), " "))
		label = ""
	}
}

// table writes lines, some with columns that two blanks or more divide. The last column of a line
// that is too wide continues below itself, or where there is no room, on lines of its own.
func (s *screen) table(text string) {
	const leastColumn = 24
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		at := strings.LastIndex(line, "  ") + len("  ")
		switch {
		case utf8.RuneCountInString(line) <= s.width:
			fmt.Fprintln(s, line)
		case at <= indent || at == 1:
			s.text(indent, line)
		case s.width-at >= leastColumn:
			s.row(at, strings.TrimRight(line[:at], " "), "", line[at:])
		default:
			s.text(indent, line[:at])
			s.text(indent+4, line[at:])
		}
	}
}

// fold breaks text between words, or within a word that is wider than a line. It returns at least
// one line.
func fold(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && utf8.RuneCountInString(line+" "+word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
		for runes := []rune(line); len(runes) > width; runes = runes[width:] {
			lines, line = append(lines, string(runes[:width])), string(runes[width:])
		}
	}
	return append(lines, line)
}

// help is the text of --help, a template for the name that the command is called by.
func help(c *cli.Command) string {
	const nameColumns, column = 24, 24 // "maddy helo completion - "
	var b strings.Builder
	s := newScreen(&b)
	fmt.Fprintf(s, "{{.HelpName}} - %s\n", strings.Join(fold(c.Usage, s.width-nameColumns), "\n    "))
	if len(c.Subcommands) > 0 {
		fmt.Fprintf(s, "\nUsage: {{.HelpName}} COMMAND [options]\n\nCommands:\n")
		for _, sub := range c.Subcommands {
			s.row(column-8, "  "+sub.Name, "", sub.Usage)
		}
	} else {
		separator := " "
		if len(c.ArgsUsage) > s.width-nameColumns-len("Usage: [options]") {
			separator = "\n    "
		}
		fmt.Fprintf(s, "\nUsage: {{.HelpName}} [options]%s%s\n", separator, c.ArgsUsage)
	}
	for paragraph := range strings.SplitSeq(c.Description, "\n\n") {
		if paragraph != "" {
			fmt.Fprintln(s)
			s.text(0, paragraph)
		}
	}
	fmt.Fprintln(s, "\nOptions:")
	for _, flag := range append(c.VisibleFlags(), cli.HelpFlag) {
		names, value, usage := wordsOf(flag)
		switch f := flag.(type) {
		case *cli.StringFlag:
			if f.Value != "" {
				usage += fmt.Sprintf(" (default: %s)", f.Value)
			}
		case *cli.DurationFlag:
			usage += fmt.Sprintf(" (default: %s)", f.Value)
		}
		s.row(column, strings.TrimRight("  "+strings.Join(names, ", ")+" "+value, " "), "", usage)
	}
	return b.String()
}
