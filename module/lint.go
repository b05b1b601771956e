package module

import (
	"cmp"
	"fmt"
	"net/netip"
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

// The warnings are about settings that weaken the check or can never match. What can never be meant
// is an error where the directive is read.

func (s *settings) warnAt(file string, line int, format string, args ...any) {
	s.log.Printf("%s:%d: %s", file, line, fmt.Sprintf(format, args...))
}

// warn is about the directive that is being read.
func (s *settings) warn(format string, args ...any) {
	s.warnAt(s.node.File, s.node.Line, "%s: %s", s.node.Name, fmt.Sprintf(format, args...))
}

func (s *settings) checkNetwork(p netip.Prefix) {
	if problem, _ := exempt.NetworkProblem(p); problem != "" {
		s.warn("%s %s", p, problem)
	}
}

// What the name of a zone tells of its kind.
var (
	allows = regexp.MustCompile(`wl|white|allow`)
	blocks = regexp.MustCompile(`bl\.|rbl|black|block|deny|spam|zen\.`)
)

// checkZones warns about a zone whose name tells the other kind of list.
func (s *settings) checkZones(wrong, right *regexp.Regexp, text string) {
	for i, zone := range s.node.Args {
		zone = strings.ToLower(zone)
		if wrong.MatchString(zone) && !right.MatchString(zone) {
			s.warn("zone %d looks like %s", i+1, text)
		}
	}
}

// checkThresholds warns about thresholds above the points of all rules together.
func (s *settings) checkThresholds() {
	most := 0
	for _, preset := range checkhelo.Presets {
		if preset != s.policy.Preset && s.judge.Recipients == nil {
			continue // nobody is judged by it
		}
		sum := 0
		for _, r := range s.policy.With(preset, s.policy.Ceiling).Rules() {
			if r.Action == checkhelo.Score {
				sum += r.Score
			}
		}
		most = max(most, sum)
	}
	for _, list := range s.judge.Gatherer.Blocklists {
		most += list.Score
		for _, resp := range list.Responses {
			most += resp.Score
		}
	}
	for _, s.node = range s.Block.Children {
		threshold := map[string]int{
			"quarantine_threshold": s.policy.QuarantineScore, "reject_threshold": s.policy.RejectScore,
			"greylist_threshold": s.policy.GreylistScore,
		}[s.node.Name]
		if threshold > most {
			s.warn("found %d, which is never reached: all rules together give %d points", threshold, most)
		}
	}
}

// checkTable warns about entries that never match: inline ones and those of the files of `file`.
func (s *settings) checkTable(node config.Node) {
	for _, child := range node.Children {
		if child.Name == "entry" && len(child.Args) > 0 {
			s.checkEntry(child.File, child.Line, child.Args[0], strings.Join(child.Args[1:], " "))
		}
	}
	named := TableFile(&node)
	if named == nil {
		return
	}
	path := filepath.Clean(*named)
	err := exempt.ReadTable(path, func(line int, key, values string) error {
		first := strings.Fields(key + ":" + values)[0]
		if addr, err := netip.ParseAddr(strings.TrimSuffix(first, ":")); err == nil && addr.Is6() {
			s.warnAt(path, line, "%s: never matches: the key ends at the first colon; accepted: IPv6"+
				" addresses in a static table or exempt_networks", node.Name)
		} else {
			s.checkEntry(path, line, key, values)
		}
		return nil
	})
	if err != nil {
		s.warn("the table has no entries: %v", err)
	}
}

func (s *settings) checkEntry(file string, line int, key, value string) {
	problem := "is past its day or has a date that cannot be read"
	if rest, ok := exempt.InForce(value, time.Now()); ok {
		problem = entryProblem(s.node.Name, key, rest)
	}
	if problem != "" {
		s.warnAt(file, line, "%s: entry %q %s", s.node.Name, key, problem)
	}
}

// entryProblem returns what is wrong with an entry of a directive's table, "" for nothing.
func entryProblem(directive, key, value string) string {
	switch directive {
	case "exempt_clients":
		return cmp.Or(exempt.KeyProblem(key), suffixProblem(key))
	case "exempt_names":
		return cmp.Or(exempt.KeyProblem(key), suffixProblem(key), proofProblem(value))
	case "deny_names", "deny_hosts":
		_, _, err := judge.ParseDenial(value)
		return cmp.Or(exempt.KeyProblem(key), valueProblem(err))
	case "recipient_policy":
		return cmp.Or(recipientProblem(key), valueProblem(judge.CheckPolicy(value)))
	case "exempt_recipients":
		return recipientProblem(key)
	default: // exempt_networks
		return cmp.Or(exempt.KeyProblem(key), addressProblem(key))
	}
}

func valueProblem(err error) string {
	if err == nil {
		return ""
	}
	return "has " + err.Error()
}

func suffixProblem(key string) string {
	if suffix, below := strings.CutPrefix(key, "."); below && heloname.PublicSuffix(suffix) {
		return "exempts the names of everybody below a public suffix"
	}
	return ""
}

func proofProblem(value string) string {
	networks, err := exempt.Addresses(value)
	for _, network := range networks {
		if problem, _ := exempt.NetworkProblem(network); problem != "" {
			return network.String() + " " + problem
		}
	}
	return valueProblem(err)
}

func recipientProblem(key string) string {
	list, err := exempt.ParseRecipients([]string{key})
	switch {
	case err != nil || len(list) == 0:
		return "never matches; accepted: local@domain or @domain"
	case strings.ToLower(key) != key:
		return "never matches; accepted: " + strings.ToLower(key)
	}
	return ""
}

func addressProblem(key string) string {
	if _, err := heloname.ParsePrefix(key); err != nil {
		return "never matches; accepted: an address"
	}
	return ""
}
