package replay

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"slices"
)

const (
	pieceSize   = 4 << 20 // bytes of rows that are sorted at once
	mergeSize   = 4 << 20 // bytes of all buffers of a merge
	leastBuffer = 4 << 10 // bytes of one of them
)

// sorter returns the rows of a table in the order of their times, rows of one time in the order of
// their text, so that the order of the input does not matter. Rows without a readable time come
// first. A table larger than pieceSize is sorted in pieces, which wait in a temporary file.
type sorter struct {
	run    *run
	err    error // of the input; returned behind the last row
	text   []byte
	rows   []timedRow
	file   *os.File // of the pieces; nil: there are none
	size   int64    // of file
	ends   []int64  // of each piece
	pieces merge
	n      int
}

// timedRow is a row in sorter.text.
type timedRow struct {
	at       int64 // nanoseconds since 1970
	from, to int
}

// sortRows reads the rest of the table.
func (r *run) sortRows(c *csvReader) (*sorter, error) {
	s := &sorter{run: r}
	for {
		line, cut, err := r.next()
		if err != nil {
			s.err = err
			break
		}
		if cut {
			r.st.Broken++
			continue
		}
		if len(line) == 0 {
			continue
		}
		if len(s.text) > 0 && len(s.text)+len(line) > pieceSize {
			if err := s.spill(); err != nil {
				s.close()
				return nil, err
			}
		}
		at := int64(math.MinInt64)
		if c.split(line) {
			if t, ok := r.stamp.value(c.field(colTime)); ok {
				at = t.UnixNano()
			}
		}
		s.text = append(s.text, line...)
		s.rows = append(s.rows, timedRow{at, len(s.text) - len(line), len(s.text)})
	}
	s.sort()
	if s.file == nil {
		return s, nil
	}
	err := s.spill()
	if err == nil {
		err = s.open()
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *sorter) sort() {
	slices.SortFunc(s.rows, func(a, b timedRow) int {
		return cmp.Or(cmp.Compare(a.at, b.at), bytes.Compare(s.text[a.from:a.to], s.text[b.from:b.to]))
	})
}

// spill writes the rows into the file as one sorted piece: of each row time, length and text.
func (s *sorter) spill() error {
	if s.file == nil {
		var err error
		if s.file, err = os.CreateTemp("", "helocheck-*"); err != nil {
			return err
		}
	}
	s.sort()
	w := bufio.NewWriter(s.file)
	var head []byte
	for _, row := range s.rows {
		head = binary.AppendVarint(binary.AppendVarint(head[:0], row.at), int64(row.to-row.from))
		// An error stays in w until Flush.
		_, _ = w.Write(head)
		_, _ = w.Write(s.text[row.from:row.to])
		s.size += int64(len(head) + row.to - row.from)
	}
	s.ends = append(s.ends, s.size)
	s.text, s.rows = s.text[:0], s.rows[:0]
	return w.Flush()
}

// open begins to merge the pieces.
func (s *sorter) open() error {
	s.text, s.rows = nil, nil
	buffer := max(leastBuffer, mergeSize/len(s.ends))
	from := int64(0)
	for _, end := range s.ends {
		p := &piece{r: bufio.NewReaderSize(io.NewSectionReader(s.file, from, end-from), buffer)}
		from = end
		switch err := p.next(); {
		case err == nil:
			s.pieces = append(s.pieces, p)
		case !errors.Is(err, io.EOF):
			return err
		}
	}
	heap.Init(&s.pieces)
	return nil
}

// next returns the next row; it is valid until the next call.
func (s *sorter) next() (line []byte, cut bool, err error) {
	if s.run.err != nil {
		return nil, false, s.run.err
	}
	if s.n++; s.n&0x3ff == 0 && s.run.ctx.Err() != nil {
		return nil, false, s.run.ctx.Err()
	}
	if len(s.rows) > 0 {
		row := s.rows[0]
		s.rows = s.rows[1:]
		return s.text[row.from:row.to], false, nil
	}
	if len(s.pieces) == 0 {
		return nil, false, s.err
	}
	p := s.pieces[0]
	s.text = append(s.text[:0], p.line...)
	switch err := p.next(); {
	case errors.Is(err, io.EOF):
		heap.Pop(&s.pieces)
	case err != nil:
		return nil, false, err
	default:
		heap.Fix(&s.pieces, 0)
	}
	return s.text, false, nil
}

func (s *sorter) close() {
	if s.file != nil {
		s.file.Close()
		os.Remove(s.file.Name())
	}
}

// piece is a sorted part of the file at its current row.
type piece struct {
	r    *bufio.Reader
	at   int64
	line []byte
}

func (p *piece) next() (err error) {
	if p.at, err = binary.ReadVarint(p.r); err != nil {
		return err
	}
	size, err := binary.ReadVarint(p.r)
	if err != nil {
		return err
	}
	p.line = slices.Grow(p.line[:0], int(size))[:size]
	_, err = io.ReadFull(p.r, p.line)
	return err
}

// merge is a heap of pieces by their rows.
type merge []*piece

func (m merge) Len() int { return len(m) }

func (m merge) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(m[i].at, m[j].at), bytes.Compare(m[i].line, m[j].line)) < 0
}

func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }

// Push is not used: no piece is added.
func (m *merge) Push(x any) { *m = append(*m, x.(*piece)) }

// Pop removes the last piece.
func (m *merge) Pop() any {
	last := (*m)[len(*m)-1]
	*m = (*m)[:len(*m)-1]
	return last
}
