package replay

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

const (
	pieceSize   = 4 << 20 // bytes of rows that are sorted at once
	mergeSize   = 4 << 20 // bytes of all buffers of a merge
	leastBuffer = 4 << 10 // bytes of one of them
	keySize     = 16      // hexadecimal digits of a time before its row
)

// sorter puts rows in the order of their times, rows of one time in the order of their text, so
// that the order of the input does not matter. What is larger than pieceSize is sorted in pieces,
// which wait in a temporary file.
type sorter struct {
	rows  []string // behind their times
	size  int      // of rows, in bytes
	file  *os.File // of the pieces; nil: there are none
	sizes []int64  // of each piece
	err   error    // of file
}

// sortRows reads the rest of the table and hands its rows to take. Rows without a readable time
// come first.
func (r *run) sortRows(c *csvReader, take func(line []byte)) error {
	var s sorter
	defer s.close()
	end := r.rows(func(line []byte) {
		at := uint64(0)
		if c.split(line) {
			if t, ok := r.stamp.value(c.field(colTime)); ok {
				at = uint64(t.UnixNano()) ^ 1<<63 // in order for times before 1970 too
			}
		}
		if s.size > 0 && s.size+len(line) > pieceSize {
			s.spill()
		}
		s.rows = append(s.rows, fmt.Sprintf("%0*x%s\n", keySize, at, line))
		s.size += len(line)
	})
	pieces, err := s.pieces()
	if err != nil {
		return err
	}
	for len(pieces) > 0 && r.err == nil && r.ctx.Err() == nil {
		p := pieces[0]
		take(p.Bytes()[keySize:])
		if pieces, err = insert(slices.Delete(pieces, 0, 1), p); err != nil {
			return err
		}
	}
	return end
}

// spill writes the rows into the file as one sorted piece.
func (s *sorter) spill() {
	if s.file == nil && s.err == nil {
		s.file, s.err = os.CreateTemp("", "helocheck-*")
	}
	text := s.text()
	if s.err == nil {
		_, s.err = s.file.WriteString(text)
	}
	s.sizes = append(s.sizes, int64(len(text)))
}

// text returns the sorted rows and forgets them.
func (s *sorter) text() string {
	slices.Sort(s.rows)
	text := strings.Join(s.rows, "")
	s.rows, s.size = s.rows[:0], 0
	return text
}

// pieces opens all pieces, each at its first row, in the order of these rows.
func (s *sorter) pieces() (list []*bufio.Scanner, err error) {
	if s.err != nil {
		return nil, s.err
	}
	buffer := max(leastBuffer, mergeSize/(len(s.sizes)+1))
	inputs := []io.Reader{strings.NewReader(s.text())}
	from := int64(0)
	for _, size := range s.sizes {
		inputs = append(inputs, io.NewSectionReader(s.file, from, size))
		from += size
	}
	for _, in := range inputs {
		p := bufio.NewScanner(in)
		p.Buffer(make([]byte, buffer), buffer+maxLine)
		if list, err = insert(list, p); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// insert puts a piece at its next row, unless there is none, where it belongs.
func insert(list []*bufio.Scanner, p *bufio.Scanner) ([]*bufio.Scanner, error) {
	if !p.Scan() {
		return list, p.Err()
	}
	i, _ := slices.BinarySearchFunc(list, p, func(a, b *bufio.Scanner) int {
		return bytes.Compare(a.Bytes(), b.Bytes())
	})
	return slices.Insert(list, i, p), nil
}

func (s *sorter) close() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
}
