package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
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
	return stdout.Bytes()
}

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

type counts struct {
	Messages float64 `json:"messages"`
	Actions  map[string]struct {
		Messages float64 `json:"messages"`
	} `json:"actions"`
}

// percent of the messages that these actions were taken on.
func (c counts) percent(actions ...string) (share float64) {
	for _, action := range actions {
		share += 100 * c.Actions[action].Messages / c.Messages
	}
	return share
}

// The limits that the policies were made to keep in the mail of 2002, in percent of the messages.
func TestCorpusLimits(t *testing.T) {
	for policy, limit := range map[string]struct{ rejected, lost, caught float64 }{
		"lenient": {rejected: 0.1, lost: 100},
		"rfc":     {rejected: 100, lost: 1.9, caught: 29},
	} {
		var all struct {
			Classes map[string]counts `json:"classes"`
		}
		if err := json.Unmarshal(replayed(t, policy, "json"), &all); err != nil {
			t.Fatal(err)
		}
		ham, spam := all.Classes["ham"], all.Classes["spam"]
		if ham.Messages != 1688 || spam.Messages != 970 {
			t.Fatalf("%v ham and %v spam", ham.Messages, spam.Messages)
		}
		if got := ham.percent("reject"); got > limit.rejected {
			t.Errorf("%s: %.3f %% of the ham rejected, limit %v %%", policy, got, limit.rejected)
		}
		if got := ham.percent("reject", "quarantine"); got > limit.lost {
			t.Errorf("%s: %.3f %% of the ham lost, limit %v %%", policy, got, limit.lost)
		}
		if got := spam.percent("reject", "quarantine"); got < limit.caught {
			t.Errorf("%s: %.3f %% of the spam caught, at least %v %%", policy, got, limit.caught)
		}
	}
}
