package app

import (
	"fmt"

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
			formatFlag("text", "json")),
		Action: runRules,
	}
}

func runRules(c *cli.Context) error {
	conf, source, err := loadCheck(c)
	if err != nil {
		return err
	}
	table := rulesJSON{newScreen(c.App.Writer), source, []ruleJSON{}}
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
	return show(c, "rules", table)
}

type ruleJSON struct {
	Rule   string    `json:"rule"`
	Action string    `json:"action"`
	Score  int       `json:"score"`
	IPv6   int       `json:"ipv6_score"` // of an IPv6 client
	Reply  replyJSON `json:"reply"`      // {helo} and {problem} stand for what the client says
	RFC    string    `json:"rfc"`
	Effect string    `json:"-"` // the action with its points
}

type rulesJSON struct {
	*screen
	Policy string     `json:"policy"`
	Rules  []ruleJSON `json:"rules"`
}

func rulesOf(policy *checkhelo.Policy) (list []ruleJSON) {
	for _, r := range policy.Rules() {
		six, effect := r.Score, checkhelo.Effect{Action: r.Action, Score: r.Score}.String()
		if r.IPv6.Action != checkhelo.Off {
			six = r.IPv6.Score
		}
		if six != r.Score {
			effect += fmt.Sprintf(", IPv6 score %d", six)
		}
		reply := jsonReply(checkhelo.Reply{
			Code: r.Code, Enhanced: [3]int{r.Code / 100, r.Detail[0], r.Detail[1]}, Text: policy.Text(&r),
		})
		list = append(list, ruleJSON{
			r.Name, r.Action.String(), r.Score, six, *reply, r.Basis, effect,
		})
	}
	return list
}
