package exempt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/gaissmai/bart"

	"maddy.example/checkhelo/module/heloname"
)

// accepted ends every error about a network.
const accepted = `accepted: an address (192.0.2.1, 2001:db8::1), ` +
	`a network (192.0.2.0/24, 2001:db8::/32), or "file" and a path`

// Networks is a set of IPv4 and IPv6 networks. A nil set is empty. It is safe
// for concurrent use once made.
type Networks struct{ table bart.Lite }

// ParseNetworks makes a set from addresses, networks in CIDR form, and pairs of "file" and a path.
// A file holds one address or network a line; "#" starts a comment, empty lines are skipped, lines
// may end in CR LF. An error names the entry and the accepted forms, in a file also path and line.
func ParseNetworks(args []string) (*Networks, error) {
	n := new(Networks)
	err := parseList(args, func(entry string) error {
		prefix, err := heloname.ParsePrefix(entry)
		if err != nil {
			return fmt.Errorf("%w; %s", err, accepted)
		}
		if problem, never := NetworkProblem(prefix); never {
			return fmt.Errorf("%s %s", entry, problem)
		}
		n.table.Insert(prefix)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// Contains reports whether ip, as heloname.Unmap returns it, lies in one of the networks.
func (n *Networks) Contains(ip netip.Addr) bool {
	return n != nil && n.table.Contains(heloname.Unmap(ip))
}

// All yields every network.
func (n *Networks) All() iter.Seq[netip.Prefix] { return n.table.All() }

// acceptedRcpt ends every error about a recipient.
const acceptedRcpt = `accepted: a local part for any domain (postmaster), ` +
	`an address (help@example.org), or a domain (@example.org)`

// Recipients is a set of recipients that accept mail from every client, in the three forms of
// ParseRecipients. A nil set is empty. It is safe for concurrent use once made.
type Recipients map[string]bool

// ParseRecipients makes a set from local parts that match in any domain and without one (RFC 5321,
// section 4.5.1, has a bare postmaster), full addresses, and domains with a leading "@". Letter
// case is ignored. An error names the entry and the accepted forms. "file" and a path stand for the
// entries of a file, which is read as ParseNetworks reads it.
func ParseRecipients(args []string) (Recipients, error) {
	r := make(Recipients)
	err := parseList(args, func(arg string) error {
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
	local, domain := SplitAddress(arg)
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
	r[local] = true
	return ""
}

// Contains reports whether rcpt, an address without angle brackets, is in the
// set by its local part, as a whole, or by its domain.
func (r Recipients) Contains(rcpt string) bool {
	if len(r) == 0 {
		return false
	}
	local, domain := SplitAddress(rcpt)
	return r[local] || domain != "" && (r["@"+domain] || r[local+"@"+domain])
}

// SplitAddress cuts an address at its last "@" and normalises both parts: the local part in lower
// case without quotes, the domain as heloname.Domain returns it. A part that no entry can mean is
// "": no domain name, or a local part with an "@".
func SplitAddress(s string) (local, domain string) {
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

// parseList calls add for each entry among args and in the files that they name.
func parseList(args []string, add func(entry string) error) error {
	for i := 0; i < len(args); i++ {
		var err error
		switch {
		case args[i] != "file":
			err = add(args[i])
		case i+1 == len(args) || args[i+1] == "":
			err = errors.New(`"file" without a path; ` + accepted)
		default:
			i++ // a file may be called "file"
			err = addFile(args[i], add)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// whole holds the paths of files that ended in a line feed when they were last read.
var whole sync.Map

// addFile calls add for each entry in a file. It fails for a file whose final newline has
// disappeared since it was read before: such a file was probably truncated, and a truncated address
// can be a valid one.
func addFile(path string, add func(entry string) error) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if bytes.HasSuffix(data, []byte("\n")) {
		whole.Store(path, true)
	} else if _, was := whole.Load(path); was {
		return fmt.Errorf("%s:%d: the last line had an end before and has none now, so the file"+
			" may be cut, as on a full disk; accepted: a file that ends with a line feed",
			path, 1+bytes.Count(data, []byte("\n")))
	}
	text := strings.TrimPrefix(string(data), "\ufeff") // some editors write it
	number := 0
	for line := range strings.Lines(text) {
		number++
		entry, _, _ := strings.Cut(line, "#")
		if entry = strings.TrimSpace(entry); entry == "" {
			continue
		}
		if err := add(entry); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	return nil
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

// NetworkProblem returns what is wrong with a network of exempt_networks or
// self_addresses, "" for nothing. Never is true where it cannot be meant. A
// regional registry gives nobody more than an IPv4 /8 or an IPv6 /16. Private and
// link-local networks never hold the servers of many operators.
func NetworkProblem(p netip.Prefix) (problem string, never bool) {
	const widest4, widest6, widestPrivate = 8, 16, 7 // fc00::/7, RFC 4193
	addr, widest := p.Addr(), widest6
	switch {
	case addr.Is4():
		widest = widest4
	case addr.IsPrivate() || addr.IsLinkLocalUnicast():
		widest = widestPrivate
	}
	switch {
	case p.Bits() == 0:
		return "holds every client: the check would be off", true
	case p.IsSingleIP() && addr.IsUnspecified():
		return "is the address of no client", true
	case p.Bits() < widest:
		return fmt.Sprintf("is wider than /%d (IPv4) or /%d (IPv6): it holds the servers of many"+
			" operators", widest4, widest6), false
	}
	return "", false
}

// KeyProblem returns why a key of a table of names or addresses never matches,
// "" when it may. The check asks for addresses in the form of RFC 5952 and for
// names as lower-case A-labels without final dot, parents with a leading dot.
func KeyProblem(key string) string {
	switch {
	case key == "":
		return "is empty"
	case strings.ContainsAny(key, " \t"):
		return "holds a blank: in a table of Maddy a colon ends the key"
	case strings.HasPrefix(key, "*."):
		return "never matches; accepted: " + key[1:] + " for everything below"
	case strings.HasPrefix(key, "[") || strings.Contains(key, "*"):
		return "never matches; accepted: a name, .NAME for everything below, or an address"
	}
	if _, err := netip.ParsePrefix(key); err == nil {
		return "never matches: a table has single addresses; accepted: the network in exempt_networks"
	}
	var asked string
	if addr, err := netip.ParseAddr(key); err == nil {
		asked = heloname.Unmap(addr).String()
	} else {
		name := strings.TrimPrefix(key, ".")
		ascii, err := heloname.Domain(name)
		if err != nil {
			return "never matches: " + err.Error()
		}
		asked = strings.TrimSuffix(key, name) + ascii
	}
	if asked != key {
		return "never matches; accepted: " + asked
	}
	return ""
}
