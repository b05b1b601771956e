package app

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/heloname"
)

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

const (
	maxMXHosts  = 8   // looked up for one name
	maxSelfName = 255 // octets of a name shown
)

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
	r.Name = heloname.Clean(r.said, maxSelfName)
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
	text, err := render("self "+c.name, v)
	if err != nil {
		return selfLine{Check: c.name, Status: selfUnknown, Seen: err.Error()}
	}
	seen, do, _ := strings.Cut(text, "\n")
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
