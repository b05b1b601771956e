package report

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/replay"
)

// testRules is a table of three rules; the indexes below are theirs.
var testRules = []checkhelo.Rule{
	{Name: "bare_ip", Action: checkhelo.Reject},
	{Name: "no_ptr", Action: checkhelo.Score, Score: 3},
	{Name: "listed", Action: checkhelo.Off},
}

const (
	bareIP = 1 << 0
	noPTR  = 1 << 1
)

func result(action checkhelo.Action, rules uint64, decided int) Result {
	r := Result{Action: action, Would: action, Rules: rules}
	if decided >= 0 {
		r.Hits = []Hit{{testRules[decided].Name, action.String(), testRules[decided].Score}}
	}
	return r
}

var morning = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

func message(class, helo, client string, n int, at time.Time, r Result) *Message {
	rec := &replay.Record{Class: class, Helo: helo, Count: n, Time: at}
	if client != "" {
		rec.Client = netip.MustParseAddr(client)
	}
	return &Message{Record: rec, Result: r}
}

// sample counts the same few messages for each test of a format.
func sample() *Report {
	t := New("rfc", testRules)
	var never time.Time
	lost := message("ham", "mx.example.net", "192.0.2.7", 1, morning, result(checkhelo.Quarantine, noPTR, 1))
	lost.From, lost.Rcpts, lost.MsgID, lost.Outcome = "a@example.net", []string{"<script>"}, "4XyZ", replay.Accepted
	lost.PTRState = replay.None
	for _, m := range []*Message{
		message("ham", "mail.example.org", "", 1200, never, result(checkhelo.Off, 0, -1)),
		message("ham", "Mail.Example.ORG", "", 33, never, result(checkhelo.Ignore, 0, -1)),
		message("ham", "mx.example.org", "", 1, never, result(checkhelo.Score, noPTR, 1)),
		lost,
		message("spam", "192.0.2.7", "192.0.2.7", 2, morning, result(checkhelo.Reject, bareIP|noPTR, 0)),
		message("spam", "192.0.2.8", "192.0.2.8", 3, morning.Add(50*time.Hour), result(checkhelo.Reject, bareIP, 0)),
		message("spam", "<script>", "192.0.2.9", 1, morning, result(checkhelo.Quarantine, noPTR, 1)),
		message("", "friend", "", 5, never, Result{Exempt: "auth"}),
		message("", "later", "", 1, never, Result{TryLater: true}),
	} {
		t.Add(m)
	}
	t.Notes = append(t.Notes, "a note")
	return t
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	tally := sample()
	skipped := maddyconf.Table{Directive: "exempt_names", Table: "sql_query", Reason: "absent"}
	tally.NotEvaluated = append(tally.NotEvaluated, skipped)
	if err := json.NewEncoder(&out).Encode(tally.Sum()); err != nil {
		t.Fatal(err)
	}
	var got Report
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.NotEvaluated, []maddyconf.Table{skipped}) {
		t.Errorf("not evaluated: %v", got.NotEvaluated)
	}
	ham, spam := got.Classes["ham"], got.Classes["spam"]
	// Two names of example.org are one organisation.
	if ham.Count != (Count{1235, 3, 2}) || spam.Count != (Count{6, 3, 3}) ||
		got.Classes[DefaultClass].Count != (Count{6, 2, 2}) {
		t.Errorf("classes %+v %+v", ham, spam)
	}
	for action, want := range map[string]Count{
		"reject": {5, 2, 2}, "quarantine": {1, 1, 1}, "greylist": {}, "score": {}, "none": {},
	} {
		if *spam.Actions[action] != want {
			t.Errorf("spam: %s %+v, want %+v", action, spam.Actions[action], want)
		}
	}
	if *ham.Actions["none"] != (Count{1233, 1, 1}) {
		t.Errorf("a hit that is only logged counts as %+v", ham.Actions)
	}
	if rule := ham.Rules["no_ptr"]; rule.Count != (Count{2, 2, 2}) || rule.Verdicts["score"] != 1 {
		t.Errorf("no_ptr %+v", rule)
	}
	rule := spam.Rules["bare_ip"]
	if rule.Count != (Count{5, 2, 2}) || rule.Action != "reject" ||
		!slices.Equal(rule.Examples, []string{"192.0.2.8", "192.0.2.7"}) {
		t.Errorf("bare_ip %+v", rule)
	}
	if _, off := spam.Rules["listed"]; off {
		t.Error("a rule that is off is shown")
	}
	if len(got.Refused) != 2 || *got.Refused[0] != (Refused{"192.0.2.8", 3, "bare_ip", "192.0.2.8"}) {
		t.Errorf("refused %+v", got.Refused)
	}
	if got.Lost.Messages != 1 || got.Lost.Senders[0].Sender != "example.net" ||
		got.Lost.Senders[0].Greetings[0].Allow != "exempt_names static { entry mx.example.net 192.0.2.7 }" {
		t.Errorf("lost %+v", got.Lost)
	}
}

func TestCSV(t *testing.T) {
	var out bytes.Buffer
	if err := sample().WriteCSV(&out); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const perClass = 1 + 5 + 2
	if len(rows) != 1+3*perClass+2 {
		t.Errorf("%d rows", len(rows))
	}
	rest := make([]string, 9)
	for _, want := range [][]string{
		append([]string{"spam", "rule", "no_ptr", "score", "3", "2", "192.0.2.7 ?script?", "2"}, rest...),
		{"ham", "lost", "no_ptr", "quarantine", "1", "", "", "", "2026-03-01T09:00:00Z", "a@example.net",
			"?script?", "mx.example.net", "192.0.2.7", "", "none", "4XyZ", "exempt_names static { entry mx.example.net 192.0.2.7 }"},
	} {
		if !slices.ContainsFunc(rows, func(row []string) bool { return slices.Equal(row, want) }) {
			t.Errorf("no row %q in %q", want, rows)
		}
	}
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	tally := sample()
	if err := tally.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"policy rfc, 1,247 messages", "a note", "ham: 1,235 messages, 3 names, 2 organisations",
		"none +1,233 +99\\.84 % +1 +1", "bare_ip +reject +5 +83\\.33 % +2 +2 +192\\.0\\.2\\.8 192\\.0\\.2\\.7", "192\\.0\\.2\\.8 +3 +bare_ip +192\\.0\\.2\\.8",
		"not judged\nauth +5", "refused for the moment, as lookups failed: 1",
		"Is one of these a message you want\\? 1 accepted", "example.net: 1 messages",
		"  2026-03-01T09:00:00Z quarantine:no_ptr, HELO mx.example.net, client 192.0.2.7, PTR none",
		"    from a@example.net to \\?script\\?, message 4XyZ", "    exempt: exempt_names static \\{ entry mx.example.net 192.0.2.7 }",
	} {
		if !regexp.MustCompile("(?m)^" + want).Match(out.Bytes()) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestCompare(t *testing.T) {
	tally := New("rfc", testRules)
	tally.Compare("lenient")
	add := func(helo string, n int, a, b Result) {
		m := message("", helo, "", n, time.Time{}, a)
		m.Other = &b
		tally.Add(m)
	}
	add("192.0.2.7", 4, result(checkhelo.Reject, bareIP, 0), result(checkhelo.Score, bareIP, 0))
	add("same.example.org", 9, result(checkhelo.Reject, bareIP, 0), result(checkhelo.Reject, bareIP, 0))
	add("other.example.org", 2, result(checkhelo.Reject, bareIP, 0), result(checkhelo.Reject, noPTR, 1))
	add("good.example.org", 50, result(checkhelo.Off, 0, -1), result(checkhelo.Ignore, noPTR, 1))
	got := tally.Sum().Against
	want := []Change{
		{"192.0.2.7", "reject:bare_ip", "score:bare_ip", 4},
		{"other.example.org", "reject:bare_ip", "reject:no_ptr", 2},
	}
	if !slices.Equal(got.Changes, want) {
		t.Errorf("changes %+v, want %+v", got.Changes, want)
	}
	if want := []Change{{"", "reject", "score", 4}}; !slices.Equal(got.Moves, want) {
		t.Errorf("moves %+v, want %+v", got.Moves, want)
	}
	var out bytes.Buffer
	if err := tally.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "with lenient instead of rfc") {
		t.Error("the text does not tell of the comparison")
	}
}

// The page has to be complete in itself: no element may load anything.
func TestHTML(t *testing.T) {
	tally := sample()
	tally.Compare("lenient")
	hostile := message(`a"><img src=x>`, `"><img src=x onerror=alert(1)>`, "192.0.2.1", 1, time.Time{},
		result(checkhelo.Reject, bareIP, 0))
	hostile.Other, hostile.Outcome, hostile.From = &Result{}, replay.Accepted, `"><img src=x onerror=alert(1)>`
	tally.Add(hostile)
	var out bytes.Buffer
	if err := tally.WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"1,248 messages", "<strong>1,233</strong>", `class="reject" style="--n: 5"`, "With lenient instead",
		"prefers-color-scheme: dark", "<code>192.0.2.8</code>", "?script?",
		"Is one of these a message you want?", "a note",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the page", want)
		}
	}
	doc, err := html.Parse(&out)
	if err != nil {
		t.Fatal(err)
	}
	for node := range doc.Descendants() {
		if slices.Contains([]string{"img", "link", "iframe", "object"}, node.Data) && node.Type == html.ElementNode {
			t.Errorf("the page has an element %s", node.Data)
		}
		for _, attr := range node.Attr {
			if attr.Key == "src" || attr.Key == "href" || strings.HasPrefix(attr.Key, "on") {
				t.Errorf("element %s has %s=%q", node.Data, attr.Key, attr.Val)
			}
		}
	}
}

// Of more kinds than are kept messages are counted all the same, and the report says so.
func TestKindsAreBounded(t *testing.T) {
	tally := New("rfc", testRules)
	for i := range maxKinds + 10 {
		tally.Add(message("", fmt.Sprintf("mail%d.example.org", i), "", 2, time.Time{}, result(checkhelo.Score, noPTR, 1)))
	}
	r := tally.Sum()
	all := r.Classes[DefaultClass]
	if r.Exact || all.Count != (Count{2 * (maxKinds + 10), maxKinds, 1}) || all.Rules["no_ptr"].Count != all.Count {
		t.Errorf("exact %v, %+v, %+v", r.Exact, all.Count, all.Rules["no_ptr"].Count)
	}
	if got := r.AtLeast(7); got != "at least 7" {
		t.Error(got)
	}
}

func TestLostIsBounded(t *testing.T) {
	tally := New("rfc", testRules)
	add := func(helo string) {
		m := message("", helo, "192.0.2.1", 1, morning, result(checkhelo.Reject, noPTR, 1))
		m.Outcome, m.From = replay.Accepted, strings.Repeat("long", 1000)
		tally.Add(m)
	}
	for range 2 * groupLost {
		add("mail.example.org")
	}
	for i := range maxLost {
		add(fmt.Sprintf("mail.example%d.org", i))
	}
	r := tally.Sum().Lost
	listed := 0
	for _, g := range r.Senders {
		listed += len(g.Greetings)
	}
	if listed != maxLost || r.Messages != int64(maxLost+2*groupLost) || r.More != r.Messages-maxLost {
		t.Errorf("%d listed, %d more of %d", listed, r.More, r.Messages)
	}
	if first := r.Senders[0]; first.Sender != "example.org" || len(first.Greetings) != groupLost ||
		len(first.Greetings[0].From) > maxWord {
		t.Errorf("first %s, %d", first.Sender, len(first.Greetings))
	}
}

// The text says so when it does not list all, also where the cut falls between two senders.
func TestTextTellsOfTheCut(t *testing.T) {
	const listed, note = 50, "The list is cut"
	tally := New("rfc", testRules)
	for i := range listed + 1 {
		var out bytes.Buffer
		tally.Add(message("ham", fmt.Sprintf("mail.example%d.org", i), "192.0.2.1", 1, morning,
			result(checkhelo.Reject, noPTR, 1)))
		if err := tally.WriteText(&out); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(out.String(), note); got != (i >= listed) {
			t.Errorf("%d lost messages: says that the list is cut: %v", i+1, got)
		}
	}
}

// Lost is what was accepted and would not reach the inbox at once.
func TestLost(t *testing.T) {
	for _, tt := range []struct {
		class, outcome, reason string
		action                 checkhelo.Action
		want                   bool
	}{
		{"", replay.Accepted, "", checkhelo.Reject, true},
		{"", replay.Accepted, "", checkhelo.Greylist, true},
		{"", replay.Accepted, "", checkhelo.Score, false},
		{"", replay.Accepted, "dmarc", checkhelo.Quarantine, false},
		{"", replay.Accepted, "dmarc", checkhelo.Reject, true},
		{"", replay.Rejected, "", checkhelo.Reject, false},
		{"", replay.Deferred, "", checkhelo.Reject, false},
		{"", "", "", checkhelo.Reject, false},
		{"ham", "", "", checkhelo.Reject, true},
		{"spam", replay.Accepted, "", checkhelo.Reject, false},
	} {
		m := message(tt.class, "a", "", 1, morning, result(tt.action, noPTR, 1))
		m.Outcome, m.Reason = tt.outcome, tt.reason
		if m.isLost() != tt.want {
			t.Errorf("%+v", tt)
		}
	}
}

// The line has the proof that exempt_names and exempt_clients ask for, or an address.
func TestAllow(t *testing.T) {
	for _, tt := range []struct {
		helo, ptr string
		state     replay.PTRState
		want      string
	}{
		{"mail.example.org", "mail.example.org", replay.Confirmed, `exempt_names static { entry mail.example.org "" }`},
		{"example.org", "Mail.Example.org", replay.Confirmed, `exempt_names static { entry example.org "" }`},
		{"isp.example.net", "192-0-2-1.dyn.isp.example.net", replay.Confirmed,
			`exempt_clients static { entry 192-0-2-1.dyn.isp.example.net "" }`},
		{"localhost", "mail.example.org", replay.Confirmed, `exempt_clients static { entry mail.example.org "" }`},
		{"mail.example.org", "mail.example.org", replay.Unconfirmed, "exempt_names static { entry mail.example.org 192.0.2.1 }"},
		{"mail.example.org", "", replay.None, "exempt_names static { entry mail.example.org 192.0.2.1 }"},
		{"[192.0.2.1]", "", replay.None, `exempt_clients static { entry 192.0.2.1 "" }`},
	} {
		m := message("", tt.helo, "192.0.2.1", 1, morning, result(checkhelo.Reject, noPTR, 1))
		m.PTR, m.PTRState = tt.ptr, tt.state
		if got := m.allow(); got != tt.want {
			t.Errorf("%s, %s: %s, want %s", tt.helo, tt.ptr, got, tt.want)
		}
	}
}

func TestNDJSON(t *testing.T) {
	m := message("", "mail.example.org", "2001:db8::25", 1, morning, result(checkhelo.Quarantine, noPTR, 1))
	m.Server, m.PTR, m.PTRState, m.Rcpts, m.Outcome = "mx", "mail.example.org", replay.Unconfirmed, []string{"b@c"}, replay.Accepted
	m.Other, m.Score = &Result{Action: checkhelo.Reject}, 3
	var out bytes.Buffer
	for _, m := range []*Message{m, message("", "a", "", 7, time.Time{}, Result{TryLater: true})} {
		w := bufio.NewWriter(&out)
		NDJSON(w)(m)
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	const want = `{"time":"2026-03-01T09:00:00Z","server":"mx","helo":"mail.example.org","ip":"2001:db8::25",` +
		`"rdns":"mail.example.org","ptr":"unconfirmed","from":"","rcpt":["b@c"],"msg_id":"","auth":false,"class":"",` +
		`"outcome":"accepted","action":"quarantine","would":"quarantine","rule":"no_ptr",` +
		`"hits":[{"rule":"no_ptr","action":"quarantine","score":3}],"score":3,"exempt":"","known":"unknown",` +
		`"against":"reject","allow":"exempt_names static { entry mail.example.org 2001:db8::25 }"}
{"time":null,"server":"","helo":"a","ip":"","rdns":"","ptr":"unknown","from":"","rcpt":[],"msg_id":"",` +
		`"auth":false,"class":"","outcome":"","action":"tempfail","would":"tempfail","rule":"dns_error","hits":[],` +
		`"score":0,"exempt":"","known":"unknown","count":7}
`
	if out.String() != want {
		t.Errorf("wrote\n%swant\n%s", &out, want)
	}
}

func TestTimeline(t *testing.T) {
	tally := New("rfc", testRules)
	tally.Add(message("", "a", "", 1, time.Time{}, Result{}))
	if tally.Sum().Timeline != nil {
		t.Error("messages without a time make a chart")
	}
	var line Timeline
	at := time.Date(1969, 12, 30, 0, 30, 0, 0, time.UTC)
	for i := range 20_000 {
		line.add(at.Add(time.Duration(i)*17*time.Hour), strongest[i%len(strongest)], 2)
		if line.Columns() > maxSpans {
			t.Fatalf("%d points after %d messages", line.Columns(), i+1)
		}
	}
	sum := make(map[string]int64)
	line.sum()
	for _, p := range line.Points {
		for action, n := range p.Actions {
			sum[action] += n
		}
	}
	if want := (map[string]int64{"none": 8000, "score": 8000, "greylist": 8000, "quarantine": 8000,
		"reject": 8000}); !maps.Equal(sum, want) {
		t.Errorf("widening lost messages: %v", sum)
	}
	if labels := line.Labels(); !slices.IsSorted(labels) || len(labels) != 3 || len(line.Points) > maxSpans {
		t.Errorf("labels %q, %d points", labels, len(line.Points))
	}
	if line.Points[0].Column != 1 || line.Points[len(line.Points)-1].Column != line.Columns() {
		t.Errorf("%d columns, points %+v", line.Columns(), line.Points)
	}
}

// A chart of one hour has one label.
func TestLabels(t *testing.T) {
	var line Timeline
	line.add(morning, "reject", 1)
	if got := line.Labels(); !slices.Equal(got, []string{"2026-03-01 09:00"}) {
		t.Errorf("labels %q", got)
	}
}

func TestClassesAreBounded(t *testing.T) {
	tally := New("rfc", testRules)
	for i := range 100 {
		tally.Add(message(fmt.Sprint("class", i), "a", "", 1, morning, Result{}))
	}
	if r := tally.Sum(); len(r.Classes) > maxClasses+1 || r.Messages != 100 {
		t.Errorf("%d classes, %d messages", len(r.Classes), r.Messages)
	}
}

// Memory must not grow with the input: more names than are kept, that all differ
// and hit everything.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	rules := checkhelo.Rules()
	tally := New("rfc", rules)
	before := heap()
	client := netip.MustParseAddr("192.0.2.1")
	for i := range 200_000 {
		m := message("", fmt.Sprintf("host-%d.%s.example.org", i, strings.Repeat("long", 8)), "", 1,
			morning.Add(time.Duration(i)*time.Minute), result(checkhelo.Action(i%6), 1<<len(rules)-1, 0))
		m.Outcome, m.Client = replay.Accepted, client
		client = client.Next()
		tally.Add(m)
	}
	if grown := heap() - before; grown > 40<<20 {
		t.Errorf("%d MiB kept", grown>>20)
	}
	runtime.KeepAlive(tally)
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkAdd(b *testing.B) {
	tally := New("rfc", testRules)
	m := message("", "mail.example.org", "", 1, morning, result(checkhelo.Off, 0, -1))
	b.ReportAllocs()
	for b.Loop() {
		tally.Add(m)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	tally := New("rfc", testRules)
	m := message("", "mail.example.org", "192.0.2.7", 1, morning, result(checkhelo.Reject, bareIP|noPTR, 0))
	tally.Add(m)
	if n := testing.AllocsPerRun(100, func() { tally.Add(m) }); n > 0 {
		t.Errorf("%v allocations for a message like the last", n)
	}
}

func TestCSVHasNoFormula(t *testing.T) {
	for _, text := range []string{"=1+1@x.net", "+1", "-1", "@SUM(A1)"} {
		if line := csvRow("lost", text, 3); !strings.HasPrefix(line, "lost,'"+text+",3,") {
			t.Errorf("%q: %s", text, line)
		}
	}
}
