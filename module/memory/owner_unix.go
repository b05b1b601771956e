//go:build unix

package memory

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// mayWrite returns ErrNotOwner unless this process runs as the owner of the directory and of the
// file in it. Root is nobody's owner: its files would lock the server out.
func mayWrite(path string) error {
	for _, name := range []string{filepath.Dir(path), path} {
		info, err := os.Stat(name)
		if errors.Is(err, fs.ErrNotExist) && name == path {
			return nil
		}
		if err != nil {
			return fmt.Errorf("memory: %w", err)
		}
		stat, ok := info.Sys().(*syscall.Stat_t)
		if ok && int64(stat.Uid) != int64(os.Geteuid()) {
			return fmt.Errorf("%w: %s belongs to user %d; run this as that user",
				ErrNotOwner, name, stat.Uid)
		}
	}
	return nil
}
