package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"maddy.example/checkhelo/cmd/helocheck/app"
)

var update = flag.Bool("update", false, "write what is counted now into the golden files")

var corpus = filepath.Join("testdata", "corpus-2002.csv")

// replayed is what replay prints about the corpus of 2002 under a policy.
func replayed(t *testing.T, policy, format string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := app.Main([]string{
		"helocheck", "replay", "--policy", policy, "--dns", "recorded", "--format", format, corpus,
	}, &stdout, &stderr)
	if status != 0 {
		t.Fatalf("status %d: %s", status, &stderr)
	}
	return lostRows.ReplaceAll(stdout.Bytes(), nil) // docs/accuracy.md names them
}

var lostRows = regexp.MustCompile(`(?m)^\w+,lost,.*\n`)

// A change of behaviour shows as a change of these counts.
func TestCorpus(t *testing.T) {
	for _, policy := range []string{"lenient", "rfc", "strict"} {
		t.Run(policy, func(t *testing.T) {
			got := replayed(t, policy, "csv")
			path := filepath.Join("testdata", "corpus-2002."+policy+".golden")
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s is stale; run go test ./cmd/helocheck -run TestCorpus -update\nhave:\n%s",
					path, got)
			}
		})
	}
}
