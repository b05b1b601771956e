package replay

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// walk reads every path in turn.
func (r *run) walk(paths []string) error {
	r.several = len(paths) > 1
	dirs := make([]bool, len(paths))
	for i, p := range paths {
		if p == "-" {
			continue
		}
		info, err := os.Stat(p)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		dirs[i] = info.IsDir()
		r.several = r.several || dirs[i]
	}
	for i, p := range paths {
		var err error
		switch {
		case p == "-":
			err = r.readInput("standard input", r.opt.Stdin, nil)
		case dirs[i]:
			before := r.st.Inputs
			err = r.walkDir(p)
			if err == nil && r.st.Inputs == before {
				err = r.readInput(p, nil, errors.New("a directory without files"))
			}
		default:
			err = r.readFile(p, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// walkDir reads every regular file below a directory, which can be a link.
func (r *run) walkDir(root string) error {
	root += "/"
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch maildir := isMaildir(filepath.Dir(name)); {
		case err != nil:
			return r.readFile(name, err)
		case d.IsDir() && maildir && d.Name() == "tmp" && name != root:
			return fs.SkipDir
		case !d.Type().IsRegular() || maildir: // beside cur and new are indexes, not mail
			return nil
		}
		return r.readFile(name, nil)
	})
}

func isMaildir(dir string) bool {
	_, seen := os.Stat(dir + "/cur/.")
	_, fresh := os.Stat(dir + "/new/.")
	return seen == nil && fresh == nil
}

// readFile reads one named file, which may be a pipe, unless err says why it cannot be read.
func (r *run) readFile(name string, err error) error {
	var f *os.File
	if err == nil {
		f, err = r.openFile(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return r.ctx.Err() // moved from new to cur, or expunged, meanwhile
	}
	defer f.Close()
	return r.readInput(name, f, err)
}

// openFile opens a file; a pipe waits for somebody who writes, or the end of the context.
func (r *run) openFile(name string) (*os.File, error) {
	var f *os.File
	var err error
	done := make(chan struct{})
	go func() {
		f, err = os.Open(name)
		close(done)
	}()
	select {
	case <-done:
		return f, err
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
	}
}

// readInput reads one input, unless err says why it cannot be read. An error of the input is
// noted; only what ends the run is returned.
func (r *run) readInput(name string, in io.Reader, err error) error {
	r.name = name
	r.st.Inputs++
	before := r.st.Lines
	if err == nil {
		err = r.read(in)
	}
	stop := cmp.Or(r.err, r.ctx.Err())
	switch part := !errors.Is(err, errUnknown) && r.st.Lines > before; {
	case stop != nil:
	case err == nil:
		r.st.Whole++
	case len(r.st.Unread) < maxErrs:
		r.st.Unread = append(r.st.Unread, Unread{name, err, part})
	}
	return stop
}

// read unpacks an input, tells its format and reads it. What is no file may keep a reader
// waiting for ever: a goroutine reads it, so that the end of the context is noticed at once.
// That goroutine ends with the next byte or the end of in.
func (r *run) read(in io.Reader) error {
	at := time.Now()
	if info := regular(in); info != nil {
		at = info.ModTime()
	} else {
		pr, pw := io.Pipe()
		defer context.AfterFunc(r.ctx, func() { pr.CloseWithError(r.ctx.Err()) })()
		defer pr.CloseWithError(nil)
		go func(from io.Reader) {
			_, err := io.Copy(pw, from)
			pw.CloseWithError(err)
		}(in)
		in = pr
	}
	r.stamp.now, r.stamp.text = cmp.Or(r.opt.Now, at), ""
	head, err := r.open(in)
	if err != nil {
		return err
	}
	if err = formats[detect(head)].read(r); errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// regular returns what is known of a regular file, nil for other inputs.
func regular(in io.Reader) fs.FileInfo {
	if f, ok := in.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return info
		}
	}
	return nil
}

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
		err = errors.New("empty")
	}
	return nil, err
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
	if r.err != nil {
		return nil, false, r.err
	}
	// What is read may be packed a thousandfold: the end of the context is noticed here.
	if r.st.Lines&0x3ff == 0 && r.ctx.Err() != nil {
		return nil, false, r.ctx.Err()
	}
	line, err = r.br.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		cut = true
		line, err = r.br.ReadSlice('\n')
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(line) == 0 && !cut) {
		return nil, cut, err
	}
	r.st.Lines++
	if cut {
		return nil, true, nil
	}
	for line = chomp(line); len(line) > 0 && line[0] == 0; { // the hole that a crash leaves
		line = line[1:]
	}
	return line, false, nil
}

func chomp(line []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
}

// headSize is how much of an input decides about its format, in bytes.
const headSize = 4 << 10

// format is a kind of input that its first bytes tell.
type format struct {
	is   func(head []byte) bool
	read func(*run) error
}

// formats are tried in turn. What is neither mail nor CSV is taken for a log, since
// nobody knows what else is in syslog. A mail starts with fields and folded lines, of
// which one is common (RFC 5322, 2.2).
var formats = []format{
	{regexp.MustCompile(`^\x00*[^\n\x00]+\x00`).Match, func(*run) error { return errUnknown }},
	{fromLine.Match, (*run).readMbox},
	{isCSV, (*run).readCSV},
	{regexp.MustCompile(`(?i)^(?:[!-9;-~]+:.*\n(?:[ \t].*\n)*)*(?:received|return-path|` +
		`delivered-to|from|to|date|message-id|subject|mime-version|envelope-to|x-original-to):`,
	).Match, (*run).readMail},
	{func([]byte) bool { return true }, (*run).readLog},
}

var errUnknown = errors.New("no known form")

func detect(head []byte) int {
	return slices.IndexFunc(formats, func(f format) bool { return f.is(head) })
}

// fromLine separates two mails of an mbox (RFC 4155, appendix A): "From ", somebody, and
// a date with a time of day.
var fromLine = regexp.MustCompile(`^From .*\d\d:\d\d`)

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
