package exempt

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"maddy.example/checkhelo/module/heloname"
)

// acceptedRcpt ends every error about a recipient.
const acceptedRcpt = `accepted: a local part for any domain (postmaster), ` +
	`an address (help@example.org), or a domain (@example.org)`

// Recipients is a set of recipients that accept mail from every client, in the three forms of
// ParseRecipients. A nil set is empty. It is safe for concurrent use once made.
type Recipients map[string]struct{}

// ParseRecipients makes a set from local parts that match in any domain and
// without one (RFC 5321, section 4.5.1, has a bare postmaster), full
// addresses, and domains with a leading "@". Letter case is ignored. An error
// names the entry and the accepted forms. "file" and a path stand for the entries
// of a file, which is read as ParseNetworks reads it.
func ParseRecipients(
	args []string, readFile func(path string) ([]byte, error),
) (Recipients, error) {
	r := make(Recipients)
	err := parseList(args, readFile, func(arg string) error {
		if problem := r.add(arg); problem != "" {
			return fmt.Errorf("recipient %q %s; %s", arg, problem, acceptedRcpt)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// add takes one entry and returns what is wrong with it, "" when nothing is.
func (r Recipients) add(arg string) (problem string) {
	local, domain := splitAddress(arg)
	hasDomain := strings.Contains(arg, "@")
	switch {
	case arg == "":
		return "is empty"
	case strings.ContainsAny(arg, " \t\r\n<>,;"), !utf8.ValidString(arg):
		return "has a character that no entry may have"
	case hasDomain && domain == "":
		return "has no valid domain"
	case strings.Count(arg, "@") > 1, local == "" && arg[0] != '@':
		return "has no valid local part"
	case strings.Contains(local, "*"):
		return "never matches: a star stands for nothing here"
	case !hasDomain && strings.Contains(local, "."):
		return "could be a local part or a domain"
	case hasDomain:
		local += "@" + domain
	}
	r[local] = struct{}{}
	return ""
}

// Contains reports whether rcpt, an address without angle brackets, is in the
// set by its local part, as a whole, or by its domain.
func (r Recipients) Contains(rcpt string) bool {
	if len(r) == 0 {
		return false
	}
	local, domain := splitAddress(rcpt)
	has := func(key string) bool { _, ok := r[key]; return ok }
	return has(local) || domain != "" && (has("@"+domain) || has(local+"@"+domain))
}

// splitAddress cuts an address at its last "@" and normalises both parts: the
// local part in lower case without quotes, the domain as heloname.Domain
// returns it. A part that no entry can mean is "": no domain name, or a local
// part with an "@".
func splitAddress(s string) (local, domain string) {
	local = s
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		local = s[:at]
		domain, _ = heloname.Domain(s[at+1:])
	}
	if local = strings.ToLower(unquote(local)); strings.Contains(local, "@") {
		local = ""
	}
	return local, domain
}

var quotedPair = regexp.MustCompile(`(?s)\\(.)`)

// unquote takes the quotes and backslashes off a Quoted-string, which means
// the same mailbox as without them (RFC 5321, 4.1.2).
func unquote(local string) string {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return local
	}
	return quotedPair.ReplaceAllString(local[1:len(local)-1], "$1")
}
