package replay

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// fuzzRead reads data as one input and checks what holds for all of them.
func fuzzRead(t *testing.T, data []byte) (int, Stats) {
	t.Helper()
	opt := testOptions()
	opt.Stdin = bytes.NewReader(data)
	n := 0
	st, err := Read(context.Background(), []string{"-"}, opt, func(r *Record) error {
		n++
		for _, s := range []string{r.Helo, r.PTR, strings.Join(r.Rcpts, ","), r.Self, r.Class, r.Reason} {
			if len(s) > maxField {
				t.Errorf("%d bytes in a field", len(s))
			}
		}
		if r.Helo == "" || r.Count < 1 || !r.Client.IsValid() || r.Client.Is4In6() {
			t.Errorf("useless record: %s", show(r))
		}
		if (r.PTRState == Confirmed || r.PTRState == Unconfirmed) != (r.PTR != "") &&
			r.PTRState != NotRecorded {
			t.Errorf("state and name disagree: %s", show(r))
		}
		return nil
	})
	if err != nil {
		t.Errorf("Read: %v", err)
	}
	lines := int64(bytes.Count(data, []byte("\n")))
	if form := detect(data[:min(len(data), headSize)]); st.Lines < lines && form != 3 && len(st.Unread) == 0 {
		t.Errorf("%d of %d lines read", st.Lines, lines)
	}
	if st.Records+int64(len(st.Unread)) > 0 && st.Nothing() && st.Whole > 0 {
		t.Errorf("nothing read of %+v", st)
	}
	// Each line tells of one greeting at most.
	if int64(n) > st.Lines {
		t.Errorf("%d records in %d lines", n, st.Lines)
	}
	return n, st
}

func seedFile(f *testing.F, name string) {
	f.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
}

// seedLines adds the logs of a few lines.
func seedLines(f *testing.F) {
	f.Helper()
	for _, tt := range readCases(f, "lines.txt") {
		f.Add([]byte(tt.in))
	}
}

// Each reader gets its own target: a prefix makes sure that it is the one.
func fuzzAs(f *testing.F, prefix string) {
	f.Helper()
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRead(t, append([]byte(prefix), data...))
	})
}

func FuzzPostfix(f *testing.F) {
	seedFile(f, "postfix.log")
	seedLines(f)
	fuzzAs(f, "Nov 23 13:00:00 mx postfix/smtpd[1]: connect from x\n")
}

func FuzzExim(f *testing.F) {
	seedFile(f, "exim-all.log")
	seedLines(f)
	fuzzAs(f, "2026-11-23 13:31:14 exim 4.96 daemon started\n")
}

func FuzzMaddy(f *testing.F) {
	seedFile(f, "maddy.log")
	seedLines(f)
	fuzzAs(f, "server started\t{\"version\":\"x\"}\n")
}

func FuzzMbox(f *testing.F) {
	seedFile(f, "exim.mbox")
	f.Add([]byte(hopsMail(1)))
	fuzzAs(f, "From a@example.net Mon Nov 23 13:31:16 2026\n")
}

func FuzzMail(f *testing.F) {
	seedFile(f, "maildir/cur/1.postfix")
	f.Add([]byte(hopsMail(1)))
	fuzzAs(f, "Subject: x\n")
}

func FuzzCSV(f *testing.F) {
	f.Add([]byte("a,192.0.2.7,b,yes,c,d,ham,1\n\"a\"\"\",::1,-,no,,,,2\n"))
	fuzzAs(f, "helo,ip,rdns,ptr_confirmed,rcpt,self,class,count\n")
}

// FuzzPacked feeds what claims to be gzip or zstd, or nothing known.
func FuzzPacked(f *testing.F) {
	for _, open := range packers {
		f.Add(pack(f, []byte("helo,ip\nx,192.0.2.7\n"), open))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		opt := testOptions()
		opt.Stdin = bytes.NewReader(data)
		_, err := Read(context.Background(), []string{"-"}, opt, func(*Record) error { return nil })
		if err != nil {
			t.Errorf("Read: %v", err)
		}
	})
}

func FuzzReceived(f *testing.F) {
	for _, tt := range readCases(f, "received.txt") {
		f.Add(tt.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, ok := parseReceived(s)
		if ok && !h.unclear && (h.Helo == "" || h.Self == "" || !h.Client.IsValid()) {
			t.Errorf("%q is no hop: %+v", s, h)
		}
		if ok && utf8.ValidString(s) && len(h.Helo) > len(s)+len("[IPv6:]")+40 {
			t.Errorf("%q: the greeting is longer than the field", s)
		}
	})
}
