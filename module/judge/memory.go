package judge

import (
	"context"
	"fmt"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/memory"
)

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
	// RFC 3463, 3.8: x.7.1 is a refusal by policy, here of this attempt.
	o.reply = checkhelo.Reply{Code: 451, Enhanced: [3]int{4, 7, 1},
		Text: heloname.Line(waitText(o), checkhelo.MaxText)}
}

func waitText(o *Outcome) string {
	text := fmt.Sprintf("Your server is new here, and something is unusual (%s). Your message is not"+
		" lost: your server tries again by itself, and after %s it is accepted", o.Rule(),
		o.Wait.Left.Round(time.Second))
	if url := o.policy.HelpURL; url != "" {
		text += ". See " + url + "#wait"
	}
	return text
}

// remember records that the session got to RCPT, and that a recipient was accepted, each once.
func (g *greeting) remember(o *Outcome) {
	if o.Exempt != "" || g.early != nil {
		return
	}
	accepted := o.Would < checkhelo.Reject && !o.Refused()
	if wrote := &g.wrote; !wrote.rcpt || accepted && !wrote.accepted {
		wrote.rcpt, wrote.accepted = true, accepted
		g.memory.Greet(g.sender(), accepted)
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
