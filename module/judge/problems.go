package judge

import (
	"strings"
	"time"

	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/heloname"
)

// EntryProblem returns why an entry of the table of a directive never counts or counts for too
// many, "" for an entry without a problem.
func EntryProblem(directive, key, value string, now time.Time) (problem string) {
	rest, ok := exempt.InForce(value, now)
	if !ok {
		return "is past its day or has a date that cannot be read"
	}
	for _, check := range entryProblems[directive] {
		if problem == "" {
			problem = check(key, rest)
		}
	}
	return problem
}

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
	if withoutAction(verb) {
		return "refuses nobody: the check has no action " + verb
	}
	return ""
}

func policyProblem(_, value string) string {
	if err := checkPolicy(value); err != nil {
		return "has " + err.Error()
	}
	return ""
}

func recipientProblem(key, _ string) string {
	list, err := exempt.ParseRecipients([]string{key})
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
