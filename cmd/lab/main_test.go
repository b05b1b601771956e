package main

import (
	"io"
	"strings"
	"testing"
)

func TestUsage(t *testing.T) {
	for _, args := range [][]string{nil, {"nothing"}, {"-h"}} {
		var said strings.Builder
		if status := run(t.Context(), args, io.Discard, &said); status != 2 ||
			!strings.Contains(said.String(), "bench, corpus, fit, mailog, manual, picture, record") {
			t.Errorf("%q: status %d, %q", args, status, said.String())
		}
	}
}

// Every command takes -h, and ends with status 2 where it does not know a flag.
func TestCommands(t *testing.T) {
	for name := range commands {
		for flag, want := range map[string]int{"-h": 0, "-nothing": 2} {
			var said strings.Builder
			status := run(t.Context(), []string{name, flag}, &said, &said)
			if status != want || !strings.Contains(said.String(), "lab "+name) {
				t.Errorf("%s %s: status %d, %q", name, flag, status, said.String())
			}
		}
	}
}
