package bench

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
)

// machine is where the figures come from.
type machine struct {
	Processor string
	Cores     int
	System    string // distribution and kernel
	Go        string
	Programs  string // that are not part of Maddy, with their versions
}

func describeMachine(programs string) machine {
	return machine{
		Programs:  programs,
		Processor: field(readText("/proc/cpuinfo"), "model name", ":"),
		Cores:     runtime.NumCPU(),
		System: strings.Trim(field(readText("/etc/os-release"), "PRETTY_NAME", "="), `"`) +
			", Linux " + plainVersion(readText("/proc/sys/kernel/osrelease")),
		Go: runtime.Version(),
	}
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s, %s; %s", m.Processor, m.Cores, m.System, m.Go, m.Programs)
}

// plainVersion is the version at the beginning of text, without what a
// distribution or a host added to it.
func plainVersion(text string) string {
	return regexp.MustCompile(`^[0-9]+(\.[0-9]+)*`).FindString(text)
}

// readText returns "" for what cannot be read.
func readText(path string) string {
	text, _ := os.ReadFile(path)
	return string(text)
}

// field returns the value of the first line with that name, "unknown" when there is none.
func field(text, name, separator string) string {
	for line := range strings.Lines(text) {
		key, value, found := strings.Cut(line, separator)
		if found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// loadAverage is that of the last minute; 0 when it cannot be read.
func loadAverage() float64 {
	first, _, _ := strings.Cut(readText("/proc/loadavg"), " ")
	load, err := strconv.ParseFloat(first, 64)
	if err != nil {
		return 0
	}
	return load
}
