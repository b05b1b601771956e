package module

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/foxcpp/maddy/framework/config"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
)

// lint warns about one directive that weakens the check or can never match, with file and line.
// What can never be meant is an error where the directive is read.
type lint struct {
	*judge.Judge
	config.Node
	report func(format string, args ...any)
}

// run reports the warnings. Of tables it sees inline entries and the files of `file`.
func (l *lint) run() {
	if look := careless[l.Name]; look != nil {
		look(l)
	}
	if rule, isAction := strings.CutSuffix(l.Name, "_action"); isAction {
		l.action(rule)
	}
	if checks := entryProblems[l.Name]; checks != nil {
		l.table(checks)
	}
}

func (l *lint) warn(format string, args ...any) { l.warnAt(l.File, l.Line, format, args...) }

func (l *lint) warnAt(file string, line int, format string, args ...any) {
	l.report("%s:%d: %s: %s", file, line, l.Name, fmt.Sprintf(format, args...))
}

// careless has a function for each directive whose value can be careless.
var careless = map[string]func(*lint){
	"exempt_networks":   (*lint).exemptNetworks,
	"exempt_recipients": (*lint).exemptRecipients,
	"self_addresses": func(l *lint) {
		for _, p := range l.Self.Addrs {
			l.network(p)
		}
	},
	"exempt_dnswl": func(l *lint) {
		l.zones(blocks, allows, "a block list: clients that are listed would be exempt")
	},
	"blocklists": func(l *lint) {
		l.zones(allows, blocks, "an allow list: names that are listed would be hit")
	},
	"quarantine_threshold": func(l *lint) { l.threshold(l.Policy.QuarantineScore) },
	"reject_threshold":     func(l *lint) { l.threshold(l.Policy.RejectScore) },
	"greylist_threshold":   func(l *lint) { l.threshold(l.Policy.GreylistScore) },
}

// What the name of a zone tells of its kind.
var (
	allows = regexp.MustCompile(`wl|white|allow`)
	blocks = regexp.MustCompile(`bl\.|rbl|black|block|deny|spam|zen\.`)
)

// entryProblems has checks of each entry for each directive with a table. A check returns what is
// wrong, "" for nothing.
var entryProblems = map[string][]func(key, value string) string{
	"exempt_clients":    {hostProblem, suffixProblem, proofProblem},
	"exempt_names":      {hostProblem, suffixProblem, proofProblem},
	"deny_names":        {hostProblem, verbProblem},
	"deny_hosts":        {hostProblem, verbProblem},
	"recipient_policy":  {recipientProblem, policyProblem},
	"exempt_recipients": {recipientProblem},
	"exempt_networks":   {hostProblem, addressProblem},
}

// action warns about a rule that refuses mail although a server must not (RFC 5321, section 4.1.4)
// on that ground alone.
func (l *lint) action(rule string) {
	for _, r := range checkhelo.Rules() {
		if r.Name == rule && r.NoReject && l.Policy.Override[rule].Action == checkhelo.Reject {
			l.report("%s:%d: %s is reject: RFC 5321, section 4.1.4 says that a server must not refuse"+
				" mail only because the HELO name does not match the client's address",
				l.File, l.Line, l.Name)
		}
	}
}

func (l *lint) network(p netip.Prefix) {
	if problem, _ := exempt.NetworkProblem(p); problem != "" {
		l.warn("%s %s", p, problem)
	}
}

func (l *lint) exemptNetworks() {
	empty := l.Exempt.NetworkTable == nil
	for p := range l.Exempt.Networks.All() {
		l.network(p)
		empty = false
	}
	if empty {
		l.warn("the list holds no entry, so that nobody is exempt")
	}
}

func (l *lint) exemptRecipients() {
	switch list := l.Exempt.Recipients; {
	case l.Exempt.RecipientTable != nil: // its entries cannot be seen
	case len(list) == 0:
		l.warn("the list holds no entry, so that nobody can reach postmaster (RFC 5321, section 4.5.1)")
	case !list.Contains("postmaster"):
		l.warn("postmaster is not in the list; RFC 5321, section 4.5.1 wants it to take all mail")
	}
}

// zones warns about a zone whose name tells the other kind of list.
func (l *lint) zones(wrong, right *regexp.Regexp, text string) {
	for i, zone := range l.Args {
		zone = strings.ToLower(zone)
		if wrong.MatchString(zone) && !right.MatchString(zone) {
			l.warn("zone %d looks like %s", i+1, text)
		}
	}
}

// threshold warns about one above the points of all rules together.
func (l *lint) threshold(threshold int) {
	most := 0
	for _, preset := range checkhelo.Presets {
		if preset != l.Policy.Preset && l.Recipients == nil {
			continue // nobody is judged by it
		}
		sum := 0
		for _, r := range l.Policy.With(preset, l.Policy.Ceiling).Rules() {
			if r.Action == checkhelo.Score {
				sum += r.Score
			}
		}
		most = max(most, sum)
	}
	for _, list := range l.Gatherer.Blocklists {
		most += list.Score
		for _, resp := range list.Responses {
			most += resp.Score
		}
	}
	if threshold > most {
		l.warn("found %d, which is never reached: all rules together give %d points", threshold, most)
	}
}

func hostProblem(key, _ string) string { return exempt.KeyProblem(key) }

func suffixProblem(key, _ string) string {
	if suffix, below := strings.CutPrefix(key, "."); below && heloname.PublicSuffix(suffix) {
		return "exempts the names of everybody below a public suffix"
	}
	return ""
}

func proofProblem(_, value string) string {
	for _, word := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' }) {
		if prefix, err := heloname.ParsePrefix(word); err == nil {
			if problem, _ := exempt.NetworkProblem(prefix); problem != "" {
				return word + " " + problem
			}
		} else if word[0] >= '0' && word[0] <= '9' && strings.Contains(word, "/") {
			return word + " is no network"
		}
	}
	return ""
}

func verbProblem(_, value string) string {
	verb, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	if judge.WithoutAction(verb) {
		return "refuses nobody: the check has no action " + verb
	}
	return ""
}

func policyProblem(_, value string) string {
	if err := judge.CheckPolicy(value); err != nil {
		return "has " + err.Error()
	}
	return ""
}

func recipientProblem(key, _ string) string {
	list, err := exempt.ParseRecipients([]string{key}, nil)
	switch {
	case err != nil || len(list) == 0:
		return "never matches; accepted: local@domain or @domain"
	case strings.ToLower(key) != key:
		return "never matches; accepted: " + strings.ToLower(key)
	}
	return ""
}

func addressProblem(key, _ string) string {
	if _, err := heloname.ParsePrefix(key); err != nil {
		return "never matches; accepted: an address"
	}
	return ""
}

// table warns about the entries of a directive's own table that never match.
func (l *lint) table(checks []func(key, value string) string) {
	for _, child := range l.Children {
		if child.Name == "entry" && len(child.Args) > 0 {
			l.entry(child.File, child.Line, child.Args[0], strings.Join(child.Args[1:], " "), checks)
		}
	}
	named := TableFile(&l.Node)
	if named == nil || !TakesTable(l.Node) {
		return
	}
	path := filepath.Clean(*named)
	err := ReadTable(path, func(line int, key, values string) error {
		first := strings.Fields(key + ":" + values)[0]
		if addr, err := netip.ParseAddr(strings.TrimSuffix(first, ":")); err == nil && addr.Is6() {
			l.warnAt(path, line, "never matches: the key ends at the first colon; accepted: IPv6 addresses"+
				" in a static table or exempt_networks")
		} else {
			l.entry(path, line, key, values, checks)
		}
		return nil
	})
	if err != nil {
		l.warn("the table has no entries: %v", err)
	}
}

func (l *lint) entry(
	file string, line int, key, value string, checks []func(key, value string) string,
) {
	rest, ok := exempt.InForce(value, time.Now())
	if !ok {
		l.warnAt(file, line, "entry %q is past its day or has a date that cannot be read", key)
		return
	}
	for _, check := range checks {
		if problem := check(key, rest); problem != "" {
			l.warnAt(file, line, "entry %q %s", key, problem)
			return
		}
	}
}

// ReadTable reads the file of a table as Maddy does: lines KEY or KEY: VALUE, VALUE, of which the
// first colon ends the key.
func ReadTable(path string, each func(line int, key, values string) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		key, values, _ := strings.Cut(text, ":")
		if err := each(n, strings.TrimSpace(key), strings.TrimSpace(values)); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
