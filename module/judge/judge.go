// Package judge decides about one SMTP session: it asks the DNS and the operator's tables for
// facts, lets a policy of package checkhelo evaluate them, and turns the verdicts about single
// recipients (RFC 5321, 4.1.1.3) into one outcome for the message. The server and every command of
// the tool make the same four calls:
//
//	s := j.Greet(ctx, judge.Conn{Helo: "mail.example.org", Client: client})
//	o := s.Rcpt(ctx, user, from, "postmaster@example.org")
//	o = s.Message(ctx)
//	r := j.Reply(&o) // zero: accepted
package judge

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/flood"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/memory"
)

// Judge holds the settings of one check. Its fields must not change after the first Greet; all
// methods are then safe for concurrent use.
type Judge struct {
	Policy *checkhelo.Policy
	Self   checkhelo.Self
	Lists  *heloname.Lists // nil: the built-in lists

	Exempt     exempt.List  // with the clock, and who learns of a failed table of any directive
	DenyNames  exempt.Table // nil: none
	DenyHosts  exempt.Table // nil: none
	Recipients exempt.Table // recipient_policy; nil: none

	Echo   exempt.Recipients         // addresses whose mail is answered with what hits
	echoes flood.Count[netip.Prefix] // answers in a minute to a network; the zero Prefix has all

	AtEHLO   bool // refuse the greeting itself
	TempFail bool // answer 451 where a failed lookup leaves the verdict open

	Gatherer *dnsfacts.Gatherer

	Memory     *memory.Memory  // nil: off
	KnownAfter checkhelo.Known // the least grade of a known sender

	policies sync.Map // of recipient_policy, by value: *checkhelo.Policy
}

// Conn is one greeting as the mail server sees it. Zero fields are unknown.
type Conn struct {
	Helo   string
	Client netip.Addr
	Local  netip.Addr // the listener's address
	// Remote identifies the connection; a new greeting of the same connection ends the lookups of
	// the old one.
	Remote netip.AddrPort
	// AtRcpt: the verdict follows at once, so that no lookup goes ahead of it.
	AtRcpt bool
	// Known has answers that are not to be looked up, and Self where it is not the Judge's.
	Known *checkhelo.Facts
	// Memory is that of this greeting where it is not the Judge's.
	Memory *memory.Memory
}

// Session is one greeting and at most one message that follows it. Its methods must not run at the
// same time; those of a Next may.
type Session struct {
	*greeting

	domain string // of the last recipient judged
	last   Outcome

	has  [fates]bool
	kept [fates]Outcome // one of each fate: see keep

	own, clean int // recipients accepted by the Judge's policy; those that make the sender known
}

// A fate is what happens to a message to one recipient.
type fate uint8

const (
	taken    fate = iota
	exempted      // taken unjudged
	waits         // told to wait, also the null sender, which hears it at DATA
	later         // a lookup failed
	refused
	echoed // an address in Judge.Echo
	fates
)

// greeting is the part of a session that all its messages share.
type greeting struct {
	j       *Judge
	mu      sync.Mutex // messages of one session may be checked side by side in nested pipelines
	facts   checkhelo.Facts
	pending *dnsfacts.Pending // nil: no lookup is ahead
	network string            // exemption of the network; "" for none
	early   *Outcome          // refusal of the greeting itself; nil: none

	// Tables and memory are asked once a session.
	hostsAsked, proofAsked, knownAsked bool

	why    string         // exemption by proof; "" for none
	open   bool           // exempt_names has the name, and a failed lookup may have proved it
	memory *memory.Memory // nil: off
	known  checkhelo.Known
}

// Outcome is the decision about a greeting, a recipient or a message.
type Outcome struct {
	checkhelo.Verdict
	Exempt   string          // reason why the client passes unjudged; "" for none
	TryLater bool            // 451: a lookup failed, and dns_error_action is tempfail
	Known    checkhelo.Known // of the sender, where it could change the verdict
	Wait     memory.Wait     // of a message that was to wait

	policy *checkhelo.Policy // nil: not judged
	said   *heloname.Name
	echo   bool            // of an address in Judge.Echo
	reply  checkhelo.Reply // in place of the policy's; zero: none
}

// Refused reports whether the client gets a 4xx or 5xx reply.
func (o *Outcome) Refused() bool { return o.Action == checkhelo.Reject || o.reply.Code != 0 }

// Waits reports whether the client is told to try again after a greylist delay.
func (o *Outcome) Waits() bool { return o.Wait.Left > 0 && o.Action == checkhelo.Greylist }

// Word names the outcome in logs, headers and JSON.
func (o *Outcome) Word() string {
	word, _ := o.words()
	return word
}

// Rule returns the rule that decided, "none" where no rule hit and "dns_error" for TryLater.
func (o *Outcome) Rule() string {
	_, rule := o.words()
	return rule
}

func (o *Outcome) words() (word, rule string) {
	switch {
	case o.Exempt != "":
		return "exempt", "none"
	case o.echo:
		return "echo", "echo"
	case o.TryLater:
		return "tempfail", "dns_error"
	case len(o.Hits) == 0:
		return "none", "none"
	default:
		return o.Action.String(), o.Hits[0].Rule.Name
	}
}

// Greet parses a greeting and begins the lookups (RFC 5321, 4.1.1.1). With AtEHLO it judges the
// greeting: Early of the session is then the refusal, if any.
func (j *Judge) Greet(ctx context.Context, c Conn) *Session {
	both := &struct { // one allocation
		Session
		own greeting
	}{own: greeting{j: j}}
	s, g := &both.Session, &both.own
	s.greeting = g
	f := &g.facts
	if c.Known != nil {
		*f = *c.Known
	}
	// An SMTP server hands on the text before the first space.
	f.Helo, f.Client, f.Local = heloname.Parse(c.Helo), c.Client, c.Local
	f.Lists = j.Lists
	if f.Self == nil {
		f.Self = &j.Self
	}
	switch g.network = j.Exempt.Client(f.Client, ""); {
	case g.network != "", c.AtRcpt:
	case j.AtEHLO: // memory is not read yet
		if o := g.judge(ctx, j.Policy, ""); o.Action == checkhelo.Reject {
			g.early = &o
		}
	default:
		if need := j.need(f, j.Policy); need != 0 {
			g.pending = j.Gatherer.Start(f, need, c.Remote)
		}
	}
	g.memory = cmp.Or(c.Memory, j.Memory)
	return s
}

// Early returns the refusal of the greeting itself; nil for none.
func (s *Session) Early() *Outcome { return s.early }

// Facts returns what is known about the greeting. It must not be changed, and is complete only
// after Rcpt.
func (s *Session) Facts() *checkhelo.Facts { return &s.facts }

// Next returns the session for one more message after the same greeting.
func (s *Session) Next() Session { return Session{greeting: s.greeting} }

// Rcpt judges one recipient (RFC 5321, 4.1.1.3), an address or a domain; user is the login, from
// the address of MAIL FROM.
func (s *Session) Rcpt(ctx context.Context, user, from, rcpt string) Outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.j.Echo.Contains(rcpt) {
		o := s.answer(ctx, rcpt)
		s.keep(echoed, &o)
		return o
	}
	o := s.rcpt(ctx, user, rcpt)
	reply := o.reply
	s.hold(ctx, from, rcpt, &o)
	s.remember(&o)
	if o.Waits() {
		s.keep(waits, &o)
		if from != "" {
			return o
		}
		// The null sender waits at DATA, so that callouts pass.
		o.Action, o.reply = checkhelo.Score, reply
	}
	switch {
	case o.TryLater:
		s.keep(later, &o)
	case o.Refused():
		s.keep(refused, &o)
	case o.Exempt != "":
		s.keep(exempted, &o)
	default:
		s.keep(taken, &o)
		s.judgedOwn(&o)
	}
	return o
}

// keep notes an outcome for Message: the mildest where the recipient was accepted, the last
// exemption, otherwise the first of a fate.
func (s *Session) keep(f fate, o *Outcome) {
	if !s.has[f] || f == exempted || f == taken && o.Action < s.kept[f].Action {
		s.has[f], s.kept[f] = true, *o
	}
}

func (s *Session) rcpt(ctx context.Context, user, rcpt string) Outcome {
	j := s.j
	if s.early != nil {
		return *s.early
	}
	if why := cmp.Or(s.network, j.Exempt.Client(s.facts.Client, user)); why != "" {
		return Outcome{Exempt: why}
	}
	if strings.Contains(rcpt, ".") && !strings.Contains(rcpt, "@") {
		rcpt = "unknown@" + rcpt
	}
	if why := j.Exempt.Recipient(ctx, rcpt); why != "" {
		return Outcome{Exempt: why}
	}
	p, why := j.policyFor(ctx, rcpt)
	if why != "" {
		return Outcome{Exempt: why}
	}
	if _, domain := exempt.SplitAddress(rcpt); s.last.policy != p || s.domain != domain {
		s.last, s.domain = s.judge(ctx, p, domain), domain
	}
	return s.last
}

// Message returns the outcome for the whole message, after its recipients (RFC 5321, 4.1.1.4).
//
// Maddy asks a check only once about a recipient: one that is refused and then given again passes
// unseen. A message with no accepted recipient is therefore refused here, and one with refused and
// accepted recipients is quarantined. A quarantine belongs to the whole message: without a refusal
// it happens only where every judged recipient asks for it.
func (s *Session) Message(context.Context) Outcome {
	switch {
	case s.early != nil:
		return *s.early
	case s.has[exempted] && !s.has[taken]:
		return s.kept[exempted]
	case s.has[waits]:
		return s.kept[waits]
	case s.has[refused] && s.has[taken]:
		o := s.kept[refused]
		o.Action = checkhelo.Quarantine
		return o
	}
	for _, f := range [...]fate{refused, taken, later} {
		if s.has[f] {
			return s.kept[f]
		}
	}
	return s.kept[echoed] // zero: there was no recipient
}

// Survive counts a recipient as accepted that a broken check could not judge.
func (s *Session) Survive() { s.keep(exempted, &Outcome{Exempt: "panic"}) }

// Reply returns the reply to the client; it is zero when the client is accepted.
func (*Judge) Reply(o *Outcome) checkhelo.Reply {
	if !o.Refused() {
		return checkhelo.Reply{}
	}
	return o.WouldReply()
}

// WouldReply returns the reply that the client would get without Policy.Ceiling and for quarantine
// too: the text that names the fault. It is zero when no rule hit.
func (o *Outcome) WouldReply() checkhelo.Reply {
	if o.reply.Code != 0 || o.policy == nil {
		return o.reply
	}
	return o.policy.Reply(o.Verdict, *o.said)
}

// dnsFailed is the reply of TryLater. RFC 3463, 3.5: x.4.3 is a failure of a directory server.
var dnsFailed = checkhelo.Reply{Code: 451, Enhanced: [3]int{4, 4, 3},
	Text: "Temporary DNS failure while looking up the name and address of your server, try again" +
		" later"}

// judge returns the outcome for one recipient's domain, "" before RCPT TO.
func (g *greeting) judge(ctx context.Context, p *checkhelo.Policy, domain string) Outcome {
	j, f := g.j, &g.facts
	f.Rcpt = domain
	g.askDenyNames(ctx)
	g.gather(ctx, p)
	if !g.hostsAsked {
		g.askDenyHosts(ctx, p)
		g.hostsAsked = true
	}
	g.askNeighbours(ctx, p)
	o := Outcome{Verdict: p.Evaluate(f), policy: p, said: &f.Helo}
	open := j.TempFail && o.Action < checkhelo.Reject && p.Doubt(f) != 0
	if o.Would < checkhelo.Score && !open {
		return o
	}
	if !g.proofAsked {
		g.why, g.open = j.exemptByProof(ctx, f)
		g.proofAsked = true
	}
	switch {
	case g.why == whyDNSWLFailed:
		o.Verdict = p.Evaluate(withoutDNS(f))
	case g.why != "":
		return Outcome{Exempt: g.why}
	}
	g.lift(ctx, p, &o)
	if open || j.TempFail && g.open && o.Action >= checkhelo.Greylist {
		o.TryLater, o.reply = true, dnsFailed
	}
	return o
}

// need returns the facts worth a lookup: those that the policy can use, and proof for the
// operator's tables.
func (j *Judge) need(f *checkhelo.Facts, p *checkhelo.Policy) checkhelo.Need {
	if !j.asks() {
		return 0
	}
	need := p.Needs(f) &^ checkhelo.NeedMemory
	if j.Exempt.Names != nil || j.Exempt.Clients != nil {
		need |= checkhelo.NeedProof
	}
	if j.DenyHosts != nil {
		need |= checkhelo.NeedForward
	}
	return need
}

// asks reports whether there is a DNS server to ask.
func (j *Judge) asks() bool { return j.Gatherer != nil && j.Gatherer.Exchange != nil }

// rounds bounds the lookups that depend on earlier answers.
const rounds = 3

// gather waits for the facts that the verdict needs, at most Gatherer.Timeout.
func (g *greeting) gather(ctx context.Context, p *checkhelo.Policy) {
	var asked checkhelo.Need
	for range rounds {
		need := g.j.need(&g.facts, p) &^ asked
		if need == 0 {
			return
		}
		asked |= need
		if g.pending != nil {
			g.pending.Wait(ctx, &g.facts, need)
		} else {
			g.j.Gatherer.Fill(ctx, &g.facts, need)
		}
	}
}

// withoutDNS returns f with every lookup failed: only faults of the greeting itself are left.
func withoutDNS(f *checkhelo.Facts) *checkhelo.Facts {
	rest := *f
	for _, state := range [...]*checkhelo.State{&rest.Forward.State, &rest.MX.State,
		&rest.PTR.State, &rest.Confirmed.State, &rest.TLD.State, &rest.SPF.State, &rest.Listed.State} {
		*state = checkhelo.Failed
	}
	return &rest
}

func (g *greeting) sender() memory.Sender {
	f := &g.facts
	return memory.Sender{Helo: f.Helo, Client: f.Client, Confirmed: f.Confirmed.Value, Lists: f.Lists}
}

// askNeighbours sets the fact Neighbours where it can still change the verdict.
func (g *greeting) askNeighbours(ctx context.Context, p *checkhelo.Policy) {
	f := &g.facts
	if g.memory == nil || f.Neighbours.State != checkhelo.NotAsked ||
		p.Needs(f)&checkhelo.NeedMemory == 0 {
		return
	}
	f.Neighbours = g.memory.Neighbours(ctx, g.sender())
}

// lift sets the verdict for a sender that memory knows.
func (g *greeting) lift(ctx context.Context, p *checkhelo.Policy, o *Outcome) {
	if g.memory == nil || o.Would != checkhelo.Greylist && o.Would != checkhelo.Quarantine {
		return
	}
	if !g.knownAsked {
		g.known, _ = g.memory.Known(ctx, g.sender()) // a failure knows nobody
		g.knownAsked = true
	}
	if o.Known = g.known; o.Known >= g.j.KnownAfter {
		o.Verdict = p.Lift(o.Verdict, o.Known)
	}
}

// hold lets the message to one recipient wait where the verdict is greylist (RFC 6647). A wait that
// cannot be kept is no wait.
func (g *greeting) hold(ctx context.Context, from, rcpt string, o *Outcome) {
	if o.Action != checkhelo.Greylist {
		return
	}
	var err error
	if o.Wait, err = g.memory.Wait(ctx, g.sender(), from, rcpt); err != nil {
		g.j.Exempt.Report("memory", err)
	}
	if o.Wait.Left <= 0 {
		o.Action = checkhelo.Score
		return
	}
	text := fmt.Sprintf("Your server is new here, and something is unusual (%s). Your message is not"+
		" lost: your server tries again by itself, and after %s it is accepted", o.Rule(),
		o.Wait.Left.Round(time.Second))
	if url := o.policy.HelpURL; url != "" {
		text += ". See " + url + "#wait"
	}
	// RFC 3463, 3.8: x.7.1 is a refusal by policy, here of this attempt.
	o.reply = checkhelo.Reply{Code: 451, Enhanced: [3]int{4, 7, 1},
		Text: heloname.Line(text, checkhelo.MaxText)}
}

// remember records that the session got to RCPT, and whether a recipient was accepted.
func (g *greeting) remember(o *Outcome) {
	if o.Exempt == "" && g.early == nil {
		g.memory.Greet(g.sender(), o.Would < checkhelo.Reject && !o.Refused())
	}
}

// judgedOwn counts the verdict for an accepted recipient. It makes the sender known where it was
// pass before ceiling and exemption, or the message has waited, and no lost fact could have changed
// it.
func (s *Session) judgedOwn(o *Outcome) {
	if o.policy != s.j.Policy {
		return
	}
	s.own++
	waited := o.Wait.Result == memory.WaitOver && o.Would == checkhelo.Greylist
	if (o.Would < checkhelo.Greylist || waited) && o.policy.Doubt(&s.facts) == 0 {
		s.clean++
	}
}

// Accepted records the sender of a message that every check and target took: call it once the
// message is closed after the check of its body. It counts when this server's own policy judged a
// recipient, and all those verdicts make the sender known.
func (s *Session) Accepted() {
	if s.own == 0 || s.clean < s.own {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory.Accept(s.sender())
}
