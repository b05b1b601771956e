package exempt

import (
	"fmt"
	"net/netip"
	"strings"

	"maddy.example/checkhelo/module/heloname"
)

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
