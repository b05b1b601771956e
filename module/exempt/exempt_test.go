package exempt

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"maddy.example/checkhelo/module/heloname"
)

var errTable = errors.New("table is gone")

// fakeTable answers from a map, fails for the key "fails", and notes the keys.
type fakeTable struct {
	values map[string]string
	fails  string
	keys   []string
}

func (f *fakeTable) Lookup(_ context.Context, key string) (string, bool, error) {
	f.keys = append(f.keys, key)
	if key == f.fails {
		return "", false, errTable
	}
	value, ok := f.values[key]
	return value, ok, nil
}

// mapTable is a table without the notes of fakeTable.
type mapTable map[string]string

func (m mapTable) Lookup(_ context.Context, key string) (string, bool, error) {
	value, ok := m[key]
	return value, ok, nil
}

func table(pairs ...string) *fakeTable {
	f := &fakeTable{values: make(map[string]string)}
	for i := 0; i < len(pairs); i += 2 {
		f.values[pairs[i]] = pairs[i+1]
	}
	return f
}

func networks(t *testing.T, args ...string) *Networks {
	t.Helper()
	n, err := ParseNetworks(args)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestConn(t *testing.T) {
	nets := networks(t, "192.0.2.0/24", "2001:db8::/32")
	tests := []struct {
		name           string
		list           List
		ip, helo, user string
		why            string
	}{
		{"nothing set", List{}, "192.0.2.1", "mx.example.org", "bob", ""},
		{"user", List{Authenticated: true}, "192.0.2.1", "", "bob", WhyAuth},
		{"no user", List{Authenticated: true}, "192.0.2.1", "", "", ""},
		{"network", List{Networks: nets}, "192.0.2.9", "", "", WhyNetwork},
		{"network, mapped", List{Networks: nets}, "::ffff:192.0.2.9", "", "", WhyNetwork},
		{"network, NAT64", List{Networks: nets}, "64:ff9b::192.0.2.9", "", "", WhyNetwork},
		{"network, zone", List{Networks: nets}, "2001:db8::1%eth0", "", "", WhyNetwork},
		{"other network", List{Networks: nets}, "198.51.100.1", "", "", ""},
		{"no address", List{Networks: nets, Clients: table("invalid IP", "")}, "", "", "", ""},
		{"client", List{Clients: table("192.0.2.1", "")}, "192.0.2.1", "", "", WhyClient},
		{"client, mapped", List{Clients: table("192.0.2.1", "")}, "::ffff:192.0.2.1", "", "", WhyClient},
		{
			"client, NAT64", List{Clients: table("192.0.2.1", "")},
			"64:ff9b::192.0.2.1", "", "", WhyClient,
		},
		{
			"client, IPv6", List{Clients: table("2001:db8::1", "")},
			"2001:db8:0::1%eth0", "", "", WhyClient,
		},
		{
			"client is no name", List{Clients: table("mx.example.org", "")},
			"192.0.2.1", "mx.example.org", "", "",
		},
		{
			"clients fail", List{Clients: &fakeTable{fails: "192.0.2.1"}},
			"192.0.2.1", "", "", WhyTableFailed,
		},
		{
			"name alone is no proof", List{Names: table("mx.example.org", "")},
			"192.0.2.1", "mx.example.org", "", "",
		},
		{
			"name with address", List{Names: table("mx.example.org", "192.0.2.1")},
			"192.0.2.1", "MX.Example.ORG.", "", WhyName,
		},
		{
			"name with other address", List{Names: table("mx.example.org", "192.0.2.2")},
			"192.0.2.1", "mx.example.org", "", "",
		},
		{
			"name with list", List{Names: table("mx.example.org", "our relay, 2001:db8::/32 192.0.2.0/30")},
			"192.0.2.1", "mx.example.org", "", WhyName,
		},
		{
			"name with mapped network", List{Names: table("mx.example.org", "::ffff:192.0.2.0/120")},
			"192.0.2.1", "mx.example.org", "", WhyName,
		},
		{
			"parent with network", List{Names: table(".example.org", "192.0.2.0/24")},
			"192.0.2.1", "a.b.example.org", "", WhyName,
		},
		{
			"parent is not the name", List{Names: table(".example.org", "192.0.2.0/24")},
			"192.0.2.1", "example.org", "", "",
		},
		{
			"parent after a name of another address",
			List{Names: table("a.example.org", "192.0.2.7", ".example.org", "192.0.2.1")},
			"192.0.2.1", "a.example.org", "", WhyName,
		},
		{
			"name, no client address", List{Names: table("mx.example.org", "192.0.2.1")},
			"", "mx.example.org", "", "",
		},
		{
			"names fail", List{Names: &fakeTable{fails: ".example.org"}},
			"192.0.2.1", "mx.example.org", "", WhyTableFailed,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var ip netip.Addr
			if test.ip != "" {
				ip = netip.MustParseAddr(test.ip)
			}
			if why := unproved(t.Context(), &test.list, ip, test.helo, test.user); why != test.why {
				t.Errorf("got %q, want %q", why, test.why)
			}
		})
	}
}

// unproved asks for all exemptions that need no proof.
func unproved(ctx context.Context, l *List, ip netip.Addr, helo, user string) (why string) {
	if why = l.Client(ip, user); why == "" {
		why = l.Conn(ctx, ip, helo)
	}
	return why
}

func TestClientName(t *testing.T) {
	tests := []struct {
		name      string
		clients   Table
		confirmed string
		alone     bool
		why       string
	}{
		{"no table", nil, "mx.example.org", false, ""},
		{"no name", table("mx.example.org", ""), "", false, ""},
		{"name", table("mx.example.org", ""), "mx.example.org", false, WhyClientName},
		{"name alone", table("mx.example.org", ""), "mx.example.org", true, WhyClientName},
		{"parent", table(".example.org", ""), "mx.example.org", false, WhyClientName},
		{"parent of a name alone", table(".example.org", ""), "mx.example.org", true, ""},
		{"child", table("mx.example.org", ""), "example.org", false, ""},
		{"failure", &fakeTable{fails: "mx.example.org"}, "mx.example.org", false, WhyTableFailed},
		{"failure of a name alone", &fakeTable{fails: "mx.example.org"}, "mx.example.org", true, WhyTableFailed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := List{Clients: test.clients}
			if why := l.ClientName(t.Context(), test.confirmed, test.alone); why != test.why {
				t.Errorf("got %q, want %q", why, test.why)
			}
		})
	}
}

func TestName(t *testing.T) {
	tests := []struct {
		name  string
		names Table
		why   string
	}{
		{"no table", nil, ""},
		{"not listed", table("other.example.org", ""), ""},
		{"listed", table("mx.example.org", ""), WhyName},
		{"parent", table(".example.org", "192.0.2.1"), WhyName},
		{"failure", &fakeTable{fails: "mx.example.org"}, WhyTableFailed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := List{Names: test.names}
			if why := l.Name(t.Context(), "mx.example.org"); why != test.why {
				t.Errorf("got %q, want %q", why, test.why)
			}
		})
	}
}

func TestOnError(t *testing.T) {
	var reports []string
	report := func(table string, err error) { reports = append(reports, table+": "+err.Error()) }
	ip := netip.MustParseAddr("192.0.2.1")
	tests := []struct {
		name string
		list List
		want []string
	}{
		{
			"clients", List{Clients: &fakeTable{fails: "192.0.2.1"}},
			[]string{"exempt_clients: table is gone"},
		},
		{
			"names", List{Names: &fakeTable{fails: "mx.example.org"}},
			[]string{"exempt_names: table is gone"},
		},
		{"remarks", List{Names: table("mx.example.org", "yes, since 2026 (ticket 7)")}, nil},
		{"slip in a value", List{Names: table("mx.example.org", "192.0.2.300")}, []string{
			`exempt_names: a value that is no address: "192.0.2.300" is not an address`,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			reports = nil
			test.list.OnError = report
			test.list.Conn(t.Context(), ip, "mx.example.org")
			if !slices.Equal(reports, test.want) {
				t.Errorf("got %q, want %q", reports, test.want)
			}
		})
	}
}

// TestMissAllocates counts what the usual client costs: no tables, no hit.
func TestMissAllocates(t *testing.T) {
	recipients, err := ParseRecipients([]string{"postmaster", "help@example.org", "@example.net"})
	if err != nil {
		t.Fatal(err)
	}
	l := &List{
		Authenticated: true, Recipients: recipients,
		Networks: networks(t, "127.0.0.0/8", "::1", "192.0.2.0/24"),
	}
	ctx, ip := t.Context(), netip.MustParseAddr("198.51.100.1")
	got := testing.AllocsPerRun(100, func() {
		if unproved(ctx, l, ip, "mx.example.com", "") != "" ||
			l.ClientName(ctx, "mx.example.com", false) != "" || l.Name(ctx, "mx.example.com") != "" ||
			l.Recipient(ctx, "bob@example.com") != "" {
			t.Error("a stranger is exempt")
		}
	})
	if got != 0 {
		t.Errorf("%v allocations, want 0", got)
	}
}

// keyTable holds nothing and checks the keys it is asked for.
type keyTable struct {
	t     *testing.T
	count int
}

func (k *keyTable) Lookup(_ context.Context, key string) (string, bool, error) {
	k.count++
	odd := strings.ContainsAny(key, "\x00 \r\n'\"%") || key != strings.ToLower(key)
	if odd || len(key) > 253 {
		k.t.Errorf("looked up %q", key)
	}
	return "", false, nil
}

// FuzzConn proves that a HELO name without a listed address exempts nobody,
// whatever it holds, and that it costs a bounded number of clean lookups.
func FuzzConn(f *testing.F) {
	for _, helo := range []string{
		"mx.example.org", "[192.0.2.1]", "a..b", "\xff\x00", strings.Repeat("a.", 127),
	} {
		f.Add(helo, []byte{192, 0, 2, 1})
	}
	f.Fuzz(func(t *testing.T, helo string, address []byte) {
		ip, _ := netip.AddrFromSlice(address)
		names := &keyTable{t: t}
		l := List{Authenticated: true, Names: names, Networks: networks(t, "192.0.2.0/24")}
		why := unproved(t.Context(), &l, ip, helo, "")
		inside := netip.MustParsePrefix("192.0.2.0/24").Contains(heloname.Unmap(ip))
		if inside != (why != "") || inside != (why == WhyNetwork) {
			t.Errorf("Conn(%v, %q) = %q", ip, helo, why)
		}
		if names.count > maxParents+1 {
			t.Errorf("%q causes %d lookups", helo, names.count)
		}
	})
}

// BenchmarkConn is the cost for the usual client, whom nothing exempts.
func BenchmarkConn(b *testing.B) {
	for _, size := range networkSizes {
		args := make([]string, size)
		for i := range args {
			args[i] = fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff)
		}
		set, err := ParseNetworks(args)
		if err != nil {
			b.Fatal(err)
		}
		l := &List{Authenticated: true, Networks: set}
		ip := netip.MustParseAddr("192.0.2.1")
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if unproved(b.Context(), l, ip, "mx.example.org", "") != "" {
					b.Fatal("a stranger is exempt")
				}
			}
		})
	}
}

// BenchmarkName looks up names in a table in memory.
func BenchmarkName(b *testing.B) {
	for _, size := range networkSizes {
		names := make(mapTable, size)
		for i := range size {
			names[fmt.Sprintf("mx%d.example.org", i)] = "192.0.2.1"
		}
		l := &List{Names: names}
		b.Run(fmt.Sprintf("size=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if l.Name(b.Context(), "mx.example.com") != "" {
					b.Fatal("a stranger is listed")
				}
			}
		})
	}
}
