package app

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	parser "github.com/foxcpp/maddy/framework/cfgparser"
	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/maddyconf"
)

// exitUnknown: nothing is to fix as far as known, and not all is known.
const exitUnknown = 3

func selfCommand() *cli.Command {
	return &cli.Command{
		Name:  "self",
		Usage: "check whether the greeting of this server would pass elsewhere",
		Flags: []cli.Flag{
			option("config", "", "read this maddy.conf `FILE` instead of the server's"),
			repeated("ip", "mail leaves from the address `A`"),
			repeated("helo", "check `NAME` instead of those in maddy.conf"),
			option("dns", "system", "look up `HOW`: system, HOST:PORT"),
			formatFlag("text", "json"),
			toggle("watch", "check again and again; end with 1 when a result changes"),
			&cli.DurationFlag{
				Name: "every", Value: time.Hour, Usage: "with --watch: the `PAUSE` between two checks",
			},
		},
		Action: runSelf,
	}
}

// selfRun is one call of the command.
type selfRun struct {
	config   string
	names    []selfResult // of --helo
	ips      []netip.Addr
	gatherer *dnsfacts.Gatherer
	machine  func() ([]net.Addr, error)
}

// runSelf checks once, or with --watch until a result changes or the command is ended, which leaves
// the status of the last report.
func runSelf(c *cli.Context) error {
	run, err := newSelfRun(c)
	if err != nil {
		return err
	}
	report, err := run.check(c.Context)
	if err == nil {
		err = report.write(c)
	}
	if err != nil {
		return err
	}
	for last := report.states(nil); c.Bool("watch"); {
		select {
		case <-c.Done():
		case <-time.After(c.Duration("every")):
		}
		next, err := run.check(c.Context)
		switch {
		case c.Err() != nil:
			return report.status()
		case err != nil:
			return err
		}
		now := next.states(last)
		if changes := selfChanges(last, now); len(changes) > 0 {
			problem := cli.Exit("self: changed:\n  "+strings.Join(changes, "\n  "), exitFailure)
			return cmp.Or(next.write(c), error(problem))
		}
		report, last = next, now
	}
	return report.status()
}

func newSelfRun(c *cli.Context) (*selfRun, error) {
	if every := c.Duration("every"); every < time.Second {
		return nil, usage(fmt.Sprintf("self: --every is %s; accepted: 1s or more", every))
	}
	run := &selfRun{machine: net.InterfaceAddrs}
	for _, helo := range c.StringSlice("helo") {
		run.names = append(run.names, selfResult{said: helo, Source: "--helo", greets: true})
	}
	run.config, _ = serverConfig(c)
	for _, text := range c.StringSlice("ip") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return nil, usage(fmt.Sprintf("self: --ip is %q; accepted: an IPv4 or IPv6 address", text))
		}
		run.ips = append(run.ips, addr.Unmap())
	}
	check, err := maddyconf.FromPolicy(usualPreset)
	if err != nil {
		return nil, err
	}
	j := check.Judge()
	run.gatherer = j.Gatherer
	if how := c.String("dns"); how == "off" {
		return nil, usage("self asks the DNS: --dns takes system, HOST:PORT")
	}
	return run, useDNS(j, c.String("dns"))
}

// check reads the settings afresh and judges every name and address once.
func (r *selfRun) check(ctx context.Context) (*selfReport, error) {
	report, names := &selfReport{Notes: []string{}}, r.names
	var err error
	if len(names) == 0 {
		names, err = readSelfConf(r.config)
	}
	if err == nil {
		report.Results, err = r.pairs(names, report)
	}
	if err != nil {
		return nil, err
	}
	r.gatherer.Cache = nil // what changed since the last time is to be seen
	for i := range report.Results {
		report.Results[i].judge(ctx, r.gatherer)
		if err := ctx.Err(); err != nil {
			return nil, err // what is missing now is no answer of the DNS
		}
	}
	return report, nil
}

// pairs joins names, those that greet first, and addresses, each pair once.
func (r *selfRun) pairs(names []selfResult, report *selfReport) (pairs []selfResult, _ error) {
	for _, n := range names {
		addrs, err := r.addresses(n, report)
		if err != nil {
			return nil, err
		}
		for _, n.addr = range addrs {
			i := slices.IndexFunc(pairs, func(p selfResult) bool {
				return p.said == n.said && (p.addr == n.addr || !n.addr.IsValid())
			})
			if i < 0 {
				pairs = append(pairs, n)
			} else if !strings.Contains(pairs[i].Source, n.Source) {
				pairs[i].Source += "; " + n.Source
			}
		}
	}
	return pairs, nil
}

// addresses returns where mail with that name leaves from, one that is not valid for none.
func (r *selfRun) addresses(n selfResult, report *selfReport) (public []netip.Addr, err error) {
	switch {
	case !n.greets, n.addr.IsValid() && len(r.ips) == 0:
		return []netip.Addr{n.addr}, nil
	case len(r.ips) > 0:
		return r.ips, nil
	}
	list, err := r.machine()
	if err != nil {
		return nil, fmt.Errorf("self: the addresses of this machine: %w", err)
	}
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
	report.Notes = []string{"the addresses are the public ones of this machine; --ip gives others"}
	return public, nil
}

// selfReport is the outcome of one look at ourselves.
type selfReport struct {
	*screen
	OK      bool         `json:"ok"` // nothing to fix and all known
	Notes   []string     `json:"notes"`
	Results []selfResult `json:"results"`
}

// states returns the status of every check, by what it is about. What is not known now stays as it
// was in last: an answer that failed to come is no change.
func (r *selfReport) states(last map[string]string) map[string]string {
	now := make(map[string]string)
	for _, result := range r.Results {
		for _, line := range result.Checks {
			about := strings.Join(strings.Fields(result.Name+" "+result.Address+" "+line.Check), " ")
			now[about] = line.Status
			if line.Status == selfUnknown {
				now[about] = cmp.Or(last[about], selfUnknown)
			}
		}
	}
	return now
}

// Count returns how many checks have a status.
func (r *selfReport) Count(status string) (n int) {
	for _, found := range r.states(nil) {
		if found == status {
			n++
		}
	}
	return n
}

// status returns the error that ends the program as the report deserves.
func (r *selfReport) status() error {
	if n := r.Count(selfToFix); n > 0 {
		return cli.Exit(fmt.Sprintf("self: to fix: %d", n), exitFailure)
	}
	if n := r.Count(selfUnknown); n > 0 {
		return cli.Exit(fmt.Sprintf("self: not known: %d; the DNS did not answer", n), exitUnknown)
	}
	return nil
}

func (r *selfReport) write(c *cli.Context) error {
	r.screen, r.OK = newScreen(c.App.Writer), r.status() == nil
	return show(c, "self", r)
}

// selfChanges tells what differs, a line each, sorted. A check that becomes
// known for the first time has not changed.
func selfChanges(last, now map[string]string) (lines []string) {
	all := maps.Clone(last)
	maps.Copy(all, now)
	for about := range all {
		from, to := cmp.Or(last[about], "not there"), cmp.Or(now[about], "not there")
		if from != to && from != selfUnknown {
			lines = append(lines, fmt.Sprintf("%s: %s -> %s", about, from, to))
		}
	}
	slices.Sort(lines)
	return lines
}

// readSelfConf returns the hostname of each target that delivers by SMTP, then those of the
// endpoints and the global one. A server without targets relays through something unknown to us.
func readSelfConf(path string) (names []selfResult, err error) {
	top, err := maddyconf.Read(path)
	if err != nil {
		return nil, err
	}
	global := hostname(top, "hostname")
	for _, node := range targets(top) {
		name := hostname(node.Children, "hostname of target."+node.Name)
		if name.said == "" {
			name = global
		}
		name.greets = true
		if local := child(node.Children, "local_ip"); local != nil && node.Name == "remote" {
			addr, err := netip.ParseAddr(local.Args[0])
			if err != nil {
				return nil, parser.NodeErr(*local, "local_ip is no address: %q", local.Args[0])
			}
			name.addr = addr.Unmap()
		}
		names = append(names, name)
	}
	if global.greets = len(names) == 0; global.greets {
		names = append(names, global)
	}
	for _, node := range top {
		if node.Name == "smtp" || node.Name == "submission" {
			names = append(names, hostname(node.Children, "hostname of the "+node.Name+" endpoint"))
		}
	}
	names = slices.DeleteFunc(append(names, global), func(n selfResult) bool { return n.said == "" })
	if len(names) == 0 {
		return nil, fmt.Errorf("self: %s has no hostname; set: hostname mail.example.org", path)
	}
	return names, nil
}

// targets returns the blocks that deliver by SMTP, named remote or smtp, by themselves or inside
// others: "target.remote NAME {", "deliver_to smtp tcp://..." and "target remote {".
func targets(nodes []parser.Node) (found []parser.Node) {
	for _, node := range nodes {
		kind, target := strings.CutPrefix(node.Name, "target.")
		if (kind == "deliver_to" || kind == "target") && len(node.Args) > 0 {
			kind, target = node.Args[0], true
		}
		if target && (kind == "remote" || kind == "smtp") {
			node.Name = kind
			found = append(found, node)
		}
		found = append(found, targets(node.Children)...)
	}
	return found
}

// hostname returns the name that the directive hostname sets, "" without one.
func hostname(nodes []parser.Node, what string) selfResult {
	node := child(nodes, "hostname")
	if node == nil {
		return selfResult{}
	}
	source := fmt.Sprintf("%s, %s:%d", what, filepath.Base(node.File), node.Line)
	return selfResult{said: node.Args[0], Source: source}
}

// child returns the first node of that name with a value.
func child(nodes []parser.Node, name string) *parser.Node {
	for i := range nodes {
		if nodes[i].Name == name && len(nodes[i].Args) > 0 {
			return &nodes[i]
		}
	}
	return nil
}
