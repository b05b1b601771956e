// Package module is check.helo_fqdn inside the Maddy mail server: it reads the directives,
// translates Maddy's hooks into the calls of package judge, and writes log, header and metrics. A
// custom build of Maddy imports it for its registration alone:
//
//	import _ "maddy.example/checkhelo/module"
//
// The check carries out RFC 5321, sections 4.1.1.1 and 4.1.4; docs/build.md shows the build.
package module

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/log"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"

	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/flood"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/metrics"
)

const modName = "check.helo_fqdn"

func init() { modules.Register(modName, New) }

// Check is one configured instance of check.helo_fqdn.
type Check struct {
	instName string
	key      sessionKey
	log      *log.Logger
	judge    *judge.Judge
	header   bool
	metrics  metrics.Instance

	lines     flood.Count[string] // of the log, each minute
	greetings flood.Count[netip.AddrPort]
	front     flood.Front

	noResolver error // the system's DNS servers are unknown

	memoryKind, memoryPlace string // "": memory is off
	memory                  memory.Memory

	endTests context.CancelFunc // of the DNS lists; nil before Start
	tested   chan struct{}      // closed when the last test has ended
}

var instances atomic.Int64

// New makes an unconfigured instance for Maddy's registry.
func New(c *container.C, _, instName string) (module.Module, error) {
	if c.DefaultLogger.Out == nil {
		// Without a log line Maddy 0.9.5 puts this nil back after a failed reload, and panics.
		c.DefaultLogger.Out = log.FuncOutput(log.DefaultLogger.Out.Write, func() error { return nil })
	}
	check := &Check{
		instName: instName,
		metrics:  metrics.Instance{Label: cmp.Or(instName, modName), Version: Version()},
		log:      c.DefaultLogger.Sublogger(modName),
		judge:    &judge.Judge{Gatherer: new(dnsfacts.Gatherer)},

		greetings: flood.Count[netip.AddrPort]{For: greetingsFor},
	}
	check.metrics.Judge = check.judge
	check.key = sessionKey{check, fmt.Sprintf("%s#%d", modName, instances.Add(1))}
	check.judge.Exempt.OnError = check.tableFailed
	check.judge.Gatherer.OnDead = func(failed int) {
		check.metrics.Dead(failed)
		check.log.Msg("no DNS server answers, nobody is refused for it", "questions", failed)
	}
	return check, nil
}

// Judge returns the judge that the directives made. It must not be changed once it is in use.
func (c *Check) Judge() *judge.Judge { return c.judge }

// Memory returns the database that directive memory names, kind "" with memory off, and a Memory
// with the check's settings and no Store. A path can be relative to Maddy's state_dir.
func (c *Check) Memory() (kind, place string, settings memory.Memory) {
	settings.Delay, settings.NeighboursMin = c.memory.Delay, c.memory.NeighboursMin
	return c.memoryKind, c.memoryPlace, settings
}

// Name returns the name of the module.
func (c *Check) Name() string { return modName }

// InstanceName returns the name of the configuration block, "" inside `check { }`.
func (c *Check) InstanceName() string { return c.instName }

// Start logs the version and the policy, begins the daily tests of the DNS lists (RFC 5782,
// section 5), and shows the cache in the metrics.
func (c *Check) Start() error {
	if c.noResolver != nil {
		return c.noResolver
	}
	c.openMemory()
	ctx, cancel := context.WithCancel(context.Background())
	c.endTests, c.tested = cancel, make(chan struct{})
	go func() {
		defer close(c.tested)
		defer c.guard("in the test of the DNS lists", func() {})
		c.judge.Gatherer.Run(ctx, func(zone, news string, failed bool) {
			c.metrics.Tested(zone, failed)
			if news != "" {
				c.log.Msg("DNS list "+news, "list", zone)
			}
		})
	}()
	c.metrics.Show()
	c.log.Msg("started", "version", c.metrics.Version, "policy", string(c.judge.Policy.Preset))
	return nil
}

// Stop implements container.LifetimeModule. Sessions that are still open keep their policy.
func (c *Check) Stop() error {
	c.metrics.Hide()
	if c.endTests != nil {
		c.endTests()
		<-c.tested
	}
	if c.metrics.DB == nil {
		return nil
	}
	return c.metrics.DB.Close()
}

// openMemory never fails: without its database the check works as with memory off.
func (c *Check) openMemory() {
	if c.memoryKind == "" {
		return
	}
	db, err := memory.Open(c.memoryKind, c.memoryPlace, func(err error) {
		if n, _ := c.lines.Add("memory store", time.Now()); n == 1 {
			c.log.Error("memory does not answer, nobody is known or waits", err)
		}
	})
	if err != nil {
		c.log.Error("memory is off", err)
		return
	}
	c.metrics.DB, c.memory.Store = db, db
	c.judge.Memory = &c.memory
	c.log.Msg("memory", "place", db.Place(), "days", memory.KnownDays)
}

var (
	_ module.Check             = (*Check)(nil)
	_ module.EarlyCheck        = (*Check)(nil)
	_ container.LifetimeModule = (*Check)(nil)
)

// sessionKey names the data of one instance in a connection. Maddy's own key for an unnamed
// instance is a dump of the whole struct, so that this type replaces it.
type sessionKey struct {
	*Check
	name string
}

// Name is unique to an instance.
func (k sessionKey) Name() string { return k.name }

// tableFailed logs the failure of an operator's table, at most once a minute.
func (c *Check) tableFailed(table string, err error) {
	if n, _ := c.lines.Add(table, time.Now()); n > 1 {
		return
	}
	if err == nil { // a list in the DNS
		c.log.Msg("lookup failed, nobody is refused for it", "list", table)
		return
	}
	c.log.Error("table failed, nobody is refused for that", err, "table", table)
}

const modulePath = "maddy.example/checkhelo"

// version is set by the linker, without "v"; a commit where there is no version:
//
//	-X maddy.example/checkhelo/module.version=1.2.3
var version string

// Version is what this program was made from: what the linker set, else the release or, in a
// checkout, what the go command makes of its commit, else "unknown".
func Version() string {
	info, _ := debug.ReadBuildInfo()
	return shownVersion(version, info)
}

func shownVersion(linked string, info *debug.BuildInfo) string {
	if strings.Contains(linked, ".") {
		return "v" + linked
	}
	if linked != "" { // a commit
		return linked
	}
	if info == nil {
		return "unknown"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == modulePath && m.Replace == nil && m.Version != "" && m.Version != "(devel)" {
			return m.Version
		}
	}
	return "unknown"
}
