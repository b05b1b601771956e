// Package judge decides about one SMTP session: it asks the DNS and the
// operator's tables for facts, lets a policy of package checkhelo evaluate
// them, and turns the verdicts about single recipients (RFC 5321, 4.1.1.3) into
// one outcome for the message. The server and every command of the tool make
// the same four calls:
//
//	s := j.Greet(ctx, judge.Conn{Helo: "mail.example.org", Client: client})
//	o := s.Rcpt(ctx, user, from, "postmaster@example.org")
//	o = s.Message(ctx)
//	r := j.Reply(&o) // zero: accepted
package judge

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/idna"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/memory"
)

// Judge holds the settings of one check. Its fields must not change after the first Greet; all
// methods are then safe for concurrent use.
type Judge struct {
	Policy *checkhelo.Policy
	Self   checkhelo.Self
	Lists  *heloname.Lists // nil: the built-in lists

	Plain      exempt.List  // exemptions that need no DNS
	Tables     exempt.List  // exemptions looked up only for a greeting with a fault
	DenyNames  exempt.Table // nil: none
	DenyHosts  exempt.Table // nil: none
	Recipients exempt.Table // recipient_policy; nil: none

	Echo   exempt.Recipients // addresses whose mail is answered with what hits
	echoes echoes

	AtEHLO   bool // refuse the greeting itself
	TempFail bool // answer 451 where a failed lookup leaves the verdict open

	Gatherer *dnsfacts.Gatherer
	// OwnPTR: the server's own PTR lookup asks the same DNS servers, so that its result counts.
	OwnPTR bool

	// OnTable learns of a table that failed or has a value that is no reply; err is nil for a list
	// in the DNS that did not answer.
	OnTable func(table string, err error)

	KnownAfter checkhelo.Known // the least grade of a known sender

	memory atomic.Pointer[memory.Memory] // nil: off; set when the server starts

	Clock func() time.Time // nil: time.Now

	watching sync.Once // of Explain
	watcher  atomic.Pointer[func(qtype, result string, took time.Duration)]

	policies sync.Map // of recipient_policy, by value: *checkhelo.Policy
}

func (j *Judge) now() time.Time {
	if j.Clock == nil {
		return time.Now()
	}
	return j.Clock()
}

// Conn is one greeting as the mail server sees it. Zero fields are unknown.
type Conn struct {
	Helo   string
	Client netip.Addr
	Local  netip.Addr // the listener's address
	// Remote identifies the connection; a new greeting of the same connection ends the lookups of
	// the old one.
	Remote netip.AddrPort
	// PTR returns the result of the server's own PTR lookup if it has ended; "" is "no PTR record".
	PTR func() (name string, ended bool)
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

	taken   int // judged recipients that were accepted
	exempt  string
	mildest Outcome // of the judged recipients that were accepted
	refused Outcome // the first refusal; no policy: none
	later   Outcome // the first one whose lookup failed
	waits   Outcome // the first one that has to wait
	echoed  Outcome // the first answer of an address in Echo
	clean   bool    // a verdict that makes the sender known
	unclean bool    // a verdict that does not
}

// greeting is the part of a session that all its messages share.
type greeting struct {
	j       *Judge
	mu      sync.Mutex // messages of one session may be checked side by side in nested pipelines
	facts   checkhelo.Facts
	pending *dnsfacts.Pending // nil: no lookup is ahead
	ptr     func() (string, bool)
	network string  // exemption of the network; "" for none
	early   Outcome // reply to the greeting itself, where Early is set

	// The operator's tables are asked once a session.
	hostsAsked, proofAsked bool
	proof                  proof
	own                    *memory.Memory // nil: the Judge's
	memory                 remembered
	atEHLO                 bool // the greeting itself is judged: memory is not read
}

// Outcome is the decision about a greeting, a recipient or a message.
type Outcome struct {
	checkhelo.Verdict
	Exempt   string          // reason why the client passes unjudged; "" for none
	TryLater bool            // 451: a lookup failed, and dns_error_action is tempfail
	Early    bool            // the reply to EHLO
	Known    checkhelo.Known // of the sender, where it could change the verdict
	Wait     memory.Wait     // of a message that was to wait

	policy *checkhelo.Policy
	said   heloname.Name
	echo   checkhelo.Reply // of an address in Judge.Echo; zero: another recipient
}

// Refused reports whether the client gets a 4xx or 5xx reply.
func (o *Outcome) Refused() bool {
	refused := o.Action == checkhelo.Reject || o.echo.Code != 0
	return o.Exempt == "" && (refused || o.TryLater || o.Waits())
}

// Waits reports whether the client is told to try again after a greylist delay.
func (o *Outcome) Waits() bool { return o.Wait.Left > 0 && o.Action == checkhelo.Greylist }

// Word names the outcome in logs, headers and JSON.
func (o *Outcome) Word() string {
	switch {
	case o.Exempt != "":
		return "exempt"
	case o.echo.Code != 0:
		return "echo"
	case o.TryLater:
		return "tempfail"
	case len(o.Hits) == 0:
		return "none"
	default:
		return o.Action.String()
	}
}

// Rule returns the rule that decided, "none" where no rule hit and "dns_error" for TryLater.
func (o *Outcome) Rule() string {
	switch {
	case o.echo.Code != 0:
		return "echo"
	case o.TryLater:
		return "dns_error"
	case len(o.Hits) == 0:
		return "none"
	default:
		return o.Hits[0].Rule.Name
	}
}

// Greet parses a greeting and begins the lookups (RFC 5321, 4.1.1.1). With AtEHLO it judges the
// greeting: Early of the session is then the refusal, if any.
func (j *Judge) Greet(ctx context.Context, c Conn) *Session {
	both := &struct {
		Session
		own greeting
	}{own: greeting{j: j, ptr: c.PTR, own: c.Memory}}
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
	var exempt bool
	if g.network, exempt = j.Plain.Conn(ctx, f.Client, "", ""); exempt {
		return s
	}
	if c.AtRcpt {
		return s
	}
	if !j.AtEHLO {
		if need := j.need(f, j.Policy); need != 0 {
			g.pending = j.Gatherer.Start(f, need, c.Remote)
		}
		return s
	}
	g.atEHLO = true
	g.early = g.judge(ctx, j.Policy, "")
	g.early.Early, g.atEHLO = g.early.Action == checkhelo.Reject, false
	return s
}

// Early returns the refusal of the greeting itself; nil for none.
func (s *Session) Early() *Outcome {
	if !s.early.Early {
		return nil
	}
	return &s.early
}

// Facts returns what is known about the greeting. It must not be changed, and is complete only
// after Rcpt.
func (s *Session) Facts() *checkhelo.Facts { return &s.facts }

// Next returns the session for one more message after the same greeting.
func (s *Session) Next() Session { return Session{greeting: s.greeting} }

// Rcpt judges one recipient (RFC 5321, 4.1.1.3), an address or a domain; user is the login, from
// the address of MAIL FROM.
func (s *Session) Rcpt(ctx context.Context, user, from, rcpt string) Outcome {
	if s.j.Echo.Contains(rcpt) {
		o := s.echo(ctx, rcpt)
		s.echoed = o
		return o
	}
	o := s.rcpt(ctx, user, rcpt)
	s.hold(ctx, from, rcpt, &o)
	s.remember(&o)
	if o.Waits() && s.waits.policy == nil {
		s.waits = o
	}
	if from == "" && o.Waits() {
		o.Action = checkhelo.Score // the null sender waits at DATA, so that callouts pass
	}
	switch {
	case o.Waits():
	case o.TryLater:
		if s.later.policy == nil {
			s.later = o
		}
	case o.Refused():
		if s.refused.policy == nil {
			s.refused = o
		}
	case o.Exempt != "":
		s.exempt = o.Exempt
	default:
		s.judgedOwn(&o)
		if s.taken++; s.taken == 1 || o.Action < s.mildest.Action {
			s.mildest = o
		}
	}
	return o
}

func (s *Session) rcpt(ctx context.Context, user, rcpt string) Outcome {
	j, f := s.j, &s.facts
	if s.early.Early {
		return s.early
	}
	if s.network != "" {
		return s.pass(s.network)
	}
	if why, ok := j.Plain.Conn(ctx, f.Client, "", user); ok {
		return s.pass(why)
	}
	if rcpt != "" && strings.Contains(rcpt, ".") && !strings.Contains(rcpt, "@") {
		rcpt = unknownUser + rcpt
	}
	if why, ok := j.Plain.Recipient(ctx, rcpt); ok {
		return s.pass(why)
	}
	p, why := j.policyFor(ctx, rcpt)
	if why != "" {
		return s.pass(why)
	}
	domain := rcptDomain(rcpt)
	if s.last.policy != p || s.domain != domain {
		s.last, s.domain = s.judge(ctx, p, domain), domain
	}
	return s.last
}

// unknownUser stands before the domain of a recipient of which no more is known.
const unknownUser = "unknown@"

func (s *Session) pass(why string) Outcome { return Outcome{Exempt: why, said: s.facts.Helo} }

// Message returns the outcome for the whole message, after its recipients (RFC 5321, 4.1.1.4).
//
// Maddy asks a check only once about a recipient: one that is refused and then given again passes
// unseen. A message with no accepted recipient is therefore refused here, and one with refused and
// accepted recipients is quarantined. A quarantine belongs to the whole message: without a refusal
// it happens only where every judged recipient asks for it.
func (s *Session) Message(context.Context) Outcome {
	accepted := s.taken > 0 || s.exempt != ""
	switch {
	case s.early.Early:
		return s.early
	case s.waits.policy != nil && (s.taken > 0 || !accepted):
		return s.waits
	case s.refused.policy != nil && !accepted:
		return s.refused
	case s.refused.policy != nil && s.taken > 0:
		o := s.refused
		o.Action = checkhelo.Quarantine
		return o
	case s.later.policy != nil && !accepted:
		return s.later
	case s.taken > 0:
		return s.mildest
	case s.exempt != "":
		return s.pass(s.exempt)
	default:
		o := s.echoed // zero: there was no echo address
		o.said = s.facts.Helo
		return o
	}
}

// Survive counts a recipient as accepted that a broken check could not judge.
func (s *Session) Survive() { s.exempt = "panic" }

// Reply returns the reply to the client; it is zero when the client is accepted.
func (j *Judge) Reply(o *Outcome) checkhelo.Reply {
	switch {
	case !o.Refused():
		return checkhelo.Reply{}
	case o.echo.Code != 0:
		return o.echo
	case o.Waits():
		// RFC 3463, 3.8: x.7.1 is a refusal by policy, here of this attempt.
		return checkhelo.Reply{Code: 451, Enhanced: [3]int{4, 7, 1},
			Text: heloname.Line(waitText(o), checkhelo.MaxText)}
	case o.TryLater:
		// RFC 3463, 3.5: x.4.3 is a failure of a directory server.
		return checkhelo.Reply{Code: 451, Enhanced: [3]int{4, 4, 3}, Text: "Temporary DNS failure" +
			" while looking up the name and address of your server, try again later"}
	default:
		return o.policy.Reply(o.Verdict, o.said)
	}
}

// WouldReply returns the reply that the client would get without Policy.Ceiling and for quarantine
// too: the text that names the fault. It is zero when no rule hit.
func (j *Judge) WouldReply(o *Outcome) checkhelo.Reply {
	if o.TryLater || o.Waits() || o.policy == nil {
		return j.Reply(o)
	}
	return o.policy.Reply(o.Verdict, o.said)
}

// judge returns the outcome for one recipient's domain, "" before RCPT TO.
func (g *greeting) judge(ctx context.Context, p *checkhelo.Policy, domain string) Outcome {
	g.mu.Lock()
	defer g.mu.Unlock()
	j, f := g.j, &g.facts
	f.Rcpt = domain
	j.askDenyNames(ctx, f)
	g.gather(ctx, p)
	if !g.hostsAsked {
		g.askDenyHosts(ctx, p)
		g.hostsAsked = true
	}
	g.askNeighbours(ctx, p)
	o := Outcome{Verdict: p.Evaluate(f), policy: p, said: f.Helo}
	open := j.TempFail && o.Action < checkhelo.Reject && p.Doubt(f) != 0
	if o.Would < checkhelo.Score && !open {
		return o
	}
	if !g.proofAsked {
		g.proof = j.exemptByProof(ctx, f)
		g.proofAsked = true
	}
	switch {
	case g.proof.why == whyDNSWLFailed:
		o.Verdict = p.Evaluate(withoutDNS(f))
	case g.proof.why != "":
		return Outcome{Exempt: g.proof.why, said: f.Helo}
	}
	g.lift(ctx, p, &o)
	o.TryLater = open || j.TempFail && g.proof.open && o.Action >= checkhelo.Greylist
	return o
}

// asks reports whether there is a DNS server to ask.
func (j *Judge) asks() bool { return j.Gatherer != nil && j.Gatherer.Exchange != nil }

// need returns the facts worth a lookup: those that the policy can use, and proof for the
// operator's tables.
func (j *Judge) need(f *checkhelo.Facts, p *checkhelo.Policy) checkhelo.Need {
	if !j.asks() {
		return 0
	}
	need := p.Needs(f) &^ checkhelo.NeedMemory
	if j.Tables.Names != nil || j.Tables.Clients != nil {
		need |= checkhelo.NeedProof
	}
	if j.DenyHosts != nil {
		need |= checkhelo.NeedForward
	}
	return need
}

// rounds bounds the lookups that depend on earlier answers.
const rounds = 3

// gather waits for the facts that the verdict needs, at most Gatherer.Timeout.
func (g *greeting) gather(ctx context.Context, p *checkhelo.Policy) {
	j, f := g.j, &g.facts
	if g.pending == nil && j.OwnPTR {
		g.takePTR()
	}
	var asked checkhelo.Need
	for range rounds {
		need := j.need(f, p) &^ asked
		if need == 0 {
			return
		}
		asked |= need
		if g.pending != nil {
			g.pending.Wait(ctx, f, need)
		} else {
			j.Gatherer.Fill(ctx, f, need)
		}
	}
}

// takePTR uses the server's own PTR lookup where it has ended and suffices: there is no PTR record,
// or its first name is the HELO name.
func (g *greeting) takePTR() {
	f := &g.facts
	if g.ptr == nil || f.PTR.State != checkhelo.NotAsked {
		return
	}
	name, ended := g.ptr()
	if !ended {
		return
	}
	switch name = strings.ToLower(name); name {
	case "":
		f.PTR.State, f.Confirmed.State = checkhelo.NotFound, checkhelo.NotFound
	case f.Helo.ASCII:
		f.PTR = checkhelo.Answer[[]string]{State: checkhelo.Found, Value: []string{name}}
	}
}

// withoutDNS returns f with every lookup failed: only faults of the greeting itself are left.
func withoutDNS(f *checkhelo.Facts) *checkhelo.Facts {
	rest := *f
	rest.Forward.State, rest.MX.State = checkhelo.Failed, checkhelo.Failed
	rest.PTR.State, rest.Confirmed.State = checkhelo.Failed, checkhelo.Failed
	rest.TLD.State, rest.SPF.State = checkhelo.Failed, checkhelo.Failed
	rest.Listed.State = checkhelo.Failed
	return &rest
}

// rcptDomain returns the domain of an address in lower-case A-labels without a final dot, which
// go-smtp lets through; "" when it has none.
func rcptDomain(rcpt string) string {
	domain := rcpt[strings.LastIndexByte(rcpt, '@')+1:]
	if len(domain) == len(rcpt) {
		return ""
	}
	domain = strings.TrimSuffix(strings.ToLower(domain), ".")
	if heloname.Line(domain, len(domain)) == domain {
		return domain
	}
	ascii, err := idna.ToASCII(domain)
	if err != nil {
		return ""
	}
	return ascii
}
