package replay

import (
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

func pack(tb testing.TB, data []byte, open func(io.Writer) io.WriteCloser) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := open(&buf)
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

var packers = map[string]func(io.Writer) io.WriteCloser{
	"gz": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
	"zst": func(w io.Writer) io.WriteCloser {
		// The options are valid, so this cannot fail.
		z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
		return z
	},
	"xz": func(w io.Writer) io.WriteCloser {
		// Nor can this, before the first octet.
		x, _ := xz.NewWriter(w)
		return x
	},
}

// bzip2Log is three lines of Exim, packed by bzip2; Go has no writer of it.
const bzip2Log = "QlpoOTFBWSZTWRfA18UAADnfgAAQQGN5tkBAQEo6B0xAIACVDP9ST1NPUAAyGgCP1VBBp6mjJpo0epmk1USXM1j2uZLm6bFg" +
	"xhJU2awsZPTysOEHiFIpYSEFIjGw8UYYQoHE5qMbkib8thokrTVOjOHFq2hopDBRtC1yhu4QonCaIqbq4fxdyRThQkBfA18U"

func TestBzip2(t *testing.T) {
	packed, err := base64.StdEncoding.DecodeString(bzip2Log)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "log")
	for _, keep := range []int{len(packed), len(packed) / 2} {
		if err := os.WriteFile(path, packed[:keep], 0o600); err != nil {
			t.Fatal(err)
		}
		recs, st := collect(t, testOptions(), path)
		if whole := keep == len(packed); whole != (len(recs) == 3) || whole != (st.Whole == 1) || st.Nothing() == whole {
			t.Errorf("%d of %d octets: %d records, %v", keep, len(packed), len(recs), st.Unread)
		}
	}
}

// TestPackedReadsTheSame reads each sample as it is and packed, under names
// that say nothing, one after the other with the same buffers.
func TestPackedReadsTheSame(t *testing.T) {
	for _, tt := range samples {
		file := filepath.Join("testdata", tt.file)
		data, err := os.ReadFile(file)
		if err != nil {
			continue // a directory
		}
		plain, _ := collect(t, testOptions(), file)
		want := showAll(plain)
		dir := t.TempDir()
		for name, open := range packers {
			packed := pack(t, data, open)
			path := filepath.Join(dir, string(name[0]))
			if err := os.WriteFile(path, packed, 0o600); err != nil {
				t.Fatal(err)
			}
			// Two members in one file, as log rotation appends them.
			if err := os.WriteFile(path+"2", append(packed, packed...), 0o600); err != nil {
				t.Fatal(err)
			}
			recs, _ := collect(t, testOptions(), path)
			if got := showAll(recs); got != want {
				t.Errorf("%s as %s: got\n%swant\n%s", tt.file, name, got, want)
			}
			// Each event of the first file comes twice in the second.
			recs, st := collect(t, testOptions(), path, path+"2")
			if n := len(recs) + int(st.Skipped[SkippedDuplicate]); n != 3*len(plain) {
				t.Errorf("%s as %s: %d records in three copies of %d", tt.file, name, n, len(plain))
			}
		}
	}
}

// TestTruncated cuts packed logs: what came before the cut counts, the rest is
// one fault.
func TestTruncated(t *testing.T) {
	line := "2026-11-23 13:00:00 1abc-0002-XX <= a@example.net " +
		"H=(mail.example.net) [192.0.2.7] P=esmtp\n"
	data := []byte(strings.Repeat(line, 20000))
	whole, _ := collect(t, testOptions(), "testdata/exim.log")
	exim := len(whole)
	for name, open := range packers {
		packed := pack(t, data, open)
		for _, keep := range []int{3, 5, 12, len(packed) / 2, len(packed) - 4} {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, packed[:keep], 0o600); err != nil {
				t.Fatal(err)
			}
			recs, st := collect(t, testOptions(), path, "testdata/exim.log")
			const faults = 1 // cut short, or at three bytes of no known form
			if len(st.Unread) != faults {
				t.Errorf("%s cut at %d of %d: %d broken, %v", name, keep, len(packed), st.Broken, st.Unread)
			}
			if len(recs) < exim || len(recs) > 20000+exim {
				t.Errorf("%s cut at %d: %d records", name, keep, len(recs))
			}
			if keep == len(packed)-4 && name == "gz" && len(recs) != 20000+exim {
				t.Errorf("gz without its check sum: %d records", len(recs))
			}
			for _, r := range recs[:len(recs)-exim] {
				if r.Helo != "mail.example.net" {
					t.Fatalf("%s cut at %d: half a line was read: %s", name, keep, show(&r))
				}
			}
		}
	}
}

func TestErrorsAreBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range 30 {
		path := filepath.Join(dir, string(rune('a'+i)))
		if err := os.WriteFile(path, []byte{0x1f, 0x8b, 8, 0}, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, st := collect(t, testOptions(), dir)
	if st.Inputs != 30 || st.Whole != 0 || len(st.Unread) != 30 || !st.Nothing() {
		t.Errorf("%d of %d whole, %d errors kept", st.Whole, st.Inputs, len(st.Unread))
	}
}
