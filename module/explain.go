package module

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
)

// Policy returns the rules in force. It must not be changed.
func (c *Check) Policy() *checkhelo.Policy { return c.policy }

// Self returns what the server calls its own. It must not be changed.
func (c *Check) Self() *checkhelo.Self { return &c.self }

// UseDNS asks these servers, each "host:port", instead of the configured ones.
func (c *Check) UseDNS(servers []string) {
	c.gatherer.Exchange = dnsfacts.NewClient(servers).Exchange
}

// NoDNS lets the check ask nobody: facts that its caller does not give stay NotAsked.
func (c *Check) NoDNS() {
	c.gatherer.Exchange, c.gatherer.Allowlists = nil, nil
}

// Outcome is what becomes of the mail for one recipient.
type Outcome struct {
	checkhelo.Verdict
	Exempt   string // why it passes all the same; "" when it does not
	TryLater bool   // 451: a look-up failed, and dns_error_action is tempfail
}

// Refused reports whether RCPT TO gets a 4xx or 5xx reply.
func (o *Outcome) Refused() bool {
	return o.Exempt == "" && (o.TryLater || o.Action == checkhelo.Reject)
}

// unknownUser stands before the domain of a recipient of whom no more is known.
const unknownUser = "unknown@"

// Judge is the server's judgement on a greeting, the login and the recipient
// ("" for none) beside it. Answers that f has are taken as they are. What f
// lacks of Self and Lists, and facts that the policy needs, are added to f.
func (c *Check) Judge(ctx context.Context, f *checkhelo.Facts, user, rcpt string) Outcome {
	if f.Self == nil {
		f.Self = &c.self
	}
	f.Lists = c.lists
	if why, ok := c.plain.Conn(ctx, f.Client, "", user); ok {
		return Outcome{Exempt: why}
	}
	if rcpt != "" && strings.Contains(rcpt, ".") && !strings.Contains(rcpt, "@") {
		rcpt = unknownUser + rcpt // all that is known is the domain
	}
	if why, ok := c.plain.Recipient(ctx, rcpt); ok {
		return Outcome{Exempt: why}
	}
	s := session{facts: *f}
	o := c.judge(ctx, &s, rcptDomain(rcpt))
	*f = s.facts
	return Outcome{o.Verdict, o.exempt, o.unsure}
}

// Reply returns what RCPT TO is answered with; it is zero when it is accepted.
func (c *Check) Reply(o Outcome, f *checkhelo.Facts) checkhelo.Reply {
	switch {
	case !o.Refused():
		return checkhelo.Reply{}
	case o.TryLater:
		later := c.tryLater(f)
		return checkhelo.Reply{Code: later.Code, Enhanced: later.EnhancedCode, Text: later.Message}
	default:
		return c.policy.Reply(o.Verdict, f.Helo)
	}
}

// Query is one greeting to explain.
type Query struct {
	Helo   string
	Client netip.Addr // not valid: rules that need it are not asked
	Local  netip.Addr // the listener's address; not valid: unknown
	Rcpts  []string   // none: as before RCPT TO
	User   string     // who logged in; "" for nobody
}

// Question is one question that was asked in the DNS.
type Question struct {
	Type   string // of the record
	Result string // one of the Kind constants of package dnsfacts
	Took   time.Duration
}

// RuleState tells what one rule made of a greeting.
type RuleState struct {
	checkhelo.Rule
	State    string // StateHit, StateMiss, StateNotAsked or StateOff
	Evidence string // of a hit
}

// The states of a rule. Not asked means that its facts were not looked up: they could not change
// the verdict any more, or there is no client's address, or no DNS.
const (
	StateHit      = "hit"
	StateMiss     = "no hit"
	StateNotAsked = "not asked"
	StateOff      = "off"
)

// RcptOutcome is the judgement for one recipient.
type RcptOutcome struct {
	Rcpt string // "" when the query names none
	Outcome
	Reply checkhelo.Reply // zero when it is accepted
	Rules []RuleState     // in the order of the table; nil when exempt without judgement
}

// Explanation is all that there is to tell about a Query.
type Explanation struct {
	Facts      checkhelo.Facts // after the last recipient
	Recipients []RcptOutcome   // at least one
	Deciding   int             // index of the recipient with the strongest outcome
	// Action is what becomes of a message for all the recipients, as state.CheckBody has it: one
	// that some of them refuse goes to the Junk folder of the others.
	Action    checkhelo.Action
	Questions []Question // in the order of their answers
}

// Explain judges as the server does and tells everything about it. Only one may run at a time.
func (c *Check) Explain(ctx context.Context, q Query) Explanation {
	var e Explanation
	var mu sync.Mutex
	c.gatherer.Observe = func(qtype, result string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		e.Questions = append(e.Questions, Question{qtype, result, took})
	}
	whole := c.policy
	if !q.Client.IsValid() {
		c.policy = withoutClient(whole)
		defer func() { c.policy = whole }()
	}
	// Maddy's SMTP library hands on what stands before the first space.
	helo, _, _ := strings.Cut(strings.TrimSpace(q.Helo), " ")
	c.greeted(&e.Facts, helo, q.Client, q.Local)
	if len(q.Rcpts) == 0 {
		q.Rcpts = []string{""}
	}
	for _, rcpt := range q.Rcpts {
		o := RcptOutcome{Rcpt: rcpt, Outcome: c.Judge(ctx, &e.Facts, q.User, rcpt)}
		o.Reply = c.Reply(o.Outcome, &e.Facts)
		if o.Exempt == "" {
			o.Rules = ruleStates(whole, o.Verdict, &e.Facts)
		}
		e.Recipients = append(e.Recipients, o)
	}
	e.sumUp()
	mu.Lock() // a question that nobody waits for any more may still be answered
	defer mu.Unlock()
	e.Questions = append([]Question(nil), e.Questions...)
	return e
}

func (e *Explanation) sumUp() {
	refused := 0
	for i := range e.Recipients {
		o, best := &e.Recipients[i], &e.Recipients[e.Deciding]
		if o.Refused() {
			refused++
		}
		if o.weight() > best.weight() {
			e.Deciding = i
		}
	}
	switch best := &e.Recipients[e.Deciding]; {
	case refused == len(e.Recipients):
		e.Action = checkhelo.Reject
	case refused > 0:
		e.Action = checkhelo.Quarantine
	default:
		e.Action = best.Action
	}
}

func (o *Outcome) weight() int {
	switch {
	case o.Exempt != "":
		return -1
	case o.TryLater:
		return int(checkhelo.Reject)
	default:
		return int(o.Action)
	}
}

// withoutClient switches those rules off that compare with the client or ask for its names.
func withoutClient(p *checkhelo.Policy) *checkhelo.Policy {
	blind := &checkhelo.Policy{
		Preset: p.Preset, QuarantineScore: p.QuarantineScore, RejectScore: p.RejectScore,
		Ceiling: p.Ceiling, HelpURL: p.HelpURL, Override: make(map[string]checkhelo.Rule),
	}
	for name, set := range p.Override {
		blind.Override[name] = set
	}
	for _, r := range checkhelo.Rules() {
		if needsClient(&r) {
			blind.Override[r.Name] = checkhelo.Rule{}
		}
	}
	return blind
}

func needsClient(r *checkhelo.Rule) bool {
	return r.NoReject || r.Needs&(checkhelo.NeedPTR|checkhelo.NeedSPF) != 0
}

// ruleStates finds out what each rule made of the facts. Whether a rule that did not hit still
// lacks a fact is asked of a policy that has this rule alone.
func ruleStates(p *checkhelo.Policy, v checkhelo.Verdict, f *checkhelo.Facts) []RuleState {
	evidence := make(map[string]string)
	for _, h := range v.Hits {
		evidence[h.Rule.Name] = h.Evidence
	}
	alone := make(map[string]checkhelo.Rule)
	for _, r := range checkhelo.Rules() {
		alone[r.Name] = checkhelo.Rule{}
	}
	rules := p.Rules()
	states := make([]RuleState, 0, len(rules))
	for _, r := range rules {
		s := RuleState{Rule: r, State: StateMiss}
		why, hit := evidence[r.Name]
		alone[r.Name] = checkhelo.Rule{Action: checkhelo.Reject}
		only := checkhelo.Policy{Override: alone}
		switch {
		case hit:
			s.State, s.Evidence = StateHit, why
		case r.Action == checkhelo.Off:
			s.State = StateOff
		case !f.Client.IsValid() && needsClient(&r):
			s.State = StateNotAsked
		case only.Needs(f) != 0:
			s.State = StateNotAsked
		}
		alone[r.Name] = checkhelo.Rule{}
		states = append(states, s)
	}
	return states
}
