package app

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal, and nothing anywhere else.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(w io.Writer, paths []string) progress {
	if !isTerminal(w) {
		return progress{}
	}
	return progress{progressbar.NewOptions64(sizeOf(paths),
		progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth())}
}

func (p progress) add(n int64) {
	if p.bar != nil {
		// A terminal that does not take the bar is no reason to stop.
		_ = p.bar.Add64(n)
	}
}

func (p progress) done() {
	if p.bar != nil {
		_ = p.bar.Finish()
	}
}

// sizeOf returns how much there is to read, -1 when nobody knows.
func sizeOf(paths []string) (total int64) {
	for _, path := range paths {
		if path == "-" {
			return -1
		}
		err := filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
				total += info.Size()
			}
			return nil
		})
		if err != nil {
			return -1
		}
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSymlink != 0 {
			total += info.Size()
		}
	}
	return total
}
