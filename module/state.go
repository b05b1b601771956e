package module

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/emersion/go-message/textproto"
	"github.com/foxcpp/maddy/framework/address"
	"github.com/foxcpp/maddy/framework/buffer"
	"github.com/foxcpp/maddy/framework/exterrors"
	"github.com/foxcpp/maddy/framework/module"
	"golang.org/x/net/idna"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// CheckStateForMsg implements module.Check.
func (c *Check) CheckStateForMsg(
	_ context.Context, meta *module.MsgMetadata,
) (module.CheckState, error) {
	return &state{c: c, meta: meta}, nil
}

// state is the check of one message. Maddy calls its methods one after another.
type state struct {
	c    *Check
	meta *module.MsgMetadata

	sess   *session // nil: this message is not judged
	opened bool

	judged bool    // a recipient was
	domain string  // of the last one
	last   outcome // for that domain

	taken   int                  // recipients that were not refused
	refused *exterrors.SMTPError // the first refusal
	worst   checkhelo.Verdict    // of the recipients taken
	logged  map[string]bool      // verdicts already in the log, by rule and action
}

// CheckConnection does nothing: the verdict falls at RCPT TO, where the login
// and the recipient are known.
func (s *state) CheckConnection(context.Context) module.CheckResult { return module.CheckResult{} }

// CheckSender does nothing, see CheckConnection.
func (s *state) CheckSender(context.Context, string) module.CheckResult {
	return module.CheckResult{}
}

// CheckRcpt refuses one recipient, or lets it pass.
func (s *state) CheckRcpt(ctx context.Context, rcpt string) (res module.CheckResult) {
	defer s.survive("RCPT")
	if !s.open(ctx) {
		return res
	}
	if why, ok := s.c.plain.Recipient(ctx, rcpt); ok {
		s.c.countExempt(why)
		s.taken++
		return res
	}
	o := s.judge(ctx, rcptDomain(rcpt))
	if o.exempt != "" {
		s.c.countExempt(o.exempt)
		s.taken++
		return res
	}
	if o.unsure {
		return s.refuse(s.c.tryLater(&s.sess.facts))
	}
	s.c.count(o.Verdict)
	s.log(o.Verdict)
	if o.Action == checkhelo.Reject {
		return s.refuse(s.c.refusal(o.Verdict, &s.sess.facts))
	}
	s.taken++
	if o.Action >= s.worst.Action {
		s.worst = o.Verdict
	}
	return res
}

func (s *state) refuse(reason *exterrors.SMTPError) module.CheckResult {
	if s.refused == nil {
		s.refused = reason
	}
	return module.CheckResult{Reject: true, Reason: reason}
}

// CheckBody quarantines, and adds what was found to the header.
//
// Maddy asks a check only once about a recipient of a message: one that is
// refused and then given again passes unseen. So a message all of whose
// recipients were refused is refused here, and one that has others besides
// goes to the Junk folder.
func (s *state) CheckBody(
	ctx context.Context, _ textproto.Header, _ buffer.Buffer,
) (res module.CheckResult) {
	defer s.survive("DATA")
	if !s.open(ctx) {
		return res
	}
	if s.refused != nil {
		res.Reason, res.Reject, res.Quarantine = s.refused, s.taken == 0, s.taken != 0
	} else if s.worst.Action == checkhelo.Quarantine {
		res.Reason, res.Quarantine = s.c.refusal(s.worst, &s.sess.facts), true
	}
	s.trace(&res)
	return res
}

// Close implements module.CheckState.
func (s *state) Close() error { return nil }

// open finds out once whether the client of this message is judged at all.
func (s *state) open(ctx context.Context) bool {
	if s.opened {
		return s.sess != nil
	}
	s.opened = true
	sess := s.c.session(s.meta.Conn)
	if sess == nil {
		return false
	}
	client, user := sess.facts.Client, s.meta.Conn.AuthUser
	if why, ok := s.c.plain.Conn(ctx, client, "", user); ok {
		s.c.countExempt(why)
		return false
	}
	s.sess = sess
	return true
}

// judge is Check.judge, asked once for recipients of one domain in a row.
func (s *state) judge(ctx context.Context, domain string) *outcome {
	if !s.judged || s.domain != domain {
		s.last = s.c.judge(ctx, s.sess, domain)
		s.judged, s.domain = true, domain
	}
	return &s.last
}

// log writes one line for each different verdict on a message.
func (s *state) log(v checkhelo.Verdict) {
	if len(v.Hits) == 0 {
		return
	}
	key := v.Hits[0].Rule.Name + " " + v.Action.String()
	if s.logged[key] {
		return
	}
	if s.logged == nil {
		s.logged = make(map[string]bool)
	}
	s.logged[key] = true
	s.c.logVerdict(v, &s.sess.facts, s.meta.ID)
}

// survive lets the message pass when the check itself breaks, and says so in the log.
func (s *state) survive(stage string) {
	if broken := recover(); broken != nil {
		s.taken++ // who passes takes the message along
		s.c.report("at "+stage+", message passes", broken)
	}
}

// report logs a panic. The log may be what broke, and Maddy does not guard early checks.
func (c *Check) report(where string, broken any) {
	defer func() { _ = recover() }()
	what := heloname.Line(fmt.Sprint(broken), maxLogged)
	c.log.Printf("panic %s: %s\n%s", where, what, debug.Stack())
}

// rcptDomain returns the domain of an address in lower-case A-labels without a final dot, which
// go-smtp lets through; "" when it has none.
func rcptDomain(rcpt string) string {
	_, domain, err := address.Split(rcpt)
	if err != nil || domain == "" {
		return ""
	}
	domain = strings.TrimSuffix(strings.ToLower(domain), ".")
	if address.IsASCII(domain) {
		return domain
	}
	ascii, err := idna.ToASCII(domain)
	if err != nil {
		return ""
	}
	return ascii
}
