package replay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wrapping is what a program puts before a line of another, and the time in it.
type wrapping struct {
	name string
	wrap func(line string) string
	at   string // "" without
	host string // "" without
}

func before(prefix string) func(string) string {
	return func(line string) string { return prefix + line }
}

func inJSON(format string) func(string) string {
	return func(line string) string {
		// A string always has a JSON form.
		text, _ := json.Marshal(line)
		return fmt.Sprintf(format, text)
	}
}

var wrappings = []wrapping{
	{"syslog", before("Nov 23 12:00:01 host docker[32360]: "), "12:00:01", "host"},
	{"syslog without process", before("Nov 23 12:00:02 host kernel/docker: "), "12:00:02", "host"},
	{"priority", before("<22>Nov 23 12:00:03 host app[1]: "), "12:00:03", "host"},
	{"RFC 5424", before("<22>1 2026-11-23T12:00:04Z host app 7 - - "), "12:00:04", "host"},
	{"RFC 5424 with data", before(`<22>1 2026-11-23T12:00:05.25Z host app - id1 [x@1 a="b c"] `), "12:00:05.25", "host"},
	{"compose", before("mail-1  | "), "", "mail-1"},
	{"kubectl", before("[pod/mail-0/mx] "), "", "[pod/mail-0/mx]"},
	{"CRI", before("2026-11-23T12:00:06.123456789Z stdout F "), "12:00:06.123456789", ""},
	{"CRI, stderr", before("2026-11-23T13:00:07+01:00 stderr F "), "12:00:07", ""},
	{"docker logs -t", before("2026-11-23T12:00:08.5Z "), "12:00:08.5", ""},
	{"grep", before("/var/log/mail.log:"), "", ""},
	{"grep -n", before("mail.log:17:"), "", ""},
	{"journalctl -o short-full", before("Mon 2026-11-23 12:00:09 UTC host app[1]: "), "12:00:09", "host"},
	{"journalctl -o short-iso", before("2026-11-23T12:00:10+0000 host app[1]: "), "12:00:10", "host"},
	{"journalctl -o short-unix", before("1795435211.500000 host app[1]: "), "12:00:11.5", "host"},
	{"docker's json-file", inJSON(`{"log":%s,"stream":"stdout","time":"2026-11-23T12:00:12.5Z"}`), "12:00:12.5", ""},
	{"journalctl -o json", inJSON(`{"_HOSTNAME":"host","__REALTIME_TIMESTAMP":"1795435213000000",` +
		`"SYSLOG_IDENTIFIER":"app","_PID":"7","MESSAGE":%s}`), "12:00:13", "host"},
	{"logcli -o jsonl", inJSON(`{"labels":{"job":"mail"},"line":%s,"timestamp":"2026-11-23T12:00:14Z"}`), "12:00:14", ""},
	{"filebeat", inJSON(`{"@timestamp":"2026-11-23T12:00:14.5Z","log":{"file":{"path":"/x"}},"message":%s}`), "12:00:14.5", ""},
	{"vector", inJSON(`{"host":"host","message":%s,"timestamp":"2026-11-23T12:00:15.000001Z"}`), "12:00:15.000001", "host"},
}

// innermost are lines of each server, as they stand without any wrapping.
var innermost = []struct{ line, want, at, host string }{
	{"Nov 23 13:00:00 mx postfix/smtpd[9]: NOQUEUE: reject: RCPT from m.example.net[192.0.2.7]: 504 5.5.2 " +
		"<pc7>: need a name; from=<a@example.net> to=<b@example.org> proto=ESMTP helo=<pc7>",
		"pc7 192.0.2.7 b@example.org rejected", "13:00:00", "mx"},
	{"2026-11-23 13:00:00 1xVU8a-00032X-27 <= a@example.net H=(pc8) [192.0.2.8]:41234 P=esmtps S=1 for b@example.org",
		"pc8 192.0.2.8 b@example.org accepted", "13:00:00", ""},
	{"2026-11-23T13:00:00.5Z smtp: incoming message\t" +
		`{"msg_id":"1","sender":"a@example.net","src_host":"pc9","src_ip":"192.0.2.9:55461"}`,
		"pc9 192.0.2.9  ", "13:00:00.5", ""},
	{"smtp: incoming message\t" +
		`{"msg_id":"1","sender":"a@example.net","src_host":"pc9","src_ip":"192.0.2.9:55461"}`,
		"pc9 192.0.2.9  ", "", ""},
}

// TestWrappings puts each line behind every pair of wrappings: the record stays, and
// the innermost time and host count.
func TestWrappings(t *testing.T) {
	none := wrapping{"nothing", before(""), "", ""}
	for _, in := range innermost {
		for _, outer := range append(wrappings, none) {
			for _, inner := range append(wrappings, none) {
				if in.at == "" && inner.at == "" && strings.HasPrefix(inner.name, "grep") {
					continue // a file's name tells from nothing without a time
				}
				line := outer.wrap(inner.wrap(in.line))
				recs, st := collectText(t, testOptions(), line+"\n")
				if len(recs) != 1 || st.Broken != 0 {
					t.Errorf("%s, %s: %d records, %d broken of\n%s", outer.name, inner.name, len(recs), st.Broken, line)
					continue
				}
				r := &recs[0]
				at := ""
				if !r.Time.IsZero() {
					at = r.Time.UTC().Format("15:04:05.999999999")
				}
				got := fmt.Sprintf("%s %s %s %s|%s|%s", r.Helo, r.Client, strings.Join(r.Rcpts, ","), r.Outcome, at, r.Server)
				want := in.want + "|" + cmp.Or(in.at, inner.at, outer.at) + "|" +
					cmp.Or(in.host, inner.host, outer.host)
				if strings.HasPrefix(outer.name, "grep") && inner.host != "" && inner.at == "" {
					want = strings.ReplaceAll(want, "|"+inner.host, "|"+r.Server) // the file's name touches it
				}
				if got != want {
					t.Errorf("%s, %s: got %q, want %q of\n%s", outer.name, inner.name, got, want, line)
				}
			}
		}
	}
}

// TestHosts reads one refusal behind headers: a host is neither a process nor part of a date.
func TestHosts(t *testing.T) {
	const line = "H=m.example.net (x) [192.0.2.7] F=<a@example.net> rejected RCPT <b@example.org>: no\n"
	for header, want := range map[string]string{
		"2026-11-23 13:00:00 [1001] ":                                 "13:00:00 ",
		"Nov 23 13:00:00 mx exim[123]: [1001] ":                       "13:00:00 mx",
		"Nov 23 13:00:00 mx exim: ":                                   "13:00:00 mx",
		"Nov 23 13:00:00 2001:db8::1 exim[123]: ":                     "13:00:00 2001:db8::1",
		"Nov 23 13:00:00 192.0.2.1 exim[123]: ":                       "13:00:00 192.0.2.1",
		"23-Nov-2026 13:00:00 mx exim[1]: ":                           "13:00:00 mx",
		"2026/11/23 13:00:00 mx exim[1]: ":                            "13:00:00 mx",
		"Nov 23 2026 13:00:00 mx exim[1]: ":                           "13:00:00 mx",
		"Mon Nov 23 13:00:00 2026 mx exim[1]: ":                       "13:00:00 mx",
		"Nov 23 13:00:00 mx mail.info  exim[1]: ":                     "13:00:00 mx",
		"Mon Nov 23 13:00:00 2026 mail.info exim[1]: ":                "13:00:00 ",
		"Mon 2026-11-23 13:00:00 CET mx exim[1]: ":                    "13:00:00 mx",
		"Nov 31 13:00:00 mx exim[1]: ":                                "- mx",
		"23.11.2026 13:00:00 exim[1]: ":                               "- ",
		"<22>1 2026-11-23T13:00:00Z - exim 7 - - ":                    "13:00:00 ",
		strings.Repeat("\x00", 4096) + "Nov 23 13:00:00 mx exim[1]: ": "13:00:00 mx",
	} {
		for _, in := range []string{header + line, line + header + line} {
			recs, st := collectText(t, testOptions(), in)
			if len(recs) == 0 || len(recs) != strings.Count(in, "\n") || st.Broken != 0 {
				t.Errorf("%.80q: %d records, %d broken", header, len(recs), st.Broken)
				continue
			}
			r, at := &recs[len(recs)-1], "-"
			if !r.Time.IsZero() {
				at = r.Time.Format(time.TimeOnly)
			}
			if got := at + " " + r.Server; got != want {
				t.Errorf("%.80q: got %q, want %q", header, got, want)
			}
		}
	}
}

func TestStamp(t *testing.T) {
	east := time.FixedZone("", 3600)
	local := time.Local
	time.Local = east
	t.Cleanup(func() { time.Local = local })
	s := stamper{now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	for _, tt := range []struct{ line, want string }{
		{"Feb  3 13:00:01 mx x", "2026-02-03T12:00:01Z|mx x"},
		{"Feb 23 13:00:01 mx x", "2026-02-23T12:00:01Z|mx x"},
		{"Mar  1 13:00:01 mx x", "2026-03-01T12:00:01Z|mx x"}, // a day of grace
		{"Mar  3 13:00:01 mx x", "2025-03-03T12:00:01Z|mx x"},
		{"Dec 31 23:59:59.123456 mx x", "2025-12-31T22:59:59.123456Z|mx x"},
		{"<22>Feb 23 13:00:01 mx x", "2026-02-23T12:00:01Z|mx x"},
		{"<22>1 2026-02-23T13:00:01.5Z mx x", "2026-02-23T13:00:01.5Z|mx x"},
		{"2026-02-23T13:00:01+02:00 mx x", "2026-02-23T11:00:01Z|mx x"},
		{"2026-02-23T13:00:01-0230 mx x", "2026-02-23T15:30:01Z|mx x"},
		{"2026-02-23T13:00:01.701Z smtp: x", "2026-02-23T13:00:01.701Z|smtp: x"},
		{"2026-02-23 13:00:01 H=x", "2026-02-23T12:00:01Z|H=x"},
		{"2026-02-23 13:00:01.5 H=x", "2026-02-23T12:00:01.5Z|H=x"},
		{"2026-02-23 13:00:01 +0000 H=x", "2026-02-23T13:00:01Z|H=x"},
		{"2026-02-23 13:00:01,25 x", "2026-02-23T12:00:01.25Z|x"},
		{"Mon 2026-02-23 13:00:01 UTC mx x", "2026-02-23T13:00:01Z|mx x"},
		{"1771851601.250000 mx x", "2026-02-23T13:00:01.25Z|mx x"},
		{"Mon Feb 23 13:00:01 mx x", "2026-02-23T12:00:01Z|mx x"},
		{"Feb 23 2024 13:00:01 mx x", "2024-02-23T12:00:01Z|mx x"},
		{"23-Feb-2026 13:00:01 mx x", "2026-02-23T12:00:01Z|mx x"},
		{"2026/02/23 13:00:01 mx x", "2026-02-23T12:00:01Z|mx x"},
		{"Feb 29 13:00:01 mx x", "2024-02-29T12:00:01Z|mx x"},
		{"Nov 31 13:00:01 mx x", "-|Nov 31 13:00:01 mx x"},
		{"smtp: incoming message", "-|smtp: incoming message"},
		{"Fox 23 13:00:01 mx x", "-|Fox 23 13:00:01 mx x"},
		{"Feb xx 13:00:01 mx x", "-|Feb xx 13:00:01 mx x"},
		{"2026-02-23T1x:00:01 x", "-|2026-02-23T1x:00:01 x"},
		{"2026-02-23 13:0:01 x 1234", "-|2026-02-23 13:0:01 x 1234"},
		{"<999999>x", "-|<999999>x"},
		{"", "-|"},
	} {
		at, rest, ok := s.cut([]byte(tt.line))
		if !ok {
			rest = []byte(tt.line)
		}
		got := "-|" + string(rest)
		if !at.IsZero() {
			got = at.UTC().Format(time.RFC3339Nano) + "|" + string(rest)
		}
		if got != tt.want {
			t.Errorf("%q: got %s, want %s", tt.line, got, tt.want)
		}
	}
}

// TestPrefixes puts every sample line behind what journald, syslog and docker
// write before it: the same greetings must come out.
func TestPrefixes(t *testing.T) {
	quote := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	wraps := map[string]func(line, program string) string{
		"syslog":   func(l, p string) string { return "Nov 23 13:00:00 mx " + p + "[7]: " + l },
		"priority": func(l, p string) string { return "<22>Nov 23 13:00:00 mx " + p + "[7]: " + l },
		"iso": func(l, p string) string {
			return "2026-11-23T13:00:00.5+00:00 mx " + p + "[7]: " + l
		},
		"rfc5424": func(l, p string) string {
			return "<22>1 2026-11-23T13:00:00Z mx " + p + " 7 - - " + l
		},
		"full": func(l, p string) string {
			return "Mon 2026-11-23 13:00:00 UTC mx " + p + "[7]: " + l
		},
		"unix": func(l, p string) string { return "1795438800.000001 mx " + p + "[7]: " + l },
		"escaped": func(l, p string) string {
			return "Nov 23 13:00:00 mx " + p + "[7]: " + strings.ReplaceAll(l, "\t", "#011")
		},
		"journal": func(l, p string) string {
			return `{"_HOSTNAME":"mx","__REALTIME_TIMESTAMP":"1795438800000000","_PID":"7",` +
				`"SYSLOG_IDENTIFIER":` + quote(p) + `,"MESSAGE":` + quote(l) + `}`
		},
		"journal bytes": func(l, p string) string {
			codes := strings.Trim(strings.ReplaceAll(fmt.Sprintf("%d", []byte(l)), " ", ","), "[]")
			return `{"MESSAGE":[` + codes + `],"SYSLOG_IDENTIFIER":` + quote(p) + `}`
		},
		"docker": func(l, p string) string {
			if p != "maddy" && p != "exim" {
				l = "mx " + p + "[7]: " + l
			}
			return `{"log":` + quote(l+"\n") + `,"stream":"stderr","time":"2026-11-23T13:00:00.5Z"}`
		},
	}
	for file, program := range map[string]string{
		"maddy.log": "maddy", "exim.log": "exim", "postfix.log": "",
	} {
		file = filepath.Join("testdata", file)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		plain, _ := collect(t, testOptions(), file)
		for name, wrap := range wraps {
			var b strings.Builder
			for line := range strings.Lines(string(text)) {
				line = strings.TrimRight(line, "\n")
				p := program
				if p == "" { // the line has its own prefix
					_, line, _ = strings.Cut(line, " mx ")
					p, line, _ = strings.Cut(line, "[")
					_, line, _ = strings.Cut(line, "]: ")
				}
				b.WriteString(wrap(line, p) + "\n")
			}
			recs, st := collectText(t, testOptions(), b.String())
			if got, want := outline(recs), outline(plain); got != want || st.Broken != 0 {
				t.Errorf("%s as %s: %d broken, got\n%swant\n%s", file, name, st.Broken, got, want)
			}
			if program == "maddy" && name != "journal bytes" && recs[0].Time.IsZero() {
				t.Errorf("%s as %s: no time", file, name)
			}
		}
	}
}
