package fit

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// write shows a fit to people.
func (f *fitting) write(w io.Writer, r *Result) error {
	fmt.Fprintf(w, "%d ham, %d spam, %d of other classes; policy %s\n",
		f.counts[ham], f.counts[spam], f.other, f.policy)
	for _, name := range f.sets {
		if limit, given := f.options.MaxLost[name]; given {
			fmt.Fprintf(w, "%s: at most %.4g %% of the ham lost\n", name, 100*limit)
		} else {
			fmt.Fprintf(w, "%s: at most as much ham lost as now\n", name)
		}
	}
	fmt.Fprintln(w)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "\tfile\tham\tlost now\tfitted\tspam\tcaught now\tfitted")
	writePairs(out, "in sample", r.InSample)
	for i, pairs := range r.Folds {
		writePairs(out, fmt.Sprintf("part %d, fitted to the others", i+1), pairs)
	}
	writePairs(out, "held out, all parts", r.HeldOut)
	fmt.Fprintln(out)
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "rule\tmessages\tnow\tfitted")
	for _, p := range r.Points {
		fmt.Fprintf(out, "%s\t%d\t%d\t%d\n", p.Rule, p.Messages, p.Now, p.Fitted)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%s\n", r.Why)
	writeLines(w, r)
	return nil
}

func writePairs(w io.Writer, what string, pairs []Pair) {
	for _, p := range pairs {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%d\t%s\t%s\n", what, p.Set,
			p.Now.Ham, partOf(p.Now.Lost, p.Now.Ham), partOf(p.Fitted.Lost, p.Fitted.Ham),
			p.Now.Spam, partOf(p.Now.Caught, p.Now.Spam), partOf(p.Fitted.Caught, p.Fitted.Spam))
		what = ""
	}
}

// part is a count with its share.
func partOf(n, of int64) string {
	if of == 0 {
		return "0"
	}
	return fmt.Sprintf("%d (%s)", n, percent(n, of))
}

// writeLines writes what an operator could put into his helo_fqdn block.
func writeLines(w io.Writer, r *Result) {
	head := "\nThe fitted points, all the same; let replay --against show what they change:"
	if r.Better {
		head = "\nFor maddy.conf, once replay --against has shown what changes:"
	}
	for _, p := range r.Points {
		if p.Fitted == p.Now {
			continue
		}
		if head != "" {
			fmt.Fprintln(w, head)
			head = ""
		}
		if p.Fitted == 0 {
			fmt.Fprintf(w, "    %s_action ignore\n", p.Rule)
		} else {
			fmt.Fprintf(w, "    %s_action score %d\n", p.Rule, p.Fitted)
		}
	}
}
