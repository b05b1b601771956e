package replay

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/lanrat/extsort"
)

const (
	chunkRows = 5_000 // rows that are sorted in memory at once
	keySize   = 16    // hexadecimal digits of a time before its row
)

// sortRows reads the rest of the table and hands its rows to take in the order of their times, rows
// of one time in the order of their text, so that the order of the input does not matter. Rows
// without a readable time come first. A temporary file holds them meanwhile.
func (r *run) sortRows(c *csvReader, take func(line []byte)) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	rows := make(chan string, 100)
	sorter, sorted, failed := extsort.Generic(rows,
		func(text []byte) (string, error) { return string(text), nil },
		func(text string) ([]byte, error) { return []byte(text), nil },
		strings.Compare, &extsort.Config{ChunkSize: chunkRows, TempFilesDir: os.TempDir()})
	if sorter == nil {
		return <-failed
	}
	full, stop := context.WithCancel(ctx) // it takes no more rows: it has all, or has failed
	go func() {
		defer stop()
		sorter.Sort(ctx)
	}()
	end := r.lines(func(line []byte) {
		at := uint64(0)
		if c.split(line) {
			if t, ok := r.stamp.value(c.field("time")); ok {
				at = uint64(t.UnixNano()) ^ 1<<63 // in order for times before 1970 too
			}
		}
		select {
		case rows <- fmt.Sprintf("%0*x%s", keySize, at, line):
		case <-full.Done():
		}
	})
	close(rows)
	for row := range sorted {
		if r.err != nil {
			cancel()
			continue
		}
		take([]byte(row[keySize:]))
	}
	if err := <-failed; err != nil && r.err == nil {
		return err
	}
	return end
}
