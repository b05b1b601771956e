package replay

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// outline leaves out the time, and sorts nothing: the order counts.
func outline(recs []Record) string {
	var b strings.Builder
	for _, r := range recs {
		r.Time = time.Time{}
		b.WriteString(show(&r) + "\n")
	}
	return b.String()
}

// lineCase is one case of a file of cases: "## name", the input, "=> note" and
// what is wanted.
type lineCase struct{ name, in, note, want string }

func readCases(tb testing.TB, file string) []lineCase {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", file))
	if err != nil {
		tb.Fatal(err)
	}
	var cases []lineCase
	for _, block := range strings.Split("\n"+string(text), "\n## ")[1:] {
		name, rest, _ := strings.Cut(block, "\n")
		in, rest, ok := strings.Cut(rest, "\n=>")
		if !ok {
			tb.Fatalf("%s: %s has no result", file, name)
		}
		note, want, _ := strings.Cut(rest, "\n")
		cases = append(cases, lineCase{
			name: name, in: in + "\n", note: strings.TrimSpace(note), want: strings.TrimSpace(want),
		})
	}
	if len(cases) < 20 {
		tb.Fatalf("%s: only %d cases", file, len(cases))
	}
	return cases
}

// TestLines reads logs of a few lines. Wanted are of each record "helo client ptr/state
// outcome reason", and in the note counts: broken lines, those that are left out by
// reason, messages without a greeting, inputs without names.
func TestLines(t *testing.T) {
	for _, tt := range readCases(t, "lines.txt") {
		t.Run(tt.name, func(t *testing.T) {
			recs, st := collectText(t, testOptions(), tt.in)
			var got []string
			for _, r := range recs {
				auth := ""
				if r.Auth {
					auth = " (login)"
				}
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s/%s %s %s", r.Helo,
					r.Client, r.PTR, r.PTRState, r.Outcome, r.Reason))+auth)
			}
			messages := 0
			for i := range recs {
				messages += recs[i].Count
			}
			counts := map[string]int64{"messages": int64(messages), "broken": st.Broken, "no_greeting": st.NoGreeting,
				"no_names": int64(len(st.NoNames))}
			maps.Copy(counts, st.Skipped)
			words := strings.Fields(tt.note)
			for i := range recs {
				if r := &recs[i]; strings.HasPrefix(tt.name, "exim, neither") && (r.From != "a@example.net" ||
					!slices.Contains(r.Rcpts, "b@example.org") && r.Helo < "z4") {
					t.Errorf("%s: from %q to %q", r.Helo, r.From, r.Rcpts)
				}
			}
			for i := 0; i+1 < len(words); i += 2 {
				if n := fmt.Sprint(counts[words[i]]); n != words[i+1] {
					t.Errorf("%s: %s, want %s", words[i], n, words[i+1])
				}
			}
			if s := strings.Join(got, "\n"); s != tt.want {
				t.Errorf("got\n%s\nwant\n%s", s, tt.want)
			}
		})
	}
}

func TestAuthenticatedPostfix(t *testing.T) {
	const (
		at     = "Nov 23 13:00:00 mx postfix/"
		client = "m.example.net[192.0.2.7]"
		names  = "; from=<a> to=<b> proto=ESMTP helo="
		header = "cleanup[8]: 4ABC: warning: header Subject: y from " + client + names
	)
	const in = at + "smtpd[9]: NOQUEUE: reject: RCPT from " + client + ": 550 no" + names +
		"<x> sasl_username=<bob>\n" +
		at + "smtpd[9]: 4ABC: client=" + client + ", sasl_method=PLAIN, sasl_username=bob\n" +
		at + header + "<y>\n" +
		"Nov 23 13:00:00 mx2 postfix/" + header + "<z>\n"
	recs, _ := collectText(t, testOptions(), in)
	if len(recs) != 3 || !recs[0].Auth || recs[0].Helo != "x" || !recs[1].Auth || recs[2].Auth {
		t.Errorf("got\n%s", showAll(recs))
	}
}

// TestResolverTexts reads what libraries say about a PTR name that does not lead back.
func TestResolverTexts(t *testing.T) {
	for _, tt := range []struct {
		library, text string
		want          PTRState
	}{
		{"postfix", "", Unconfirmed}, // the name has other addresses
		{"glibc", ": Name or service not known", Unconfirmed},
		{"glibc", ": No address associated with hostname", Unconfirmed},
		{"glibc", ": Address family for hostname not supported", Unconfirmed},
		{"glibc", ": Temporary failure in name resolution", NotRecorded},
		{"glibc", ": Non-recoverable failure in name resolution", NotRecorded},
		{"glibc", ": System error", NotRecorded},
		{"glibc", ": Memory allocation failure", NotRecorded},
		{"musl", ": Name does not resolve", Unconfirmed},
		{"musl", ": Name has no usable address", Unconfirmed},
		{"musl", ": Try again", NotRecorded},
		{"musl", ": Non-recoverable error", NotRecorded},
		{"musl", ": Unknown error", NotRecorded},
		{"FreeBSD", ": hostname nor servname provided, or not known", Unconfirmed},
		{"FreeBSD", ": Name does not resolve", Unconfirmed},
		{"FreeBSD", ": Temporary failure in name resolution", NotRecorded},
		{"macOS", ": nodename nor servname provided, or not known", Unconfirmed},
		{"OpenBSD", ": no address associated with name", Unconfirmed},
		{"OpenBSD", ": name or service is not known", Unconfirmed},
		{"OpenBSD", ": temporary failure in name resolution", NotRecorded},
		{"NetBSD", ": No address associated with hostname", Unconfirmed},
		{"NetBSD", ": Non-recoverable failure in name resolution", NotRecorded},
		{"Solaris", ": node name or service name not known", Unconfirmed},
		{"netdb.h", ": Unknown host", Unconfirmed},
		{"netdb.h", ": Host name lookup failure", NotRecorded},
		{"none", ": a text of nobody's", NotRecorded},
	} {
		for _, warning := range []string{
			"hostname b.example.net does not resolve to address 192.0.2.7@",
			"192.0.2.7: hostname b.example.net verification failed@",
		} {
			warning = strings.Replace(warning, "@", tt.text, 1)
			in := "Nov 23 13:00:00 mx postfix/smtpd[9]: warning: " + warning + "\n" +
				"Nov 23 13:00:00 mx postfix/smtpd[9]: NOQUEUE: reject: RCPT from unknown[192.0.2.7]: " +
				"550 no; from=<> to=<b@example.org> proto=SMTP helo=<x>\n"
			recs, st := collectText(t, testOptions(), in)
			if tt.text == "" && strings.Contains(warning, "failed") {
				continue // is never written without a reason
			}
			if len(recs) != 1 || recs[0].PTRState != tt.want || recs[0].PTR != "b.example.net" || len(st.NoNames) != 0 {
				t.Errorf("%s, %s: want %s, got\n%s", tt.library, warning, tt.want, showAll(recs))
			}
		}
	}
}

// openMessage is how a message begins and ends in a server's log, "@" its number and
// "#" that of its host.
type openMessage struct{ start, end string }

var openMessages = []openMessage{
	{`Nov 23 13:00:00 mx# maddy[7]: smtp: incoming message	{"msg_id":"@","src_host":"h@.mx#","src_ip":"192.0.2.7:1"}
`, `Nov 23 13:00:00 mx# maddy[7]: smtp: RCPT ok	{"msg_id":"@","rcpt":"u@@mx#.example"}
Nov 23 13:00:00 mx# maddy[7]: smtp: accepted	{"msg_id":"@"}
`},
	{`Nov 23 13:00:00 mx# postfix/smtpd[1@]: NOQUEUE: reject_warning: RCPT from m.example.net[192.0.2.7]: 504 no; from=<a@example.net> to=<u@@mx#.example> proto=ESMTP helo=<h@.mx#>
`, `Nov 23 13:00:00 mx# postfix/smtpd[1@]: AB@: client=m.example.net[192.0.2.7]
Nov 23 13:00:00 mx# postfix/qmgr[3]: AB@: from=<a@example.net>, size=310, nrcpt=1 (queue active)
`},
	{"", `Nov 23 13:00:00 mx# exim[7]: 1abc-@-XX <= a@example.net H=m.example.net (h@.mx#) [192.0.2.7]:25 P=esmtp S=1 for u@@mx#.example
Nov 23 13:00:00 mx# exim[7]: 1abc-@-XX => u@@mx#.example R=local T=md
`},
}

// TestManyOpen reads the merged log of hosts and servers that all have messages under
// way: each keeps its recipient. Beyond the memory bound the oldest are given up; none
// is lost, none counted twice, and Stats tells.
func TestManyOpen(t *testing.T) {
	for _, tt := range []struct{ hosts, each int }{{3, 1000}, {2, 12000}} {
		var start, end strings.Builder
		for host := range tt.hosts {
			for i := range tt.each {
				for kind, m := range openMessages {
					number := strings.NewReplacer("@example", "@example", "@mx", "@mx",
						"@", fmt.Sprint(10*(1000+i)+kind), "#", fmt.Sprint(host))
					start.WriteString(number.Replace(m.start))
					end.WriteString(number.Replace(m.end))
				}
			}
		}
		recs, st := collectText(t, testOptions(), start.String()+end.String())
		seen := make(map[string]bool)
		answered := 0
		for _, r := range recs {
			seen[r.Helo] = true
			if r.Outcome != Accepted {
				continue
			}
			answered++
			name, host, _ := strings.Cut(r.Helo, ".")
			if len(r.Rcpts) != 1 || r.Rcpts[0] != "u"+name[1:]+"@"+host+".example" || r.Server != host {
				t.Fatalf("got %s", show(&r))
			}
		}
		n, dropped := tt.hosts*tt.each*len(openMessages), int(st.Skipped[SkippedDropped])
		if len(recs) != n || len(seen) != n || answered+dropped != n || (dropped > 0) != (n > 10000) {
			t.Errorf("%d records, %d names, %d answered, %d dropped of %d", len(recs), len(seen),
				answered, dropped, n)
		}
	}
}

// TestMainAndRejectLog reads the two files that Exim writes of one event: it counts
// once. An event that comes twice in one file counts twice.
func TestMainAndRejectLog(t *testing.T) {
	const refusal = "2026-11-23 13:00:00 H=m.example.net (x) [192.0.2.7] F=<a@example.net> rejected RCPT <b@example.org>: no\n"
	const other = "2026-11-23 13:00:00 H=m.example.net (x) [192.0.2.7] F=<a@example.net> rejected RCPT <c@example.org>: no\n"
	const taken = "2026-11-23 13:00:01 1abc-0002-XX <= a@example.net H=m.example.net (x) [192.0.2.7] P=esmtp\n"
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mainlog":   refusal + refusal + other + taken,
		"rejectlog": refusal + "Envelope-from: <a@example.net>\n\tfor b@example.org\n" + refusal + other,
		"other":     strings.ReplaceAll(refusal, "13:00:00", "13:00:02"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	recs, st := collect(t, testOptions(), dir)
	if len(recs) != 5 || st.Skipped[SkippedDuplicate] != 3 || st.Broken != 0 {
		t.Errorf("%d records, %v, %d broken", len(recs), st.Skipped, st.Broken)
	}
}
