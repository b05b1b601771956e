// Package checkhelo judges the name that an SMTP client gives in HELO or EHLO (RFC 5321, section
// 4.1.1.1). It does no I/O and imports neither a clock, a mail server nor a DNS library: a caller
// gathers Facts, a Policy turns them into a Verdict, and a Reply tells the sender what they said,
// why it is wrong and where to read how to fix it:
//
//	p := checkhelo.NewPolicy(checkhelo.RFC)
//	f := checkhelo.Facts{Helo: heloname.Parse("localhost"), Client: client}
//	if v := p.Evaluate(&f); v.Action == checkhelo.Reject {
//		reply := p.Reply(v, f.Helo) // 550 5.7.1 "localhost" is what every machine ...
//	}
package checkhelo

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"maddy.example/checkhelo/module/heloname"
)

// State is the result of one lookup.
type State uint8

// The states of an Answer. A failed lookup never makes a verdict harsher.
const (
	NotAsked State = iota
	Found
	NotFound // a valid answer says that there is none
	Failed   // time-out, SERVFAIL, REFUSED, broken answer
)

// Answer is the outcome of one lookup.
type Answer[T any] struct {
	State State
	Value T     // set when Found
	Err   error // set when Failed
}

// Need is a set of facts that rules read; a caller skips the other lookups.
type Need uint16

// The facts that have to be looked up.
const (
	NeedForward Need = 1 << iota // Facts.Forward
	NeedMX                       // Facts.MX
	NeedPTR                      // Facts.PTR and Facts.Confirmed
	NeedTLD                      // Facts.TLD
	NeedSPF                      // Facts.SPF
	NeedLists                    // Facts.Listed
	NeedMemory                   // Facts.Neighbours

	NeedProof = NeedForward | NeedPTR // what shows that a client owns a name
)

// Facts holds everything known about one greeting. The zero value of an Answer is NotAsked.
// Addresses are unmapped; names are lower-case A-labels without a final dot. Evaluate caches
// results in Facts; not safe for concurrent use.
type Facts struct {
	Helo   heloname.Name
	Client netip.Addr
	Local  netip.Addr // the listener's own address, part of "self"
	Self   *Self
	Lists  *heloname.Lists // nil: the built-in lists
	Rcpt   string          // domain of one recipient; "" before RCPT TO

	Denied    Answer[Denial]       // an entry of deny_names or deny_hosts
	Forward   Answer[[]netip.Addr] // A and AAAA of the HELO name; NotFound when both said so
	MX        Answer[[]string]     // MX hosts of the HELO name; a null MX is Found and empty
	PTR       Answer[[]string]     // names of the client's address
	Confirmed Answer[[]string]     // those PTR names that resolve back to the client
	TLD       Answer[bool]         // Found: the root zone has the last label
	SPF       Answer[string]       // RFC 7208 result of the HELO identity: pass, fail, none, ...
	Listed    Answer[[]Listing]    // block lists that hold the HELO name
	// Neighbours holds other organisations that greeted from the client's network.
	Neighbours Answer[[]string]

	memo class
}

// class caches the properties of one name that several rules read.
type class struct {
	of           string // the name; "" before the first use
	reserved     string // suffix that does not exist on the Internet
	local, known bool   // a localhost; a TLD of the built-in list
}

func (f *Facts) class() *class {
	if name := f.Helo.ASCII; f.memo.of != name {
		f.memo = class{name, f.Lists.Reserved(name), heloname.Localhost(name), heloname.KnownTLD(name)}
	}
	return &f.memo
}

// Denial is an entry of an operator's table that refuses a client. Zero fields leave the reply of
// rule deny_name in force.
type Denial struct {
	Match   string // key that matched: the HELO name, an MX host or an address
	Code    int
	Detail  [2]int
	Message string
}

// Listing is one hit in a domain block list.
type Listing struct {
	Zone   string     // without a secret key
	Addr   netip.Addr // the list's answer, in 127.0.0.0/8
	Reason string     // TXT record, cleaned; for the log
	Action Action     // action of this list; Off: the action of rule listed
	Score  int
}

// Self holds the names and addresses of the receiving server.
type Self struct {
	Names   []string // host names
	Domains []string // parents: every name below is the server's
	Addrs   []netip.Prefix
}

// Action is the fate of a message; the strongest action wins.
type Action uint8

// The actions, weakest first.
const (
	Off        Action = iota // the rule is not evaluated
	Ignore                   // log and header only
	Score                    // adds to the score
	Greylist                 // an unknown sender waits once
	Quarantine               // to the Junk folder
	Reject
)

// String returns the word that configuration, logs and JSON use.
func (a Action) String() string {
	return [...]string{"off", "ignore", "score", "greylist", "quarantine", "reject"}[a]
}

// Effect is an action with its points.
type Effect struct {
	Action Action
	Score  int // points; they count whatever Action is
}

// String returns the effect as a directive has it.
func (e Effect) String() string {
	if e.Action == Score {
		return "score " + strconv.Itoa(e.Score)
	}
	return e.Action.String()
}

// Rule is one row of the table.
type Rule struct {
	Name   string // directive stem, metric label, log field, help page
	Basis  string // RFC section that permits the rule, or limits it
	Needs  Need   // facts read beyond the greeting itself
	Action Action
	Score  int    // points, added when Action is Score
	IPv6   Effect // replaces Action and Score for an IPv6 client; zero: no difference
	Code   int    // SMTP reply code, its first digit the class of the enhanced code too; 550
	Detail [2]int // {7, 1} => x.7.1 (RFC 3463), which is the default
	// Message is one ASCII line for the sender. {helo} stands for the greeting, {problem} for the
	// fault in it, {match} for the evidence, {rule} for Name, {url} for the help address.
	Message string
	// Program is the Message for a greeting that a program or container made up by itself; "":
	// Message.
	Program string
	// NoReject: RFC 5321, 4.1.4 forbids refusing mail on this ground alone.
	NoReject bool
	// Most is the strongest action that an operator may set; Off: any. Points of a row with Most
	// never count towards Policy.RejectScore.
	Most Action
	// Liftable: a known sender passes a quarantine that this row asks for.
	Liftable bool
	// Never: a known sender waits all the same where this row itself asks for Greylist.
	Never bool
	Match func(*Facts) (Finding, bool)

	when   func(*Facts) bool // false: no lookup can make Match hit; nil: always
	fault  string            // rows about one fault of a greeting: the points of only one count
	upto   Action            // strongest action that a Finding may carry
	weak   bool              // a Finding may be Weak
	preset levels
	ipv6   levels // for IPv6 clients; zero: no difference
}

// Finding is the result of a row that matched.
type Finding struct {
	Evidence string // for the log, and for {match} of a reply
	Own      Effect // replaces the row's effect where Action is set
	Rows     int    // times that the row's effect counts beside Own
	Weak     bool   // the row adds weakScore points at most
	Denial   *Denial
}

const weakScore = 3 // points

// levels are the effects of a row in the presets lenient, rfc and strict.
type levels [3]Effect

var off, ign, quar, rej = Effect{}, Effect{Ignore, 0}, Effect{Quarantine, 0}, Effect{Reject, 0}

func score(points int) Effect { return Effect{Score, points} }

const (
	grade  = "RFC 5321, 7.9" // refusing for operational reasons
	greet  = "RFC 5321, 4.1.1.1"
	resolv = "RFC 5321, 2.3.5"
	syntax = "RFC 5321, 4.1.2"
	verify = "RFC 5321, 4.1.4"
	fix    = ". Let your mail server greet with its full DNS name, such as mail.example.org"

	fqdnFix  = ". Set its full DNS name, such as mail.example.org"
	loopback = `"{helo}" means your own machine: a program or container on it says this` + fqdnFix
	ours     = " of this server, not of yours. Check your machine for malware, or greet with your" +
		" own server's name"
)

// table holds every rule, the most telling first: of equally strong hits the
// higher row gives the reply.
//
// The presets follow figures on 439,921 good messages of about 3,300 pairs of sender organisation
// and receiver; docs/accuracy.md has the count of each rule. A cost is counted in organisations
// first, since one host can send hundreds of messages. Under rfc a client without a confirmed PTR
// (3) needs a second fault (2) to reach the quarantine threshold of 5.
var table = []Rule{
	{Name: "deny_name", Basis: grade, Code: 554, Match: denyName, preset: levels{rej, rej, rej},
		Never:   true,
		Message: `This server takes no mail from hosts that call themselves "{helo}"`},
	{Name: "malformed", Basis: syntax, Code: 501, Detail: [2]int{5, 2}, Match: malformed,
		preset:  levels{rej, rej, rej},
		Message: `"{helo}" is not a valid host name ({problem})` + fix},
	{Name: "self_address", Basis: grade, when: address, Match: selfAddress,
		preset: levels{rej, rej, rej}, Never: true,
		Message: `"{helo}" is an address` + ours},
	{Name: "self_name", Basis: grade, Needs: NeedProof, when: ourName, Match: selfName,
		preset: levels{quar, rej, rej}, Never: true,
		Message: `"{helo}" is a name` + ours},
	{Name: "rcpt_domain", Basis: grade, Needs: NeedProof | NeedSPF, when: rcptName, Match: rcptDomain,
		preset: levels{score(3), quar, rej}, Never: true, weak: true,
		Message: `"{helo}" is the recipient's domain, and the DNS does not show that your server` +
			` belongs to it. Greet with your own server's name, or add your address to the records` +
			` of this name`},
	{Name: "localhost", Basis: resolv, Match: localhost, preset: levels{score(4), rej, rej},
		Message: `"{helo}" is what every machine calls itself: a program or container on your` +
			` machine says this` + fqdnFix},
	{Name: "bare_ip", Basis: greet, Code: 501, Detail: [2]int{5, 2}, when: address, Match: bareIP,
		preset:  levels{score(4), rej, rej},
		Message: `"{helo}" is an address where a host name belongs` + fix, Program: loopback},
	{Name: "literal_mismatch", Basis: verify, when: address, Match: literalMismatch,
		preset: levels{ign, quar, rej}, fault: "literal", NoReject: true, Never: true,
		Message: `"{helo}" is not the address you connect from` + fix, Program: loopback},
	{Name: "address_literal", Basis: "RFC 5321, 4.1.3", when: address, Match: addressLiteral,
		preset: levels{ign, score(2), rej}, fault: "literal",
		Message: `"{helo}" is an address, and this server wants a host name` + fix, Program: loopback},
	{Name: "not_fqdn", Basis: resolv, Code: 504, Detail: [2]int{5, 2}, Match: notFQDN,
		preset:  levels{score(4), rej, rej},
		Message: `"{helo}" is a host name without its domain` + fix,
		Program: `"{helo}" looks like the id of a container: a program in it says this` + fqdnFix},
	{Name: "underscore", Basis: syntax, Code: 501, Detail: [2]int{5, 2}, Match: underscore,
		preset:  levels{ign, score(2), rej},
		Message: `"{helo}" has an underscore, which host names may not have` + fix},
	{Name: "trailing_dot", Basis: syntax, Code: 501, Detail: [2]int{5, 2}, Match: trailingDot,
		preset:  levels{ign, ign, rej},
		Message: `"{helo}" ends in a dot, which SMTP does not allow` + fix},
	{Name: "reserved_tld", Basis: "RFC 6761", when: fqdn, Match: reservedTLD,
		preset: levels{score(3), quar, rej}, Never: true,
		Message: `"{helo}" ends in a name for private networks, unknown on the Internet` + fix},
	{Name: "unknown_tld", Basis: resolv, Needs: NeedTLD, when: strangeTLD, Match: unknownTLD,
		preset: levels{score(3), quar, rej}, Never: true,
		Message: `"{helo}" does not end in a top-level domain of the Internet` + fix},
	{Name: "forged_provider", Basis: grade, Needs: NeedProof | NeedSPF, when: provider,
		Match: forgedProvider, preset: levels{score(3), quar, rej}, Never: true,
		Message: `"{helo}" is a name of a mail provider, and your address is none of its servers.` +
			` Send through the provider's server with a login, or greet with your own server's name`},
	{Name: "spf_fail", Basis: "RFC 7208, 2.3", Needs: NeedSPF, Detail: [2]int{7, 23}, when: fqdn,
		Match: spfFail, preset: levels{score(3), quar, rej}, Never: true,
		Message: `The SPF record of "{helo}" says that your address may not use this name.` +
			` Add the address to the record or greet with another name`},
	{Name: "listed", Basis: grade, Needs: NeedLists, Code: 554, when: fqdn, Match: listed,
		preset: levels{score(5), quar, rej}, Never: true, upto: Reject,
		Message: `"{helo}" is on a block list that this server uses. Ask the list to remove it`},
	{Name: "dynamic_name", Basis: grade, when: public, Match: dynamicName,
		preset: levels{ign, score(1), quar}, Liftable: true,
		Message: `"{helo}" is the name of an access line. Send through your provider's mail server, or` +
			` give yours a name of its own with A and PTR records`},
	{Name: "generic_ptr", Basis: grade, Needs: NeedPTR, Detail: [2]int{7, 25}, when: outside,
		Match: genericPTR, preset: levels{ign, score(2), quar}, fault: "ptr", Liftable: true,
		Message: `The reverse DNS name (PTR) of your address is your provider's default.` +
			` Ask your provider to set it to "{helo}"`},
	{Name: "no_ptr", Basis: grade, Needs: NeedPTR, Detail: [2]int{7, 25}, Match: noPTR,
		preset: levels{score(1), score(3), quar}, ipv6: levels{1: score(1), 2: score(3)}, Liftable: true,
		Message: `You say "{helo}", but your address has no reverse DNS name (PTR). Ask your provider` +
			` to set it to your mail server's name`},
	{Name: "ptr_unconfirmed", Basis: grade, Needs: NeedPTR, Detail: [2]int{7, 25},
		Match: ptrUnconfirmed, preset: levels{score(1), score(3), quar}, fault: "ptr", Liftable: true,
		Message: `You say "{helo}", but the reverse DNS name (PTR) of your address does not resolve to` +
			` it. Add an A or AAAA record with your address to that name`},
	{Name: "neighbours", Basis: grade, Needs: NeedPTR | NeedMemory, when: fqdn, Match: neighbours,
		preset: levels{ign, score(2), score(2)}, Most: Quarantine,
		Message: `Hosts of several organisations greet from the network of your address, and the` +
			` reverse DNS name of your address does not match "{helo}". Set it to your mail server's name`},
	{Name: "ptr_mismatch", Basis: verify, Needs: NeedPTR, Detail: [2]int{7, 25}, when: outside,
		Match: ptrMismatch, preset: levels{ign, ign, score(3)}, NoReject: true,
		Message: `The reverse DNS name (PTR) of your address belongs to another organisation than` +
			` "{helo}". Ask your provider to set it to the name that your mail server greets with`},
	{Name: "default_host", Basis: grade, when: public, Match: defaultHost,
		preset: levels{ign, score(2), score(2)},
		Message: `"{helo}" is the default name of an installer or a hosting company. Give your mail` +
			` server a name below your own domain, with A and PTR records`},
	{Name: "new_tld", Basis: grade, when: public, Match: newTLD,
		preset: levels{ign, score(1), score(3)},
		Message: `"{helo}" is under a top-level domain whose names are given away free or in bulk.` +
			` Give your address a reverse DNS name (PTR) that resolves to it`},
	{Name: "bare_domain", Basis: grade, when: public, Match: bareDomain,
		preset: levels{off, score(1), score(2)},
		Message: `"{helo}" is a domain, not one of its hosts. Greet with the name of the host, such as` +
			` mail.example.org`},
	{Name: "private_address", Basis: resolv, Needs: NeedForward, when: fqdn, Match: privateAddress,
		preset: levels{ign, ign, quar}, Liftable: true,
		Message: `"{helo}" resolves to private addresses only. Set its A or AAAA record to the public` +
			` address that your mail leaves from`},
	{Name: "address_mismatch", Basis: verify, Needs: NeedForward, when: fqdn, Match: addressMismatch,
		preset: levels{ign, ign, quar}, NoReject: true, Liftable: true,
		Message: `"{helo}" does not resolve to your address. Add your address to its A or AAAA records,` +
			` or greet with the name that has it`},
	{Name: "mx_only", Basis: resolv, Needs: NeedForward | NeedMX, Code: 450, when: fqdn,
		Match: mxOnly, preset: levels{ign, ign, rej},
		Message: `"{helo}" has an MX record but no address. Add an A or AAAA record`},
	{Name: "no_address", Basis: resolv, Needs: NeedForward | NeedMX, Code: 450, when: public,
		Match: noAddress, preset: levels{ign, score(1), rej},
		Message: `"{helo}" has no address in the DNS. Add an A or AAAA record, or greet with a name` +
			` that has one`},
}

// Conditions under which a rule can hit at all.

func address(f *Facts) bool { return f.Helo.Kind == heloname.BareIP || f.Helo.Addr.IsValid() }
func fqdn(f *Facts) bool    { return f.Helo.Kind == heloname.FQDN }
func outside(f *Facts) bool { return fqdn(f) && !f.class().local }
func ourName(f *Facts) bool {
	return f.Helo.ASCII != "" && !f.fromUs() && f.Self.holds(f.Helo.ASCII)
}
func public(f *Facts) bool {
	c := f.class()
	return outside(f) && c.reserved == "" && c.known
}
func strangeTLD(f *Facts) bool {
	c := f.class()
	return outside(f) && c.reserved == "" && !c.known
}
func provider(f *Facts) bool { return public(f) && f.Lists.Provider(f.Helo.ASCII) != nil }
func rcptName(f *Facts) bool {
	return fqdn(f) && f.Rcpt != "" && heloname.Below(f.Helo.ASCII, f.Rcpt) && !f.fromUs()
}

// The Match functions, in the table's order. A Failed answer never counts as a hit.

func denyName(f *Facts) (Finding, bool) {
	return Finding{Evidence: f.Denied.Value.Match, Denial: &f.Denied.Value}, f.Denied.State == Found
}
func malformed(f *Facts) (Finding, bool) { return hit(f.Helo.Problem, f.Helo.Problem != "") }
func selfAddress(f *Facts) (Finding, bool) {
	return hit("", f.isOurs(f.Helo.Addr) && !f.fromUs())
}
func selfName(f *Facts) (Finding, bool) { return hit(f.Helo.ASCII, !f.owner(f.Self.holds)) }
func rcptDomain(f *Facts) (Finding, bool) {
	// A host below the domain that has an address elsewhere may be a server of the same customer.
	weak := f.Helo.ASCII != f.Rcpt && f.Forward.State != NotFound
	if weak && f.Forward.State != Found {
		return Finding{}, false
	}
	inside := func(ptr string) bool { return heloname.Below(ptr, f.Rcpt) }
	return Finding{Evidence: f.Rcpt, Weak: weak},
		!f.owner(inside) && f.SPF.State != Failed && f.SPF.Value != "pass"
}
func localhost(f *Facts) (Finding, bool) { return hit("", f.class().local) }
func bareIP(f *Facts) (Finding, bool)    { return hit("", f.Helo.Kind == heloname.BareIP) }
func literalMismatch(f *Facts) (Finding, bool) {
	return hit("", f.Helo.Kind == heloname.Literal && f.Client.IsValid() && f.Helo.Addr != f.Client)
}
func addressLiteral(f *Facts) (Finding, bool) { return hit("", f.Helo.Kind == heloname.Literal) }
func notFQDN(f *Facts) (Finding, bool) {
	return hit("", f.Helo.Kind == heloname.SingleLabel)
}
func underscore(f *Facts) (Finding, bool) { return hit("", f.Helo.Underscore) }
func trailingDot(f *Facts) (Finding, bool) {
	return hit("", f.Helo.TrailingDot && f.Helo.ASCII != "")
}
func reservedTLD(f *Facts) (Finding, bool) {
	c := f.class()
	return hit(c.reserved, c.reserved != "" && !c.local)
}
func unknownTLD(f *Facts) (Finding, bool) {
	gone := f.TLD.State == NotAsked || f.TLD.State == NotFound
	return hit(heloname.TLD(f.Helo.ASCII), gone || heloname.NumericTLD(f.Helo.ASCII))
}
func forgedProvider(f *Facts) (Finding, bool) {
	p := f.Lists.Provider(f.Helo.ASCII)
	// A provider's host may lack a PTR for a moment; a provider's bare domain is never a host.
	odd := p.Strong && len(f.confirmed()) > 0
	if p.Domain(f.Helo.ASCII) {
		odd = f.PTR.State == Found || f.PTR.State == NotFound
	}
	if !odd || f.owner(p.Owns) || f.SPF.State == Failed || f.SPF.Value == "pass" {
		return Finding{}, false
	}
	return hit(p.Name+", ptr "+first(f.PTR.Value), true)
}
func spfFail(f *Facts) (Finding, bool) {
	return hit("", f.SPF.State == Found && f.SPF.Value == "fail")
}
func listed(f *Facts) (Finding, bool) {
	if f.Listed.State != Found || len(f.Listed.Value) == 0 {
		return Finding{}, false
	}
	var found Finding // the strongest action of the lists, all points
	best := &f.Listed.Value[0]
	for i := range f.Listed.Value {
		l := &f.Listed.Value[i]
		if l.Action == Off {
			found.Rows++
		}
		found.Own = Effect{max(found.Own.Action, l.Action), found.Own.Score + l.Score}
		if l.Action > best.Action || l.Action == best.Action && l.Score > best.Score {
			best = l
		}
	}
	found.Evidence = best.Zone + " " + best.Addr.String() + " " + best.Reason
	return found, true
}
func dynamicName(f *Facts) (Finding, bool) { return hit(f.Lists.Dynamic(f.Helo.ASCII, f.Client)) }
func defaultHost(f *Facts) (Finding, bool) { return hit(f.Lists.DefaultHost(f.Helo.ASCII)) }
func newTLD(f *Facts) (Finding, bool) {
	return hit(heloname.TLD(f.Helo.ASCII), heloname.NewTLD(f.Helo.ASCII))
}
func bareDomain(f *Facts) (Finding, bool) {
	return hit("", heloname.OrgDomain(f.Helo.ASCII) == f.Helo.ASCII)
}
func genericPTR(f *Facts) (Finding, bool) {
	named := func(ptr string) bool { return !f.Lists.GenericPTR(ptr, f.Client) }
	return hit(first(f.PTR.Value), f.ptrElsewhere() && !slices.ContainsFunc(f.PTR.Value, named))
}
func noPTR(f *Facts) (Finding, bool) { return hit("", f.PTR.State == NotFound) }
func ptrUnconfirmed(f *Facts) (Finding, bool) {
	return hit(first(f.PTR.Value), f.PTR.State == Found && f.Confirmed.State == NotFound)
}
func neighbours(f *Facts) (Finding, bool) {
	odd := f.PTR.State == NotFound || f.PTR.State == Found && f.Confirmed.State == NotFound ||
		f.ptrElsewhere()
	return hit(strings.Join(f.Neighbours.Value, " "), odd && f.Neighbours.State == Found)
}
func ptrMismatch(f *Facts) (Finding, bool) {
	related := func(ptr string) bool { return heloname.Related(f.Helo.ASCII, ptr) }
	return hit(first(f.PTR.Value), f.ptrElsewhere() && !slices.ContainsFunc(f.PTR.Value, related) &&
		!heloname.EmbedsAddr(f.Helo.ASCII, f.Client))
}
func privateAddress(f *Facts) (Finding, bool) {
	public := func(a netip.Addr) bool { return a == f.Client || !heloname.Special(a) }
	return f.leadsTo(f.Forward.State == Found && !slices.ContainsFunc(f.Forward.Value, public))
}
func addressMismatch(f *Facts) (Finding, bool) {
	return f.leadsTo(f.Forward.State == Found && f.Client.IsValid() &&
		!slices.Contains(f.Forward.Value, f.Client))
}
func mxOnly(f *Facts) (Finding, bool) {
	return hit(first(f.MX.Value), f.Forward.State == NotFound && f.MX.State == Found)
}
func noAddress(f *Facts) (Finding, bool) {
	return hit("", f.Forward.State == NotFound && f.MX.State == NotFound)
}

// byProgram reports whether a program or container made up the greeting: it is a loopback address,
// or the 12 hex digits that container engines use as a host name.
func (f *Facts) byProgram() bool {
	name := f.Helo.ASCII
	return f.Helo.Addr.IsLoopback() || len(name) == 12 && strings.Trim(name, "0123456789abcdef") == ""
}

func hit(evidence string, hits bool) (Finding, bool) { return Finding{Evidence: evidence}, hits }

// owner reports whether the client is shown to own a name: the HELO name resolves to the client,
// or a proven PTR name lies inside. A failed lookup counts as shown, since its answer might have
// shown it.
func (f *Facts) owner(inside func(string) bool) bool {
	proves := func(ptr string) bool { return inside(ptr) && !f.Lists.LineName(ptr, f.Client) }
	return f.Lost()&NeedProof != 0 || slices.Contains(f.Forward.Value, f.Client) ||
		slices.ContainsFunc(f.confirmed(), proves)
}

// confirmed returns the confirmed PTR names: all PTR names where Confirmed was not asked.
func (f *Facts) confirmed() []string {
	if f.Confirmed.State == NotAsked {
		return f.PTR.Value
	}
	return f.Confirmed.Value
}

// Owns reports whether the DNS shows that the HELO name is the client's: the name resolves to the
// client, or a confirmed PTR name is the name or lies below it. The name that a provider gives to
// a customer's line proves only itself.
func (f *Facts) Owns() bool {
	proves := func(ptr string) bool {
		return ptr == f.Helo.ASCII ||
			heloname.Below(ptr, f.Helo.ASCII) && !f.Lists.LineName(ptr, f.Client)
	}
	return slices.Contains(f.Forward.Value, f.Client) || slices.ContainsFunc(f.Confirmed.Value, proves)
}

// ptrElsewhere reports whether the client has PTR names, all of another organisation than the HELO
// name.
func (f *Facts) ptrElsewhere() bool {
	if f.PTR.State != Found {
		return false
	}
	p := f.Lists.Provider(f.Helo.ASCII)
	same := func(ptr string) bool {
		return heloname.SameOrg(ptr, f.Helo.ASCII) || p != nil && p.Owns(ptr)
	}
	return !slices.ContainsFunc(f.PTR.Value, same)
}

func (f *Facts) isOurs(a netip.Addr) bool {
	inside := func(p netip.Prefix) bool { return p.Contains(a) }
	return a.IsValid() && (a == f.Local || f.Self != nil && slices.ContainsFunc(f.Self.Addrs, inside))
}

func (f *Facts) fromUs() bool { return f.isOurs(f.Client) }

func (s *Self) holds(host string) bool {
	below := func(d string) bool { return host != d && heloname.Below(host, d) }
	return s != nil && (slices.Contains(s.Names, host) || slices.ContainsFunc(s.Domains, below))
}

// leadsTo adds the address of the HELO name to a hit.
func (f *Facts) leadsTo(hits bool) (Finding, bool) {
	if !hits || len(f.Forward.Value) == 0 {
		return Finding{}, hits
	}
	return Finding{Evidence: f.Forward.Value[0].String()}, true
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

// lookups returns the facts that were asked for, and those of them whose lookup failed.
func (f *Facts) lookups() (asked, lost Need) {
	ptr := f.PTR.State
	if ptr == Found {
		ptr = f.Confirmed.State
	}
	for i, s := range [...]State{f.Forward.State, f.MX.State, ptr, f.TLD.State, f.SPF.State,
		f.Listed.State, f.Neighbours.State} { // in the order of the Need bits
		if s != NotAsked {
			asked |= 1 << i
		}
		if s == Failed {
			lost |= 1 << i
		}
	}
	if f.Forward.State == Found || f.Forward.State == Failed {
		asked |= NeedMX // rules read MX only of a name without an address
	}
	return asked, lost
}

// Lost returns the facts whose lookup failed.
func (f *Facts) Lost() Need {
	_, lost := f.lookups()
	return lost
}

// Preset names a column of the table; "" is RFC.
type Preset string

// The presets, mildest first.
const (
	Lenient Preset = "lenient"
	RFC     Preset = "rfc"
	Strict  Preset = "strict"
)

// Presets are the columns of the table.
var Presets = []Preset{Lenient, RFC, Strict}

// Policy is the table with an operator's settings. It must not change after its first Evaluate.
type Policy struct {
	Preset Preset
	// Override has, by Rule.Name, Action and Score, and Code, Detail and Message where set.
	Override        map[string]Rule
	GreylistScore   int    // points from which an unknown sender waits; 0: never
	QuarantineScore int    // points from which a message is quarantined; 0: never
	RejectScore     int    // points from which a message is rejected; 0: never
	Ceiling         Action // strongest action taken; Off: no ceiling
	HelpURL         string // a reply appends "#" and the rule's name
	Answer          Rule   // Code, Detail and Message, where set, replace those of every row

	inForce atomic.Pointer[compiled]
}

type compiled struct {
	all    []Rule
	active []*Rule // rows that are not off
}

// NewPolicy returns preset p with the default threshold.
func NewPolicy(p Preset) *Policy { return &Policy{Preset: p, QuarantineScore: 5} }

// With returns a policy that differs from p in its preset and ceiling alone.
func (p *Policy) With(preset Preset, ceiling Action) *Policy {
	return &Policy{
		Preset: preset, Ceiling: ceiling, Override: p.Override, HelpURL: p.HelpURL, Answer: p.Answer,
		GreylistScore: p.GreylistScore, QuarantineScore: p.QuarantineScore, RejectScore: p.RejectScore,
	}
}

// Rules returns the table with the default policy.
func Rules() []Rule { return NewPolicy(RFC).Rules() }

// Rules returns the table with the settings of p, in evaluation order.
func (p *Policy) Rules() []Rule { return slices.Clone(p.compile().all) }

func (p *Policy) compile() *compiled {
	if c := p.inForce.Load(); c != nil {
		return c
	}
	c := &compiled{all: slices.Clone(table)}
	column := slices.Index(Presets, p.Preset)
	if column < 0 {
		column = slices.Index(Presets, RFC)
	}
	for i := range c.all {
		r := &c.all[i]
		r.Code, r.Detail = cmp.Or(r.Code, 550), cmp.Or(r.Detail, [2]int{7, 1})
		r.Action, r.Score, r.IPv6 = r.preset[column].Action, r.preset[column].Score, r.ipv6[column]
		if p.HelpURL != "" {
			r.Message += ". See {url}"
			if r.Program != "" {
				r.Program += ". See {url}"
			}
		}
		r.answer(p.Answer.Code, p.Answer.Detail, p.Answer.Message)
		if o, ok := p.Override[r.Name]; ok {
			r.Action, r.Score, r.IPv6 = o.Action, o.Score, Effect{}
			r.answer(o.Code, o.Detail, o.Message)
		}
		if r.Action != Off {
			c.active = append(c.active, r)
		}
	}
	p.inForce.Store(c)
	return c
}

// answer replaces the reply by those parts that are set.
func (r *Rule) answer(code int, detail [2]int, message string) {
	if code != 0 {
		r.Code, r.Detail = code, detail
	}
	if message != "" {
		r.Message, r.Program = message, ""
	}
}

// effect returns the row's action and points for the client of f.
func (r *Rule) effect(f *Facts) Effect {
	if r.IPv6.Action != Off && f.Client.Is6() {
		return r.IPv6
	}
	return Effect{r.Action, r.Score}
}

// hit returns r as it counts with a Finding.
func (r *Rule) hit(f *Facts, found Finding) Hit {
	h := Hit{*r, found.Evidence}
	e := r.effect(f)
	switch {
	case found.Own.Action != Off || found.Rows > 0:
		if found.Rows == 0 {
			e = Effect{}
		}
		e = Effect{max(e.Action, found.Own.Action), found.Own.Score + found.Rows*e.Score}
	case found.Weak && e.Action >= Score:
		e = Effect{Score, min(weakScore, cmp.Or(e.Score, weakScore))}
	}
	h.Rule.Action, h.Rule.Score = e.Action, e.Score
	if r.Program != "" && f.byProgram() {
		h.Rule.Message = r.Program
	}
	if found.Denial != nil {
		h.Rule.answer(found.Denial.Code, found.Denial.Detail, found.Denial.Message)
	}
	return h
}

// Hit is a rule that matched. Evidence is for the log, never for the sender.
type Hit struct {
	Rule     Rule // Action and Score as they count
	Evidence string
}

// Verdict is the result for one greeting, and for one recipient where Facts has one.
type Verdict struct {
	Action Action // action to take
	Would  Action // the same without Policy.Ceiling
	Score  int
	Hits   []Hit  // strongest first
	Lifted Action // quarantine or greylist that did not act on a known sender; Off: none

	refusable int // part of Score that counts towards RejectScore
}

// Evaluate judges: the same facts always get the same verdict.
func (p *Policy) Evaluate(f *Facts) (v Verdict) {
	for _, r := range p.compile().active {
		if !r.applies(f) {
			continue
		}
		if found, hits := r.Match(f); hits {
			v.add(r.hit(f, found))
		}
	}
	slices.SortStableFunc(v.Hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Rule.Action, a.Rule.Action), b.Rule.Score-a.Rule.Score)
	})
	p.decide(&v, max(v.Would, p.byScore(v.Score, v.refusable)))
	return v
}

// decide sets the action of v, at most the ceiling.
func (p *Policy) decide(v *Verdict, would Action) {
	v.Would, v.Action = would, would
	if p.Ceiling != Off {
		v.Action = min(would, p.Ceiling)
	}
}

// add counts one more hit. Of two hits about one fault only one keeps its points.
func (v *Verdict) add(h Hit) {
	for i := range v.Hits {
		old := &v.Hits[i].Rule
		if h.Rule.fault == "" || old.fault != h.Rule.fault {
			continue
		}
		if old.outweighs(&h.Rule) {
			h.Rule.Score = 0
			continue
		}
		v.count(old, -old.Score)
		old.Score = 0
	}
	v.Hits = append(v.Hits, h)
	v.Would = max(v.Would, h.Rule.Action)
	v.count(&h.Rule, h.Rule.Score)
}

// count adds points of r. Those of a row that may not refuse lead to no refusal (RFC 5321, 4.1.4).
func (v *Verdict) count(r *Rule, points int) {
	v.Score += points
	if !r.NoReject && r.Most == Off {
		v.refusable += points
	}
}

// outweighs reports whether the points of r count and those of other do not. Rows that read the DNS
// compare by points alone: a failed lookup that removes one of them must never raise the score.
func (r *Rule) outweighs(other *Rule) bool {
	if r.fault == "literal" && r.Action != other.Action {
		return r.Action > other.Action
	}
	return r.Score >= other.Score
}

func (p *Policy) byScore(score, refusable int) Action {
	switch {
	case p.RejectScore > 0 && refusable >= p.RejectScore:
		return Reject
	case p.QuarantineScore > 0 && score >= p.QuarantineScore:
		return Quarantine
	case p.GreylistScore > 0 && score >= p.GreylistScore:
		return Greylist
	default:
		return Off
	}
}

// Known grades what a server remembers of a sender, weakest first.
type Known uint8

// The grades of a sender.
const (
	Stranger Known = iota
	Seen           // on several days, not refused
	Accepted       // a message was accepted
)

// String returns the word that logs and JSON use.
func (k Known) String() string { return [...]string{"unknown", "seen", "accepted"}[k] }

// Lift returns v for a sender of that grade. A known sender never waits and passes quarantine, as
// far as the rows permit: a row that is Never keeps its own greylist, and only a row that is
// Liftable gives up its own quarantine. Points lift for Accepted alone. Nothing lifts a reject.
func (p *Policy) Lift(v Verdict, grade Known) Verdict {
	if grade == Stranger || v.Would != Greylist && v.Would != Quarantine {
		return v
	}
	rest := Off // the strongest action that stays
	for i := range v.Hits {
		r := &v.Hits[i].Rule
		lifts := r.Action == Quarantine && r.Liftable ||
			r.Action == Greylist && !r.Never && (r.Liftable || grade == Accepted)
		if lifts {
			rest = max(rest, Ignore)
		} else {
			rest = max(rest, r.Action)
		}
	}
	if grade < Accepted {
		rest = max(rest, p.byScore(v.Score, 0))
	}
	if rest >= v.Would {
		return v
	}
	v.Lifted = v.Would
	p.decide(&v, rest)
	return v
}

// Needs returns the facts not asked for yet that could still change the verdict.
func (p *Policy) Needs(f *Facts) Need {
	asked, _ := f.lookups()
	return p.open(f, asked)
}

// Doubt returns the facts whose lookup failed and whose answer could still make the verdict
// harsher.
func (p *Policy) Doubt(f *Facts) Need {
	asked, lost := f.lookups()
	if lost == 0 {
		return 0
	}
	return p.open(f, asked&^lost) & lost
}

// open returns the facts outside known that could still make the verdict harsher.
func (p *Policy) open(f *Facts, known Need) (need Need) {
	var firm, more Verdict       // the part that no fact can change; the part that facts may add
	var actions [Reject + 1]Need // what rows with that action of their own lack
	var points Need              // what rows with points lack
	for _, r := range p.compile().active {
		e := r.effect(f)
		most, missing := max(e.Action, r.upto), r.Needs&^known
		if most < Score || !r.applies(f) {
			continue
		}
		if missing == 0 {
			if found, hits := r.Match(f); hits {
				firm.add(r.hit(f, found))
			}
			continue
		}
		actions[most] |= missing
		if r.weak {
			e = Effect{Score, max(e.Score, weakScore)}
		}
		if e.Action == Score {
			more.count(r, e.Score)
			points |= missing
		}
	}
	best := max(firm.Would, p.byScore(firm.Score, firm.refusable))
	for _, missing := range actions[max(best, Score)+1:] {
		need |= missing
	}
	if p.byScore(firm.Score+more.Score, firm.refusable+more.refusable) > best {
		need |= points
	}
	return need
}

// applies reports whether r can hit at all. Rows that compare with the client need its address.
func (r *Rule) applies(f *Facts) bool {
	return (f.Client.IsValid() || !r.NoReject && r.Needs&(NeedPTR|NeedSPF) == 0) &&
		(r.when == nil || r.when(f))
}

// Open reports whether r may hit once facts that were not asked for are known, or once the client's
// address is.
func (r *Rule) Open(f *Facts) bool {
	asked, _ := f.lookups()
	return (r.when == nil || r.when(f)) && (r.Needs&^asked != 0 || !r.applies(f))
}

// Reply is the text that the sender reads (RFC 5321, 4.2; RFC 3463).
type Reply struct {
	Code     int
	Enhanced [3]int
	Text     string // one line of printable ASCII
}

const (
	maxSaid = 64 // octets of a client's name that a reply repeats
	// MaxText is the longest text of a reply in octets. A reply line has 512 (RFC 5321, 4.5.3.1.5),
	// less code, enhanced code, CRLF and the octets that Maddy adds: " (msg ID = 01234567)".
	MaxText = 460
)

// Reply returns the reply to a client that said n and got v; it is zero when no rule hit.
func (p *Policy) Reply(v Verdict, n heloname.Name) Reply {
	if len(v.Hits) == 0 {
		return Reply{}
	}
	h := &v.Hits[0]
	text := strings.NewReplacer("{helo}", heloname.Clean(n.Raw, maxSaid), "{problem}", n.Problem,
		"{match}", heloname.Clean(h.Evidence, maxSaid)).Replace(p.Text(&h.Rule))
	return Reply{h.Rule.Code, [3]int{h.Rule.Code / 100, h.Rule.Detail[0], h.Rule.Detail[1]},
		heloname.Line(text, MaxText)}
}

// Text returns the message of r with {rule} and {url} filled in, as the sender reads it.
func (p *Policy) Text(r *Rule) string {
	url := ""
	if p.HelpURL != "" {
		url = p.HelpURL + "#" + r.Name
	}
	return strings.NewReplacer("{rule}", r.Name, "{url}", url).Replace(r.Message)
}
