package exempt

import (
	"bytes"
	"fmt"
	"os"
	"sync"
)

// listFiles knows the files whose last line had an end when they were read.
type listFiles struct {
	whole sync.Map // paths
}

var known listFiles

// ReadList returns what is in the file of a list. It fails for a file whose final newline has
// disappeared since it was read before: such a file was probably truncated, and a truncated address
// can be a valid one.
func ReadList(path string) ([]byte, error) { return known.read(path) }

func (l *listFiles) read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.HasSuffix(data, []byte("\n")) {
		l.whole.Store(path, true)
	} else if _, was := l.whole.Load(path); was {
		return nil, fmt.Errorf("%s:%d: the last line had an end before and has none now, so the file"+
			" may be cut, as on a full disk; accepted: a file that ends with a line feed",
			path, 1+bytes.Count(data, []byte("\n")))
	}
	return data, nil
}
