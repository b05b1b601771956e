//go:build unix

package dnsfacts

import (
	"sync"
	"syscall"
)

// descriptors returns how many files the process may open.
var descriptors = sync.OnceValue(func() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 20
	}
	return int(min(uint64(limit.Cur), 1<<20)) //nolint:unconvert // int64 on some systems
})
