package bench

import (
	"encoding/csv"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestBetween(t *testing.T) {
	text := "a\n" + beginMark + "old\n" + endMark + "b\n"
	got, err := between(text, "new\n")
	if want := "a\n" + beginMark + "new\n" + endMark + "b\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, broken := range []string{"", beginMark, endMark + beginMark} {
		if got, err := between(broken, "new"); err == nil {
			t.Errorf("%q became %q", broken, got)
		}
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"":                 "",
		"one two three":    "one two\nthree",
		"  a  b ":          "a b",
		"incompressible x": "incompressible\nx",
		"1234567 x":        "1234567 x",
		"12345678 x":       "12345678\nx",
	} {
		if got := wrap(text, 9); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestWrite fills a page twice: the second time must change nothing.
func TestWrite(t *testing.T) {
	b := bench{docs: t.TempDir(), err: io.Discard}
	path := filepath.Join(b.docs, page)
	if err := b.write(someResults(), machine{}); err == nil {
		t.Error("wrote without a page")
	}
	if err := os.WriteFile(path, []byte("# x\n\n"+beginMark+endMark+"\nend\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m := machine{Processor: "Abacus", Cores: 2, System: "Debian", Go: "go1", Programs: "Maddy 1"}
	var before string
	for range 2 {
		if err := b.write(someResults(), m); err != nil {
			t.Fatal(err)
		}
		text := readText(path)
		if before != "" && text != before {
			t.Errorf("second time:\n%s", text)
		}
		before = text
	}
	for _, want := range []string{
		"# x\n", "\nend\n", "Abacus, 2 cores, Debian, go1; Maddy 1. Load average 1.0 to 4.0. 4 pairs",
		"| Maddy | policy rfc | warm | 100, 100 | **1.000** (0.750 to 2.500) | 2.000, 3.000 |" +
			" **1.500** (1.250 to 1.750) |\n",
	} {
		if !strings.Contains(before, want) {
			t.Errorf("no %q in\n%s", want, before)
		}
	}
	if svg := readText(filepath.Join(b.docs, "performance.svg")); !strings.HasPrefix(svg, "<svg ") {
		t.Errorf("picture: %.40q", svg)
	}
	file, err := os.Open(filepath.Join(b.docs, "performance", "end-to-end.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, err := csv.NewReader(file).ReadAll()
	if err != nil || len(lines) != 1+len(someResults()) {
		t.Errorf("%d lines, %v", len(lines), err)
	}
	want := "Maddy,policy rfc,warm,rfc,1,1,100,2.000,50.0,4.000,1.00"
	if got := strings.Join(lines[2], ","); got != want {
		t.Errorf("run %q, want %q", got, want)
	}
}

// TestChart reads the picture back: well-formed, nothing outside, each row with its figures.
func TestChart(t *testing.T) {
	var b strings.Builder
	rows := append(sumUp(someResults()), row{Server: "A & B", Setting: "<on>", Cache: "cold",
		RateRatio: quartiles{0.97, 0.98, 0.99}, CPURatio: quartiles{1.1, 1.2, 1.3}})
	drawChart(&b, rows)
	for decoder := xml.NewDecoder(strings.NewReader(b.String())); ; {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, b.String())
		}
	}
	for _, want := range []string{">Maddy, policy strict<", ">A &amp; B, &lt;on&gt;<", ">cold cache<",
		">0.980<", ">1.200<", "prefers-color-scheme: dark"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if n := strings.Count(b.String(), "<circle"); n != 2*len(rows) {
		t.Errorf("%d dots for %d rows", n, len(rows))
	}
	across := regexp.MustCompile(` (?:x|x1|x2|cx)="([^"]+)"`)
	for _, m := range across.FindAllStringSubmatch(b.String(), -1) {
		if x, err := strconv.ParseFloat(m[1], 64); err != nil || x < 0 || x > chartWidth {
			t.Errorf("%s lies outside, %v", m[0], err)
		}
	}
}

func TestScale(t *testing.T) {
	for _, tc := range []struct {
		low, high       float64
		from, to, steps float64
	}{
		{0.98, 1.01, 0.95, 1.05, 0.05},
		{1, 1, 1, 1.05, 0.05},
		{0.6, 1.3, 0.6, 1.3, 0.1},
		{0.31, 1.1, 0.2, 1.2, 0.2},
		{0.2, 9, 0, 10, 2},
	} {
		p := panel{of: func(r *row) quartiles { return r.RateRatio }}
		p.scale([]row{{RateRatio: quartiles{tc.low, 1, tc.high}}})
		const epsilon = 1e-9
		if p.low-tc.from > epsilon || tc.from-p.low > epsilon || p.high-tc.to > epsilon ||
			tc.to-p.high > epsilon || p.step != tc.steps {
			t.Errorf("%v to %v: %v to %v by %v", tc.low, tc.high, p.low, p.high, p.step)
		}
	}
}

func TestMachine(t *testing.T) {
	text := "processor\t: 0\nmodel name\t: Abacus 2\nmodel name\t: Abacus 3\n"
	if got := field(text, "model name", ":"); got != "Abacus 2" {
		t.Errorf("%q", got)
	}
	if got := field(text, "bogomips", ":"); got != "unknown" {
		t.Errorf("%q", got)
	}
	for text, want := range map[string]string{
		"6.1.0-13-amd64\n": "6.1.0", "6.12\n": "6.12", "5.15.90.1-x\n": "5.15.90.1", "": "",
	} {
		if got := plainVersion(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	m := describeMachine("Maddy 1")
	if m.Cores < 1 || !strings.HasPrefix(m.Go, "go") && !strings.HasPrefix(m.Go, "devel") ||
		m.Programs != "Maddy 1" {
		t.Errorf("%+v", m)
	}
	if load := loadAverage(); load < 0 {
		t.Errorf("load %v", load)
	}
}
