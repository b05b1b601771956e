package judge

import (
	"context"
	"fmt"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/memory"
)

// SetMemory gives the judge a memory; nil turns memory off.
func (j *Judge) SetMemory(m *memory.Memory) { j.memory.Store(m) }

// memoryTime bounds the lookups in memory for one session.
const memoryTime = 50 * time.Millisecond

// remembered is what memory says of a greeting, read once a session.
type remembered struct {
	asked bool
	known checkhelo.Known
	// greeted and taken: memory has the greeting of this session, and that a recipient was accepted.
	greeted, taken bool
}

// store returns the memory to ask and to write; nil: memory is off.
func (g *greeting) store() *memory.Memory {
	if g.own != nil {
		return g.own
	}
	return g.j.memory.Load()
}

func (g *greeting) sender() memory.Sender {
	f := &g.facts
	return memory.Sender{Helo: f.Helo, Client: f.Client, Confirmed: f.Confirmed.Value, Lists: f.Lists}
}

// lockedSender is sender for callers that do not hold mu.
func (g *greeting) lockedSender() memory.Sender {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.sender()
}

// askNeighbours sets the fact Neighbours where it can still change the verdict.
func (g *greeting) askNeighbours(ctx context.Context, p *checkhelo.Policy) {
	m, f := g.store(), &g.facts
	if m == nil || g.atEHLO || f.Neighbours.State != checkhelo.NotAsked ||
		p.Needs(f)&checkhelo.NeedMemory == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, memoryTime)
	defer cancel()
	f.Neighbours = m.Neighbours(ctx, g.sender())
}

// lift returns the verdict for a sender that memory knows.
func (g *greeting) lift(ctx context.Context, p *checkhelo.Policy, o *Outcome) {
	m := g.store()
	if m == nil || g.atEHLO || o.Would != checkhelo.Greylist && o.Would != checkhelo.Quarantine {
		return
	}
	if !g.memory.asked {
		soon, cancel := context.WithTimeout(ctx, memoryTime)
		defer cancel()
		g.memory.asked = true
		if grade, err := m.Known(soon, g.sender()); err == nil {
			g.memory.known = grade
		}
	}
	o.Known = g.memory.known
	grade := o.Known
	if grade < g.j.KnownAfter {
		grade = checkhelo.Stranger
	}
	o.Verdict = p.Lift(o.Verdict, grade)
}

// hold lets the message to one recipient wait where the verdict is greylist (RFC 6647). A wait that
// cannot be kept is no wait.
func (s *Session) hold(ctx context.Context, from, rcpt string, o *Outcome) {
	if o.Action != checkhelo.Greylist {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, memoryTime)
	defer cancel()
	w, err := s.store().Wait(ctx, s.lockedSender(), from, rcpt)
	if err != nil {
		s.j.tell("memory", err)
	}
	o.Wait = w
	if w.Left <= 0 {
		o.Action = checkhelo.Score
	}
}

// remember records that the session got to RCPT.
func (s *Session) remember(o *Outcome) {
	m := s.store()
	if m == nil || o.Exempt != "" || o.Early {
		return
	}
	taken := o.Would < checkhelo.Reject && !o.Refused()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memory.greeted && (s.memory.taken || !taken) {
		return
	}
	s.memory.greeted, s.memory.taken = true, taken
	m.Greet(s.sender(), taken)
}

// Accepted records the sender of a message that every check and target took: call it once the
// message is closed after the check of its body. It counts when this server's own policy judged a
// recipient, the verdict before ceiling and exemption was pass, and no lost fact could have changed
// it.
func (s *Session) Accepted() {
	if m := s.store(); m != nil && s.clean && !s.unclean {
		m.Accept(s.lockedSender())
	}
}

// judgedOwn notes whether the verdict for an accepted recipient makes the sender known.
func (s *Session) judgedOwn(o *Outcome) {
	if o.policy != s.j.Policy {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	over := o.Wait.Result == memory.WaitOver && o.Would == checkhelo.Greylist
	if (o.Would < checkhelo.Greylist || over) && o.policy.Doubt(&s.facts) == 0 {
		s.clean = true
	} else {
		s.unclean = true
	}
}

// waitText is the reply to a message that has to wait.
func waitText(o *Outcome) string {
	text := fmt.Sprintf("Your server is new here, and something is unusual (%s). Your message is not"+
		" lost: your server tries again by itself, and after %s it is accepted", o.Rule(),
		o.Wait.Left.Round(time.Second))
	if url := o.policy.HelpURL; url != "" {
		text += ". See " + url + "#wait"
	}
	return text
}
