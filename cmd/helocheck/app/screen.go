package app

import (
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/template"
	"unicode/utf8"

	"github.com/miekg/dns"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// colours are those of a terminal (ECMA-48, 8.3.117), by a word.
var colours = map[string]string{
	"ok": green, "could be better": yellow, selfToFix: red, selfUnknown: yellow, selfSkipped: grey,
	"accept": green, "score": yellow, "greylist": yellow, "wait": yellow, "quarantine": yellow,
	"reject": red, "try later": red, "other": grey,
}

const (
	plain  = "\x1b[39m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	grey   = "\x1b[90m"
)

const (
	usualWidth  = 80
	leastWidth  = 40  // narrower lines cannot be read
	labelColumn = 10  // where the text beside a label begins
	maxShown    = 255 // octets of a text of a client
)

// screen makes lines that a terminal can show.
type screen struct {
	width  int // of a line, in columns
	colour bool
}

// newScreen takes the width of COLUMNS, else that of a terminal of this process, else 80. Colour
// needs w to be a terminal and nobody to ask for plain text (https://no-color.org).
func newScreen(w io.Writer) *screen {
	file, isFile := w.(*os.File)
	s := &screen{colour: isFile && term.IsTerminal(int(file.Fd())) &&
		os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
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

// Text returns a paragraph whose lines begin with indent blanks.
func (s *screen) Text(indent int, text string) string { return s.Row(indent, "", "", text) }

// Field returns a label and the text beside it.
func (s *screen) Field(label, text string) string { return s.Row(labelColumn, label, "", text) }

// Row returns a label, and from a column on text in the colour of a word that continues below
// itself. A label that is too long has a line of its own.
func (s *screen) Row(column int, label, word, text string) string {
	var lines []string
	if label != "" && utf8.RuneCountInString(label) >= column {
		indent := len(label) - len(strings.TrimLeft(label, " "))
		lines, label = append(lines, s.Text(indent, label)), ""
	}
	for _, line := range fold(text, s.width-column) {
		if colour := colours[word]; s.colour && colour != "" {
			line = colour + line + plain
		}
		lines = append(lines, strings.TrimRight(fmt.Sprintf("%-*s%s", column, label, line), " "))
		label = ""
	}
	return strings.Join(lines, "\n")
}

// Hang returns a text that begins behind column, and continues with an indent.
func (s *screen) Hang(column int, text string) string {
	return strings.Join(fold(text, s.width-column), "\n    ")
}

// table folds lines, some with columns that two blanks or more divide. The last column of a line
// that is too wide continues below itself, or where there is no room, on lines of its own.
func (s *screen) table(text string) string {
	const leastColumn = 24
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		indent := len(line) - len(strings.TrimLeft(line, " "))
		at := strings.LastIndex(line, "  ") + len("  ")
		switch {
		case utf8.RuneCountInString(line) <= s.width:
		case at <= indent || at == 1:
			line = s.Text(indent, line)
		case s.width-at >= leastColumn:
			line = s.Row(at, strings.TrimRight(line[:at], " "), "", line[at:])
		default:
			cells := strings.TrimRight(line[:at], " ")
			if utf8.RuneCountInString(cells) > s.width {
				cells = s.Text(indent, cells)
			}
			line = cells + "\n" + s.Text(indent+4, line[at:])
		}
		lines = append(lines, line+"\n")
	}
	return strings.Join(lines, "")
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

// texts are what people read of each command.
var texts = template.New("")

func init() {
	template.Must(texts.Funcs(template.FuncMap{
		"clean": func(text string) string { return heloname.Clean(text, maxShown) },
		"line":  func(text string) string { return heloname.Line(text, maxShown) },
		"tld":   heloname.TLD, "org": heloname.OrgDomain, "reverse": dns.ReverseAddr,
		"unreachable": unreachable, "replace": strings.ReplaceAll, "render": render,
		"bare": func(value any) string { return strings.Trim(fmt.Sprint(value), "[]") },
		"effect": func(r checkhelo.Rule) checkhelo.Effect {
			return checkhelo.Effect{Action: r.Action, Score: r.Score}
		},
	}).ParseFS(textFiles, "*.txt"))
}

// render returns the text of a template, or its error.
func render(name string, data any) string {
	var text strings.Builder
	if err := texts.ExecuteTemplate(&text, name, data); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(text.String())
}

//go:embed *.txt
var textFiles embed.FS

// show writes a value as --format asks for: JSON, or the text of a template.
func show(c *cli.Context, template string, value any) error {
	if c.String("format") == "json" {
		return printJSON(c.App.Writer, value)
	}
	return texts.ExecuteTemplate(c.App.Writer, template, value)
}

func printJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}

// help is the text of --help, a template for the name that the command is called by.
func help(c *cli.Command) string {
	page := struct {
		*screen
		*cli.Command
		Takes   string
		Options [][]string // names, usage
	}{newScreen(nil), c, " " + c.ArgsUsage, nil}
	if len(c.ArgsUsage) > page.width-len("maddy helo completion - Usage: [options]") {
		page.Takes = "\n   " + page.Takes
	}
	for _, flag := range append(c.VisibleFlags(), cli.HelpFlag) {
		names, usage, _ := strings.Cut(flag.String(), "\t")
		page.Options = append(page.Options, []string{"  " + names, usage})
	}
	return render("help", page) + "\n"
}
