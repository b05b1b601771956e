// Package docs embeds the pages about the rules, so that the tools, the sender
// pages behind the help URL and the reader of the repository share one source.
//
// A page is rules/<rule>.md: the title "# <rule>", a summary paragraph, the three
// sections that Page has, and one for operators. A line "{{fix NAME}}" stands for fix/NAME.md
// without its title. Comments name the manual that a step was checked with; they are left out.
package docs

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// Files has the folders rules and fix in English.
//
//go:embed rules/*.md fix/*.md
var Files embed.FS

var (
	section = regexp.MustCompile(`(?m)^## .*$`)
	comment = regexp.MustCompile(`(?s)<!--.*?-->\n`)
	fixLine = regexp.MustCompile(`(?m)^\{\{fix (.*)\}\}$`)
)

// Page is one page in Markdown, cut at its sections; no section has its heading. The section for
// operators, which a translation lacks, is left out.
type Page struct {
	Rule    string
	Summary string // one sentence
	Said    string // what the greeting means, for the sender
	Why     string // the reason, with RFC and section
	Fix     string // what to change; a "### " heading for each server
}

// Rule returns the page of a rule with its fix parts filled in, from Files or from the same folders
// of a translation, whose headings may say anything. An error says that there is no such page or
// that it does not have the form.
func Rule(files fs.FS, name string) (Page, error) {
	title, text, err := Text(files, "rules/"+name+".md")
	if err != nil {
		return Page{}, fmt.Errorf("docs: no page %q: %w", name, err)
	}
	parts := section.Split(text, -1)
	const sections = 4 // for senders
	if title != name || len(parts) < sections {
		return Page{}, fmt.Errorf("docs: rules/%s.md has not its title and %d sections", name, sections)
	}
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	fix := fixLine.ReplaceAllStringFunc(parts[sections-1], func(line string) string {
		_, part, fault := Text(files, "fix/"+fixLine.FindStringSubmatch(line)[1]+".md")
		err = cmp.Or(err, fault)
		return strings.TrimSpace(part)
	})
	return Page{name, parts[0], parts[1], parts[2], fix}, err
}

// Guides are the pages of the folder fix that belong to no single rule.
var Guides = []string{"relay-denied", "reach-us", "relay", "malware", "wait"}

// Text returns the title and the text of a page without its comments.
func Text(files fs.FS, path string) (title, text string, err error) {
	data, err := fs.ReadFile(files, path)
	if err != nil {
		return "", "", err
	}
	whole := comment.ReplaceAllString(string(data), "")
	title, text, _ = strings.Cut(strings.TrimPrefix(whole, "# "), "\n")
	return title, text, nil
}
