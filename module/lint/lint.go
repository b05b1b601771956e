// Package lint finds settings of a configuration that weaken the check or can
// never match. What can never be meant is an error of package module; the rest is
// a warning with file and line:
//
//	lint.Run(block, j, log.Printf)
//	// maddy.conf:12: exempt_clients: entry "Mail.example.net" never matches; ...
//
// Of tables it sees inline entries and the files of `file`. RFC 5321, section
// 4.5.1 is behind the warning about postmaster.
package lint

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/foxcpp/maddy/framework/config"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
	"maddy.example/checkhelo/module/judge"
)

// Run reports the warnings about the directives of a check's block, from which j was made.
func Run(block config.Node, j *judge.Judge, report func(format string, args ...any)) {
	s := settings{j}
	for _, node := range block.Children {
		warn := func(file string, line int, format string, args ...any) {
			report("%s:%d: %s: %s", file, line, node.Name, fmt.Sprintf(format, args...))
		}
		here := func(format string, args ...any) { warn(node.File, node.Line, format, args...) }
		switch name := node.Name; name {
		case "exempt_networks", "self_addresses":
			s.lintNetworks(name, here)
		case "exempt_recipients":
			s.lintRecipients(here)
		case "exempt_dnswl", "blocklists":
			lintZones(name == "exempt_dnswl", node.Args, here)
		case "quarantine_threshold", "reject_threshold", "greylist_threshold":
			s.lintThreshold(name, here)
		}
		if table, known := entryProblems[node.Name]; known {
			lintTable(node, table, warn)
		}
	}
}

type settings struct{ *judge.Judge }

// warning reports one problem of a directive.
type warning func(format string, args ...any)

func (s settings) lintNetworks(name string, warn warning) {
	networks := s.Self.Addrs
	if name == "exempt_networks" {
		networks = nil
		for p := range s.Plain.Networks.All() {
			networks = append(networks, p)
		}
		if len(networks) == 0 && s.Tables.NetworkTable == nil {
			warn("the list holds no entry, so that nobody is exempt")
		}
	}
	for _, p := range networks {
		if problem, _ := exempt.NetworkProblem(p); problem != "" {
			warn("%s %s", p, problem)
		}
	}
}

func (s settings) lintRecipients(warn warning) {
	switch list := s.Plain.Recipients; {
	case s.Plain.RecipientTable != nil: // its entries cannot be seen
	case len(list) == 0:
		warn("the list holds no entry, so that nobody can reach postmaster (RFC 5321, section 4.5.1)")
	case !list.Contains("postmaster"):
		warn("postmaster is not in the list; RFC 5321, section 4.5.1 wants it to take all mail")
	}
}

// lintZones warns about a zone whose name tells the other kind of list.
func lintZones(allows bool, zones []string, warn warning) {
	has := func(zone string, words ...string) bool {
		for _, word := range words {
			if strings.Contains(zone, word) {
				return true
			}
		}
		return false
	}
	for i, zone := range zones {
		zone = strings.ToLower(zone)
		allow := has(zone, "wl", "white", "allow")
		block := has(zone, "bl.", "rbl", "black", "block", "deny", "spam", "zen.")
		switch {
		case allows && block && !allow:
			warn("zone %d looks like a block list: clients that are listed would be exempt", i+1)
		case !allows && allow && !block:
			warn("zone %d looks like an allow list: names that are listed would be hit", i+1)
		}
	}
}

// lintThreshold warns about a threshold above the points of all rules together.
func (s settings) lintThreshold(name string, warn warning) {
	threshold := map[string]int{"quarantine_threshold": s.Policy.QuarantineScore,
		"reject_threshold": s.Policy.RejectScore, "greylist_threshold": s.Policy.GreylistScore}[name]
	most := 0
	for _, preset := range checkhelo.Presets {
		if preset != s.Policy.Preset && s.Recipients == nil {
			continue // nobody is judged by it
		}
		sum := 0
		for _, r := range s.Policy.With(preset, s.Policy.Ceiling).Rules() {
			if r.Action == checkhelo.Score {
				sum += r.Score
			}
		}
		most = max(most, sum)
	}
	for _, l := range s.Gatherer.Blocklists {
		most += l.Score
		for _, resp := range l.Responses {
			most += resp.Score
		}
	}
	if threshold > most {
		warn("found %d, which is never reached: all rules together give %d points", threshold, most)
	}
}

// entryProblems has a function for each directive with a table. It returns what is wrong with an
// entry, "" for nothing.
var entryProblems = map[string]func(key, value string) string{
	"exempt_clients":    exemptProblem,
	"exempt_names":      exemptProblem,
	"deny_names":        denyProblem,
	"deny_hosts":        denyProblem,
	"recipient_policy":  policyProblem,
	"exempt_recipients": recipientProblem,
	"exempt_networks":   addressProblem,
}

func exemptProblem(key, value string) string {
	if problem := exempt.KeyProblem(key); problem != "" {
		return problem
	}
	if suffix, below := strings.CutPrefix(key, "."); below && heloname.PublicSuffix(suffix) {
		return "exempts the names of everybody below a public suffix"
	}
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

func denyProblem(key, value string) string {
	if problem := exempt.KeyProblem(key); problem != "" {
		return problem
	}
	verb, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	if judge.WithoutAction(verb) {
		return "refuses nobody: the check has no action " + verb
	}
	return ""
}

func policyProblem(key, value string) string {
	if problem := recipientProblem(key, ""); problem != "" {
		return problem
	}
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
	if problem := exempt.KeyProblem(key); problem != "" {
		return problem
	}
	if _, err := heloname.ParsePrefix(key); err != nil {
		return "never matches; accepted: an address"
	}
	return ""
}

// lintTable warns about the entries of a directive's own table that never match.
func lintTable(
	node config.Node, problem func(key, value string) string, warn func(string, int, string, ...any),
) {
	entry := func(file string, line int, key, value string) {
		rest, ok := exempt.InForce(value, time.Now())
		if !ok {
			warn(file, line, "entry %q is past its day or has a date that cannot be read", key)
		} else if text := problem(key, rest); text != "" {
			warn(file, line, "entry %q %s", key, text)
		}
	}
	path := ""
	for _, child := range node.Children {
		switch {
		case child.Name == "entry" && len(child.Args) > 0:
			entry(child.File, child.Line, child.Args[0], strings.Join(child.Args[1:], " "))
		case child.Name == "file" && len(child.Args) == 1:
			path = child.Args[0]
		}
	}
	lists := node.Name == "exempt_networks" || node.Name == "exempt_recipients" // files without values
	if len(node.Args) == 2 && strings.TrimPrefix(node.Args[0], "table.") == "file" && !lists {
		path = node.Args[1]
	}
	if path == "" {
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		warn(node.File, node.Line, "the table has no entries: %v", err)
		return
	}
	lintFile(filepath.Clean(path), string(data), entry, warn)
}

// lintFile passes on each entry of a table's file and warns about lines that are none.
func lintFile(
	path, data string, entry func(file string, line int, key, value string),
	warn func(string, int, string, ...any),
) {
	seen := 0
	for text := range strings.Lines(data) {
		seen++
		if strings.HasPrefix(text, "#") || strings.TrimSpace(text) == "" {
			continue
		}
		key, value, _ := strings.Cut(text, ":")
		first := strings.TrimSuffix(strings.Fields(text)[0], ":")
		if addr, err := netip.ParseAddr(first); err == nil && addr.Is6() {
			warn(path, seen, "never matches: the key ends at the first colon; accepted: IPv6 addresses in a"+
				" static table or exempt_networks")
			continue
		}
		entry(path, seen, strings.TrimSpace(key), strings.TrimSpace(value))
	}
}
