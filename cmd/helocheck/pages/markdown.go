package pages

import (
	"bytes"
	"errors"
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
