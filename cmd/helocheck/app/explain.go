package app

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/replay"
)

// Exit statuses of explain beside exitFailure, a refusal.
const (
	exitQuarantined = 3 // the message goes to the Junk folder
	exitLater       = 4 // the client has to try later
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "tell what the check makes of a greeting, and why",
		ArgsUsage: "NAME | --log FILE ID",
		Description: "Judges as the server does, by its maddy.conf. Without --ip the rules that need" +
			" the client's address are not asked. With --log it takes the greeting of the message" +
			" with that ID from a log; the ID stands in the bounce." +
			"\n\nEnds with status 0 when the mail is accepted, 1 when it is refused, 3 when it goes to" +
			" the Junk folder, 4 when the client has to try later.",
		Flags: append(policyFlags(),
			option("log", "", "tell the story of a message in the log `FILE`"),
			option("ip", "", "the client's address `A`"),
			option("from", "", "the sender `ADDR`, <> for a bounce"),
			repeated("rcpt", "a recipient `ADDR`; may be repeated"),
			option("auth", "", "the client has logged in as `USER`"),
			option("dns", "system", "look up `HOW`: system, off, HOST:PORT"),
			formatFlag("text, json"),
			toggle("all", "show all rules and what the DNS said"),
			toggle("fix", "show the settings of every mail server too"),
			&cli.BoolFlag{Name: "mend", Hidden: true}, // name of --fix until the next version
		),
		Action: runExplain,
	}
}

func runExplain(c *cli.Context) error {
	what := "name"
	if c.IsSet("log") {
		what = "message ID"
	}
	if n := c.Args().Len(); n != 1 {
		return usage(fmt.Sprintf("explain takes one %s, not %d (see: %s --help)",
			what, n, c.Command.HelpName))
	}
	query := judge.Query{
		Helo: c.Args().First(), From: senderOf(c.String("from")), Rcpts: c.StringSlice("rcpt"),
		User: c.String("auth"),
	}
	if ip := c.String("ip"); ip != "" {
		addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]"))
		if err != nil {
			return usage(fmt.Sprintf("--ip %q is not an address", ip))
		}
		query.Client = heloname.Unmap(addr)
	}
	s := newScreen(c.App.Writer)
	if c.IsSet("log") {
		var err error
		if query, err = tellStory(c, s, c.Args().First()); err != nil {
			return err
		}
	}
	e, err := newExplained(c, query)
	if err != nil {
		return err
	}
	if c.String("format") == "json" {
		if err := printJSON(c.App.Writer, e); err != nil {
			return err
		}
	} else {
		e.writeText(s, c.Bool("all"), c.Bool("fix") || c.Bool("mend"))
	}
	if status := words[e.Action].status; status != 0 {
		return cli.Exit("", status)
	}
	return nil
}

// notRecorded stands for a sender that nobody names: the null sender is another one.
const notRecorded = "unknown@sender.invalid"

// senderOf returns a sender as a judge takes it: "" is the null sender there, and not unknown.
func senderOf(from string) string {
	switch from {
	case "":
		return notRecorded
	case replay.NullSender:
		return ""
	}
	return from
}

// explained is an explanation as JSON has it, with what the text shows beside it.
type explained struct {
	Helo   heloJSON  `json:"helo"`
	IP     string    `json:"ip"`
	Policy string    `json:"policy"` // or configuration file
	Action string    `json:"action"` // for a message to all the recipients
	Score  int       `json:"score"`
	Exempt string    `json:"exempt"`
	Hits   []hitJSON `json:"hits"`
	replies
	Recipients []rcptJSON     `json:"recipients"`
	Facts      map[string]any `json:"facts"`
	Memory     memoryJSON     `json:"memory"`
	Exemption  string         `json:"exemption"` // the line that lets the client pass
	// NotEvaluated lists the tables that the judgement does without.
	NotEvaluated []maddyconf.Table `json:"not_evaluated"`

	proof, helpURL, user string
	asked                []questionJSON // of the DNS, in the order of the answers
	all                  judge.Explanation
	top                  *judge.RcptOutcome // what the summary is about
}

type heloJSON struct {
	Said string `json:"said"`
	Name string `json:"name"` // host name or address, as the rules see it
	Kind string `json:"kind"`
}

type hitJSON struct {
	Rule     string `json:"rule"`
	Action   string `json:"action"`
	Score    int    `json:"score"`
	Evidence string `json:"evidence"`
}

type rcptJSON struct {
	Rcpt   string `json:"rcpt"`
	Action string `json:"action"`
	Exempt string `json:"exempt,omitempty"`
	replies
}

// replies are what the client reads; null: accepted.
type replies struct {
	Reply *replyJSON `json:"reply"`
	// WouldReply is the reply that max_action holds back; absent where it is Reply.
	WouldReply *replyJSON `json:"would_reply,omitempty"`
}

type replyJSON struct {
	Code     int    `json:"code"`
	Enhanced string `json:"enhanced"`
	Text     string `json:"text"`
}

// memoryJSON is what memory says of the sender; without a place there is none.
type memoryJSON struct {
	Place string `json:"place"`
	Known string `json:"known"` // unknown, seen, accepted
	Error string `json:"error,omitempty"`
}

// questionJSON is one question to the DNS. Result is one of the Kind constants of package dnsfacts.
type questionJSON struct {
	Type    string  `json:"type"`
	Result  string  `json:"result"`
	Seconds float64 `json:"seconds"`
}

// maxEvidence bounds the octets of one evidence shown.
const maxEvidence = 255

func newExplained(c *cli.Context, query judge.Query) (*explained, error) {
	conf, source, err := loadCheck(c)
	if err != nil {
		return nil, err
	}
	j := conf.Check.Judge()
	if err := useDNS(j, c.String("dns")); err != nil {
		return nil, err
	}
	e := &explained{
		Policy: source, Hits: []hitJSON{}, Recipients: []rcptJSON{}, Facts: make(map[string]any),
		NotEvaluated: append([]maddyconf.Table{}, conf.NotEvaluated...),
		helpURL:      j.Policy.HelpURL, user: query.User,
	}
	if !isPreset(source) && query.Client.IsValid() {
		if db := e.useMemory(c.Context, conf, query); db != nil {
			defer db.Close() //nolint:errcheck // it was only read
		}
	}
	var mu sync.Mutex // a question that nobody waits for any more may still be answered
	asked := []questionJSON{}
	j.Gatherer.Observe = func(qtype, result string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, questionJSON{qtype, result, took.Seconds()})
	}
	e.all = j.Explain(c.Context, query)
	mu.Lock()
	e.asked = asked
	mu.Unlock()
	e.top = &e.all.Recipients[e.all.Deciding]
	e.judged(query)
	known, ptr := e.all.Facts, ""
	if j.Gatherer.Exchange != nil { // the verdict may not have asked
		j.Gatherer.Fill(c.Context, &known, checkhelo.NeedForward)
	}
	if len(known.Confirmed.Value) > 0 {
		ptr = known.Confirmed.Value[0]
	}
	if query.Client.IsValid() {
		e.IP = query.Client.String()
		e.Exemption, e.proof = report.Exempting(known.Helo, query.Client, ptr,
			slices.Contains(known.Forward.Value, query.Client))
	}
	return e, nil
}

// judged notes outcomes and facts.
func (e *explained) judged(query judge.Query) {
	helo := &e.all.Facts.Helo
	e.Helo = heloJSON{query.Helo, helo.ASCII, helo.Kind.String()}
	if helo.Addr.IsValid() {
		e.Helo.Name = helo.Addr.String()
	}
	e.Action = actionWord(&e.all.Message)
	if e.all.Message.Exempt != "" { // the refusal of recipients that are not exempt stands
		e.Action = actionWord(&e.top.Outcome)
	}
	e.Score, e.Exempt, e.replies = e.top.Score, e.top.Exempt, repliesOf(e.top)
	for _, h := range e.top.Hits {
		e.Hits = append(e.Hits, hitJSON{h.Rule.Name, h.Rule.Action.String(), h.Rule.Score,
			heloname.Line(h.Evidence, maxEvidence)})
	}
	for i := range query.Rcpts {
		o := &e.all.Recipients[i]
		e.Recipients = append(e.Recipients,
			rcptJSON{o.Rcpt, actionWord(&o.Outcome), o.Exempt, repliesOf(o)})
	}
	for _, fact := range factsOf(&e.all.Facts) {
		e.Facts[fact.name] = fact
	}
	e.Facts["questions"] = e.asked
}

// useMemory lets the check read its memory, and returns it if there is one. What the check
// remembers meanwhile is dropped.
func (e *explained) useMemory(
	ctx context.Context, conf *maddyconf.Config, query judge.Query,
) *memory.DB {
	kind, place := conf.Memory()
	if kind == "" {
		return nil
	}
	db, err := memory.OpenTool(ctx, kind, place, false)
	if err != nil {
		e.Memory.Error = "not read: " + strings.TrimPrefix(err.Error(), "memory: ")
		return nil
	}
	_, _, settings := conf.Check.Memory()
	settings.Store = db
	j := conf.Check.Judge()
	known, err := settings.Known(ctx, memory.Sender{
		Helo: heloname.Parse(query.Helo), Client: query.Client, Lists: j.Lists,
	})
	j.Memory = &settings
	e.Memory = memoryJSON{Place: db.Place(), Known: known.String()}
	if err != nil {
		e.Memory.Error = err.Error()
	}
	return db
}

func repliesOf(o *judge.RcptOutcome) (r replies) {
	if o.Reply.Code != 0 {
		r.Reply = jsonReply(o.Reply)
	} else if o.Would != o.Action && o.WouldReply.Code != 0 {
		r.WouldReply = jsonReply(o.WouldReply)
	}
	return r
}

func jsonReply(r checkhelo.Reply) *replyJSON {
	return &replyJSON{r.Code, enhanced(r.Enhanced), r.Text}
}

func enhanced(code [3]int) string { return fmt.Sprintf("%d.%d.%d", code[0], code[1], code[2]) }

// words says what becomes of mail, by the word of its outcome: accepted unless it is here.
var words = map[string]struct {
	text, colour string
	status       int // of the program
}{
	"reject":     {"reject", red, exitFailure},
	"quarantine": {"quarantine", yellow, exitQuarantined},
	"greylist":   {"wait", yellow, exitLater},
	"tempfail":   {"try later", red, exitLater},
}

// actionWord names what becomes of one recipient's mail.
func actionWord(o *judge.Outcome) string {
	if o.Exempt != "" {
		return "none"
	}
	return o.Word()
}
