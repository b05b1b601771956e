package app

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
	"maddy.example/checkhelo/module/maddyconf"
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
		ArgsUsage: "NAME",
		Description: "Judges as the server does: --config reads the operator's maddy.conf. Without\n" +
			"--ip the rules that need the client's address are not asked. Ends with status 0 when the\n" +
			"mail is accepted, 1 when it is refused, 3 when it goes to the Junk folder, 4 when the\n" +
			"client has to try later.",
		Flags: append(policyFlags(),
			&cli.StringFlag{Name: "ip", Usage: "the client's address `A`"},
			&cli.StringSliceFlag{Name: "rcpt", Usage: "a recipient `ADDR`; may be repeated"},
			&cli.StringFlag{Name: "auth", Usage: "the client has logged in as `USER`"},
			&cli.StringFlag{Name: "dns", Value: "system", Usage: "look up `HOW`: system, off, HOST:PORT"},
			&cli.StringFlag{Name: "format", Value: "text", Usage: "write as `F`: text, json"},
			&cli.BoolFlag{Name: "fix", Usage: "show the settings of every mail server too"},
			&cli.BoolFlag{Name: "mend", Hidden: true}, // name of --fix until the next version
		),
		Action: runExplain,
	}
}

func runExplain(c *cli.Context) error {
	names, err := operands(c)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return usage(fmt.Sprintf("explain takes one name, not %d (see: helocheck explain --help)",
			len(names)))
	}
	format, err := formatOf(c, "text", "json")
	if err != nil {
		return err
	}
	query := judge.Query{Helo: names[0], Rcpts: c.StringSlice("rcpt"), User: c.String("auth")}
	if ip := c.String("ip"); ip != "" {
		query.Client, err = netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(ip, "["), "]"))
		if err != nil {
			return usage(fmt.Sprintf("--ip %q is not an address", ip))
		}
		query.Client = heloname.Unmap(query.Client)
	}
	conf, source, err := loadCheck(c)
	if err != nil {
		return err
	}
	j := conf.Check.Judge()
	if err = useDNS(j, c.String("dns")); err != nil {
		return err
	}
	e := explained{j.Explain(c.Context, query), query, source, conf.NotEvaluated}
	if format == "json" {
		err = e.writeJSON(c.App.Writer)
	} else {
		err = e.writeText(c.App.Writer, coloured(c.App.Writer), c.Bool("fix") || c.Bool("mend"))
	}
	if err != nil {
		return err
	}
	return e.status()
}

// explained is an explanation and what it answers.
type explained struct {
	judge.Explanation
	query   judge.Query
	source  string // policy or configuration file
	skipped []maddyconf.Table
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

// status ends the program with the exit status for the outcome.
func (e *explained) status() error {
	switch o := e.outcome(); {
	case o.TryLater:
		return cli.Exit("", exitLater)
	case o.Exempt != "":
		return nil
	case o.Action == checkhelo.Reject:
		return cli.Exit("", exitFailure)
	case o.Action == checkhelo.Quarantine:
		return cli.Exit("", exitQuarantined)
	default:
		return nil
	}
}

// actionWord names what becomes of one recipient's mail.
func actionWord(o *judge.Outcome) string {
	switch {
	case o.Exempt != "" || !o.TryLater && len(o.Hits) == 0:
		return "none"
	case o.TryLater:
		return "tempfail"
	default:
		return o.Action.String()
	}
}
