package replay

import (
	"bytes"
	"encoding/csv"
	"errors"
	"slices"
	"strconv"
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

// isCSV reports whether the first line names the two columns that a table needs.
func isCSV(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	var c csvReader
	return c.header(chomp(line))
}

func (c *csvReader) header(line []byte) bool {
	line = bytes.ToLower(line)
	for _, c.comma = range []byte{',', ';', '\t'} {
		ok := c.split(line)
		for col, want := range columnNames {
			c.where[col] = slices.IndexFunc(c.fields, func(name []byte) bool {
				return string(bytes.TrimSpace(name)) == want
			})
		}
		if ok && c.where[colHelo] >= 0 && c.where[colIP] >= 0 {
			return true
		}
	}
	return false
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
func (c *csvReader) field(col int) []byte {
	if i := c.where[col]; i >= 0 && i < len(c.fields) {
		return bytes.TrimSpace(c.fields[i])
	}
	return nil
}

// readCSV reads a table with a header row.
func (r *run) readCSV() error {
	c := csvReader{stamp: &r.stamp}
	line, _, err := r.next()
	if err != nil {
		return err
	}
	if !c.header(line) {
		return errors.New("no columns helo and ip")
	}
	take := func(line []byte) {
		if !c.split(line) || !c.record(&r.rec) {
			r.st.Broken++
			return
		}
		r.hand(&r.rec)
	}
	if r.opt.Sort && c.where[colTime] >= 0 {
		return r.sortRows(&c, take)
	}
	return r.lines(take)
}

// record reads the current row; false when it makes no sense. Neighbouring rows have
// most columns in common, so texts are kept.
func (c *csvReader) record(rec *Record) (ok bool) {
	*rec = Record{
		Helo: again(rec.Helo, c.field(colHelo)), PTR: rec.PTR, Count: 1,
		Rcpts: rec.Rcpts, Self: again(rec.Self, c.field(colSelf)),
		Class: again(rec.Class, c.field(colClass)), Server: again(rec.Server, c.field(colServer)),
	}
	if rcpt := c.field(colRcpt); len(rcpt) == 0 {
		rec.Rcpts = nil
	} else if rec.FirstRcpt() != string(rcpt) {
		rec.Rcpts = []string{text(rcpt)}
	}
	if at := c.field(colTime); len(at) > 0 {
		if rec.Time, ok = c.stamp.value(at); !ok {
			return false
		}
	}
	if n := c.field(colCount); len(n) > 0 {
		rec.Count, _ = strconv.Atoi(string(n))
	}
	rec.Client, ok = parseAddr(c.field(colIP))
	return ok && rec.Helo != "" && rec.Count > 0 && c.ptr(rec)
}

// confirmations are the values of the column ptr_confirmed.
var confirmations = map[string]PTRState{"": Confirmed, "yes": Confirmed, "no": Unconfirmed}

// ptr reads what is known of the PTR record: "" is none, "-" that nobody has looked.
func (c *csvReader) ptr(rec *Record) (ok bool) {
	name := bytes.TrimSuffix(c.field(colRDNS), []byte("."))
	switch rec.PTR = again(rec.PTR, name); {
	case c.where[colRDNS] < 0 || rec.PTR == "-":
		rec.PTR = ""
		return true
	case rec.PTR == "":
		rec.PTRState = None
		return true
	}
	rec.PTRState, ok = confirmations[string(bytes.ToLower(c.field(colConfirmed)))]
	return ok
}

// again returns b as a string, the one already there when it is the same.
func again(prev string, b []byte) string {
	if prev == string(b) {
		return prev
	}
	return text(b)
}
