// Package picture draws the dashboard's panels from a recorded series of
// scrapes (see ../record) as SVG.
//
//	go run ./cmd/lab picture FILE > panels.svg
package picture

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Main draws the picture to stdout. It returns the exit status.
func Main(_ context.Context, args []string, stdout, stderr io.Writer) (status int) {
	if len(args) != 1 || strings.HasPrefix(args[0], "-") {
		fmt.Fprintln(stderr, "usage: go run ./cmd/lab picture FILE")
		if slices.Equal(args, []string{"-h"}) {
			return 0
		}
		return 2
	}
	file, err := os.Open(args[0])
	if err == nil {
		defer file.Close()
		err = run(stdout, file)
	}
	if err != nil {
		fmt.Fprintln(stderr, "picture:", err)
		return 1
	}
	return 0
}

func run(w io.Writer, from io.Reader) error {
	s, err := read(from)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, draw(s))
	return err
}

// panel is one of the dashboard: a metric, split by a label, in events a second.
type panel struct {
	title, metric, label string
	with                 string // only series with this text in their labels
}

var panels = []panel{
	{"Verdicts by action", "verdicts_total", "action", ""},
	{"Refusals by rule", "verdicts_total", "rule", `action="reject"`},
	{"DNS questions by result", "dns_seconds_count", "result", ""},
	{"DNS answers: in the cache or not", "cache_total", "result", ""},
}

// The measures of the picture, in pixels.
const (
	width, height = 880, 560
	top           = 56
	panelW        = 390
	panelH        = 190
	marginX       = 40
	stepX, stepY  = panelW + marginX, panelH + 62
)

// Colours that people who confuse red and green can tell apart.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"}

func draw(s *series) string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" `+
		`font-family="sans-serif" font-size="11">`+"\n", width, height)
	fmt.Fprintf(&b, `<title>Panels of the dashboard</title>`+"\n"+
		`<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	end := s.times[len(s.times)-1]
	fmt.Fprintf(&b, `<text x="%d" y="22" font-size="14">A real Maddy on loopback under synthetic `+
		`traffic: %.0f seconds, %d scrapes</text>`+"\n", marginX, end, len(s.times))
	fmt.Fprintf(&b, `<text x="%d" y="40" fill="#555">From the middle on one host tries again and `+
		`again; in the last quarter the DNS fails. Events a second, averaged over %.0f seconds.</text>`+
		"\n", marginX, window)
	for i, p := range panels {
		x, y := marginX+i%2*stepX, top+i/2*stepY
		fmt.Fprintf(&b, `<g transform="translate(%d,%d)">`+"\n", x, y)
		p.draw(&b, s.split(p), end)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (p panel) draw(b *strings.Builder, lines []line, end float64) {
	highest := 0.0
	for _, l := range lines {
		for _, v := range l.rates {
			highest = max(highest, v.value)
		}
	}
	highest = roundUp(highest)
	fmt.Fprintf(b, `<text x="0" y="12" font-weight="bold">%s</text>`+"\n", p.title)
	const plotTop, plotH = 20, panelH - 20
	for i := range 3 {
		y := plotTop + plotH*i/2
		fmt.Fprintf(b, `<path d="M0 %d H%d" stroke="#ccc"/>`+
			`<text x="-4" y="%d" text-anchor="end">%s</text>`+"\n",
			y, panelW, y+4, number(highest*float64(2-i)/2))
	}
	fmt.Fprintf(b, `<text x="0" y="%d">0 s</text><text x="%d" y="%d" text-anchor="end">%.0f s</text>`+
		"\n", panelH+13, panelW, panelH+13, end)
	x := 0
	for i, l := range lines {
		colour := colours[i%len(colours)]
		var path strings.Builder
		for j, v := range l.rates {
			command := "L"
			if j == 0 {
				command = "M"
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", command, v.at/end*panelW,
				plotTop+plotH*(1-v.value/highest))
		}
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.5"/>`+"\n", &path, colour)
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", x, panelH+28, colour, l.name)
		x += 7*len(l.name) + 10
	}
}

// roundUp is the next of 1, 2, 5, 10, 20, ... not below v.
func roundUp(v float64) float64 {
	for step := 0.1; ; step *= 10 {
		for _, factor := range []float64{1, 2, 5} {
			if v <= step*factor {
				return step * factor
			}
		}
	}
}

func number(v float64) string {
	return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".")
}
