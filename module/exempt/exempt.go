// Package exempt knows who is not judged by the HELO check: authenticated
// users, networks, named clients, recipients such as postmaster (RFC 5321,
// section 4.5.1). It looks nothing up in the DNS; a caller that has proof from
// there hands it in.
package exempt

import (
	"context"
	"net/netip"
	"strings"
)

// Table is a look-up table of an operator. Maddy's module.Table fits as it is.
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
	WhyRecipient   = "rcpt"         // the recipient takes mail from everybody
	WhyTableFailed = "table_failed" // a table could not answer
)

// The table names that OnError gets: the directives of the operator.
const (
	clientsTable = "exempt_clients"
	namesTable   = "exempt_names"
)

// List is everything an operator exempts. The zero value exempts nobody. It
// must not change while in use; then all methods may run at the same time.
//
// A table that fails never makes a verdict harsher: the client counts as
// exempt for the reason WhyTableFailed, and OnError is told.
//
// Names are looked up as lower-case A-labels without a final dot: first the
// whole name, then its parents with a leading dot (".example.org"), which
// hold for everything below but not for example.org itself.
type List struct {
	Authenticated bool        // exempt users who logged in
	Networks      *Networks   // nil: none
	Clients       Table       // nil: none; keys are addresses, names, ".parent"; any value
	Names         Table       // nil: none; keys are names, ".parent"; values: addresses or empty
	Recipients    *Recipients // nil: none

	// OnError, when set, gets the directive name of a failed table.
	OnError func(table string, err error)
}

// Conn tells whether a client is exempt by what needs no DNS: its login, its
// address, or a HELO name whose value in Names lists that address. A HELO
// name alone is only said by the client and proves nothing.
func (l *List) Conn(ctx context.Context, ip netip.Addr, helo, user string) (why string, ok bool) {
	if l.Authenticated && user != "" {
		return WhyAuth, true
	}
	ip = plain(ip)
	if l.Networks.Contains(ip) {
		return WhyNetwork, true
	}
	if l.Clients != nil && ip.IsValid() {
		_, found, err := l.Clients.Lookup(ctx, ip.String())
		if err != nil {
			return l.failed(clientsTable, err)
		}
		if found {
			return WhyClient, true
		}
	}
	proves := func(value string) bool { return l.valueHolds(value, ip) }
	found, err := search(ctx, l.Names, helo, proves)
	if err != nil {
		return l.failed(namesTable, err)
	}
	if found {
		return WhyName, true
	}
	return "", false
}

// ClientName tells whether Clients holds one of the client's names, or a
// parent of one. The caller vouches that each name is a PTR name that resolves
// back to the client.
func (l *List) ClientName(ctx context.Context, confirmed []string) (why string, ok bool) {
	for _, name := range confirmed {
		found, err := search(ctx, l.Clients, name, anyValue)
		if err != nil {
			return l.failed(clientsTable, err)
		}
		if found {
			return WhyClientName, true
		}
	}
	return "", false
}

// Name tells whether Names holds the HELO name or a parent of it. Being listed
// exempts only when proved: the name resolves to the client, or the client's
// confirmed PTR name is it. So a caller asks with proved false first, and
// looks for proof in the DNS when listed is true.
func (l *List) Name(ctx context.Context, helo string, proved bool) (
	listed bool, why string, ok bool,
) {
	found, err := search(ctx, l.Names, helo, anyValue)
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

// Recipient tells whether mail to rcpt, the address of a RCPT TO without angle
// brackets, is taken from everybody.
func (l *List) Recipient(_ context.Context, rcpt string) (why string, ok bool) {
	if l.Recipients.Contains(rcpt) {
		return WhyRecipient, true
	}
	return "", false
}

// failed reports a table error and lets the client pass.
func (l *List) failed(table string, err error) (why string, ok bool) {
	if l.OnError != nil {
		l.OnError(table, err)
	}
	return WhyTableFailed, true
}

// valueHolds reports whether a value of Names lists ip among its addresses and
// networks, separated by spaces or commas. Other words are remarks; what
// begins like an address and is none is reported, since it exempts nobody.
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

// plain folds an IPv4-mapped address and cuts off a zone.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }
