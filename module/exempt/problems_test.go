package exempt

import (
	"net/netip"
	"strings"
	"testing"
)

func TestNetworkProblem(t *testing.T) {
	tests := []struct {
		network, problem string
		never            bool
	}{
		{"0.0.0.0/0", "holds every client", true},
		{"::/0", "holds every client", true},
		{"0.0.0.0/32", "is the address of no client", true},
		{"::/128", "is the address of no client", true},
		{"0.0.0.0/1", "is wider than /8", false},
		{"128.0.0.0/1", "is wider than /8", false},
		{"192.0.0.0/7", "is wider than /8", false},
		{"10.0.0.0/7", "is wider than /8", false},
		{"2000::/3", "is wider than /8 (IPv4) or /16 (IPv6)", false},
		{"2001::/15", "or /16", false},
		{"fc00::/6", "or /16", false},
		{"127.0.0.0/8", "", false},
		{"10.0.0.0/8", "", false},
		{"192.0.2.0/24", "", false},
		{"192.0.2.1/32", "", false},
		{"::1/128", "", false},
		{"2001::/16", "", false},
		{"2001:db8::/32", "", false},
		{"fc00::/7", "", false},
		{"fe80::/10", "", false},
	}
	for _, test := range tests {
		problem, never := NetworkProblem(netip.MustParsePrefix(test.network))
		if !strings.HasPrefix(problem, test.problem) && !strings.Contains(problem, test.problem) ||
			test.problem == "" && problem != "" || never != test.never {
			t.Errorf("%s: %q, never %v; want %q, %v", test.network, problem, never, test.problem, test.never)
		}
	}
}

func TestKeyProblem(t *testing.T) {
	for key, want := range map[string]string{
		"Mail.example.net":      "accepted: mail.example.net",
		".Example.NET":          "accepted: .example.net",
		"*.example.net":         "accepted: .example.net",
		"mail*.example.net":     "accepted: a name, .NAME",
		"mail.example.net.":     "accepted: mail.example.net",
		"bücher.example":        "accepted: xn--bcher-kva.example",
		"192.0.2.0/24":          "exempt_networks",
		"2001:db8::/32":         "exempt_networks",
		"2001:DB8:0::1":         "accepted: 2001:db8::1",
		"::ffff:192.0.2.1":      "accepted: 192.0.2.1",
		"64:ff9b::192.0.2.1":    "accepted: 192.0.2.1",
		"[192.0.2.1]":           "accepted: a name",
		"mail.example.net OK":   "holds a blank",
		"mail.example.net\tOK":  "holds a blank",
		"":                      "is empty",
		".":                     "never matches",
		"a..example.net":        "never matches",
		"mail.example.net":      "",
		".example.net":          "",
		"ylmf-pc":               "",
		"xn--bcher-kva.example": "",
		"192.0.2.1":             "",
		"2001:db8::1":           "",
	} {
		if got := KeyProblem(key); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", key, got, want)
		}
	}
}
