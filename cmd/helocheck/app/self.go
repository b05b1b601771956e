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
	"golang.org/x/net/idna"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/maddyconf"
)

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

// status returns the error with the exit status of the report.
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

// Outcomes of a check that the code knows; the templates have more.
const (
	selfToFix   = "to fix"
	selfUnknown = "not known" // the DNS did not answer
	selfSkipped = "skipped"   // nothing to say before another fault is fixed
)

// selfLine is the outcome of one check.
type selfLine struct {
	Check  string `json:"check"`
	Status string `json:"state"`
	Seen   string `json:"seen"`         // what the world sees
	Do     string `json:"do,omitempty"` // what to do
	Old    string `json:"status"`       // "to mend" for "to fix"; until the next version
}

// selfCheck is one row of selfChecks.
type selfCheck struct {
	name  string // "self NAME" is the template of its outcome
	after string // checks; to fix one of these may fix this one too, or makes no sense after it
	addr  bool   // needs an address that mail leaves from
	asks  string // what it reads of the DNS, by the names of factsOf
}

// selfChecks are applied in this order.
var selfChecks = []selfCheck{
	{"fqdn", "", false, ""},
	{"tld", "fqdn", false, "tld"},
	{"underscore", "fqdn", false, ""},
	{"default_name", "fqdn tld", false, ""},
	{"public_address", "", true, ""},
	{"address", "fqdn tld", false, "forward"},
	{"public_name", "fqdn tld address", false, "forward"},
	{"forward", "fqdn tld public_address address public_name", true, "forward"},
	{"ptr", "public_address", true, "ptr"},
	{"ptr_confirmed", "public_address ptr", true, "confirmed"},
	{"ptr_name", "fqdn tld public_address ptr ptr_confirmed", true, "ptr"},
	{"spf", "fqdn tld public_address", true, "spf"},
	{"mx", "fqdn tld address", false, "mx"},
}

// selfView is what the checks of one pair look at.
type selfView struct {
	checkhelo.Facts
	Hits   map[string]*checkhelo.Hit // by rule
	Known  map[string]fact           // by the names of factsOf
	MXHost string                    // an MX host of the name that is this machine; "" for none
	Bad    map[string]bool           // checks with a fault, or skipped for one
}

const maxMXHosts = 8 // looked up for one name

// selfResult is a name that this server gives itself, and what is known of it.
type selfResult struct {
	Name    string     `json:"name"`
	Address string     `json:"address,omitempty"` // "" for a name that only listens
	Source  string     `json:"source"`            // where it was set
	Checks  []selfLine `json:"checks"`

	said string // the name as it was set
	// greets: said in HELO to other servers. Else the name stands only in the answers of an endpoint,
	// which nobody compares with an address.
	greets bool
	addr   netip.Addr // that it is said from; of a name in maddy.conf its local_ip
}

func (r *selfResult) judge(ctx context.Context, gatherer *dnsfacts.Gatherer) {
	v := r.look(ctx, gatherer)
	r.Name = heloname.Clean(r.said, maxShown)
	if r.addr.IsValid() {
		r.Address = r.addr.String()
	}
	for i := range selfChecks {
		if check := &selfChecks[i]; !check.addr || r.addr.IsValid() {
			line := check.line(v)
			line.Old = strings.ReplaceAll(line.Status, selfToFix, "to mend")
			v.Bad[check.name] = line.Status == selfToFix || line.Status == selfSkipped
			r.Checks = append(r.Checks, line)
		}
	}
}

// look asks the DNS, and lets all rules of the table judge.
func (r *selfResult) look(ctx context.Context, gatherer *dnsfacts.Gatherer) *selfView {
	wire := r.said // as Maddy sends it
	if ascii, err := idna.ToASCII(wire); err == nil {
		wire = ascii
	}
	v := &selfView{
		Facts: checkhelo.Facts{Helo: heloname.Parse(wire), Client: r.addr},
		Hits:  make(map[string]*checkhelo.Hit), Known: make(map[string]fact), Bad: make(map[string]bool),
	}
	f := &v.Facts
	need := checkhelo.NeedPTR
	if f.Helo.Kind == heloname.FQDN && f.Lists.Reserved(f.Helo.ASCII) == "" &&
		!heloname.Localhost(f.Helo.ASCII) { // questions about the name may go out
		need |= checkhelo.NeedForward | checkhelo.NeedMX | checkhelo.NeedSPF
		if !heloname.KnownTLD(f.Helo.ASCII) {
			need |= checkhelo.NeedTLD
		}
	}
	gatherer.Fill(ctx, f, need&checkhelo.NeedMX) // is not asked once there is an address
	gatherer.Fill(ctx, f, need)
	v.lookMX(ctx, gatherer)
	for _, fact := range factsOf(f) {
		v.Known[fact.Name] = fact
	}
	for _, hit := range checkhelo.NewPolicy(checkhelo.Strict).Evaluate(f).Hits { // all rules
		v.Hits[hit.Rule.Name] = &hit
	}
	if !r.addr.IsValid() {
		delete(v.Hits, "dynamic_name") // nobody compares the name of an endpoint with an address
	}
	return v
}

// lookMX looks for an MX host of the name that is this machine.
func (v *selfView) lookMX(ctx context.Context, gatherer *dnsfacts.Gatherer) {
	here := func(a netip.Addr) bool { return a == v.Client || slices.Contains(v.Forward.Value, a) }
	lost := v.Forward.Err
	for _, name := range v.MX.Value[:min(len(v.MX.Value), maxMXHosts)] {
		host := checkhelo.Facts{Helo: heloname.Parse(name), Client: v.Client}
		gatherer.Fill(ctx, &host, checkhelo.NeedForward)
		if name == v.Helo.ASCII || slices.ContainsFunc(host.Forward.Value, here) {
			v.MXHost = host.Helo.ASCII
			return
		}
		lost = cmp.Or(host.Forward.Err, lost)
	}
	if len(v.MX.Value) > 0 {
		v.MX.Err = lost
	}
}

// line returns the outcome of a check.
func (c *selfCheck) line(v *selfView) selfLine {
	for after := range strings.FieldsSeq(c.after) {
		if v.Bad[after] {
			return selfLine{Check: c.name, Status: selfSkipped, Seen: "fix " + after + " first"}
		}
	}
	if problem := v.Known[c.asks].Error; problem != "" {
		return selfLine{Check: c.name, Status: selfUnknown, Seen: "the DNS did not answer: " + problem}
	}
	seen, do, _ := strings.Cut(render("self "+c.name, v), "\n")
	status, seen, _ := strings.Cut(seen, ": ")
	return selfLine{Check: c.name, Status: status, Seen: seen, Do: do}
}

// Named tells whether the greeting is a PTR name.
func (v *selfView) Named() bool { return slices.Contains(v.PTR.Value, v.Helo.ASCII) }

// OtherName returns another name that is shown to be this server's.
func (v *selfView) OtherName() string {
	for _, name := range v.Confirmed.Value {
		if _, found := v.Lists.DefaultHost(name); !found {
			return name
		}
	}
	return ""
}

// documentation are the networks of RFC 5737 and RFC 3849. They stand in examples, which should
// show what happens to an ordinary server; no machine has such an address.
var documentation = [...]netip.Prefix{
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("2001:db8::/32"),
}

// unreachable tells whether an address cannot be met on the Internet.
func unreachable(addr netip.Addr) bool {
	holds := func(p netip.Prefix) bool { return p.Contains(addr) }
	return heloname.Special(addr) && !slices.ContainsFunc(documentation[:], holds)
}
