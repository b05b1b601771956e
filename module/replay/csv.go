package replay

import (
	"bytes"
	"encoding/csv"
	"errors"
	"io"
	"strconv"
	"strings"
)

// csvColumns are the columns that are read; others are passed over.
const (
	colHelo = iota
	colIP
	colRDNS
	colConfirmed
	colRcpt
	colSelf
	colClass
	colCount
	colTime
	colServer
	numColumns
)

var columnNames = [numColumns]string{
	"helo", "ip", "rdns", "ptr_confirmed", "rcpt", "self", "class", "count", "time", "server",
}

// csvReader reads one table. Rows are single lines: a quoted line break would
// let one stray quote swallow the rest of the file.
type csvReader struct {
	stamp  *stamper
	comma  byte
	where  [numColumns]int // index of a column, -1 without it
	fields [][]byte
}

// isCSVHeader reports whether line names the two columns that a table needs.
func isCSVHeader(line []byte) bool {
	var c csvReader
	return c.header(line)
}

func (c *csvReader) header(line []byte) bool {
	for _, c.comma = range []byte{',', ';', '\t'} {
		for i := range c.where {
			c.where[i] = -1
		}
		if !c.split(line) {
			continue
		}
		for i, f := range c.fields {
			name := strings.ToLower(string(bytes.TrimSpace(f)))
			for col, want := range columnNames {
				if name == want && c.where[col] < 0 {
					c.where[col] = i
				}
			}
		}
		if c.where[colHelo] >= 0 && c.where[colIP] >= 0 {
			return true
		}
	}
	return false
}

// split cuts a row into fields; only rows with quotes need encoding/csv.
func (c *csvReader) split(line []byte) bool {
	c.fields = c.fields[:0]
	if bytes.IndexByte(line, '"') < 0 {
		for {
			i := bytes.IndexByte(line, c.comma)
			if i < 0 {
				c.fields = append(c.fields, line)
				return true
			}
			c.fields = append(c.fields, line[:i])
			line = line[i+1:]
		}
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
func (c *csvReader) field(col int) []byte {
	if i := c.where[col]; i >= 0 && i < len(c.fields) {
		return bytes.TrimSpace(c.fields[i])
	}
	return nil
}

// readCSV reads a table with a header row.
func (r *run) readCSV() error {
	c := csvReader{stamp: &r.stamp}
	r.in.dropBOM()
	line, _, err := r.in.next()
	if err != nil {
		return err
	}
	if !c.header(line) {
		return errors.New("no columns helo and ip")
	}
	next := r.in.next
	if r.opt.Sort && c.where[colTime] >= 0 {
		s, err := r.sortRows(&c)
		if err != nil {
			return err
		}
		defer s.close()
		next = s.next
	}
	for {
		line, cut, err := next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return err
		}
		if len(line) == 0 && !cut {
			continue
		}
		if cut || !c.split(line) || !c.record(&r.rec) {
			r.st.Broken++
			continue
		}
		r.hand(&r.rec)
	}
}

// record reads the current row; false when it makes no sense.
//
//nolint:cyclop // one case a column
func (c *csvReader) record(rec *Record) bool {
	// Neighbouring rows have most columns in common, so texts are kept.
	*rec = Record{
		Helo: again(rec.Helo, c.field(colHelo)), PTR: rec.PTR, Count: 1,
		Rcpts: rec.Rcpts, Self: again(rec.Self, c.field(colSelf)),
		Class: again(rec.Class, c.field(colClass)), Server: again(rec.Server, c.field(colServer)),
	}
	switch rcpt := c.field(colRcpt); {
	case len(rcpt) == 0:
		rec.Rcpts = nil
	case len(rec.Rcpts) != 1 || rec.Rcpts[0] != string(rcpt):
		rec.Rcpts = []string{text(rcpt)}
	}
	var ok bool
	if at := c.field(colTime); len(at) > 0 {
		if rec.Time, ok = c.stamp.value(at); !ok {
			return false
		}
	}
	if rec.Client, ok = parseAddr(c.field(colIP)); !ok || rec.Helo == "" {
		return false
	}
	if n := c.field(colCount); len(n) > 0 {
		count, err := strconv.Atoi(string(n))
		if err != nil || count < 1 {
			return false
		}
		rec.Count = count
	}
	rdns := bytes.TrimSuffix(c.field(colRDNS), []byte("."))
	switch {
	case c.where[colRDNS] < 0 || string(rdns) == "-":
		rec.PTR = ""
		return true
	case len(rdns) == 0:
		rec.PTR, rec.PTRState = "", None
		return true
	}
	rec.PTR = again(rec.PTR, rdns)
	switch strings.ToLower(string(c.field(colConfirmed))) {
	case "", "yes":
		rec.PTRState = Confirmed
	case "no":
		rec.PTRState = Unconfirmed
	default:
		return false
	}
	return true
}

// again returns b as a string, the one already there when it is the same.
func again(prev string, b []byte) string {
	if prev == string(b) {
		return prev
	}
	return text(b)
}
