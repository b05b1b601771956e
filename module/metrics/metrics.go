// Package metrics has what Maddy's openmetrics endpoint shows of the check. The metrics outlive a
// reload, which makes new instances; no label ever holds what a client said.
//
//	i := &metrics.Instance{Label: "check.helo_fqdn", Judge: j}
//	i.Show()
//	i.Verdict(&outcome)
package metrics

import (
	"cmp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
)

const prefix = "maddy_helo_fqdn_"

var (
	verdicts = counters("verdicts_total",
		"Verdicts by the rule that decided, the action taken, and the action without max_action",
		"module", "rule", "action", "would")
	exempted = counters("exempt_total", "Clients and recipients that were not judged, by reason",
		"module", "reason")
	dnsSeconds = seconds("dns_seconds",
		"Time from a DNS question to its answer, by record type and result", 0.001, 4,
		"type", "result")
	dead = counters("dns_dead_total", "DNS questions that failed while no DNS server answered any",
		"module")
	listFailed = gauges("list_failed",
		"1 where the last test of a DNS list failed (RFC 5782, section 5)", "module", "list")
	events = counters("memory_total",
		"Recipients that memory was asked about, by what it said or changed", "module", "event")
	waited = seconds("waited_seconds",
		"Time from the first attempt to the one that passed after a greylist wait", 60, 3, "module")
)

var binary = map[bool]float64{true: 1}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return promauto.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return promauto.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
}

// seconds makes a histogram of eight buckets; each bound is factor times the one before.
func seconds(name, help string, least, factor float64, labels ...string) *prometheus.HistogramVec {
	return promauto.NewHistogramVec(prometheus.HistogramOpts{Name: prefix + name, Help: help,
		Buckets: prometheus.ExponentialBuckets(least, factor, 8)}, labels)
}

// Instance is one check of the server's configuration.
type Instance struct {
	Label   string // the name of its block, or of the module
	Version string
	Judge   *judge.Judge
	DB      *memory.DB // nil: no memory
}

// Exempt counts a client or recipient that is not judged.
func (i *Instance) Exempt(reason string) { exempted.WithLabelValues(i.Label, reason).Inc() }

// Dead counts DNS questions that failed while no server answered any.
func (i *Instance) Dead(failed int) { dead.WithLabelValues(i.Label).Add(float64(failed)) }

// Tested shows whether the last test of a DNS list failed.
func (i *Instance) Tested(list string, failed bool) {
	listFailed.WithLabelValues(i.Label, list).Set(binary[failed])
}

// Verdict counts the outcome for one recipient, or one refused greeting.
func (i *Instance) Verdict(o *judge.Outcome) {
	would := o.Word()
	if would == o.Action.String() {
		would = o.Would.String()
	}
	verdicts.WithLabelValues(i.Label, o.Rule(), o.Word(), would).Inc()
	if i.DB == nil {
		return
	}
	if o.Lifted != checkhelo.Off {
		events.WithLabelValues(i.Label, "lifted").Inc()
	}
	if o.Lifted != checkhelo.Off || o.Would == checkhelo.Greylist || o.Would == checkhelo.Quarantine {
		events.WithLabelValues(i.Label, o.Known.String()).Inc()
	}
	if o.Wait.Result == memory.WaitOver {
		waited.WithLabelValues(i.Label).Observe(o.Wait.Waited.Seconds())
	}
	if o.Wait.Result != memory.NoWait {
		events.WithLabelValues(i.Label, "wait_"+o.Wait.Result.String()).Inc()
	}
}

// Question counts one question to the DNS.
func Question(qtype, result string, d time.Duration) {
	dnsSeconds.WithLabelValues(qtype, result).Observe(d.Seconds())
}

// Show lets the endpoint read the instance, until Hide.
func (i *Instance) Show() {
	dead.WithLabelValues(i.Label) // from 0 on, so that the first failure is an increase
	all.Lock()
	defer all.Unlock()
	all.running[i] = true
}

// Hide removes the instance, so that its cache can be freed after a reload.
func (i *Instance) Hide() {
	all.Lock()
	defer all.Unlock()
	delete(all.running, i)
	hits, misses, _, _ := i.Judge.Gatherer.Cache.Stats()
	all.hits, all.misses = all.hits+hits, all.misses+misses
	all.dropped += i.Judge.Gatherer.Cache.Dropped()
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
	info = desc("info", "1 for each running instance", "module", "version", "policy",
		"ceiling")
	cacheEntries = desc("cache_entries",
		"Answers that the cache of DNS answers holds, expired ones included", "module")
	cacheSize = desc("cache_size",
		"Answers of 256 octets that the cache of DNS answers has room for", "module")
	cacheTotal = desc("cache_total", "DNS answers that the cache had (hit) and had not (miss)",
		"result")
	cacheDropped = desc("cache_dropped_total",
		"DNS answers that a full cache has dropped before their time, or moved to keep them")
	memoryRows = desc("memory_rows", "Rows of each kind in memory, as of the last write",
		"store", "kind")
	memoryLookups = desc("memory_lookups_total", "Lookups in memory, by where the answer came from",
		"store", "result")
	memoryWrites = desc("memory_writes_total",
		"Rows written and expired, and writes that were dropped", "store", "result")
	memoryAway = desc("memory_away", "1 while the store of memory does not answer", "store")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+name, help, labels, nil)
}

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
		policy := i.Judge.Policy
		ceiling := cmp.Or(policy.Ceiling, checkhelo.Reject)
		infos[[4]string{i.Label, i.Version, string(policy.Preset), ceiling.String()}] = true
		cache := i.Judge.Gatherer.Cache
		h, m, entries, size := cache.Stats()
		sum := caches[i.Label]
		caches[i.Label] = [2]int{sum[0] + entries, sum[1] + size}
		hits, misses, dropped = hits+h, misses+m, dropped+cache.Dropped()
		if i.DB != nil {
			stores[i.DB.Place()] = i.DB.Counters()
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
		gauge(memoryAway, binary[n.Away], store)
	}
}
