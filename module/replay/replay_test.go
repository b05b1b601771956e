package replay

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// testNow is later than every sample in testdata.
var testNow = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)

// TestMain reads times without a zone as UTC.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	m.Run()
}

func testOptions() Options {
	return Options{Now: testNow}
}

// collect reads paths and returns copies of the records.
func collect(tb testing.TB, opt Options, paths ...string) ([]Record, Stats) {
	tb.Helper()
	var got []Record
	st, err := Read(context.Background(), paths, opt, func(r *Record) error {
		got = append(got, *r)
		return nil
	})
	if err != nil {
		tb.Fatalf("Read(%q): %v", paths, err)
	}
	if st.Records != int64(len(got)) {
		tb.Errorf("Stats.Records is %d for %d records", st.Records, len(got))
	}
	return got, st
}

// collectText reads text as standard input.
func collectText(tb testing.TB, opt Options, text string) ([]Record, Stats) {
	tb.Helper()
	opt.Stdin = strings.NewReader(text)
	return collect(tb, opt, "-")
}

func show(r *Record) string {
	at := "-"
	if !r.Time.IsZero() {
		at = r.Time.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("%s\t%s\t%q\tptr=%s/%s\trcpt=%s\tself=%s\tclass=%s\tcount=%d\tauth=%v\t%s\t%s",
		at, r.Client, r.Helo, r.PTR, r.PTRState, strings.Join(r.Rcpts, ","), r.Self, r.Class, r.Count, r.Auth,
		r.Outcome, r.Reason)
}

func showAll(recs []Record) string {
	var b strings.Builder
	for i := range recs {
		b.WriteString(show(&recs[i]) + "\n")
	}
	return b.String()
}

// samples are logs and mails that real servers wrote, and their golden files.
var samples = []struct {
	file    string
	skipped int64
}{
	{"postfix.log", 0},
	{"postfix-info.log", 0},
	{"exim.log", 0},
	{"exim-all.log", 0},
	{"maddy.log", 0},
	{"maddy-file.log", 0},
	{"exim.mbox", 0},
	{"maildir", 1},
	{"opensmtpd.mbox", 0}, // OpenSMTPD 6.8.0p2
	{"haraka.mbox", 1},    // Haraka 3.3.4
	{"chasquid.mbox", 0},  // chasquid 1.11
}

func TestSamples(t *testing.T) {
	for _, tt := range samples {
		t.Run(tt.file, func(t *testing.T) {
			recs, st := collect(t, testOptions(), filepath.Join("testdata", tt.file))
			if st.Broken != 0 || st.Skipped[SkippedBorder] != tt.skipped {
				t.Errorf("broken %d, skipped %d", st.Broken, st.Skipped[SkippedBorder])
			}
			golden := filepath.Join("testdata", tt.file+".want")
			got := showAll(recs)
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		})
	}
}

// TestReplies compares with what the clients were told while the samples were
// written: as many refusals, deferrals and messages taken.
func TestReplies(t *testing.T) {
	for _, tt := range []struct{ log, replies string }{
		{"postfix.log", "postfix.replies"},
		{"postfix-info.log", "postfix-info.replies"}, // Postfix 3.7.11
		{"exim-all.log", "exim.replies"},
	} {
		text, err := os.ReadFile(filepath.Join("testdata", tt.replies))
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string]int)
		for line := range strings.Lines(string(text)) {
			said, reply, _ := strings.Cut(strings.TrimSpace(line), " -> ")
			_, said, _ = strings.Cut(said, " ")
			greeting := strings.Contains(said, "EHLO ") || strings.Contains(said, "HELO ")
			switch {
			case said == "None" && reply[0] == '2' && reply[:3] == "250":
				want[Accepted]++ // the end of DATA
			case !greeting && !strings.HasPrefix(said, "RCPT "):
			case reply[:3] == "503" || strings.HasPrefix(reply, "500 5.5.2"):
				// Postfix does not log these with the greeting.
			case reply[0] == '5':
				want[Rejected]++
			case reply[0] == '4':
				want[Deferred]++
			}
		}
		got := make(map[string]int)
		recs, _ := collect(t, testOptions(), filepath.Join("testdata", tt.log))
		for _, r := range recs {
			got[r.Outcome]++
		}
		if fmt.Sprint(got) != fmt.Sprint(want) || got[Rejected] == 0 {
			t.Errorf("%s: got %v, the clients were told %v", tt.log, got, want)
		}
	}
}

// TestMailsOfServers compares mails with what the clients said and were told while
// their server wrote them: each message taken has its client and its greeting.
func TestMailsOfServers(t *testing.T) {
	for _, tt := range []struct{ server, other string }{
		{"opensmtpd", ""},
		// Haraka ends a greeting at the first blank, and writes one that hides the client.
		{"haraka", "13 a 192.0.2.9"},
		{"chasquid", "13 a 192.0.2.9"},
	} {
		replies, err := os.ReadFile(filepath.Join("testdata", tt.server+".replies"))
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		said, n := "", 0
		for line := range strings.Lines(string(replies)) {
			client, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			command, reply, _ := strings.Cut(rest, " -> ")
			verb, text, _ := strings.Cut(command, " ")
			switch {
			case verb == "EHLO" || verb == "HELO":
				n++
				said = fmt.Sprint(n, " ", text, " ", client)
			case verb == "None" && reply[0] == '2':
				want = append(want, said)
			}
		}
		recs, st := collect(t, testOptions(), filepath.Join("testdata", tt.server+".mbox"))
		missing := int(st.Skipped[SkippedBorder])
		for _, r := range recs {
			number, _, _ := strings.Cut(r.MsgID, "@")
			got := fmt.Sprint(number, " ", r.Helo, " ", r.Client)
			if !slices.Contains(want, got) && got != tt.other {
				t.Errorf("%s: got %s, want one of %q", tt.server, got, want)
			}
		}
		if len(recs)+missing != len(want) || missing > 1 {
			t.Errorf("%s: %d records, %d unclear, %d messages taken", tt.server, len(recs), missing, len(want))
		}
	}
}

// TestSameOnAnyMachine reads with one core and with two, and again.
func TestSameOnAnyMachine(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	var first string
	for i, procs := range []int{1, 2, 1, 2} {
		runtime.GOMAXPROCS(procs)
		recs, st := collect(t, testOptions(), "testdata")
		got := fmt.Sprint(showAll(recs), st)
		if i == 0 {
			first = got
		}
		if got != first {
			t.Errorf("run %d with %d cores differs", i, procs)
		}
	}
	if len(first) < 5000 {
		t.Errorf("only %d bytes to compare", len(first))
	}
}

func TestFilters(t *testing.T) {
	opt := testOptions()
	opt.Class = "ham"
	opt.Since = time.Date(2026, 11, 23, 13, 31, 26, 0, time.UTC)
	opt.Until = opt.Since.Add(time.Second)
	recs, st := collect(t, opt, "testdata/postfix.log")
	if len(recs) != 9 || st.Lines < 200 {
		t.Errorf("%d records of one second, %d lines", len(recs), st.Lines)
	}
	for _, r := range recs {
		if !r.Time.Equal(opt.Since) || r.Class != "ham" {
			t.Errorf("got %s", show(&r))
		}
	}
	if recs, _ := collect(t, opt, "testdata/maddy.log"); len(recs) != 17 {
		t.Errorf("%d of 17 records without a time pass", len(recs))
	}
}

func TestStops(t *testing.T) {
	stop := errors.New("enough")
	n := 0
	st, err := Read(context.Background(), []string{"testdata/postfix.log"}, testOptions(),
		func(*Record) error { n++; return stop })
	if !errors.Is(err, stop) || n != 1 || st.Records != 1 {
		t.Errorf("fn's error: %v after %d records", err, n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n = 0
	_, err = Read(ctx, []string{"testdata"}, testOptions(), func(*Record) error {
		n++
		cancel()
		return nil
	})
	if !errors.Is(err, context.Canceled) || n > 200 {
		t.Errorf("cancelled: %v after %d records", err, n)
	}
	_, err = Read(context.Background(), []string{"testdata/none"}, Options{}, nil)
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing path: %v", err)
	}
}

// TestStopsOpening cancels while nobody writes to a pipe.
func TestStopsOpening(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := exec.Command("mkfifo", name).Run(); err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := Read(ctx, []string{name}, testOptions(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	w, err := os.OpenFile(name, os.O_WRONLY, 0) // so that the reader ends
	if err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
}

// TestStopsWaiting cancels while standard input has nothing to say.
func TestStopsWaiting(t *testing.T) {
	pr, pw := io.Pipe()
	defer func() { _ = pw.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	opt := testOptions()
	opt.Stdin = pr
	done := make(chan error, 1)
	go func() {
		_, err := Read(ctx, []string{"-"}, opt, func(*Record) error { return nil })
		done <- err
	}()
	select {
	case err := <-done:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("still waiting")
	}
}

func TestLongLines(t *testing.T) {
	good := "smtp: incoming message\t" +
		`{"msg_id":"1","src_host":"mail.example.net","src_ip":"192.0.2.7:1"}` + "\n"
	long := strings.Repeat("smtp: x\t{", 20000) + "\n"
	recs, st := collectText(t, testOptions(), good+long+strings.ReplaceAll(good, `"1"`, `"2"`))
	if len(recs) != 2 || st.Broken != 1 || st.Lines != 3 {
		t.Errorf("%d records, %d broken, %d lines", len(recs), st.Broken, st.Lines)
	}
}

func TestFieldsAreBounded(t *testing.T) {
	huge := strings.Repeat("x", 9000)
	for _, in := range []string{
		"helo,ip,rdns\n" + huge + ",192.0.2.7," + huge + "\n",
		"a: incoming message\t" + `{"msg_id":"1","src_host":"` + huge +
			`","src_ip":"192.0.2.7:1"}` + "\n",
		"2026-11-23 13:00:00 1abc-0002-XX <= a H=" + huge + " (" + huge + ") [192.0.2.7] P=esmtp\n",
	} {
		recs, _ := collectText(t, testOptions(), in)
		if len(recs) != 1 || len(recs[0].Helo) != maxField || len(recs[0].PTR) > maxField {
			t.Errorf("%d records for %.40q", len(recs), in)
		}
	}
}

func TestDetect(t *testing.T) {
	for in, want := range map[string]string{
		"Received: from a\n\tby b\nSubject: c\n\nbody":           "mail",
		"Return-Path: <a@example.net>\r\nX-A: b\r\n\r\n":         "mail",
		"X-First: 1\n folded\nDate: now\n":                       "mail",
		"From a@example.net Mon Nov 23 13:31:16 2026\nX: y\n":    "mbox",
		"From here on it is text\n":                              "",
		"HELO,IP\nx,192.0.2.7\n":                                 "csv",
		"ip;class;helo\n":                                        "csv",
		"class,helo\n":                                           "",
		"smtp: incoming message\t{}\n":                           "",
		"Nov 23 13:00:00 mx postfix/smtpd[1]: connect from x\n":  "",
		"2026-11-23 13:31:14 exim 4.96 daemon started: pid=11\n": "",
		"\x7fELF\x02\x01\x01\x00\x00":                            "unknown",
	} {
		names := []string{"unknown", "mbox", "csv", "mail", ""}
		if got := names[detect([]byte(in))]; got != want {
			t.Errorf("detect(%.30q) = %s, want %s", in, got, want)
		}
	}
}

func TestUnknownIsSkipped(t *testing.T) {
	for _, in := range []string{"", "\x00\x01\x02", "hello\nworld\n", "{}\n", "a: b\n", "helo,ip\n"} {
		recs, st := collectText(t, testOptions(), in)
		if len(recs) != 0 || st.Broken != 0 || !st.Nothing() || len(st.Unread) != 1 {
			t.Errorf("%q: %d records, %d broken, %v", in, len(recs), st.Broken, st.Unread)
		}
	}
	st, err := Read(t.Context(), []string{t.TempDir()}, testOptions(), nil)
	if err != nil || !st.Nothing() || len(st.Unread) != 1 {
		t.Errorf("empty directory: %v, %v", err, st.Unread)
	}
}
