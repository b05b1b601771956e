package module

import (
	"context"
	"maps"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	_ "modernc.org/sqlite"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/metrics"
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

// cacheGauges are the sizes of the caches that are shown.
func cacheGauges(t *testing.T) map[string]float64 {
	t.Helper()
	found := shown(t)
	maps.DeleteFunc(found, func(series string, _ float64) bool {
		return !strings.HasPrefix(series, "cache_entries") && !strings.HasPrefix(series, "cache_size")
	})
	return found
}

// A reload starts the new instances before it stops the old ones; meanwhile
// both count. What is stopped is gone.
func TestCacheGauges(t *testing.T) {
	const entries, size = "cache_entries module=", "cache_size module="
	instance := func(name string, asks int) *Check {
		c, _ := mustConfigure(t, "helo_fqdn {\ncache_size 100\nmemory off\n}")
		c.metrics.Label = name
		c.judge.Gatherer.Exchange = func(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
			return new(dns.Msg).SetRcode(q, dns.RcodeNameError), nil
		}
		for i := range asks {
			c.greet(conn(string(rune('a'+i))+".example.org"), false).Rcpt(t.Context(), "", "", "u@example.com")
		}
		return c
	}
	old, fresh, other := instance("border", 1), instance("border", 4), instance("inner", 0)
	held := func(c *Check) float64 {
		_, _, entries, _ := c.judge.Gatherer.Cache.Stats()
		return float64(entries)
	}
	if held(old) == 0 || held(fresh) <= held(old) {
		t.Fatalf("the caches hold %g and %g", held(old), held(fresh))
	}
	for _, step := range []struct {
		name string
		do   func() error
		want map[string]float64
	}{
		{"configured only", func() error { return nil }, map[string]float64{}},
		{"started", old.Start, map[string]float64{
			entries + "border": held(old), size + "border": 100,
		}},
		{"reload", fresh.Start, map[string]float64{
			entries + "border": held(old) + held(fresh), size + "border": 200,
		}},
		{"another name", other.Start, map[string]float64{
			entries + "border": held(old) + held(fresh), size + "border": 200,
			entries + "inner": 0, size + "inner": 100,
		}},
		{"old one stopped", old.Stop, map[string]float64{
			entries + "border": held(fresh), size + "border": 100,
			entries + "inner": 0, size + "inner": 100,
		}},
		{"stopped", fresh.Stop, map[string]float64{entries + "inner": 0, size + "inner": 100}},
		{"all stopped", other.Stop, map[string]float64{}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := cacheGauges(t); !maps.Equal(got, step.want) {
			t.Errorf("%s: %v, want %v", step.name, got, step.want)
		}
	}
}

func outcome(rule string, action, would checkhelo.Action) judge.Outcome {
	return judge.Outcome{Verdict: checkhelo.Verdict{Action: action, Would: would,
		Hits: []checkhelo.Hit{{Rule: checkhelo.Rule{Name: rule}}}}}
}

// Every outcome shows what was done, and what would have been done without a ceiling.
func TestVerdicts(t *testing.T) {
	c := &Check{metrics: metrics.Instance{Label: "verdicts"}}
	dry := outcome("localhost", checkhelo.Ignore, checkhelo.Reject)
	later := outcome("no_ptr", checkhelo.Score, checkhelo.Score)
	later.TryLater = true
	for _, o := range []judge.Outcome{dry, dry, later, {}} {
		c.metrics.Verdict(&o)
	}
	got := shown(t)
	for series, want := range map[string]float64{
		"verdicts_total action=ignore module=verdicts rule=localhost would=reject":     2,
		"verdicts_total action=tempfail module=verdicts rule=dns_error would=tempfail": 1,
		"verdicts_total action=none module=verdicts rule=none would=none":              1,
	} {
		if got[series] != want {
			t.Errorf("%s: %g, want %g", series, got[series], want)
		}
	}
}

// bare is an instance that judges nothing.
func bare(label string, ceiling checkhelo.Action) *Check {
	j := &judge.Judge{
		Policy:   checkhelo.NewPolicy(checkhelo.Strict).With(checkhelo.Strict, ceiling),
		Gatherer: &dnsfacts.Gatherer{Cache: dnsfacts.NewCache(10)},
	}
	return &Check{judge: j, metrics: metrics.Instance{Label: label, Version: Version(), Judge: j}}
}

func TestMemoryMetrics(t *testing.T) {
	path := filepath.Join(t.TempDir(), "helo.db")
	db, err := memory.Open("sqlite3", path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	c, again := bare("memory", checkhelo.Off), bare("memory", checkhelo.Off)
	c.metrics.DB, again.metrics.DB = db, db // one store
	c.metrics.Show()
	again.metrics.Show()
	defer c.metrics.Hide()
	defer again.metrics.Hide()
	lifted := outcome("no_ptr", checkhelo.Ignore, checkhelo.Ignore)
	lifted.Lifted, lifted.Known = checkhelo.Quarantine, checkhelo.Seen
	stranger := outcome("no_ptr", checkhelo.Quarantine, checkhelo.Quarantine)
	starts := outcome("no_ptr", checkhelo.Greylist, checkhelo.Greylist)
	starts.Wait = memory.Wait{Result: memory.WaitStarted, Left: time.Minute}
	over := outcome("no_ptr", checkhelo.Score, checkhelo.Greylist)
	over.Wait = memory.Wait{Result: memory.WaitOver, Waited: 301 * time.Second}
	unasked := outcome("localhost", checkhelo.Reject, checkhelo.Reject)
	for _, o := range []judge.Outcome{lifted, stranger, starts, over, unasked} {
		c.metrics.Verdict(&o)
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
	const strict = "info ceiling=ignore module=info policy=strict version="
	one, two := bare("info", checkhelo.Ignore), bare("info", checkhelo.Ignore)
	for _, step := range []struct {
		do   func()
		want bool
	}{
		{one.metrics.Show, true}, {two.metrics.Show, true}, {one.metrics.Hide, true}, {two.metrics.Hide, false},
	} {
		step.do()
		if value, ok := shown(t)[strict+Version()]; ok != step.want || ok && value != 1 {
			t.Errorf("%g, %v; want %v", value, ok, step.want)
		}
	}
}
