package replay

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"strings"
)

// maxHops bounds how many Received fields of one mail are kept.
const maxHops = 8

// message gathers what the header of one mail says.
type message struct {
	hops  []hop  // those that can be the border, newest first
	field []byte // the field being read: Received, Return-Path or Message-ID
	in    bool   // field is being continued
	from  string
	msgID string
}

func (m *message) reset() {
	*m = message{hops: m.hops[:0], field: m.field[:0]}
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
			m.close()
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
			m.close()
			return true, nil
		}
		m.add(line)
	}
}

// add takes one line of a header.
func (m *message) add(line []byte) {
	if line[0] == ' ' || line[0] == '\t' { // folded, RFC 5322, 2.2.3
		if m.in && len(m.field)+len(line) <= maxReceived {
			m.field = append(m.field, line...)
		}
		return
	}
	m.end()
	switch string(bytes.ToLower(fieldName(line[:min(len(line), 16)]))) {
	case "received", "return-path", "message-id":
		m.in = true
		m.field = append(m.field, line[:min(len(line), maxReceived)]...)
	}
}

// end closes the field being read.
func (m *message) end() {
	if !m.in {
		return
	}
	name, value, _ := strings.Cut(string(m.field), ":")
	m.field, m.in = m.field[:0], false
	switch strings.ToLower(name) {
	case "return-path":
		if m.from = clip(strings.Trim(value, " \t<>")); m.from == "" {
			m.from = NullSender
		}
	case "message-id":
		m.msgID = clip(strings.Trim(value, " \t<>"))
	default:
		if len(m.hops) == maxHops {
			return
		}
		if h, ok := parseReceived(value); ok && h.border() {
			m.hops = append(m.hops, h)
		}
	}
}

// close gives the hops what the whole header says.
func (m *message) close() {
	m.end()
	for i := range m.hops {
		h := &m.hops[i]
		if h.from == "" {
			h.from = m.from
		}
		if m.msgID != "" {
			h.msgID = m.msgID
		}
	}
}

// dropBOM passes over a byte order mark that some programs export mails with.
func (l *lineReader) dropBOM() {
	if b, _ := l.br.Peek(3); bytes.Equal(b, byteOrderMark) {
		// Peek has them buffered, so this cannot fail.
		_, _ = l.br.Discard(len(b))
	}
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// maxWaiting bounds how many mails wait for the border to be known.
const maxWaiting = 256

// border picks the hop at which mail came in from outside.
type border struct {
	given   []string // of Options.By, lower case
	found   string
	waiting [][]hop
	votes   []vote
}

type vote struct {
	by    string
	count int
}

func (b *border) init(by []string) {
	for _, s := range by {
		b.given = append(b.given, strings.ToLower(strings.TrimSuffix(s, ".")))
	}
}

// mail hands out the greeting of one mail, or keeps the mail until enough of
// them show where the border is.
func (b *border) mail(r *run, m *message) {
	switch {
	case len(b.given) > 0 || b.found != "":
		b.pick(r, m.hops)
	case len(m.hops) == 0:
		r.st.Skipped[SkippedBorder]++
	default:
		b.waiting = append(b.waiting, append([]hop(nil), m.hops...))
		b.vote(m.hops)
		if len(b.waiting) == maxWaiting {
			b.decide(r)
		}
	}
}

// vote counts the newest hop whose client is not one of the receiver's own.
func (b *border) vote(hops []hop) {
	for i := range hops {
		if hops[i].unclear {
			return
		}
		if hops[i].own() {
			continue
		}
		for j := range b.votes {
			if b.votes[j].by == hops[i].by {
				b.votes[j].count++
				return
			}
		}
		b.votes = append(b.votes, vote{hops[i].by, 1})
		return
	}
}

// decide settles the border, the one met first among equals, and hands out the
// mails that waited for it.
func (b *border) decide(r *run) {
	if len(b.given) > 0 || b.found != "" {
		return
	}
	best := vote{}
	for _, v := range b.votes {
		if v.count > best.count {
			best = v
		}
	}
	b.found, r.st.By = best.by, best.by
	for _, hops := range b.waiting {
		b.pick(r, hops)
	}
	b.waiting, b.votes = nil, nil
}

func (b *border) pick(r *run, hops []hop) {
	for i := range hops {
		if hops[i].unclear {
			break
		}
		if b.is(hops[i].by) {
			r.rec = hops[i].record()
			r.hand(&r.rec)
			return
		}
	}
	r.st.Skipped[SkippedBorder]++
}

func (b *border) is(by string) bool {
	for _, s := range b.given {
		if s == by || len(s) > 1 && s[0] == '.' && strings.HasSuffix(by, s) {
			return true
		}
	}
	return b.found != "" && by == b.found
}

// border reports whether the hop can be where mail came in from outside: by
// SMTP (not LMTP, a pick-up or a fetch by POP) and from a public address.
func (h *hop) border() bool {
	if h.unclear {
		return true
	}
	if h.with != "" && h.with != "Microsoft" && !strings.Contains(strings.ToUpper(h.with), "SMTP") {
		return false
	}
	a := h.client
	return !a.IsLoopback() && !a.IsPrivate() && !a.IsLinkLocalUnicast() &&
		!a.IsUnspecified() && !sharedSpace.Contains(a)
}

// sharedSpace is carriers' own address space (RFC 6598).
var sharedSpace = netip.MustParsePrefix("100.64.0.0/10")

// own reports whether the client is one of the receiver's own servers, by the
// name that the receiver itself found; what the client says proves nothing.
func (h *hop) own() bool {
	return h.state == Confirmed && organisation(h.ptr) == organisation(h.by)
}

// organisation guesses what part of a host name its owner registered. It needs
// no list of suffixes: a wrong guess only costs a vote for the border.
func organisation(host string) string {
	labels := strings.Split(strings.ToLower(host), ".")
	n := len(labels)
	keep := 2
	if n > 2 && len(labels[n-1]) == 2 && len(labels[n-2]) <= 3 {
		keep = 3 // example.co.uk
	}
	return strings.Join(labels[max(0, n-keep):], ".")
}
