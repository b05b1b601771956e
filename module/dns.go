package module

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/foxcpp/maddy/framework/config"
	"github.com/foxcpp/maddy/framework/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/heloname"
)

// dnsSettings holds what the directives about DNS say.
type dnsSettings struct {
	servers, allowlists []string
	timeout             time.Duration
	cacheSize           int
	onError             string
}

func (s *settings) declareDNS(cfg *config.Map) {
	d := &s.dns
	cfg.StringList("dns_servers", false, false, nil, &d.servers)
	cfg.Duration("dns_timeout", false, false, dnsfacts.DefaultTimeout, &d.timeout)
	oneOf(cfg, "dns_error_action", &d.onError, "ignore", "ignore", "tempfail")
	cfg.Int("cache_size", false, false, dnsfacts.DefaultCacheEntries, &d.cacheSize)
	cfg.StringList("exempt_dnswl", false, false, nil, &d.allowlists)
	cfg.Callback("blocklists", s.blocklists)
	tableOf(cfg, "deny_hosts", &s.check.denyHosts)
}

// blocklists reads `blocklists ZONE...`, with `{ action A }` for an effect of its own.
func (s *settings) blocklists(_ *config.Map, node config.Node) error {
	if len(node.Args) == 0 {
		return config.NodeErr(node,
			"blocklists: found no zone; accepted: blocklists ZONE... [{ action A }]")
	}
	var effect checkhelo.Rule
	block := config.NewMap(nil, node)
	block.Custom("action", false, false, nil, func(_ *config.Map, node config.Node) (any, error) {
		set, err := parseAction(node)
		if err == nil && set.Action == checkhelo.Off {
			return set, config.NodeErr(node, "action: found off; leave the list out instead")
		}
		return set, err
	}, &effect)
	if _, err := block.Process(); err != nil {
		return err
	}
	for _, arg := range node.Args {
		zone, err := asciiName(arg)
		if err != nil {
			return config.NodeErr(node, "blocklists: found %q: %v; accepted: the name of a zone", arg, err)
		}
		s.check.gatherer.Blocklists = append(s.check.gatherer.Blocklists,
			dnsfacts.Blocklist{Zone: zone, Action: effect.Action, Score: effect.Score})
	}
	return nil
}

func (s *settings) applyDNS(cfg *config.Map) error {
	c, d := s.check, &s.dns
	if d.timeout < 100*time.Millisecond || d.timeout > time.Minute {
		return fault(cfg, "dns_timeout", "found %s; accepted: 100ms to 1m", d.timeout)
	}
	if d.cacheSize < 1 || d.cacheSize > 10_000_000 {
		return fault(cfg, "cache_size", "found %d; accepted: 1 to 10000000 entries",
			d.cacheSize)
	}
	c.maddysDNS = len(d.servers) == 0
	servers, err := d.addresses()
	if err != nil {
		return fault(cfg, "dns_servers", "%v", err)
	}
	for _, zone := range d.allowlists {
		ascii, err := asciiName(zone)
		if err != nil {
			return fault(cfg, "exempt_dnswl", "found %q: %v", zone, err)
		}
		c.gatherer.Allowlists = append(c.gatherer.Allowlists, ascii)
	}
	c.gatherer.Exchange = dnsfacts.NewClient(servers).Exchange
	c.gatherer.Timeout = d.timeout
	c.gatherer.Cache = dnsfacts.NewCache(d.cacheSize)
	c.gatherer.Observe = observe
	c.tempfail = d.onError == "tempfail"
	if len(c.gatherer.Blocklists) == 0 {
		c.policy.Override["listed"] = checkhelo.Rule{Action: checkhelo.Off}
	}
	return nil
}

// addresses returns the DNS servers as host:port: the given ones, or those Maddy itself uses.
func (d *dnsSettings) addresses() ([]string, error) {
	if len(d.servers) == 0 {
		maddys, err := dns.NewExtResolver()
		if err != nil {
			return nil, err
		}
		servers := make([]string, 0, len(maddys.Cfg.Servers))
		for _, host := range maddys.Cfg.Servers {
			servers = append(servers, net.JoinHostPort(host, maddys.Cfg.Port))
		}
		return servers, nil
	}
	servers := make([]string, 0, len(d.servers))
	for _, s := range d.servers {
		if addr, err := netip.ParseAddr(s); err == nil {
			s = netip.AddrPortFrom(addr, 53).String()
		}
		if _, err := netip.ParseAddrPort(s); err != nil {
			return nil, &net.AddrError{Err: "accepted: ADDRESS or ADDRESS:PORT, found", Addr: s}
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// need returns the facts worth asking for: what the policy can use, and proof
// for the operator's tables.
func (c *Check) need(f *checkhelo.Facts) checkhelo.Need {
	if c.gatherer.Exchange == nil { // see NoDNS
		return 0
	}
	need := c.policy.Needs(f)
	if c.tables.Names != nil || c.tables.Clients != nil {
		need |= checkhelo.NeedProof
	}
	if c.denyHosts != nil {
		need |= checkhelo.NeedForward
	}
	return need
}

// prefetch begins the look-ups at the greeting, so that the verdict finds them
// done. Maddy tells no check that a connection has ended; dns_timeout ends them.
func (c *Check) prefetch(s *session) {
	if need := c.need(&s.facts); need != 0 {
		s.pending = c.gatherer.Start(&s.facts, need, s.remote)
		c.countCache()
	}
}

// gather waits for the facts that the verdict needs, at most dns_timeout.
func (c *Check) gather(ctx context.Context, s *session) {
	if s.pending == nil && c.maddysDNS {
		s.reuseRDNS()
	}
	need := c.need(&s.facts)
	if need == 0 {
		return
	}
	if s.pending != nil {
		s.pending.Wait(ctx, &s.facts, need)
	} else {
		c.gatherer.Fill(ctx, &s.facts, need)
	}
	c.countCache()
}

// reuseRDNS takes over what Maddy found out about the client's PTR, where it has ended and
// suffices: there is none, or its first name is the HELO name.
func (s *session) reuseRDNS() {
	if s.rdns == nil || s.facts.PTR.State != checkhelo.NotAsked {
		return
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	value, err := s.rdns.GetContext(ended)
	if err != nil {
		return
	}
	name, _ := value.(string)
	switch name = strings.ToLower(name); name {
	case "":
		s.facts.PTR.State, s.facts.Confirmed.State = checkhelo.NotFound, checkhelo.NotFound
	case s.facts.Helo.ASCII:
		s.facts.PTR = checkhelo.Answer[[]string]{State: checkhelo.Found, Value: []string{name}}
	}
}

// askDenyHosts looks the MX hosts, their addresses and those of the HELO name up in deny_hosts.
func (c *Check) askDenyHosts(ctx context.Context, p *dnsfacts.Pending, f *checkhelo.Facts) {
	if c.denyHosts == nil || f.Denied.State == checkhelo.Found || c.gatherer.Exchange == nil {
		return
	}
	addrs, _ := c.gatherer.HostAddrs(ctx, p, f)
	addrs = slices.Concat(f.Forward.Value, addrs)
	for _, host := range f.MX.Value {
		c.askDenied(ctx, c.denyHosts, host, &f.Denied)
	}
	for _, addr := range addrs[:min(len(addrs), maxDeniedAddrs)] {
		c.askDenied(ctx, c.denyHosts, addr.String(), &f.Denied)
	}
}

// exemptByDNSWL asks the exempt_dnswl zones. One that does not answer exempts, as it might list
// the client.
func (c *Check) exemptByDNSWL(ctx context.Context, f *checkhelo.Facts) (why string, ok bool) {
	switch _, state := c.gatherer.AllowListed(ctx, f.Client); state {
	case checkhelo.Found:
		return "dnswl", true
	case checkhelo.Failed:
		if c.quiet.allows("exempt_dnswl", time.Now()) {
			c.log.Msg("look-up failed, nobody is refused for it", "list", "exempt_dnswl")
		}
		return "dnswl_failed", true
	default:
		return "", false
	}
}

// unsure reports whether a look-up failed whose answer the policy wanted.
func unsure(f *checkhelo.Facts) bool {
	states := []checkhelo.State{f.Forward.State, f.MX.State, f.PTR.State, f.Confirmed.State,
		f.TLD.State, f.SPF.State, f.Listed.State}
	return slices.Contains(states, checkhelo.Failed)
}

// owns reports whether the HELO name is shown to be the client's: it resolves
// to the client, or it is the client's confirmed PTR name or a parent of it.
func owns(f *checkhelo.Facts) bool {
	same := func(ptr string) bool { return heloname.Below(ptr, f.Helo.ASCII) }
	return slices.Contains(f.Forward.Value, f.Client) || slices.ContainsFunc(f.Confirmed.Value, same)
}
