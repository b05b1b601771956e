package metrics

import (
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
)

// shown reads what Maddy's endpoint would show, by "metric label=value label=value".
func shown(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]float64)
	for _, f := range families {
		name, ours := strings.CutPrefix(f.GetName(), "maddy_helo_fqdn_")
		if !ours {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			sort.Strings(labels)
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue()
			if h := m.GetHistogram(); h != nil {
				value = h.GetSampleSum()
			}
			found[strings.Join(append([]string{name}, labels...), " ")] = value
		}
	}
	return found
}

func outcome(rule string, action, would checkhelo.Action) judge.Outcome {
	return judge.Outcome{Verdict: checkhelo.Verdict{Action: action, Would: would,
		Hits: []checkhelo.Hit{{Rule: checkhelo.Rule{Name: rule}}}}}
}

// Every outcome shows what was done, and what would have been done without a ceiling.
func TestVerdicts(t *testing.T) {
	m := &Instance{Label: "verdicts"}
	dry := outcome("localhost", checkhelo.Ignore, checkhelo.Reject)
	later := outcome("no_ptr", checkhelo.Score, checkhelo.Score)
	later.TryLater = true
	for _, o := range []judge.Outcome{dry, dry, later, {}} {
		m.Verdict(&o)
	}
	m.Exempt("greetings")
	got := shown(t)
	for series, want := range map[string]float64{
		"verdicts_total action=ignore module=verdicts rule=localhost would=reject":     2,
		"verdicts_total action=tempfail module=verdicts rule=dns_error would=tempfail": 1,
		"verdicts_total action=none module=verdicts rule=none would=none":              1,
		"exempt_total module=verdicts reason=greetings":                                1,
	} {
		if got[series] != want {
			t.Errorf("%s: %g, want %g", series, got[series], want)
		}
	}
}

func TestMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "helo.db")
	db, err := memory.Open("sqlite3", path, memory.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	m := &Instance{Label: "memory", Cache: dnsfacts.NewCache(10), Memory: db}
	again := &Instance{Label: "memory", Cache: dnsfacts.NewCache(10), Memory: db} // one store
	m.Start()
	again.Start()
	defer m.Stop()
	defer again.Stop()
	lifted := outcome("no_ptr", checkhelo.Ignore, checkhelo.Ignore)
	lifted.Lifted, lifted.Known = checkhelo.Quarantine, checkhelo.Seen
	stranger := outcome("no_ptr", checkhelo.Quarantine, checkhelo.Quarantine)
	starts := outcome("no_ptr", checkhelo.Greylist, checkhelo.Greylist)
	starts.Wait = memory.Wait{Result: memory.WaitStarted, Left: time.Minute}
	over := outcome("no_ptr", checkhelo.Score, checkhelo.Greylist)
	over.Wait = memory.Wait{Result: memory.WaitOver, Waited: 301 * time.Second}
	unasked := outcome("localhost", checkhelo.Reject, checkhelo.Reject)
	for _, o := range []judge.Outcome{lifted, stranger, starts, over, unasked} {
		m.Verdict(&o)
	}
	got := shown(t)
	for series, want := range map[string]float64{
		"memory_total event=lifted module=memory":       1,
		"memory_total event=seen module=memory":         1,
		"memory_total event=unknown module=memory":      3,
		"memory_total event=wait_started module=memory": 1,
		"memory_total event=wait_over module=memory":    1,
		"waited_seconds module=memory":                  301,
		"memory_away store=" + db.Place():               0,
	} {
		if value, ok := got[series]; !ok || value != want {
			t.Errorf("%s: %g, %v, want %g", series, value, ok, want)
		}
	}
	for _, series := range []string{"memory_rows kind=waiting", "memory_lookups_total result=failed",
		"memory_writes_total result=dropped"} {
		if _, ok := got[series+" store="+db.Place()]; !ok {
			t.Errorf("no %s", series)
		}
	}
}

// What runs is shown while it runs, also where two instances have everything in common.
func TestInfo(t *testing.T) {
	const strict = "info ceiling=ignore module=info policy=strict version=v1"
	one := &Instance{Label: "info", Version: "v1", Policy: "strict", Ceiling: "ignore"}
	two := *one
	for _, step := range []struct {
		do   func()
		want bool
	}{{one.Start, true}, {two.Start, true}, {one.Stop, true}, {two.Stop, false}} {
		step.do()
		if value, ok := shown(t)[strict]; ok != step.want || ok && value != 1 {
			t.Errorf("%g, %v; want %v", value, ok, step.want)
		}
	}
	one.Start()
	defer one.Stop()
	before := shown(t)["dns_dead_total module=info"]
	one.Dead(7)
	one.Tested("dbl.example.net", true)
	got := shown(t)
	if got["dns_dead_total module=info"]-before != 7 || got["list_failed list=dbl.example.net module=info"] != 1 {
		t.Errorf("got %v", got)
	}
	one.Tested("dbl.example.net", false)
	if value, ok := shown(t)["list_failed list=dbl.example.net module=info"]; !ok || value != 0 {
		t.Errorf("a list that passes its test again: %g", value)
	}
}
