package bench

import (
	"fmt"
	"html"
	"io"
	"math"
)

// Measures of the picture, in its own units.
const (
	chartWidth  = 960
	leftEdge    = 236 // where the first panel begins
	panelWidth  = 320
	panelGap    = 50
	headHeight  = 84
	rowHeight   = 34
	footHeight  = 48
	textUpwards = 5 // from the middle of a row to its base line
)

const chartHead = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" role="img"
  aria-labelledby="t d">
  <title id="t">What a HELO check costs</title>
  <desc id="d">For each server and setting: messages per second and processor time per message with
    the check, divided by those without it. A bar spans the quartiles, the dot is the median. The
    figures are in the table of performance.md.</desc>
  <style>
    :root { color-scheme: light dark }
    svg { font: 15px system-ui, "DejaVu Sans", sans-serif }
    .page { fill: #ffffff } .lane { fill: #f3f4f6 }
    .grid { stroke: #d1d5db } .one { stroke: #4b5563; stroke-width: 1.5 }
    .ours { fill: #1d4ed8 } .peer { fill: #b45309 }
    .bar { opacity: 0.4 }
    text { fill: #111827 } .dim { fill: #4b5563; font-size: 13px } .head { font-weight: 600 }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117 } .lane { fill: #161b22 }
      .grid { stroke: #30363d } .one { stroke: #9ca3af }
      .ours { fill: #79a8ff } .peer { fill: #f0a35e }
      text { fill: #e6edf3 } .dim { fill: #a8b1bd }
    }
  </style>
  <rect class="page" width="%[1]d" height="%[2]d"/>
`

// panel is one half of the picture: one ratio of all rows.
type panel struct {
	head, hint string
	of         func(*row) quartiles
	left       float64
	low, high  float64 // of the scale
	step       float64 // between two lines of the grid
}

// drawChart draws the ratios of all rows as SVG.
func drawChart(w io.Writer, rows []row) {
	height := headHeight + rowHeight*len(rows) + footHeight
	fmt.Fprintf(w, chartHead, chartWidth, height)
	for i := range rows {
		y := headHeight + rowHeight*i
		if i%2 == 0 {
			fmt.Fprintf(w, "  <rect class=\"lane\" x=\"8\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n",
				y, chartWidth-16, rowHeight)
		}
		name := rows[i].Server + ", " + rows[i].Setting
		fmt.Fprintf(w, "  <text x=\"16\" y=\"%d\">%s</text>\n", y+rowHeight/2-1, html.EscapeString(name))
		fmt.Fprintf(w, "  <text class=\"dim\" x=\"16\" y=\"%d\">%s cache</text>\n",
			y+rowHeight/2+13, rows[i].Cache)
	}
	panels := []panel{
		{head: "messages per second, on / off", hint: "more is better",
			of: func(r *row) quartiles { return r.RateRatio }},
		{head: "processor time per message, on / off", hint: "less is better",
			of: func(r *row) quartiles { return r.CPURatio }},
	}
	for i := range panels {
		panels[i].left = leftEdge + float64(i)*(panelWidth+panelGap)
		panels[i].draw(w, rows)
	}
	fmt.Fprintf(w, "  <text class=\"dim\" x=\"16\" y=\"%d\">bar: first to third quartile of the"+
		" pairs, dot: median</text>\n</svg>\n", height-14)
}

func (p *panel) draw(w io.Writer, rows []row) {
	p.scale(rows)
	fmt.Fprintf(w, "  <text class=\"head\" x=\"%.1f\" y=\"28\">%s</text>\n", p.left, p.head)
	fmt.Fprintf(w, "  <text class=\"dim\" x=\"%.1f\" y=\"48\">%s</text>\n", p.left, p.hint)
	bottom := headHeight + rowHeight*len(rows)
	lines := int(math.Round((p.high - p.low) / p.step))
	for i := range lines + 1 {
		v := p.low + float64(i)*p.step
		class := "grid"
		if math.Abs(v-1) < p.step/2 {
			class = "one"
		}
		fmt.Fprintf(w, "  <line class=\"%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n",
			class, p.x(v), p.x(v), headHeight-6, bottom)
		fmt.Fprintf(w, "  <text class=\"dim\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.4g</text>\n",
			p.x(v), headHeight-12, v)
	}
	for i := range rows {
		p.drawRow(w, &rows[i], float64(headHeight+rowHeight*i)+rowHeight/2)
	}
}

// drawRow draws bar, dot and figure of a row whose middle is at y.
func (p *panel) drawRow(w io.Writer, r *row, y float64) {
	class := "peer"
	if r.Server == "Maddy" {
		class = "ours"
	}
	q := p.of(r)
	fmt.Fprintf(w, "  <rect class=\"%s bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"12\""+
		" rx=\"2\"/>\n", class, p.x(q[0]), y-6, max(p.x(q[2])-p.x(q[0]), 1))
	fmt.Fprintf(w, "  <circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"/>\n", class, p.x(q[1]), y)
	// The figure stands where the panel has room.
	at, anchor := p.x(q[2])+9, "start"
	if at > p.left+panelWidth-44 {
		at, anchor = p.x(q[0])-9, "end"
	}
	fmt.Fprintf(w, "  <text class=\"dim\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%.3f</text>\n",
		at, y+textUpwards, anchor, q[1])
}

// scale chooses round ends round all quartiles and 1.
func (p *panel) scale(rows []row) {
	all := make([]quartiles, 0, len(rows))
	for i := range rows {
		all = append(all, p.of(&rows[i]))
	}
	low, high := extent(all...)
	p.step = 0.05
	for _, step := range []float64{0.1, 0.2, 0.5, 1, 2, 5, 10} {
		const mostLines = 7
		if (high-low)/p.step <= mostLines {
			break
		}
		p.step = step
	}
	const slack = 1e-6 // 0.6 / 0.1 is a little less than 6
	p.low, p.high = math.Floor(low/p.step+slack)*p.step, math.Ceil(high/p.step-slack)*p.step
	if p.high == p.low {
		p.high += p.step
	}
}

// x is where a ratio stands.
func (p *panel) x(v float64) float64 {
	return p.left + (v-p.low)/(p.high-p.low)*panelWidth
}
