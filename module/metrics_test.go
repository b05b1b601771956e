package module

import (
	"context"
	"maps"
	"testing"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// cacheGauges reads what Maddy's endpoint would show, by metric and label.
func cacheGauges(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]float64)
	for _, f := range families {
		switch f.GetName() {
		case "maddy_helo_fqdn_cache_entries", "maddy_helo_fqdn_cache_size":
			for _, m := range f.GetMetric() {
				found[f.GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	return found
}

// A reload starts the new instances before it stops the old ones; meanwhile
// both count. What is stopped is gone.
func TestCacheGauges(t *testing.T) {
	const entries, size = "maddy_helo_fqdn_cache_entries ", "maddy_helo_fqdn_cache_size "
	instance := func(name string, asks int) *Check {
		c, _ := mustConfigure(t, "helo_fqdn {\ncache_size 100\n}")
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
