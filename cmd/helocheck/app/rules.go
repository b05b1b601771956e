package app

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/maddyconf"
)

func rulesCommand() *cli.Command {
	return &cli.Command{
		Name:  "rules",
		Usage: "show the rules in force",
		Flags: append(policyFlags(),
			toggle("changed", "only the rules that differ from the preset"),
			formatFlag("text, json")),
		Action: runRules,
	}
}

func runRules(c *cli.Context) error {
	conf, source, err := loadCheck(c)
	if err != nil {
		return err
	}
	table := rulesJSON{Policy: source, Rules: []ruleJSON{}}
	policy := conf.Check.Judge().Policy
	usual, err := maddyconf.FromPolicy(string(policy.Preset))
	if err != nil {
		return err
	}
	preset := usual.Judge().Policy.With(policy.Preset, policy.Ceiling)
	preset.HelpURL = policy.HelpURL
	own := rulesOf(preset)
	for i, r := range rulesOf(policy) {
		if !c.Bool("changed") || r != own[i] {
			table.Rules = append(table.Rules, r)
		}
	}
	if c.String("format") == "json" {
		return printJSON(c.App.Writer, table)
	}
	s := newScreen(c.App.Writer)
	for _, r := range table.Rules {
		s.row(ruleColumn, r.Rule, "",
			fmt.Sprintf("%s; %d %s; %s", r.effect(), r.Reply.Code, r.Reply.Enhanced, r.RFC))
		s.row(ruleColumn, "", "", r.Reply.Text)
	}
	return nil
}

type ruleJSON struct {
	Rule   string    `json:"rule"`
	Action string    `json:"action"`
	Score  int       `json:"score"`
	IPv6   int       `json:"ipv6_score"` // of an IPv6 client
	Reply  replyJSON `json:"reply"`      // {helo} and {problem} stand for what the client says
	RFC    string    `json:"rfc"`
}

type rulesJSON struct {
	Policy string     `json:"policy"`
	Rules  []ruleJSON `json:"rules"`
}

func rulesOf(policy *checkhelo.Policy) (list []ruleJSON) {
	for _, r := range policy.Rules() {
		six := r.Score
		if r.IPv6.Action != checkhelo.Off {
			six = r.IPv6.Score
		}
		list = append(list, ruleJSON{
			r.Name, r.Action.String(), r.Score, six,
			replyJSON{r.Code, enhanced([3]int{r.Code / 100, r.Detail[0], r.Detail[1]}), policy.Text(&r)},
			r.Basis,
		})
	}
	return list
}

// effect is the action with its points.
func (r *ruleJSON) effect() string {
	text := r.Action
	if r.Action == checkhelo.Score.String() {
		text = fmt.Sprintf("score %d", r.Score)
	}
	if r.IPv6 != r.Score {
		text += fmt.Sprintf(", IPv6 score %d", r.IPv6)
	}
	return text
}

func printJSON(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(value)
}
