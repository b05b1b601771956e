package bench

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// The page has the table between these marks.
const (
	page      = "performance.md"
	beginMark = "<!-- end-to-end -->\n"
	endMark   = "<!-- /end-to-end -->"
)

// write replaces the table, the picture and the list of runs in the docs.
func (b *bench) write(results []result, m machine) error {
	rows := sumUp(results)
	var runs, chart strings.Builder
	if err := writeRuns(&runs, results); err != nil {
		return err
	}
	drawChart(&chart, rows)
	path := filepath.Join(b.docs, page)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	filled, err := between(string(text), "\n"+heading(results, m)+"\n"+table(rows)+"\n")
	if err != nil {
		return fmt.Errorf("bench: %s: %w", path, err)
	}
	if err := os.MkdirAll(filepath.Join(b.docs, "performance"), 0o750); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return errors.Join(
		writeFile(filepath.Join(b.docs, "performance", "end-to-end.csv"), runs.String()),
		writeFile(filepath.Join(b.docs, "performance.svg"), chart.String()), writeFile(path, filled))
}

// between puts text between the marks of a page.
func between(page, text string) (string, error) {
	before, rest, found := strings.Cut(page, beginMark)
	_, after, found2 := strings.Cut(rest, endMark)
	if !found || !found2 {
		return "", fmt.Errorf("no %q and %q", strings.TrimSpace(beginMark), endMark)
	}
	return before + beginMark + text + endMark + after, nil
}

// writeRuns writes every single run as CSV.
func writeRuns(to io.Writer, results []result) error {
	w := csv.NewWriter(to)
	lines := make([][]string, 0, 1+len(results))
	lines = append(lines, []string{"server", "setting", "cache", "side", "pair", "order", "messages",
		"seconds", "msgs_per_s", "cpu_ms_per_msg", "load1"})
	for i := range results {
		r := &results[i]
		lines = append(lines, []string{r.Server, r.Setting, r.Cache, r.Side, strconv.Itoa(r.Pair),
			strconv.Itoa(r.Order), strconv.Itoa(r.Messages), fmt.Sprintf("%.3f", r.Seconds),
			fmt.Sprintf("%.1f", r.Rate()), fmt.Sprintf("%.3f", r.CPU), fmt.Sprintf("%.2f", r.Load)})
	}
	if err := w.WriteAll(lines); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	return nil
}

// heading says where the figures come from.
func heading(results []result, m machine) string {
	low, high := math.Inf(1), 0.0
	pairs, warm, cold := 0, 0, 0
	for i := range results {
		r := &results[i]
		low, high = min(low, r.Load), max(high, r.Load)
		pairs = max(pairs, r.Pair)
		if r.Cache == "cold" {
			cold = r.Messages
		} else {
			warm = r.Messages
		}
	}
	text := fmt.Sprintf("%s. Load average %.1f to %.1f. %d pairs of runs, order turned every other"+
		" pair; %d messages of 1 KiB a run with warm caches, %d with cold ones; one message a"+
		" connection.", m, low, high, pairs, warm, cold)
	return wrap(text, 100) + "\n"
}

// wrap breaks a text into lines of at most width octets.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}

// table is the Markdown table of all contests.
func table(rows []row) string {
	var b strings.Builder
	b.WriteString("| server | setting | cache | messages/s off, on | on/off: median (quartiles)" +
		" | CPU ms/message off, on | on/off: median (quartiles) |\n" +
		"| --- | --- | --- | --- | --- | --- | --- |\n")
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(&b, "| %s | %s | %s | %.0f, %.0f | %s | %.3f, %.3f | %s |\n", r.Server, r.Setting,
			r.Cache, r.RateOff, r.RateOn, ratio(r.RateRatio), r.CPUOff, r.CPUOn, ratio(r.CPURatio))
	}
	return b.String()
}

func ratio(q quartiles) string {
	return fmt.Sprintf("**%.3f** (%.3f to %.3f)", q[1], q[0], q[2])
}

// extent returns the smallest and the largest of all quartiles, and 1.
func extent(all ...quartiles) (low, high float64) {
	low, high = 1, 1
	for _, q := range all {
		low, high = min(low, slices.Min(q[:])), max(high, slices.Max(q[:]))
	}
	return low, high
}
