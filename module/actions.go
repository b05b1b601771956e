package module

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/foxcpp/maddy/framework/config"
	modconfig "github.com/foxcpp/maddy/framework/config/module"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

const (
	acceptedActions = "off, ignore, score N, quarantine, reject [CODE [ENHANCED [TEXT]]]"
	maxScore        = 1000 // points
	maxReplyText    = 250  // octets of an operator's own text
)

// action returns the reader of one `<rule>_action` directive.
func (s *settings) action(rule checkhelo.Rule) func(*config.Map, config.Node) error {
	return func(_ *config.Map, node config.Node) error {
		if _, twice := s.check.policy.Override[rule.Name]; twice {
			return config.NodeErr(node, "duplicate directive: %s", node.Name)
		}
		set, err := parseAction(node)
		if err != nil {
			return err
		}
		if set.Action == checkhelo.Score && s.scored == nil {
			s.scored = &node
		}
		s.check.policy.Override[rule.Name] = set
		return nil
	}
}

func parseAction(node config.Node) (set checkhelo.Rule, err error) {
	bad := func(problem string) (checkhelo.Rule, error) {
		return set, config.NodeErr(node, "%s: %s; accepted: %s", node.Name, problem, acceptedActions)
	}
	if len(node.Children) != 0 {
		return bad("found a block")
	}
	if len(node.Args) == 0 {
		return bad("found no action")
	}
	word, args := node.Args[0], node.Args[1:]
	switch word {
	case "off", "ignore", "quarantine":
		if len(args) != 0 {
			return bad(fmt.Sprintf("found %q after %s", args[0], word))
		}
		set.Action = map[string]checkhelo.Action{
			"off": checkhelo.Off, "ignore": checkhelo.Ignore, "quarantine": checkhelo.Quarantine,
		}[word]
	case "score":
		set.Action = checkhelo.Score
		if len(args) != 1 {
			return bad("score takes one number")
		}
		if set.Score, err = strconv.Atoi(args[0]); err != nil || set.Score < 1 || set.Score > maxScore {
			return bad(fmt.Sprintf("found score %q, not a number from 1 to %d", args[0], maxScore))
		}
	case "reject":
		set.Action = checkhelo.Reject
		if err := setReply(&set, args); err != nil {
			return bad(err.Error())
		}
	default:
		return bad(fmt.Sprintf("found %q", word))
	}
	return set, nil
}

// setReply reads CODE, ENHANCED and TEXT of `reject`. What is left out stays as the rule has it.
func setReply(set *checkhelo.Rule, args []string) error {
	if len(args) == 0 {
		return nil
	}
	reply, err := modconfig.ParseRejectDirective(args)
	if err != nil {
		return err
	}
	set.Code, set.Detail = reply.Code, [2]int{7, 1}
	if len(args) > 1 {
		if reply.EnhancedCode[0] != reply.Code/100 {
			return fmt.Errorf("found %s with code %d: both must start with %d",
				args[1], reply.Code, reply.Code/100)
		}
		set.Detail = [2]int{reply.EnhancedCode[1], reply.EnhancedCode[2]}
	}
	if len(args) > 2 {
		set.Message = args[2]
		return checkText(args[2])
	}
	return nil
}

// checkText refuses what one line of an SMTP reply cannot hold (RFC 5321, 4.2).
func checkText(text string) error {
	if len(text) > maxReplyText {
		return fmt.Errorf("found a text of %d octets, longer than %d", len(text), maxReplyText)
	}
	if heloname.Line(text, maxReplyText) != text {
		return fmt.Errorf("found a text with other than printable ASCII characters: %+q", text)
	}
	return nil
}

func unknownDirective(node config.Node) error {
	rule, isAction := strings.CutSuffix(node.Name, "_action")
	if !isAction {
		return config.NodeErr(node, "unknown directive %q; see docs/check.helo_fqdn.md", node.Name)
	}
	names := make([]string, 0, 32)
	for _, r := range checkhelo.Rules() {
		names = append(names, r.Name)
	}
	slices.Sort(names)
	return config.NodeErr(node, "unknown rule %q; accepted: %s", rule, strings.Join(names, ", "))
}
