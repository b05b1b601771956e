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
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/memory"
)

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

// result refuses where the outcome does.
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
