package app

import (
	"context"
	"net/netip"
	"slices"

	"golang.org/x/net/idna"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/heloname"
)

// selfStatus is the outcome of one check, as text and JSON show it.
type selfStatus string

const (
	selfOK      selfStatus = "ok"
	selfToFix   selfStatus = "to fix"
	selfUnknown selfStatus = "not known" // the DNS did not answer
	selfSkipped selfStatus = "skipped"   // nothing to say before another fault is fixed
)

// selfLine is the outcome of one check.
type selfLine struct {
	Check  string     `json:"check"`
	Status selfStatus `json:"state"`
	Seen   string     `json:"seen"`         // what the world sees
	Do     string     `json:"do,omitempty"` // what to do
	Old    selfStatus `json:"status"`       // "to mend" for "to fix"; until the next version
}

// selfResult is what is known of one pair.
type selfResult struct {
	Name    string     `json:"name"`
	Address string     `json:"address,omitempty"` // "" for a name that only listens
	Source  string     `json:"source"`
	Checks  []selfLine `json:"checks"`
}

// selfCheck is one row of the list of checks.
type selfCheck struct {
	name string
	// after: to fix one of these first, since that may fix this one too
	// or makes no sense before.
	after []string
	addr  bool // needs an address that mail leaves from
	run   func(*selfView) (status selfStatus, seen, do string)
}

var selfChecks = []selfCheck{
	{name: "fqdn", run: checkFQDN},
	{name: "tld", after: []string{"fqdn"}, run: checkTLD},
	{name: "underscore", after: []string{"fqdn"}, run: checkUnderscore},
	{name: "default_name", after: []string{"fqdn", "tld"}, run: checkDefaultName},
	{name: "public_address", addr: true, run: checkPublicAddress},
	{name: "address", after: []string{"fqdn", "tld"}, run: checkAddress},
	{name: "public_name", after: []string{"fqdn", "tld", "address"}, run: checkPublicName},
	{
		name: "forward", after: []string{"fqdn", "tld", "public_address", "address", "public_name"},
		addr: true, run: checkForward,
	},
	{name: "ptr", after: []string{"public_address"}, addr: true, run: checkPTR},
	{name: "ptr_confirmed", after: []string{"public_address", "ptr"}, addr: true, run: checkConfirmed},
	{
		name: "ptr_name", after: []string{"fqdn", "tld", "public_address", "ptr", "ptr_confirmed"},
		addr: true, run: checkPTRName,
	},
	{name: "spf", after: []string{"fqdn", "tld", "public_address"}, addr: true, run: checkSPF},
	{name: "mx", after: []string{"fqdn", "tld", "address"}, run: checkMX},
}

// selfView is what the checks of one pair look at.
type selfView struct {
	selfPair
	facts checkhelo.Facts
	hosts []checkhelo.Facts // the MX hosts with their addresses
	bad   map[string]bool   // checks with a fault, or skipped for one
}

// name returns the greeting as others see it.
func (v *selfView) name() string { return v.facts.Helo.ASCII }

type selfJudge struct {
	gatherer *dnsfacts.Gatherer
}

// maxMXHosts bounds the look-ups for one name.
const maxMXHosts = 8

func (j *selfJudge) judge(ctx context.Context, pair selfPair) selfResult {
	v := &selfView{selfPair: pair, bad: make(map[string]bool)}
	v.facts = checkhelo.Facts{Helo: heloname.Parse(wireName(pair.said)), Client: pair.addr}
	need := checkhelo.NeedPTR
	if v.onInternet() {
		need |= checkhelo.NeedForward | checkhelo.NeedMX | checkhelo.NeedTLD | checkhelo.NeedSPF
	}
	j.gatherer.Fill(ctx, &v.facts, need&checkhelo.NeedMX) // is not asked once there is an address
	j.gatherer.Fill(ctx, &v.facts, need)
	for _, host := range v.facts.MX.Value[:min(len(v.facts.MX.Value), maxMXHosts)] {
		f := checkhelo.Facts{Helo: heloname.Parse(host), Client: pair.addr}
		j.gatherer.Fill(ctx, &f, checkhelo.NeedForward)
		v.hosts = append(v.hosts, f)
	}
	r := selfResult{Name: heloname.Clean(pair.said, maxSelfName), Source: pair.source}
	if pair.addr.IsValid() {
		r.Address = pair.addr.String()
	}
	for _, c := range selfChecks {
		if !c.addr || pair.addr.IsValid() {
			r.Checks = append(r.Checks, v.apply(c))
		}
	}
	return r
}

// maxSelfName is the longest name shown, in octets.
const maxSelfName = 255

// wireName returns a configured name as Maddy sends it.
func wireName(said string) string {
	if ascii, err := idna.ToASCII(said); err == nil {
		return ascii
	}
	return said
}

// onInternet tells whether questions about the name may go out at all.
func (v *selfView) onInternet() bool {
	if v.facts.Helo.Kind != heloname.FQDN {
		return false
	}
	_, _, reserved := v.facts.Lists.Reserved(v.name())
	return !reserved && !heloname.Localhost(v.name())
}

func (v *selfView) apply(c selfCheck) selfLine {
	line := selfLine{Check: c.name}
	first := slices.IndexFunc(c.after, func(name string) bool { return v.bad[name] })
	if first >= 0 {
		line.Status, line.Seen = selfSkipped, "fix "+c.after[first]+" first"
	} else {
		line.Status, line.Seen, line.Do = c.run(v)
	}
	v.bad[c.name] = line.Status == selfToFix || line.Status == selfSkipped
	return line
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
