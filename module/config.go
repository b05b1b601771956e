package module

import (
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/foxcpp/maddy/framework/config"
	modconfig "github.com/foxcpp/maddy/framework/config/module"
	maddydns "github.com/foxcpp/maddy/framework/dns"
	"github.com/foxcpp/maddy/framework/module"
	"github.com/foxcpp/maddy/framework/module/modules"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/metrics"
)

const (
	maxURL    = 160  // octets of help_url, so that a reply line holds it
	maxPoints = 1000 // of one rule
	maxShare  = 1024 // jobs or questions of one network

	acceptedActions = "off, ignore, score N, greylist, quarantine, reject [CODE [ENHANCED [TEXT]]]"
	acceptedTables  = "accepted: file, static, regexp, sql_query or another table of Maddy," +
		" or &NAME of a table's own block"
)

// Configure reads the directives of docs/check.helo_fqdn.md. The only inline
// argument is the policy: `helo_fqdn strict`.
func (c *Check) Configure(inlineArgs []string, cfg *config.Map) error {
	j := c.judge
	j.Policy = checkhelo.NewPolicy(checkhelo.RFC)
	j.Policy.Override = make(map[string]checkhelo.Rule)
	s := settings{Check: c, Map: cfg, policy: j.Policy, read: make(map[string]config.Node),
		first: make(map[checkhelo.Action]config.Node)}
	if len(inlineArgs) > 0 {
		if err := s.preset(inlineArgs); err != nil {
			return config.NodeErr(cfg.Block, "policy: %v", err)
		}
	}
	s.declare()
	unknown, err := cfg.Process()
	switch {
	case err != nil:
		return err
	case len(unknown) != 0:
		return unknownDirective(unknown[0])
	}
	return s.finish()
}

// settings reads the directives into a check. It holds values that depend on several of them.
type settings struct {
	*Check
	*config.Map
	policy *checkhelo.Policy

	presetGiven, ceilingGiven bool

	extension heloname.Extension
	cacheSize int
	servers   []string                         // of the DNS
	first     map[checkhelo.Action]config.Node // the first directive that has the action

	node config.Node            // the directive that is being read
	read map[string]config.Node // those that have been read
}

// declare names every directive, in the order of docs/check.helo_fqdn.md, after its default.
func (s *settings) declare() {
	c, j, p, g, ext := s.Check, s.judge, s.policy, s.judge.Gatherer, &s.extension
	s.AllowUnknown()
	s.args("policy", s.preset)
	s.args("max_action", s.ceiling)
	s.args("fail_action", s.ceiling) // the old name
	config.EnumMapped(s.Map, "enforce_at", false, false,
		map[string]bool{"rcpt": false, "ehlo": true}, false, &j.AtEHLO)
	s.numbers("quarantine_threshold", "a number", 0, math.MaxInt32, &p.QuarantineScore)
	s.numbers("reject_threshold", "a number", 0, math.MaxInt32, &p.RejectScore)
	s.numbers("greylist_threshold", "a number", 0, math.MaxInt32, &p.GreylistScore)
	c.memory.Delay, c.memory.NeighboursMin = memory.DefaultDelay, 2
	s.duration("greylist_delay", &c.memory.Delay, time.Second, time.Hour)
	s.numbers("neighbours_min", "a number", 2, memory.MaxNeighbours, &c.memory.NeighboursMin)
	config.EnumMapped(s.Map, "known_after", false, false, map[string]checkhelo.Known{
		"seen": checkhelo.Seen, "accepted": checkhelo.Accepted}, checkhelo.Seen, &j.KnownAfter)
	c.memoryKind, c.memoryPlace = "sqlite3", "helo_fqdn.db"
	s.args("memory", s.readMemory)
	for _, rule := range checkhelo.Rules() {
		s.once(s.Map, rule.Name+"_action", s.action(rule))
	}
	if hostname, _ := s.Globals["hostname"].(string); hostname != "" {
		_ = s.selfDomain(hostname) // Maddy itself reports a wrong one
	}
	s.each("self_domains", s.selfDomain)
	s.each("self_addresses", s.selfAddress)
	s.Bool("exempt_authenticated", false, true, &j.Exempt.Authenticated)
	s.list("exempt_networks", &j.Exempt.NetworkTable, s.networks, "127.0.0.0/8", "::1/128")
	s.list("exempt_recipients", &j.Exempt.RecipientTable, s.recipients, "postmaster", "abuse")
	s.args("echo_recipients", func(entries []string) (err error) {
		for _, entry := range entries {
			if strings.IndexByte(entry, '@') < 1 {
				return fmt.Errorf("found %q; accepted: addresses such as helo-test@example.org", entry)
			}
		}
		j.Echo, err = exempt.ParseRecipients(entries)
		return err
	})
	for i, store := range []*exempt.Table{
		&j.Exempt.Clients, &j.Exempt.Names, &j.DenyNames, &j.DenyHosts, &j.Recipients,
	} {
		s.once(s.Map, tables[i], func(node config.Node) error { return s.table(node, store) })
	}
	s.args("help_url", s.helpURL)
	s.Bool("header", false, false, &c.header)
	s.Bool("debug", true, false, &c.log.Debug)
	s.each("dns_servers", s.dnsServer)
	g.Timeout = dnsfacts.DefaultTimeout
	s.duration("dns_timeout", &g.Timeout, 100*time.Millisecond, time.Minute)
	config.EnumMapped(s.Map, "dns_error_action", false, false,
		map[string]bool{"ignore": false, "tempfail": true}, false, &j.TempFail)
	s.cacheSize = dnsfacts.DefaultCacheEntries
	s.numbers("cache_size", "a number", 1, 10_000_000, &s.cacheSize)
	s.numbers("dns_share", "JOBS QUESTIONS, each", 1, maxShare, &g.ShareJobs, &g.ShareQuestions)
	s.args("exempt_dnswl", func(zones []string) (err error) {
		s.checkZones(blocks, allows, "a block list: clients that are listed would be exempt")
		g.Allowlists, err = zoneNames(zones)
		return err
	})
	s.often(s.Map, "blocklists", s.blocklists)
	s.often(s.Map, "provider", s.provider)
	for name, words := range map[string]*[]string{
		"dynamic_words": &ext.DynamicWords, "static_words": &ext.StaticWords,
		"reserved_tlds": &ext.ReservedTLDs, "not_reserved_tlds": &ext.NotReserved,
	} {
		s.args(name, func(args []string) (err error) {
			*words = args
			j.Lists, err = heloname.DefaultLists().With(*ext)
			return err
		})
	}
}

// finish checks the settings against each other and puts them in force.
func (s *settings) finish() error {
	p, j, g := s.policy, s.judge, s.judge.Gatherer
	scored, scores := s.first[checkhelo.Score]
	if scores && max(p.QuarantineScore, p.RejectScore, p.GreylistScore) == 0 {
		return placed(scored, errors.New("a score has no effect, since quarantine_threshold,"+
			" reject_threshold and greylist_threshold are 0; accepted: a threshold above 0, or"+
			" another action"))
	}
	if s.memoryKind == "" {
		set, given := p.Override["neighbours"]
		waiting, waits := s.first[checkhelo.Greylist]
		switch {
		case waits:
			return placed(waiting, errors.New("greylist needs a memory; accepted: another action, or"+
				" memory other than off"))
		case p.GreylistScore > 0:
			return placed(s.read["greylist_threshold"],
				errors.New("points cannot greylist with memory off"))
		case given && set.Action != checkhelo.Off:
			return placed(s.read["neighbours_action"],
				errors.New("the rule can never hit with memory off"))
		}
		p.Override["neighbours"] = checkhelo.Rule{Action: checkhelo.Off}
	}
	for address := range j.Echo {
		if j.Exempt.Recipients.Contains(address) {
			return placed(s.read["echo_recipients"], fmt.Errorf("%s could never be written to: it is in"+
				" exempt_recipients, too", address))
		}
	}
	heloname.DefaultLists() // parsed here, not at the first mail
	if len(s.servers) == 0 {
		s.systemDNS()
	}
	g.Exchange = dnsfacts.NewClient(s.servers).Exchange
	g.Cache, g.Observe = dnsfacts.NewCache(s.cacheSize), metrics.Question
	if len(g.Blocklists) == 0 {
		p.Override["listed"] = checkhelo.Rule{Action: checkhelo.Off}
	}
	s.checkThresholds()
	return nil
}

// placed adds the place and the name of a directive to an error that has no place.
func placed(node config.Node, err error) error {
	if err == nil || strings.HasPrefix(err.Error(), node.File+":") {
		return err
	}
	return config.NodeErr(node, "%s: %v", node.Name, err)
}

// once declares a directive that stands in its block once at most.
func (s *settings) once(block *config.Map, name string, read func(config.Node) error) {
	block.Custom(name, false, false, nil, func(_ *config.Map, node config.Node) (any, error) {
		return nil, s.enter(node, read)
	}, nil)
}

// often declares a directive that may be repeated.
func (s *settings) often(block *config.Map, name string, read func(config.Node) error) {
	block.Callback(name, func(_ *config.Map, node config.Node) error { return s.enter(node, read) })
}

func (s *settings) enter(node config.Node, read func(config.Node) error) error {
	s.node, s.read[node.Name] = node, node
	return placed(node, read(node))
}

// args declares a directive without a block.
func (s *settings) args(name string, read func(args []string) error) {
	s.once(s.Map, name, func(node config.Node) error {
		switch {
		case len(node.Children) != 0:
			return errors.New("found a block")
		case len(node.Args) == 0:
			return errors.New("found no argument")
		}
		return read(node.Args)
	})
}

func (s *settings) each(name string, read func(arg string) error) {
	s.args(name, func(args []string) error {
		for _, arg := range args {
			if err := read(arg); err != nil {
				return err
			}
		}
		return nil
	})
}

// numbers declares a directive with numbers from least to most, which form describes.
func (s *settings) numbers(name, form string, least, most int, stores ...*int) {
	s.args(name, func(args []string) error {
		fits := len(args) == len(stores)
		for i := 0; fits && i < len(args); i++ {
			n, err := strconv.Atoi(args[i])
			fits, *stores[i] = err == nil && n >= least && n <= most, n
		}
		if !fits {
			return fmt.Errorf("found %q; accepted: %s from %d to %d",
				strings.Join(args, " "), form, least, most)
		}
		return nil
	})
}

func (s *settings) duration(name string, store *time.Duration, least, most time.Duration) {
	s.args(name, func(args []string) error {
		text := strings.Join(args, "") // as Maddy reads it
		d, err := time.ParseDuration(text)
		if err != nil || d < least || d > most {
			return fmt.Errorf("found %q; accepted: %s to %s", text, least, most)
		}
		*store = d
		return nil
	})
}

// preset reads the policy, which is given inline or in the block.
func (s *settings) preset(args []string) error {
	preset := checkhelo.Preset(strings.Join(args, " "))
	switch {
	case !slices.Contains(checkhelo.Presets, preset):
		return fmt.Errorf("found %q; accepted: one of %v", preset, checkhelo.Presets)
	case s.presetGiven:
		return errors.New("is given inline too")
	}
	s.policy.Preset, s.presetGiven = preset, true
	return nil
}

// ceiling reads the strongest action. `reject` takes a reply as Maddy's other checks do, which
// replaces that of every rule.
func (s *settings) ceiling(args []string) error {
	ceilings := map[string]checkhelo.Action{
		"reject": checkhelo.Off, "quarantine": checkhelo.Quarantine, "ignore": checkhelo.Ignore}
	ceiling, ok := ceilings[args[0]]
	switch {
	case !ok || args[0] != "reject" && len(args) > 1:
		return fmt.Errorf("found %q; accepted: one of reject [CODE [ENHANCED [TEXT]]], quarantine,"+
			" ignore", strings.Join(args, " "))
	case s.ceilingGiven:
		return errors.New("max_action and fail_action are one setting; accepted: one of the two")
	}
	s.policy.Ceiling, s.ceilingGiven = ceiling, true
	return setReply(&s.policy.Answer, args[1:])
}

// readMemory reads `memory sqlite3 PATH | postgres DSN | off`. An error never repeats the DSN.
func (s *settings) readMemory(args []string) error {
	kind := args[0]
	switch {
	case kind == "off" && len(args) == 1:
		s.memoryKind = ""
		return nil
	case (kind == "sqlite3" || kind == "postgres") && len(args) == 2 && args[1] != "":
		s.memoryKind, s.memoryPlace = kind, args[1]
		return nil
	}
	return errors.New("accepted: sqlite3 PATH, postgres DSN, off")
}

// selfDomain reads one name of this server and its neighbours.
func (s *settings) selfDomain(entry string) error {
	self := &s.judge.Self
	domain, below := strings.CutPrefix(entry, ".")
	ascii, err := heloname.Domain(domain)
	switch {
	case err != nil:
		return fmt.Errorf("found %q: %w; accepted: a name (example.org) or, for everything below it,"+
			" the name with a leading dot (.example.org)", entry, err)
	case below && heloname.PublicSuffix(ascii):
		return fmt.Errorf("found %q: everybody's names are below it; accepted: a domain of your own",
			entry)
	case below:
		self.Domains = append(self.Domains, ascii)
	default:
		self.Names = append(self.Names, ascii)
	}
	return nil
}

// selfAddress reads one address or network of this server and its neighbours.
func (s *settings) selfAddress(entry string) error {
	prefix, err := heloname.ParsePrefix(entry)
	if err != nil {
		return fmt.Errorf("found %q; accepted: an address (192.0.2.1) or a network without host bits"+
			" (192.0.2.0/24)", entry)
	}
	if problem, never := exempt.NetworkProblem(prefix); never {
		return fmt.Errorf("%s %s", entry, problem)
	}
	s.checkNetwork(prefix)
	s.judge.Self.Addrs = append(s.judge.Self.Addrs, prefix)
	return nil
}

// tables are the directives that take one of Maddy's tables.
var tables = []string{
	"exempt_clients", "exempt_names", "deny_names", "deny_hosts", "recipient_policy",
}

func (s *settings) networks(entries []string) (err error) {
	list := &s.judge.Exempt.Networks
	if *list, err = exempt.ParseNetworks(entries); err != nil || s.node.Name == "" {
		return err
	}
	empty := len(entries) > 0
	for p := range (*list).All() {
		s.checkNetwork(p)
		empty = false
	}
	if empty {
		s.warn("the list holds no entry, so that nobody is exempt")
	}
	return nil
}

func (s *settings) recipients(entries []string) (err error) {
	list := &s.judge.Exempt.Recipients
	*list, err = exempt.ParseRecipients(entries)
	switch {
	case err != nil || s.node.Name == "" || len(entries) == 0: // the default, or a table follows
	case len(*list) == 0:
		s.warn("the list holds no entry, so that nobody can reach postmaster (RFC 5321, section 4.5.1)")
	case !list.Contains("postmaster"):
		s.warn("postmaster is not in the list; RFC 5321, section 4.5.1 wants it to take all mail")
	}
	return err
}

// list declares a directive that takes entries, files of entries, or one table.
func (s *settings) list(
	name string, store *exempt.Table, read func(entries []string) error, preset ...string,
) {
	_ = read(preset)
	s.once(s.Map, name, func(node config.Node) error {
		if len(node.Args) == 0 || TakesTable(node) {
			_ = read(nil)
			return s.table(node, store)
		}
		return read(node.Args)
	})
}

// TakesTable reports whether a directive has a table: one of tables, or a list with a block, &NAME,
// or the kind of a table. "file" without a block is a file of entries, with more after it.
func TakesTable(node config.Node) bool {
	switch {
	case len(node.Args) == 0:
		return false
	case slices.Contains(tables, node.Name):
		return true
	case node.Name != "exempt_networks" && node.Name != "exempt_recipients":
		return false
	}
	first := node.Args[0]
	return len(node.Children) != 0 || strings.HasPrefix(first, "&") ||
		first != "file" && modules.Get("table."+tableKind(first)) != nil
}

// TableFile returns the path of a table that is a file, from the arguments or the block of its
// directive; nil: it has none.
func TableFile(node *config.Node) *string {
	switch {
	case len(node.Args) == 0 || tableKind(node.Args[0]) != "file":
		return nil
	case len(node.Args) > 1:
		return &node.Args[1]
	}
	for i := range node.Children {
		if child := &node.Children[i]; child.Name == "file" && len(child.Args) == 1 {
			return &child.Args[0]
		}
	}
	return nil
}

func tableKind(name string) string { return strings.TrimPrefix(name, "table.") }

// table reads a directive that takes one of Maddy's tables. Of most errors about one Maddy itself
// does not say where they are.
func (s *settings) table(node config.Node, store *exempt.Table) error {
	if len(node.Args) == 0 || node.Args[0] == "&" { // Maddy panics on the latter
		return errors.New("found no table; " + acceptedTables)
	}
	table, err := modconfig.TableDirective(s.Map, node)
	if err == nil {
		*store = table.(module.Table)
		s.checkTable(node)
		return nil
	}
	text := strings.TrimPrefix(err.Error(), fmt.Sprintf("%s:%d: ", node.File, node.Line))
	if strings.HasPrefix(text, node.File+":") { // a nearer place
		return err
	}
	if modules.Get("table."+tableKind(node.Args[0])) == nil {
		text += "; " + acceptedTables
	}
	return fmt.Errorf("found %q: %s", node.Args[0], text)
}

func (s *settings) action(rule checkhelo.Rule) func(config.Node) error {
	return func(node config.Node) error {
		set, err := s.parseAction(node)
		if err != nil {
			return err
		}
		if rule.Most != checkhelo.Off && (set.Action > rule.Most || set.Action == checkhelo.Greylist) {
			return fmt.Errorf("found %s; accepted: off, ignore, score N, quarantine", set.Action)
		}
		if set.Action == checkhelo.Reject && rule.NoReject {
			s.warnAt(node.File, node.Line, "%s is reject: RFC 5321, section 4.1.4 says that a server must"+
				" not refuse mail only because the HELO name does not match the client's address", node.Name)
		}
		s.policy.Override[rule.Name] = set
		return nil
	}
}

func (s *settings) parseAction(node config.Node) (set checkhelo.Rule, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w; accepted: %s", err, acceptedActions)
		}
	}()
	switch {
	case len(node.Children) != 0:
		return set, errors.New("found a block")
	case len(node.Args) == 0:
		return set, errors.New("found no action")
	}
	word, args := node.Args[0], node.Args[1:]
	for set.Action.String() != word {
		if set.Action++; set.Action > checkhelo.Reject {
			return set, fmt.Errorf("found %q", word)
		}
	}
	switch {
	case set.Action == checkhelo.Reject:
		err = setReply(&set, args)
	case set.Action == checkhelo.Score:
		points := strings.Join(args, " ")
		if set.Score, err = strconv.Atoi(points); err != nil || set.Score < 1 || set.Score > maxPoints {
			err = fmt.Errorf("found score %q, not a number from 1 to %d", points, maxPoints)
		}
	case len(args) != 0:
		err = fmt.Errorf("found %q after %s", args[0], word)
	}
	if _, later := s.first[set.Action]; !later {
		s.first[set.Action] = node
	}
	return set, err
}

// setReply reads CODE, ENHANCED and TEXT of `reject`. What is left out stays as the rule has it.
func setReply(set *checkhelo.Rule, args []string) error {
	if len(args) == 0 {
		return nil
	}
	reply, err := modconfig.ParseRejectDirective(args)
	if err != nil {
		return err
	}
	set.Code, set.Detail = reply.Code, [2]int{7, 1}
	if len(args) > 1 {
		if reply.EnhancedCode[0] != reply.Code/100 {
			return fmt.Errorf("found %s with code %d: both must start with %d",
				args[1], reply.Code, reply.Code/100)
		}
		set.Detail = [2]int{reply.EnhancedCode[1], reply.EnhancedCode[2]}
	}
	if len(args) > 2 {
		set.Message = args[2]
		return judge.CheckText(args[2])
	}
	return nil
}

func unknownDirective(node config.Node) error {
	rule, isAction := strings.CutSuffix(node.Name, "_action")
	if !isAction {
		return config.NodeErr(node, "unknown directive %q; see check.helo_fqdn(5)", node.Name)
	}
	var names []string
	for _, r := range checkhelo.Rules() {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return config.NodeErr(node, "unknown rule %q; accepted: %s", rule, strings.Join(names, ", "))
}

// blocklists reads `blocklists ZONE... { action A; response CODE|CIDR... { action A } }`.
func (s *settings) blocklists(node config.Node) error {
	if len(node.Args) == 0 {
		return errors.New("found no zone; accepted: blocklists ZONE..." +
			" [{ action A; response CODE|NETWORK... { action A } }]")
	}
	s.checkZones(allows, blocks, "an allow list: names that are listed would be hit")
	zones, err := zoneNames(node.Args)
	if err != nil {
		return err
	}
	var list dnsfacts.Blocklist
	block := config.NewMap(nil, node)
	s.listAction(block, &list.Action, &list.Score)
	s.often(block, "response", func(node config.Node) (err error) {
		var r dnsfacts.Response
		if r.Codes, err = responseCodes(node.Args); err != nil {
			return err
		}
		inner := config.NewMap(nil, node)
		s.listAction(inner, &r.Action, &r.Score)
		_, err = inner.Process()
		list.Responses = append(list.Responses, r)
		return err
	})
	if _, err := block.Process(); err != nil {
		return err
	}
	for _, list.Zone = range zones {
		s.judge.Gatherer.Blocklists = append(s.judge.Gatherer.Blocklists, list)
	}
	return nil
}

// zoneNames reads DNS lists. An error never repeats a zone, whose first label may be the key of a
// customer.
func zoneNames(args []string) (zones []string, err error) {
	for i, arg := range args {
		zone, err := heloname.Domain(arg)
		if err != nil {
			return nil, fmt.Errorf("zone %d is no domain name; accepted: the name of a zone", i+1)
		}
		zones = append(zones, zone)
	}
	return zones, nil
}

// listAction declares the action of a list or of one of its answers.
func (s *settings) listAction(block *config.Map, action *checkhelo.Action, score *int) {
	s.once(block, "action", func(node config.Node) error {
		set, err := s.parseAction(node)
		*action, *score = set.Action, set.Score
		switch {
		case err != nil:
			return err
		case set.Action == checkhelo.Off:
			return errors.New("found off; leave the list out instead")
		case set.Action == checkhelo.Reject && len(node.Args) > 1:
			return errors.New("found a reply; accepted: reject, with the reply in listed_action")
		}
		return nil
	})
}

// responseCodes reads the answers of a block list, RFC 5782, section 2.1.
func responseCodes(args []string) (codes []netip.Prefix, err error) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for _, arg := range args {
		prefix, err := heloname.ParsePrefix(arg)
		if err != nil || prefix.Bits() < loopback.Bits() || !loopback.Contains(prefix.Addr()) {
			return nil, fmt.Errorf("found %q; accepted: answers in 127.0.0.0/8, such as 127.0.1.2 or"+
				" 127.0.1.0/24", arg)
		}
		codes = append(codes, prefix)
	}
	if len(codes) == 0 {
		return nil, errors.New("found no answer; accepted: response CODE|NETWORK")
	}
	return codes, nil
}

// provider reads `provider NAME { helo SUFFIX...; ptr SUFFIX... }`.
func (s *settings) provider(node config.Node) error {
	if len(node.Args) != 1 || len(node.Children) == 0 {
		return config.NodeErr(node, "accepted: provider NAME { helo DOMAIN...; ptr DOMAIN... }")
	}
	p := heloname.Provider{Name: node.Args[0]}
	block := config.NewMap(nil, node)
	block.StringList("helo", false, true, nil, &p.Helo)
	block.StringList("ptr", false, true, nil, &p.PTR)
	if _, err := block.Process(); err != nil {
		return err
	}
	s.extension.Providers = append(s.extension.Providers, p)
	var err error
	s.judge.Lists, err = heloname.DefaultLists().With(s.extension)
	return err
}

func (s *settings) helpURL(args []string) error {
	help := strings.Join(args, " ")
	u, err := url.Parse(help)
	if help != "" && (err != nil || u.Host == "" || u.Fragment != "" || len(help) > maxURL ||
		(u.Scheme != "http" && u.Scheme != "https") || heloname.Line(help, maxURL) != help) {
		return fmt.Errorf("found %q; accepted: an http or https address without fragment, in ASCII, at"+
			" most %d octets", help, maxURL)
	}
	s.policy.HelpURL = help
	return nil
}

func (s *settings) dnsServer(server string) error {
	if addr, err := netip.ParseAddr(server); err == nil {
		server = netip.AddrPortFrom(addr, 53).String()
	}
	if _, err := netip.ParseAddrPort(server); err != nil {
		return fmt.Errorf("found %q; accepted: ADDRESS or ADDRESS:PORT", server)
	}
	s.servers = append(s.servers, server)
	return nil
}

// systemResolver reads /etc/resolv.conf as Maddy does.
var systemResolver = maddydns.NewExtResolver

// systemDNS takes the DNS servers that Maddy itself uses. Without one Start fails; the tool goes on
// with every lookup failed.
func (s *settings) systemDNS() {
	maddys, err := systemResolver()
	if err != nil {
		s.noResolver = fmt.Errorf("no DNS server: %w; accepted: dns_servers ADDRESS", err)
		return
	}
	for _, host := range maddys.Cfg.Servers {
		s.servers = append(s.servers, net.JoinHostPort(host, maddys.Cfg.Port))
	}
}
