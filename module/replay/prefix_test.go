package replay

import (
	"cmp"
	"encoding/json"
	"fmt"
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
		"Nov 23 13:00:00 mx mail.info  exim[1]: ":                     "13:00:00 mail.info",
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
