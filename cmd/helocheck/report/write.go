package report

import (
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	html "html/template"
	"io"
	"strings"
	"text/tabwriter"
	"text/template"

	"github.com/dustin/go-humanize"

	"maddy.example/checkhelo/module/heloname"
)

var (
	//go:embed report.txt report.csv report.html
	files embed.FS
	funcs = template.FuncMap{
		"grouped": humanize.Comma, "share": share, "join": strings.Join, "row": csvRow,
		"actions": func() []string { return strongest }, "clean": heloname.Clean,
	}
	texts = template.Must(template.New("").Funcs(funcs).ParseFS(files, "report.txt", "report.csv"))
	// Texts of clients are cleaned, and the template of the page escapes them once more.
	page = html.Must(html.New("report.html").Funcs(funcs).ParseFS(files, "report.html"))
)

// WriteText writes tables for people.
func (r *Report) WriteText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	return errors.Join(texts.ExecuteTemplate(out, "report.txt", r.Sum()), out.Flush())
}

// WriteCSV writes one row for each class, action and rule, each lost message and each note.
func (r *Report) WriteCSV(w io.Writer) error {
	return texts.ExecuteTemplate(w, "report.csv", r.Sum())
}

// WriteHTML writes one page that needs nothing but itself.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r.Sum()) }

// AtLeast writes a number of names or organisations, of which only the first may be known.
func (r *Report) AtLeast(n int) string {
	if r.Exact {
		return humanize.Comma(int64(n))
	}
	return "at least " + humanize.Comma(int64(n))
}

// share writes a part in percent.
func share(n, of int64) string {
	switch {
	case n == 0 || of == 0:
		return "0 %"
	case float64(n)/float64(of) < 0.0001:
		return "<0.01 %"
	default:
		return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(of))
	}
}

// csvRow writes a line of CSV with all columns. A spreadsheet takes no cell for a formula.
func csvRow(cells ...any) string {
	const columns = 17
	var line strings.Builder
	out, texts := csv.NewWriter(&line), make([]string, columns)
	for i, cell := range cells {
		if texts[i] = fmt.Sprint(cell); strings.IndexAny(texts[i], "=+-@") == 0 {
			texts[i] = "'" + texts[i]
		}
	}
	_ = out.Write(texts) // a Builder takes everything
	out.Flush()
	return line.String()
}
