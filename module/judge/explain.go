package judge

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
)

// Query is one message. Rules that need a client's address are not evaluated without one.
type Query struct {
	Conn
	From  string   // the address of MAIL FROM
	Rcpts []string // none: as before RCPT TO
	User  string   // the login; "" for none
}

// RuleState is the result of one rule.
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

// RcptOutcome is the outcome for one recipient.
type RcptOutcome struct {
	Rcpt string // "" when the query names none
	Outcome
	Reply checkhelo.Reply // zero when the recipient is accepted
	Rules []RuleState     // in the order of the table; nil when exempt without a verdict
}

// Explanation is everything known about a Query.
type Explanation struct {
	Facts      checkhelo.Facts // after the last recipient
	Recipients []RcptOutcome   // at least one
	Deciding   int             // index of the recipient with the strongest outcome
	Message    Outcome         // for a message to all the recipients
}

// Deliver judges a message as the server does: greeting, recipients and message, of which it
// returns the outcome. It hands on that for each recipient, "" where the query names none.
func (j *Judge) Deliver(
	ctx context.Context, q Query, each func(s *Session, rcpt string, o Outcome),
) (*Session, Outcome) {
	q.AtRcpt = !j.AtEHLO
	s := j.Greet(ctx, q.Conn)
	if len(q.Rcpts) == 0 {
		q.Rcpts = []string{""}
	}
	for _, rcpt := range q.Rcpts {
		each(s, rcpt, s.Rcpt(ctx, q.User, q.From, rcpt))
	}
	return s, s.Message(ctx)
}

// Explain judges as the server does and reports every step.
func (j *Judge) Explain(ctx context.Context, q Query) (e Explanation) {
	// Maddy's SMTP library hands on the text before the first space.
	q.Helo, _, _ = strings.Cut(strings.TrimSpace(q.Helo), " ")
	s, message := j.Deliver(ctx, q, func(s *Session, rcpt string, outcome Outcome) {
		o := RcptOutcome{Rcpt: rcpt, Outcome: outcome, Reply: j.Reply(&outcome)}
		if o.policy != nil {
			o.Rules = ruleStates(&outcome, s.Facts())
		}
		e.Recipients = append(e.Recipients, o)
		if o.Weight() > e.Recipients[e.Deciding].Weight() {
			e.Deciding = len(e.Recipients) - 1
		}
	})
	e.Message, e.Facts = message, *s.Facts()
	return e
}

// Weight returns how severe an outcome is for a recipient; an exemption has the lowest.
func (o *Outcome) Weight() int {
	switch {
	case o.Exempt != "":
		return -1
	case o.TryLater, o.echo:
		return int(checkhelo.Reject)
	default:
		return int(o.Action)
	}
}

func ruleStates(o *Outcome, f *checkhelo.Facts) []RuleState {
	rules := o.policy.Rules()
	states := make([]RuleState, 0, len(rules))
	for _, r := range rules {
		s := RuleState{Rule: r, State: StateMiss}
		at := slices.IndexFunc(o.Hits, func(h checkhelo.Hit) bool { return h.Rule.Name == r.Name })
		switch {
		case at >= 0:
			s.Rule, s.State, s.Evidence = o.Hits[at].Rule, StateHit, o.Hits[at].Evidence
		case s.Action == checkhelo.Off:
			s.State = StateOff
		case s.Open(f):
			s.State = StateNotAsked
		}
		states = append(states, s)
	}
	return states
}

// Answers that echo_recipients gives in a minute.
const (
	echoOfNetwork = 6 // an IPv4 address or an IPv6 /64
	echoOfAll     = 120

	maxEchoed = 64 // octets of what the client said that an answer repeats
)

// mayEcho counts one answer, unless the network or all networks have had theirs.
func (j *Judge) mayEcho(client netip.Addr) bool {
	now := j.Exempt.Now()
	if n, _ := j.echoes.Add(heloname.ClientNetwork(client), now); n > echoOfNetwork {
		return false
	}
	n, _ := j.echoes.Add(netip.Prefix{}, now)
	return n <= echoOfAll
}

// answer is the outcome for a recipient of echo_recipients: what the client said, from where, and
// each built-in rule that hits. Lists, tables, exemptions and memory have no part in it, and no
// ceiling either.
func (g *greeting) answer(ctx context.Context, rcpt string) Outcome {
	o, j, f := Outcome{echo: true}, g.j, g.facts
	if !j.mayEcho(f.Client) {
		o.reply = checkhelo.Reply{Code: 451, Enhanced: [3]int{4, 7, 1},
			Text: "Too many tests in a minute, try again later"}
		return o
	}
	_, f.Rcpt = exempt.SplitAddress(rcpt)
	p := j.Policy.With(j.Policy.Preset, checkhelo.Off)
	p.Override = maps.Collect(maps.All(p.Override)) // not nil
	for _, rule := range []string{"deny_name", "listed", "neighbours"} {
		p.Override[rule] = checkhelo.Rule{Action: checkhelo.Off}
	}
	const need = checkhelo.NeedProof | checkhelo.NeedMX | checkhelo.NeedTLD | checkhelo.NeedSPF
	if j.asks() {
		j.Gatherer.Fill(ctx, &f, need)
	}
	v := p.Evaluate(&f)
	text := fmt.Sprintf("You are [%s], said %s: ", f.Client, heloname.Clean(f.Helo.Raw, maxEchoed))
	if f.Lost()&need != 0 {
		text += "some DNS lookups failed, test again later; "
	}
	if len(v.Hits) == 0 {
		text += "no rule hits"
	} else {
		names := make([]string, 0, len(v.Hits))
		for i := range v.Hits {
			names = append(names, v.Hits[i].Rule.Name)
		}
		text += strings.Join(names, ", ") + "; fix: "
		advice := p.Reply(v, f.Helo).Text
		if len(text)+len(advice) > checkhelo.MaxText && p.HelpURL != "" {
			advice = p.HelpURL + "#" + names[0]
		}
		text += advice
	}
	o.reply = checkhelo.Reply{Code: 550, Enhanced: [3]int{5, 7, 1},
		Text: heloname.Line(text, checkhelo.MaxText)}
	return o
}
