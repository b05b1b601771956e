package app

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
			&cli.StringFlag{Name: "log", Usage: "tell the story of a message in the log `FILE`"},
			&cli.StringFlag{Name: "ip", Usage: "the client's address `A`"},
			&cli.StringFlag{Name: "from", Usage: "the sender `ADDR`, <> for a bounce"},
			&cli.StringSliceFlag{Name: "rcpt", Usage: "a recipient `ADDR`; may be repeated"},
			&cli.StringFlag{Name: "auth", Usage: "the client has logged in as `USER`"},
			&cli.StringFlag{Name: "dns", Value: "system", Usage: "look up `HOW`: system, off, HOST:PORT"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "write as `F`: text, json"},
			&cli.BoolFlag{Name: "all", Usage: "show all rules and what the DNS said"},
			&cli.BoolFlag{Name: "fix", Usage: "show the settings of every mail server too"},
			&cli.BoolFlag{Name: "mend", Hidden: true}, // name of --fix until the next version
		),
		Action: runExplain,
	}
}

func runExplain(c *cli.Context) error {
	args, err := operands(c)
	if err != nil {
		return err
	}
	what := "name"
	if c.IsSet("log") {
		what = "message ID"
	}
	if len(args) != 1 {
		return usage(fmt.Sprintf("explain takes one %s, not %d (see: %s --help)",
			what, len(args), c.Command.HelpName))
	}
	format, err := formatOf(c, "text", "json")
	if err != nil {
		return err
	}
	query := judge.Query{
		Helo: args[0], From: senderOf(c.String("from")), Rcpts: c.StringSlice("rcpt"),
		User: c.String("auth"),
	}
	if ip := c.String("ip"); ip != "" {
		query.Client, err = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]"))
		if err != nil {
			return usage(fmt.Sprintf("--ip %q is not an address", ip))
		}
		query.Client = heloname.Unmap(query.Client)
	}
	s := newScreen(c.App.Writer)
	if c.IsSet("log") {
		if query, err = tellStory(c, s, args[0]); err != nil {
			return err
		}
	}
	e, err := newExplained(c, query)
	if err != nil {
		return err
	}
	if format == "json" {
		if err := e.writeJSON(c.App.Writer); err != nil {
			return err
		}
	} else {
		e.writeText(s, c.Bool("all"), c.Bool("fix") || c.Bool("mend"))
	}
	return e.status()
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

// explained is an explanation and what it answers.
type explained struct {
	judge.Explanation
	query   judge.Query
	source  string // policy or configuration file
	skipped []maddyconf.Table
	memory  memoryJSON
	helpURL string
	// exemption is the line that lets the client pass, proof what it rests on.
	exemption, proof string
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
		query: query, source: source, skipped: conf.NotEvaluated, helpURL: j.Policy.HelpURL,
	}
	if !isPreset(source) && query.Client.IsValid() {
		closeMemory, err := e.useMemory(c.Context, conf)
		if err != nil {
			e.memory.Error = "not read: " + strings.TrimPrefix(err.Error(), "memory: ")
		} else {
			defer closeMemory() //nolint:errcheck // it was only read
		}
	}
	e.Explanation = j.Explain(c.Context, query)
	known, ptr := e.Facts, ""
	if j.Gatherer != nil && j.Gatherer.Exchange != nil { // the verdict may not have asked
		j.Gatherer.Fill(c.Context, &known, checkhelo.NeedForward)
	}
	if len(known.Confirmed.Value) > 0 {
		ptr = known.Confirmed.Value[0]
	}
	if query.Client.IsValid() {
		e.exemption, e.proof = report.Exempting(known.Helo, query.Client, ptr,
			slices.Contains(known.Forward.Value, query.Client))
	}
	return e, nil
}

// useMemory lets the check read its memory. What it remembers meanwhile is dropped.
func (e *explained) useMemory(
	ctx context.Context, conf *maddyconf.Config,
) (closeMemory func() error, err error) {
	kind, place := conf.Memory()
	if kind == "" {
		return func() error { return nil }, nil
	}
	db, err := memory.OpenTool(ctx, kind, place, false)
	if err != nil {
		return nil, err
	}
	_, _, settings := conf.Check.Memory()
	settings.Store = db
	j := conf.Check.Judge()
	known, err := settings.Known(ctx, memory.Sender{
		Helo: heloname.Parse(e.query.Helo), Client: e.query.Client, Lists: j.Lists,
	})
	j.SetMemory(&settings)
	e.memory = memoryJSON{Place: db.Place(), Known: known.String()}
	if err != nil {
		e.memory.Error = err.Error()
	}
	return db.Close, nil
}

// deciding returns the outcome that the summary is about.
func (e *explained) deciding() *judge.RcptOutcome { return &e.Recipients[e.Deciding] }

// outcome is that of a message to all the recipients. Where only exempt recipients accept it, the
// refusal of the others stands.
func (e *explained) outcome() *judge.Outcome {
	if e.Message.Exempt != "" {
		return &e.deciding().Outcome
	}
	return &e.Message
}

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

// status ends the program with the exit status for the outcome.
func (e *explained) status() error {
	if status := words[e.summary()].status; status != 0 {
		return cli.Exit("", status)
	}
	return nil
}

// actionWord names what becomes of one recipient's mail.
func actionWord(o *judge.Outcome) string {
	if o.Exempt != "" {
		return "none"
	}
	return o.Word()
}
