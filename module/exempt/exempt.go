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
	"iter"
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
	ip = heloname.Unmap(ip)
	switch {
	case l.Authenticated && user != "":
		return WhyAuth, true
	case l.Networks.Contains(ip):
		return WhyNetwork, true
	}
	if ip.IsValid() && (l.NetworkTable != nil || l.Clients != nil) {
		key := ip.String()
		networks := source{l.NetworkTable, "exempt_networks", WhyNetwork}
		if why, ok = l.search(ctx, networks, key, true, anyValue); ok {
			return why, true
		}
		if why, ok = l.search(ctx, l.clients(WhyClient), key, true, anyValue); ok {
			return why, true
		}
	}
	lists := func(value string) bool { return l.valueHolds(value, ip) }
	return l.search(ctx, l.names(), heloname.Parse(helo).ASCII, false, lists)
}

// ClientName reports whether Clients holds a name of the client, or a parent of
// it unless alone is true. The caller must have confirmed the name: a PTR name
// that resolves back to the client.
func (l *List) ClientName(ctx context.Context, name string, alone bool) (why string, ok bool) {
	return l.search(ctx, l.clients(WhyClientName), heloname.Parse(name).ASCII, alone, anyValue)
}

// Name reports whether Names holds the HELO name or a parent of it. A listed
// name exempts only if proved is true: the name resolves to the client, or a
// confirmed PTR name of the client is or lies below it. A caller without proof
// passes false first, and looks for proof in the DNS if listed is true.
func (l *List) Name(ctx context.Context, helo string, proved bool) (
	listed bool, why string, ok bool,
) {
	why, listed = l.search(ctx, l.names(), heloname.Parse(helo).ASCII, false, anyValue)
	if !proved {
		why = ""
	}
	return listed, why, listed && proved
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
	recipients := source{l.RecipientTable, "exempt_recipients", WhyRecipient}
	for _, key := range keys {
		if why, ok = l.search(ctx, recipients, key, true, anyValue); ok {
			return why, true
		}
	}
	return "", false
}

// source is a table with the directive that OnError gets and the reason for what it holds.
type source struct {
	Table
	directive, why string
}

func (l *List) clients(why string) source { return source{l.Clients, "exempt_clients", why} }
func (l *List) names() source             { return source{l.Names, "exempt_names", WhyName} }

func anyValue(string) bool { return true }

// search looks key up and then, unless alone is true, its parents. It reports
// whether one of the found values satisfies want. An entry past its day does not
// count, and an error exempts.
//
// A name must be a host name or "": other octets could make a table fail
// (PostgreSQL rejects NUL and broken UTF-8).
func (l *List) search(
	ctx context.Context, s source, key string, alone bool, want func(value string) bool,
) (why string, ok bool) {
	if s.Table == nil {
		return "", false
	}
	now := time.Now
	if l.Clock != nil {
		now = l.Clock
	}
	for entry := range Ancestry(key) {
		value, found, err := s.Lookup(ctx, entry)
		if err != nil {
			l.report(s.directive, err)
			return WhyTableFailed, true
		}
		if found {
			value, found = InForce(value, now())
		}
		if found && want(value) {
			return s.why, true
		}
		if alone {
			break
		}
	}
	return "", false
}

func (l *List) report(directive string, err error) {
	if l.OnError != nil {
		l.OnError(directive, err)
	}
}

// maxParents is the number of parents of one name that are looked up at most: a
// client may put any number of labels in front of a domain.
const maxParents = 8

// Ancestry yields name and then its parents, nearest first and each with a
// leading dot: a.example.org, .example.org, .org. Of more than 8 parents it
// yields those nearest to the root.
func Ancestry(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if name == "" || !yield(name) {
			return
		}
		for parents := strings.Count(name[1:], "."); parents > 0; parents-- {
			name = name[1+strings.IndexByte(name[1:], '.'):]
			if parents <= maxParents && !yield(name) {
				return
			}
		}
	}
}

// valueHolds reports whether a value of Names lists ip among its addresses and
// networks, separated by spaces or commas. Other words are remarks. A word that
// begins like an address but is none exempts nobody and goes to OnError.
func (l *List) valueHolds(value string, ip netip.Addr) bool {
	holds := false
	separates := func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }
	for word := range strings.FieldsFuncSeq(value, separates) {
		prefix, err := parseNetwork(word)
		switch {
		case err == nil:
			holds = holds || prefix.Contains(ip)
		case word[0] >= '0' && word[0] <= '9' && strings.ContainsAny(word, ".:/"):
			l.report("exempt_names", err)
		}
	}
	return holds
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
