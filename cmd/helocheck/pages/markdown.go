package pages

import (
	"bytes"
	"html/template"
	"path"
	"regexp"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// heading is one "### " of a text.
type heading struct{ ID, Title string }

// markdown leaves raw HTML out of its output, which is the library's default.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Table),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
)

var rfc = regexp.MustCompile(`\bRFC\s(\d+)`)

const rfcEditor = "https://www.rfc-editor.org/rfc/rfc"

// toHTML renders a text. Each RFC becomes a link, links between the sources of
// the pages lead to the pages, and links to elsewhere are marked.
func (s *site) toHTML(source string) (html template.HTML, headings []heading, err error) {
	src := []byte(rfc.ReplaceAllString(source, "[RFC\u00a0$1]("+rfcEditor+"$1)"))
	doc := markdown.Parser().Parse(text.NewReader(src))
	err = ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			s.adapt(n)
		case *ast.Heading:
			if id, ok := n.AttributeString("id"); ok {
				id, _ := id.([]byte)
				headings = append(headings, heading{string(id), plain(string(n.Lines().Value(src)))})
			}
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return "", nil, err
	}
	var b bytes.Buffer
	if err := markdown.Renderer().Render(&b, src, doc); err != nil {
		return "", nil, err
	}
	return template.HTML(b.String()), headings, nil //nolint:gosec // our own texts, no raw HTML
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

// inline renders one sentence without paragraph and full stop.
func (s *site) inline(sentence string) (template.HTML, error) {
	html, _, err := s.toHTML(strings.TrimSuffix(sentence, "."))
	cut := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(string(html)), "<p>"), "</p>")
	return template.HTML(cut), err //nolint:gosec // as above
}

// plain returns one sentence as plain text without full stop.
func plain(sentence string) string {
	flat := strings.Join(strings.Fields(sentence), " ")
	return strings.ReplaceAll(strings.TrimSuffix(flat, "."), "`", "")
}
