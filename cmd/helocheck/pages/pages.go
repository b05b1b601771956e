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
	"io/fs"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/docs"
)

//go:embed assets texts en de
var files embed.FS

// Options say what the site is about.
type Options struct {
	Name    string // of the mail service, one line
	Contact string // bare mail address of somebody who helps
	Echo    string // an address of echo_recipients; "" for none
	Logo    string // path of a PNG, JPEG or SVG file; "" for none
	// Langs are some of Languages. The first one is that of index.html; a page in language xx of
	// the others ends in .xx.html.
	Langs []string
	// Rules have their pages, with the reply that each Message says; nil: all of the default policy.
	Rules []checkhelo.Rule
}

// Refusing returns the rules of policies that can answer a sender: those that reject by
// themselves or by points, whatever Policy.Ceiling says. The text is that of the first policy
// under which a rule can do so.
func Refusing(policies ...*checkhelo.Policy) []checkhelo.Rule {
	var list []checkhelo.Rule
	for i := range checkhelo.Rules() {
		for _, p := range policies {
			if r := p.Rules()[i]; refuses(p, &r) {
				list = append(list, r)
				break
			}
		}
	}
	return list
}

// refuses reports whether r rejects under p, alone or with the points of other rules. Points of
// a rule that may not reject do not count (RFC 5321, 4.1.4).
func refuses(p *checkhelo.Policy, r *checkhelo.Rule) bool {
	if r.Action == checkhelo.Reject {
		return true
	}
	if r.Needs&checkhelo.NeedLists != 0 && r.Action != checkhelo.Off {
		return true // a list may have an action of its own
	}
	if r.Action == checkhelo.Greylist {
		return true
	}
	points := max(r.Score, r.IPv6.Score)
	return points > 0 && (p.GreylistScore > 0 ||
		p.RejectScore > 0 && !r.NoReject && r.Most == checkhelo.Off)
}

// maxName is the longest Options.Name, in octets.
const maxName = 200

// site is what all pages share.
type site struct {
	Name, Contact string
	Mailto        string // Contact as a URL has it
	Echo          string // where senders test their server; "" for none
	Logo          string // file name; "" for none
	T             texts
	Main          string  // language of the pages without a suffix
	Others        []texts // the other languages of the site
	logo          []byte
	templates     *template.Template
	table         []checkhelo.Rule
}

// Page returns the file of a page in the language of the site.
func (s *site) Page(name string) string { return s.PageIn(name, s.T) }

// PageIn returns the file of a page in another language.
func (s *site) PageIn(name string, t texts) string {
	if t["Lang"] != s.Main {
		name += "." + t["Lang"]
	}
	return name + ".html"
}

// has reports whether the site has a page of that name.
func (s *site) has(name string) bool {
	is := func(r checkhelo.Rule) bool { return r.Name == name }
	return slices.ContainsFunc(s.table, is) || slices.Contains(plainPages, name) || name == "index"
}

// plainPages belong to no rule.
var plainPages = slices.Concat([]string{"relay-denied", "reach-us"}, docs.Guides)

// view is what one page shows.
type view struct {
	Site  *site
	T     texts
	Name  string // of the page: its file is Site.Page(Name)
	Title string // plain text
}

// Write makes the site in a directory, which is created if need be. Files of
// an earlier site are overwritten, others are left alone.
func Write(dir string, o Options) error {
	out, err := render(o)
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

// render returns all files of the site.
func render(o Options) (map[string][]byte, error) {
	s, all, err := newSite(o)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]byte)
	for _, name := range []string{"style.css", "search.js", "icon.svg"} {
		if out[name], err = files.ReadFile("assets/" + name); err != nil {
			return nil, err
		}
	}
	if s.Logo != "" {
		out[s.Logo] = s.logo
	}
	for i, t := range all {
		s.T, s.Others = t, slices.Concat(all[:i], all[i+1:])
		if err := s.render(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func newSite(o Options) (*site, []texts, error) {
	name := strings.TrimSpace(o.Name)
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, unprintable) {
		return nil, nil, fmt.Errorf("found name %q; accepted: one line of 1 to %d octets", o.Name,
			maxName)
	}
	contact, err := mail.ParseAddress(o.Contact)
	if err != nil || contact.Address != o.Contact {
		return nil, nil, fmt.Errorf("found contact %q; accepted: an address such as"+
			" postmaster@example.org", o.Contact)
	}
	all, err := loadTexts(o.Langs)
	if err != nil {
		return nil, nil, err
	}
	at := strings.LastIndexByte(o.Contact, '@')
	s := &site{
		Name: name, Contact: o.Contact, Echo: o.Echo, Main: o.Langs[0], table: o.Rules,
		Mailto: url.PathEscape(o.Contact[:at]) + "@" + url.PathEscape(o.Contact[at+1:]),
	}
	if s.table == nil {
		s.table = checkhelo.Rules()
	}
	if o.Logo != "" {
		if s.Logo, s.logo, err = readLogo(o.Logo); err != nil {
			return nil, nil, err
		}
	}
	s.templates, err = template.New("").Option("missingkey=error").ParseFS(files, "assets/*.html")
	return s, all, err
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// render adds the pages of one language to out.
func (s *site) render(out map[string][]byte) error {
	rules, err := s.rules()
	if err != nil {
		return err
	}
	for _, r := range rules {
		page := struct {
			view
			*rulePage
		}{s.view(r.Rule, plain(r.summary)), r}
		if out[s.Page(r.Rule)], err = s.execute("rule.html", page); err != nil {
			return err
		}
	}
	index := struct {
		view
		Groups []group
	}{s.view("index", s.T["IndexTitle"]), s.groups(rules)}
	if out[s.Page("index")], err = s.execute("index.html", index); err != nil {
		return err
	}
	for _, name := range plainPages {
		if out[s.Page(name)], err = s.plainPage(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) view(name, title string) view { return view{s, s.T, name, title} }

func (s *site) execute(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	err := s.templates.ExecuteTemplate(&b, name, data)
	return b.Bytes(), err
}

// plainPage makes a page that belongs to no rule.
func (s *site) plainPage(name string) ([]byte, error) {
	path := "/" + name + ".md"
	if slices.Contains(docs.Guides, name) {
		path = "/fix" + path
	}
	lang := ""
	title, text, err := docs.Text(files, s.T["Lang"]+path)
	if errors.Is(err, fs.ErrNotExist) {
		if lang = english; slices.Contains(docs.Guides, name) {
			title, text, err = docs.Guide(name)
		} else {
			title, text, err = docs.Text(files, english+path)
		}
	}
	if err != nil {
		return nil, err
	}
	if s.T["Lang"] == english {
		lang = ""
	}
	body, parts, err := s.toHTML(text)
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
		Lang  string // set where the text is not in the site's language
		Body  template.HTML
		Parts []heading
	}{s.view(name, title), lang, body, parts})
}

// rules returns the pages of all rules, in the order of the table.
func (s *site) rules() ([]*rulePage, error) {
	say := fragments(s.table)
	list := make([]*rulePage, 0, len(s.table))
	for i := range s.table {
		page, err := s.rule(&s.table[i])
		if err != nil {
			return nil, err
		}
		page.Say = say[page.Rule]
		list = append(list, page)
	}
	return list, nil
}
