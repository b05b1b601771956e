package replay

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/lanrat/extsort"
)

// csvReader reads one table. Rows are single lines: a quoted line break would
// let one stray quote swallow the rest of the file.
type csvReader struct {
	stamp  *stamper
	comma  byte
	where  map[string]int // the index of each column
	fields [][]byte
}

// isCSV reports whether the first line names the two columns that a table needs.
func isCSV(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	var c csvReader
	return c.header(chomp(line))
}

// header reads the names of the columns. The first comma, semicolon or tab is their separator.
func (c *csvReader) header(line []byte) bool {
	i := bytes.IndexAny(line, ",;\t")
	if i < 0 {
		return false
	}
	c.comma, c.where = line[i], make(map[string]int)
	ok := c.split(bytes.ToLower(line))
	for i, name := range c.fields {
		c.where[string(bytes.TrimSpace(name))] = i
	}
	return ok && c.has("helo") && c.has("ip")
}

func (c *csvReader) has(column string) bool {
	_, ok := c.where[column]
	return ok
}

// split cuts a row into fields; only rows with quotes need encoding/csv.
func (c *csvReader) split(line []byte) bool {
	c.fields = c.fields[:0]
	if bytes.IndexByte(line, '"') < 0 {
		for field := range bytes.SplitSeq(line, []byte{c.comma}) {
			c.fields = append(c.fields, field)
		}
		return true
	}
	cr := csv.NewReader(bytes.NewReader(line))
	cr.Comma = rune(c.comma)
	cr.FieldsPerRecord = -1
	row, err := cr.Read()
	for _, f := range row {
		c.fields = append(c.fields, []byte(f))
	}
	return err == nil
}

// field returns a column of the current row, nil when the row lacks it.
func (c *csvReader) field(column string) []byte {
	if i, ok := c.where[column]; ok && i < len(c.fields) {
		return bytes.TrimSpace(c.fields[i])
	}
	return nil
}

// readCSV reads a table with a header row.
func (r *run) readCSV() error {
	c := csvReader{stamp: &r.stamp}
	line, _, _ := r.next() // the header, which isCSV has checked
	c.header(line)
	if _, err := r.br.Peek(1); errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: a table without rows", errUnknown)
	}
	take := func(line []byte) {
		if !c.split(line) || !c.record(&r.rec) {
			r.st.Broken++
			return
		}
		r.hand(&r.rec)
	}
	if r.opt.Sort && c.has("time") {
		return r.sortRows(&c, take)
	}
	return r.lines(take)
}

// maxCount limits the messages of one row, so that sums do not overflow.
const maxCount = 1e12

// record reads the current row. It returns false if a needed value is missing or one is invalid.
func (c *csvReader) record(rec *Record) (ok bool) {
	*rec = Record{
		Helo: text(c.field("helo")), Self: text(c.field("self")), Class: text(c.field("class")),
		Server: text(c.field("server")), Rcpts: addRcpts(nil, string(c.field("rcpt"))), Count: 1,
	}
	if at := c.field("time"); len(at) > 0 {
		if rec.Time, ok = c.stamp.value(at); !ok {
			return false
		}
	}
	if n := c.field("count"); len(n) > 0 {
		rec.Count, _ = strconv.Atoi(string(n)) // the largest int on overflow
	}
	rec.Client, ok = parseAddr(c.field("ip"))
	return ok && rec.Helo != "" && rec.Count > 0 && rec.Count <= maxCount && c.ptr(rec)
}

// ptr reads the PTR columns. In rdns "" means no PTR record, and "-" means not looked up.
func (c *csvReader) ptr(rec *Record) (ok bool) {
	rec.PTR = text(bytes.TrimSuffix(c.field("rdns"), []byte(".")))
	confirmed := c.field("ptr_confirmed")
	switch {
	case !c.has("rdns") || rec.PTR == "-":
		rec.PTR = ""
	case rec.PTR == "":
		rec.PTRState = None
	case bytes.EqualFold(confirmed, []byte("no")):
		rec.PTRState = Unconfirmed
	default:
		rec.PTRState = Confirmed
		return len(confirmed) == 0 || bytes.EqualFold(confirmed, []byte("yes"))
	}
	return true
}

const (
	chunkRows = 5_000 // rows that are sorted in memory at once
	keySize   = 16    // hexadecimal digits of the time in front of a row
)

// sortRows reads the rest of the table and calls take for its rows, sorted by time, then by text.
// So the order of the input does not matter. Rows without a readable time come first. A temporary
// file holds the rows meanwhile.
func (r *run) sortRows(c *csvReader, take func(line []byte)) error {
	ctx, cancel := context.WithCancel(r.ctx)
	defer cancel()
	rows := make(chan string, 100)
	sorter, sorted, failed := extsort.Strings(rows,
		&extsort.Config{ChunkSize: chunkRows, TempFilesDir: os.TempDir()})
	if sorter == nil {
		return <-failed
	}
	full, stop := context.WithCancel(ctx) // ends when the sorter reads no more rows
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
