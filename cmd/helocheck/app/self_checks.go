package app

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"golang.org/x/net/idna"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/heloname"
)

// selfStatus is the outcome of one check, as text and JSON show it.
type selfStatus string

const (
	selfOK      selfStatus = "ok"
	selfBetter  selfStatus = "could be better" // few servers mind
	selfToFix   selfStatus = "to fix"
	selfUnknown selfStatus = "not known" // the DNS did not answer
	selfSkipped selfStatus = "skipped"   // nothing to say before another fault is fixed
)

// Colour is that of a terminal.
func (s selfStatus) Colour() string {
	return map[selfStatus]string{
		selfOK: green, selfBetter: yellow, selfToFix: red, selfUnknown: yellow, selfSkipped: grey,
	}[s]
}

// selfLine is the outcome of one check.
type selfLine struct {
	Check  string     `json:"check"`
	Status selfStatus `json:"state"`
	Seen   string     `json:"seen"`         // what the world sees
	Do     string     `json:"do,omitempty"` // what to do
	Old    selfStatus `json:"status"`       // "to mend" for "to fix"; until the next version
}

// selfCheck is one row of selfChecks.
type selfCheck struct {
	name  string
	after string // checks; to fix one of these may fix this one too, or makes no sense after it
	addr  bool   // needs an address that mail leaves from
	asks  string // what it reads of the DNS, by the names of factsOf
	cases []selfCase
}

// selfCase is one outcome of a check. The first that holds is shown: one of its rules hits, or its
// condition is true, or it has neither.
type selfCase struct {
	status selfStatus
	rules  string
	when   func(*selfView) bool
	// Words in braces stand for what selfView.words has; {match} is the evidence of the rule.
	seen, do string
}

const setHostname = "in maddy.conf: hostname mail.example.org" +
	" (the full name that the DNS has for this server)"

// selfChecks are applied in this order.
var selfChecks = []selfCheck{
	{"fqdn", "", false, "", []selfCase{
		{selfToFix, "malformed", nil, "{said} is not a valid host name: {problem}", setHostname},
		{selfToFix, "bare_ip address_literal", nil, "{said} is an address and no name", setHostname},
		{selfToFix, "not_fqdn", nil, "{said} is a host name without its domain", setHostname},
		{selfToFix, "trailing_dot", nil, "{said} ends in a dot, which SMTP does not allow",
			"in maddy.conf: hostname {name}"},
		{selfOK, "", nil, "{name} is a full name", ""},
	}},
	{"tld", "fqdn", false, "tld", []selfCase{
		{selfToFix, "localhost", nil, "{name} means every machine", setHostname},
		{selfToFix, "reserved_tld", nil, "names below {match} are not on the Internet", setHostname},
		{selfToFix, "unknown_tld", nil, "{match} is no top-level domain of the Internet", setHostname},
		{selfOK, "", nil, "{tld} is a top-level domain", ""},
	}},
	{"underscore", "fqdn", false, "", []selfCase{
		{selfToFix, "underscore", nil, "{name} has an underscore, which host names may not have",
			"in maddy.conf: hostname {hyphens}, with address and PTR records for it"},
		{selfOK, "", nil, "no underscore", ""},
	}},
	{"default_name", "fqdn tld", false, "", []selfCase{
		{selfToFix, "default_host dynamic_name", nil,
			"{name} looks like a name that nobody chose ({match})", setHostname},
		{selfOK, "", nil, "not the default of an installer, a hoster or an access line", ""},
	}},
	{"public_address", "", true, "", []selfCase{
		{selfToFix, "", func(v *selfView) bool { return unreachable(v.addr) },
			"{addr} is not an address of the Internet",
			"give the address that the world sees, such as the router's, with --ip"},
		{selfOK, "", nil, "mail leaves from {addr}", ""},
	}},
	{"address", "fqdn tld", false, "forward", []selfCase{
		{selfOK, "", func(v *selfView) bool { return len(v.facts.Forward.Value) > 0 },
			"{name} leads to {forward}", ""},
		{selfToFix, "", nil, "{name} has no address in the DNS (neither A nor AAAA)", "{address record}"},
	}},
	{"public_name", "fqdn tld address", false, "forward", []selfCase{
		{selfOK, "", (*selfView).reachable, "{name} leads to a public address", ""},
		{selfToFix, "", nil, "{name} leads to {forward}, which nobody outside can reach",
			"{address record} (only inner name servers may say otherwise)"},
	}},
	{"forward", "fqdn tld public_address address public_name", true, "forward", []selfCase{
		{selfToFix, "address_mismatch", nil, "{name} leads to {forward} and not to {addr}",
			"{address record}{other}"},
		{selfOK, "", nil, "{name} leads to {addr}", ""},
	}},
	{"ptr", "public_address", true, "ptr", []selfCase{
		{selfToFix, "no_ptr", nil, "{addr} has no reverse name (PTR)", "{PTR record}"},
		{selfOK, "", nil, "{addr} is called {ptr}", ""},
	}},
	{"ptr_confirmed", "public_address ptr", true, "confirmed", []selfCase{
		{selfOK, "", func(v *selfView) bool { return len(v.facts.Confirmed.Value) > 0 },
			"{confirmed} leads back to {addr}", ""},
		{selfSkipped, "", func(v *selfView) bool { return v.named() && v.nameBad() },
			"{ptr} is the greeting itself; fix its address first", ""},
		{selfToFix, "", nil, "{ptr} does not lead back to {addr}", "{PTR record}"},
	}},
	{"ptr_name", "fqdn tld public_address ptr ptr_confirmed", true, "ptr", []selfCase{
		{selfOK, "", (*selfView).named, "{addr} is called {name}, as in the greeting", ""},
		{selfBetter, "", func(v *selfView) bool { return v.otherName() != "" },
			"{addr} is called {ptr}, and the greeting says {name}", "{PTR record}{other}"},
		{selfToFix, "", nil, "{addr} is called {ptr}, and the greeting says {name}", "{PTR record}"},
	}},
	{"spf", "fqdn tld public_address", true, "spf", []selfCase{
		{selfOK, "", spfIs("pass", "neutral"), "SPF of {name}: {spf}", ""},
		{selfOK, "", spfIs("none"), "{name} has no SPF record, which is allowed", ""},
		{selfToFix, "", spfIs("permerror"), "the SPF record of {name} has a mistake (permerror)",
			"{SPF record}"},
		{selfSkipped, "", (*selfView).nameBad, "SPF of {name}: {spf}; fix its address first", ""},
		{selfToFix, "", nil, "SPF of {name} says {spf} for {addr}", "{SPF record}"},
	}},
	// The name of a mail domain whose mail goes elsewhere is that of a company and not of this
	// machine.
	{"mx", "fqdn tld address", false, "mx", []selfCase{
		{selfOK, "", func(v *selfView) bool { return v.facts.MX.State == checkhelo.NotFound },
			"{name} has no MX record and needs none", ""},
		{selfOK, "", func(v *selfView) bool { return len(v.facts.MX.Value) == 0 },
			"{name} takes no mail (null MX)", ""},
		{selfOK, "", func(v *selfView) bool { return v.mxHost != "" },
			"mail for {name} comes here (MX {mx host})", ""},
		{selfToFix, "", nil,
			"{name} is a mail domain, whose mail goes to {mx}: it does not name this machine",
			"in maddy.conf: hostname and the name of this machine, such as mail.{name};" +
				" or at the DNS: take the MX record away"},
	}},
}

// selfView is what the checks of one pair look at.
type selfView struct {
	selfPair
	facts  checkhelo.Facts
	hits   map[string]string // evidence by rule
	failed map[string]string // lookups, by the names of factsOf
	mxHost string            // an MX host of the name that is this machine; "" for none
	bad    map[string]bool   // checks with a fault, or skipped for one
}

const (
	maxMXHosts  = 8   // looked up for one name
	maxSelfName = 255 // octets of a name shown
)

// selfResult is what is known of one pair.
type selfResult struct {
	Name    string     `json:"name"`
	Address string     `json:"address,omitempty"` // "" for a name that only listens
	Source  string     `json:"source"`
	Checks  []selfLine `json:"checks"`
}

func (p selfPair) judge(ctx context.Context, gatherer *dnsfacts.Gatherer) selfResult {
	v := p.look(ctx, gatherer)
	r := selfResult{Name: heloname.Clean(p.said, maxSelfName), Source: p.source}
	if p.addr.IsValid() {
		r.Address = p.addr.String()
	}
	for i := range selfChecks {
		if check := &selfChecks[i]; !check.addr || p.addr.IsValid() {
			line := check.line(v)
			if line.Old = line.Status; line.Old == selfToFix {
				line.Old = "to mend"
			}
			v.bad[check.name] = line.Status == selfToFix || line.Status == selfSkipped
			r.Checks = append(r.Checks, line)
		}
	}
	return r
}

// look asks the DNS, and lets all rules of the table judge.
func (p selfPair) look(ctx context.Context, gatherer *dnsfacts.Gatherer) *selfView {
	wire := p.said // as Maddy sends it
	if ascii, err := idna.ToASCII(wire); err == nil {
		wire = ascii
	}
	v := &selfView{
		selfPair: p, facts: checkhelo.Facts{Helo: heloname.Parse(wire), Client: p.addr},
		hits: make(map[string]string), failed: make(map[string]string), bad: make(map[string]bool),
	}
	f := &v.facts
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
		v.failed[fact.Name] = fact.Error
	}
	every := checkhelo.NewPolicy(usualPreset)
	every.Override = make(map[string]checkhelo.Rule)
	for _, rule := range every.Rules() {
		every.Override[rule.Name] = checkhelo.Rule{Action: checkhelo.Ignore}
	}
	for _, hit := range every.With(usualPreset, checkhelo.Off).Evaluate(f).Hits {
		v.hits[hit.Rule.Name] = hit.Evidence
	}
	if !p.addr.IsValid() {
		delete(v.hits, "dynamic_name") // nobody compares the name of an endpoint with an address
	}
	return v
}

// lookMX looks for an MX host of the name that is this machine.
func (v *selfView) lookMX(ctx context.Context, gatherer *dnsfacts.Gatherer) {
	f := &v.facts
	here := func(a netip.Addr) bool { return a == v.addr || slices.Contains(f.Forward.Value, a) }
	lost := f.Forward.Err
	for _, name := range f.MX.Value[:min(len(f.MX.Value), maxMXHosts)] {
		host := checkhelo.Facts{Helo: heloname.Parse(name), Client: v.addr}
		gatherer.Fill(ctx, &host, checkhelo.NeedForward)
		if name == f.Helo.ASCII || slices.ContainsFunc(host.Forward.Value, here) {
			v.mxHost = host.Helo.ASCII
			return
		}
		lost = cmp.Or(host.Forward.Err, lost)
	}
	if len(f.MX.Value) > 0 {
		f.MX.Err = lost
	}
}

// line returns the outcome of a check.
func (c *selfCheck) line(v *selfView) selfLine {
	for after := range strings.FieldsSeq(c.after) {
		if v.bad[after] {
			return selfLine{Check: c.name, Status: selfSkipped, Seen: "fix " + after + " first"}
		}
	}
	if problem := v.failed[c.asks]; problem != "" {
		return selfLine{Check: c.name, Status: selfUnknown, Seen: "the DNS did not answer: " + problem}
	}
	for _, one := range c.cases {
		evidence, holds := "", one.rules == "" && (one.when == nil || one.when(v))
		for rule := range strings.FieldsSeq(one.rules) {
			if text, hit := v.hits[rule]; hit && !holds {
				evidence, holds = text, true
			}
		}
		if holds {
			words := strings.NewReplacer(append(v.words(), "{match}", evidence)...)
			return selfLine{Check: c.name, Status: one.status,
				Seen: words.Replace(one.seen), Do: words.Replace(one.do)}
		}
	}
	return selfLine{} // the last case always holds
}

// words are what the texts of selfChecks have in braces.
func (v *selfView) words() []string {
	f, name, addr := &v.facts, v.facts.Helo.ASCII, v.addr.String()
	record, family, own, other := "A", "ip4", addr, ""
	if v.addr.Is6() {
		record, family = "AAAA", "ip6"
	}
	if !v.addr.IsValid() || unreachable(v.addr) {
		record, own = "A", "and the public address of this server"
	}
	if text := v.otherName(); text != "" {
		other = "; or in maddy.conf: hostname " + text
	}
	ptrName := name
	if v.bad["tld"] { // skipped, too, when the name is not full
		ptrName = "mail.example.org"
	}
	reverse, _ := dns.ReverseAddr(addr) // cannot fail for an address
	zone := fmt.Sprintf("at the DNS of %s: %s. IN ", heloname.OrgDomain(name), name)
	var confirmed string
	if len(f.Confirmed.Value) > 0 {
		confirmed = f.Confirmed.Value[0]
	}
	return []string{
		"{said}", heloname.Clean(f.Helo.Raw, maxSelfName), "{name}", name, "{addr}", addr,
		"{hyphens}", strings.ReplaceAll(name, "_", "-"), "{problem}", f.Helo.Problem,
		"{tld}", heloname.TLD(name), "{forward}", join(f.Forward.Value), "{confirmed}", confirmed,
		"{ptr}", strings.Join(f.PTR.Value, ", "), "{spf}", f.SPF.Value, "{mx host}", v.mxHost,
		"{mx}", strings.Join(f.MX.Value, ", "), "{other}", other,
		"{address record}", zone + record + " " + own,
		"{PTR record}", fmt.Sprintf("at whoever gave you %s (provider or hoster, not the registrar):"+
			" %s IN PTR %s.", addr, reverse, ptrName),
		"{SPF record}", fmt.Sprintf("%sTXT \"v=spf1 a %s:%s -all\"", zone, family, addr),
	}
}

func (v *selfView) reachable() bool {
	public := func(a netip.Addr) bool { return !unreachable(a) }
	return slices.ContainsFunc(v.facts.Forward.Value, public)
}

// named tells whether the greeting is a PTR name.
func (v *selfView) named() bool { return slices.Contains(v.facts.PTR.Value, v.facts.Helo.ASCII) }

// nameBad tells whether the greeting is known not to lead here.
func (v *selfView) nameBad() bool {
	return v.bad["address"] || v.bad["public_name"] || v.bad["forward"]
}

// otherName returns another name that is shown to be this server's.
func (v *selfView) otherName() string {
	for _, name := range v.facts.Confirmed.Value {
		if _, found := v.facts.Lists.DefaultHost(name); !found {
			return name
		}
	}
	return ""
}

func spfIs(values ...string) func(*selfView) bool {
	return func(v *selfView) bool { return slices.Contains(values, v.facts.SPF.Value) }
}

// documentation are the networks of RFC 5737 and RFC 3849. They stand in
// examples, which should show what happens to an ordinary server; no machine
// has such an address.
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

func join(addrs []netip.Addr) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(addrs), "[]"), " ", ", ")
}
