package app

import (
	"fmt"
	"io"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/maddyconf"
)

type replyJSON struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

type hitJSON struct {
	Rule     string `json:"rule"`
	Action   string `json:"action"`
	Score    int    `json:"score"`
	Evidence string `json:"evidence"`
}

type rcptJSON struct {
	Rcpt   string     `json:"rcpt"`
	Action string     `json:"action"`
	Exempt string     `json:"exempt,omitempty"`
	Reply  *replyJSON `json:"reply"` // null: accepted
	// WouldReply is the reply without max_action; absent where it is reply.
	WouldReply *replyJSON `json:"would_reply,omitempty"`
}

type heloJSON struct {
	Said string `json:"said"`
	Name string `json:"name"`
	Kind string `json:"kind"`
}

type explainJSON struct {
	Helo       heloJSON       `json:"helo"`
	IP         string         `json:"ip"`
	Policy     string         `json:"policy"`
	Action     string         `json:"action"`
	Score      int            `json:"score"`
	Exempt     string         `json:"exempt"`
	Hits       []hitJSON      `json:"hits"`
	Reply      *replyJSON     `json:"reply"` // null: accepted
	WouldReply *replyJSON     `json:"would_reply,omitempty"`
	Recipients []rcptJSON     `json:"recipients"`
	Facts      map[string]any `json:"facts"`
	Memory     memoryJSON     `json:"memory"`
	Exemption  string         `json:"exemption"` // the line that lets the client pass
	// NotEvaluated lists the tables that the judgement does without.
	NotEvaluated []maddyconf.Table `json:"not_evaluated"`
}

// memoryJSON is what memory says of the sender; without a place there is none.
type memoryJSON struct {
	Place string `json:"place"`
	Known string `json:"known"` // unknown, seen, accepted
	Error string `json:"error,omitempty"`
}

type answerJSON struct {
	State string `json:"state"`
	Value any    `json:"value,omitempty"`
	Error string `json:"error,omitempty"`
}

type questionJSON struct {
	Type    string  `json:"type"`
	Result  string  `json:"result"`
	Seconds float64 `json:"seconds"`
}

// maxEvidence bounds the octets of one evidence shown.
const maxEvidence = 255

func (e *explained) writeJSON(w io.Writer) error {
	top := e.deciding()
	out := explainJSON{
		Helo: heloJSON{e.query.Helo, nameOf(&e.Facts), e.Facts.Helo.Kind.String()}, Policy: e.source,
		Action: e.summary(), Score: top.Score, Exempt: top.Exempt, Hits: []hitJSON{},
		Reply:      jsonReply(top.Reply),
		WouldReply: wouldReply(top), Recipients: []rcptJSON{}, Facts: e.jsonFacts(),
		Memory:       e.memory,
		Exemption:    e.exemption,
		NotEvaluated: append([]maddyconf.Table{}, e.skipped...),
	}
	if e.query.Client.IsValid() {
		out.IP = e.query.Client.String()
	}
	for _, h := range top.Hits {
		out.Hits = append(out.Hits, hitJSON{h.Rule.Name, h.Rule.Action.String(), h.Rule.Score,
			heloname.Line(h.Evidence, maxEvidence)})
	}
	for i := range e.query.Rcpts {
		o := &e.Recipients[i]
		out.Recipients = append(out.Recipients,
			rcptJSON{o.Rcpt, actionWord(&o.Outcome), o.Exempt, jsonReply(o.Reply), wouldReply(o)})
	}
	return printJSON(w, out)
}

// summary is the action for a message to all the recipients.
func (e *explained) summary() string { return actionWord(e.outcome()) }

// nameOf is the host name or address that was said, as the rules see it.
func nameOf(f *checkhelo.Facts) string {
	if f.Helo.Addr.IsValid() {
		return f.Helo.Addr.String()
	}
	return f.Helo.ASCII
}

// wouldReply is the reply that max_action holds back.
func wouldReply(o *judge.RcptOutcome) *replyJSON {
	if o.Reply.Code != 0 || o.Would == o.Action {
		return nil
	}
	return jsonReply(o.WouldReply)
}

func jsonReply(r checkhelo.Reply) *replyJSON {
	if r.Code == 0 {
		return nil
	}
	return &replyJSON{r.Code, enhanced(r.Enhanced), r.Text}
}

func enhanced(code [3]int) string { return fmt.Sprintf("%d.%d.%d", code[0], code[1], code[2]) }

// fact is one answer of the DNS or of a table, for people and programs.
type fact struct {
	name  string
	state checkhelo.State
	value any
	err   error
}

func answerOf[T any](name string, a checkhelo.Answer[T]) fact {
	return fact{name, a.State, a.Value, a.Err}
}

func (e *explained) facts() []fact {
	f := &e.Facts
	denied := answerOf("denied", f.Denied)
	denied.value = f.Denied.Value.Message
	listed := answerOf("listed", f.Listed)
	zones := make([]string, 0, len(f.Listed.Value))
	for _, l := range f.Listed.Value {
		zones = append(zones, l.Zone+" "+l.Addr.String()+" "+l.Reason)
	}
	listed.value = zones
	return []fact{
		answerOf("forward", f.Forward), answerOf("mx", f.MX), answerOf("ptr", f.PTR),
		answerOf("confirmed", f.Confirmed), answerOf("tld", f.TLD), answerOf("spf", f.SPF),
		listed, denied,
	}
}

func (e *explained) jsonFacts() map[string]any {
	facts := make(map[string]any)
	for _, one := range e.facts() {
		answer := answerJSON{State: stateWord(one.state)}
		if one.state == checkhelo.Found {
			answer.Value = one.value
		}
		if one.err != nil {
			answer.Error = one.err.Error()
		}
		facts[one.name] = answer
	}
	asked := make([]questionJSON, 0, len(e.Questions))
	for _, q := range e.Questions {
		asked = append(asked, questionJSON{q.Type, q.Result, q.Took.Seconds()})
	}
	facts["questions"] = asked
	return facts
}

func stateWord(s checkhelo.State) string {
	return [...]string{"not_asked", "found", "not_found", "failed"}[s]
}
