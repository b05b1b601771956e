package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

const (
	saidWidth   = 36 // columns
	clientWidth = 9
	rfcWidth    = 8
	replyWidth  = 52
)

// Terminal colours by the first digit of a reply.
const (
	green, yellow, red = "\x1b[32m", "\x1b[33m", "\x1b[31m"
	plain              = "\x1b[0m"
)

// table prints one row for each greeting.
type table struct {
	out    io.Writer
	colour bool
	whole  bool // replies in full length
}

// wantsColour obeys NO_COLOR (no-color.org) and keeps files and pipes plain.
func wantsColour(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" &&
		term.IsTerminal(int(file.Fd()))
}

func (t *table) head() {
	t.line("said", "client", "rfc", "reply with policy strict", "rule")
	rule := strings.Repeat("-", saidWidth)
	t.line(rule, rule[:clientWidth], rule[:rfcWidth], strings.Repeat("-", replyWidth),
		rule[:len("literal_mismatch")])
}

func (t *table) line(said, client, rfc, reply, rule string) {
	text := fmt.Sprintf("%-*s  %-*s  %-*s  %-*s  %s",
		saidWidth, said, clientWidth, client, rfcWidth, rfc, replyWidth, reply, rule)
	fmt.Fprintln(t.out, strings.TrimRight(text, " "))
}

// row prints a greeting, and what was expected where something else came.
func (t *table) row(g greeting, o outcome) {
	said, replies := g.said(), wrap(t.reply(o), replyWidth)
	client, rfc, rule := g.client, o.rfc, o.Rule
	if o.Action == "quarantine" {
		rule += " (Junk)"
	}
	for i := range max(len(said), len(replies)) {
		t.line(at(said, i), client, rfc, t.paint(o.code, at(replies, i)), rule)
		client, rfc, rule = "", "", ""
	}
	if !g.matches(o) {
		fmt.Fprintf(t.out, "  ^ NOT AS EXPECTED: code %d, rule %q\n", g.code, g.rule)
	}
}

// said is the greeting with its note, in two lines where one is too short.
func (g greeting) said() []string {
	verb := "HELO "
	if g.login {
		verb = "EHLO "
	}
	said := strings.TrimRight(verb+g.helo, " ")
	note := "(" + g.note + ")"
	switch {
	case g.note == "":
		return []string{said}
	case len(said)+1+len(note) > saidWidth:
		return []string{said, "     " + note}
	default:
		return []string{said + " " + note}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// reply is what the client read: the first sentence, which says what is wrong.
func (t *table) reply(o outcome) string {
	text := fmt.Sprintf("%d %s", o.code, o.text)
	if t.whole {
		return text
	}
	first, _, _ := strings.Cut(text, ". ")
	return first
}

// paint fills the text up to the column first, for escape sequences have a length but
// no width.
func (t *table) paint(code int, text string) string {
	if !t.colour {
		return text
	}
	colour := red
	switch code / 100 {
	case 2:
		colour = green
	case 4:
		colour = yellow
	}
	return colour + fmt.Sprintf("%-*s", replyWidth, text) + plain
}

// wrap breaks text between words into lines of at most width octets; a longer word
// stays whole.
func wrap(text string, width int) (lines []string) {
	var line string
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
