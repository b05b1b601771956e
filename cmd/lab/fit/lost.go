package fit

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/cmd/helocheck/report"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/replay"
)

// lost is ham of one kind that does not reach the inbox.
type lost struct {
	set, helo, ptr, action, rules string
}

const maxShown = 255 // octets of a name

// writeLost names the ham that the policy rejects or quarantines.
func (f *fitting) writeLost(ctx context.Context, w io.Writer) error {
	messages := make(map[lost]int64)
	rules := f.judge.Policy.Rules()
	for i, path := range f.paths {
		err := f.judge.Read(ctx, path, func(rec *replay.Record, m *report.Message) {
			if strings.EqualFold(rec.Class, ham) && m.Action >= checkhelo.Quarantine {
				messages[lost{f.sets[i], code(rec.Helo), heardPTR(rec),
					m.Action.String(), effects(rules, m.Rules)}] += int64(m.Count)
			}
		})
		if err != nil {
			return err
		}
	}
	order := slices.SortedFunc(maps.Keys(messages), func(a, b lost) int {
		return cmp.Or(cmp.Compare(a.set, b.set), cmp.Compare(messages[b], messages[a]),
			cmp.Compare(a.helo, b.helo), cmp.Compare(a.ptr, b.ptr), cmp.Compare(a.rules, b.rules))
	})
	fmt.Fprintln(w, "| mail | messages | HELO | PTR | action | rules |")
	fmt.Fprintln(w, "| --- | ---: | --- | --- | --- | --- |")
	for _, l := range order {
		fmt.Fprintf(w, "| %s | %d | %s | %s | %s | %s |\n",
			l.set, messages[l], l.helo, l.ptr, l.action, l.rules)
	}
	return nil
}

// code is a name for a cell of a Markdown table.
func code(name string) string {
	return "`" + strings.ReplaceAll(heloname.Clean(name, maxShown), "|", `\|`) + "`"
}

// heardPTR is what the input says of the client's name.
func heardPTR(rec *replay.Record) string {
	switch rec.PTRState {
	case replay.Confirmed:
		return code(rec.PTR)
	case replay.Unconfirmed:
		return code(rec.PTR) + ", unconfirmed"
	case replay.None:
		return "none"
	default:
		return "not recorded"
	}
}

// effects lists the rules that did something.
func effects(rules []checkhelo.Rule, hits uint64) string {
	var words []string
	for i, r := range rules {
		switch {
		case hits>>i&1 == 0 || r.Action <= checkhelo.Ignore:
		case r.Action == checkhelo.Score:
			words = append(words, fmt.Sprintf("%s %d", r.Name, r.Score))
		default:
			words = append(words, r.Name)
		}
	}
	return strings.Join(words, ", ")
}
