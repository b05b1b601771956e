package picture

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

const recording = `# scrape 0.0
maddy_helo_fqdn_cache_total{result="hit"} 10
# scrape 2.0
maddy_helo_fqdn_cache_total{result="hit"} 14
maddy_helo_fqdn_verdicts_total{action="reject",module="m",rule="not_fqdn"} 6
maddy_helo_fqdn_verdicts_total{action="none",module="m",rule="none"} 8
# scrape 4.0
maddy_helo_fqdn_verdicts_total{action="reject",module="m",rule="not_fqdn"} 7
# scrape 20.0
maddy_helo_fqdn_verdicts_total{action="reject",module="m",rule="bare_ip"} 32
`

func TestRates(t *testing.T) {
	s, err := read(strings.NewReader(recording))
	if err != nil {
		t.Fatal(err)
	}
	got := s.split(panels[1])
	if len(got) != 2 || got[0].name != "bare_ip" || got[1].name != "not_fqdn" {
		t.Fatalf("rules %+v", got)
	}
	for i, want := range []point{{2, 3}, {4, 1.75}, {20, 0}} {
		if got[1].rates[i] != want {
			t.Errorf("not_fqdn: %+v, want %+v", got[1].rates[i], want)
		}
	}
	if last := got[0].rates[2]; last != (point{20, 2}) {
		t.Errorf("bare_ip: %+v", last)
	}
	if cache := s.split(panels[3]); len(cache) != 1 || cache[0].rates[0].value != 2 {
		t.Errorf("cache %+v", cache)
	}
}

func TestRead(t *testing.T) {
	for text, want := range map[string]string{
		"# scrape x\n":           "line 1",
		"a 1\n":                  "no series",
		"# scrape 0\nab\n":       "line 2",
		"# scrape 0\na{b=\"c\"}": "no series",
	} {
		if _, err := read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := read(strings.NewReader("# scrape 0\n")); !errors.Is(err, errEmpty) {
		t.Errorf("one scrape: %v", err)
	}
}

func TestRoundUp(t *testing.T) {
	for v, want := range map[float64]float64{0: 0.1, 0.3: 0.5, 1: 1, 7: 10, 11: 20} {
		if got := roundUp(v); got < want*0.999 || got > want*1.001 {
			t.Errorf("roundUp(%v) = %v, want %v", v, got, want)
		}
	}
}

// The picture in the repository is the one that its recording gives.
func TestPicture(t *testing.T) {
	file, err := os.Open("../../../examples/monitoring/testdata/metrics.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var b strings.Builder
	if err := run(&b, file); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("../../../examples/monitoring/panels.svg")
	if err != nil || b.String() != string(want) {
		t.Errorf("panels.svg is another (%v): go run ./cmd/lab picture"+
			" examples/monitoring/testdata/metrics.txt > examples/monitoring/panels.svg", err)
	}
	decoder := xml.NewDecoder(strings.NewReader(b.String()))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range panels {
		if !strings.Contains(b.String(), ">"+p.title+"<") {
			t.Errorf("no panel %s", p.title)
		}
	}
}
