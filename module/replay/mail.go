package replay

import (
	"bytes"
	"cmp"
	"strings"
)

// maxHops bounds how many Received fields of one mail are kept.
const maxHops = 8

// readMail reads a single mail. Its body is left alone.
func (r *run) readMail() error {
	hops, err := r.readHeader()
	r.mail(hops)
	return err
}

// readMbox reads an mbox (RFC 4155). Programs that quote body lines as
// ">From " and those that do not are told apart by the blank line and the date.
func (r *run) readMbox() error {
	_, _, err := r.next() // the first separator
	for err == nil {
		if err = r.readMail(); err == nil {
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

// readHeader reads up to the blank line that ends a header, and returns the hops that can be
// the border, newest first.
func (r *run) readHeader() (hops []hop, err error) {
	var field []byte
	var from, id string
	for ended := false; !ended; {
		line, cut, readErr := r.next()
		if bytes.IndexAny(line, " \t") == 0 { // folded, RFC 5322, 2.2.3
			if len(field)+len(line) <= maxReceived {
				field = append(field, line...)
			}
			continue
		}
		name, value, _ := strings.Cut(string(field), ":")
		switch strings.ToLower(name) {
		case "return-path":
			from = sender([]byte(strings.TrimSpace(value)))
		case "message-id":
			id = text(strings.Trim(value, " \t<>"))
		case "received":
			if h, ok := parseReceived(value); ok && h.outside() && len(hops) < maxHops {
				hops = append(hops, h)
			}
		}
		field = append(field[:0], line[:min(len(line), maxReceived)]...)
		if cut {
			r.st.Broken++
		}
		ended, err = readErr != nil || len(line) == 0 && !cut, readErr
	}
	for i := range hops {
		hops[i].From = cmp.Or(hops[i].From, from)
		hops[i].MsgID = cmp.Or(id, hops[i].MsgID)
	}
	return hops, err
}
