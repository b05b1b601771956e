package module

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/foxcpp/maddy/framework/config"
	"github.com/foxcpp/maddy/framework/module"
	"golang.org/x/net/idna"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
)

const maxURL = 160 // octets of help_url, so that a reply line holds it

// Configure reads the directives of docs/check.helo_fqdn.md. The only inline
// argument is the policy: `helo_fqdn strict`.
func (c *Check) Configure(inlineArgs []string, cfg *config.Map) error {
	c.policy = checkhelo.NewPolicy(checkhelo.RFC)
	c.policy.Override = make(map[string]checkhelo.Rule)
	s := settings{check: c, inline: inlineArgs}
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

// settings holds what directives say until all of them are read.
type settings struct {
	check  *Check
	inline []string

	preset, ceiling, enforceAt string
	selfDomains, selfAddresses []string
	authenticated              bool
	networks, recipients       []string
	clients, names             module.Table
	extension                  heloname.Extension
	scored                     *config.Node // the first directive that gives a score
	dns                        dnsSettings
}

func (s *settings) declare(cfg *config.Map) {
	c, p := s.check, s.check.policy
	cfg.AllowUnknown()
	oneOf(cfg, "policy", &s.preset, "", "lenient", "rfc", "strict")
	oneOf(cfg, "fail_action", &s.ceiling, "reject", "reject", "quarantine", "ignore")
	oneOf(cfg, "enforce_at", &s.enforceAt, "rcpt", "rcpt", "ehlo")
	cfg.Int("quarantine_threshold", false, false, p.QuarantineScore, &p.QuarantineScore)
	cfg.Int("reject_threshold", false, false, p.RejectScore, &p.RejectScore)
	for _, rule := range checkhelo.Rules() {
		cfg.Callback(rule.Name+"_action", s.action(rule))
	}
	cfg.StringList("self_domains", false, false, nil, &s.selfDomains)
	cfg.StringList("self_addresses", false, false, nil, &s.selfAddresses)
	cfg.Bool("exempt_authenticated", false, true, &s.authenticated)
	cfg.StringList("exempt_networks", false, false, []string{"127.0.0.0/8", "::1/128"}, &s.networks)
	tableOf(cfg, "exempt_clients", &s.clients)
	tableOf(cfg, "exempt_names", &s.names)
	cfg.StringList("exempt_recipients", false, false, []string{"postmaster", "abuse"}, &s.recipients)
	tableOf(cfg, "deny_names", &c.denyNames)
	cfg.String("help_url", false, false, "", &p.HelpURL)
	cfg.Bool("header", false, false, &c.header)
	cfg.Bool("debug", true, false, &c.log.Debug)
	s.declareDNS(cfg)
	s.declareLists(cfg)
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

// apply checks the settings against each other and puts them in force.
func (s *settings) apply(cfg *config.Map) error {
	steps := []func(*config.Map) error{
		s.applyPolicy, s.applyScores, s.applyURL, s.applySelf, s.applyExempt, s.applyLists, s.applyDNS,
	}
	for _, step := range steps {
		if err := step(cfg); err != nil {
			return err
		}
	}
	heloname.DefaultLists() // parsed here, not at the first mail
	s.check.warnAboutMismatchRules()
	return nil
}

func (s *settings) applyPolicy(cfg *config.Map) error {
	p := s.check.policy
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
	p.Preset = checkhelo.Preset(s.preset)
	switch s.ceiling {
	case "quarantine":
		p.Ceiling = checkhelo.Quarantine
	case "ignore":
		p.Ceiling = checkhelo.Ignore
	}
	s.check.early = s.enforceAt == "ehlo"
	return nil
}

func (s *settings) applyScores(cfg *config.Map) error {
	p := s.check.policy
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
	help := s.check.policy.HelpURL
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
	self := &s.check.self
	if hostname, _ := cfg.Globals["hostname"].(string); hostname != "" {
		if ascii, err := asciiName(hostname); err == nil {
			self.Names = append(self.Names, ascii)
		}
	}
	for _, entry := range s.selfDomains {
		domain, below := strings.CutPrefix(entry, ".")
		ascii, err := asciiName(domain)
		if err != nil {
			return fault(cfg, "self_domains", "found %q: %v; accepted: a name (example.org)"+
				" or, for everything below it, the name with a leading dot (.example.org)", entry, err)
		}
		if below {
			self.Domains = append(self.Domains, ascii)
		} else {
			self.Names = append(self.Names, ascii)
		}
	}
	for _, entry := range s.selfAddresses {
		prefix, err := netip.ParsePrefix(entry)
		if addr, addrErr := netip.ParseAddr(entry); addrErr == nil {
			prefix, err = netip.PrefixFrom(addr.Unmap(), addr.Unmap().BitLen()), nil
		}
		if err != nil || prefix != prefix.Masked() {
			return fault(cfg, "self_addresses", "found %q; accepted: an address (192.0.2.1)"+
				" or a network without host bits (192.0.2.0/24)", entry)
		}
		self.Addrs = append(self.Addrs, prefix)
	}
	return nil
}

// asciiName returns a host name in lower-case A-labels (RFC 5890) without a final dot.
func asciiName(name string) (string, error) {
	ascii, err := idna.Lookup.ToASCII(strings.ToLower(strings.TrimSuffix(name, ".")))
	if err != nil {
		return "", err
	}
	parsed := heloname.Parse(ascii)
	if parsed.ASCII == "" {
		return "", fmt.Errorf("not a host name: %s", parsed.Problem)
	}
	return parsed.ASCII, nil
}

func (s *settings) applyExempt(cfg *config.Map) error {
	c := s.check
	networks, err := exempt.ParseNetworks(s.networks, networkFiles.read)
	if err != nil {
		return fault(cfg, "exempt_networks", "%v", err)
	}
	recipients, err := exempt.ParseRecipients(s.recipients)
	if err != nil {
		return fault(cfg, "exempt_recipients", "%v", err)
	}
	c.plain = exempt.List{Authenticated: s.authenticated, Networks: networks, Recipients: recipients}
	c.tables = exempt.List{Clients: s.clients, Names: s.names, OnError: c.tableFailed}
	return nil
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
