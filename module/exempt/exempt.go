// Package exempt decides which greetings the HELO check does not judge:
// logged-in users, networks, clients and names in an operator's tables, and
// recipients such as postmaster (RFC 5321, section 4.5.1):
//
//	networks, err := exempt.ParseNetworks([]string{"192.0.2.0/24", "file", path})
//	list := exempt.List{Authenticated: true, Networks: networks}
//	why := list.Client(client, user) // "network" for 192.0.2.1, "" for a client that is judged
//
// The package sends no DNS query; the caller passes proof from the DNS in.
package exempt

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"maddy.example/checkhelo/module/heloname"
)

// Table is a lookup table of an operator. Maddy's module.Table implements it.
type Table interface {
	// Lookup returns the value of key and whether the table holds it.
	Lookup(ctx context.Context, key string) (string, bool, error)
}

// The reasons for an exemption, short and constant to serve as metric labels.
const (
	WhyAuth        = "auth"         // an authenticated user
	WhyNetwork     = "network"      // the address lies in Networks
	WhyClient      = "client"       // Clients holds the address
	WhyClientName  = "client_name"  // Clients holds a confirmed PTR name
	WhyName        = "name"         // Names holds the HELO name, and there is proof
	WhyRecipient   = "rcpt"         // the recipient accepts mail from every client
	WhyTableFailed = "table_failed" // the lookup in a table failed
)

// List holds all exemptions of an operator. The zero value exempts nobody. All
// methods are safe for concurrent use while the fields do not change. They return
// the reason of an exemption, "" for none.
//
// A failed table never makes a verdict harsher: the client counts as exempt
// for the reason WhyTableFailed, and OnError gets the error.
//
// Names are looked up as lower-case A-labels without a final dot: first the
// name, then its parents with a leading dot (".example.org"). A parent matches
// all names below it, but not example.org itself.
type List struct {
	Authenticated bool       // exempt logged-in users
	Networks      *Networks  // nil: none
	Clients       Table      // nil: none; keys are addresses, names, ".parent"; any value
	Names         Table      // nil: none; keys are names, ".parent"; values: addresses or empty
	Recipients    Recipients // nil: none

	// NetworkTable and RecipientTable are the same as tables; nil: none. Keys are
	// addresses, and the three forms of ParseRecipients in lower case.
	NetworkTable, RecipientTable Table

	Clock func() time.Time // nil: time.Now

	// OnError, if set, gets the directive of a table that failed or has a value that means nothing.
	OnError func(directive string, err error)
}

// Client exempts by the login and the network, without a lookup.
func (l *List) Client(ip netip.Addr, user string) (why string) {
	switch {
	case l.Authenticated && user != "":
		return WhyAuth
	case l.Networks.Contains(ip):
		return WhyNetwork
	}
	return ""
}

// Conn exempts by tables that need no proof from the DNS: those of addresses, and a HELO name whose
// value in Names lists the address. The HELO name alone proves nothing.
func (l *List) Conn(ctx context.Context, ip netip.Addr, helo string) (why string) {
	if l.NetworkTable == nil && l.Clients == nil && l.Names == nil {
		return ""
	}
	var address []string
	if ip = heloname.Unmap(ip); ip.IsValid() {
		address = []string{ip.String()}
	}
	lists := func(value string) bool {
		networks, err := Addresses(value)
		if err != nil {
			l.Report("exempt_names", err)
		}
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(ip) })
	}
	why = l.search(ctx, "exempt_networks", l.NetworkTable, address, WhyNetwork, nil)
	if why == "" {
		why = l.search(ctx, "exempt_clients", l.Clients, address, WhyClient, nil)
	}
	if why == "" {
		why = l.search(ctx, "exempt_names", l.Names, Ancestry(helo), WhyName, lists)
	}
	return why
}

// ClientName exempts where Clients holds a name of the client, or a parent of it unless alone is
// true. The caller must have confirmed the name: a PTR name that resolves back to the client.
func (l *List) ClientName(ctx context.Context, name string, alone bool) (why string) {
	if l.Clients == nil {
		return ""
	}
	keys := Ancestry(name)
	if alone {
		keys = keys[:min(1, len(keys))]
	}
	return l.search(ctx, "exempt_clients", l.Clients, keys, WhyClientName, nil)
}

// Name exempts where Names holds the HELO name or a parent of it. The caller must have proof: the
// name resolves to the client, or a confirmed PTR name of the client is or lies below it.
func (l *List) Name(ctx context.Context, helo string) (why string) {
	if l.Names == nil {
		return ""
	}
	return l.search(ctx, "exempt_names", l.Names, Ancestry(helo), WhyName, nil)
}

// Recipient exempts rcpt, the address of a RCPT TO without angle brackets, that accepts mail from
// every client.
func (l *List) Recipient(ctx context.Context, rcpt string) (why string) {
	if l.Recipients.Contains(rcpt) {
		return WhyRecipient
	}
	if l.RecipientTable == nil {
		return ""
	}
	local, domain := SplitAddress(rcpt)
	keys := []string{local}
	if domain != "" {
		keys = []string{local + "@" + domain, "@" + domain, local}
	}
	return l.search(ctx, "exempt_recipients", l.RecipientTable, keys, WhyRecipient, nil)
}

// search returns why if Find finds one of the keys, WhyTableFailed after an error, else "".
func (l *List) search(
	ctx context.Context, directive string, table Table, keys []string, why string,
	want func(value string) bool,
) string {
	if table == nil {
		return ""
	}
	switch _, found, err := l.Find(ctx, directive, table, keys, want); {
	case err != nil:
		return WhyTableFailed
	case found:
		return why
	}
	return ""
}

// Find returns the value of the first key that counts today and whose value satisfies want; nil:
// any. OnError learns of an error under the table's directive. The key "" is left out.
func (l *List) Find(
	ctx context.Context, directive string, table Table, keys []string,
	want func(value string) bool,
) (value string, found bool, err error) {
	for _, key := range keys {
		if key == "" {
			continue
		}
		if value, found, err = table.Lookup(ctx, key); err != nil {
			l.Report(directive, err)
			return "", false, err
		}
		if found {
			value, found = InForce(value, l.Now())
		}
		if found && (want == nil || want(value)) {
			return value, true, nil
		}
	}
	return "", false, nil
}

// Now is the time by Clock.
func (l *List) Now() time.Time {
	if l.Clock == nil {
		return time.Now()
	}
	return l.Clock()
}

// Report calls OnError.
func (l *List) Report(directive string, err error) {
	if l.OnError != nil {
		l.OnError(directive, err)
	}
}

// maxParents is the number of parents of one name that are looked up at most: a
// client may put any number of labels in front of a domain.
const maxParents = 8

// Ancestry returns a host name and then its parents, nearest first and each with a leading dot:
// a.example.org, .example.org, .org. Of more than 8 parents it returns those nearest to the root.
// Of what is no host name it returns nothing: other octets could make a table fail, since
// PostgreSQL rejects NUL and broken UTF-8.
func Ancestry(name string) (keys []string) {
	name = heloname.Parse(name).ASCII
	if name == "" {
		return nil
	}
	keys = append(keys, name)
	for parents := strings.Count(name, "."); parents > 0; parents-- {
		name = name[1+strings.IndexByte(name[1:], '.'):]
		if parents <= maxParents {
			keys = append(keys, name)
		}
	}
	return keys
}

// Addresses returns the addresses and networks in a value of Names, separated by spaces or commas.
// Other words are remarks. A word that begins like an address but is none is an error.
func Addresses(value string) (networks []netip.Prefix, err error) {
	separates := func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }
	for word := range strings.FieldsFuncSeq(value, separates) {
		prefix, wrong := heloname.ParsePrefix(word)
		switch {
		case wrong == nil:
			networks = append(networks, prefix)
		case word[0] >= '0' && word[0] <= '9' && strings.ContainsAny(word, ".:/"):
			err = fmt.Errorf("a value that is no address: %w", wrong)
		}
	}
	return networks, err
}

// InForce returns the value of a table entry without its leading until=YYYY-MM-DD, and whether the
// entry still counts at now: it does on that day (UTC) and before. A date that cannot be read
// counts as past, so that a mistake exempts nobody for ever.
func InForce(value string, now time.Time) (rest string, ok bool) {
	text, dated := strings.CutPrefix(strings.TrimSpace(value), "until=")
	if !dated {
		return value, true
	}
	day, rest, _ := strings.Cut(text, " ")
	last, err := time.Parse(time.DateOnly, day)
	return strings.TrimSpace(rest), err == nil && now.Before(last.AddDate(0, 0, 1))
}
