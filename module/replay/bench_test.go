package replay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// generator streams size bytes of a log without holding them: rounds of lines,
// in which "@" stands for the number of the round. It has to be much faster
// than what it feeds.
type generator struct {
	lines []string
	left  int64
	n     int // lines so far
	parts [][]string
	buf   []byte
	rest  []byte // of buf, not read yet
}

func (g *generator) Read(p []byte) (int, error) {
	if len(g.rest) == 0 {
		if g.left <= 0 {
			return 0, io.EOF
		}
		g.fill()
		g.left -= int64(len(g.buf))
		g.rest = g.buf
	}
	n := copy(p, g.rest)
	g.rest = g.rest[n:]
	return n, nil
}

func (g *generator) fill() {
	if g.parts == nil {
		for _, line := range g.lines {
			g.parts = append(g.parts, strings.Split(line, "@"))
		}
	}
	g.buf = g.buf[:0]
	for range 200 {
		round := 100_000_000 + int64(g.n/len(g.lines))
		for i, part := range g.parts[g.n%len(g.lines)] {
			if i > 0 {
				g.buf = strconv.AppendInt(g.buf, round, 10)
			}
			g.buf = append(g.buf, part...)
		}
		g.buf = append(g.buf, '\n')
		g.n++
	}
}

const stampNow = "Nov 23 13:31:25 mx "

// benchLogs are the line mixes of servers, and how many greetings one round of
// them holds.
var benchLogs = []struct {
	name  string
	lines []string
	recs  int64
}{
	// Nine lines in ten say nothing about a greeting.
	{"postfix", []string{
		stampNow + "postfix/smtpd[10679]: connect from mail.example.net[192.0.2.7]",
		stampNow + "postfix/smtpd[10679]: @: client=mail.example.net[192.0.2.7]",
		stampNow + "postfix/cleanup[10686]: @: message-id=<@@mail.example.net>",
		stampNow + "postfix/qmgr[10635]: @: from=<a@example.net>, size=31000, nrcpt=1 (queue active)",
		stampNow + "postfix/smtpd[10679]: disconnect from mail.example.net[192.0.2.7] ehlo=2 mail=1",
		stampNow + "postfix/lmtp[10687]: @: to=<bob@example.org>, relay=mx[private/dovecot-lmtp], " +
			"delay=0.02, delays=0.01/0.01/0/0, dsn=2.0.0, status=sent (250 2.0.0 <bob@example.org> Saved)",
		stampNow + "postfix/qmgr[10635]: @: removed",
		stampNow + "postfix/smtpd[10679]: connect from unknown[192.0.2.9]",
		stampNow + "postfix/smtpd[10679]: NOQUEUE: reject: RCPT from unknown[192.0.2.9]: 504 5.5.2 " +
			"<friend@>: Helo command rejected: need fully-qualified hostname; from=<a@example.net> " +
			"to=<bob@example.org> proto=ESMTP helo=<friend@>",
		stampNow + "postfix/smtpd[10679]: disconnect from unknown[192.0.2.9] ehlo=1 mail=1 rcpt=0/1",
	}, 1},
	{"postfix-warned", []string{
		stampNow + "postfix/smtpd[1@]: NOQUEUE: reject_warning: RCPT from a.example.net[192.0.2.7]: " +
			"450 4.7.1 <b.example.net>: Helo command rejected: Host not found; from=<a@example.net> " +
			"to=<bob@example.org> proto=ESMTP helo=<b@.example.net>",
		stampNow + "postfix/smtpd[1@]: @: client=a.example.net[192.0.2.7]",
		stampNow + "postfix/cleanup[2]: @: warning: header Subject: test from " +
			"a.example.net[192.0.2.7]; from=<a@example.net> to=<bob@example.org> " +
			"proto=ESMTP helo=<b@.example.net>: seen",
		stampNow + "postfix/qmgr[3]: @: from=<a@example.net>, size=310, nrcpt=1 (queue active)",
	}, 1},
	{"maddy", []string{
		`2026-11-23T13:40:09.701Z smtp: incoming message` + "\t" + `{"msg_id":"@",` +
			`"sender":"a@example.net","src_host":"mail@.example.net","src_ip":"192.0.2.7:33251"}`,
		`2026-11-23T13:40:09.702Z smtp: RCPT ok` + "\t" + `{"msg_id":"@","rcpt":"bob@example.org"}`,
		`2026-11-23T13:40:09.703Z smtp: accepted` + "\t" + `{"msg_id":"@"}`,
	}, 1},
	{"exim", []string{
		"2026-11-23 13:31:16 1xVU8a-@-27 <= a@example.net H=m.example.net (h@.example.net) [192.0.2.7] " +
			"P=esmtps X=TLS1.3:ECDHE_X25519:256 CV=no S=223 id=@@example.net",
		"2026-11-23 13:31:16 1xVU8a-@-27 => bob <bob@example.org> R=local T=md",
		"2026-11-23 13:31:16 1xVU8a-@-27 Completed",
	}, 1},
	{"mbox", append(append([]string{
		"From a@example.net Mon Nov 23 13:31:16 2026",
		"Received: from h@.example.net (m.example.net [192.0.2.7])",
		"\tby mx.example.org (Postfix) with ESMTPS id @",
		"\tfor <bob@example.org>; Mon, 23 Nov 2026 13:31:16 +0000 (UTC)",
		"Subject: test",
		"",
	}, strings.Split(strings.Repeat("A line of the body of a mail, as long as such lines are.|", 200),
		"|")...), ""), 1},
	{"csv", []string{
		"h@.example.net,192.0.2.7,m.example.net,yes,example.org,mx.example.org,ham,1",
	}, 1},
}

func (g *generator) input(name string) io.Reader {
	if name == "csv" {
		return io.MultiReader(strings.NewReader(
			"helo,ip,rdns,ptr_confirmed,rcpt,self,class,count\n"), g)
	}
	return g
}

func readAll(tb testing.TB, in io.Reader) Stats {
	tb.Helper()
	opt := testOptions()
	opt.Stdin = in
	st, err := Read(context.Background(), []string{"-"}, opt, func(*Record) error { return nil })
	if err != nil {
		tb.Fatal(err)
	}
	return st
}

func BenchmarkRead(b *testing.B) {
	for _, tt := range benchLogs {
		b.Run(tt.name, func(b *testing.B) {
			g := generator{lines: tt.lines, left: 4 << 20}
			data, err := io.ReadAll(g.input(tt.name))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				st := readAll(b, bytes.NewReader(data))
				if want := int64(g.n/len(tt.lines)) * tt.recs; st.Records < want {
					b.Fatalf("%d records of %d", st.Records, want)
				}
			}
		})
	}
}

// peakOf samples an amount of memory until stop is called.
func peakOf(memory func() uint64) (stop func() uint64) {
	var peak atomic.Uint64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			peak.Store(max(peak.Load(), memory()))
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() uint64 {
		close(done)
		<-ended
		return peak.Load()
	}
}

// heap returns what the heap and the stacks hold, garbage too.
func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// live returns what of the heap the last run of the collector has found in use.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// BenchmarkStream reads generated logs of REPLAY_STREAM_MIB mebibytes and
// reports the rate and the peak of the heap. The rate includes the generator.
func BenchmarkStream(b *testing.B) {
	var mib int64
	if _, err := fmt.Sscan(os.Getenv("REPLAY_STREAM_MIB"), &mib); err != nil {
		b.Skip("REPLAY_STREAM_MIB is not set")
	}
	for _, tt := range benchLogs {
		b.Run(tt.name, func(b *testing.B) {
			for range b.N {
				stop := peakOf(heap)
				g := &generator{lines: tt.lines, left: mib << 20}
				st := readAll(b, g.input(tt.name))
				b.SetBytes(mib << 20)
				b.ReportMetric(float64(stop())/(1<<20), "peak-MiB")
				b.ReportMetric(float64(st.Records), "records")
			}
		})
	}
}

// TestMemoryIsBounded reads logs whose messages are never answered, the worst case for what has to
// be remembered. Garbage does not count: a loaded machine collects it late.
func TestMemoryIsBounded(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(30)) // as the tool has it
	for _, tt := range benchLogs {
		runtime.GC()
		before, stop := live(), peakOf(live)
		g := &generator{lines: tt.lines[:1], left: 16 << 20}
		if tt.name == "mbox" {
			g.lines = tt.lines[:6]
		}
		readAll(t, g.input(tt.name))
		if grown := int64(stop()) - int64(before); grown > 2*maxHeld {
			t.Errorf("%s: %d MiB in use for 16 MiB", tt.name, grown>>20)
		}
	}
}
