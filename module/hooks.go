package module

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-message/textproto"
	"github.com/emersion/go-msgauth/authres"
	"github.com/foxcpp/maddy/framework/buffer"
	"github.com/foxcpp/maddy/framework/exterrors"
	"github.com/foxcpp/maddy/framework/module"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
)

// CheckConnection implements module.EarlyCheck. Maddy calls it at each greeting; it begins the
// lookups, and refuses with `enforce_at ehlo`. A panic here would end the whole server: Maddy does
// not guard early checks.
func (c *Check) CheckConnection(_ context.Context, conn *module.ConnState) (refused error) {
	defer c.guard("at EHLO, client passes", func() { refused = nil })
	if err := c.tooMany(conn); err != nil {
		return err
	}
	s := c.greet(conn, false)
	if s == nil || s.Early() == nil {
		return nil
	}
	c.metrics.Verdict(s.Early())
	source := heloname.ClientNetwork(s.Facts().Client).String() + s.Early().Rule()
	if n, more := c.lines.Add(source, time.Now()); n == 1 {
		c.logVerdict(s.Early(), s.Facts(), "", more)
	}
	return refusal(s.Early(), s.Facts())
}

// The greetings of one connection that are judged, and the time in which they are counted. Maddy
// does not tell when a connection ends, and another one may have the same port later.
const (
	maxGreetings = 100
	greetingsFor = 10 * time.Minute
)

// tooMany counts a greeting. Past a bound a connection gets one reply, whatever it says. Maddy
// takes no mail from it then: its last greeting was refused. A check cannot close a connection of
// Maddy 0.9.5; RFC 5321, 3.8 lets the client do it after a 421.
func (c *Check) tooMany(conn *module.ConnState) error {
	remote := remoteOf(conn)
	if !remote.IsValid() {
		return nil
	}
	now, client := time.Now(), heloname.Unmap(remote.Addr())
	if addr, n := c.front.Saw(client, now); n > 0 {
		c.log.Msg("all clients of an hour came from one private address: a proxy or container in"+
			" front hides them, and the rules about addresses judge it instead", "greetings", n,
			"src_ip", addr.String())
	}
	n, _ := c.greetings.Add(remote, now)
	if n <= maxGreetings {
		return nil
	}
	c.metrics.Exempt("greetings")
	if n == maxGreetings+1 {
		network := heloname.ClientNetwork(client).String()
		if lines, _ := c.lines.Add(network+" greetings", now); lines == 1 {
			c.log.Msg("too many greetings in one connection", "greetings", n, "src_ip", client.String())
		}
	}
	return errTooMany
}

var errTooMany = &exterrors.SMTPError{Code: 421, EnhancedCode: exterrors.EnhancedCode{4, 7, 0},
	Message: "Too many greetings in one connection, connect again", CheckName: checkName,
	Reason: "greetings"}

// remoteOf returns the client's end of a connection; not valid for local messages, LMTP, and
// connections that are not TCP.
func remoteOf(conn *module.ConnState) netip.AddrPort {
	if conn == nil || conn.Proto == "" || conn.Proto == "LMTP" {
		return netip.AddrPort{}
	}
	return addrOf(conn.RemoteAddr)
}

// greet judges the greeting of a connection and keeps the session in it. It returns nil where
// remoteOf finds no client. The queue writes all data of a connection as JSON; a session has no
// exported field and leaves nothing there.
func (c *Check) greet(conn *module.ConnState, atRcpt bool) *judge.Session {
	remote := remoteOf(conn)
	if !remote.IsValid() {
		return nil
	}
	// Maddy cancels the context of early checks as soon as they return.
	s := c.judge.Greet(context.Background(), judge.Conn{
		Helo: conn.Hostname, Client: heloname.Unmap(remote.Addr()), Remote: remote,
		Local: heloname.Unmap(addrOf(conn.LocalAddr).Addr()), AtRcpt: atRcpt,
	})
	conn.ModData.Set(c.key, false, s)
	return s
}

// addrOf returns the address of a TCP peer; not valid for anything else.
func addrOf(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return tcp.AddrPort()
}

// CheckStateForMsg implements module.Check. It takes the session that the early check left in the
// connection, or a new one where no early check runs: in source and destination blocks.
func (c *Check) CheckStateForMsg(
	_ context.Context, meta *module.MsgMetadata,
) (module.CheckState, error) {
	s := &state{c: c, meta: meta}
	defer c.guard("at MAIL, message passes", s.sess.Survive)
	if meta.Conn == nil {
		return s, nil
	}
	kept, _ := meta.Conn.ModData.Get(c.key, false).(*judge.Session)
	if kept == nil {
		kept = c.greet(meta.Conn, true)
	}
	if kept != nil {
		s.sess, s.judged = kept.Next(), true
	}
	return s, nil
}

// state is the check of one message. Maddy calls its methods one after another.
type state struct {
	c    *Check
	meta *module.MsgMetadata
	from string

	judged bool
	sess   judge.Session // of this message, where it is judged
	seen   []string      // what is logged or counted once a message
	body   bool          // the body was checked and the message not refused
}

// CheckConnection does nothing: the verdict is made at RCPT TO, when the login and the recipient
// are known.
func (s *state) CheckConnection(context.Context) module.CheckResult { return module.CheckResult{} }

// CheckSender keeps the sender for CheckRcpt.
func (s *state) CheckSender(_ context.Context, from string) module.CheckResult {
	s.from = from
	return module.CheckResult{}
}

// CheckRcpt refuses one recipient, or lets it pass.
func (s *state) CheckRcpt(ctx context.Context, rcpt string) (res module.CheckResult) {
	defer s.c.guard("at RCPT, message passes", s.sess.Survive)
	if !s.judged {
		return res
	}
	o := s.sess.Rcpt(ctx, s.meta.Conn.AuthUser, s.from, rcpt)
	if o.Exempt != "" {
		// An exemption of the client holds for all recipients and counts once.
		whole := o.Exempt == exempt.WhyAuth || o.Exempt == exempt.WhyNetwork
		if !whole || s.first(o.Exempt) {
			s.c.metrics.Exempt(o.Exempt)
		}
		return res
	}
	s.c.metrics.Verdict(&o)
	if (len(o.Hits) > 0 || o.TryLater) && s.first(o.Rule()+" "+o.Word()) {
		s.c.logVerdict(&o, s.sess.Facts(), s.meta.ID, 0)
	}
	return result(&o, s.sess.Facts())
}

// first reports whether something happens for the first time in a message.
func (s *state) first(what string) bool {
	if slices.Contains(s.seen, what) {
		return false
	}
	s.seen = append(s.seen, what)
	return true
}

// CheckBody quarantines, and adds the result to the header.
func (s *state) CheckBody(
	ctx context.Context, _ textproto.Header, _ buffer.Buffer,
) (res module.CheckResult) {
	defer s.c.guard("at DATA, message passes", s.sess.Survive)
	if !s.judged {
		return res
	}
	o := s.sess.Message(ctx)
	s.body = !o.Refused()
	res = result(&o, s.sess.Facts())
	if o.Action == checkhelo.Quarantine {
		res.Quarantine, res.Reason = true, refusal(&o, s.sess.Facts())
	}
	s.c.trace(&res, &o, s.sess.Facts())
	return res
}

// Close implements module.CheckState. Maddy 0.9.5 closes the state after the check of the body only
// where every check and target took the message; nothing depends on Close to be released.
func (s *state) Close() error {
	defer s.c.guard("at the end of the message, message passes", s.sess.Survive)
	if s.body && !s.meta.Quarantine {
		s.sess.Accepted()
	}
	return nil
}

// guard is deferred: after a panic it lets the mail pass and logs the panic. The log may be what
// broke, and Maddy does not guard early checks.
func (c *Check) guard(where string, pass func()) {
	broken := recover()
	if broken == nil {
		return
	}
	defer func() { _ = recover() }()
	pass()
	what := heloname.Line(fmt.Sprint(broken), maxLogged)
	c.log.Printf("panic %s: %s\n%s", where, what, debug.Stack())
}

const (
	checkName   = "helo_fqdn"
	traceHeader = "X-Helo-Check"
	maxLogged   = 255 // octets of client text in a log field
)

// refusal is the SMTP reply for an outcome, with the evidence for Maddy's log.
func refusal(o *judge.Outcome, f *checkhelo.Facts) *exterrors.SMTPError {
	reply := o.WouldReply()
	misc := map[string]any{"helo": heloname.Clean(f.Helo.Raw, maxLogged)}
	if len(o.Hits) > 0 {
		misc["evidence"], misc["score"] = heloname.Line(o.Hits[0].Evidence, maxLogged), o.Score
	}
	return &exterrors.SMTPError{
		Code:         reply.Code,
		EnhancedCode: exterrors.EnhancedCode(reply.Enhanced),
		Message:      reply.Text,
		CheckName:    checkName,
		Reason:       o.Rule(),
		Misc:         misc,
	}
}

// result returns a reject if the outcome is a refusal, else the zero result.
func result(o *judge.Outcome, f *checkhelo.Facts) (res module.CheckResult) {
	if o.Refused() {
		res.Reject, res.Reason = true, refusal(o, f)
	}
	return res
}

// logVerdict writes the one line that tools and people look for. A log that panics changes no
// verdict.
func (c *Check) logVerdict(o *judge.Outcome, f *checkhelo.Facts, msgID string, more int) {
	defer c.guard("in the log, the verdict stands", func() {})
	evidence := ""
	if len(o.Hits) > 0 {
		evidence = o.Hits[0].Evidence
	}
	fields := []any{
		"rule", o.Rule(),
		"action", o.Word(),
		"helo", heloname.Clean(f.Helo.Raw, maxLogged),
		"src_ip", f.Client.String(),
		"evidence", heloname.Line(evidence, maxLogged),
		"score", o.Score,
	}
	if len(o.Hits) > 1 || o.TryLater && len(o.Hits) > 0 {
		fields = append(fields, "hits", hitList(o.Hits))
	}
	if msgID != "" {
		fields = append(fields, "msg_id", msgID)
	}
	if more > 0 { // lines held back since the last one
		fields = append(fields, "repeated", more)
	}
	if o.Would != o.Action {
		fields = append(fields, "would", o.Would.String())
	}
	if o.Known != checkhelo.Stranger {
		fields = append(fields, "known", o.Known.String(), "lifted", o.Lifted.String())
	}
	if o.Wait.Result != memory.NoWait {
		fields = append(fields, "wait", o.Wait.Result.String(), "waited", o.Wait.Waited.Seconds())
	}
	c.log.Msg("helo verdict", fields...)
}

// hitList names all rules that hit, with their points: "no_ptr 3, new_tld 2".
func hitList(hits []checkhelo.Hit) string {
	names := make([]string, len(hits))
	for i := range hits {
		names[i] = hits[i].Rule.Name
		if hits[i].Rule.Action == checkhelo.Score {
			names[i] += " " + strconv.Itoa(hits[i].Rule.Score)
		}
	}
	return strings.Join(names, ", ")
}

// trace adds the result to Authentication-Results and, with `header yes`, in a field of its own.
func (c *Check) trace(res *module.CheckResult, o *judge.Outcome, f *checkhelo.Facts) {
	if f.PTR.State != checkhelo.NotAsked {
		res.AuthResult = append(res.AuthResult,
			&authres.IPRevResult{Value: iprev(f), IP: f.Client.String()})
	}
	if value := helospf(f); value != "" {
		// An SPFResult would enter Maddy's DMARC, which expects that of MAIL FROM.
		res.AuthResult = append(res.AuthResult, &authres.GenericResult{Method: "spf", Value: value,
			Params: map[string]string{"smtp.helo": f.Helo.ASCII}})
	}
	if !c.header {
		return
	}
	said := fmt.Sprintf("helo=%s; ip=%s", heloname.Clean(f.Helo.Raw, maxLogged), f.Client)
	if o.Exempt != "" {
		res.Header.Add(traceHeader, fmt.Sprintf("exempt; reason=%s; %s", o.Exempt, said))
		return
	}
	if o.Wait.Waited > 0 {
		said += fmt.Sprintf("; waited=%.0f", o.Wait.Waited.Seconds())
	}
	if o.Known != checkhelo.Stranger {
		said += fmt.Sprintf("; known=%s; lifted=%s", o.Known, o.Lifted)
	}
	res.Header.Add(traceHeader,
		fmt.Sprintf("%s; rule=%s; score=%d; %s", o.Word(), o.Rule(), o.Score, said))
}

// iprev is the result of RFC 8601, section 2.7.3.
func iprev(f *checkhelo.Facts) authres.ResultValue {
	switch {
	case f.PTR.State == checkhelo.NotFound:
		return authres.ResultPermError
	case len(f.Confirmed.Value) != 0: // even when another of the names could not be asked
		return authres.ResultPass
	case f.Confirmed.State == checkhelo.NotFound:
		return authres.ResultFail
	default:
		return authres.ResultTempError
	}
}

// helospf is the result for the HELO identity (RFC 7208, section 2.3), "" when there is none.
func helospf(f *checkhelo.Facts) authres.ResultValue {
	switch {
	case f.SPF.State == checkhelo.Failed:
		return authres.ResultTempError
	case f.SPF.Value == "none":
		return ""
	default:
		return authres.ResultValue(f.SPF.Value)
	}
}
