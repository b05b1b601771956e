package app

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
)

func rulesCommand() *cli.Command {
	return &cli.Command{
		Name:  "rules",
		Usage: "show the rules in force",
		Flags: append(policyFlags(),
			&cli.StringFlag{Name: "format", Value: "text", Usage: "write as `F`: text, json, md"}),
		Action: runRules,
	}
}

func runRules(c *cli.Context) error {
	if c.Args().Present() {
		return usage(fmt.Sprintf("rules takes no argument %q (see: helocheck rules --help)",
			c.Args().First()))
	}
	format, err := formatOf(c, "text", "json", "md")
	if err != nil {
		return err
	}
	conf, source, err := loadCheck(c)
	if err != nil {
		return err
	}
	table := rulesJSON{Policy: source}
	policy := conf.Check.Judge().Policy
	for _, r := range policy.Rules() {
		table.Rules = append(table.Rules, ruleJSON{
			r.Name, r.Action.String(), r.Score,
			replyJSON{r.Code, enhanced([3]int{r.Code / 100, r.Detail[0], r.Detail[1]}), policy.Text(&r)},
			r.Basis,
		})
	}
	switch format {
	case "json":
		enc := json.NewEncoder(c.App.Writer)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(table)
	case "md":
		return table.writeMarkdown(c.App.Writer)
	default:
		return table.writeText(c.App.Writer)
	}
}

type ruleJSON struct {
	Rule   string    `json:"rule"`
	Action string    `json:"action"`
	Score  int       `json:"score"`
	Reply  replyJSON `json:"reply"` // {helo} and {problem} stand for what the client says
	RFC    string    `json:"rfc"`
}

type rulesJSON struct {
	Policy string     `json:"policy"`
	Rules  []ruleJSON `json:"rules"`
}

// effect is the action with its points.
func (r *ruleJSON) effect() string {
	if r.Action == checkhelo.Score.String() {
		return fmt.Sprintf("score %d", r.Score)
	}
	return r.Action
}

func (t *rulesJSON) writeText(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "rule\taction\treply\tbasis\ttext\n")
	for _, r := range t.Rules {
		fmt.Fprintf(out, "%s\t%s\t%d %s\t%s\t%s\n", r.Rule, r.effect(), r.Reply.Code, r.Reply.Enhanced,
			r.RFC, r.Reply.Text)
	}
	return out.Flush()
}

func (t *rulesJSON) writeMarkdown(w io.Writer) error {
	var text strings.Builder
	text.WriteString("| rule | action | reply | basis | text |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range t.Rules {
		fmt.Fprintf(&text, "| %s | %s | %d %s | %s | %s |\n", r.Rule, r.effect(), r.Reply.Code,
			r.Reply.Enhanced, r.RFC, strings.ReplaceAll(r.Reply.Text, "|", `\|`))
	}
	_, err := io.WriteString(w, text.String())
	return err
}
