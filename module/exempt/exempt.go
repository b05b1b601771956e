// Package exempt decides which greetings the HELO check does not judge:
// logged-in users, networks, clients and names in an operator's tables, and
// recipients such as postmaster (RFC 5321, section 4.5.1):
//
//	networks, err := exempt.ParseNetworks([]string{"192.0.2.0/24", "file", path}, nil)
//	list := exempt.List{Authenticated: true, Networks: networks}
//	why, ok := list.Conn(ctx, client, helo, user) // "network", true for 192.0.2.1
//
// The package sends no DNS query; the caller passes proof from the DNS in.
package exempt

import (
	"context"
	"net/netip"
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

// The table names that OnError gets: the operator's directives.
const (
	clientsTable    = "exempt_clients"
	namesTable      = "exempt_names"
	networksTable   = "exempt_networks"
	recipientsTable = "exempt_recipients"
)

// List holds all exemptions of an operator. The zero value exempts nobody. All
// methods are safe for concurrent use while the fields do not change.
//
// A failed table never makes a verdict harsher: the client counts as exempt
// for the reason WhyTableFailed, and OnError gets the error.
//
// Names are looked up as lower-case A-labels without a final dot: first the
// name, then its parents with a leading dot (".example.org"). A parent matches
// all names below it, but not example.org itself.
//
// A value may begin with until=YYYY-MM-DD; see InForce.
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

	// OnError, if set, gets the directive name of a failed table.
	OnError func(table string, err error)
}

// Conn reports whether a client is exempt without any proof from the DNS: by
// its login, by its address, or by a HELO name whose value in Names lists that
// address. The HELO name alone proves nothing.
func (l *List) Conn(ctx context.Context, ip netip.Addr, helo, user string) (why string, ok bool) {
	if l.Authenticated && user != "" {
		return WhyAuth, true
	}
	ip = heloname.Unmap(ip)
	if l.Networks.Contains(ip) {
		return WhyNetwork, true
	}
	for _, t := range [...]struct {
		Table
		name, why string
	}{{l.NetworkTable, networksTable, WhyNetwork}, {l.Clients, clientsTable, WhyClient}} {
		if t.Table == nil || !ip.IsValid() {
			continue
		}
		_, found, err := l.lookup(ctx, t.Table, ip.String())
		if err != nil {
			return l.failed(t.name, err)
		}
		if found {
			return t.why, true
		}
	}
	proves := func(value string) bool { return l.valueHolds(value, ip) }
	found, err := l.search(ctx, l.Names, helo, false, proves)
	if err != nil {
		return l.failed(namesTable, err)
	}
	if found {
		return WhyName, true
	}
	return "", false
}

// ClientName reports whether Clients holds a name of the client, or a parent of
// it unless alone is true. The caller must have confirmed the name: a PTR name
// that resolves back to the client.
func (l *List) ClientName(ctx context.Context, name string, alone bool) (why string, ok bool) {
	found, err := l.search(ctx, l.Clients, name, alone, anyValue)
	if err != nil {
		return l.failed(clientsTable, err)
	}
	if found {
		return WhyClientName, true
	}
	return "", false
}

// Name reports whether Names holds the HELO name or a parent of it. A listed
// name exempts only if proved is true: the name resolves to the client, or a
// confirmed PTR name of the client is or lies below it. A caller without proof
// passes false first, and looks for proof in the DNS if listed is true.
func (l *List) Name(ctx context.Context, helo string, proved bool) (
	listed bool, why string, ok bool,
) {
	found, err := l.search(ctx, l.Names, helo, false, anyValue)
	switch {
	case err != nil:
		why, _ = l.failed(namesTable, err)
	case found:
		why = WhyName
	default:
		return false, "", false
	}
	if !proved {
		return true, "", false
	}
	return true, why, true
}

// Recipient reports whether rcpt, the address of a RCPT TO without angle
// brackets, accepts mail from every client.
func (l *List) Recipient(ctx context.Context, rcpt string) (why string, ok bool) {
	if l.Recipients.Contains(rcpt) {
		return WhyRecipient, true
	}
	if l.RecipientTable == nil {
		return "", false
	}
	local, domain := splitAddress(rcpt)
	keys := []string{local + "@" + domain, "@" + domain, local}
	if domain == "" {
		keys = keys[2:]
	}
	for _, key := range keys {
		_, found, err := l.lookup(ctx, l.RecipientTable, key)
		if err != nil {
			return l.failed(recipientsTable, err)
		}
		if found {
			return WhyRecipient, true
		}
	}
	return "", false
}

// lookup is t.Lookup without entries that are past their day.
func (l *List) lookup(ctx context.Context, t Table, key string) (string, bool, error) {
	value, found, err := t.Lookup(ctx, key)
	if err != nil || !found {
		return "", false, err
	}
	now := time.Now
	if l.Clock != nil {
		now = l.Clock
	}
	value, found = InForce(value, now())
	return value, found, nil
}

// failed reports a table error and exempts the client.
func (l *List) failed(table string, err error) (why string, ok bool) {
	if l.OnError != nil {
		l.OnError(table, err)
	}
	return WhyTableFailed, true
}

// valueHolds reports whether a value of Names lists ip among its addresses and
// networks, separated by spaces or commas. Other words are remarks. A word that
// begins like an address but is none exempts nobody and goes to OnError.
func (l *List) valueHolds(value string, ip netip.Addr) bool {
	holds := false
	for word := range strings.FieldsFuncSeq(value, isSeparator) {
		prefix, err := parseNetwork(word)
		switch {
		case err == nil:
			holds = holds || prefix.Contains(ip)
		case looksLikeAddress(word) && l.OnError != nil:
			l.OnError(namesTable, err)
		}
	}
	return holds
}

func isSeparator(r rune) bool { return r == ',' || r == ' ' || r == '\t' }

func looksLikeAddress(word string) bool {
	return word[0] >= '0' && word[0] <= '9' && strings.ContainsAny(word, ".:/")
}
