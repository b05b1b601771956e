package report

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/maddyconf"
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
	return Result{Action: action, Rules: rules, Decided: decided}
}

var morning = time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)

// sample counts the same few messages for each test of a format.
func sample() *Tally {
	t := NewTally("rfc", testRules)
	for _, m := range []Message{
		{Class: "ham", Helo: "mail.example.org", Count: 1200, Result: result(checkhelo.Off, 0, -1)},
		{Class: "ham", Helo: "Mail.Example.ORG", Count: 34, Result: result(checkhelo.Ignore, 0, -1)},
		{Class: "ham", Helo: "mx.example.net", Count: 1, Result: result(checkhelo.Score, noPTR, 1)},
		{
			Class: "spam", Helo: "192.0.2.7", Client: "192.0.2.7", Count: 2, Time: morning,
			Result: result(checkhelo.Reject, bareIP|noPTR, 0),
		},
		{
			Class: "spam", Helo: "192.0.2.8", Client: "192.0.2.8", Count: 3, Time: morning.Add(50 * time.Hour),
			Result: result(checkhelo.Reject, bareIP, 0),
		},
		{
			Class: "spam", Helo: "<script>", Client: "192.0.2.9", Count: 1, Time: morning,
			Result: result(checkhelo.Quarantine, noPTR, 1),
		},
		{Helo: "friend", Count: 5, Result: Result{Exempt: "auth", Decided: -1}},
		{Helo: "later", Count: 1, Result: Result{TryLater: true, Decided: -1}},
	} {
		t.Add(&m)
	}
	return t
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	tally := sample()
	skipped := maddyconf.Table{Directive: "exempt_names", Table: "sql_query", Reason: "absent"}
	tally.NotEvaluated = append(tally.NotEvaluated, skipped)
	if err := tally.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Classes      map[string]jsonClass
		NotEvaluated []maddyconf.Table `json:"not_evaluated"`
	}
	dec := json.NewDecoder(&out)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.NotEvaluated, []maddyconf.Table{skipped}) {
		t.Errorf("not evaluated: %v", got.NotEvaluated)
	}
	ham, spam := got.Classes["ham"], got.Classes["spam"]
	if ham.jsonCount != (jsonCount{1235, 2}) || spam.jsonCount != (jsonCount{6, 3}) ||
		got.Classes[DefaultClass].jsonCount != (jsonCount{6, 2}) {
		t.Errorf("classes %+v", got.Classes)
	}
	for action, want := range map[string]jsonCount{
		"reject": {5, 2}, "quarantine": {1, 1}, "score": {0, 0}, "none": {0, 0},
	} {
		if spam.Actions[action] != want {
			t.Errorf("spam: %s %+v, want %+v", action, spam.Actions[action], want)
		}
	}
	if ham.Actions["none"] != (jsonCount{1234, 1}) {
		t.Errorf("a hit that is only logged counts as %+v", ham.Actions)
	}
	rule := spam.Rules["bare_ip"]
	if rule.jsonCount != (jsonCount{5, 2}) || rule.Action != "reject" ||
		!slices.Equal(rule.Examples, []string{"192.0.2.8", "192.0.2.7"}) {
		t.Errorf("bare_ip %+v", rule)
	}
	if _, off := spam.Rules["listed"]; off {
		t.Error("a rule that is off is shown")
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
	const perClass = 1 + numActions + 2
	if len(rows) != 1+3*perClass {
		t.Errorf("%d rows", len(rows))
	}
	want := []string{"spam", "rule", "no_ptr", "score", "3", "2", "192.0.2.7 ?script?"}
	if !slices.ContainsFunc(rows, func(row []string) bool { return slices.Equal(row, want) }) {
		t.Errorf("no row %q in %q", want, rows)
	}
}

func TestText(t *testing.T) {
	var out bytes.Buffer
	tally := sample()
	if err := tally.WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"policy rfc, 1,247 messages", "ham: 1,235 messages, 2 names", "none +1,234 +99\\.92 % +1",
		"bare_ip +reject +5 +83\\.33 % +2 +192\\.0\\.2\\.8 192\\.0\\.2\\.7", "192\\.0\\.2\\.8 +3 +bare_ip +192\\.0\\.2\\.8",
		"not judged\nauth +5", "refused for the moment, as look-ups failed: 1",
	} {
		if !regexp.MustCompile("(?m)^" + want).Match(out.Bytes()) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestCompare(t *testing.T) {
	tally := NewTally("rfc", testRules)
	tally.Compare("lenient", testRules)
	add := func(helo string, n int64, a, b Result) {
		tally.Add(&Message{Helo: helo, Count: n, Result: a, Other: &b})
	}
	add("192.0.2.7", 4, result(checkhelo.Reject, bareIP, 0), result(checkhelo.Score, bareIP, 0))
	add("same.example.org", 9, result(checkhelo.Reject, bareIP, 0), result(checkhelo.Reject, bareIP, 0))
	add("other.example.org", 2, result(checkhelo.Reject, bareIP, 0), result(checkhelo.Reject, noPTR, 1))
	add("good.example.org", 50, result(checkhelo.Off, 0, -1), result(checkhelo.Ignore, noPTR, 1))
	want := []change{
		{"192.0.2.7", 4, "reject:bare_ip", "score:bare_ip"},
		{"other.example.org", 2, "reject:bare_ip", "reject:no_ptr"},
	}
	if got := tally.against.list(10); !slices.Equal(got, want) {
		t.Errorf("changes %+v, want %+v", got, want)
	}
	if n := tally.against.moves[rejected][scored]; n != 4 {
		t.Errorf("%d messages from reject to score, want 4", n)
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
	tally.Compare("lenient", testRules)
	tally.Add(&Message{
		Class: `a"><img src=x>`, Helo: `"><img src=x onerror=alert(1)>`, Count: 1,
		Result: result(checkhelo.Reject, bareIP, 0), Other: &Result{Decided: -1},
	})
	var out bytes.Buffer
	if err := tally.WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"1,248 messages", "<strong>1,234</strong>", `class="reject"`, "With lenient instead",
		"prefers-color-scheme: dark", "<code>192.0.2.8</code>", "?script?",
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

func TestBar(t *testing.T) {
	parts := bar([numActions]int64{none: 10, scored: 0, quarantined: 30, rejected: 60}, 200)
	var words []string
	x := 0.0
	for _, p := range parts {
		words = append(words, p.Action)
		if math.Abs(p.X-x) > 1e-9 {
			t.Errorf("%s begins at %v, want %v", p.Action, p.X, x)
		}
		x += p.W
	}
	if !slices.Equal(words, []string{"reject", "quarantine", "none"}) || math.Abs(x-50) > 1e-9 {
		t.Errorf("%v, %v %% wide", words, x)
	}
	if tiny := bar([numActions]int64{rejected: 1}, 1e9); tiny[0].W < 0.1 {
		t.Errorf("one message in 1e9 is %v %% wide: nobody sees that", tiny[0].W)
	}
}

func TestDistinct(t *testing.T) {
	for _, n := range []int{0, 1, 1000, 1001, 60_000} {
		d, back := distinct{limit: 1000}, distinct{limit: 1000}
		for i := range n {
			d.add(hash(fmt.Sprintf("mail%d.example.org", i)))
			d.add(hash(fmt.Sprintf("MAIL%d.example.org", i/2)))
			back.add(hash(fmt.Sprintf("mail%d.example.org", n-1-i)))
		}
		got, exact := d.count()
		if exact != (n <= 1000) || exact && got != n {
			t.Errorf("%d names: %d, exact %v", n, got, exact)
		}
		if off := math.Abs(float64(got-n)) / float64(max(n, 1)); off > 0.15 {
			t.Errorf("%d names: estimate %d", n, got)
		}
		if again, _ := back.count(); again != got {
			t.Errorf("%d names: %d in order, %d backwards", n, got, again)
		}
		if len(d.hashes) > 1000 {
			t.Errorf("%d hashes kept", len(d.hashes))
		}
	}
}

func TestTop(t *testing.T) {
	common := top[string]{keep: 100}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 200_000 {
		common.add(fmt.Sprintf("rare%d", rnd.IntN(1_000_000)), 1, nil)
		if i%20 == 0 {
			common.add("first", 2, func() string { return "note" })
		}
		if i%40 == 0 {
			common.add("second", 1, nil)
		}
	}
	got := common.first(2)
	if got[0].Key != "first" || got[0].Note != "note" || got[1].Key != "second" || !common.inexact {
		t.Errorf("first %+v, inexact %v", got, common.inexact)
	}
	if off := 20_000 - got[0].Messages; off < 0 || off > 4000 {
		t.Errorf("first has %d of 20000", got[0].Messages)
	}
	if len(common.entries) > 200 {
		t.Errorf("%d kept", len(common.entries))
	}
	exact := top[string]{keep: 2}
	for _, key := range []string{"c", "b", "a", "b"} {
		exact.add(key, 1, nil)
	}
	if got := exact.first(9); exact.inexact || len(got) != 3 || got[0].Key != "b" || got[1].Key != "a" {
		t.Errorf("%+v", got)
	}
}

func TestTimeline(t *testing.T) {
	var line timeline
	line.add(time.Time{}, rejected, 1)
	if line.html() != nil {
		t.Error("messages without a time make a chart")
	}
	at := time.Date(1969, 12, 30, 0, 30, 0, 0, time.UTC)
	for i := range 20_000 {
		line.add(at.Add(time.Duration(i)*17*time.Hour), i%numActions, 2)
		if line.hi-line.lo >= maxSpans {
			t.Fatalf("%d points after %d messages", line.hi-line.lo+1, i+1)
		}
	}
	var sum [numActions]int64
	for _, p := range line.points {
		for a, n := range p {
			sum[a] += n
		}
	}
	if sum != [numActions]int64{8000, 8000, 8000, 8000, 8000} {
		t.Errorf("widening lost messages: %v", sum)
	}
	h := line.html()
	if h.From > h.Mid || h.Mid > h.Till || len(h.Rows) > maxSpans {
		t.Errorf("from %s over %s to %s, %d rows", h.From, h.Mid, h.Till, len(h.Rows))
	}
	for _, p := range h.Parts {
		if p.X < 0 || p.X+p.W > 100.001 || p.Y < -0.001 || p.Y+p.H > 100.001 || p.Action == "none" {
			t.Errorf("a part lies outside: %+v", p)
		}
	}
}

func TestClassesAreBounded(t *testing.T) {
	tally := NewTally("rfc", testRules)
	for i := range 100 {
		tally.Add(&Message{Class: fmt.Sprint("class", i), Helo: "a", Count: 1, Result: Result{Decided: -1}})
	}
	if len(tally.classes) > maxClasses+1 || tally.Messages() != 100 {
		t.Errorf("%d classes, %d messages", len(tally.classes), tally.Messages())
	}
}

// Memory must not grow with the input: more names than are kept, that all differ
// and hit everything.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	rules := checkhelo.Rules()
	tally := NewTally("rfc", rules)
	before := heap()
	for i := range 60_000 {
		tally.Add(&Message{
			Helo: fmt.Sprintf("host-%d.%s.example.org", i, strings.Repeat("long", 8)), Client: strconv.Itoa(i),
			Time: morning.Add(time.Duration(i) * time.Minute), Count: 1,
			Result: result(checkhelo.Action(i%5), 1<<len(rules)-1, 0),
		})
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
	tally := NewTally("rfc", testRules)
	m := Message{Helo: "mail.example.org", Count: 1, Time: morning, Result: result(checkhelo.Off, 0, -1)}
	b.ReportAllocs()
	for b.Loop() {
		tally.Add(&m)
	}
}

func TestAddDoesNotAllocate(t *testing.T) {
	tally := NewTally("rfc", testRules)
	m := Message{
		Helo: "mail.example.org", Count: 1, Time: morning, Client: "192.0.2.7",
		Result: result(checkhelo.Reject, bareIP|noPTR, 0),
	}
	tally.Add(&m)
	if n := testing.AllocsPerRun(100, func() { tally.Add(&m) }); n > 0 {
		t.Errorf("%v allocations for a message like the last", n)
	}
}
