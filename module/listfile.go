package module

import (
	"bytes"
	"fmt"
	"os"
	"sync"
)

// listFiles knows the files whose last line had an end when they were read. A
// reload must not take what a full disk leaves of one: of 127.0.2.16 the half
// 127.0.2.1 is an address, too, and what came after it is lost.
type listFiles struct {
	whole sync.Map // paths
}

var networkFiles listFiles

// read returns what is in a file, and an error where it has lost its end.
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
