// Package checkhelo judges the name an SMTP client gives in HELO or EHLO
// (RFC 5321, section 4.1.1.1). It does no I/O and knows neither clock, mail
// server nor DNS library: a caller gathers Facts, a Policy turns them into a
// Verdict, and a Reply tells the sender what he said, why it is wrong and
// where to read how to mend it.
package checkhelo

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"maddy.example/checkhelo/module/heloname"
)

// State tells how far a look-up got.
type State uint8

// The states of an Answer. A failed look-up never makes a verdict harsher.
const (
	NotAsked State = iota
	Found
	NotFound // the DNS says with certainty that there is none
	Failed   // time-out, SERVFAIL, REFUSED, broken answer
)

// Answer is the outcome of one look-up.
type Answer[T any] struct {
	State State
	Value T     // set when Found
	Err   error // set when Failed
}

// Need is a set of facts that rules read, so that a caller can skip look-ups.
type Need uint16

// The facts that have to be looked up.
const (
	NeedForward Need = 1 << iota // Facts.Forward
	NeedMX                       // Facts.MX
	NeedPTR                      // Facts.PTR and Facts.Confirmed
	NeedTLD                      // Facts.TLD
	NeedSPF                      // Facts.SPF
	NeedLists                    // Facts.Listed

	NeedProof = NeedForward | NeedPTR // what shows that a client owns a name
)

// Facts is all that is known about one greeting. The zero value of each
// Answer means that nobody asked. Addresses are unmapped, names are in
// lower-case A-labels without a final dot. Judging remembers things in it, so that it serves one
// goroutine at a time.
type Facts struct {
	Helo   heloname.Name
	Client netip.Addr
	Local  netip.Addr // the listener's own address, part of "self"
	Self   *Self
	Lists  *heloname.Lists // nil: the built-in lists
	Rcpt   string          // domain of one recipient; "" before RCPT TO

	Denied    Answer[Rule]         // deny_names: Code, Detail and Message of the table's value, if any
	Forward   Answer[[]netip.Addr] // A and AAAA of the HELO name; NotFound when both said so
	MX        Answer[[]string]     // MX hosts of the HELO name; a null MX is Found and empty
	PTR       Answer[[]string]     // names of the client's address
	Confirmed Answer[[]string]     // those PTR names that resolve back to the client
	TLD       Answer[bool]         // Found: the root zone has the last label
	SPF       Answer[string]       // RFC 7208 result of the HELO identity: pass, fail, none, ...
	Listed    Answer[[]Listing]    // block lists that hold the HELO name

	memo class
}

// class is what several rules ask about one name, found out once.
type class struct {
	of           string // the name; "" before the first question
	reserved     string // suffix that is not on the Internet
	local, known bool   // a localhost; a TLD that the built-in list has
}

func (f *Facts) class() *class {
	if name := f.Helo.ASCII; f.memo.of != name {
		reserved, _, _ := f.Lists.Reserved(name)
		f.memo = class{name, reserved, heloname.Localhost(name), heloname.KnownTLD(name)}
	}
	return &f.memo
}

// Listing is one hit in a domain block list.
type Listing struct {
	Zone   string
	Addr   netip.Addr // the list's answer, in 127.0.0.0/8
	Reason string     // TXT record, cleaned; for the log
	Action Action     // what the operator set for this list; Off: what the rule says
	Score  int
}

// Self is what the receiving server calls its own.
type Self struct {
	Names   []string // host names
	Domains []string // everything below these
	Addrs   []netip.Prefix
}

// Action is what becomes of a message; the strongest one wins.
type Action uint8

// The actions, weakest first.
const (
	Off        Action = iota // the rule is not looked at
	Ignore                   // log and header only
	Score                    // adds to the score
	Quarantine               // to the Junk folder
	Reject
)

// String returns the word that configuration, logs and JSON use.
func (a Action) String() string {
	return [...]string{"off", "ignore", "score", "quarantine", "reject"}[a]
}

// Rule is one row of the table.
type Rule struct {
	Name   string // directive stem, metric label, log field, help page
	Basis  string // what gives the right to judge, or limits it
	Needs  Need   // facts read beyond the greeting itself
	Action Action
	Score  int    // points, added when Action is Score
	Code   int    // SMTP reply code; its first digit is the enhanced class too
	Detail [2]int // {7, 1} => x.7.1 (RFC 3463)
	// Message is one ASCII line for the sender. {helo} stands for what he said,
	// {problem} for the fault in it, {rule} for Name, {url} for the help.
	Message string
	// NoReject: RFC 5321, 4.1.4 forbids refusing mail on this ground alone.
	NoReject bool
	Match    func(*Facts) (evidence string, hit bool)

	when   func(*Facts) bool // false: no look-up can make Match hit
	preset [3]effect         // lenient, rfc, strict
}

type effect struct {
	action Action
	score  int
}

var off, ign, quar, rej = effect{}, effect{Ignore, 0}, effect{Quarantine, 0}, effect{Reject, 0}

func score(points int) effect { return effect{Score, points} }

const (
	grade  = "RFC 5321, 7.9" // refusing for operational reasons
	greet  = "RFC 5321, 4.1.1.1"
	resolv = "RFC 5321, 2.3.5"
	verify = "RFC 5321, 4.1.4"
	mend   = ". Let your mail server greet with its full DNS name, such as mail.example.org"
)

// table holds every rule, the most telling first: of equally strong hits the
// higher row answers the sender.
//
// The presets were set on the open half of a collection of real greetings, replayed with the PTR
// that the receiver wrote down: 67942 good and 1854 bad messages of 2019 to 2026, 1688 and 970 of
// 2001 and 2002. Rejected or quarantined there: lenient 0 and 2.2 %, 0.18 and 11.8 %; rfc 0.010
// and 13.6 %, 1.48 and 32.1 %; strict 0.81 and 46.2 %, 31.6 and 77.6 %. Under rfc a client without
// a confirmed PTR (3) needs one more fault (2) to reach 5. What has not been measured scores 1 at
// most. docs/accuracy.md has each rule's count; helocheck fit repeats the choice on other mail.
var table = []Rule{
	{Name: "deny_name", Basis: grade, Code: 554, Detail: [2]int{7, 1}, when: always,
		preset: [3]effect{rej, rej, rej}, Match: denyName,
		Message: `This server takes no mail from hosts that call themselves "{helo}"`},
	{Name: "malformed", Basis: "RFC 5321, 4.1.2", Code: 501, Detail: [2]int{5, 2}, when: always,
		preset: [3]effect{rej, rej, rej}, Match: malformed,
		Message: `"{helo}" is not a valid host name ({problem})` + mend},
	{Name: "self_address", Basis: grade, Code: 550, Detail: [2]int{7, 1}, when: address,
		preset: [3]effect{rej, rej, rej}, Match: selfAddress,
		Message: `"{helo}" is an address of this server, not of yours` + mend},
	{Name: "self_name", Basis: grade, Needs: NeedProof, Code: 550, Detail: [2]int{7, 1}, when: ourName,
		preset: [3]effect{quar, rej, rej}, Match: selfName,
		Message: `"{helo}" is a name of this server, not of yours` + mend},
	{Name: "rcpt_domain", Basis: grade, Needs: NeedProof | NeedSPF, Code: 550, Detail: [2]int{7, 1},
		when: rcptName, preset: [3]effect{score(3), quar, rej}, Match: rcptDomain,
		Message: `"{helo}" is the recipient's domain, and the DNS does not show that your server` +
			` belongs to it` + mend},
	{Name: "localhost", Basis: resolv, Code: 550, Detail: [2]int{7, 1}, when: name,
		preset: [3]effect{score(4), score(4), rej}, Match: localhost,
		Message: `"{helo}" means every machine and names none on the Internet` + mend},
	{Name: "bare_ip", Basis: greet, Code: 501, Detail: [2]int{5, 2}, when: address,
		preset: [3]effect{score(4), rej, rej}, Match: bareIP,
		Message: `"{helo}" is an address where a host name belongs` + mend},
	{Name: "literal_mismatch", Basis: verify, Code: 550, Detail: [2]int{7, 1}, when: address,
		preset: [3]effect{ign, score(4), rej}, Match: literalMismatch, NoReject: true,
		Message: `"{helo}" is not the address you connect from` + mend},
	{Name: "address_literal", Basis: "RFC 5321, 4.1.3", Code: 550, Detail: [2]int{7, 1}, when: address,
		preset: [3]effect{ign, score(2), rej}, Match: addressLiteral,
		Message: `"{helo}" is an address, and this server wants a host name` + mend},
	{Name: "not_fqdn", Basis: resolv, Code: 504, Detail: [2]int{5, 2}, when: name,
		preset: [3]effect{score(4), rej, rej}, Match: notFQDN,
		Message: `"{helo}" is a host name without its domain` + mend},
	{Name: "underscore", Basis: "RFC 5321, 4.1.2", Code: 501, Detail: [2]int{5, 2}, when: name,
		preset: [3]effect{ign, score(2), rej}, Match: underscore,
		Message: `"{helo}" has an underscore, which host names may not have` + mend},
	{Name: "trailing_dot", Basis: "RFC 5321, 4.1.2", Code: 501, Detail: [2]int{5, 2}, when: name,
		preset: [3]effect{ign, ign, rej}, Match: trailingDot,
		Message: `"{helo}" ends in a dot, which SMTP does not allow` + mend},
	{Name: "reserved_tld", Basis: "RFC 6761", Code: 550, Detail: [2]int{7, 1}, when: fqdn,
		preset: [3]effect{score(3), score(2), rej}, Match: reservedTLD,
		Message: `"{helo}" ends in a name for private networks, unknown on the Internet` + mend},
	{Name: "unknown_tld", Basis: resolv, Needs: NeedTLD, Code: 550, Detail: [2]int{7, 1},
		when: strangeTLD, preset: [3]effect{score(3), score(2), rej}, Match: unknownTLD,
		Message: `"{helo}" does not end in a top-level domain of the Internet` + mend},
	{Name: "forged_provider", Basis: grade, Needs: NeedProof | NeedSPF, Code: 550,
		Detail: [2]int{7, 1}, when: provider, preset: [3]effect{score(3), quar, rej},
		Match:   forgedProvider,
		Message: `"{helo}" is a name of a mail provider that your address does not belong to` + mend},
	{Name: "spf_fail", Basis: "RFC 7208, 2.3", Needs: NeedSPF, Code: 550, Detail: [2]int{7, 23},
		when: fqdn, preset: [3]effect{score(3), quar, rej}, Match: spfFail,
		Message: `The SPF record of "{helo}" says that your address may not use this name.` +
			` Add the address to the record or greet with another name`},
	{Name: "listed", Basis: grade, Needs: NeedLists, Code: 554, Detail: [2]int{7, 1}, when: fqdn,
		preset: [3]effect{score(5), quar, rej}, Match: listed,
		Message: `"{helo}" is on a block list that this server uses. Ask the list to remove it`},
	{Name: "dynamic_name", Basis: grade, Code: 550, Detail: [2]int{7, 1}, when: public,
		preset: [3]effect{ign, score(1), quar}, Match: dynamicName,
		Message: `"{helo}" is the name of an access line, not of a mail server` + mend},
	{Name: "generic_ptr", Basis: grade, Needs: NeedPTR, Code: 550, Detail: [2]int{7, 25}, when: public,
		preset: [3]effect{ign, score(2), quar}, Match: genericPTR,
		Message: `The reverse DNS name of your address is your provider's default, not "{helo}".` +
			` Ask him to set it to your mail server's name`},
	{Name: "no_ptr", Basis: grade, Needs: NeedPTR, Code: 550, Detail: [2]int{7, 25}, when: always,
		preset: [3]effect{score(1), score(3), quar}, Match: noPTR,
		Message: `You say "{helo}", but your address has no reverse DNS name (PTR). Ask your provider` +
			` to set it to your mail server's name`},
	{Name: "ptr_unconfirmed", Basis: grade, Needs: NeedPTR, Code: 550, Detail: [2]int{7, 25},
		when: always, preset: [3]effect{score(1), score(3), quar}, Match: ptrUnconfirmed,
		Message: `You say "{helo}", but the reverse DNS name of your address does not lead back to it.` +
			` Give that name an address record`},
	{Name: "ptr_mismatch", Basis: verify, Needs: NeedPTR, Code: 550, Detail: [2]int{7, 25},
		when: public, preset: [3]effect{ign, ign, score(3)}, Match: ptrMismatch, NoReject: true,
		Message: `The reverse DNS name of your address belongs to another organisation than "{helo}"` +
			mend},
	{Name: "default_host", Basis: grade, Code: 550, Detail: [2]int{7, 1}, when: public,
		preset: [3]effect{ign, score(2), quar}, Match: defaultHost,
		Message: `"{helo}" is the name that an installer or a hosting firm gave your machine` + mend},
	{Name: "new_tld", Basis: grade, Code: 550, Detail: [2]int{7, 1}, when: public,
		preset: [3]effect{ign, score(2), score(3)}, Match: newTLD,
		Message: `"{helo}" is under a top-level domain whose names are given away free or in bulk.` +
			` Give your address a reverse DNS name that leads back to it`},
	{Name: "bare_domain", Basis: grade, Code: 550, Detail: [2]int{7, 1}, when: public,
		preset: [3]effect{off, off, score(2)}, Match: bareDomain,
		Message: `"{helo}" is a domain and not one of its hosts` + mend},
	{Name: "private_address", Basis: resolv, Needs: NeedForward, Code: 550, Detail: [2]int{7, 1},
		when: fqdn, preset: [3]effect{ign, ign, quar}, Match: privateAddress,
		Message: `"{helo}" leads to a private address. Give it a public one or greet with another name`},
	{Name: "address_mismatch", Basis: verify, Needs: NeedForward, Code: 550, Detail: [2]int{7, 1},
		when: fqdn, preset: [3]effect{ign, ign, quar}, Match: addressMismatch, NoReject: true,
		Message: `"{helo}" does not lead to your address` + mend},
	{Name: "mx_only", Basis: resolv, Needs: NeedForward | NeedMX, Code: 450, Detail: [2]int{7, 1},
		when: fqdn, preset: [3]effect{ign, ign, rej}, Match: mxOnly,
		Message: `"{helo}" has an MX record but no address. Add an A or AAAA record`},
	{Name: "no_address", Basis: resolv, Needs: NeedForward | NeedMX, Code: 450, Detail: [2]int{7, 1},
		when: fqdn, preset: [3]effect{ign, score(1), rej}, Match: noAddress,
		Message: `"{helo}" has no address in the DNS. Add an A or AAAA record, or greet with a name` +
			` that has one`},
}

// When a rule can hit at all.

func always(*Facts) bool    { return true }
func address(f *Facts) bool { return f.Helo.Addr.IsValid() }
func name(f *Facts) bool    { return f.Helo.ASCII != "" }
func fqdn(f *Facts) bool    { return f.Helo.Kind == heloname.FQDN }
func ourName(f *Facts) bool { return name(f) && !f.fromUs() && f.Self.holds(f.Helo.ASCII) }
func public(f *Facts) bool {
	c := f.class()
	return fqdn(f) && !c.local && c.reserved == "" && c.known
}
func strangeTLD(f *Facts) bool {
	c := f.class()
	return fqdn(f) && !c.known && !c.local && c.reserved == ""
}
func provider(f *Facts) bool { return public(f) && f.Lists.Provider(f.Helo.ASCII) != nil }
func rcptName(f *Facts) bool {
	return fqdn(f) && f.Rcpt != "" && heloname.Below(f.Helo.ASCII, f.Rcpt) && !f.fromUs()
}

// What makes a rule hit, in the table's order. A Failed answer acquits.

func denyName(f *Facts) (string, bool)  { return f.Helo.ASCII, f.Denied.State == Found }
func malformed(f *Facts) (string, bool) { return f.Helo.Problem, f.Helo.Problem != "" }
func selfAddress(f *Facts) (string, bool) {
	return "", f.isOurs(f.Helo.Addr) && !f.fromUs()
}
func selfName(f *Facts) (string, bool) {
	return f.Helo.ASCII, !f.owner(f.Self.holds)
}
func rcptDomain(f *Facts) (string, bool) {
	if f.Helo.ASCII != f.Rcpt && f.Forward.State != NotFound {
		return "", false
	}
	inside := func(ptr string) bool { return heloname.Below(ptr, f.Rcpt) }
	return f.Rcpt, !f.owner(inside) && !f.SPF.unsure() && f.SPF.Value != "pass"
}
func localhost(f *Facts) (string, bool) { return "", f.class().local }
func bareIP(f *Facts) (string, bool)    { return "", f.Helo.Kind == heloname.BareIP }
func literalMismatch(f *Facts) (string, bool) {
	return "", f.Helo.Kind == heloname.Literal && f.Client.IsValid() && f.Helo.Addr != f.Client
}
func addressLiteral(f *Facts) (string, bool) { return "", f.Helo.Kind == heloname.Literal }
func notFQDN(f *Facts) (string, bool)        { return "", f.Helo.Kind == heloname.SingleLabel }
func underscore(f *Facts) (string, bool)     { return "", f.Helo.Underscore }
func trailingDot(f *Facts) (string, bool)    { return "", f.Helo.TrailingDot }
func reservedTLD(f *Facts) (string, bool) {
	c := f.class()
	return c.reserved, c.reserved != "" && !c.local
}
func unknownTLD(f *Facts) (string, bool) {
	gone := f.TLD.State == NotAsked || f.TLD.State == NotFound
	return heloname.TLD(f.Helo.ASCII), gone || heloname.NumericTLD(f.Helo.ASCII)
}
func forgedProvider(f *Facts) (string, bool) {
	p := f.Lists.Provider(f.Helo.ASCII)
	// A host of a provider may lack a PTR for a moment; his bare domain is no host of his.
	odd := p.Strong && len(f.confirmed()) > 0
	if p.Domain(f.Helo.ASCII) {
		odd = f.PTR.State == Found || f.PTR.State == NotFound
	}
	if !odd || f.owner(p.Owns) || f.SPF.unsure() || f.SPF.Value == "pass" {
		return "", false
	}
	return p.Name + ", ptr " + first(f.PTR.Value), true
}
func spfFail(f *Facts) (string, bool) { return "", f.SPF.State == Found && f.SPF.Value == "fail" }
func listed(f *Facts) (string, bool) {
	if f.Listed.State != Found || len(f.Listed.Value) == 0 {
		return "", false
	}
	l := slices.MaxFunc(f.Listed.Value, func(a, b Listing) int {
		return cmp.Or(cmp.Compare(a.Action, b.Action), a.Score-b.Score)
	})
	return l.Zone + " " + l.Addr.String() + " " + l.Reason, true
}
func dynamicName(f *Facts) (string, bool) { return f.Lists.Dynamic(f.Helo.ASCII, f.Client) }
func defaultHost(f *Facts) (string, bool) { return f.Lists.DefaultHost(f.Helo.ASCII) }
func newTLD(f *Facts) (string, bool) {
	return heloname.TLD(f.Helo.ASCII), f.Lists.NewTLD(f.Helo.ASCII)
}
func bareDomain(f *Facts) (string, bool) {
	return "", heloname.OrgDomain(f.Helo.ASCII) == f.Helo.ASCII
}
func genericPTR(f *Facts) (string, bool) {
	named := func(ptr string) bool { return !f.Lists.GenericPTR(ptr, f.Client) }
	return first(f.PTR.Value), f.ptrElsewhere() && !slices.ContainsFunc(f.PTR.Value, named)
}
func noPTR(f *Facts) (string, bool) { return "", f.PTR.State == NotFound }
func ptrUnconfirmed(f *Facts) (string, bool) {
	return first(f.PTR.Value), f.PTR.State == Found && f.Confirmed.State == NotFound
}
func ptrMismatch(f *Facts) (string, bool) {
	related := func(ptr string) bool { return heloname.Related(f.Helo.ASCII, ptr) }
	return first(f.PTR.Value), f.ptrElsewhere() && !slices.ContainsFunc(f.PTR.Value, related) &&
		!heloname.EmbedsAddr(f.Helo.ASCII, f.Client)
}
func privateAddress(f *Facts) (string, bool) {
	public := func(a netip.Addr) bool { return a == f.Client || !heloname.Special(a) }
	return f.leadsTo(f.Forward.State == Found && !slices.ContainsFunc(f.Forward.Value, public))
}
func addressMismatch(f *Facts) (string, bool) {
	return f.leadsTo(f.Forward.State == Found && f.Client.IsValid() &&
		!slices.Contains(f.Forward.Value, f.Client))
}
func mxOnly(f *Facts) (string, bool) {
	return first(f.MX.Value), f.Forward.State == NotFound && f.MX.State == Found
}
func noAddress(f *Facts) (string, bool) {
	return "", f.Forward.State == NotFound && f.MX.State == NotFound
}

// owner reports whether the client is shown to own a name: the HELO name
// resolves to it or a confirmed PTR name lies inside. A failed look-up counts
// as shown, since its answer might have been that.
func (f *Facts) owner(inside func(string) bool) bool {
	return f.Forward.unsure() || f.PTR.unsure() || f.Confirmed.unsure() ||
		slices.Contains(f.Forward.Value, f.Client) || slices.ContainsFunc(f.confirmed(), inside)
}

// confirmed returns the PTR names to trust: all of them when nobody asked for a confirmation.
func (f *Facts) confirmed() []string {
	if f.Confirmed.State == NotAsked {
		return f.PTR.Value
	}
	return f.Confirmed.Value
}

// ptrElsewhere reports whether there are PTR names, and all of them are of
// another organisation than the HELO name.
func (f *Facts) ptrElsewhere() bool {
	if f.PTR.State != Found {
		return false
	}
	p := f.Lists.Provider(f.Helo.ASCII)
	home := func(ptr string) bool {
		return heloname.SameOrg(ptr, f.Helo.ASCII) || p != nil && p.Owns(ptr)
	}
	return !slices.ContainsFunc(f.PTR.Value, home)
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
func (f *Facts) leadsTo(hit bool) (evidence string, _ bool) {
	if !hit || len(f.Forward.Value) == 0 {
		return "", hit
	}
	return f.Forward.Value[0].String(), true
}

func (a *Answer[T]) unsure() bool { return a.State == Failed }

// strongest returns the effect of the lists that hold a name: rule listed's own
// where a list has none, the strongest action, all points.
func strongest(r Rule, hits []Listing) (best Action, points int) {
	for _, l := range hits {
		if l.Action == Off {
			l.Action, l.Score = r.Action, r.Score
		}
		if best = max(best, l.Action); l.Action == Score {
			points += l.Score
		}
	}
	return best, points
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func (f *Facts) asked() (known Need) {
	ptr := f.PTR.State
	if ptr == Found {
		ptr = f.Confirmed.State
	}
	states := [...]State{f.Forward.State, f.MX.State, ptr, f.TLD.State, f.SPF.State, f.Listed.State}
	for i, s := range states {
		if s != NotAsked {
			known |= 1 << i
		}
	}
	if f.Forward.State == Found || f.Forward.State == Failed {
		known |= NeedMX // rules read MX only of a name without an address
	}
	return known
}

// Preset names a column of the table; "" is RFC.
type Preset string

// The presets, mildest first.
const (
	Lenient Preset = "lenient"
	RFC     Preset = "rfc"
	Strict  Preset = "strict"
)

func (p Preset) column() int {
	switch p {
	case Lenient:
		return 0
	case Strict:
		return 2
	default:
		return 1
	}
}

// Policy is what an operator makes of the table. It must not be changed once it has judged.
type Policy struct {
	Preset Preset
	// Override has, by Rule.Name, Action and Score, and Code, Detail and Message where set.
	Override                     map[string]Rule
	QuarantineScore, RejectScore int    // points; 0: scores never do that
	Ceiling                      Action // strongest action taken; Off: no ceiling
	HelpURL                      string // the rule's name is added as fragment

	inForce atomic.Pointer[compiled]
}

// compiled is the table as a policy has it.
type compiled struct {
	all    []Rule
	active []*Rule // those that are not off
}

// NewPolicy returns preset p with the default threshold.
func NewPolicy(p Preset) *Policy { return &Policy{Preset: p, QuarantineScore: 5} }

// Rules returns the table as the default policy has it.
func Rules() []Rule { return NewPolicy(RFC).Rules() }

// Rules returns the table as p has it, in evaluation order.
func (p *Policy) Rules() []Rule { return slices.Clone(p.compile().all) }

func (p *Policy) compile() *compiled {
	if c := p.inForce.Load(); c != nil {
		return c
	}
	c := &compiled{all: slices.Clone(table)}
	for i := range c.all {
		r := &c.all[i]
		set := r.preset[p.Preset.column()]
		r.Action, r.Score = set.action, set.score
		if p.HelpURL != "" {
			r.Message += ". See {url}"
		}
		if o, ok := p.Override[r.Name]; ok {
			r.Action, r.Score = o.Action, o.Score
			r.answer(o)
		}
		if r.Action != Off {
			c.active = append(c.active, r)
		}
	}
	p.inForce.Store(c)
	return c
}

// answer takes over what o says to the sender.
func (r *Rule) answer(o Rule) {
	if o.Code != 0 {
		r.Code, r.Detail = o.Code, o.Detail
	}
	if o.Message != "" {
		r.Message = o.Message
	}
}

// Hit is a rule that matched; its evidence is for the log, never for the sender.
type Hit struct {
	Rule     Rule
	Evidence string
}

// Verdict is the outcome for one greeting, and recipient where Facts has one.
type Verdict struct {
	Action Action // what to do
	Would  Action // the same without Policy.Ceiling
	Score  int
	Hits   []Hit // strongest first

	refusable int // the part of Score that counts towards RejectScore
}

// Evaluate judges: the same facts always get the same verdict.
func (p *Policy) Evaluate(f *Facts) (v Verdict) {
	for _, r := range p.compile().active {
		if !r.when(f) {
			continue
		}
		if evidence, hit := r.Match(f); hit {
			v.add(Hit{*r, evidence}, f)
		}
	}
	v.Would = max(v.Would, p.byScore(v.Score, v.refusable))
	v.Action = v.Would
	if p.Ceiling != Off {
		v.Action = min(v.Action, p.Ceiling)
	}
	slices.SortStableFunc(v.Hits, func(a, b Hit) int {
		return cmp.Or(cmp.Compare(b.Rule.Action, a.Rule.Action), b.Rule.Score-a.Rule.Score)
	})
	return v
}

func (v *Verdict) add(h Hit, f *Facts) {
	switch h.Rule.Name {
	case "deny_name":
		h.Rule.answer(f.Denied.Value)
	case "listed":
		h.Rule.Action, h.Rule.Score = strongest(h.Rule, f.Listed.Value)
	}
	v.Hits = append(v.Hits, h)
	v.Would = max(v.Would, h.Rule.Action)
	if h.Rule.Action == Score || h.Rule.Name == "listed" {
		v.Score += h.Rule.Score
		v.refusable += h.Rule.refusable()
	}
}

// refusable returns the points of r that may lead to a refusal (RFC 5321, 4.1.4).
func (r *Rule) refusable() int {
	if r.NoReject {
		return 0
	}
	return r.Score
}

func (p *Policy) byScore(score, refusable int) Action {
	switch {
	case p.RejectScore > 0 && refusable >= p.RejectScore:
		return Reject
	case p.QuarantineScore > 0 && score >= p.QuarantineScore:
		return Quarantine
	default:
		return Off
	}
}

// Needs returns the facts not asked for yet that could still change the verdict.
func (p *Policy) Needs(f *Facts) (need Need) {
	known, rules := f.asked(), p.compile().active
	if !slices.ContainsFunc(rules, func(r *Rule) bool { return r.lacks(f, known) }) {
		return 0
	}
	var firm, open Verdict // what nothing unknown can change; what may come on top
	var openNeed Need
	for _, r := range rules {
		if r.Action < Score || !r.when(f) {
			continue
		}
		if missing := r.Needs &^ known; missing == 0 {
			if _, hit := r.Match(f); hit {
				firm.add(Hit{Rule: *r}, f)
			}
		} else if r.Action == Score {
			open.Score, open.refusable = open.Score+r.Score, open.refusable+r.refusable()
			openNeed |= missing
		}
	}
	best := max(firm.Would, p.byScore(firm.Score, firm.refusable))
	for _, r := range rules {
		// A list may have an action of its own, stronger than the rule's.
		own := r.Name == "listed" && best < Reject
		if (own || r.Action > max(best, Score)) && r.when(f) {
			need |= r.Needs &^ known
		}
	}
	if p.byScore(firm.Score+open.Score, firm.refusable+open.refusable) > best {
		need |= openNeed
	}
	return need
}

// lacks reports whether a fact that is not known could make r count. The action of a list that
// holds the name may be stronger than that of rule listed.
func (r *Rule) lacks(f *Facts, known Need) bool {
	return r.Needs&^known != 0 && (r.Action >= Score || r.Name == "listed") && r.when(f)
}

// Reply is what the sender gets to read (RFC 5321, 4.2; RFC 3463).
type Reply struct {
	Code     int
	Enhanced [3]int
	Text     string // one line of printable ASCII
}

const (
	maxSaid = 64 // octets of the client's name that a reply repeats
	// A reply line has 512 octets (RFC 5321, 4.5.3.1.5), less code, enhanced code, CRLF and what
	// Maddy adds: " (msg ID = 01234567)".
	maxText = 460
)

// Reply answers a client who said n and got v; it is zero when nothing hit.
func (p *Policy) Reply(v Verdict, n heloname.Name) Reply {
	if len(v.Hits) == 0 {
		return Reply{}
	}
	r, url := &v.Hits[0].Rule, ""
	if p.HelpURL != "" {
		url = p.HelpURL + "#" + r.Name
	}
	text := strings.NewReplacer("{helo}", heloname.Clean(n.Raw, maxSaid),
		"{problem}", n.Problem, "{rule}", r.Name, "{url}", url).Replace(r.Message)
	return Reply{r.Code, [3]int{r.Code / 100, r.Detail[0], r.Detail[1]}, heloname.Line(text, maxText)}
}
