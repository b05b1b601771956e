package module

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The metrics outlive a reload, which makes new instances: they are registered
// once. No label ever holds what a client said.
var (
	// verdicts counts one verdict a recipient, and one a refused greeting.
	verdicts = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: "maddy", Subsystem: "helo_fqdn", Name: "verdicts_total",
		Help: "Verdicts by the rule that decided and the action taken; rule none: nothing hit",
	}, []string{"module", "rule", "action"})
	// exempted counts clients and recipients that were not judged.
	exempted = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: "maddy", Subsystem: "helo_fqdn", Name: "exempt_total",
		Help: "Clients and recipients that were not judged, by reason",
	}, []string{"module", "reason"})
	dnsSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "maddy", Subsystem: "helo_fqdn", Name: "dns_seconds",
		Help:    "Time from a DNS question to its answer, by record type and result",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
	}, []string{"type", "result"})
)

func observe(qtype, result string, d time.Duration) {
	dnsSeconds.WithLabelValues(qtype, result).Observe(d.Seconds())
}

// running are the instances between Start and Stop. During a reload there are
// two of one name, and unnamed ones share a label always: their caches are added.
type running struct {
	sync.Mutex
	checks               map[*Check]bool
	entries, size, total *prometheus.Desc
	hits, misses         uint64 // of instances that have stopped
}

var caches = newRunning()

func newRunning() *running {
	r := &running{
		checks: make(map[*Check]bool),
		entries: prometheus.NewDesc("maddy_helo_fqdn_cache_entries",
			"Entries that the cache of DNS answers holds, a long one counted as several",
			[]string{"module"}, nil),
		size: prometheus.NewDesc("maddy_helo_fqdn_cache_size",
			"Entries that the cache of DNS answers may hold",
			[]string{"module"}, nil),
		total: prometheus.NewDesc("maddy_helo_fqdn_cache_total",
			"DNS answers that the cache had (hit) and had not (miss)", []string{"result"}, nil),
	}
	prometheus.MustRegister(r)
	return r
}

func (r *running) add(c *Check) {
	r.Lock()
	defer r.Unlock()
	r.checks[c] = true
}

// remove lets go of c, or its cache would outlive the configuration.
func (r *running) remove(c *Check) {
	r.Lock()
	defer r.Unlock()
	if r.checks[c] {
		hits, misses, _, _ := c.judge.Gatherer.Cache.Stats()
		r.hits, r.misses = r.hits+hits, r.misses+misses
	}
	delete(r.checks, c)
}

// Describe implements prometheus.Collector.
func (r *running) Describe(descs chan<- *prometheus.Desc) {
	descs <- r.entries
	descs <- r.size
	descs <- r.total
}

// Collect implements prometheus.Collector.
func (r *running) Collect(metrics chan<- prometheus.Metric) {
	r.Lock()
	defer r.Unlock()
	type sum struct{ entries, size int }
	sums := make(map[string]sum)
	hits, misses := r.hits, r.misses
	for c := range r.checks {
		more, fewer, entries, size := c.judge.Gatherer.Cache.Stats()
		s := sums[c.label]
		sums[c.label] = sum{s.entries + entries, s.size + size}
		hits, misses = hits+more, misses+fewer
	}
	for result, n := range map[string]uint64{"hit": hits, "miss": misses} {
		metrics <- prometheus.MustNewConstMetric(
			r.total, prometheus.CounterValue, float64(n), result)
	}
	for label, s := range sums {
		metrics <- prometheus.MustNewConstMetric(
			r.entries, prometheus.GaugeValue, float64(s.entries), label)
		metrics <- prometheus.MustNewConstMetric(
			r.size, prometheus.GaugeValue, float64(s.size), label)
	}
}
