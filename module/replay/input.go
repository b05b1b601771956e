package replay

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"errors"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxWindow is the largest zstd window that is unpacked, in bytes: what the
// zstd tool itself takes without being asked for more.
const maxWindow = 128 << 20

// packings are the ways of packing that are known, by the first bytes.
var packings = []struct {
	magic string
	open  func(io.Reader) (io.Reader, error)
}{
	{"\x1f\x8b", func(in io.Reader) (io.Reader, error) { return gzip.NewReader(in) }},
	{"\x28\xb5\x2f\xfd", func(in io.Reader) (io.Reader, error) {
		// One goroutine and small buffers: memory counts more than speed here.
		return zstd.NewReader(in, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	}},
	{"\xfd7zXZ\x00", func(in io.Reader) (io.Reader, error) { return xz.NewReader(in) }},
	{"BZh", func(in io.Reader) (io.Reader, error) { return bzip2.NewReader(in), nil }},
}

// open makes in, unpacked, the current input, and returns its start.
func (r *run) open(in io.Reader) (head []byte, err error) {
	r.raw.Reset(in)
	r.br = r.raw
	magic, _ := r.raw.Peek(6)
	for _, p := range packings {
		if bytes.HasPrefix(magic, []byte(p.magic)) {
			plain, openErr := p.open(r.raw)
			if openErr != nil {
				return nil, openErr
			}
			r.flat.Reset(plain)
			r.br = r.flat
			break
		}
	}
	if mark, _ := r.br.Peek(3); string(mark) == "\xef\xbb\xbf" {
		_, _ = r.br.Discard(3) // buffered, so this cannot fail
	}
	head, err = r.br.Peek(headSize)
	switch {
	case len(head) > 0:
		return head, nil
	case errors.Is(err, io.EOF):
		return nil, errors.New("empty")
	}
	return nil, err
}

var errUnknown = errors.New("no known form")

// readInput unpacks one input, tells its format and reads it. No line of it is from later
// than at. An error of the input is noted; only what ends the run is returned.
func (r *run) readInput(name string, in io.Reader, at time.Time) error {
	r.name, r.stamp.now, r.stamp.text = name, cmp.Or(r.opt.Now, at), ""
	r.st.Inputs++
	before := r.st.Lines
	head, err := r.open(in)
	if err == nil {
		f := detect(head)
		if f.name != "" {
			r.st.Formats[f.name]++
		}
		if err = f.read(r); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if stop := cmp.Or(r.err, r.ctx.Err()); stop != nil {
		return stop
	}
	if err != nil {
		r.fault(name, err, !errors.Is(err, errUnknown) && r.st.Lines > before)
		return nil
	}
	r.st.Whole++
	return nil
}

// lines hands the lines of the input to take, but for empty ones.
func (r *run) lines(take func(line []byte)) error {
	for {
		line, cut, err := r.next()
		switch {
		case err != nil:
			return err
		case cut:
			r.st.Broken++
		case len(line) > 0:
			take(line)
		}
	}
}

// next returns the next line without its end; it is valid until the next call.
// A line longer than 64 KiB is passed over: cut is true and line nil. A last
// line that an error cut off is dropped.
func (r *run) next() (line []byte, cut bool, err error) {
	for {
		if err = cmp.Or(r.err, r.ctx.Err()); err != nil {
			return nil, false, err
		}
		if line, err = r.br.ReadSlice('\n'); !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
		cut = true
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0 && !cut) {
		return nil, cut, err
	}
	r.st.Lines++
	if cut {
		return nil, true, nil
	}
	return chomp(line), false, nil
}

func chomp(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// headSize is how much of an input decides about its format, in bytes.
const headSize = 4 << 10

// format is a kind of input that its first bytes tell.
type format struct {
	name string // in Stats.Formats; logs are named by the server that wrote them
	is   func(head []byte) bool
	read func(*run) error
}

// formats are tried in turn. What is neither mail nor CSV is taken for a log, since
// nobody knows what else is in syslog. A mail starts with fields and folded lines, of
// which one is common (RFC 5322, 2.2).
var formats = []format{
	{"unknown", regexp.MustCompile(`^[^\n]*\x00`).Match, func(*run) error { return errUnknown }},
	{"mbox", fromLine.Match, (*run).readMbox},
	{"csv", isCSV, (*run).readCSV},
	{"mail", regexp.MustCompile(`(?i)^(?:[!-9;-~]+:.*\n(?:[ \t].*\n)*)*(?:received|return-path|` +
		`delivered-to|from|to|date|message-id|subject|mime-version|envelope-to|x-original-to):`,
	).Match, (*run).readMail},
	{"", func([]byte) bool { return true }, (*run).readLog},
}

// fromLine separates two mails of an mbox (RFC 4155, appendix A): "From ", somebody, and
// a date with a time of day.
var fromLine = regexp.MustCompile(`^From .*\d\d:\d\d`)

func detect(head []byte) format {
	return formats[slices.IndexFunc(formats, func(f format) bool { return f.is(head) })]
}

func digits(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(b) > 0
}

// addrPort reads "192.0.2.7:2525", "[2001:db8::7]:2525" or an address alone.
func addrPort(b []byte) (netip.Addr, bool) {
	if a, err := netip.ParseAddrPort(string(b)); err == nil {
		return a.Addr().Unmap(), true
	}
	return parseAddr(b)
}

// parseAddr reads an address with or without brackets, as literals have them
// (RFC 5321, 4.1.3).
func parseAddr(b []byte) (netip.Addr, bool) {
	b = bytes.TrimSuffix(bytes.TrimPrefix(b, []byte("[")), []byte("]"))
	if len(b) > 5 && strings.EqualFold(string(b[:5]), "IPv6:") {
		b = b[5:]
	}
	if len(b) > 64 {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(string(b))
	return a.Unmap(), err == nil
}

// literal writes a client's address as it greets with it (RFC 5321, 4.1.3).
func literal(a netip.Addr) string {
	if a.Is6() {
		return "[IPv6:" + a.String() + "]"
	}
	return "[" + a.String() + "]"
}
