package app

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/foxcpp/maddy/framework/dns"
	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/module/dnsfacts"
)

const (
	selfEvery    = time.Hour
	selfMinEvery = time.Second
	selfCache    = 4096 // entries
	// exitUnknown: nothing is to fix as far as known, and not all is known.
	exitUnknown = 3
)

func selfCommand() *cli.Command {
	return &cli.Command{
		Name:  "self",
		Usage: "check whether the greeting of this server would pass elsewhere",
		Description: "Reads the host names from maddy.conf and checks each against the DNS and" +
			" against the addresses that mail leaves from: those of --ip, else local_ip of" +
			" target.remote, else the public addresses of this machine." +
			"\n\nEnds with 0 when all is well, 1 when something is to fix, 2 for wrong usage" +
			" and 3 when the DNS did not answer everything and the rest is well.",
		Flags: []cli.Flag{
			&cli.StringFlag{
				Name: "config", Usage: "read this maddy.conf `FILE` instead of the server's",
			},
			&cli.StringSliceFlag{Name: "ip", Usage: "mail leaves from the address `A`; may be repeated"},
			&cli.StringSliceFlag{
				Name: "helo", Usage: "check `NAME` instead of those in maddy.conf; may be repeated",
			},
			&cli.StringFlag{Name: "dns", Value: "system", Usage: "look up `HOW`: system, HOST:PORT"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "write as `F`: text, json"},
			&cli.BoolFlag{
				Name: "watch", Usage: "check again and again; end with 1 when a result changes",
			},
			&cli.DurationFlag{
				Name: "every", Value: selfEvery, Usage: "with --watch: the `PAUSE` between two checks",
			},
		},
		Action: runSelf,
	}
}

// selfRun is one call of the command.
type selfRun struct {
	config   string
	required bool // the file was asked for by name
	helo     []string
	ips      []netip.Addr
	client   *dnsfacts.Client
	machine  func() ([]net.Addr, error)
}

func runSelf(c *cli.Context) error {
	run, err := newSelfRun(c)
	if err != nil {
		return err
	}
	report, err := run.check(c.Context)
	if err != nil {
		return err
	}
	if err := report.write(c.App.Writer, c.String("format")); err != nil {
		return err
	}
	if c.Bool("watch") {
		return run.watch(c, report)
	}
	return report.status()
}

func newSelfRun(c *cli.Context) (*selfRun, error) {
	if _, err := formatOf(c, "text", "json"); err != nil {
		return nil, err
	}
	if every := c.Duration("every"); every < selfMinEvery {
		return nil, usage(fmt.Sprintf("self: --every is %s; accepted: %s or more", every, selfMinEvery))
	}
	config, how := serverConfig(c)
	run := &selfRun{
		config: config, required: how == "--config", helo: c.StringSlice("helo"),
		machine: net.InterfaceAddrs,
	}
	for _, text := range c.StringSlice("ip") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return nil, usage(fmt.Sprintf("self: --ip is %q; accepted: an IPv4 or IPv6 address", text))
		}
		run.ips = append(run.ips, addr.Unmap())
	}
	servers, err := selfServers(c.String("dns"))
	if err != nil {
		return nil, err
	}
	run.client = dnsfacts.NewClient(servers)
	return run, nil
}

// selfServers returns the DNS servers that --dns names, as host:port.
func selfServers(arg string) ([]string, error) {
	if arg == "system" {
		system, err := dns.NewExtResolver()
		if err != nil {
			return nil, fmt.Errorf("self: %w", err)
		}
		var servers []string
		for _, host := range system.Cfg.Servers {
			servers = append(servers, net.JoinHostPort(host, system.Cfg.Port))
		}
		return servers, nil
	}
	if host, port, err := net.SplitHostPort(arg); err != nil || host == "" || port == "" {
		return nil, usage(fmt.Sprintf("self: --dns is %q; accepted: system, HOST:PORT", arg))
	}
	return []string{arg}, nil
}

// check reads the settings afresh and judges every name and address once.
func (r *selfRun) check(ctx context.Context) (*selfReport, error) {
	names, err := r.names()
	if err != nil {
		return nil, err
	}
	report := &selfReport{}
	pairs, err := r.pairs(names, report)
	if err != nil {
		return nil, err
	}
	j := selfJudge{gatherer: &dnsfacts.Gatherer{
		Exchange: r.client.Exchange, Cache: dnsfacts.NewCache(selfCache),
	}}
	for _, pair := range pairs {
		report.Results = append(report.Results, j.judge(ctx, pair))
		if err := ctx.Err(); err != nil {
			return nil, err // what is missing now is no answer of the DNS
		}
	}
	return report, nil
}

// names returns the names of --helo, else those of maddy.conf. With both options
// the file gives local_ip only.
func (r *selfRun) names() ([]selfName, error) {
	var local []netip.Addr
	if r.required || len(r.helo) == 0 {
		conf, err := readSelfConf(r.config)
		if err != nil || len(r.helo) == 0 {
			return conf, err
		}
		for _, n := range conf {
			local = append(local, n.addrs...)
		}
	}
	names := make([]selfName, 0, len(r.helo))
	for _, helo := range r.helo {
		names = append(names, selfName{said: helo, source: "--helo", greets: true, addrs: local})
	}
	return names, nil
}

// selfPair is one name to be judged, with one address it is said from. A name
// that only listens has the zero address.
type selfPair struct {
	selfName
	addr netip.Addr
}

// pairs joins names and addresses, each pair once.
func (r *selfRun) pairs(names []selfName, report *selfReport) ([]selfPair, error) {
	var pairs []selfPair
	add := func(n selfName, addr netip.Addr) {
		same := func(p selfPair) bool {
			return p.said == n.said && (p.addr == addr || !addr.IsValid())
		}
		if i := slices.IndexFunc(pairs, same); i < 0 {
			pairs = append(pairs, selfPair{selfName: n, addr: addr})
		} else if pairs[i].source != n.source {
			pairs[i].source += "; " + n.source
		}
	}
	slices.SortStableFunc(names, func(a, b selfName) int { // those that greet first
		return cmp.Compare(listens(a), listens(b))
	})
	for _, n := range names {
		if !n.greets {
			add(n, netip.Addr{})
			continue
		}
		addrs, err := r.addresses(n, report)
		if err != nil {
			return nil, err
		}
		for _, addr := range addrs {
			add(n, addr)
		}
	}
	return pairs, nil
}

func listens(n selfName) int {
	if n.greets {
		return 0
	}
	return 1
}

// addresses returns where mail greeted with n leaves from.
func (r *selfRun) addresses(n selfName, report *selfReport) ([]netip.Addr, error) {
	switch {
	case len(r.ips) > 0:
		return r.ips, nil
	case len(n.addrs) > 0:
		return n.addrs, nil
	}
	list, err := r.machine()
	if err != nil {
		return nil, fmt.Errorf("self: the addresses of this machine: %w", err)
	}
	var public []netip.Addr
	for _, a := range list {
		prefix, err := netip.ParsePrefix(a.String())
		if addr := prefix.Addr().Unmap(); err == nil && !unreachable(addr) {
			public = append(public, addr)
		}
	}
	if len(public) == 0 {
		return nil, usage("self: this machine has no public address of its own;" +
			" tell the one that the world sees with --ip")
	}
	report.note("the addresses are the public ones of this machine; --ip gives others")
	return public, nil
}
