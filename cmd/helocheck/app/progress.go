package app

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"maddy.example/checkhelo/module/replay"
)

// newProgress returns a bar for the input at paths that shows on a terminal alone.
func newProgress(w io.Writer, paths []string) *progressbar.ProgressBar {
	size, err := replay.Size(paths)
	if err != nil {
		size = -1 // nobody knows
	}
	return progressbar.NewOptions64(size, progressbar.OptionSetVisibility(isTerminal(w)),
		progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true), progressbar.OptionShowCount(),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth())
}
