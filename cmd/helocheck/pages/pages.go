// Package pages makes the static site that help_url points to: for each rule a
// page for the sender who was refused, with an index that finds the rule. It
// uses no file but its own, so that the strictest Content-Security-Policy
// will do.
package pages

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"maddy.example/checkhelo"
)

//go:embed assets texts en de
var files embed.FS

// Options say what the site is about.
type Options struct {
	Name    string // of the mail service, one line
	Contact string // bare mail address of somebody who helps
	Logo    string // path of a PNG, JPEG or SVG file; "" for none
	Lang    string // one of Languages
}

// maxName is the longest Options.Name, in octets.
const maxName = 200

// site is what all pages share.
type site struct {
	Name, Contact string
	Mailto        string // Contact as a URL has it
	Logo          string // file name; "" for none
	T             *texts
	logo          []byte
	templates     *template.Template
}

// view is what one page shows.
type view struct {
	Site  *site
	T     *texts
	File  string
	Title string // plain text
	Menu  []menuEntry
}

type menuEntry struct{ File, Title string }

// Write makes the site in a directory, which is created if need be. Files of
// an earlier site are overwritten, others are left alone.
func Write(dir string, o Options) error {
	s, err := newSite(o)
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	out, err := s.render()
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // to be read by a web server
		return fmt.Errorf("pages: %w", err)
	}
	for name, data := range out {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o644); err != nil { //nolint:gosec // as above
			return fmt.Errorf("pages: %w", err)
		}
	}
	return nil
}

func newSite(o Options) (*site, error) {
	name := strings.TrimSpace(o.Name)
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, unprintable) {
		return nil, fmt.Errorf("found name %q; accepted: one line of 1 to %d octets", o.Name, maxName)
	}
	contact, err := mail.ParseAddress(o.Contact)
	if err != nil || contact.Address != o.Contact {
		return nil, fmt.Errorf("found contact %q; accepted: an address such as postmaster@example.org",
			o.Contact)
	}
	t, err := loadTexts(o.Lang)
	if err != nil {
		return nil, err
	}
	at := strings.LastIndexByte(o.Contact, '@')
	s := &site{
		Name: name, Contact: o.Contact, T: t,
		Mailto: url.PathEscape(o.Contact[:at]) + "@" + url.PathEscape(o.Contact[at+1:]),
	}
	if o.Logo != "" {
		if s.Logo, s.logo, err = readLogo(o.Logo); err != nil {
			return nil, err
		}
	}
	s.templates, err = template.ParseFS(files, "assets/*.html")
	return s, err
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// render returns all files of the site.
func (s *site) render() (map[string][]byte, error) {
	out := make(map[string][]byte)
	for _, name := range []string{"style.css", "search.js", "icon.svg"} {
		data, err := files.ReadFile("assets/" + name)
		if err != nil {
			return nil, err
		}
		out[name] = data
	}
	if s.Logo != "" {
		out[s.Logo] = s.logo
	}
	rules, err := s.rules()
	if err != nil {
		return nil, err
	}
	for _, r := range rules {
		page := struct {
			view
			*rulePage
		}{s.view(r.Rule+".html", plain(r.summary)), r}
		if out[page.File], err = s.execute("rule.html", page); err != nil {
			return nil, err
		}
	}
	index := struct {
		view
		Groups []group
	}{s.view("index.html", s.T.IndexTitle), s.groups(rules)}
	if out[index.File], err = s.execute("index.html", index); err != nil {
		return nil, err
	}
	for _, name := range []string{"relay-denied", "reach-us"} {
		if out[name+".html"], err = s.plainPage(name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *site) view(file, title string) view {
	return view{Site: s, T: s.T, File: file, Title: title, Menu: []menuEntry{
		{"index.html", s.T.MenuIndex},
		{"relay-denied.html", s.T.MenuRelay},
		{"reach-us.html", s.T.MenuReach},
	}}
}

func (s *site) execute(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	err := s.templates.ExecuteTemplate(&b, name, data)
	return b.Bytes(), err
}

// plainPage makes a page that belongs to no rule.
func (s *site) plainPage(name string) ([]byte, error) {
	data, err := files.ReadFile(s.T.Lang + "/" + name + ".md")
	if err != nil { // no translation yet
		data, err = files.ReadFile("en/" + name + ".md")
	}
	if err != nil {
		return nil, err
	}
	title, text, found := strings.Cut(strings.TrimPrefix(string(data), "# "), "\n")
	if !found {
		return nil, errors.New(name + ": no title")
	}
	body, _, err := toHTML(text)
	if err != nil {
		return nil, err
	}
	// The name and the address go in where no Markdown is read any more.
	body = template.HTML(strings.NewReplacer( //nolint:gosec // both are escaped
		"{{name}}", template.HTMLEscapeString(s.Name),
		"{{contact}}", `<a href="mailto:`+template.HTMLEscapeString(s.Mailto)+`">`+
			template.HTMLEscapeString(s.Contact)+`</a>`,
	).Replace(string(body)))
	return s.execute("plain.html", struct {
		view
		Body template.HTML
	}{s.view(name+".html", title), body})
}

// rules returns the pages of all rules, in the order of the table.
func (s *site) rules() ([]*rulePage, error) {
	table := checkhelo.Rules()
	say := fragments(table)
	list := make([]*rulePage, 0, len(table))
	for i := range table {
		page, err := s.rule(&table[i])
		if err != nil {
			return nil, err
		}
		page.Say = say[page.Rule]
		list = append(list, page)
	}
	return list, nil
}
