package app

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// selfReport is the outcome of one look at ourselves.
type selfReport struct {
	OK      bool         `json:"ok"` // nothing to fix and all known
	Notes   []string     `json:"notes"`
	Results []selfResult `json:"results"`
}

func (r *selfReport) note(text string) {
	if !slices.Contains(r.Notes, text) {
		r.Notes = append(r.Notes, text)
	}
}

// count returns how many checks have a status.
func (r *selfReport) count(status selfStatus) (n int) {
	for _, result := range r.Results {
		for _, line := range result.Checks {
			if line.Status == status {
				n++
			}
		}
	}
	return n
}

// status returns the error that ends the program as the report deserves.
func (r *selfReport) status() error {
	if n := r.count(selfToFix); n > 0 {
		return cli.Exit(fmt.Sprintf("self: to fix: %d", n), exitFailure)
	}
	if n := r.count(selfUnknown); n > 0 {
		return cli.Exit(fmt.Sprintf("self: not known: %d; the DNS did not answer", n), exitUnknown)
	}
	return nil
}

func (r *selfReport) write(w io.Writer, format string) error {
	if format == "json" {
		r.OK = r.status() == nil
		out := *r
		if out.Notes == nil {
			out.Notes = []string{}
		}
		for _, result := range out.Results {
			for i := range result.Checks {
				line := &result.Checks[i]
				if line.Old = line.Status; line.Status == selfToFix {
					line.Old = "to mend"
				}
			}
		}
		return printJSON(w, out)
	}
	r.writeText(newScreen(w))
	return nil
}

func (r *selfReport) writeText(s *screen) {
	for _, note := range r.Notes {
		s.text(0, "Note: "+note)
	}
	for i, result := range r.Results {
		if i > 0 || len(r.Notes) > 0 {
			fmt.Fprintln(s)
		}
		if result.Address != "" {
			s.text(0, fmt.Sprintf("%s from %s (%s)", result.Name, result.Address, result.Source))
		} else {
			s.text(0, fmt.Sprintf("%s, not said in HELO (%s)", result.Name, result.Source))
		}
		for _, line := range result.Checks {
			colour := map[selfStatus]string{selfOK: green, selfToFix: red, selfUnknown: yellow}[line.Status]
			s.row(ruleColumn, "  "+line.Check, colour, string(line.Status)+": "+line.Seen)
			if line.Do != "" {
				s.row(ruleColumn, "", "", "-> "+line.Do)
			}
		}
	}
	fmt.Fprintf(s, "\nok: %d, to fix: %d, not known: %d\n",
		r.count(selfOK), r.count(selfToFix), r.count(selfUnknown))
}

// selfKey names one check of one pair.
type selfKey struct{ name, address, check string }

// known returns the status of every check. What is not known now stays as it
// was in last: an answer that failed to come is no change.
func (r *selfReport) known(last map[selfKey]selfStatus) map[selfKey]selfStatus {
	now := make(map[selfKey]selfStatus)
	for _, result := range r.Results {
		for _, line := range result.Checks {
			key := selfKey{result.Name, result.Address, line.Check}
			now[key] = line.Status
			if before, ok := last[key]; ok && line.Status == selfUnknown {
				now[key] = before
			}
		}
	}
	return now
}

// selfChanges tells what differs, a line each, sorted. A check that becomes
// known for the first time has not changed.
func selfChanges(last, now map[selfKey]selfStatus) (lines []string) {
	add := func(key selfKey, from, to selfStatus) {
		lines = append(lines, strings.Join(strings.Fields(
			fmt.Sprintf("%s %s %s: %s -> %s", key.name, key.address, key.check, from, to)), " "))
	}
	for key, to := range now {
		switch from, ok := last[key]; {
		case !ok:
			add(key, "not there", to)
		case from != to && from != selfUnknown:
			add(key, from, to)
		}
	}
	for key, from := range last {
		if _, ok := now[key]; !ok {
			add(key, from, "not there")
		}
	}
	slices.Sort(lines)
	return lines
}

// watch repeats the checks until a result changes or the command is ended,
// which leaves the status of the last report.
func (r *selfRun) watch(c *cli.Context, report *selfReport) error {
	last := report.known(nil)
	ticker := time.NewTicker(c.Duration("every"))
	defer ticker.Stop()
	for {
		select {
		case <-c.Done():
			return report.status()
		case <-ticker.C:
		}
		next, err := r.check(c.Context)
		switch {
		case c.Err() != nil:
			return report.status()
		case err != nil:
			return err
		}
		now := next.known(last)
		changes := selfChanges(last, now)
		if len(changes) > 0 {
			if err := next.write(c.App.Writer, c.String("format")); err != nil {
				return err
			}
			return cli.Exit("self: changed:\n  "+strings.Join(changes, "\n  "), exitFailure)
		}
		last, report = now, next
	}
}
