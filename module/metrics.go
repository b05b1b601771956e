package module

import (
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
