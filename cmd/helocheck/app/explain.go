package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/docs"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/maddyconf"
	"maddy.example/checkhelo/module/memory"
	"maddy.example/checkhelo/module/replay"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "tell what the check makes of a greeting, and why",
		ArgsUsage: "NAME | --log FILE ID",
		Flags: append(policyFlags(),
			option("log", "", "tell the story of a message in the log `FILE`"),
			option("ip", "", "the client's address `A`"),
			option("from", "", "the sender `ADDR`, <> for a bounce"),
			repeated("rcpt", "a recipient `ADDR`"),
			option("auth", "", "the client has logged in as `USER`"),
			option("dns", "system", "look up `HOW`: system, off, HOST:PORT"),
			formatFlag("text", "json"),
			toggle("all", "show all rules and what the DNS said"),
			toggle("fix", "show the settings of every mail server too"),
			&cli.BoolFlag{Name: "mend", Hidden: true}, // name of --fix until the next version
		),
		Action: runExplain,
	}
}

func runExplain(c *cli.Context) error {
	if n := c.Args().Len(); n != 1 {
		return usage(fmt.Sprintf("explain takes one name or message ID, not %d (see: %s --help)",
			n, c.Command.HelpName))
	}
	query := judge.Query{
		Conn: judge.Conn{Helo: c.Args().First()}, From: senderOf(c.String("from")),
		Rcpts: c.StringSlice("rcpt"), User: c.String("auth"),
	}
	if ip := c.String("ip"); ip != "" {
		addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]"))
		if err != nil {
			return usage(fmt.Sprintf("--ip %q is not an address", ip))
		}
		query.Client = heloname.Unmap(addr)
	}
	if c.IsSet("log") {
		var err error
		if query, err = tellStory(c, c.Args().First()); err != nil {
			return err
		}
	}
	e, err := newExplained(c, query)
	if err != nil {
		return err
	}
	if err := show(c, "explain", e); err != nil || statuses[e.Action] == 0 {
		return err
	}
	return cli.Exit("", statuses[e.Action])
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
	Helo struct {
		Said string `json:"said"`
		Name string `json:"name"` // host name or address, as the rules see it
		Kind string `json:"kind"`
	} `json:"helo"`
	IP     string    `json:"ip"`
	Policy string    `json:"policy"` // or configuration file
	Action string    `json:"action"` // for a message to all the recipients
	Score  int       `json:"score"`
	Exempt string    `json:"exempt"`
	Hits   []hitJSON `json:"hits"`
	replies
	Recipients []rcptJSON     `json:"recipients"`
	Facts      map[string]any `json:"facts"`
	Memory     struct {       // without a place there is none
		Place string `json:"place"`
		Known string `json:"known"` // unknown, seen, accepted
		Error string `json:"error,omitempty"`
	} `json:"memory"`
	Exemption string `json:"exemption"` // the line that lets the client pass
	// NotEvaluated lists the tables that the judgement does without.
	NotEvaluated []maddyconf.Table `json:"not_evaluated"`

	*screen
	All     bool              `json:"-"` // tells what did not decide, too
	Fix     bool              `json:"-"` // tells the settings of each mail server
	Proof   string            `json:"-"` // that Exemption asks for
	HelpURL string            `json:"-"`
	Login   string            `json:"-"`
	Judged  judge.Explanation `json:"-"`
	Top     rcptJSON          `json:"-"` // what the summary is about
}

type hitJSON struct {
	report.Hit
	Evidence string `json:"evidence"`
}

type rcptJSON struct {
	Rcpt   string `json:"rcpt"`
	Action string `json:"action"`
	Exempt string `json:"exempt,omitempty"`
	replies
	Judged *judge.RcptOutcome `json:"-"`
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

// questionJSON is one question to the DNS. Result is one of the Kind constants of package dnsfacts.
type questionJSON struct {
	Type    string        `json:"type"`
	Result  string        `json:"result"`
	Seconds float64       `json:"seconds"`
	Took    time.Duration `json:"-"`
}

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
		screen:       newScreen(c.App.Writer), All: c.Bool("all"), Fix: c.Bool("fix") || c.Bool("mend"),
		HelpURL: j.Policy.HelpURL, Login: query.User,
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
		asked = append(asked,
			questionJSON{qtype, result, took.Seconds(), took.Round(100 * time.Microsecond)})
	}
	e.Judged = j.Explain(c.Context, query)
	mu.Lock()
	e.Facts["questions"] = asked // in the order of the answers
	mu.Unlock()
	helo := &e.Judged.Facts.Helo
	e.Helo.Said, e.Helo.Name, e.Helo.Kind = query.Helo, helo.ASCII, helo.Kind.String()
	if helo.Addr.IsValid() {
		e.Helo.Name = helo.Addr.String()
	}
	top := &e.Judged.Recipients[e.Judged.Deciding]
	e.Action = actionWord(&e.Judged.Message)
	if e.Judged.Message.Exempt != "" { // the refusal of recipients that are not exempt stands
		e.Action = actionWord(&top.Outcome)
	}
	e.Top = rcptOf(top)
	e.Top.Action = e.Action
	e.Score, e.Exempt, e.replies = top.Score, top.Exempt, e.Top.replies
	for _, h := range top.Hits {
		e.Hits = append(e.Hits, hitJSON{report.HitOf(&h), heloname.Line(h.Evidence, maxShown)})
	}
	for i := range query.Rcpts {
		e.Recipients = append(e.Recipients, rcptOf(&e.Judged.Recipients[i]))
	}
	for _, fact := range e.Known() {
		e.Facts[fact.Name] = fact
	}
	known := e.Judged.Facts
	if j.Gatherer.Exchange != nil { // the verdict may not have asked
		j.Gatherer.Fill(c.Context, &known, checkhelo.NeedForward)
	}
	if query.Client.IsValid() {
		e.IP = query.Client.String()
		e.Exemption, e.Proof = report.Exempting(&known)
	}
	return e, nil
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
	e.Memory.Place, e.Memory.Known = db.Place(), known.String()
	if err != nil {
		e.Memory.Error = err.Error()
	}
	return db
}

func rcptOf(o *judge.RcptOutcome) rcptJSON {
	r := rcptJSON{Rcpt: o.Rcpt, Action: actionWord(&o.Outcome), Exempt: o.Exempt, Judged: o}
	if o.Reply.Code != 0 {
		r.Reply = jsonReply(o.Reply)
	} else if o.Would != o.Action && (o.Would == checkhelo.Reject || o.Would == checkhelo.Greylist) {
		r.WouldReply = jsonReply(o.WouldReply())
	}
	return r
}

func jsonReply(r checkhelo.Reply) *replyJSON {
	e := r.Enhanced
	return &replyJSON{r.Code, fmt.Sprintf("%d.%d.%d", e[0], e[1], e[2]), r.Text}
}

// statuses are those of the program, by the word of an outcome; 0 where the mail is accepted.
var statuses = map[string]int{
	"reject": exitFailure, "quarantine": exitQuarantined, "greylist": exitLater, "tempfail": exitLater,
}

// actionWord names what becomes of one recipient's mail.
func actionWord(o *judge.Outcome) string {
	if o.Exempt != "" {
		return "none"
	}
	return o.Word()
}

// Others returns how many rules did not hit.
func (e *explained) Others() int { return len(e.Top.Judged.Rules) - len(e.Hits) }

// ways are what the sender can do about the strongest hit.
type ways struct{ First, Rest string }

// Ways returns nil without a page of the rule: the verdict stands without it.
func (e *explained) Ways() *ways {
	page, err := docs.Rule(docs.Files, e.Hits[0].Rule)
	if err != nil {
		return nil
	}
	fix, others, _ := strings.Cut(page.Fix, "\n### ")
	first, _, _ := strings.Cut(fix, "\n\n")
	return &ways{withoutMarkdown(first), strings.TrimPrefix(fix, first) + "\n### " + others}
}

var markdown = regexp.MustCompile("`([^`]*)`|\\*\\*([^*]*)\\*\\*|\\[([^\\]]*)\\]\\([^)]*\\)")

// withoutMarkdown returns a paragraph as plain text.
func withoutMarkdown(text string) string {
	flat := strings.Join(strings.Fields(text), " ")
	return markdown.ReplaceAllString(flat, "$1$2$3")
}

var listItem = regexp.MustCompile(`^(-|\d+\.|#+) `)

// Page returns Markdown as plain text: paragraphs and items of lists fit the screen, and code keeps
// its lines.
func (s *screen) Page(text string) string {
	var b strings.Builder
	code, paragraph := false, ""
	flush := func() {
		if paragraph != "" {
			fmt.Fprintln(&b, s.Text(0, strings.TrimLeft(withoutMarkdown(paragraph), "# ")))
		}
		paragraph = ""
	}
	for line := range strings.Lines(text) {
		inner := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(inner, "```"):
			flush()
			code = !code
		case code:
			fmt.Fprintln(&b, s.Text(4+len(line)-len(strings.TrimLeft(line, " \t")), inner))
		case inner == "":
			flush()
			fmt.Fprintln(&b)
		default:
			if listItem.MatchString(inner) {
				flush()
			}
			paragraph += " " + inner
		}
	}
	flush()
	return b.String()
}

// fact is one answer of the DNS or of a table, for people and programs.
type fact struct {
	Name  string `json:"-"`
	State string `json:"state"`
	Value any    `json:"value,omitempty"` // of an answer that was found
	Error string `json:"error,omitempty"`
}

func factOf[T any](name string, a checkhelo.Answer[T], value any) fact {
	f := fact{Name: name, State: [...]string{"not_asked", "found", "not_found", "failed"}[a.State]}
	if a.State == checkhelo.Found {
		f.Value = value
	}
	if a.Err != nil {
		f.Error = a.Err.Error()
	}
	return f
}

// factsOf returns what is known about a greeting, in the order of a text.
func factsOf(f *checkhelo.Facts) []fact {
	zones := make([]string, 0, len(f.Listed.Value))
	for _, l := range f.Listed.Value {
		zones = append(zones, l.Zone+" "+l.Addr.String()+" "+l.Reason)
	}
	return []fact{
		factOf("forward", f.Forward, f.Forward.Value), factOf("mx", f.MX, f.MX.Value),
		factOf("ptr", f.PTR, f.PTR.Value), factOf("confirmed", f.Confirmed, f.Confirmed.Value),
		factOf("tld", f.TLD, f.TLD.Value), factOf("spf", f.SPF, f.SPF.Value),
		factOf("listed", f.Listed, zones), factOf("denied", f.Denied, f.Denied.Value.Message),
	}
}

// Known are the facts about the greeting.
func (e *explained) Known() []fact { return factsOf(&e.Judged.Facts) }

const (
	maxStory     = 20   // lines of a log shown for one message
	maxStoryLine = 1024 // octets shown of each
)

// othersRefusal matches a line about mail of our own that another server refused because of the
// greeting or the names of our server.
var othersRefusal = regexp.MustCompile(`(?i)(\bstatus=(bounced|deferred)\b|\bsaid: |\*\* |==|` +
	`remote_server|delivery (attempt )?failed|SMTP error from remote).*` +
	`\b[45]\d\d\b.*\b(helo|ehlo|greeting|host ?name|reverse|r?dns|ptr|fqdn|resolve)`)

// breakable lets the JSON in a log line be broken between its fields.
var breakable = strings.NewReplacer("\t", " ", `,"`, `, "`)

// story is what a log says of one message.
type story struct {
	*screen
	Lines   []string // the first ones
	More    int      // lines that are left out
	Outcome string
	refused bool // by another server
	record  *replay.Record
}

func readStory(c *cli.Context, path, id string) (*story, error) {
	// The ID stands between octets that no message ID has.
	whole, err := regexp.Compile(`(^|[^-0-9A-Za-z])` + regexp.QuoteMeta(id) + `($|[^-0-9A-Za-z])`)
	if err != nil {
		return nil, usage(fmt.Sprintf("%q is no message ID", id))
	}
	st := &story{screen: newScreen(c.App.Writer)}
	opt := replay.Options{Line: func(line []byte) {
		if id == "" || !bytes.Contains(line, []byte(id)) || !whole.Match(line) {
			return
		}
		st.refused = st.refused || othersRefusal.Match(line)
		if len(st.Lines) == maxStory {
			st.More++
			return
		}
		st.Lines = append(st.Lines, heloname.Line(breakable.Replace(string(line)), maxStoryLine))
	}}
	_, err = replay.Read(c.Context, []string{path}, opt, func(rec *replay.Record) error {
		if st.record == nil && strings.EqualFold(rec.MsgID, id) {
			kept := *rec
			kept.Rcpts = slices.Clone(rec.Rcpts)
			said := strings.TrimRight(rec.Outcome+": "+rec.Reason, ": ")
			st.record, st.Outcome = &kept, heloname.Line(said, maxStoryLine)
		}
		return nil
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, usage(err.Error())
	case err == nil && st.record == nil && len(st.Lines) == 0:
		return nil, usage(fmt.Sprintf("%s has no line with the message ID %q", path, id))
	}
	return st, err
}

// tellStory shows what a log says of the message with that ID and returns its greeting.
func tellStory(c *cli.Context, id string) (query judge.Query, err error) {
	path := c.String("log")
	id = strings.Trim(id, "<>[]();:,. ")
	st, err := readStory(c, path, id)
	if err == nil && c.String("format") == "text" {
		err = texts.ExecuteTemplate(c.App.Writer, "story", st)
	}
	switch {
	case err != nil:
		return query, err
	case st.record != nil:
		return queryOf(st.record), nil
	case st.refused:
		fmt.Fprintln(c.App.Writer, st.Text(0, "Another server refused this message. See what it sees"+
			" of yours: helocheck self"))
		return query, cli.Exit("", exitFailure)
	}
	return query, usage(fmt.Sprintf("%s has no greeting of the message %q", path, id))
}
