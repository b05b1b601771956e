package report

import (
	"encoding/csv"
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/maddyconf"
)

type jsonCount struct {
	Messages int64 `json:"messages"`
	Names    int   `json:"names"`
}

type jsonRule struct {
	jsonCount
	Action   string   `json:"action"`
	Examples []string `json:"examples"`
}

type jsonClass struct {
	jsonCount
	Actions map[string]jsonCount `json:"actions"`
	Rules   map[string]jsonRule  `json:"rules"`
}

func (c *count) json() jsonCount {
	n, _ := c.names.count()
	return jsonCount{c.messages, int(min(int64(n), c.messages))} // an estimate may be above
}

// WriteJSON writes the counts as {"classes":{CLASS:{"messages","names",
// "actions":{ACTION:{"messages","names"}},"rules":{RULE:{"messages","names",
// "action","examples"}}}}}. An action counts each message once, a rule counts
// whatever it hit. Rules that are off are left out. Beside "classes" stands
// "not_evaluated":[{"directive","table","reason"}].
func (t *Tally) WriteJSON(w io.Writer) error {
	classes := make(map[string]jsonClass)
	for _, name := range t.order {
		c := t.classes[name]
		n, _ := c.names.count()
		out := jsonClass{
			jsonCount{c.messages, n}, make(map[string]jsonCount), make(map[string]jsonRule),
		}
		for i := range c.actions {
			out.Actions[actionWords[i]] = c.actions[i].json()
		}
		for i, r := range t.rules {
			if r.Action != checkhelo.Off {
				out.Rules[r.Name] = jsonRule{c.rules[i].json(), r.Action.String(), c.rules[i].examples()}
			}
		}
		classes[name] = out
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(map[string]any{
		"classes": classes, "not_evaluated": append([]maddyconf.Table{}, t.NotEvaluated...),
	})
}

func (r *ruleCount) examples() []string {
	names := make([]string, 0, examples)
	for _, e := range r.common.first(examples) {
		names = append(names, e.Key)
	}
	return names
}

// WriteCSV writes one row for each class, action and rule; examples are
// separated by spaces.
func (t *Tally) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	row := func(class, kind, name, action string, n jsonCount, common []string) {
		// An error stays in out until the end.
		_ = out.Write([]string{class, kind, name, action, strconv.FormatInt(n.Messages, 10),
			strconv.Itoa(n.Names), strings.Join(common, " ")})
	}
	_ = out.Write([]string{"class", "kind", "name", "action", "messages", "names", "examples"})
	for _, name := range t.order {
		c := t.classes[name]
		n, _ := c.names.count()
		row(name, "class", name, "", jsonCount{c.messages, n}, nil)
		for i := numActions - 1; i >= 0; i-- {
			row(name, "action", actionWords[i], actionWords[i], c.actions[i].json(), nil)
		}
		for i, r := range t.rules {
			if r.Action != checkhelo.Off {
				row(name, "rule", r.Name, r.Action.String(), c.rules[i].json(), c.rules[i].examples())
			}
		}
	}
	out.Flush()
	return out.Error()
}
