package replay

import (
	"bytes"
	"cmp"
	"strings"
)

// maxHops bounds how many Received fields of one mail are kept.
const maxHops = 8

// message gathers what the header of one mail says.
type message struct {
	hops  []hop  // those that can be the border, newest first
	field []byte // the field being read: Received, Return-Path, Message-ID or none
	from  string
	msgID string
}

func (m *message) reset() {
	*m = message{hops: m.hops[:0], field: m.field[:0]}
}

// readMail reads a single mail. Its body is left alone.
func (r *run) readMail() error {
	var m message
	err := r.readHeader(&m)
	r.border.mail(r, m.hops)
	return err
}

// readMbox reads an mbox (RFC 4155). Programs that quote body lines as
// ">From " and those that do not are told apart by the blank line and the date.
func (r *run) readMbox() error {
	var m message
	_, _, err := r.next() // the first separator
	for err == nil {
		m.reset()
		err = r.readHeader(&m)
		r.border.mail(r, m.hops)
		if err == nil {
			err = r.skipBody()
		}
	}
	return err
}

// skipBody reads up to and including the next separator line.
func (r *run) skipBody() error {
	blank := true
	for {
		line, _, err := r.next()
		if err != nil || blank && len(line) > 0 && line[0] == 'F' && fromLine.Match(line) {
			return err
		}
		blank = len(line) == 0 && line != nil
	}
}

// readHeader reads up to the blank line that ends a header.
func (r *run) readHeader(m *message) error {
	defer m.close()
	for {
		line, cut, err := r.next()
		switch {
		case err != nil:
			return err
		case cut:
			r.st.Broken++
			m.field = m.field[:0]
		case len(line) == 0:
			return nil
		default:
			m.add(line)
		}
	}
}

// add takes one line of a header.
func (m *message) add(line []byte) {
	if line[0] == ' ' || line[0] == '\t' { // folded, RFC 5322, 2.2.3
		if len(m.field) > 0 && len(m.field)+len(line) <= maxReceived {
			m.field = append(m.field, line...)
		}
		return
	}
	m.end()
	name, _, _ := bytes.Cut(line[:min(len(line), 16)], []byte(":"))
	switch string(bytes.ToLower(name)) {
	case "received", "return-path", "message-id":
		m.field = append(m.field, line[:min(len(line), maxReceived)]...)
	}
}

// end closes the field being read.
func (m *message) end() {
	name, value, _ := strings.Cut(string(m.field), ":")
	m.field = m.field[:0]
	switch strings.ToLower(name) {
	case "return-path":
		m.from = sender([]byte(strings.TrimSpace(value)))
	case "message-id":
		m.msgID = clip(strings.Trim(value, " \t<>"))
	case "received":
		if h, ok := parseReceived(value); ok && h.outside() && len(m.hops) < maxHops {
			m.hops = append(m.hops, h)
		}
	}
}

// close gives the hops what the whole header says.
func (m *message) close() {
	m.end()
	for i := range m.hops {
		h := &m.hops[i]
		h.From = cmp.Or(h.From, m.from)
		h.MsgID = cmp.Or(m.msgID, h.MsgID)
	}
}

var byteOrderMark = []byte("\xef\xbb\xbf")
