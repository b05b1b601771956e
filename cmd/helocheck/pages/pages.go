// Package pages makes the static site that help_url points to: for each rule a page for the sender
// who was refused, with an index that finds the rule. It uses no file but its own, so that the
// strictest Content-Security-Policy will do.
package pages

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/mail"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/docs"
)

//go:embed assets texts de
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

// Refusing returns the rules of a policy that can answer a sender: those that reject by
// themselves or by points, whatever Policy.Ceiling says.
func Refusing(p *checkhelo.Policy) []checkhelo.Rule {
	return slices.DeleteFunc(p.Rules(), func(r checkhelo.Rule) bool {
		alone := r.Action == checkhelo.Reject || r.Action == checkhelo.Greylist
		// A list may have an action of its own.
		listed := r.Needs&checkhelo.NeedLists != 0 && r.Action != checkhelo.Off
		// Points of a rule that may not reject do not count (RFC 5321, 4.1.4).
		points := max(r.Score, r.IPv6.Score) > 0 && (p.GreylistScore > 0 ||
			p.RejectScore > 0 && !r.NoReject && r.Most == checkhelo.Off)
		return !alone && !listed && !points
	})
}

const maxName = 200 // octets of Options.Name

// site is what all pages share.
type site struct {
	Options
	Mailto string            // Contact as a URL has it
	Logo   string            // file name; "" for none
	All    []texts           // of each language
	T      texts             // of the language of the page
	out    map[string][]byte // files by name
}

var templates = template.Must(template.New("").Option("missingkey=error").
	ParseFS(files, "assets/*.html"))

// Page returns the file of a page in the language of the site.
func (s *site) Page(name string) string { return s.PageIn(name, s.T) }

// PageIn returns the file of a page in another language.
func (s *site) PageIn(name string, t texts) string {
	if t["Lang"] != s.Langs[0] {
		name += "." + t["Lang"]
	}
	return name + ".html"
}

// has reports whether the site has a page of that name.
func (s *site) has(name string) bool {
	is := func(r checkhelo.Rule) bool { return r.Name == name }
	return slices.ContainsFunc(s.Rules, is) || slices.Contains(docs.Guides, name)
}

// Write makes the site in a directory, which is created if need be. Files of
// an earlier site are overwritten, others are left alone.
func Write(dir string, o Options) error {
	s, err := newSite(o)
	if err == nil {
		err = os.MkdirAll(dir, 0o755) //nolint:gosec // to be read by a web server
	}
	for name, data := range s.out {
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), data, 0o644) //nolint:gosec // as above
		}
	}
	if err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	return nil
}

// newSite checks the options and makes all files of the site.
func newSite(o Options) (s site, err error) {
	o.Name = strings.TrimSpace(o.Name)
	if o.Name == "" || len(o.Name) > maxName || strings.ContainsFunc(o.Name, unprintable) {
		return s, fmt.Errorf("found name %q; accepted: one line of 1 to %d octets", o.Name, maxName)
	}
	contact, err := mail.ParseAddress(o.Contact)
	if err != nil || contact.Address != o.Contact {
		return s, fmt.Errorf("found contact %q; accepted: an address such as"+
			" postmaster@example.org", o.Contact)
	}
	s = site{Options: o, Mailto: url.PathEscape(o.Contact), out: make(map[string][]byte)}
	if s.Rules == nil {
		s.Rules = checkhelo.Rules()
	}
	for _, name := range []string{"style.css", "search.js", "icon.svg"} {
		s.out[name], _ = files.ReadFile("assets/" + name) // it is embedded
	}
	for i, lang := range o.Langs {
		if languages[lang] == nil || slices.Contains(o.Langs[:i], lang) {
			return s, fmt.Errorf("found language %q; accepted, each once: %s", lang,
				strings.Join(Languages(), ", "))
		}
		s.All = append(s.All, languages[lang])
	}
	if o.Logo != "" {
		err = s.addLogo(o.Logo)
	}
	for _, s.T = range s.All {
		err = errors.Join(err, s.render())
	}
	return s, err
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }

// addLogo gives the logo a name of the site's; its type is that of its name.
func (s *site) addLogo(path string) (err error) {
	kind := strings.ToLower(filepath.Ext(path))
	if !slices.Contains([]string{".png", ".jpg", ".jpeg", ".svg"}, kind) {
		return fmt.Errorf("logo %s; accepted: PNG, JPEG, SVG, named .png, .jpg, .jpeg or .svg", path)
	}
	s.Logo = "logo" + kind
	s.out[s.Logo], err = os.ReadFile(path)
	return err
}

// view is what a template shows.
type view struct {
	Site   *site
	T      texts
	Name   string   // its file is Site.Page(Name)
	Title  string   // plain text
	Lang   string   // set where the text is not in the site's language
	Groups []string // names of texts: the parts of the index
	Rules  []view   // of the index
	Text   markup

	docs.Page        // of a rule, in Markdown
	Code      string // SMTP code and enhanced code
	Reply     string // what the server says
	Program   string // the same to a program or container; "" for no difference
	Say       string // parts of the reply, as the search knows them
	Intro     string // of Fix, before the first server
	Group     string // its part of the index
}

// render adds the pages of one language.
func (s *site) render() error {
	say := fragments(s.Rules)
	index := view{
		Name: "index", Title: s.T["IndexTitle"],
		Groups: []string{"GroupName", "GroupReverse", "GroupRecords"},
	}
	for i := range s.Rules {
		r := &s.Rules[i]
		p, err := s.rule(r, say[r.Name])
		if err == nil {
			err = s.execute("rule.html", p)
		}
		if err != nil {
			return err
		}
		index.Rules = append(index.Rules, p)
	}
	err := s.execute("index.html", index)
	for _, name := range docs.Guides {
		p, fault := s.plainPage(name)
		err = errors.Join(err, fault, s.execute("plain.html", p))
	}
	return err
}

func (s *site) execute(template string, p view) error {
	var b bytes.Buffer
	p.Site, p.T = s, s.T
	err := templates.ExecuteTemplate(&b, template, p)
	s.out[s.Page(p.Name)] = b.Bytes()
	return err
}

// plainPage makes a page that belongs to no rule.
func (s *site) plainPage(name string) (view, error) {
	path := "fix/" + name + ".md"
	files, lang := s.find(path)
	title, text, err := docs.Text(files, path)
	if err != nil {
		return view{}, err
	}
	shown, err := s.Render(text)
	// The name and the address go in where no Markdown is read any more.
	shown.Body = template.HTML(strings.NewReplacer( //nolint:gosec // both are escaped
		"{{name}}", template.HTMLEscapeString(s.Name),
		"{{contact}}", `<a href="mailto:`+template.HTMLEscapeString(s.Mailto)+`">`+
			template.HTMLEscapeString(s.Contact)+`</a>`,
	).Replace(string(shown.Body)))
	return view{Name: name, Title: title, Lang: lang, Text: shown}, err
}

// find returns the texts that have a page, those in the site's language before those in English,
// and their language where it is not the site's.
func (s *site) find(page string) (from fs.FS, foreign string) {
	own, _ := fs.Sub(files, s.T["Lang"]) // no language is an invalid path
	if _, err := fs.Stat(own, page); err == nil {
		return own, ""
	}
	if s.T["Lang"] != english {
		foreign = english
	}
	return docs.Files, foreign
}

const english = "en"

// texts are all words of the frame, from texts/LANG.json: Lang as RFC 5646 writes it, LangName in
// that language, and so on. A translation is such a file. LANG/ may have the pages as well; those
// that it lacks stay English, and say so to screen readers.
type texts map[string]string

// languages are the texts by Lang.
var languages = make(map[string]texts)

func init() {
	entries, err := files.ReadDir("texts")
	for _, e := range entries {
		t := make(texts)
		data, fault := files.ReadFile("texts/" + e.Name())
		err = errors.Join(err, fault, json.Unmarshal(data, &t))
		languages[t["Lang"]] = t
	}
	if err != nil {
		panic(err)
	}
}

// Languages returns what Options.Langs may be, sorted.
func Languages() []string { return slices.Sorted(maps.Keys(languages)) }

// rule makes the page of a rule; its Text is about all servers.
func (s *site) rule(r *checkhelo.Rule, say string) (p view, err error) {
	p = view{Name: r.Name, Code: code(r), Reply: reply(r, r.Message), Say: say, Group: "GroupName"}
	switch r.Needs & (checkhelo.NeedForward | checkhelo.NeedPTR) { // both: proof of a name
	case checkhelo.NeedPTR:
		p.Group = "GroupReverse"
	case checkhelo.NeedForward:
		p.Group = "GroupRecords"
	}
	files, lang := s.find("rules/" + r.Name + ".md")
	p.Lang = lang
	if p.Page, err = docs.Rule(files, r.Name); err != nil {
		return p, err
	}
	p.Title = plain(p.Summary)
	if text := r.Program; text != "" {
		p.Program = reply(r, text)
	}
	intro, servers, found := strings.Cut("\n"+p.Fix, "\n### ")
	if p.Intro = intro; found {
		servers = "### " + servers
	}
	p.Text, err = s.Render(servers)
	return p, err
}

// reply is the answer of a server to a sender, but for the help address.
func reply(r *checkhelo.Rule, message string) string {
	message = strings.NewReplacer("{helo}", "…", "{problem}", "…", "{rule}", r.Name, "{url}", "").
		Replace(message)
	message = strings.TrimSuffix(strings.TrimSpace(message), ". See")
	return code(r) + " " + message
}

func code(r *checkhelo.Rule) string {
	return fmt.Sprintf("%d %d.%d.%d", r.Code, r.Code/100, r.Detail[0], r.Detail[1])
}

// fragments returns for each rule the parts of its replies by which the search knows it, in lower
// case and joined with "|": those that no other text has. Rules with the same text share its parts.
func fragments(table []checkhelo.Rule) map[string]string {
	texts, count := make(map[string]bool), make(map[string]int)
	for i := range table {
		texts[table[i].Message], texts[table[i].Program] = true, true
	}
	for text := range texts {
		for _, part := range partsOf(text) {
			count[part]++
		}
	}
	joined := make(map[string]string, len(table))
	shared := func(part string) bool { return count[part] > 1 }
	for i := range table {
		r := &table[i]
		own := slices.DeleteFunc(partsOf(r.Message+"|"+r.Program), shared)
		joined[r.Name] = strings.Join(own, "|")
	}
	return joined
}

var placeholders = strings.NewReplacer("{helo}", "|", "{problem}", "|", "{rule}", "|", "{url}", "|",
	". ", "|")

// partsOf cuts a reply at what differs from one to the next.
func partsOf(message string) (parts []string) {
	for part := range strings.SplitSeq(placeholders.Replace(strings.ToLower(message)), "|") {
		part = strings.Trim(part, ` "().`)
		if len(part) >= len("is on a block list") && !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return parts
}

// markup is a text as HTML.
type markup struct {
	Body  template.HTML
	Parts []heading
}

// heading is one "### " of a text.
type heading struct{ ID, Title string }

// markdown leaves raw HTML out of its output, which is the library's default.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Table),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
)

var rfc = regexp.MustCompile(`\bRFC\s(\d+)`)

const rfcEditor = "https://www.rfc-editor.org/rfc/rfc"

// Render renders a text. Each RFC becomes a link, links between the sources of
// the pages lead to the pages, and links to elsewhere are marked.
func (s *site) Render(source string) (r markup, err error) {
	src := []byte(rfc.ReplaceAllString(source, "[RFC\u00a0$1]("+rfcEditor+"$1)"))
	doc := markdown.Parser().Parse(text.NewReader(src))
	err = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		switch n := n.(type) {
		case *ast.Link:
			if entering {
				s.adapt(n)
			}
		case *ast.Heading:
			if id, ok := n.AttributeString("id"); ok && entering {
				id, _ := id.([]byte)
				r.Parts = append(r.Parts, heading{string(id), plain(string(n.Lines().Value(src)))})
			}
		}
		return ast.WalkContinue, nil
	})
	var b bytes.Buffer
	err = errors.Join(err, markdown.Renderer().Render(&b, src, doc))
	r.Body = template.HTML(b.String()) //nolint:gosec // our own texts, no raw HTML
	return r, err
}

func (s *site) adapt(link *ast.Link) {
	target := string(link.Destination)
	switch {
	case strings.Contains(target, "://"):
		link.SetAttributeString("rel", "external noopener noreferrer")
	case strings.HasSuffix(target, ".md"):
		name := strings.TrimSuffix(path.Base(target), ".md")
		if !s.has(name) {
			name = "index"
		}
		link.Destination = []byte(s.Page(name))
	}
}

// Inline renders one sentence without paragraph and full stop.
func (s *site) Inline(sentence string) (template.HTML, error) {
	r, err := s.Render(strings.TrimSuffix(sentence, "."))
	cut := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(r.Body)), "<p>"), "</p>")
	return template.HTML(cut), err //nolint:gosec // as above
}

// plain returns one sentence as plain text without full stop.
func plain(sentence string) string {
	flat := strings.Join(strings.Fields(sentence), " ")
	return strings.ReplaceAll(strings.TrimSuffix(flat, "."), "`", "")
}
