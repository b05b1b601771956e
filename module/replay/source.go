package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow is the largest zstd window that is unpacked, in bytes: what the
// zstd tool itself takes without being asked for more.
const maxWindow = 128 << 20

// source unpacks one input after the other with the same buffers.
type source struct {
	raw  *bufio.Reader // the input as stored
	flat *bufio.Reader // unpacked
	gz   *gzip.Reader
	zst  *zstd.Decoder
}

// counter reports what is read through it and notices the end of the context.
type counter struct {
	r  *run
	in io.Reader
}

func (c *counter) Read(p []byte) (int, error) {
	if err := c.r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.in.Read(p)
	c.r.count(int64(n))
	return n, err
}

func (r *run) count(n int64) {
	r.st.Bytes += n
	if r.opt.Progress != nil && n > 0 {
		r.opt.Progress(n)
	}
}

// open returns the unpacked text of in; the first bytes tell how it is packed.
func (r *run) open(in io.Reader) (*bufio.Reader, error) {
	s := &r.src
	if s.raw == nil {
		s.raw = bufio.NewReaderSize(nil, maxLine)
		s.flat = bufio.NewReaderSize(nil, maxLine)
	}
	s.raw.Reset(&counter{r, in})
	magic, _ := s.raw.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}): // RFC 1952, 2.3.1
		return s.openGzip()
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}): // RFC 8878, 3.1.1
		return s.openZstd()
	}
	return s.raw, nil
}

func (s *source) openGzip() (*bufio.Reader, error) {
	var err error
	if s.gz == nil {
		s.gz, err = gzip.NewReader(s.raw)
	} else {
		err = s.gz.Reset(s.raw)
	}
	if err != nil {
		return nil, err
	}
	s.flat.Reset(s.gz)
	return s.flat, nil
}

func (s *source) openZstd() (*bufio.Reader, error) {
	var err error
	if s.zst == nil {
		// One goroutine and small buffers: memory counts more than speed here.
		s.zst, err = zstd.NewReader(s.raw, zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
	} else {
		err = s.zst.Reset(s.raw)
	}
	if err != nil {
		return nil, err
	}
	s.flat.Reset(s.zst)
	return s.flat, nil
}

func (r *run) close() {
	if r.src.zst != nil {
		r.src.zst.Close()
	}
}

// readInput unpacks one input, tells its format and reads it. An error of the
// input is counted; only what ends the run is returned.
func (r *run) readInput(name string, in io.Reader) error {
	br, err := r.open(in)
	if err == nil {
		r.in.br = br
		err = r.readFormat()
	}
	if r.err != nil {
		return r.err
	}
	if ctxErr := r.ctx.Err(); ctxErr != nil {
		return ctxErr
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.fault(fmt.Errorf("replay: %s: %w", name, err))
	}
	return nil
}

func (r *run) readFormat() error {
	head, err := r.in.br.Peek(headSize)
	if len(head) == 0 {
		return err
	}
	f := detect(head)
	if f != formatLog {
		r.st.Formats[f.String()]++
	}
	switch f {
	case formatLog:
		return r.readLog()
	case formatMbox:
		return r.readMbox()
	case formatMail:
		return r.readMail()
	case formatCSV:
		return r.readCSV()
	default:
		return nil
	}
}

// lineReader cuts the current input into lines.
type lineReader struct {
	run *run
	br  *bufio.Reader
}

// next returns the next line without its end; it is valid until the next call.
// A line longer than 64 KiB is passed over: cut is true and line nil. A last
// line that an error cut off is dropped.
func (l *lineReader) next() (line []byte, cut bool, err error) {
	r := l.run
	if r.err != nil {
		return nil, false, r.err
	}
	// What is read may be packed a thousandfold, so the counter alone would
	// notice the end of the context late.
	if r.st.Lines&0x3ff == 0 && r.ctx.Err() != nil {
		return nil, false, r.ctx.Err()
	}
	line, err = l.br.ReadSlice('\n')
	if err == nil {
		r.st.Lines++
		return chomp(line), false, nil
	}
	if errors.Is(err, bufio.ErrBufferFull) {
		r.st.Lines++
		return nil, true, l.skip()
	}
	if errors.Is(err, io.EOF) && len(line) > 0 {
		r.st.Lines++
		return chomp(line), false, nil
	}
	return nil, false, err
}

// skip passes over the rest of a line.
func (l *lineReader) skip() error {
	for {
		_, err := l.br.ReadSlice('\n')
		if err == nil || errors.Is(err, io.EOF) {
			return nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

func chomp(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line
}
