package report

import (
	_ "embed"
	"html/template"
	"io"

	"maddy.example/checkhelo/module/heloname"
)

//go:embed report.html
var pageText string

// page shows a Report. Texts of clients are cleaned, and the template escapes them once more.
var page = template.Must(template.New("report").Funcs(template.FuncMap{
	"grouped": grouped, "share": share, "bar": bar,
	"actions": func() []string { return strongest },
	"clean":   func(name string) string { return heloname.Clean(name, maxName) },
}).Parse(pageText))

// strongest are the actions, the strongest first.
var strongest = []string{"reject", "quarantine", "greylist", "score", "none"}

// WriteHTML writes one page that needs nothing but itself.
func (t *Tally) WriteHTML(w io.Writer) error { return page.Execute(w, t.Report()) }

// Part is a piece of a bar, in percent of its width or height.
type Part struct {
	Action     string
	X, Y, W, H float64
	Messages   int64
	Text       string
}

// bar divides a row by action, strongest first; whole fills its width.
func bar(counts map[string]int64, whole int64) (parts []Part) {
	x := 0.0
	for _, action := range strongest {
		n := counts[action]
		if n == 0 {
			continue
		}
		const visible = 0.4 // percent
		w := max(100*float64(n)/float64(whole), visible)
		parts = append(parts, Part{Action: action, X: x, W: w, H: 100, Messages: n})
		x += w
	}
	return parts
}

// Bar returns the shares of a class's actions.
func (c *Class) Bar() []Part {
	counts := make(map[string]int64)
	for action, n := range c.Actions {
		counts[action] = n.Messages
	}
	return bar(counts, c.Messages)
}
