package module

import (
	"context"
	"fmt"
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
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/lint"
	"maddy.example/checkhelo/module/memory"
)

const (
	maxURL   = 160  // octets of help_url, so that a reply line holds it
	maxScore = 1000 // points
	maxShare = 1024 // jobs or questions of one network

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
	s := settings{check: c, judge: j, policy: j.Policy, inline: inlineArgs}
	s.declare(cfg)
	unknown, err := cfg.Process()
	if err != nil {
		return err
	}
	if len(unknown) != 0 {
		return unknownDirective(unknown[0])
	}
	return s.apply(cfg)
}

// settings holds the values of the directives until all of them are read.
type settings struct {
	check  *Check
	judge  *judge.Judge
	policy *checkhelo.Policy
	inline []string

	preset, ceiling, maxAction, enforceAt string
	selfDomains, selfAddresses            []string
	authenticated                         bool
	networks, recipients                  list
	tables                                map[string]*module.Table
	extension                             heloname.Extension
	scored                                *config.Node // the first directive that gives a score
	dnsServers, allowlists                []string
	waits                                 *config.Node // the first directive that greylists
	knownAfter                            string
	dnsTimeout                            time.Duration
	cacheSize                             int
	onDNSError                            string
}

// declare names every directive, in the order of docs/check.helo_fqdn.md.
func (s *settings) declare(cfg *config.Map) {
	p, ext := s.policy, &s.extension
	cfg.AllowUnknown()
	oneOf(cfg, "policy", &s.preset, "", "lenient", "rfc", "strict")
	oneOf(cfg, "max_action", &s.maxAction, "", "reject", "quarantine", "ignore")
	cfg.Callback("fail_action", s.failAction)
	oneOf(cfg, "enforce_at", &s.enforceAt, "rcpt", "rcpt", "ehlo")
	cfg.Int("quarantine_threshold", false, false, p.QuarantineScore, &p.QuarantineScore)
	cfg.Int("reject_threshold", false, false, p.RejectScore, &p.RejectScore)
	cfg.Int("greylist_threshold", false, false, 0, &p.GreylistScore)
	cfg.Duration("greylist_delay", false, false, memory.DefaultDelay, &s.check.memory.Delay)
	cfg.Int("neighbours_min", false, false, 2, &s.check.memory.NeighboursMin)
	oneOf(cfg, "known_after", &s.knownAfter, "seen", "seen", "accepted")
	s.check.memoryKind, s.check.memoryPlace = "sqlite3", "helo_fqdn.db"
	cfg.Callback("memory", s.memory)
	for _, rule := range checkhelo.Rules() {
		cfg.Callback(rule.Name+"_action", s.action(rule))
	}
	cfg.StringList("self_domains", false, false, nil, &s.selfDomains)
	cfg.StringList("self_addresses", false, false, nil, &s.selfAddresses)
	cfg.Bool("exempt_authenticated", false, true, &s.authenticated)
	listOrTable(cfg, "exempt_networks", &s.networks, "127.0.0.0/8", "::1/128")
	listOrTable(cfg, "exempt_recipients", &s.recipients, "postmaster", "abuse")
	s.tables = make(map[string]*module.Table)
	for _, name := range Tables {
		s.tables[name] = new(module.Table)
		tableOf(cfg, name, s.tables[name])
	}
	cfg.String("help_url", false, false, "", &p.HelpURL)
	cfg.Bool("header", false, false, &s.check.header)
	cfg.Bool("debug", true, false, &s.check.log.Debug)
	cfg.StringList("dns_servers", false, false, nil, &s.dnsServers)
	cfg.Duration("dns_timeout", false, false, dnsfacts.DefaultTimeout, &s.dnsTimeout)
	oneOf(cfg, "dns_error_action", &s.onDNSError, "ignore", "ignore", "tempfail")
	cfg.Int("cache_size", false, false, dnsfacts.DefaultCacheEntries, &s.cacheSize)
	cfg.Callback("dns_share", s.share)
	cfg.StringList("exempt_dnswl", false, false, nil, &s.allowlists)
	cfg.Callback("blocklists", s.blocklists)
	cfg.Callback("provider", s.provider)
	cfg.StringList("dynamic_words", false, false, nil, &ext.DynamicWords)
	cfg.StringList("static_words", false, false, nil, &ext.StaticWords)
	cfg.StringList("reserved_tlds", false, false, nil, &ext.ReservedTLDs)
	cfg.StringList("not_reserved_tlds", false, false, nil, &ext.NotReserved)
}

// Tables are the directives that take one of Maddy's tables.
var Tables = []string{
	"exempt_clients", "exempt_names", "deny_names", "deny_hosts", "recipient_policy",
}

// memory reads `memory sqlite3 PATH | postgres DSN | off`. An error never repeats the DSN.
func (s *settings) memory(_ *config.Map, node config.Node) error {
	kind := ""
	if len(node.Args) > 0 && len(node.Children) == 0 {
		kind = node.Args[0]
	}
	switch {
	case kind == "off" && len(node.Args) == 1:
		s.check.memoryKind = ""
		return nil
	case (kind == "sqlite3" || kind == "postgres") && len(node.Args) == 2 && node.Args[1] != "":
		s.check.memoryKind, s.check.memoryPlace = kind, node.Args[1]
		return nil
	}
	return config.NodeErr(node, "memory: accepted: sqlite3 PATH, postgres DSN, off")
}

// applyMemory checks the directives that need a memory.
func (s *settings) applyMemory(cfg *config.Map) error {
	m, p := &s.check.memory, s.policy
	if m.Delay < time.Second || m.Delay > time.Hour || m.Delay%time.Second != 0 {
		return fault(cfg, "greylist_delay", "found %s; accepted: whole seconds from 1s to 1h", m.Delay)
	}
	if m.NeighboursMin < 2 || m.NeighboursMin > memory.MaxNeighbours {
		return fault(cfg, "neighbours_min", "found %d; accepted: 2 to %d organisations",
			m.NeighboursMin, memory.MaxNeighbours)
	}
	if p.GreylistScore < 0 {
		return fault(cfg, "greylist_threshold", "found %d; accepted: 0 (points never greylist) or more",
			p.GreylistScore)
	}
	if s.knownAfter == "accepted" {
		s.judge.KnownAfter = checkhelo.Accepted
	}
	if s.check.memoryKind != "" {
		return nil
	}
	if s.waits != nil {
		return config.NodeErr(*s.waits, "%s: greylist needs a memory; accepted: another action, or"+
			" memory other than off", s.waits.Name)
	}
	if p.GreylistScore > 0 {
		return fault(cfg, "greylist_threshold", "points cannot greylist with memory off")
	}
	if set, given := p.Override["neighbours"]; given && set.Action != checkhelo.Off {
		return fault(cfg, "neighbours_action", "the rule can never hit with memory off")
	}
	p.Override["neighbours"] = checkhelo.Rule{Action: checkhelo.Off}
	return nil
}

// failAction reads the old name of max_action, which also takes Maddy's own form for the action of
// a check: `reject CODE ENHANCED TEXT`. The reply then replaces that of every rule.
func (s *settings) failAction(_ *config.Map, node config.Node) error {
	if len(node.Children) != 0 || len(node.Args) == 0 ||
		!slices.Contains([]string{"reject", "quarantine", "ignore"}, node.Args[0]) ||
		node.Args[0] != "reject" && len(node.Args) > 1 {
		return config.NodeErr(node, "fail_action: found %q; accepted: one of reject [CODE [ENHANCED"+
			" [TEXT]]], quarantine, ignore", strings.Join(node.Args, " "))
	}
	if s.ceiling != "" {
		return config.NodeErr(node, "duplicate directive: fail_action")
	}
	s.ceiling = node.Args[0]
	if len(node.Args) == 1 {
		return nil
	}
	if err := setReply(&s.policy.Answer, node.Args[1:]); err != nil {
		return config.NodeErr(node, "fail_action: %v", err)
	}
	return nil
}

// oneOf declares a directive that takes one of some words. Maddy's Enum does not say what it found.
func oneOf(cfg *config.Map, name string, store *string, preset string, accepted ...string) {
	cfg.Custom(name, false, false, func() (any, error) { return preset, nil },
		func(_ *config.Map, node config.Node) (any, error) {
			if len(node.Children) != 0 || len(node.Args) != 1 || !slices.Contains(accepted, node.Args[0]) {
				return nil, config.NodeErr(node, "%s: found %q; accepted: one of %s",
					name, strings.Join(node.Args, " "), strings.Join(accepted, ", "))
			}
			return node.Args[0], nil
		}, store)
}

// tableOf declares a directive that takes one of Maddy's tables. Of most
// errors about a table Maddy itself does not say where they are.
func tableOf(cfg *config.Map, name string, store *module.Table) {
	cfg.Custom(name, false, false, func() (any, error) { return nil, nil },
		func(m *config.Map, node config.Node) (any, error) {
			if len(node.Args) == 0 || node.Args[0] == "&" { // Maddy panics on the latter
				return nil, config.NodeErr(node, "%s: found no table; %s", name, acceptedTables)
			}
			table, err := modconfig.TableDirective(m, node)
			if err != nil {
				return nil, tableErr(node, err)
			}
			return table, nil
		}, store)
}

// list is the value of a directive that takes entries, files of entries, or one table.
type list struct {
	entries []string
	table   module.Table // nil: none
}

// TakesTable reports whether the list of a directive is a table: a block, &NAME, or the kind of a
// table. "file" without a block is a file of entries, which may be followed by more.
func TakesTable(node config.Node) bool {
	if len(node.Args) == 0 {
		return false
	}
	first := node.Args[0]
	return len(node.Children) != 0 || strings.HasPrefix(first, "&") ||
		first != "file" && modules.Get("table."+strings.TrimPrefix(first, "table.")) != nil
}

// listOrTable declares a directive that takes a list.
func listOrTable(cfg *config.Map, name string, store *list, preset ...string) {
	cfg.Custom(name, false, false, func() (any, error) { return list{entries: preset}, nil },
		func(m *config.Map, node config.Node) (any, error) {
			switch {
			case len(node.Args) == 0 || node.Args[0] == "&":
				return nil, config.NodeErr(node, "%s: found no entry; accepted: entries, file PATH, or a table",
					name)
			case !TakesTable(node):
				return list{entries: node.Args}, nil
			}
			table, err := modconfig.TableDirective(m, node)
			if err != nil {
				return nil, tableErr(node, err)
			}
			return list{table: table.(module.Table)}, nil
		}, store)
}

// tableErr is err with the place of node, unless it has a nearer one.
func tableErr(node config.Node, err error) error {
	text := strings.TrimPrefix(err.Error(), fmt.Sprintf("%s:%d: ", node.File, node.Line))
	if strings.HasPrefix(text, node.File+":") {
		return err
	}
	kind := strings.TrimPrefix(node.Args[0], "table.")
	if modules.Get("table."+kind) == nil {
		text += "; " + acceptedTables
	}
	return config.NodeErr(node, "%s: found %q: %s", node.Name, node.Args[0], text)
}

// action returns the reader of one `<rule>_action` directive.
func (s *settings) action(rule checkhelo.Rule) func(*config.Map, config.Node) error {
	return func(_ *config.Map, node config.Node) error {
		if _, twice := s.policy.Override[rule.Name]; twice {
			return config.NodeErr(node, "duplicate directive: %s", node.Name)
		}
		set, err := parseAction(node)
		if err != nil {
			return err
		}
		if rule.Most != checkhelo.Off && (set.Action > rule.Most || set.Action == checkhelo.Greylist) {
			return config.NodeErr(node, "%s: found %s; accepted: off, ignore, score N, quarantine",
				node.Name, set.Action)
		}
		if set.Action == checkhelo.Greylist && s.waits == nil {
			s.waits = &node
		}
		if set.Action == checkhelo.Score && s.scored == nil {
			s.scored = &node
		}
		s.policy.Override[rule.Name] = set
		return nil
	}
}

func parseAction(node config.Node) (set checkhelo.Rule, err error) {
	bad := func(problem string) (checkhelo.Rule, error) {
		return set, config.NodeErr(node, "%s: %s; accepted: %s", node.Name, problem, acceptedActions)
	}
	if len(node.Children) != 0 {
		return bad("found a block")
	}
	if len(node.Args) == 0 {
		return bad("found no action")
	}
	word, args := node.Args[0], node.Args[1:]
	switch word {
	case "off", "ignore", "greylist", "quarantine":
		if len(args) != 0 {
			return bad(fmt.Sprintf("found %q after %s", args[0], word))
		}
		set.Action = map[string]checkhelo.Action{
			"off": checkhelo.Off, "ignore": checkhelo.Ignore, "greylist": checkhelo.Greylist,
			"quarantine": checkhelo.Quarantine,
		}[word]
	case "score":
		set.Action = checkhelo.Score
		if len(args) != 1 {
			return bad("score takes one number")
		}
		if set.Score, err = strconv.Atoi(args[0]); err != nil || set.Score < 1 || set.Score > maxScore {
			return bad(fmt.Sprintf("found score %q, not a number from 1 to %d", args[0], maxScore))
		}
	case "reject":
		set.Action = checkhelo.Reject
		if err := setReply(&set, args); err != nil {
			return bad(err.Error())
		}
	default:
		return bad(fmt.Sprintf("found %q", word))
	}
	return set, nil
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
	names := make([]string, 0, 32)
	for _, r := range checkhelo.Rules() {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return config.NodeErr(node, "unknown rule %q; accepted: %s", rule, strings.Join(names, ", "))
}

// share reads `dns_share JOBS QUESTIONS`.
func (s *settings) share(_ *config.Map, node config.Node) error {
	var n [2]int
	for i, arg := range node.Args {
		if i < len(n) {
			n[i], _ = strconv.Atoi(arg)
		}
	}
	if len(node.Args) != len(n) || n[0] < 1 || n[0] > maxShare || n[1] < 1 || n[1] > maxShare {
		return config.NodeErr(node, "dns_share: found %q; accepted: JOBS QUESTIONS, each from 1 to %d",
			strings.Join(node.Args, " "), maxShare)
	}
	s.judge.Gatherer.ShareJobs, s.judge.Gatherer.ShareQuestions = n[0], n[1]
	return nil
}

// blocklists reads `blocklists ZONE... { action A; response CODE|CIDR... { action A } }`. An error
// never repeats a zone, whose first label may be the key of a customer.
func (s *settings) blocklists(_ *config.Map, node config.Node) error {
	if len(node.Args) == 0 {
		return config.NodeErr(node, "blocklists: found no zone; accepted: blocklists ZONE..."+
			" [{ action A; response CODE|NETWORK... { action A } }]")
	}
	var effect checkhelo.Rule
	var responses []dnsfacts.Response
	block := config.NewMap(nil, node)
	s.listAction(block, &effect)
	block.Callback("response", func(_ *config.Map, node config.Node) error {
		var own checkhelo.Rule
		codes, err := responseCodes(node)
		if err != nil {
			return err
		}
		inner := config.NewMap(nil, node)
		s.listAction(inner, &own)
		if _, err := inner.Process(); err != nil {
			return err
		}
		responses = append(responses,
			dnsfacts.Response{Codes: codes, Action: own.Action, Score: own.Score})
		return nil
	})
	if _, err := block.Process(); err != nil {
		return err
	}
	for i, arg := range node.Args {
		zone, err := heloname.Domain(arg)
		if err != nil {
			return config.NodeErr(node, "blocklists: zone %d is no domain name; accepted: the name of a"+
				" zone", i+1)
		}
		s.judge.Gatherer.Blocklists = append(s.judge.Gatherer.Blocklists, dnsfacts.Blocklist{
			Zone: zone, Action: effect.Action, Score: effect.Score, Responses: responses})
	}
	return nil
}

// listAction declares the action of a list or of one of its answers.
func (s *settings) listAction(block *config.Map, store *checkhelo.Rule) {
	block.Custom("action", false, false, nil, func(_ *config.Map, node config.Node) (any, error) {
		set, err := parseAction(node)
		switch {
		case err == nil && set.Action == checkhelo.Off:
			err = config.NodeErr(node, "action: found off; leave the list out instead")
		case err == nil && len(node.Args) > 1 && set.Action == checkhelo.Reject:
			err = config.NodeErr(node,
				"action: found a reply; accepted: reject, with the reply in listed_action")
		case set.Action == checkhelo.Score && s.scored == nil:
			s.scored = &node
		case set.Action == checkhelo.Greylist && s.waits == nil:
			s.waits = &node
		}
		return set, err
	}, store)
}

// responseCodes reads the answers of a block list, RFC 5782, section 2.1.
func responseCodes(node config.Node) (codes []netip.Prefix, err error) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	for _, arg := range node.Args {
		prefix, err := heloname.ParsePrefix(arg)
		if err != nil || prefix.Bits() < loopback.Bits() || !loopback.Contains(prefix.Addr()) {
			return nil, config.NodeErr(node, "response: found %q; accepted: answers in 127.0.0.0/8,"+
				" such as 127.0.1.2 or 127.0.1.0/24", arg)
		}
		codes = append(codes, prefix)
	}
	if len(codes) == 0 {
		return nil, config.NodeErr(node, "response: found no answer; accepted: response CODE|NETWORK...")
	}
	return codes, nil
}

// provider reads `provider NAME { helo SUFFIX...; ptr SUFFIX... }`.
func (s *settings) provider(_ *config.Map, node config.Node) error {
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
	if err := (heloname.Extension{Providers: []heloname.Provider{p}}).Check(); err != nil {
		return config.NodeErr(node, "%v", err)
	}
	s.extension.Providers = append(s.extension.Providers, p)
	return nil
}

// apply checks the settings against each other and puts them in force.
func (s *settings) apply(cfg *config.Map) error {
	steps := []func(*config.Map) error{
		s.applyPolicy, s.applyScores, s.applyMemory, s.applyURL, s.applySelf, s.applyExempt,
		s.applyLists, s.applyDNS,
	}
	for _, step := range steps {
		if err := step(cfg); err != nil {
			return err
		}
	}
	heloname.DefaultLists() // parsed here, not at the first mail
	s.check.warnAboutMismatchRules()
	lint.Run(cfg.Block, s.judge, s.check.log.Printf)
	return nil
}

func (s *settings) applyPolicy(cfg *config.Map) error {
	switch {
	case len(s.inline) > 1:
		return config.NodeErr(cfg.Block,
			"found %d inline arguments; accepted: one of lenient, rfc, strict", len(s.inline))
	case len(s.inline) == 1 && s.preset != "":
		return config.NodeErr(cfg.Block, "policy is given twice: %s inline and %s in the block",
			s.inline[0], s.preset)
	case len(s.inline) == 1:
		s.preset = s.inline[0]
	case s.preset == "":
		s.preset = "rfc"
	}
	if !slices.Contains([]string{"lenient", "rfc", "strict"}, s.preset) {
		return config.NodeErr(cfg.Block, "unknown policy %q; accepted: lenient, rfc, strict", s.preset)
	}
	s.policy.Preset = checkhelo.Preset(s.preset)
	if s.ceiling != "" && s.maxAction != "" {
		return fault(cfg, "fail_action", "max_action is given too; accepted: one of the two")
	}
	switch s.ceiling + s.maxAction {
	case "quarantine":
		s.policy.Ceiling = checkhelo.Quarantine
	case "ignore":
		s.policy.Ceiling = checkhelo.Ignore
	}
	s.judge.AtEHLO = s.enforceAt == "ehlo"
	return nil
}

func (s *settings) applyScores(cfg *config.Map) error {
	p := s.policy
	if p.QuarantineScore < 0 || p.RejectScore < 0 {
		return config.NodeErr(cfg.Block,
			"found a negative threshold; accepted: 0 (scores never do that) or more points")
	}
	if s.scored != nil && p.QuarantineScore == 0 && p.RejectScore == 0 {
		return config.NodeErr(*s.scored, "%s: a score has no effect, since quarantine_threshold and"+
			" reject_threshold are both 0; accepted: a threshold above 0, or another action", s.scored.Name)
	}
	return nil
}

func (s *settings) applyURL(cfg *config.Map) error {
	help := s.policy.HelpURL
	if help == "" {
		return nil
	}
	u, err := url.Parse(help)
	if err != nil || u.Host == "" || u.Fragment != "" || len(help) > maxURL ||
		(u.Scheme != "http" && u.Scheme != "https") || heloname.Line(help, maxURL) != help {
		return fault(cfg, "help_url", "found %q; accepted: an http or https address without"+
			" fragment, in ASCII, at most %d octets", help, maxURL)
	}
	return nil
}

func (s *settings) applySelf(cfg *config.Map) error {
	self := &s.judge.Self
	if hostname, _ := cfg.Globals["hostname"].(string); hostname != "" {
		if ascii, err := heloname.Domain(hostname); err == nil {
			self.Names = append(self.Names, ascii)
		}
	}
	for _, entry := range s.selfDomains {
		domain, below := strings.CutPrefix(entry, ".")
		ascii, err := heloname.Domain(domain)
		if err != nil {
			return fault(cfg, "self_domains", "found %q: %v; accepted: a name (example.org)"+
				" or, for everything below it, the name with a leading dot (.example.org)", entry, err)
		}
		if below && heloname.PublicSuffix(ascii) {
			return fault(cfg, "self_domains", "found %q: everybody's names are below it; accepted:"+
				" a domain of your own", entry)
		}
		if below {
			self.Domains = append(self.Domains, ascii)
		} else {
			self.Names = append(self.Names, ascii)
		}
	}
	for _, entry := range s.selfAddresses {
		prefix, err := heloname.ParsePrefix(entry)
		if err != nil {
			return fault(cfg, "self_addresses", "found %q; accepted: an address (192.0.2.1)"+
				" or a network without host bits (192.0.2.0/24)", entry)
		}
		if problem, never := exempt.NetworkProblem(prefix); never {
			return fault(cfg, "self_addresses", "%s %s", entry, problem)
		}
		self.Addrs = append(self.Addrs, prefix)
	}
	return nil
}

func (s *settings) applyExempt(cfg *config.Map) error {
	j := s.judge
	networks, err := exempt.ParseNetworks(s.networks.entries, exempt.ReadList)
	if err != nil {
		return fault(cfg, "exempt_networks", "%v", err)
	}
	recipients, err := exempt.ParseRecipients(s.recipients.entries, exempt.ReadList)
	if err != nil {
		return fault(cfg, "exempt_recipients", "%v", err)
	}
	j.Plain = exempt.List{Authenticated: s.authenticated, Networks: networks, Recipients: recipients,
		OnError: s.check.tableFailed}
	j.Tables = exempt.List{Clients: s.table("exempt_clients"), Names: s.table("exempt_names"),
		OnError: s.check.tableFailed}
	if s.recipients.table != nil {
		j.Plain.RecipientTable = s.recipients.table
	}
	if s.networks.table != nil {
		j.Tables.NetworkTable = s.networks.table
	}
	j.DenyNames, j.DenyHosts = s.table("deny_names"), s.table("deny_hosts")
	j.Recipients = s.table("recipient_policy")
	return nil
}

// table returns the table of a directive; nil where it is not given.
func (s *settings) table(name string) exempt.Table {
	if *s.tables[name] == nil {
		return nil
	}
	return *s.tables[name]
}

func (s *settings) applyLists(cfg *config.Map) error {
	ext := s.extension
	if len(ext.Providers)+len(ext.DynamicWords)+len(ext.StaticWords)+
		len(ext.ReservedTLDs)+len(ext.NotReserved) == 0 {
		return nil
	}
	checks := []struct {
		directive string
		heloname.Extension
	}{
		{"dynamic_words", heloname.Extension{DynamicWords: ext.DynamicWords}},
		{"static_words", heloname.Extension{StaticWords: ext.StaticWords}},
		{"reserved_tlds", heloname.Extension{ReservedTLDs: ext.ReservedTLDs}},
		{"not_reserved_tlds", heloname.Extension{NotReserved: ext.NotReserved}},
	}
	for _, part := range checks {
		if err := part.Check(); err != nil {
			return fault(cfg, part.directive, "%v", err)
		}
	}
	s.judge.Lists = heloname.DefaultLists().With(ext)
	return nil
}

func (s *settings) applyDNS(cfg *config.Map) error {
	j, g := s.judge, s.judge.Gatherer
	if s.dnsTimeout < 100*time.Millisecond || s.dnsTimeout > time.Minute {
		return fault(cfg, "dns_timeout", "found %s; accepted: 100ms to 1m", s.dnsTimeout)
	}
	if s.cacheSize < 1 || s.cacheSize > 10_000_000 {
		return fault(cfg, "cache_size", "found %d; accepted: 1 to 10000000 entries", s.cacheSize)
	}
	for _, zone := range s.allowlists {
		ascii, err := heloname.Domain(zone)
		if err != nil { // a zone may hold the key of a customer
			return fault(cfg, "exempt_dnswl", "found a zone that is no domain name")
		}
		g.Allowlists = append(g.Allowlists, ascii)
	}
	servers, err := addresses(s.dnsServers)
	switch {
	case err == nil:
		g.Exchange = dnsfacts.NewClient(servers).Exchange
	case len(s.dnsServers) != 0:
		return fault(cfg, "dns_servers", "%v", err)
	default: // Start fails; the tool goes on with every lookup failed
		s.check.noResolver = fmt.Errorf("no DNS server: %w; accepted: dns_servers ADDRESS", err)
		g.Exchange = func(context.Context, *dns.Msg) (*dns.Msg, error) { return nil, err }
	}
	j.OwnPTR = len(s.dnsServers) == 0
	g.Timeout, g.Cache, g.Observe = s.dnsTimeout, dnsfacts.NewCache(s.cacheSize), observe
	j.TempFail = s.onDNSError == "tempfail"
	if len(g.Blocklists) == 0 {
		s.policy.Override["listed"] = checkhelo.Rule{Action: checkhelo.Off}
	}
	return nil
}

// systemResolver reads /etc/resolv.conf as Maddy does.
var systemResolver = maddydns.NewExtResolver

// addresses returns the DNS servers as host:port: the given ones, or those Maddy itself uses.
func addresses(given []string) ([]string, error) {
	if len(given) == 0 {
		maddys, err := systemResolver()
		if err != nil {
			return nil, err
		}
		servers := make([]string, 0, len(maddys.Cfg.Servers))
		for _, host := range maddys.Cfg.Servers {
			servers = append(servers, net.JoinHostPort(host, maddys.Cfg.Port))
		}
		return servers, nil
	}
	servers := make([]string, 0, len(given))
	for _, s := range given {
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

// fault is an error about a directive, with the place where it stands.
func fault(cfg *config.Map, directive, format string, args ...any) error {
	place := cfg.Block
	for _, node := range cfg.Block.Children {
		if node.Name == directive {
			place = node
			break
		}
	}
	return config.NodeErr(place, directive+": "+format, args...)
}
