// Package metrics shows in Maddy's endpoint openmetrics what the check does with greetings
// (RFC 5321, section 4.1.1.1):
//
//	m := &metrics.Instance{Label: "check.helo_fqdn", Policy: "rfc", Cache: cache}
//	m.Start()
//	m.Verdict(&outcome)
//
// The metrics outlive a reload, which makes new instances: they are registered once. No label ever
// holds what a client said.
package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
)

const namespace, subsystem = "maddy", "helo_fqdn"

var (
	verdicts = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "verdicts_total",
		Help: "Verdicts by the rule that decided, the action taken, and the action without max_action",
	}, []string{"module", "rule", "action", "would"})
	exempted = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "exempt_total",
		Help: "Clients and recipients that were not judged, by reason",
	}, []string{"module", "reason"})
	dnsSeconds = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "dns_seconds",
		Help:    "Time from a DNS question to its answer, by record type and result",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 8),
	}, []string{"type", "result"})
	dead = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "dns_dead_total",
		Help: "DNS questions that failed while no DNS server answered any",
	}, []string{"module"})
	listFailed = promauto.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "list_failed",
		Help: "1 where the last test of a DNS list failed (RFC 5782, section 5)",
	}, []string{"module", "list"})
	events = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "memory_total",
		Help: "Recipients that memory was asked about, by what it said or changed",
	}, []string{"module", "event"})
	waited = promauto.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespace, Subsystem: subsystem, Name: "waited_seconds",
		Help:    "Time from the first attempt to the one that passed after a greylist wait",
		Buckets: prometheus.ExponentialBuckets(60, 3, 8),
	}, []string{"module"})
)

// Instance is one configured check.
type Instance struct {
	Label                    string // the name of the instance, or of the module
	Version, Policy, Ceiling string
	Cache                    *dnsfacts.Cache
	Memory                   *memory.DB // nil: off
}

// Start shows the instance, its cache and its memory.
func (i *Instance) Start() {
	dead.WithLabelValues(i.Label) // from 0 on, so that the first failure is an increase
	all.Lock()
	defer all.Unlock()
	all.running[i] = true
}

// Stop lets go of the instance, or its cache would outlive the configuration.
func (i *Instance) Stop() {
	all.Lock()
	defer all.Unlock()
	if all.running[i] {
		hits, misses, _, _ := i.Cache.Stats()
		all.hits, all.misses = all.hits+hits, all.misses+misses
		all.dropped += i.Cache.Dropped()
	}
	delete(all.running, i)
}

// Verdict counts the outcome for one recipient, or one refused greeting.
func (i *Instance) Verdict(o *judge.Outcome) {
	would := o.Word()
	if would == o.Action.String() {
		would = o.Would.String()
	}
	verdicts.WithLabelValues(i.Label, o.Rule(), o.Word(), would).Inc()
	if i.Memory == nil {
		return
	}
	if o.Lifted != checkhelo.Off {
		events.WithLabelValues(i.Label, "lifted").Inc()
	}
	if o.Lifted != checkhelo.Off || o.Would == checkhelo.Greylist || o.Would == checkhelo.Quarantine {
		events.WithLabelValues(i.Label, o.Known.String()).Inc()
	}
	switch o.Wait.Result {
	case memory.NoWait:
		return
	case memory.WaitOver:
		waited.WithLabelValues(i.Label).Observe(o.Wait.Waited.Seconds())
	}
	events.WithLabelValues(i.Label, "wait_"+o.Wait.Result.String()).Inc()
}

// Exempt counts a client or recipient that was not judged.
func (i *Instance) Exempt(why string) { exempted.WithLabelValues(i.Label, why).Inc() }

// Dead counts questions that failed while no DNS server answered.
func (i *Instance) Dead(questions int) { dead.WithLabelValues(i.Label).Add(float64(questions)) }

// Tested notes the result of the test of a DNS list.
func (i *Instance) Tested(list string, failed bool) {
	value := 0.0
	if failed {
		value = 1
	}
	listFailed.WithLabelValues(i.Label, list).Set(value)
}

// Question counts one question to the DNS.
func Question(qtype, result string, d time.Duration) {
	dnsSeconds.WithLabelValues(qtype, result).Observe(d.Seconds())
}

// collector reads the instances between Start and Stop. During a reload there are two of one name,
// and unnamed ones share a label always: their caches are added. A store of memory is one for all.
type collector struct {
	sync.Mutex
	running               map[*Instance]bool
	hits, misses, dropped uint64 // of instances that have stopped
}

var all = &collector{running: make(map[*Instance]bool)}

func init() { prometheus.MustRegister(all) }

var (
	info = prometheus.NewDesc("maddy_helo_fqdn_info",
		"1 for each running instance", []string{"module", "version", "policy", "ceiling"}, nil)
	cacheEntries = prometheus.NewDesc("maddy_helo_fqdn_cache_entries",
		"Answers that the cache of DNS answers holds, expired ones included", []string{"module"}, nil)
	cacheSize = prometheus.NewDesc("maddy_helo_fqdn_cache_size",
		"Answers of 256 octets that the cache of DNS answers has room for", []string{"module"}, nil)
	cacheTotal = prometheus.NewDesc("maddy_helo_fqdn_cache_total",
		"DNS answers that the cache had (hit) and had not (miss)", []string{"result"}, nil)
	cacheDropped = prometheus.NewDesc("maddy_helo_fqdn_cache_dropped_total",
		"DNS answers that a full cache has dropped before their time, or moved to keep them",
		[]string{}, nil)
	memoryRows = prometheus.NewDesc("maddy_helo_fqdn_memory_rows",
		"Rows of each kind in memory, as of the last write", []string{"store", "kind"}, nil)
	memoryLookups = prometheus.NewDesc("maddy_helo_fqdn_memory_lookups_total",
		"Lookups in memory, by where the answer came from", []string{"store", "result"}, nil)
	memoryWrites = prometheus.NewDesc("maddy_helo_fqdn_memory_writes_total",
		"Rows written and expired, and writes that were dropped", []string{"store", "result"}, nil)
	memoryAway = prometheus.NewDesc("maddy_helo_fqdn_memory_away",
		"1 while the store of memory does not answer", []string{"store"}, nil)
)

// Describe implements prometheus.Collector. What runs decides which metrics there are.
func (*collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	total := func(d *prometheus.Desc, value uint64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}
	c.Lock()
	defer c.Unlock()
	infos := make(map[[4]string]bool)
	caches := make(map[string][2]int)
	stores := make(map[string]memory.Counters)
	hits, misses, dropped := c.hits, c.misses, c.dropped
	for i := range c.running {
		infos[[4]string{i.Label, i.Version, i.Policy, i.Ceiling}] = true
		h, m, entries, size := i.Cache.Stats()
		sum := caches[i.Label]
		caches[i.Label] = [2]int{sum[0] + entries, sum[1] + size}
		hits, misses, dropped = hits+h, misses+m, dropped+i.Cache.Dropped()
		if i.Memory != nil {
			stores[i.Memory.Place()] = i.Memory.Counters()
		}
	}
	for labels := range infos {
		gauge(info, 1, labels[:]...)
	}
	total(cacheTotal, hits, "hit")
	total(cacheTotal, misses, "miss")
	total(cacheDropped, dropped)
	for label, sum := range caches {
		gauge(cacheEntries, float64(sum[0]), label)
		gauge(cacheSize, float64(sum[1]), label)
	}
	for store, n := range stores {
		gauge(memoryRows, float64(n.Known), store, "known")
		gauge(memoryRows, float64(n.Neighbours), store, "neighbours")
		gauge(memoryRows, float64(n.Waiting), store, "waiting")
		total(memoryLookups, n.Cached, store, "cached")
		total(memoryLookups, n.Read, store, "read")
		total(memoryLookups, n.Failed, store, "failed")
		total(memoryWrites, n.Written, store, "written")
		total(memoryWrites, n.Expired, store, "expired")
		total(memoryWrites, n.Dropped, store, "dropped")
		total(memoryWrites, n.OverShare, store, "over_share")
		away := 0.0
		if n.Away {
			away = 1
		}
		gauge(memoryAway, away, store)
	}
}
