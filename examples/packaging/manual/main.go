// Command manual writes the reference, docs/check.helo_fqdn.md, as the source
// of a manual page: in scdoc, as Maddy's own pages are. Nothing stands in two
// places, so nothing can differ.
//
//	go run ./examples/packaging/manual docs/check.helo_fqdn.md | scdoc > check.helo_fqdn.5
package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: manual FILE.md")
		os.Exit(2)
	}
	page, err := os.ReadFile(os.Args[1]) //nolint:gosec // G703: the caller names the file
	if err == nil {
		_, err = io.WriteString(os.Stdout, convert(string(page)))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "manual:", err)
		os.Exit(1)
	}
}

const head = "check.helo_fqdn(5) \"\" \"Maddy, check of HELO names\"\n"

var (
	comment  = regexp.MustCompile(`(?s)<!--.*?-->\n?`)
	blanks   = regexp.MustCompile(`\n{3,}`)
	numbered = regexp.MustCompile(`^[0-9]+\. `)
	italic   = regexp.MustCompile(`\b_([^_]+)_\b`)
	border   = regexp.MustCompile(`^\|( *:?-+:? *\|)+$`)
)

// convert turns a page into scdoc. Its first heading becomes the page's head.
func convert(page string) string {
	var b strings.Builder
	b.WriteString(head)
	inTable, inCode := false, false
	for line := range strings.SplitSeq(comment.ReplaceAllString(page, ""), "\n") {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "```") {
			inCode = !inCode
			b.WriteString("```\n")
			continue
		}
		if inCode {
			b.WriteString(line + "\n")
			continue
		}
		row := strings.HasPrefix(line, "|")
		if row && !border.MatchString(line) {
			writeRow(&b, line, !inTable)
		}
		inTable = row
		if !row {
			writeLine(&b, line)
		}
	}
	// Blank lines in a row are an error to scdoc.
	return blanks.ReplaceAllString(strings.TrimRight(b.String(), "\n")+"\n", "\n\n")
}

func writeLine(b *strings.Builder, line string) {
	switch {
	case strings.HasPrefix(line, "# "), line == "---":
	case strings.HasPrefix(line, "## "):
		// The names of sections are capitals in a manual.
		b.WriteString("# " + strings.ToUpper(line[3:]) + "\n")
	case strings.HasPrefix(line, "### "):
		b.WriteString("## " + plain(line[4:]) + "\n\n")
	case strings.HasPrefix(line, "- "):
		b.WriteString("- " + inline(line[2:]) + "\n")
	case numbered.MatchString(line):
		b.WriteString(". " + inline(numbered.ReplaceAllString(line, "")) + "\n")
	case strings.HasPrefix(line, "  "):
		b.WriteString("  " + inline(strings.TrimLeft(line, " ")) + "\n")
	default:
		b.WriteString(inline(line) + "\n")
	}
}

// writeRow writes a row of a table; the first one begins it, with a frame.
func writeRow(b *strings.Builder, line string, first bool) {
	row := strings.Trim(strings.TrimSpace(line), "|")
	for i, cell := range strings.Split(strings.ReplaceAll(row, `\|`, "\x00"), "|") {
		mark := ":"
		switch {
		case i == 0 && first:
			mark = "["
		case i == 0:
			mark = "|"
		}
		text := inline(strings.TrimSpace(strings.ReplaceAll(cell, "\x00", "|")))
		b.WriteString(strings.TrimRight(mark+"[ "+text, " ") + "\n")
	}
}

var span = regexp.MustCompile("`[^`]+`" + `|\*\*[^*]+\*\*|\b_[^_]+_\b|!?\[[^\]]*\]\([^)]*\)`)

// inline turns the marks within a line into those of scdoc. Code and bold
// become bold, as manuals have it; of a link to another page its text stays.
func inline(line string) string {
	var b strings.Builder
	for line != "" {
		at := span.FindStringIndex(line)
		if at == nil {
			break
		}
		b.WriteString(escape(line[:at[0]]))
		mark := line[at[0]:at[1]]
		switch mark[0] {
		case '`':
			b.WriteString("*" + escape(mark[1:len(mark)-1]) + "*")
		case '*':
			b.WriteString("*" + escape(mark[2:len(mark)-2]) + "*")
		case '_':
			b.WriteString("_" + escape(mark[1:len(mark)-1]) + "_")
		default:
			b.WriteString(link(mark))
		}
		line = line[at[1]:]
	}
	return b.String() + escape(line)
}

// plain takes the marks away: scdoc knows none in headings.
func plain(line string) string {
	line = strings.ReplaceAll(line, "`", "")
	return italic.ReplaceAllString(line, "$1")
}

func link(mark string) string {
	text, target, _ := strings.Cut(strings.TrimSuffix(strings.TrimLeft(mark, "!["), ")"), "](")
	if strings.Contains(target, "://") {
		return inline(text) + " <" + escape(target) + ">"
	}
	return inline(text)
}

var escape = strings.NewReplacer(`\`, `\\`, "*", `\*`, "_", `\_`, "`", "\\`", "#", `\#`,
	"[", `\[`, "~", `\~`, "+", `\+`).Replace
