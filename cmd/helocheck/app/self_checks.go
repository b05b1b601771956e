package app

import (
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

var selfColours = map[selfStatus]string{
	selfOK: green, selfBetter: yellow, selfToFix: red, selfUnknown: yellow, selfSkipped: grey,
}

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

// selfChecks are applied in this order. After: to fix one of these first, since that may fix this
// one too or makes no sense before.
var selfChecks = []struct {
	name  string
	after string // words
	addr  bool   // needs an address that mail leaves from
	run   func(*selfView) (status selfStatus, seen, do string)
}{
	{"fqdn", "", false, checkFQDN},
	{"tld", "fqdn", false, checkTLD},
	{"underscore", "fqdn", false, checkUnderscore},
	{"default_name", "fqdn tld", false, checkDefaultName},
	{"public_address", "", true, checkPublicAddress},
	{"address", "fqdn tld", false, checkAddress},
	{"public_name", "fqdn tld address", false, checkPublicName},
	{"forward", "fqdn tld public_address address public_name", true, checkForward},
	{"ptr", "public_address", true, checkPTR},
	{"ptr_confirmed", "public_address ptr", true, checkConfirmed},
	{"ptr_name", "fqdn tld public_address ptr ptr_confirmed", true, checkPTRName},
	{"spf", "fqdn tld public_address", true, checkSPF},
	{"mx", "fqdn tld address", false, checkMX},
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

const (
	maxMXHosts  = 8   // looked up for one name
	maxSelfName = 255 // octets of a name shown
)

func (p selfPair) judge(ctx context.Context, gatherer *dnsfacts.Gatherer) selfResult {
	wire := p.said // as Maddy sends it
	if ascii, err := idna.ToASCII(wire); err == nil {
		wire = ascii
	}
	v := &selfView{selfPair: p, bad: make(map[string]bool)}
	v.facts = checkhelo.Facts{Helo: heloname.Parse(wire), Client: p.addr}
	need := checkhelo.NeedPTR
	if _, _, reserved := v.facts.Lists.Reserved(v.name()); v.facts.Helo.Kind == heloname.FQDN &&
		!reserved && !heloname.Localhost(v.name()) { // questions about the name may go out
		need |= checkhelo.NeedForward | checkhelo.NeedMX | checkhelo.NeedTLD | checkhelo.NeedSPF
	}
	gatherer.Fill(ctx, &v.facts, need&checkhelo.NeedMX) // is not asked once there is an address
	gatherer.Fill(ctx, &v.facts, need)
	for _, host := range v.facts.MX.Value[:min(len(v.facts.MX.Value), maxMXHosts)] {
		f := checkhelo.Facts{Helo: heloname.Parse(host), Client: p.addr}
		gatherer.Fill(ctx, &f, checkhelo.NeedForward)
		v.hosts = append(v.hosts, f)
	}
	r := selfResult{Name: heloname.Clean(p.said, maxSelfName), Source: p.source}
	if p.addr.IsValid() {
		r.Address = p.addr.String()
	}
	for _, c := range selfChecks {
		if c.addr && !p.addr.IsValid() {
			continue
		}
		line := selfLine{Check: c.name}
		after := strings.Fields(c.after)
		if i := slices.IndexFunc(after, func(name string) bool { return v.bad[name] }); i >= 0 {
			line.Status, line.Seen = selfSkipped, "fix "+after[i]+" first"
		} else {
			line.Status, line.Seen, line.Do = c.run(v)
		}
		v.bad[c.name] = line.Status == selfToFix || line.Status == selfSkipped
		r.Checks = append(r.Checks, line)
	}
	return r
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

const setHostname = "in maddy.conf: hostname mail.example.org" +
	" (the full name that the DNS has for this server)"

// silent is the outcome of a check whose look-up failed.
func silent(err error) (selfStatus, string, string) {
	return selfUnknown, fmt.Sprintf("the DNS did not answer: %v", err), ""
}

func checkFQDN(v *selfView) (selfStatus, string, string) {
	h := &v.facts.Helo
	said := heloname.Clean(h.Raw, maxSelfName)
	switch {
	case h.Kind == heloname.FQDN && h.TrailingDot:
		return selfToFix, said + " ends in a dot, which SMTP does not allow",
			"in maddy.conf: hostname " + h.ASCII
	case h.Kind == heloname.FQDN:
		return selfOK, h.ASCII + " is a full name", ""
	case h.Problem != "":
		return selfToFix, fmt.Sprintf("%s is not a valid host name: %s", said, h.Problem), setHostname
	case h.Addr.IsValid():
		return selfToFix, said + " is an address and no name", setHostname
	}
	return selfToFix, said + " is a host name without its domain", setHostname
}

func checkTLD(v *selfView) (selfStatus, string, string) {
	if suffix, _, reserved := v.facts.Lists.Reserved(v.name()); reserved {
		return selfToFix, fmt.Sprintf("names below %s are not on the Internet", suffix), setHostname
	}
	if heloname.Localhost(v.name()) {
		return selfToFix, v.name() + " means every machine", setHostname
	}
	switch tld := heloname.TLD(v.name()); {
	case heloname.KnownTLD(v.name()) || v.facts.TLD.State == checkhelo.Found:
		return selfOK, tld + " is a top-level domain", ""
	case v.facts.TLD.State == checkhelo.NotFound:
		return selfToFix, tld + " is no top-level domain of the Internet", setHostname
	}
	return silent(v.facts.TLD.Err)
}

func checkUnderscore(v *selfView) (selfStatus, string, string) {
	if v.facts.Helo.Underscore {
		return selfToFix, v.name() + " has an underscore, which host names may not have",
			"in maddy.conf: hostname " + strings.ReplaceAll(v.name(), "_", "-") +
				", with address and PTR records for it"
	}
	return selfOK, "no underscore", ""
}

func checkDefaultName(v *selfView) (selfStatus, string, string) {
	evidence, found := v.facts.Lists.DefaultHost(v.name())
	if !found && v.addr.IsValid() {
		evidence, found = v.facts.Lists.Dynamic(v.name(), v.addr)
	}
	if found {
		return selfToFix, fmt.Sprintf("%s looks like a name that nobody chose (%s)", v.name(), evidence),
			setHostname
	}
	return selfOK, "not the default of an installer, a hoster or an access line", ""
}

func checkPublicAddress(v *selfView) (selfStatus, string, string) {
	if unreachable(v.addr) {
		return selfToFix, v.addr.String() + " is not an address of the Internet",
			"give the address that the world sees, such as the router's, with --ip"
	}
	return selfOK, "mail leaves from " + v.addr.String(), ""
}

func checkAddress(v *selfView) (selfStatus, string, string) {
	switch f := &v.facts.Forward; f.State {
	case checkhelo.Found:
		return selfOK, v.name() + " leads to " + join(f.Value), ""
	case checkhelo.NotFound:
		return selfToFix, v.name() + " has no address in the DNS (neither A nor AAAA)", v.addressRecord()
	default:
		return silent(f.Err)
	}
}

// addressRecord says which address record to make, and where.
func (v *selfView) addressRecord() string {
	kind, addr := "A", v.addr.String()
	switch {
	case !v.addr.IsValid(), unreachable(v.addr):
		addr = "and the public address of this server"
	case v.addr.Is6():
		kind = "AAAA"
	}
	return fmt.Sprintf("at the DNS of %s: %s. IN %s %s",
		heloname.OrgDomain(v.name()), v.name(), kind, addr)
}

func checkPublicName(v *selfView) (selfStatus, string, string) {
	f := &v.facts.Forward
	switch {
	case f.State != checkhelo.Found:
		return silent(f.Err)
	case !slices.ContainsFunc(f.Value, func(a netip.Addr) bool { return !unreachable(a) }):
		return selfToFix,
			fmt.Sprintf("%s leads to %s, which nobody outside can reach", v.name(), join(f.Value)),
			v.addressRecord() + " (only inner name servers may say otherwise)"
	}
	return selfOK, v.name() + " leads to a public address", ""
}

func checkForward(v *selfView) (selfStatus, string, string) {
	f := &v.facts.Forward
	switch {
	case f.State != checkhelo.Found:
		return silent(f.Err)
	case slices.Contains(f.Value, v.addr):
		return selfOK, fmt.Sprintf("%s leads to %s", v.name(), v.addr), ""
	}
	do := v.addressRecord()
	if other := v.otherName(); other != "" {
		do += "; or in maddy.conf: hostname " + other
	}
	return selfToFix, fmt.Sprintf("%s leads to %s and not to %s", v.name(), join(f.Value), v.addr), do
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

func checkPTR(v *selfView) (selfStatus, string, string) {
	switch f := &v.facts.PTR; f.State {
	case checkhelo.Found:
		return selfOK, fmt.Sprintf("%s is called %s", v.addr, strings.Join(f.Value, ", ")), ""
	case checkhelo.NotFound:
		return selfToFix, v.addr.String() + " has no reverse name (PTR)", v.ptrRecord()
	default:
		return silent(f.Err)
	}
}

// ptrRecord says which PTR record to ask for, and whom.
func (v *selfView) ptrRecord() string {
	reverse, _ := dns.ReverseAddr(v.addr.String()) // cannot fail for an address
	name := "mail.example.org"
	if !v.bad["tld"] { // skipped, too, when the name is not full
		name = v.name()
	}
	return fmt.Sprintf("at whoever gave you %s (provider or hoster, not the registrar): %s IN PTR %s.",
		v.addr, reverse, name)
}

func checkConfirmed(v *selfView) (selfStatus, string, string) {
	names := strings.Join(v.facts.PTR.Value, ", ")
	switch f := &v.facts.Confirmed; {
	case len(f.Value) > 0:
		return selfOK, fmt.Sprintf("%s leads back to %s", f.Value[0], v.addr), ""
	case f.State == checkhelo.Failed || v.facts.PTR.State == checkhelo.Failed:
		return silent(f.Err)
	case slices.Contains(v.facts.PTR.Value, v.name()) && v.nameBad():
		return selfSkipped, names + " is the greeting itself; fix its address first", ""
	}
	return selfToFix, fmt.Sprintf("%s does not lead back to %s", names, v.addr), v.ptrRecord()
}

// nameBad tells whether the greeting is known not to lead here.
func (v *selfView) nameBad() bool {
	return v.bad["address"] || v.bad["public_name"] || v.bad["forward"]
}

func checkPTRName(v *selfView) (selfStatus, string, string) {
	f := &v.facts.PTR
	switch {
	case f.State != checkhelo.Found:
		return silent(f.Err)
	case slices.Contains(f.Value, v.name()):
		return selfOK, fmt.Sprintf("%s is called %s, as in the greeting", v.addr, v.name()), ""
	}
	status, do := selfToFix, v.ptrRecord()
	if other := v.otherName(); other != "" {
		status, do = selfBetter, do+"; or in maddy.conf: hostname "+other
	}
	return status, fmt.Sprintf("%s is called %s, and the greeting says %s",
		v.addr, strings.Join(f.Value, ", "), v.name()), do
}

func checkSPF(v *selfView) (selfStatus, string, string) {
	f := &v.facts.SPF
	kind := "ip4"
	if v.addr.Is6() {
		kind = "ip6"
	}
	record := fmt.Sprintf("at the DNS of %s: %s. IN TXT \"v=spf1 a %s:%s -all\"",
		heloname.OrgDomain(v.name()), v.name(), kind, v.addr)
	switch {
	case f.State == checkhelo.Failed:
		return silent(f.Err)
	case f.Value == "pass", f.Value == "neutral":
		return selfOK, fmt.Sprintf("SPF of %s: %s", v.name(), f.Value), ""
	case f.Value == "none":
		return selfOK, v.name() + " has no SPF record, which is allowed", ""
	case f.Value == "permerror":
		return selfToFix, fmt.Sprintf("the SPF record of %s has a mistake (permerror)", v.name()), record
	case v.nameBad():
		return selfSkipped, fmt.Sprintf("SPF of %s: %s; fix its address first", v.name(), f.Value), ""
	}
	return selfToFix, fmt.Sprintf("SPF of %s says %s for %s", v.name(), f.Value, v.addr), record
}

// checkMX looks for the name of a mail domain whose mail goes elsewhere: such
// a greeting is the name of a company and not of this machine.
func checkMX(v *selfView) (selfStatus, string, string) {
	f := &v.facts.MX
	switch {
	case f.State == checkhelo.Failed:
		return silent(f.Err)
	case f.State == checkhelo.NotFound:
		return selfOK, v.name() + " has no MX record and needs none", ""
	case len(f.Value) == 0:
		return selfOK, v.name() + " takes no mail (null MX)", ""
	}
	lost := v.facts.Forward.Err
	for _, host := range v.hosts {
		here := func(a netip.Addr) bool {
			return a == v.addr || slices.Contains(v.facts.Forward.Value, a)
		}
		if host.Helo.ASCII == v.name() || slices.ContainsFunc(host.Forward.Value, here) {
			return selfOK, fmt.Sprintf("mail for %s comes here (MX %s)", v.name(), host.Helo.ASCII), ""
		}
		if host.Forward.State == checkhelo.Failed {
			lost = host.Forward.Err
		}
	}
	if lost != nil {
		return silent(lost)
	}
	return selfToFix, fmt.Sprintf("%s is a mail domain, whose mail goes to %s: it does not name"+
			" this machine", v.name(), strings.Join(f.Value, ", ")),
		"in maddy.conf: hostname and the name of this machine, such as mail." + v.name() +
			"; or at the DNS: take the MX record away"
}

func join(addrs []netip.Addr) string {
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
	}
	return strings.Join(list, ", ")
}
