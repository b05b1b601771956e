package exempt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
)

// parseList calls add for each entry among args and in the files that they name.
func parseList(
	args []string, readFile func(path string) ([]byte, error), add func(entry string) error,
) error {
	if readFile == nil {
		readFile = os.ReadFile
	}
	for i := 0; i < len(args); i++ {
		var err error
		switch {
		case args[i] != "file":
			err = add(args[i])
		case i+1 == len(args) || args[i+1] == "":
			err = errors.New(`"file" without a path; ` + accepted)
		default:
			i++ // a file may be called "file"
			err = addFile(args[i], readFile, add)
		}
		if err != nil {
			return fmt.Errorf("exempt: %w", err)
		}
	}
	return nil
}

func addFile(path string, readFile func(string) ([]byte, error), add func(string) error) error {
	data, err := readFile(path)
	if err != nil {
		return err
	}
	text := strings.TrimPrefix(string(data), "\ufeff") // some editors write it
	number := 0
	for line := range strings.Lines(text) {
		number++
		entry, _, _ := strings.Cut(line, "#")
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if err := add(entry); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	return nil
}

// whole has the paths of files whose last line had an end when they were read.
var whole sync.Map

// ReadList returns what is in the file of a list. It fails for a file whose final newline has
// disappeared since it was read before: such a file was probably truncated, and a truncated address
// can be a valid one.
func ReadList(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.HasSuffix(data, []byte("\n")) {
		whole.Store(path, true)
	} else if _, was := whole.Load(path); was {
		return nil, fmt.Errorf("%s:%d: the last line had an end before and has none now, so the file"+
			" may be cut, as on a full disk; accepted: a file that ends with a line feed",
			path, 1+bytes.Count(data, []byte("\n")))
	}
	return data, nil
}
