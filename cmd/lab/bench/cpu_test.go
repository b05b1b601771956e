package bench

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// stat is a line of /proc/PID/stat up to cstime.
const stat = "42 (a) b) S 7 42 42 0 -1 4194304 100 200 0 0 11 5 3 1 20 0 1 0 99 1000 10"

func TestParseStat(t *testing.T) {
	got, err := parseStat(stat)
	if want := (procStat{parent: 7, ticks: 20}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	for _, text := range []string{
		"", "42 a S 7", "42 (a) S 7", strings.Replace(stat, "S 7", "S x", 1),
		strings.Replace(stat, "11 5 3 1", "11 5 3 -1", 1),
	} {
		if got, err := parseStat(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

func TestSumTree(t *testing.T) {
	all := map[int]procStat{
		1: {0, 1000}, 10: {1, 1}, 11: {10, 2}, 12: {11, 4}, 13: {1, 8}, 14: {99, 16},
	}
	for root, want := range map[int]uint64{10: 7, 11: 6, 13: 8, 1: 1015, 14: 16} {
		if got := sumTree(all, root); got != want {
			t.Errorf("%d: %d, want %d", root, got, want)
		}
	}
}

func TestTreeCPU(t *testing.T) {
	before, err := treeCPU(os.Getpid())
	if err != nil {
		t.Skip("no /proc here: ", err)
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		after, err := treeCPU(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			return
		}
	}
	t.Error("20 s of work took no time")
}

func TestTreeCPUOfNobody(t *testing.T) {
	if got, err := treeCPU(1 << 30); err == nil {
		t.Errorf("%s", got)
	}
	if got, err := calmCPU(t.Context(), 1<<30); err == nil {
		t.Errorf("calm: %s", got)
	}
}

func TestCalmCPUEndsWithItsContext(t *testing.T) {
	if _, err := treeCPU(os.Getpid()); err != nil {
		t.Skip("no /proc here: ", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := calmCPU(ctx, os.Getpid()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
