package exempt

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"maddy.example/checkhelo/module/heloname"
)

// acceptedRcpt ends every error about a recipient.
const acceptedRcpt = `accepted: a local part for any domain (postmaster), ` +
	`an address (help@example.org), or a domain (@example.org)`

// Recipients is a set of recipients that accept mail from every client. A nil
// set is empty. It is safe for concurrent use once made.
type Recipients struct {
	locals    map[string]struct{} // postmaster
	addresses map[string]struct{} // help@example.org
	domains   map[string]struct{} // example.org
}

// ParseRecipients makes a set from local parts that match in any domain and
// without one (RFC 5321, section 4.5.1, has a bare postmaster), full
// addresses, and domains with a leading "@". Letter case is ignored. An error
// names the entry and the accepted forms. "file" and a path stand for the entries
// of a file, which is read as ParseNetworks reads it.
func ParseRecipients(
	args []string, readFile func(path string) ([]byte, error),
) (*Recipients, error) {
	r := &Recipients{
		locals:    make(map[string]struct{}),
		addresses: make(map[string]struct{}),
		domains:   make(map[string]struct{}),
	}
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

// Len returns the number of entries.
func (r *Recipients) Len() int { return len(r.locals) + len(r.addresses) + len(r.domains) }

// add takes one entry and returns what is wrong with it, "" when nothing is.
func (r *Recipients) add(arg string) (problem string) {
	local, domain, hasDomain := splitAddress(arg)
	switch {
	case arg == "":
		return "is empty"
	case strings.ContainsAny(arg, " \t\r\n<>,;"), !utf8.ValidString(arg):
		return "has a character that no entry may have"
	case hasDomain && domain == "":
		return "has no valid domain"
	case strings.Contains(local, "@"), local == "" && arg[0] != '@':
		return "has no valid local part"
	case strings.Contains(local, "*"):
		return "never matches: a star stands for nothing here"
	case !hasDomain && strings.Contains(local, "."):
		return "could be a local part or a domain"
	case !hasDomain:
		r.locals[local] = struct{}{}
	case local == "":
		r.domains[domain] = struct{}{}
	default:
		r.addresses[local+"@"+domain] = struct{}{}
	}
	return ""
}

// Contains reports whether rcpt, an address without angle brackets, is in the
// set by its local part, as a whole, or by its domain.
func (r *Recipients) Contains(rcpt string) bool {
	if r == nil || rcpt == "" {
		return false
	}
	local, domain, hasDomain := splitAddress(rcpt)
	if _, ok := r.locals[local]; ok {
		return true
	}
	if !hasDomain {
		return false
	}
	if _, ok := r.domains[domain]; ok {
		return true
	}
	if len(r.addresses) == 0 {
		return false
	}
	_, ok := r.addresses[local+"@"+domain]
	return ok
}

// recipientKeys returns the keys of a table that mean rcpt.
func recipientKeys(rcpt string) []string {
	local, domain, hasDomain := splitAddress(rcpt)
	if domain == "" || !hasDomain {
		return []string{local}
	}
	return []string{local + "@" + domain, "@" + domain, local}
}

// splitAddress cuts an address at its last "@" and normalises both parts: the
// local part in lower case without quotes, the domain as heloname.Domain
// returns it, "" if it is no domain name.
func splitAddress(s string) (local, domain string, hasDomain bool) {
	local, domain = s, ""
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		local, domain, hasDomain = s[:at], s[at+1:], true
	}
	domain, _ = heloname.Domain(domain)
	return strings.ToLower(unquote(local)), domain, hasDomain
}

// unquote takes the quotes and backslashes off a Quoted-string, which means
// the same mailbox as without them (RFC 5321, 4.1.2).
func unquote(local string) string {
	if len(local) < 2 || local[0] != '"' || local[len(local)-1] != '"' {
		return local
	}
	local = local[1 : len(local)-1]
	if !strings.Contains(local, `\`) {
		return local
	}
	var b strings.Builder
	for i := 0; i < len(local); i++ {
		if local[i] == '\\' && i+1 < len(local) {
			i++
		}
		b.WriteByte(local[i])
	}
	return b.String()
}
