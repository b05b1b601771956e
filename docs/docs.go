// Package docs embeds the pages about the rules, so that the tools, the sender
// pages behind the help URL and the reader of the repository share one source.
//
// A page is rules/<rule>.md: the title "# <rule>", a summary paragraph, and the
// four sections that Page has. A line "{{fix NAME}}" stands for fix/NAME.md
// without its title. Comments say what a step was held against; they are left out.
package docs

import (
	"embed"
	"fmt"
	"regexp"
	"strings"
)

//go:embed rules/*.md fix/*.md
var files embed.FS

// The sections of a page, in their order.
const (
	said      = "## What you said\n"
	why       = "## Why it was refused\n"
	fix       = "## How to fix it\n"
	operators = "## For operators\n"
)

// Page is one page in Markdown, cut at its sections; no section has its heading.
type Page struct {
	Rule    string
	Summary string // one sentence
	Said    string // what the greeting means, for the sender
	Why     string // the reason, with RFC and section
	Fix     string // what to change; a "### " heading for each server
	// Operators has the "### " headings Hits, Does not hit, Action, On real mail, To exempt.
	Operators string
}

// Rule returns the page of a rule with its fix parts filled in. An error says
// that there is no such page or that it does not have the form.
func Rule(name string) (Page, error) {
	text, err := read("rules", name)
	if err != nil {
		return Page{}, err
	}
	p := Page{Rule: name}
	rest := text
	fields := []struct {
		to  *string
		end string
	}{{&p.Summary, said}, {&p.Said, why}, {&p.Why, fix}, {&p.Fix, operators}}
	for _, f := range fields {
		before, after, found := strings.Cut(rest, "\n"+f.end)
		if !found {
			return Page{}, fmt.Errorf("docs: rules/%s.md has no %q in its place", name, f.end)
		}
		*f.to, rest = strings.TrimSpace(before), after
	}
	p.Operators = strings.TrimSpace(rest)
	p.Fix, err = expand(p.Fix)
	return p, err
}

// Guides are the names of the pages about a fix that belong to no single rule.
var Guides = []string{"relay", "malware", "wait"}

// Guide returns one of Guides: its title, and its text in Markdown.
func Guide(name string) (title, text string, err error) {
	data, err := files.ReadFile("fix/" + name + ".md")
	if err != nil {
		return "", "", fmt.Errorf("docs: no guide %q: %w", name, err)
	}
	title, text, _ = strings.Cut(strings.TrimPrefix(string(data), "# "), "\n")
	return title, withoutComments(text), nil
}

var comment = regexp.MustCompile(`(?s)<!--.*?-->\n`)

func withoutComments(text string) string { return comment.ReplaceAllString(text, "") }

// read returns a file without its title, which must be the file's name.
func read(dir, name string) (string, error) {
	path := dir + "/" + name + ".md"
	data, err := files.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("docs: no page %q: %w", name, err)
	}
	text, found := strings.CutPrefix(withoutComments(string(data)), "# "+name+"\n")
	if !found {
		return "", fmt.Errorf("docs: %s does not begin with its title", path)
	}
	return text, nil
}

// expand fills in the fix files.
func expand(text string) (string, error) {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		name, found := strings.CutPrefix(line, "{{fix ")
		if !found {
			continue
		}
		part, err := read("fix", strings.TrimSuffix(name, "}}"))
		if err != nil {
			return "", err
		}
		lines[i] = strings.TrimSpace(part)
	}
	return strings.Join(lines, "\n"), nil
}
