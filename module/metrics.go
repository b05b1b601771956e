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
	cacheTotal = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: "maddy", Subsystem: "helo_fqdn", Name: "cache_total",
		Help: "DNS answers that the cache had (hit) and had not (miss)",
	}, []string{"result"})
)

func observe(qtype, result string, d time.Duration) {
	dnsSeconds.WithLabelValues(qtype, result).Observe(d.Seconds())
}

// countCache adds what the cache of c did since the last call.
func (c *Check) countCache() {
	c.cacheSeen.Lock() // or a later figure would be taken off an earlier one
	defer c.cacheSeen.Unlock()
	hits, misses := c.gatherer.Cache.Stats()
	cacheTotal.WithLabelValues("hit").Add(float64(hits - c.cacheSeen.hits))
	cacheTotal.WithLabelValues("miss").Add(float64(misses - c.cacheSeen.misses))
	c.cacheSeen.hits, c.cacheSeen.misses = hits, misses
}

// running are the instances between Start and Stop. During a reload there are
// two of one name, and unnamed ones share a label always: their caches are added.
type running struct {
	sync.Mutex
	checks        map[*Check]bool
	entries, size *prometheus.Desc
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
	delete(r.checks, c)
}

// Describe implements prometheus.Collector.
func (r *running) Describe(descs chan<- *prometheus.Desc) { descs <- r.entries; descs <- r.size }

// Collect implements prometheus.Collector.
func (r *running) Collect(metrics chan<- prometheus.Metric) {
	r.Lock()
	defer r.Unlock()
	type sum struct{ entries, size int }
	sums := make(map[string]sum)
	for c := range r.checks {
		entries, size := c.gatherer.Cache.Usage()
		s := sums[c.label]
		sums[c.label] = sum{s.entries + entries, s.size + size}
	}
	for label, s := range sums {
		metrics <- prometheus.MustNewConstMetric(
			r.entries, prometheus.GaugeValue, float64(s.entries), label)
		metrics <- prometheus.MustNewConstMetric(
			r.size, prometheus.GaugeValue, float64(s.size), label)
	}
}
