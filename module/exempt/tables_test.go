package exempt

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"
)

// dated is a table in memory, which fails where it is nil.
type dated map[string]string

func (d dated) Lookup(_ context.Context, key string) (string, bool, error) {
	if d == nil {
		return "", false, errors.New("connection refused")
	}
	value, found := d[key]
	return value, found, nil
}

// An entry counts until the end of its day, in every table.
func TestEntriesEnd(t *testing.T) {
	day := time.Date(2027, 3, 31, 23, 59, 0, 0, time.UTC)
	client := netip.MustParseAddr("192.0.2.7")
	entries := dated{
		"192.0.2.7":       "until=2027-03-31 scanner",
		"mail.example":    "until=2027-03-31 192.0.2.7",
		"bob@example.org": "until=2027-03-31",
	}
	for name, asked := range map[string]func(List) bool{
		"exempt_networks": func(l List) bool {
			l.NetworkTable = entries
			return l.Conn(t.Context(), client, "") == WhyNetwork
		},
		"exempt_clients": func(l List) bool {
			l.Clients = entries
			return l.Conn(t.Context(), client, "") == WhyClient
		},
		"client's name": func(l List) bool {
			l.Clients = entries
			return l.ClientName(t.Context(), "mail.example", true) == WhyClientName
		},
		"exempt_names": func(l List) bool {
			l.Names = entries
			return l.Conn(t.Context(), client, "mail.example") == WhyName
		},
		"exempt_recipients": func(l List) bool {
			l.RecipientTable = entries
			return l.Recipient(t.Context(), "Bob@Example.ORG") == WhyRecipient
		},
	} {
		for after, want := range map[time.Duration]bool{0: true, time.Minute: false} {
			now := day.Add(after)
			if got := asked(List{Clock: func() time.Time { return now }}); got != want {
				t.Errorf("%s at %v: %v", name, now, got)
			}
		}
	}
}

func TestRecipientTable(t *testing.T) {
	l := List{RecipientTable: dated{"@example.org": "", "abuse": "", "bob@example.net": ""}}
	for rcpt, want := range map[string]bool{
		"ann@example.org": true, "Abuse@example.net": true, "abuse": true, "bob@example.net": true,
		"ann@example.net": false, "bob@example.com": false, "": false,
		`"bob@example.net"@example.com`: false, `"@example.org"@example.com`: false,
	} {
		if why := l.Recipient(t.Context(), rcpt); want != (why == WhyRecipient) {
			t.Errorf("%q: %q", rcpt, why)
		}
	}
	l.RecipientTable = dated(nil)
	if why := l.Recipient(t.Context(), "ann@example.net"); why != WhyTableFailed {
		t.Errorf("a failed table: %q", why)
	}
}
