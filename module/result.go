package module

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-msgauth/authres"
	"github.com/foxcpp/maddy/framework/exterrors"
	"github.com/foxcpp/maddy/framework/module"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

const (
	checkName   = "helo_fqdn"
	traceHeader = "X-Helo-Check"
	maxLogged   = 255 // octets of client text in a log field
)

// refusal is the SMTP reply for a verdict, with the evidence for Maddy's log.
func (c *Check) refusal(v checkhelo.Verdict, f *checkhelo.Facts) *exterrors.SMTPError {
	reply := c.policy.Reply(v, f.Helo)
	return &exterrors.SMTPError{
		Code:         reply.Code,
		EnhancedCode: exterrors.EnhancedCode(reply.Enhanced),
		Message:      reply.Text,
		CheckName:    checkName,
		Reason:       v.Hits[0].Rule.Name,
		Misc: map[string]any{
			"helo":     heloname.Clean(f.Helo.Raw, maxLogged),
			"evidence": heloname.Line(v.Hits[0].Evidence, maxLogged),
			"score":    v.Score,
		},
	}
}

// tryLater is the reply where a look-up failed (RFC 3463, 3.5: x.4.3, directory server failure).
func (c *Check) tryLater(f *checkhelo.Facts) *exterrors.SMTPError {
	return &exterrors.SMTPError{
		Code:         451,
		EnhancedCode: exterrors.EnhancedCode{4, 4, 3},
		Message: "Temporary DNS failure while looking up the name and address of your server," +
			" try again later",
		CheckName: checkName,
		Reason:    "dns_error",
		Misc:      map[string]any{"helo": heloname.Clean(f.Helo.Raw, maxLogged)},
	}
}

// logVerdict writes the one line that tools and people look for. A log that
// panics changes no verdict.
func (c *Check) logVerdict(v checkhelo.Verdict, f *checkhelo.Facts, msgID string) {
	defer func() {
		if broken := recover(); broken != nil {
			c.report("in the log, the verdict stands", broken)
		}
	}()
	top := &v.Hits[0]
	fields := []any{
		"rule", top.Rule.Name,
		"action", v.Action.String(),
		"helo", heloname.Clean(f.Helo.Raw, maxLogged),
		"src_ip", f.Client.String(),
		"evidence", heloname.Line(top.Evidence, maxLogged),
		"score", v.Score,
	}
	if len(v.Hits) > 1 {
		fields = append(fields, "hits", hitList(v.Hits))
	}
	if msgID != "" {
		fields = append(fields, "msg_id", msgID)
	}
	if c.gatherer.Authenticated(f) {
		fields = append(fields, "dnssec", true)
	}
	if v.Would != v.Action {
		fields = append(fields, "would", v.Would.String())
	}
	c.log.Msg("helo verdict", fields...)
}

// hitList names all rules that hit, with their points: "no_ptr 3, new_tld 2".
func hitList(hits []checkhelo.Hit) string {
	var b strings.Builder
	for i := range hits {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(hits[i].Rule.Name)
		if hits[i].Rule.Action == checkhelo.Score {
			b.WriteByte(' ')
			b.WriteString(strconv.Itoa(hits[i].Rule.Score))
		}
	}
	return b.String()
}

// count adds one verdict to the metrics.
func (c *Check) count(v checkhelo.Verdict) {
	rule, action := decided(&v)
	verdicts.WithLabelValues(c.label, rule, action).Inc()
}

func (c *Check) countExempt(why string) { exempted.WithLabelValues(c.label, why).Inc() }

// trace adds what was found to Authentication-Results and, with `header yes`,
// in a field of its own.
func (s *state) trace(res *module.CheckResult) {
	v, f := &s.worst, &s.sess.facts
	if f.PTR.State != checkhelo.NotAsked {
		res.AuthResult = append(res.AuthResult,
			&authres.IPRevResult{Value: iprev(f), IP: f.Client.String()})
	}
	if value := helospf(f); value != "" {
		// An SPFResult would enter Maddy's DMARC, which wants the one of MAIL FROM.
		res.AuthResult = append(res.AuthResult, &authres.GenericResult{Method: "spf", Value: value,
			Params: map[string]string{"smtp.helo": f.Helo.ASCII}})
	}
	if !s.c.header {
		return
	}
	rule, action := decided(v)
	res.Header.Add(traceHeader, fmt.Sprintf("%s; rule=%s; score=%d; helo=%s; ip=%s",
		action, rule, v.Score, heloname.Clean(f.Helo.Raw, maxLogged), f.Client))
}

// decided returns the rule that decided and the action taken, as metrics and header name them.
func decided(v *checkhelo.Verdict) (rule, action string) {
	if len(v.Hits) == 0 {
		return "none", "none"
	}
	return v.Hits[0].Rule.Name, v.Action.String()
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
