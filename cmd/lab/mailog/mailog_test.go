package mailog

import (
	"bytes"
	"testing"

	"maddy.example/checkhelo/module/replay"
)

// Replay reads each message: the good ones were accepted, the others refused.
func TestLog(t *testing.T) {
	var log, again, bad bytes.Buffer
	for _, out := range []*bytes.Buffer{&log, &again} {
		if status := Main(t.Context(), []string{"-lines", "5000", "-hosts", "50"}, out, &bad); status != 0 {
			t.Fatalf("status %d: %s", status, &bad)
		}
	}
	if !bytes.Equal(log.Bytes(), again.Bytes()) {
		t.Error("the log differs from run to run")
	}
	outcomes := make(map[string]int)
	stats, err := replay.Read(t.Context(), []string{"-"}, replay.Options{Stdin: &log}, func(r *replay.Record) error {
		outcomes[r.Outcome]++
		return nil
	})
	if err != nil || stats.Broken != 0 || len(outcomes) != 2 ||
		outcomes[replay.Accepted] < 8*outcomes[replay.Rejected] || outcomes[replay.Rejected] < 50 {
		t.Errorf("%v, %+v, %v", outcomes, stats, err)
	}
	for _, args := range [][]string{{"-hosts", "0"}, {"file"}, {"-x"}} {
		if status := Main(t.Context(), args, &again, &bad); status != 2 {
			t.Errorf("%v: status %d", args, status)
		}
	}
}
