package replay

import (
	"bytes"
	"errors"
	"io"
)

// maxHops bounds how many Received fields of one mail are kept.
const maxHops = 8

// message gathers what the header of one mail says.
type message struct {
	hops  []hop  // those that can be the border, newest first
	field []byte // the Received field being read
	in    bool   // field is being continued
}

func (m *message) reset() {
	m.hops, m.field, m.in = m.hops[:0], m.field[:0], false
}

// readMail reads a single mail. Its body is left alone.
func (r *run) readMail() error {
	var m message
	r.in.dropBOM()
	_, err := r.readHeader(&m)
	r.border.mail(r, &m)
	return err
}

// readMbox reads an mbox (RFC 4155). Programs that quote body lines as
// ">From " and those that do not are told apart by the blank line and the date.
func (r *run) readMbox() error {
	var m message
	if _, _, err := r.in.next(); err != nil { // the first separator
		return err
	}
	for {
		m.reset()
		more, err := r.readHeader(&m)
		r.border.mail(r, &m)
		if err != nil || !more {
			return err
		}
		if more, err = r.skipBody(); err != nil || !more {
			return err
		}
	}
}

// skipBody reads up to and including the next separator line.
func (r *run) skipBody() (more bool, err error) {
	blank := true
	for {
		line, _, err := r.in.next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if blank && len(line) > 0 && line[0] == 'F' && isFromLine(line) {
			return true, nil
		}
		blank = len(line) == 0 && line != nil
	}
}

// readHeader reads up to the blank line that ends a header; more is false when
// the input ended.
func (r *run) readHeader(m *message) (more bool, err error) {
	for {
		line, cut, err := r.in.next()
		if err != nil {
			m.end()
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return false, err
		}
		if cut {
			r.st.Broken++
			m.field, m.in = m.field[:0], false
			continue
		}
		if len(line) == 0 {
			m.end()
			return true, nil
		}
		m.add(line)
	}
}

var receivedName = []byte("received:")

// add takes one line of a header.
func (m *message) add(line []byte) {
	if line[0] == ' ' || line[0] == '\t' { // folded, RFC 5322, 2.2.3
		if m.in && len(m.field)+len(line) <= maxReceived {
			m.field = append(m.field, line...)
		}
		return
	}
	m.end()
	n := len(receivedName)
	if len(line) > n && bytes.EqualFold(line[:n], receivedName) {
		m.in = true
		line = line[n:]
		m.field = append(m.field, line[:min(len(line), maxReceived)]...)
	}
}

// end closes the field being read.
func (m *message) end() {
	if !m.in {
		return
	}
	if len(m.hops) < maxHops {
		if h, ok := parseReceived(string(m.field)); ok && h.border() {
			m.hops = append(m.hops, h)
		}
	}
	m.field, m.in = m.field[:0], false
}

// dropBOM passes over a byte order mark that some programs export mails with.
func (l *lineReader) dropBOM() {
	if b, _ := l.br.Peek(3); bytes.Equal(b, byteOrderMark) {
		// Peek has them buffered, so this cannot fail.
		_, _ = l.br.Discard(len(b))
	}
}

var byteOrderMark = []byte("\xef\xbb\xbf")
