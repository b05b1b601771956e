// Package module is check.helo_fqdn inside the Maddy mail server. A custom
// build of Maddy imports it for its registration alone; see docs/build.md.
package module

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/foxcpp/maddy/framework/container"
	"github.com/foxcpp/maddy/framework/log"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
)

const modName = "check.helo_fqdn"

func init() { modules.Register(modName, New) }

// Check is one configured instance of check.helo_fqdn.
type Check struct {
	instName string
	label    string // metric label: the instance name, or the module's
	key      *sessionKey
	log      *log.Logger

	policy    *checkhelo.Policy
	self      checkhelo.Self
	lists     *heloname.Lists // nil: built-in
	plain     exempt.List     // asked of every client
	tables    exempt.List     // asked only when a rule hit
	denyNames module.Table    // nil: none
	denyHosts module.Table    // nil: none
	early     bool            // refuse at EHLO
	tempfail  bool            // 451 when a look-up failed
	header    bool
	quiet     quiet
	gatherer  dnsfacts.Gatherer
	maddysDNS bool // the DNS servers are those Maddy uses
	cacheSeen seen
}

// seen is what of the cache's figures is in the metrics already.
type seen struct {
	sync.Mutex
	hits, misses uint64
}

var instances atomic.Int64

// New makes an unconfigured instance for Maddy's registry.
func New(c *container.C, _, instName string) (module.Module, error) {
	label := instName
	if label == "" {
		label = modName
	}
	return &Check{
		instName: instName,
		label:    label,
		key:      &sessionKey{fmt.Sprintf("%s#%d", label, instances.Add(1))},
		log:      c.DefaultLogger.Sublogger("helo_fqdn"),
	}, nil
}

// Name returns the name of the module.
func (c *Check) Name() string { return modName }

// InstanceName returns the name of the configuration block, "" inside `check { }`.
func (c *Check) InstanceName() string { return c.instName }

// Start says in the log what runs, and shows the cache in the metrics.
func (c *Check) Start() error {
	caches.add(c)
	c.log.Msg("started", "version", Version(), "policy", string(c.policy.Preset))
	return nil
}

// Stop implements container.LifetimeModule. Sessions that are still open keep their policy.
func (c *Check) Stop() error {
	caches.remove(c)
	return nil
}

var (
	_ module.Check             = (*Check)(nil)
	_ module.EarlyCheck        = (*Check)(nil)
	_ container.LifetimeModule = (*Check)(nil)
)

// warnAboutMismatchRules names the rules that the operator lets refuse mail although RFC 5321,
// section 4.1.4 says that a server must not on that ground alone.
func (c *Check) warnAboutMismatchRules() {
	for _, r := range c.policy.Rules() {
		if _, set := c.policy.Override[r.Name]; set && r.NoReject && r.Action == checkhelo.Reject {
			c.log.Printf("%s_action is reject: RFC 5321, section 4.1.4 says that a server must not"+
				" refuse mail only because the HELO name does not match the client's address", r.Name)
		}
	}
}

// addrOf returns the address of a TCP peer; not valid for anything else.
func addrOf(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	addr, _ := netip.AddrFromSlice(tcp.IP)
	return addr.Unmap()
}
