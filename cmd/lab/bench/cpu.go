package bench

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of times in /proc: Linux shows all programs 100 a second.
const tick = 10 * time.Millisecond

// usage of one process, from /proc/PID/stat.
type procStat struct {
	parent int
	ticks  uint64 // of the process and of the children that it has waited for
}

// parseStat reads proc(5) stat. The name in brackets may itself hold brackets.
func parseStat(text string) (procStat, error) {
	i := strings.LastIndexByte(text, ')')
	if i < 0 {
		return procStat{}, fmt.Errorf("bench: stat without a name: %q", text)
	}
	fields := strings.Fields(text[i+1:])
	const parent, utime, cstime = 1, 11, 14 // counted from the state
	if len(fields) <= cstime {
		return procStat{}, fmt.Errorf("bench: stat of %d fields: %q", len(fields), text)
	}
	var s procStat
	var err error
	if s.parent, err = strconv.Atoi(fields[parent]); err != nil {
		return procStat{}, fmt.Errorf("bench: stat: %w", err)
	}
	for _, field := range fields[utime : cstime+1] {
		n, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return procStat{}, fmt.Errorf("bench: stat: %w", err)
		}
		s.ticks += n
	}
	return s, nil
}

// treeCPU returns the processor time of a process, its living descendants, and
// all children that they have waited for.
func treeCPU(root int) (time.Duration, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fmt.Errorf("bench: %w", err)
	}
	all := make(map[int]procStat, len(entries))
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue // it has just ended
		}
		if all[pid], err = parseStat(string(text)); err != nil {
			return 0, err
		}
	}
	if _, ok := all[root]; !ok {
		return 0, fmt.Errorf("bench: process %d has ended", root)
	}
	return time.Duration(sumTree(all, root)) * tick, nil //nolint:gosec // ticks of some minutes
}

func sumTree(all map[int]procStat, root int) (ticks uint64) {
	for pid, s := range all {
		up := pid
		for up > 0 && up != root {
			up = all[up].parent
		}
		if up == root {
			ticks += s.ticks
		}
	}
	return ticks
}

const (
	calmPause = 60 * time.Millisecond
	calmPolls = 3
	calmLimit = 10 * time.Second
)

// calmCPU waits until the tree does nothing any more, calmLimit at most, and returns its
// processor time: Postfix delivers after it has answered.
func calmCPU(ctx context.Context, root int) (time.Duration, error) {
	last, err := treeCPU(root)
	until := time.Now().Add(calmLimit)
	for still := 0; err == nil && still < calmPolls && time.Now().Before(until); still++ {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(calmPause):
		}
		var now time.Duration
		if now, err = treeCPU(root); now != last {
			still = -1
		}
		last = now
	}
	return last, err
}
