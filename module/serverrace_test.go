package module_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// addRaceFlag makes the go command build with the race detector.
func addRaceFlag() error {
	return os.Setenv("GOFLAGS", strings.TrimSpace(os.Getenv("GOFLAGS")+" -race"))
}

// watchRaces returns what has a server write its races into files, and looks into
// them when it has ended.
func watchRaces(t *testing.T) (env string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "race")
	t.Cleanup(func() {
		files, err := filepath.Glob(path + ".*")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			ours, others := races(string(text))
			for _, report := range others {
				t.Logf("a race of Maddy's own:\n%s", report)
			}
			for _, report := range ours {
				t.Errorf("a race in the check:\n%s", report)
			}
		}
	})
	return "GORACE=exitcode=0 atexit_sleep_ms=100 log_path=" + path
}

// races parts the reports of a race detector by whether the check has a frame in them.
func races(text string) (ours, others []string) {
	for _, report := range strings.Split(text, "==================\n") {
		switch {
		case !strings.Contains(report, "WARNING: DATA RACE"):
		case strings.Contains(report, "maddy.example/checkhelo"):
			ours = append(ours, report)
		default:
			others = append(others, report)
		}
	}
	return ours, others
}

func TestRaces(t *testing.T) {
	const report = `==================
WARNING: DATA RACE
Write at 0x00c0000b4010 by goroutine 9:
  FUNCTION()
      file.go:10 +0x33

Previous read at 0x00c0000b4010 by goroutine 7:
  github.com/foxcpp/maddy/framework/log.(*Logger).Msg()
      github.com/foxcpp/maddy@v0.9.5/framework/log/log.go:90 +0x44
==================
`
	text := strings.ReplaceAll(report, "FUNCTION", "github.com/foxcpp/maddy.handleSignals") +
		"Found 1 data race(s)\n" +
		strings.ReplaceAll(report, "FUNCTION", "maddy.example/checkhelo/module.(*Check).facts")
	ours, others := races(text)
	if len(ours) != 1 || !strings.Contains(ours[0], "(*Check).facts") {
		t.Errorf("of ours: %q", ours)
	}
	if len(others) != 1 || !strings.Contains(others[0], "handleSignals") {
		t.Errorf("of others: %q", others)
	}
}
