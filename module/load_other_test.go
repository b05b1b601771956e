//go:build !linux

package module_test

import "testing"

const noProc = "SKIPPED: needs /proc; leaks are not tested here"

func (*server) descriptors(t *testing.T) int { t.Helper(); t.Skip(noProc); return 0 }

func (*server) resident(t *testing.T) int { t.Helper(); t.Skip(noProc); return 0 }
