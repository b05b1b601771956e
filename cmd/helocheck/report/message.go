package report

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/replay"
)

// Message is one judged greeting, or several alike.
type Message struct {
	*replay.Record
	Result
	Other *Result // of a second policy, see Report.Compare; nil: none
}

// Result is a verdict, as far as it is reported.
type Result struct {
	Action   checkhelo.Action
	Would    checkhelo.Action // without max_action
	Score    int
	Hits     []Hit  // strongest first
	Rules    uint64 // bit i: rule i of the table hit
	Exempt   string // why it is not judged; "" when it is
	TryLater bool   // refused for the moment, as a lookup failed
	Known    checkhelo.Known
}

// Hit is a rule that hit.
type Hit struct {
	Rule   string `json:"rule"`
	Action string `json:"action"`
	Score  int    `json:"score"`
}

// HitOf returns a hit as it is reported.
func HitOf(h *checkhelo.Hit) Hit { return Hit{h.Rule.Name, h.Rule.Action.String(), h.Rule.Score} }

// rule returns the name of the rule that decided, "" for none.
func (r *Result) rule() string {
	if len(r.Hits) == 0 {
		return ""
	}
	return r.Hits[0].Rule
}

// strongest has what can become of a message, the strongest first.
var strongest = []string{"reject", "quarantine", "greylist", "score", untouched}

const untouched = "none"

func word(a checkhelo.Action) string {
	if a <= checkhelo.Ignore {
		return untouched
	}
	return a.String()
}

// change is the action and, where there is one, the rule behind it.
func (r *Result) change() string {
	action := word(r.Action)
	if rule := r.rule(); rule != "" && action != untouched {
		return action + ":" + rule
	}
	return action
}

// Greeting is one line of ndjson, and one lost message.
type Greeting struct {
	Time    *time.Time `json:"time"` // null: the input has none
	Server  string     `json:"server"`
	Helo    string     `json:"helo"`
	IP      string     `json:"ip"`
	RDNS    string     `json:"rdns"`
	PTR     string     `json:"ptr"` // confirmed, unconfirmed, none or unknown
	From    string     `json:"from"`
	Rcpt    []string   `json:"rcpt"`
	MsgID   string     `json:"msg_id"`
	Auth    bool       `json:"auth"`
	Class   string     `json:"class"`
	Outcome string     `json:"outcome"` // by the log: accepted, rejected, deferred, or "" for unknown
	Action  string     `json:"action"`
	Would   string     `json:"would"` // without max_action
	Rule    string     `json:"rule"`
	Hits    []Hit      `json:"hits"`
	Score   int        `json:"score"`
	Exempt  string     `json:"exempt"`
	Known   string     `json:"known"`
	Against string     `json:"against,omitempty"` // action of a second policy
	Count   int        `json:"count,omitempty"`   // of a row that stands for more than one message
	Allow   string     `json:"allow,omitempty"`   // the line that exempts a lost sender
}

// greeting writes a message down.
func (m *Message) greeting() Greeting {
	ip, _ := m.Client.MarshalText() // "" for none; there is no error
	g := Greeting{
		Server: m.Server, Helo: m.Helo, IP: string(ip), RDNS: m.PTR, PTR: m.PTRState.String(),
		From: m.From, Rcpt: append([]string{}, m.Rcpts...), MsgID: m.MsgID, Auth: m.Auth,
		Class: m.Class, Outcome: m.Outcome, Action: word(m.Action), Would: word(m.Would),
		Rule: m.rule(), Hits: append([]Hit{}, m.Hits...), Score: m.Score, Exempt: m.Exempt,
		Known: m.Known.String(),
	}
	if at := m.Time; !at.IsZero() {
		g.Time = &at
	}
	if m.TryLater {
		g.Action, g.Would, g.Rule = "tempfail", "tempfail", "dns_error"
	}
	if m.Other != nil {
		g.Against = word(m.Other.Action)
	}
	if m.Count > 1 {
		g.Count = m.Count
	}
	if m.isLost() {
		g.Allow = m.allow()
	}
	return g
}

// When returns the time, "" for none.
func (g *Greeting) When() string {
	if g.Time == nil {
		return ""
	}
	return g.Time.UTC().Format(time.RFC3339)
}

// Name returns what is known of the PTR record.
func (g *Greeting) Name() string {
	switch {
	case g.RDNS == "":
		return g.PTR
	case g.PTR == "confirmed":
		return g.RDNS
	}
	return g.RDNS + " (" + g.PTR + ")"
}

// NDJSON returns what writes a greeting as one line of JSON. The buffer keeps the first error until
// it is flushed.
func NDJSON(w *bufio.Writer) func(*Message) {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return func(m *Message) { _ = enc.Encode(m.greeting()) }
}

// isLost tells whether a message was accepted, and would be refused, quarantined or told to wait.
// Without an outcome, class ham stands for it; known spam is no loss.
func (m *Message) isLost() bool {
	switch {
	case m.Action < checkhelo.Greylist || m.Class == "spam":
		return false
	case m.Action == checkhelo.Quarantine && m.Reason != "": // it was quarantined then
		return false
	}
	return m.Outcome == replay.Accepted || m.Outcome == "" && m.Class == "ham"
}

// allow returns the line that exempts the sender, as far as the input has proof.
func (m *Message) allow() string {
	f := checkhelo.Facts{Helo: heloname.Parse(m.Plain()), Client: m.Client}
	if m.PTRState == replay.Confirmed {
		f.Confirmed.Value = []string{heloname.Parse(m.PTR).ASCII}
	}
	line, _ := Exempting(&f)
	return line
}

// Exempting returns the line for the block of helo_fqdn that exempts the client of f, and its
// proof; "" where nothing is known of it.
func Exempting(f *checkhelo.Facts) (line, proof string) {
	name, ptr := f.Helo.ASCII, ""
	if f.Helo.Addr.IsValid() {
		name = ""
	}
	if len(f.Confirmed.Value) > 0 {
		ptr = f.Confirmed.Value[0]
	}
	switch client := f.Client; {
	case name != "" && f.Owns():
		return fmt.Sprintf(`exempt_names static { entry %s "" }`, name),
			"in the DNS the name is the client's"
	case ptr != "":
		return fmt.Sprintf(`exempt_clients static { entry %s "" }`, ptr),
			"the client's PTR name resolves back"
	case name != "" && client.IsValid():
		return fmt.Sprintf("exempt_names static { entry %s %s }", name, client), "the client's address"
	case client.IsValid():
		return fmt.Sprintf(`exempt_clients static { entry %s "" }`, client), "the client's address"
	}
	return "", ""
}

// kept returns a copy that holds nothing of the input but short, printable texts.
func (g Greeting) kept() Greeting {
	short := func(s string, octets int) string { return strings.Clone(heloname.Clean(s, octets)) }
	for _, s := range []*string{&g.Server, &g.From, &g.MsgID, &g.RDNS, &g.Class} {
		*s = short(*s, maxWord)
	}
	g.Helo = short(g.Helo, maxName)
	g.Rcpt = slices.Clone(g.Rcpt[:min(maxRcpts, len(g.Rcpt))])
	for i := range g.Rcpt {
		g.Rcpt[i] = short(g.Rcpt[i], maxWord)
	}
	return g
}
