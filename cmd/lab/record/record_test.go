package record

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A short recording has scrapes, verdicts of each kind, and their lines in the log.
func TestRecord(t *testing.T) {
	dir := t.TempDir()
	const pause = time.Millisecond
	r := recorder{dir: dir, clients: "127.0.2", duration: 60 * pause, pause: pause, every: 10 * pause}
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, wants := range map[string][]string{
		"metrics.txt": {
			"# scrape 0.", `verdicts_total{action="`, `dns_seconds_count{result="`, `cache_total{result="`,
		},
		"maddy.log": {"helo verdict", `"src_ip":"127.0.2.`},
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s has no %s", name, want)
			}
		}
	}
}

func TestNoFolder(t *testing.T) {
	if err := (&recorder{}).run(t.Context()); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("got %v", err)
	}
}
