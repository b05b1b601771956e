package checkhelo_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/publicsuffix"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

var update = flag.Bool("update", false, "write testdata/*.json anew")

var presets = []checkhelo.Preset{checkhelo.Lenient, checkhelo.RFC, checkhelo.Strict}

// Facts in text form, as tables and testdata write them.

const (
	notFound = "not found"     // NotFound
	failed   = "failed"        // Failed
	nothing  = "found nothing" // Found, with an empty value
)

const (
	client  = "192.0.2.10"
	other   = "198.51.100.7"
	public  = "192.175.48.1" // AS112 (RFC 7535): no host, but globally reachable
	server  = "203.0.113.25"
	goodOne = "mail.example.org"
)

// given describes Facts. Lists are separated by spaces, "" means that nobody asked.
type given struct {
	Helo        string `json:"helo"`
	Client      string `json:"client,omitempty"` // "": the constant client
	Local       string `json:"local,omitempty"`
	SelfNames   string `json:"self_names,omitempty"`
	SelfDomains string `json:"self_domains,omitempty"`
	SelfAddrs   string `json:"self_addresses,omitempty"`
	Rcpt        string `json:"rcpt,omitempty"`
	Denied      string `json:"denied,omitempty"` // "yes", or "CODE SUBJECT.DETAIL TEXT"
	Forward     string `json:"forward,omitempty"`
	MX          string `json:"mx,omitempty"`
	PTR         string `json:"ptr,omitempty"`
	Confirmed   string `json:"confirmed,omitempty"`
	TLD         string `json:"tld,omitempty"`
	SPF         string `json:"spf,omitempty"`
	Listed      string `json:"listed,omitempty"` // ZONE=ADDRESS[=ACTION[=POINTS]]
	Neighbours  string `json:"neighbours,omitempty"`
}

func (g given) facts() *checkhelo.Facts {
	f := &checkhelo.Facts{
		Helo: heloname.Parse(g.Helo), Client: netip.MustParseAddr(client), Rcpt: g.Rcpt,
		Self: &checkhelo.Self{Names: strings.Fields(g.SelfNames),
			Domains: strings.Fields(g.SelfDomains)},
		Denied:     answer(g.Denied, denial),
		Forward:    answer(g.Forward, addresses),
		MX:         answer(g.MX, strings.Fields),
		PTR:        answer(g.PTR, strings.Fields),
		Confirmed:  answer(g.Confirmed, strings.Fields),
		TLD:        answer(g.TLD, func(s string) bool { return s == "yes" }),
		SPF:        answer(g.SPF, func(s string) string { return s }),
		Listed:     answer(g.Listed, listings),
		Neighbours: answer(g.Neighbours, strings.Fields),
	}
	if g.Client != "" {
		f.Client = netip.MustParseAddr(g.Client)
	}
	if g.Local != "" {
		f.Local = netip.MustParseAddr(g.Local)
	}
	for _, s := range strings.Fields(g.SelfAddrs) {
		f.Self.Addrs = append(f.Self.Addrs, netip.MustParsePrefix(s))
	}
	return f
}

var errLookup = errors.New("server failure")

func answer[T any](s string, value func(string) T) (a checkhelo.Answer[T]) {
	switch s {
	case "":
	case notFound:
		a.State = checkhelo.NotFound
	case failed:
		a.State, a.Err = checkhelo.Failed, errLookup
	case nothing:
		a.State = checkhelo.Found
	default:
		a.State, a.Value = checkhelo.Found, value(s)
	}
	return a
}

func addresses(s string) (list []netip.Addr) {
	for _, field := range strings.Fields(s) {
		list = append(list, netip.MustParseAddr(field))
	}
	return list
}

func denial(s string) (r checkhelo.Denial) {
	fields := strings.SplitN(s, " ", 3)
	r.Match = "entry.example"
	if len(fields) < 3 {
		return r
	}
	r.Code, r.Detail, r.Message = number(fields[0]), detail(fields[1]), fields[2]
	return r
}

func detail(s string) [2]int {
	subject, rest, _ := strings.Cut(s, ".")
	return [2]int{number(subject), number(rest)}
}

func listings(s string) (hits []checkhelo.Listing) {
	for _, field := range strings.Fields(s) {
		part := strings.Split(field, "=")
		l := checkhelo.Listing{Zone: part[0], Addr: netip.MustParseAddr(part[1]),
			Reason: "seen in spam"}
		if len(part) > 2 {
			l.Action = action(part[2])
		}
		if len(part) > 3 {
			l.Score = number(part[3])
		}
		hits = append(hits, l)
	}
	return hits
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

func action(word string) checkhelo.Action {
	for a := checkhelo.Off; a <= checkhelo.Reject; a++ {
		if a.String() == word {
			return a
		}
	}
	panic("no action " + word)
}

// policy returns a fresh preset with changes laid over it.
func policy(preset checkhelo.Preset, changes ...func(*checkhelo.Policy)) *checkhelo.Policy {
	p := checkhelo.NewPolicy(preset)
	for _, change := range changes {
		change(p)
	}
	return p
}

func override(rule string, o checkhelo.Rule) func(*checkhelo.Policy) {
	return func(p *checkhelo.Policy) {
		if p.Override == nil {
			p.Override = make(map[string]checkhelo.Rule)
		}
		p.Override[rule] = o
	}
}

// everyRule returns a policy in which every rule has the same action.
func everyRule(a checkhelo.Action) *checkhelo.Policy {
	p := checkhelo.NewPolicy(checkhelo.RFC)
	for _, r := range checkhelo.Rules() {
		override(r.Name, checkhelo.Rule{Action: a})(p)
	}
	return p
}

func hits(v checkhelo.Verdict, rule string) bool {
	return slices.Contains(hitNames(v), rule)
}

func hitNames(v checkhelo.Verdict) (names []string) {
	for _, h := range v.Hits {
		names = append(names, h.Rule.Name)
	}
	return names
}

// line is a reply as it goes over the wire, without CRLF.
func line(r checkhelo.Reply) string {
	return fmt.Sprintf("%d %d.%d.%d %s", r.Code, r.Enhanced[0], r.Enhanced[1], r.Enhanced[2],
		r.Text)
}

// 1. The rules.

type row struct {
	rule, reply          string
	lenient, rfc, strict string
	noReject             bool // RFC 5321, 4.1.4
}

// rows is the table that must be in force, written down a second time on purpose.
var rows = []row{
	{"deny_name", "554 5.7.1", "reject", "reject", "reject", false},
	{"malformed", "501 5.5.2", "reject", "reject", "reject", false},
	{"self_address", "550 5.7.1", "reject", "reject", "reject", false},
	{"self_name", "550 5.7.1", "quarantine", "reject", "reject", false},
	{"rcpt_domain", "550 5.7.1", "score 3", "quarantine", "reject", false},
	{"localhost", "550 5.7.1", "score 4", "reject", "reject", false},
	{"bare_ip", "501 5.5.2", "score 4", "reject", "reject", false},
	{"literal_mismatch", "550 5.7.1", "ignore", "quarantine", "reject", true},
	{"address_literal", "550 5.7.1", "ignore", "score 2", "reject", false},
	{"not_fqdn", "504 5.5.2", "score 4", "reject", "reject", false},
	{"underscore", "501 5.5.2", "ignore", "score 2", "reject", false},
	{"trailing_dot", "501 5.5.2", "ignore", "ignore", "reject", false},
	{"reserved_tld", "550 5.7.1", "score 3", "quarantine", "reject", false},
	{"unknown_tld", "550 5.7.1", "score 3", "quarantine", "reject", false},
	{"forged_provider", "550 5.7.1", "score 3", "quarantine", "reject", false},
	{"spf_fail", "550 5.7.23", "score 3", "quarantine", "reject", false},
	{"listed", "554 5.7.1", "score 5", "quarantine", "reject", false},
	{"dynamic_name", "550 5.7.1", "ignore", "score 1", "quarantine", false},
	{"generic_ptr", "550 5.7.25", "ignore", "score 2", "quarantine", false},
	{"no_ptr", "550 5.7.25", "score 1", "score 3", "quarantine", false},
	{"ptr_unconfirmed", "550 5.7.25", "score 1", "score 3", "quarantine", false},
	{"neighbours", "550 5.7.1", "ignore", "score 2", "score 2", false},
	{"ptr_mismatch", "550 5.7.25", "ignore", "ignore", "score 3", true},
	{"default_host", "550 5.7.1", "ignore", "score 2", "score 2", false},
	{"new_tld", "550 5.7.1", "ignore", "score 1", "score 3", false},
	{"bare_domain", "550 5.7.1", "off", "score 1", "score 2", false},
	{"private_address", "550 5.7.1", "ignore", "ignore", "quarantine", false},
	{"address_mismatch", "550 5.7.1", "ignore", "ignore", "quarantine", true},
	{"mx_only", "450 4.7.1", "ignore", "ignore", "reject", false},
	{"no_address", "450 4.7.1", "ignore", "score 1", "reject", false},
}

func TestTable(t *testing.T) {
	if got := len(checkhelo.Rules()); got != len(rows) {
		t.Errorf("%d rules, want %d", got, len(rows))
	}
	for column, preset := range presets {
		have := byName(checkhelo.NewPolicy(preset).Rules())
		for _, row := range rows {
			r, ok := have[row.rule]
			if !ok {
				t.Fatalf("no rule %s", row.rule)
			}
			set := r.Action.String()
			if r.Action == checkhelo.Score {
				set += " " + strconv.Itoa(r.Score)
			}
			if want := []string{row.lenient, row.rfc, row.strict}[column]; set != want {
				t.Errorf("%s under %s: %s, want %s", row.rule, preset, set, want)
			}
			reply := fmt.Sprintf("%d %d.%d.%d", r.Code, r.Code/100, r.Detail[0], r.Detail[1])
			if reply != row.reply {
				t.Errorf("%s answers %s, want %s", row.rule, reply, row.reply)
			}
			if r.NoReject != row.noReject {
				t.Errorf("%s: NoReject is %v", row.rule, r.NoReject)
			}
			if r.Basis == "" || r.Match == nil {
				t.Errorf("%s has no basis or no Match", row.rule)
			}
		}
	}
}

func byName(rules []checkhelo.Rule) map[string]checkhelo.Rule {
	m := make(map[string]checkhelo.Rule, len(rules))
	for _, r := range rules {
		m[r.Name] = r
	}
	return m
}

type ruleCase struct {
	rule string
	hit  bool
	why  string
	given
}

// ruleCases has hits and near misses of every rule.
var ruleCases = []ruleCase{
	{"malformed", true, "no argument", given{Helo: ""}},
	{"malformed", true, "two dots", given{Helo: "fake..com"}},
	{"malformed", true, "leading dot", given{Helo: ".com"}},
	{"malformed", true, "characters", given{Helo: "@(&$"}},
	{"malformed", true, "raw 8-bit", given{Helo: "b\u00fccher.example.org"}},
	{"malformed", true, "literal not closed", given{Helo: "[192.0.2.10"}},
	{"malformed", true, "label of 64", given{Helo: strings.Repeat("a", 64) + ".example.org"}},
	{"malformed", false, "label of 63", given{Helo: strings.Repeat("a", 63) + ".example.org"}},
	{"malformed", false, "inner hyphens", given{Helo: "a--b.example.org"}},
	{"malformed", false, "A-label", given{Helo: "xn--bcher-kva.example.org"}},
	{"malformed", false, "underscore is not malformed", given{Helo: "a_b.example.org"}},

	{"underscore", true, "inside", given{Helo: "a_b.example.org"}},
	{"underscore", true, "first", given{Helo: "_mail.example.org"}},
	{"underscore", false, "hyphen", given{Helo: "a-b.example.org"}},
	{"underscore", false, "broken anyway", given{Helo: "a_b..example.org"}},

	{"trailing_dot", true, "name", given{Helo: "mail.example.org."}},
	{"trailing_dot", true, "one label", given{Helo: "mail."}},
	{"trailing_dot", false, "two dots are malformed", given{Helo: "mail.example.org.."}},
	{"trailing_dot", false, "none", given{Helo: goodOne}},

	{"bare_ip", true, "IPv4", given{Helo: "192.168.1.1"}},
	{"bare_ip", true, "one number", given{Helo: "2130706945"}},
	{"bare_ip", true, "short form", given{Helo: "127.1"}},
	{"bare_ip", true, "hex", given{Helo: "0x7f000001"}},
	{"bare_ip", true, "octal", given{Helo: "0177.0.0.1"}},
	{"bare_ip", true, "IPv6", given{Helo: "2001:db8::1"}},
	{"bare_ip", false, "literal", given{Helo: "[192.0.2.10]"}},
	{"bare_ip", false, "numbers in a name", given{Helo: "192.0.2.10.example.org"}},
	{"bare_ip", false, "dashes", given{Helo: "192-0-2-10.example.org"}},

	{"address_literal", true, "the client's", given{Helo: "[192.0.2.10]"}},
	{"address_literal", true, "IPv6", given{Helo: "[IPv6:2001:db8::1]"}},
	{"address_literal", false, "no address", given{Helo: "[IPv6:bogus]"}},
	{"address_literal", false, "bare", given{Helo: "192.0.2.10"}},

	{"literal_mismatch", true, "IPv4", given{Helo: "[198.51.100.7]"}},
	{"literal_mismatch", true, "IPv6", given{Helo: "[IPv6:2001:db8::2]", Client: "2001:db8::1"}},
	{"literal_mismatch", true, "other family", given{Helo: "[IPv6:2001:db8::2]"}},
	{"literal_mismatch", false, "same", given{Helo: "[192.0.2.10]"}},
	{"literal_mismatch", false, "same, mapped", given{Helo: "[IPv6:::ffff:192.0.2.10]"}},
	{"literal_mismatch", false, "same, spelt otherwise",
		given{Helo: "[IPv6:2001:DB8:0:0::1]", Client: "2001:db8::1"}},
	{"literal_mismatch", false, "bare", given{Helo: other}},

	{"not_fqdn", true, "host name", given{Helo: "hostnameonly"}},
	{"not_fqdn", true, "TLD", given{Helo: "com"}},
	{"not_fqdn", true, "dot cut off", given{Helo: "hostnameonly."}},
	{"not_fqdn", false, "two labels", given{Helo: "example.org"}},
	{"not_fqdn", false, "a number is an address", given{Helo: "2130706945"}},

	{"localhost", true, "itself", given{Helo: "localhost"}},
	{"localhost", true, "capitals and dot", given{Helo: "LocalHost."}},
	{"localhost", true, "first label", given{Helo: "localhost.localdomain"}},
	{"localhost", true, "below", given{Helo: "mail.localhost"}},
	{"localhost", false, "longer label", given{Helo: "localhosts.example.org"}},
	{"localhost", false, "inner label", given{Helo: "mail.localhost.example.org"}},
	{"localhost", false, "with number", given{Helo: "localhost1.example.org"}},

	{"reserved_tld", true, "local", given{Helo: "foo.bar.local"}},
	{"reserved_tld", true, "internal", given{Helo: "rad.internal"}},
	{"reserved_tld", true, "test", given{Helo: "mail.sender.test"}},
	{"reserved_tld", true, "private by custom", given{Helo: "mail.office.corp"}},
	{"reserved_tld", true, "home.arpa", given{Helo: "nas.home.arpa"}},
	{"reserved_tld", false, "inner label", given{Helo: "mail.local.example.org"}},
	{"reserved_tld", false, "end of a label", given{Helo: "mail.mylocal.example.net"}},
	{"reserved_tld", false, "under a public TLD", given{Helo: "mail.example.com"}},

	{"unknown_tld", true, "nobody asked", given{Helo: "mail.sender.notatld"}},
	{"unknown_tld", true, "not in the root", given{Helo: "mail.sender.notatld", TLD: notFound}},
	{"malformed", true, "number", given{Helo: "mail.example.123", TLD: failed}},
	{"unknown_tld", false, "newer than the list", given{Helo: "mail.sender.notatld", TLD: "yes"}},
	{"unknown_tld", false, "lookup failed", given{Helo: "mail.sender.notatld", TLD: failed}},
	{"unknown_tld", false, "reserved is another rule", given{Helo: "foo.bar.local", TLD: notFound}},
	{"unknown_tld", false, "wildcard TLD", given{Helo: "mail.example.ck", TLD: notFound}},

	{"self_name", true, "host name", given{Helo: "mx1.example.org", SelfNames: "mx1.example.org"}},
	{"self_name", true, "capitals", given{Helo: "MX1.example.ORG", SelfNames: "mx1.example.org"}},
	{"self_name", true, "below a domain",
		given{Helo: "www.example.org", SelfDomains: "example.org"}},
	{"self_name", true, "PTR not confirmed", given{Helo: "mx1.example.org",
		SelfNames: "mx1.example.org", PTR: "mx1.example.org", Confirmed: notFound,
		Forward: server}},
	{"self_name", false, "from us", given{Helo: "mx1.example.org", SelfNames: "mx1.example.org",
		Client: server, Local: server}},
	{"self_name", false, "our other address", given{Helo: "mx1.example.org",
		SelfNames: "mx1.example.org", SelfAddrs: "192.0.2.0/24"}},
	{"self_name", false, "resolves to the client", given{Helo: "mx1.example.org",
		SelfNames: "mx1.example.org", Forward: other + " " + client}},
	{"self_name", false, "confirmed PTR of ours", given{Helo: "mx1.example.org",
		SelfDomains: "example.org", Forward: server, PTR: "mx2.example.org",
		Confirmed: "mx2.example.org"}},
	{"self_name", false, "PTR that nobody has asked to confirm", given{Helo: "mx1.example.org",
		SelfDomains: "example.org", Forward: server, PTR: "mx2.example.org"}},
	{"self_name", false, "the domain itself",
		given{Helo: "example.org", SelfDomains: "example.org"}},
	{"self_name", false, "end of a label",
		given{Helo: "notexample.org", SelfDomains: "example.org"}},

	{"self_address", true, "bare", given{Helo: server, Local: server}},
	{"self_address", true, "literal", given{Helo: "[203.0.113.25]", Local: server}},
	{"self_address", true, "one of a net",
		given{Helo: "[203.0.113.26]", SelfAddrs: "203.0.113.0/24"}},
	{"self_address", false, "from us", given{Helo: "[203.0.113.25]", Local: server,
		Client: server}},
	{"self_address", false, "neighbour", given{Helo: "[203.0.113.26]", Local: server}},

	{"rcpt_domain", true, "itself", given{Helo: "example.org", Rcpt: "example.org"}},
	{"rcpt_domain", true, "itself, of other addresses",
		given{Helo: "example.org", Rcpt: "example.org", Forward: server, PTR: notFound,
			SPF: "none"}},
	{"rcpt_domain", true, "below, without an address",
		given{Helo: "pc.example.org", Rcpt: "example.org", Forward: notFound, PTR: notFound,
			SPF: "none"}},
	{"rcpt_domain", true, "below, with an address elsewhere",
		given{Helo: "pc.example.org", Rcpt: "example.org", Forward: server, PTR: notFound,
			SPF: "none"}},
	{"rcpt_domain", false, "resolves to the client",
		given{Helo: "example.org", Rcpt: "example.org", Forward: client}},
	{"rcpt_domain", false, "confirmed PTR inside", given{Helo: "example.org", Rcpt: "example.org",
		Forward: server, PTR: "web.example.org", Confirmed: "web.example.org"}},
	{"rcpt_domain", false, "SPF pass",
		given{Helo: "example.org", Rcpt: "example.org", Forward: server, PTR: notFound,
			SPF: "pass"}},
	{"rcpt_domain", false, "another's", given{Helo: "example.org", Rcpt: "example.net"}},
	{"rcpt_domain", false, "from us", given{Helo: "example.org", Rcpt: "example.org",
		SelfAddrs: "192.0.2.10/32"}},

	{"deny_name", true, "in the table", given{Helo: goodOne, Denied: "yes"}},
	{"deny_name", true, "with an answer", given{Helo: "a..b", Denied: "550 7.1 go away"}},
	{"deny_name", false, "not in the table", given{Helo: goodOne, Denied: notFound}},
	{"deny_name", false, "table broken", given{Helo: goodOne, Denied: failed}},

	{"forged_provider", true, "bare domain, no PTR",
		given{Helo: "google.com", Forward: other, PTR: notFound, SPF: "none"}},
	{"forged_provider", true, "bare domain, PTR of another",
		given{Helo: "yahoo.com", Forward: other,
			PTR: "mail.example.net", Confirmed: "mail.example.net", SPF: "neutral"}},
	{"forged_provider", true, "host, PTR of another", given{Helo: "mail.google.com", Forward: other,
		PTR: "mail.example.net", Confirmed: "mail.example.net", SPF: "none"}},
	{"forged_provider", true, "PTR not confirmed", given{Helo: "google.com", Forward: other,
		PTR: "mail-1.google.com", Confirmed: notFound, SPF: "none"}},
	{"forged_provider", false, "host that lacks a PTR for a moment",
		given{Helo: "mail.google.com", Forward: other, PTR: notFound, SPF: "none"}},
	{"forged_provider", false, "nobody asked", given{Helo: "mail.google.com"}},
	{"forged_provider", false, "confirmed PTR", given{Helo: "mail.google.com", Forward: other,
		PTR: "mail-1.1e100.net", Confirmed: "mail-1.1e100.net", SPF: "none"}},
	{"forged_provider", false, "SPF pass",
		given{Helo: "mail.google.com", Forward: other, PTR: notFound, SPF: "pass"}},
	{"forged_provider", false, "resolves to the client",
		given{Helo: "mail.google.com", Forward: client, PTR: notFound, SPF: "none"}},
	{"forged_provider", false, "PTR failed",
		given{Helo: "mail.google.com", Forward: other, PTR: failed, SPF: "none"}},
	{"forged_provider", false, "not the provider's domain",
		given{Helo: "google.example.org", Forward: other, PTR: notFound, SPF: "none"}},

	{"dynamic_name", true, "address and word", given{Helo: "192-0-2-10.dyn.example.net"}},
	{"dynamic_name", true, "address reversed", given{Helo: "10.2.0.192.dsl.example.net"}},
	{"dynamic_name", true, "word beside numbers", given{Helo: "dsl-17-33-4.example.net"}},
	{"dynamic_name", false, "address without word", given{Helo: "192-0-2-10.example.net"}},
	{"dynamic_name", false, "static", given{Helo: "192-0-2-10.static.dsl.example.net"}},
	{"dynamic_name", false, "mail host", given{Helo: "mail-192-0-2-10.dyn.example.net"}},
	{"dynamic_name", false, "word without number", given{Helo: "dyn.example.net"}},

	{"generic_ptr", true, "foreign name", given{Helo: goodOne, PTR: "192-0-2-10.example.net"}},
	{"generic_ptr", true, "reversed", given{Helo: goodOne, PTR: "10.2.0.192.adsl.example.net"}},
	{"generic_ptr", false, "own organisation", given{Helo: goodOne, PTR: "192-0-2-10.example.org"}},
	{"generic_ptr", false, "own organisation, second",
		given{Helo: goodOne, PTR: "192-0-2-10.example.net 192-0-2-10.example.org"}},
	{"generic_ptr", false, "chosen name", given{Helo: goodOne, PTR: "mx.example.net"}},
	{"generic_ptr", false, "another address",
		given{Helo: goodOne, PTR: "198-51-100-7.example.net"}},

	{"no_address", true, "nothing", given{Helo: goodOne, Forward: notFound, MX: notFound}},
	{"no_address", true, "PTR does not help",
		given{Helo: goodOne, Forward: notFound, MX: notFound, PTR: goodOne}},
	{"no_address", false, "MX", given{Helo: goodOne, Forward: notFound, MX: "mx.example.org"}},
	{"no_address", false, "address", given{Helo: goodOne, Forward: other, MX: notFound}},
	{"no_address", false, "A failed", given{Helo: goodOne, Forward: failed, MX: notFound}},
	{"no_address", false, "MX failed", given{Helo: goodOne, Forward: notFound, MX: failed}},
	{"no_address", false, "literal", given{Helo: "[192.0.2.10]", Forward: notFound, MX: notFound}},

	{"mx_only", true, "MX", given{Helo: goodOne, Forward: notFound, MX: "mx.example.org"}},
	{"mx_only", true, "null MX", given{Helo: goodOne, Forward: notFound, MX: nothing}},
	{"mx_only", false, "address too", given{Helo: goodOne, Forward: client, MX: "mx.example.org"}},
	{"mx_only", false, "neither", given{Helo: goodOne, Forward: notFound, MX: notFound}},

	{"private_address", true, "private", given{Helo: goodOne, Forward: "192.168.1.1"}},
	{"private_address", true, "loopback and private",
		given{Helo: goodOne, Forward: "127.0.0.1 ::1"}},
	{"private_address", false, "one is public",
		given{Helo: goodOne, Forward: "192.168.1.1 " + public}},
	{"private_address", false, "the client's own", given{Helo: goodOne, Forward: "192.0.2.10"}},
	{"private_address", false, "failed", given{Helo: goodOne, Forward: failed}},

	{"address_mismatch", true, "another", given{Helo: goodOne, Forward: other}},
	{"address_mismatch", true, "other family", given{Helo: goodOne, Forward: "2001:db8::25"}},
	{"address_mismatch", false, "one of two", given{Helo: goodOne, Forward: other + " " + client}},
	{"address_mismatch", false, "failed", given{Helo: goodOne, Forward: failed}},
	{"address_mismatch", false, "none", given{Helo: goodOne, Forward: notFound}},

	{"no_ptr", true, "name", given{Helo: goodOne, PTR: notFound}},
	{"no_ptr", true, "literal", given{Helo: "[192.0.2.10]", PTR: notFound}},
	{"no_ptr", false, "nobody asked", given{Helo: goodOne}},
	{"no_ptr", false, "failed", given{Helo: goodOne, PTR: failed}},

	{"ptr_unconfirmed", true, "own name", given{Helo: goodOne, PTR: goodOne, Confirmed: notFound}},
	{"ptr_unconfirmed", true, "other name",
		given{Helo: goodOne, PTR: "a.example.net", Confirmed: notFound}},
	{"ptr_unconfirmed", false, "confirmed", given{Helo: goodOne, PTR: goodOne, Confirmed: goodOne}},
	{"ptr_unconfirmed", false, "failed", given{Helo: goodOne, PTR: goodOne, Confirmed: failed}},
	{"ptr_unconfirmed", false, "no PTR", given{Helo: goodOne, PTR: notFound, Confirmed: notFound}},

	{"ptr_mismatch", true, "another organisation", given{Helo: goodOne, PTR: "mail.isp-bench.net"}},
	{"ptr_mismatch", true, "same suffix only",
		given{Helo: "mx.sender-bench.co.uk", PTR: "mx.isp-bench.co.uk"}},
	{"ptr_mismatch", false, "same name under another TLD",
		given{Helo: goodOne, PTR: "mail.example.net"}},
	{"ptr_mismatch", false, "same", given{Helo: goodOne, PTR: goodOne}},
	{"ptr_mismatch", false, "same organisation",
		given{Helo: goodOne, PTR: "out7.pool.example.org"}},
	{"ptr_mismatch", false, "one of two",
		given{Helo: goodOne, PTR: "a.isp-bench.net b.example.org"}},
	{"ptr_mismatch", false, "no PTR", given{Helo: goodOne, PTR: notFound}},

	{"spf_fail", true, "fail", given{Helo: goodOne, SPF: "fail"}},
	{"spf_fail", true, "fail of an own address",
		given{Helo: goodOne, SPF: "fail", Forward: client}},
	{"spf_fail", false, "softfail", given{Helo: goodOne, SPF: "softfail"}},
	{"spf_fail", false, "permerror", given{Helo: goodOne, SPF: "permerror"}},
	{"spf_fail", false, "failed", given{Helo: goodOne, SPF: failed}},
	{"spf_fail", false, "one label", given{Helo: "mail", SPF: "fail"}},

	{"default_host", true, "image", given{Helo: "ubuntu.example.org"}},
	{"default_host", true, "Windows", given{Helo: "win-0123456789a.example.org"}},
	{"default_host", false, "chosen", given{Helo: goodOne}},
	{"default_host", false, "win", given{Helo: "win-mail.example.org"}},

	{"neighbours", true, "no PTR", given{Helo: goodOne, PTR: notFound, Neighbours: "example.com"}},
	{"neighbours", true, "PTR elsewhere", given{Helo: goodOne, PTR: "host.example.net",
		Confirmed: "host.example.net", Neighbours: "example.com example.net"}},
	{"neighbours", true, "unconfirmed", given{Helo: goodOne, PTR: goodOne, Confirmed: notFound,
		Neighbours: "example.com"}},
	{"neighbours", false, "own PTR", given{Helo: goodOne, PTR: goodOne, Confirmed: goodOne,
		Neighbours: "example.com"}},
	{"neighbours", false, "nobody else", given{Helo: goodOne, PTR: notFound, Neighbours: notFound}},
	{"neighbours", false, "PTR failed", given{Helo: goodOne, PTR: failed, Neighbours: "example.com"}},
	{"neighbours", false, "memory failed", given{Helo: goodOne, PTR: notFound, Neighbours: failed}},

	{"new_tld", true, "top", given{Helo: "mail.example.top"}},
	{"new_tld", true, "capitals", given{Helo: "MAIL.EXAMPLE.TOP"}},
	{"new_tld", false, "old", given{Helo: "mail.example.com"}},
	{"new_tld", false, "inner label", given{Helo: "top.example.com"}},

	{"bare_domain", true, "domain", given{Helo: "example.org"}},
	{"bare_domain", true, "below a public suffix", given{Helo: "example.co.uk"}},
	{"bare_domain", false, "host", given{Helo: goodOne}},
	{"bare_domain", false, "one label", given{Helo: "example"}},

	{"listed", true, "one list", given{Helo: goodOne, Listed: "dbl.example.net=127.0.1.2"}},
	{"listed", true, "two lists", given{Helo: goodOne,
		Listed: "a.example.net=127.0.0.2 b.example.net=127.0.0.3"}},
	{"listed", false, "no list", given{Helo: goodOne, Listed: notFound}},
	{"listed", false, "no answer left", given{Helo: goodOne, Listed: nothing}},
	{"listed", false, "failed", given{Helo: goodOne, Listed: failed}},
}

func TestRules(t *testing.T) {
	all := everyRule(checkhelo.Ignore)
	seen := make(map[string][2]int) // misses, hits
	for _, tc := range ruleCases {
		t.Run(tc.rule+"/"+tc.why, func(t *testing.T) {
			v := all.Evaluate(tc.facts())
			if hits(v, tc.rule) != tc.hit {
				t.Errorf("%+v: got %v, want hit %v", tc.given, hitNames(v), tc.hit)
			}
		})
		n := seen[tc.rule]
		if tc.hit {
			n[1]++
		} else {
			n[0]++
		}
		seen[tc.rule] = n
	}
	for _, r := range checkhelo.Rules() {
		if n := seen[r.Name]; n[0] < 2 || n[1] < 2 {
			t.Errorf("%s: %d near misses and %d hits, want 2 of each", r.Name, n[0], n[1])
		}
		delete(seen, r.Name)
	}
	for name := range seen {
		t.Errorf("cases for %s, which is no rule", name)
	}
}

// TestPresets gives every rule a case that hits it alone and looks at what each preset makes of it.
func TestPresets(t *testing.T) {
	for column, preset := range presets {
		for _, row := range rows {
			set := []string{row.lenient, row.rfc, row.strict}[column]
			first := func(c ruleCase) bool { return c.rule == row.rule && c.hit }
			tc := ruleCases[slices.IndexFunc(ruleCases, first)]
			p := policy(preset, alone(row.rule))
			v := p.Evaluate(tc.facts())
			want, score := outcome(set)
			if v.Action != want || v.Would != want || v.Score != score {
				t.Errorf("%s under %s: %s (would %s), score %d, want %s", row.rule, preset,
					v.Action, v.Would, v.Score, set)
			}
			reply := line(p.Reply(v, tc.facts().Helo))
			if want != checkhelo.Off && !strings.HasPrefix(reply, row.reply+" ") {
				t.Errorf("%s under %s answers %q", row.rule, preset, reply)
			}
		}
	}
	unknown, rfc := checkhelo.NewPolicy("mild").Rules(), checkhelo.Rules()
	for i := range rfc {
		if unknown[i].Action != rfc[i].Action || unknown[i].Score != rfc[i].Score {
			t.Errorf("%s under an unknown preset: %s %d", rfc[i].Name, unknown[i].Action, unknown[i].Score)
		}
	}
}

// outcome returns what one hit with the action set leads to at the default threshold.
func outcome(set string) (a checkhelo.Action, score int) {
	word, points, scored := strings.Cut(set, " ")
	if !scored {
		return action(word), 0
	}
	if score = number(points); score >= 5 {
		return checkhelo.Quarantine, score
	}
	return checkhelo.Score, score
}

// alone switches every other rule off.
func alone(rule string) func(*checkhelo.Policy) {
	return func(p *checkhelo.Policy) {
		for _, r := range checkhelo.Rules() {
			if r.Name != rule {
				override(r.Name, checkhelo.Rule{Action: checkhelo.Off})(p)
			}
		}
	}
}

// TestWhoAnswers looks at the order of equally strong hits.
func TestWhoAnswers(t *testing.T) {
	for _, tc := range []struct {
		want string
		given
	}{
		{"localhost", given{Helo: "localhost"}},
		{"localhost", given{Helo: "localhost.localdomain"}},
		{"self_address", given{Helo: server, Local: server}},
		{"self_address", given{Helo: "[203.0.113.25]", Local: server}},
		{"bare_ip", given{Helo: "321.255.255.255"}},
		{"bare_ip", given{Helo: "1.2.3.4.5."}},
		{"malformed", given{Helo: "mail.example.123"}},
		{"literal_mismatch", given{Helo: "[198.51.100.7]"}},
		{"self_name", given{Helo: "mx1", SelfNames: "mx1"}},
		{"underscore", given{Helo: "a_b.office.lan"}},
		{"deny_name", given{Helo: "localhost", Denied: "yes"}},
		{"rcpt_domain", given{Helo: "example.org", Rcpt: "example.org", Forward: notFound,
			MX: notFound}},
	} {
		v := policy(checkhelo.Strict).Evaluate(tc.facts())
		got := ""
		if len(v.Hits) > 0 {
			got = v.Hits[0].Rule.Name
		}
		if got != tc.want {
			t.Errorf("%q is answered by %s of %v, want %s", tc.Helo, got, hitNames(v), tc.want)
		}
	}
}

// 2. Laws, on random facts.

const (
	rounds = 4000 // of random facts in each property test
	seed   = 20261123
)

// world makes facts at random from small pools, so that names, addresses and answers often agree.
type world struct{ *rand.Rand }

func newWorld() world { return world{rand.New(rand.NewPCG(seed, 1))} }

var (
	saidPool = []string{
		"", "..", "a b", "b\xfccher.example.org", "[192.0.2.10]", "[198.51.100.7]",
		"[203.0.113.25]",
		"[IPv6:2001:db8::1]", "[IPv6:bogus]", "192.0.2.10", "203.0.113.25", "192.0.2.300",
		"localhost",
		"mail.localhost", "hostnameonly", "com.", "a_b.example.org", "mail.example.org.", goodOne,
		goodOne,
		goodOne, "example.org", "www.example.org", "pc.example.com", "mail.google.com", "yahoo.com",
		"foo.bar.local", "mail.office.corp", "mail.sender.notatld", "mail.example.123",
		"192-0-2-10.dyn.example.net", "dsl-17-33-4.example.net", "mail.example.ck",
		"mail.example.top",
		"win-0123456789a.example.org",
	}
	addrPool = []string{client, other, server, public, "192.168.1.1", "127.0.0.1", "2001:db8::1"}
	namePool = []string{
		goodOne, "example.org", "out7.example.org", "mail.example.net", "mail.isp-bench.net",
		"192-0-2-10.example.net",
		"192-0-2-10.example.org", "192-0-2-10.example.net", "mail-1.google.com", "mta1.yahoo.com",
		"pc.example.com",
		"localhost",
	}
	spfPool = []string{"pass", "fail", "softfail", "neutral", "none", "permerror"}
)

func pick[T any](w world, pool []T) T { return pool[w.IntN(len(pool))] }

func (w world) some(pool []string) string {
	list := make([]string, 1+w.IntN(3))
	for i := range list {
		list[i] = pick(w, pool)
	}
	return strings.Join(list, " ")
}

// state returns text for one Answer; value is called when it is to be Found.
func (w world) state(value func() string) string {
	switch w.IntN(8) {
	case 0, 1:
		return ""
	case 2, 3:
		return notFound
	case 4:
		return failed
	default:
		return value()
	}
}

func (w world) lists() string {
	list := make([]string, 1+w.IntN(2))
	for i := range list {
		list[i] = "dbl" + strconv.Itoa(i) + ".example.net=127.0.1.2"
		if w.IntN(2) == 0 {
			list[i] += "=" + pick(w, []string{"ignore", "score=1", "score=6", "quarantine",
				"reject"})
		}
	}
	return strings.Join(list, " ")
}

func (w world) given() given {
	return w.fill(given{
		Helo: pick(w, saidPool), Client: pick(w, append(addrPool, client, client, client)),
		Local:     pick(w, []string{"", server}),
		SelfNames: pick(w, []string{"", "mx1.example.org", goodOne}), Rcpt: pick(w, []string{"",
			"example.org"}),
		SelfDomains: pick(w, []string{"", "example.org"}), SelfAddrs: pick(w, []string{"",
			"203.0.113.0/24"}),
		Denied: pick(w, []string{"", "", "", "yes", notFound, failed}),
	}, everything, true)
}

const everything = checkhelo.NeedForward | checkhelo.NeedMX | checkhelo.NeedPTR |
	checkhelo.NeedTLD | checkhelo.NeedSPF | checkhelo.NeedLists | checkhelo.NeedMemory

// fill looks up the facts of need that nobody asked for. With open, some stay as they are.
func (w world) fill(g given, need checkhelo.Need, open bool) given {
	set := func(bit checkhelo.Need, field *string, value func() string) {
		for first := true; need&bit != 0 && *field == "" && (first || !open); first = false {
			*field = w.state(value)
		}
	}
	set(checkhelo.NeedForward, &g.Forward, func() string { return w.some(addrPool) })
	set(checkhelo.NeedMX, &g.MX, func() string {
		return pick(w, []string{nothing,
			"mx.example.org"})
	})
	set(checkhelo.NeedPTR, &g.PTR, func() string { return w.some(namePool) })
	if g.PTR != "" && g.PTR != notFound && g.PTR != failed {
		set(checkhelo.NeedPTR, &g.Confirmed, func() string {
			return pick(w,
				strings.Fields(g.PTR))
		})
	}
	set(checkhelo.NeedTLD, &g.TLD, func() string { return "yes" })
	set(checkhelo.NeedSPF, &g.SPF, func() string { return pick(w, spfPool) })
	set(checkhelo.NeedLists, &g.Listed, w.lists)
	set(checkhelo.NeedMemory, &g.Neighbours, func() string { return "example.com" })
	return g
}

// policy returns a random preset, changed at random.
func (w world) policy() *checkhelo.Policy {
	p := policy(pick(w, presets))
	if w.IntN(2) == 0 {
		p.QuarantineScore, p.RejectScore, p.GreylistScore = w.IntN(8), w.IntN(12), w.IntN(6)
	}
	if w.IntN(3) == 0 {
		p.Ceiling = checkhelo.Action(w.IntN(6))
	}
	for range w.IntN(6) {
		o := checkhelo.Rule{Action: checkhelo.Action(w.IntN(6))}
		if o.Action == checkhelo.Score {
			o.Score = w.IntN(8)
		}
		override(pick(w, rows).rule, o)(p)
	}
	return p
}

// failures has every Answer of Facts.
var failures = map[string]func(*checkhelo.Facts){
	"Denied":     func(f *checkhelo.Facts) { f.Denied = answer[checkhelo.Denial](failed, nil) },
	"Forward":    func(f *checkhelo.Facts) { f.Forward = answer[[]netip.Addr](failed, nil) },
	"MX":         func(f *checkhelo.Facts) { f.MX = answer[[]string](failed, nil) },
	"PTR":        func(f *checkhelo.Facts) { f.PTR = answer[[]string](failed, nil) },
	"Confirmed":  func(f *checkhelo.Facts) { f.Confirmed = answer[[]string](failed, nil) },
	"TLD":        func(f *checkhelo.Facts) { f.TLD = answer[bool](failed, nil) },
	"SPF":        func(f *checkhelo.Facts) { f.SPF = answer[string](failed, nil) },
	"Listed":     func(f *checkhelo.Facts) { f.Listed = answer[[]checkhelo.Listing](failed, nil) },
	"Neighbours": func(f *checkhelo.Facts) { f.Neighbours = answer[[]string](failed, nil) },
}

func TestFailuresAreAllAnswers(t *testing.T) {
	kind := reflect.TypeFor[checkhelo.Facts]()
	answers := 0
	for i := range kind.NumField() {
		if field := kind.Field(i); strings.HasPrefix(field.Type.Name(), "Answer[") {
			answers++
			if failures[field.Name] == nil {
				t.Errorf("the property tests never let %s fail", field.Name)
			}
		}
	}
	if answers != len(failures) {
		t.Errorf("%d answers, %d failures", answers, len(failures))
	}
}

// TestFailureIsNeverHarsher holds law 1: a failed lookup raises neither action nor score.
func TestFailureIsNeverHarsher(t *testing.T) {
	w, milder := newWorld(), 0
	for range rounds {
		g, p := w.given(), w.policy()
		before := p.Evaluate(g.facts())
		all := g.facts()
		for name, fail := range failures {
			f := g.facts()
			fail(f)
			fail(all)
			after := p.Evaluate(f)
			if harsher(after, before) {
				t.Fatalf("%+v: with %s failed %s, score %d; before %s, score %d",
					g, name, after.Would, after.Score, before.Would, before.Score)
			}
			if after.Would < before.Would {
				milder++
			}
			if after = p.Evaluate(all); harsher(after, before) {
				t.Fatalf("%+v: with %s and others failed %s, before %s", g, name, after.Would,
					before.Would)
			}
		}
	}
	if milder < rounds/10 {
		t.Errorf("only %d failures changed anything: the facts are too tame", milder)
	}
}

func harsher(a, b checkhelo.Verdict) bool {
	return a.Action > b.Action || a.Would > b.Would || a.Score > b.Score
}

// TestWorldHitsEveryRule shows that the random facts reach the whole table.
func TestWorldHitsEveryRule(t *testing.T) {
	w, all, count := newWorld(), everyRule(checkhelo.Ignore), make(map[string]int)
	for range rounds {
		for _, name := range hitNames(all.Evaluate(w.given().facts())) {
			count[name]++
		}
	}
	for _, row := range rows {
		if count[row.rule] < 10 {
			t.Errorf("%s: hit %d times", row.rule, count[row.rule])
		}
	}
}

// judged is a Verdict in a form that can be compared.
func judged(v checkhelo.Verdict) string {
	var b strings.Builder
	fmt.Fprintln(&b, v.Action, v.Would, v.Score)
	for _, h := range v.Hits {
		fmt.Fprintln(&b, h.Rule.Name, h.Rule.Action, h.Rule.Score, h.Rule.Code, h.Rule.Message,
			h.Evidence)
	}
	return b.String()
}

// TestSameFactsSameVerdict asks one policy from several goroutines, and a copy of it.
func TestSameFactsSameVerdict(t *testing.T) {
	w, shared := newWorld(), policy(checkhelo.Strict)
	cases := make([]given, 200)
	want := make([]string, len(cases))
	for i := range cases {
		cases[i] = w.given()
		want[i] = judged(policy(checkhelo.Strict).Evaluate(cases[i].facts()))
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i, g := range cases {
				f := g.facts()
				for range 2 {
					if got := judged(shared.Evaluate(f)); got != want[i] {
						t.Errorf("%+v: got %s, want %s", g, got, want[i])
					}
				}
				if !reflect.DeepEqual(known(f), known(g.facts())) {
					t.Errorf("%+v: Evaluate changed the facts", g)
				}
			}
		}()
	}
	wg.Wait()
}

// known returns the exported fields of f.
func known(f *checkhelo.Facts) (values []any) {
	v := reflect.ValueOf(f).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).IsExported() {
			values = append(values, v.Field(i).Interface())
		}
	}
	return values
}

// TestOrderOfRecordsIsNothing: the DNS gives records in any order (trap 16).
func TestOrderOfRecordsIsNothing(t *testing.T) {
	w := newWorld()
	for range rounds {
		g, p := w.given(), w.policy()
		f := g.facts()
		before := p.Evaluate(f)
		slices.Reverse(f.Forward.Value)
		slices.Reverse(f.MX.Value)
		slices.Reverse(f.PTR.Value)
		slices.Reverse(f.Confirmed.Value)
		slices.Reverse(f.Listed.Value)
		after := p.Evaluate(f)
		if after.Would != before.Would || after.Score != before.Score {
			t.Fatalf("%+v: %s, score %d %v; reversed %s, score %d %v", g, before.Would,
				before.Score,
				hitNames(before), after.Would, after.Score, hitNames(after))
		}
	}
}

// effective leaves out the differences that the client cannot see: off, ignore and score accept.
func effective(a checkhelo.Action) checkhelo.Action {
	if a < checkhelo.Greylist {
		return checkhelo.Off
	}
	return a
}

// TestNeedsIsSound: once the facts of Needs are there, no other fact changes what becomes of the
// message, whatever it turns out to be. Denied is no Need: its table is asked before.
func TestNeedsIsSound(t *testing.T) {
	w, spared := newWorld(), 0
	for range rounds {
		g, p := w.given(), w.policy()
		need, asked := checkhelo.Need(0), g
		for more := p.Needs(g.facts()); more != 0; more = p.Needs(asked.facts()) {
			if more&need != 0 {
				t.Fatalf("%+v: needs %07b again", asked, more&need)
			}
			need |= more
			asked = w.fill(asked, more, false)
		}
		want := p.Evaluate(asked.facts())
		for range 4 {
			full := w.fill(asked, everything, false)
			got := p.Evaluate(full.facts())
			if effective(got.Action) != effective(want.Action) {
				t.Fatalf("%s %+v\nneeds %06b: %s %v\nwith everything %+v: %s %v", p.Preset, asked,
					need,
					want.Action, hitNames(want), full, got.Action, hitNames(got))
			}
			if full != asked {
				spared++
			}
		}
	}
	if spared < rounds {
		t.Errorf("Needs spared only %d lookups", spared)
	}
}

// TestNeeds has what Needs asks for in the cases that matter for speed.
func TestNeeds(t *testing.T) {
	const (
		fwd, mx, ptr  = checkhelo.NeedForward, checkhelo.NeedMX, checkhelo.NeedPTR
		tld, spf, dbl = checkhelo.NeedTLD, checkhelo.NeedSPF, checkhelo.NeedLists
		mem           = checkhelo.NeedMemory
	)
	for _, tc := range []struct {
		preset checkhelo.Preset
		want   checkhelo.Need
		given
	}{
		{checkhelo.Strict, 0, given{Helo: "localhost"}},
		{checkhelo.Strict, 0, given{Helo: "a..b"}},
		{checkhelo.Strict, 0, given{Helo: "[192.0.2.10]"}},
		{checkhelo.Strict, 0, given{Helo: "foo.bar.local"}},
		{checkhelo.Strict, 0, given{Helo: goodOne, Denied: "yes"}},
		{checkhelo.RFC, 0, given{Helo: "192.0.2.10"}},
		{checkhelo.Strict, fwd | mx | ptr | spf | dbl | mem, given{Helo: goodOne}},
		{checkhelo.Strict, fwd | mx | ptr | spf | dbl | mem | tld, given{Helo: "mail.sender.notatld"}},
		{checkhelo.Strict, 0, given{Helo: goodOne, SPF: "fail"}},
		{checkhelo.Strict, fwd | mx | spf | dbl,
			given{Helo: goodOne, PTR: goodOne, Confirmed: goodOne}},
		{checkhelo.Strict, fwd | mx | ptr | spf | dbl | mem, given{Helo: goodOne, PTR: goodOne}},
		{checkhelo.RFC, fwd | mx | ptr | spf | dbl | mem, given{Helo: goodOne}},
	} {
		if got := policy(tc.preset).Needs(tc.facts()); got != tc.want {
			t.Errorf("%s %+v: needs %06b, want %06b", tc.preset, tc.given, got, tc.want)
		}
	}
}

// TestNameAndAddressAloneNeverReject holds law 2 (RFC 5321, 4.1.4) for policy rfc, whatever the
// thresholds are.
func TestNameAndAddressAloneNeverReject(t *testing.T) {
	for _, row := range rows {
		r := byName(checkhelo.Rules())[row.rule]
		if r.NoReject && r.Action == checkhelo.Reject {
			t.Errorf("%s rejects under rfc", r.Name)
		}
	}
	w, mismatches := newWorld(), 0
	for range rounds {
		p := policy(checkhelo.RFC)
		p.QuarantineScore, p.RejectScore = w.IntN(8), w.IntN(8)
		g := w.given()
		v := p.Evaluate(g.facts())
		weighs := func(h checkhelo.Hit) bool {
			return !h.Rule.NoReject && h.Rule.Action >= checkhelo.Score
		}
		if len(v.Hits) == 0 || slices.ContainsFunc(v.Hits, weighs) {
			continue
		}
		mismatches++
		if v.Action == checkhelo.Reject {
			t.Fatalf("%+v: rejected by %v alone, reject threshold %d", g, hitNames(v),
				p.RejectScore)
		}
	}
	if mismatches < rounds/50 {
		t.Errorf("only %d cases of a mismatch alone", mismatches)
	}
}

// TestCeilingCapsEverything: fail_action changes what is done and nothing else.
func TestCeilingCapsEverything(t *testing.T) {
	w, capped := newWorld(), 0
	for range rounds {
		g, p := w.given(), w.policy()
		p.Ceiling = checkhelo.Off
		free := p.Evaluate(g.facts())
		if free.Action != free.Would {
			t.Fatalf("%+v: does %s and would %s without a ceiling", g, free.Action, free.Would)
		}
		for ceiling := checkhelo.Ignore; ceiling <= checkhelo.Reject; ceiling++ {
			p.Ceiling = ceiling
			v := p.Evaluate(g.facts())
			if v.Action != min(free.Would,
				ceiling) || v.Would != free.Would || v.Score != free.Score {
				t.Fatalf("%+v under %s: %s, would %s, want %s", g, ceiling, v.Action, v.Would,
					free.Would)
			}
			if v.Action < v.Would {
				capped++
			}
		}
	}
	if capped == 0 {
		t.Error("nothing was ever capped")
	}
}

// TestVerdictAddsUp: the strongest hit or the score decides, and the hits stand strongest first.
func TestVerdictAddsUp(t *testing.T) {
	w := newWorld()
	for range rounds {
		g, p := w.given(), w.policy()
		v := p.Evaluate(g.facts())
		var want checkhelo.Action
		if len(v.Hits) > 0 {
			want = v.Hits[0].Rule.Action
		}
		for i, h := range v.Hits {
			if i > 0 && h.Rule.Action > v.Hits[i-1].Rule.Action {
				t.Fatalf("%+v: %v are not strongest first", g, hitNames(v))
			}
			if h.Rule.Action == checkhelo.Off {
				t.Fatalf("%+v: %s is off and hit", g, h.Rule.Name)
			}
		}
		if v.Would < want {
			t.Fatalf("%+v: would %s, but %s says %s", g, v.Would, v.Hits[0].Rule.Name, want)
		}
		if v.Would > want && v.Score < lowest(p) {
			t.Fatalf("%+v: would %s on %d points and %s", g, v.Would, v.Score, want)
		}
	}
}

// lowest returns the lowest threshold that is set.
func lowest(p *checkhelo.Policy) int {
	least := 0
	for _, n := range []int{p.GreylistScore, p.QuarantineScore, p.RejectScore} {
		if n != 0 && (least == 0 || n < least) {
			least = n
		}
	}
	return least
}

// TestOneFaultCountsOnce holds section 4 of the design: the points of two rows about one fault never
// add up.
func TestOneFaultCountsOnce(t *testing.T) {
	generic := "192-0-2-10.dyn.isp-bench.net"
	for _, tc := range []struct {
		why   string
		score int
		given
	}{
		{"unconfirmed generic PTR", 3, given{Helo: goodOne, Forward: client, PTR: generic,
			Confirmed: notFound}},
		{"confirmed generic PTR", 2, given{Helo: goodOne, Forward: client, PTR: generic,
			Confirmed: generic}},
		{"no PTR", 3, given{Helo: goodOne, Forward: client, PTR: notFound}},
		{"no PTR, IPv6", 1, given{Helo: goodOne, Client: "2001:db8::1", PTR: notFound}},
		{"literal of another address", 0, given{Helo: "[198.51.100.7]", PTR: goodOne,
			Confirmed: goodOne}},
		{"own literal without a PTR", 5, given{Helo: "[192.0.2.10]", PTR: notFound}},
		{"own IPv6 literal without a PTR", 3, given{Helo: "[IPv6:2001:db8::1]",
			Client: "2001:db8::1", PTR: notFound}},
		{"localhost without an address", 0, given{Helo: "localhost.localdomain", Forward: notFound,
			MX: notFound, PTR: goodOne, Confirmed: goodOne}},
		{"reserved TLD without an address", 0, given{Helo: "mail.example.lan", Forward: notFound,
			MX: notFound, PTR: "mail.example.lan", Confirmed: "mail.example.lan"}},
		{"unknown TLD without an address", 0, given{Helo: "mail.sender.notatld", Forward: notFound,
			MX: notFound, TLD: notFound, PTR: "mail.sender.notatld", Confirmed: "mail.sender.notatld"}},
		{"no address alone", 1, given{Helo: goodOne, Forward: notFound, MX: notFound, PTR: goodOne,
			Confirmed: goodOne}},
	} {
		if v := policy(checkhelo.RFC).Evaluate(tc.facts()); v.Score != tc.score {
			t.Errorf("%s: score %d %v, want %d", tc.why, v.Score, hitNames(v), tc.score)
		}
	}
	w := newWorld()
	for range rounds {
		g, p := w.given(), w.policy()
		points := make(map[string]int)
		v := p.Evaluate(g.facts())
		sum := 0
		for _, h := range v.Hits {
			points[h.Rule.Name], sum = h.Rule.Score, sum+h.Rule.Score
		}
		both := points["ptr_unconfirmed"] != 0 && points["generic_ptr"] != 0 ||
			points["literal_mismatch"] != 0 && points["address_literal"] != 0 ||
			points["no_address"] != 0 && points["reserved_tld"]+points["unknown_tld"]+points["localhost"] != 0
		if both || sum != v.Score {
			t.Fatalf("%+v: score %d, %v", g, v.Score, points)
		}
	}
}

// TestIPv6Effect: an operator's own action holds for every client.
func TestIPv6Effect(t *testing.T) {
	six := given{Helo: goodOne, Client: "2001:db8::1", PTR: notFound}
	for preset, want := range map[checkhelo.Preset]int{
		checkhelo.Lenient: 1, checkhelo.RFC: 1, checkhelo.Strict: 3,
	} {
		if v := policy(preset).Evaluate(six.facts()); v.Score != want || v.Action != checkhelo.Score {
			t.Errorf("%s: %s %d, want score %d", preset, v.Action, v.Score, want)
		}
	}
	own := policy(checkhelo.RFC, override("no_ptr", checkhelo.Rule{Action: checkhelo.Reject}))
	if v := own.Evaluate(six.facts()); v.Action != checkhelo.Reject {
		t.Errorf("own action: %s", v.Action)
	}
}

// TestGenericPTRProvesNothing: a provider's name for a customer's line gives no right to the
// provider's own names.
func TestGenericPTRProvesNothing(t *testing.T) {
	const generic = "192-0-2-10.dyn.isp-bench.net"
	for rule, g := range map[string]given{
		"self_name":   {Helo: "mx1.isp-bench.net", SelfNames: "mx1.isp-bench.net", SelfDomains: "isp-bench.net"},
		"rcpt_domain": {Helo: "isp-bench.net", Rcpt: "isp-bench.net", SPF: "none"},
	} {
		g.Forward, g.PTR, g.Confirmed = other, generic, generic
		if v := everyRule(checkhelo.Ignore).Evaluate(g.facts()); !hits(v, rule) {
			t.Errorf("%s: a generic PTR counts as proof: %v", rule, hitNames(v))
		}
		g.PTR, g.Confirmed = "out.isp-bench.net", "out.isp-bench.net"
		if v := everyRule(checkhelo.Ignore).Evaluate(g.facts()); rule == "rcpt_domain" && hits(v, rule) {
			t.Errorf("%s: a host of the domain is refused", rule)
		}
	}
	g := given{Helo: "isp-bench.net", Forward: other, PTR: generic, Confirmed: generic}
	if g.facts().Owns() {
		t.Error("a customer's line owns the provider's domain")
	}
	g.Helo = generic
	if !g.facts().Owns() {
		t.Error("a line does not own its own name")
	}
}

// TestLift has the rules of memory for known senders.
func TestLift(t *testing.T) {
	for _, tc := range []struct {
		why            string
		preset         checkhelo.Preset
		seen, accepted checkhelo.Action
		given
		change []func(*checkhelo.Policy)
	}{
		{"own action of a liftable row", checkhelo.Strict, checkhelo.Ignore, checkhelo.Ignore,
			given{Helo: goodOne, Forward: client, PTR: notFound}, nil},
		{"by points", checkhelo.RFC, checkhelo.Quarantine, checkhelo.Score,
			given{Helo: "mail-1.example.top", Forward: notFound, MX: notFound, PTR: notFound}, nil},
		{"never", checkhelo.RFC, checkhelo.Quarantine, checkhelo.Quarantine,
			given{Helo: goodOne, SPF: "fail", PTR: goodOne, Confirmed: goodOne}, nil},
		{"never beside points", checkhelo.RFC, checkhelo.Quarantine, checkhelo.Quarantine,
			given{Helo: "foo.bar.local", PTR: notFound}, nil},
		{"a reject", checkhelo.Strict, checkhelo.Reject, checkhelo.Reject,
			given{Helo: "foo.bar.local", PTR: notFound}, nil},
		{"greylist by points", checkhelo.RFC, checkhelo.Greylist, checkhelo.Score,
			given{Helo: "mail.example.top", PTR: notFound},
			[]func(*checkhelo.Policy){func(p *checkhelo.Policy) { p.GreylistScore = 4 }}},
		{"greylist of a row", checkhelo.RFC, checkhelo.Greylist, checkhelo.Ignore,
			given{Helo: "mail.example.top", PTR: goodOne, Confirmed: goodOne},
			[]func(*checkhelo.Policy){override("new_tld", checkhelo.Rule{Action: checkhelo.Greylist})}},
		{"greylist of a row that never lifts", checkhelo.RFC, checkhelo.Greylist, checkhelo.Greylist,
			given{Helo: goodOne, SPF: "fail", PTR: goodOne, Confirmed: goodOne},
			[]func(*checkhelo.Policy){override("spf_fail", checkhelo.Rule{Action: checkhelo.Greylist})}},
	} {
		p := policy(tc.preset, tc.change...)
		v := p.Evaluate(tc.facts())
		if got := p.Lift(v, checkhelo.Stranger); got.Action != v.Action || got.Lifted != checkhelo.Off {
			t.Errorf("%s: a stranger gets %s", tc.why, got.Action)
		}
		for grade, want := range map[checkhelo.Known]checkhelo.Action{
			checkhelo.Seen: tc.seen, checkhelo.Accepted: tc.accepted,
		} {
			got := p.Lift(v, grade)
			if got.Action != want || (got.Lifted != checkhelo.Off) != (want < v.Action) {
				t.Errorf("%s: grade %d gets %s (%s) after %s %v, want %s", tc.why, grade, got.Action,
					got.Lifted, v.Action, hitNames(v), want)
			}
		}
	}
}

// TestDoubt: "try later" makes sense only where the lost answer could make the verdict harsher.
func TestDoubt(t *testing.T) {
	good := given{Helo: goodOne, PTR: goodOne, Confirmed: goodOne, SPF: "none", Listed: notFound,
		TLD: "yes"}
	lostForward := good
	lostForward.Forward = failed
	if p := policy(checkhelo.RFC, override("listed", checkhelo.Rule{})); p.Doubt(lostForward.facts()) != 0 {
		t.Error("rfc: an address record cannot change this verdict")
	}
	if policy(checkhelo.Strict).Doubt(lostForward.facts()) != checkhelo.NeedForward {
		t.Error("strict: an address record may change this verdict")
	}
	lostSPF := good
	lostSPF.Forward, lostSPF.SPF = client, failed
	off := override("spf_fail", checkhelo.Rule{})
	if policy(checkhelo.RFC).Doubt(lostSPF.facts()) != checkhelo.NeedSPF ||
		policy(checkhelo.RFC, off).Doubt(lostSPF.facts()) != 0 {
		t.Error("SPF matters exactly where rule spf_fail is on")
	}
}

// 3. Replies.

const (
	msgID    = " (msg ID = 01234567)" // Maddy adds it to each reply after MAIL
	maxReply = 512                    // octets with CRLF, RFC 5321, 4.5.3.1.5
)

// longestURL is the longest help_url that the configuration takes, in octets.
var longestURL = "https://example.org/" + strings.Repeat("h", 160-len("https://example.org/"))

// nasty is what clients have sent or may send to break a log, a page, a shell or a reply.
var nasty = []string{
	"", "a\r\nRCPT TO:<x@example.org>", "mail\nX-Injected: yes", "a\x00b", "\x1b[2J\x1b]0;x\x07",
	"b\xfccher",
	"m\u00fcller.example.org", strings.Repeat("a", 2000), strings.Repeat("\r\n", 300), "%s%n%d",
	"{helo}",
	"{url}{rule}{problem}", "$(reboot)", "`id`", "<script>alert(1)</script>", "\"; DROP TABLE x; --",
	"\u202egro.elpmaxe", "\x7f\x80\x9b", "[192.0.2.10", "[IPv6:fe80::1%eth0]",
	"xn--a.example.org", "((((",
}

// checkLine tells what is wrong with a reply as Maddy sends it; "" when nothing is.
func checkLine(r checkhelo.Reply) string {
	whole := line(r) + msgID + "\r\n"
	if len(whole) > maxReply {
		return fmt.Sprintf("%d octets", len(whole))
	}
	for _, c := range []byte(r.Text) {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("byte %#x", c)
		}
	}
	if r.Enhanced[0] != r.Code/100 || r.Code < 400 || r.Code > 599 {
		return "code and class do not agree"
	}
	return ""
}

// answers returns what each rule would answer to a client who said raw.
func answers(p *checkhelo.Policy, raw string) map[string]checkhelo.Reply {
	replies := make(map[string]checkhelo.Reply)
	for _, r := range p.Rules() {
		v := checkhelo.Verdict{Action: checkhelo.Reject, Hits: []checkhelo.Hit{{Rule: r}}}
		replies[r.Name] = p.Reply(v, heloname.Parse(raw))
	}
	return replies
}

func FuzzReply(f *testing.F) {
	for _, s := range nasty {
		f.Add(s, "")
		f.Add(goodOne, s)
	}
	p := policy(checkhelo.Strict, func(p *checkhelo.Policy) { p.HelpURL = longestURL })
	f.Fuzz(func(t *testing.T, said, own string) {
		for rule, r := range answers(p, said) {
			if fault := checkLine(r); fault != "" {
				t.Errorf("%s to %q: %s in %q", rule, said, fault, r.Text)
			}
			if url := longestURL + "#" + rule; !strings.HasSuffix(r.Text, ". See "+url) {
				t.Errorf("%s to %q: no whole URL at the end of %q", rule, said, r.Text)
			}
		}
		g := given{Helo: said, Denied: "yes"}
		facts := g.facts()
		facts.Denied.Value = checkhelo.Denial{Code: 550, Detail: [2]int{7, 1}, Message: own}
		if r := p.Reply(p.Evaluate(facts), facts.Helo); checkLine(r) != "" {
			t.Errorf("own text %q: %s in %q", own, checkLine(r), r.Text)
		}
	})
}

// FuzzEvaluate judges facts in any combination of states: the verdict is always
// the same, no failed lookup makes it harsher, and it can be told in one line.
func FuzzEvaluate(f *testing.F) {
	for i, s := range nasty {
		f.Add(s, "example.org", goodOne, uint32(i)*0x9e3779b9, []byte{192, 0, 2, 7})
	}
	for i, c := range ruleCases {
		f.Add(c.Helo, c.Rcpt, c.PTR, uint32(i)*0x01010101, []byte{192, 0, 2, 1})
	}
	f.Fuzz(func(t *testing.T, helo, rcpt, ptr string, states uint32, octets []byte) {
		facts := func() *checkhelo.Facts { return fuzzFacts(helo, rcpt, ptr, states, octets) }
		p := policy(presets[states%3], func(p *checkhelo.Policy) {
			p.Ceiling, p.RejectScore = checkhelo.Action(states>>16%5), int(states>>20%8)
		})
		v := p.Evaluate(facts())
		if again := p.Evaluate(facts()); !reflect.DeepEqual(hitNames(v), hitNames(again)) ||
			harsher(v, again) || harsher(again, v) {
			t.Errorf("%v, then %v", v, again)
		}
		if p.Ceiling != checkhelo.Off && v.Action > p.Ceiling || v.Action > v.Would {
			t.Errorf("action %s, would %s, ceiling %s", v.Action, v.Would, p.Ceiling)
		}
		if fault := checkLine(p.Reply(v, facts().Helo)); len(v.Hits) > 0 && fault != "" {
			t.Errorf("%v: %s in the reply", hitNames(v), fault)
		}
		for name, fail := range failures {
			broken := facts()
			fail(broken)
			if after := p.Evaluate(broken); harsher(after, v) {
				t.Errorf("with %s failed %v, before %v", name, after, v)
			}
		}
	})
}

// fuzzFacts takes two bits of states for each answer.
func fuzzFacts(helo, rcpt, ptr string, states uint32, octets []byte) *checkhelo.Facts {
	state := func(i int) checkhelo.State { return checkhelo.State(states >> (2 * i) & 3) }
	addr, _ := netip.AddrFromSlice(octets)
	f := given{Helo: helo, Rcpt: rcpt, SelfNames: "mx.example.com", SelfDomains: "example.com"}.facts()
	f.Client = addr.Unmap()
	names := strings.Fields(ptr)
	f.Denied.State, f.MX.State, f.PTR.State, f.Confirmed.State = state(0), state(1), state(2), state(3)
	f.Forward.State, f.TLD.State, f.SPF.State, f.Listed.State = state(4), state(5), state(6), state(7)
	f.MX.Value, f.PTR.Value, f.Confirmed.Value = names, names, names[:len(names)/2]
	f.Forward.Value = []netip.Addr{netip.MustParseAddr("10.0.0.1"), f.Client}[:len(names)%3]
	f.SPF.Value = []string{"fail", "pass", "none", "softfail"}[len(names)%4]
	own := checkhelo.Action(states >> 24 % 5)
	f.Listed.Value = []checkhelo.Listing{{Zone: "dbl.example", Reason: ptr, Action: own}}
	return f
}

// TestMessages looks at the text of every rule.
func TestMessages(t *testing.T) {
	p := policy(checkhelo.Strict,
		func(p *checkhelo.Policy) { p.HelpURL = "https://example.org/helo" })
	var evil []string
	for _, s := range nasty {
		evil = append(evil, heloname.Clean(s, 64))
	}
	for _, r := range checkhelo.Rules() {
		if r.Message != heloname.Line(r.Message, len(r.Message)) || strings.Contains(r.Message,
			"{url}") {
			t.Errorf("%s: message %q", r.Name, r.Message)
		}
		if !strings.Contains(r.Message, "{helo}") {
			t.Errorf("%s does not tell the sender what he said: %q", r.Name, r.Message)
		}
	}
	for rule, reply := range answers(p, goodOne) {
		if !strings.HasSuffix(reply.Text, ". See https://example.org/helo#"+rule) {
			t.Errorf("%s: %q", rule, reply.Text)
		}
		if strings.ContainsAny(reply.Text, "{}<>\\`") {
			t.Errorf("%s: %q", rule, reply.Text)
		}
	}
	for i, s := range nasty {
		text := answers(p, s)["deny_name"].Text
		if !strings.Contains(text, `"`+evil[i]+`"`) || strings.ContainsAny(evil[i], "<>`\"\r\n\x00\x1b") {
			t.Errorf("%q becomes %q", s, text)
		}
	}
}

// A program or container that made up its greeting gets a text of its own, unless the operator set one.
func TestProgramsGetTheirOwnText(t *testing.T) {
	const loopback, container = "means your own machine: a program", "looks like the id of a container"
	hex := strings.Repeat("0123456789abcdef", 4)
	for said, want := range map[string]string{
		"127.0.0.1": loopback, "[127.0.0.1]": loopback, "[IPv6:::1]": loopback, "127.8.9.1": loopback,
		"8b1a9953c461": container, "8B1A9953C461": container,
		"192.0.2.10": "is an address where", "8b1a9953c46": "without its domain",
		"8b1a9953c46g": "without its domain", hex[:63]: "without its domain",
	} {
		long := policy(checkhelo.Strict, func(p *checkhelo.Policy) { p.HelpURL = longestURL })
		f := given{Helo: said, Client: client}.facts()
		v := long.Evaluate(f)
		r := long.Reply(v, f.Helo)
		if !strings.Contains(r.Text, want) || checkLine(r) != "" ||
			!strings.HasSuffix(r.Text, ". See "+longestURL+"#"+v.Hits[0].Rule.Name) {
			t.Errorf("%s: %d %q, want %q; %s", said, r.Code, r.Text, want, checkLine(r))
		}
		own := policy(checkhelo.Strict, func(p *checkhelo.Policy) { p.Answer.Message = "No." })
		if r := own.Reply(own.Evaluate(f), f.Helo); r.Text != "No." {
			t.Errorf("%s: the operator's text is lost: %q", said, r.Text)
		}
	}
}

func TestNoHitNoReply(t *testing.T) {
	p := policy(checkhelo.Strict)
	g := given{Helo: goodOne, Forward: client, PTR: goodOne, Confirmed: goodOne, SPF: "pass",
		Listed: notFound}
	v := p.Evaluate(g.facts())
	if reply := p.Reply(v, g.facts().Helo); len(v.Hits) != 0 || reply != (checkhelo.Reply{}) {
		t.Errorf("%v, %+v", hitNames(v), reply)
	}
}

// 4. The operator's own words.

func TestOwnAnswers(t *testing.T) {
	const helpURL = "https://example.org/helo"
	for _, tc := range []struct {
		name, rule, helo string
		own              checkhelo.Rule
		want             string
	}{
		{"the broken mail server of seed 000", "reserved_tld", "foo.bar.local",
			checkhelo.Rule{Code: 511, Detail: [2]int{5, 2},
				Message: "HELO domain '{helo}' violates RFC 2821 Section 2.3.5."},
			"511 5.5.2 HELO domain 'foo.bar.local' violates RFC 2821 Section 2.3.5."},
		{"an invalid name, seed 002", "malformed", "fake..com",
			checkhelo.Rule{Code: 501, Detail: [2]int{5, 2},
				Message: "{helo}: Helo command rejected: Invalid name"},
			"501 5.5.2 fake..com: Helo command rejected: Invalid name"},
		{"no domain, seed 002", "not_fqdn", "hostnameonly",
			checkhelo.Rule{Code: 504, Detail: [2]int{5, 2},
				Message: "Helo command rejected: need fully-qualified hostname"},
			"504 5.5.2 Helo command rejected: need fully-qualified hostname"},
		{"bogus, seed 001", "bare_ip", "192.0.2.10",
			checkhelo.Rule{Code: 550, Detail: [2]int{7, 1},
				Message: "Bogus HELO {helo}, see {url} ({rule})"},
			"550 5.7.1 Bogus HELO 192.0.2.10, see https://example.org/helo#bare_ip (bare_ip)"},
		{"access denied, seed 002", "localhost", "localhost",
			checkhelo.Rule{Code: 554, Detail: [2]int{7, 1},
				Message: "Helo command rejected: Access denied"},
			"554 5.7.1 Helo command rejected: Access denied"},
		{"later", "malformed", "a..b",
			checkhelo.Rule{Code: 450, Detail: [2]int{7, 0}, Message: "Come back later"},
			"450 4.7.0 Come back later"},
		{"code without text", "bare_ip", "192.0.2.10", checkhelo.Rule{Code: 554, Detail: [2]int{7,
			1}},
			`554 5.7.1 "192.0.2.10" is an address where a host name belongs. Let your mail server` +
				` greet with its full DNS name, such as mail.example.org.` +
				` See https://example.org/helo#bare_ip`},
		{"text without code", "bare_ip", "192.0.2.10", checkhelo.Rule{Message: "No."},
			"501 5.5.2 No."},
		{"not a format", "bare_ip", "192.0.2.10", checkhelo.Rule{Message: "100 %s {nothing} {helo"},
			"501 5.5.2 100 %s {nothing} {helo"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.own.Action = checkhelo.Reject
			p := policy(checkhelo.Lenient, alone(tc.rule), override(tc.rule, tc.own))
			p.HelpURL = helpURL
			f := given{Helo: tc.helo}.facts()
			v := p.Evaluate(f)
			if got := line(p.Reply(v, f.Helo)); v.Action != checkhelo.Reject || got != tc.want {
				t.Errorf("%s %q, want %q", v.Action, got, tc.want)
			}
		})
	}
}

// TestOwnActions: an override takes the place of the preset's action and points.
func TestOwnActions(t *testing.T) {
	for _, tc := range []struct {
		own   checkhelo.Rule
		want  checkhelo.Action
		score int
	}{
		{checkhelo.Rule{Action: checkhelo.Off}, checkhelo.Off, 0},
		{checkhelo.Rule{Action: checkhelo.Ignore}, checkhelo.Ignore, 0},
		{checkhelo.Rule{Action: checkhelo.Score, Score: 3}, checkhelo.Score, 3},
		{checkhelo.Rule{Action: checkhelo.Score, Score: 5}, checkhelo.Quarantine, 5},
		{checkhelo.Rule{Action: checkhelo.Score, Score: 9}, checkhelo.Reject, 9},
		{checkhelo.Rule{Action: checkhelo.Quarantine}, checkhelo.Quarantine, 0},
	} {
		p := policy(checkhelo.Strict, override("bare_ip", tc.own))
		p.RejectScore = 9
		v := p.Evaluate(given{Helo: other}.facts())
		if v.Action != tc.want || v.Score != tc.score {
			t.Errorf("%s %d: %s, score %d", tc.own.Action, tc.own.Score, v.Action, v.Score)
		}
	}
}

// TestDenied: the value of deny_names answers for one name, in the rule's words if it has none.
func TestDenied(t *testing.T) {
	p := policy(checkhelo.RFC)
	for value, want := range map[string]string{
		"yes": `554 5.7.1 This server takes no mail from hosts that call themselves` +
			` "mail.example.org"`,
		"450 7.1 {helo}: not today": "450 4.7.1 mail.example.org: not today",
		"511 5.4 {rule} {unknown}":  "511 5.5.4 deny_name {unknown}",
	} {
		f := given{Helo: goodOne, Denied: value}.facts()
		if got := line(p.Reply(p.Evaluate(f), f.Helo)); got != want {
			t.Errorf("%q: %q, want %q", value, got, want)
		}
	}
	if after := byName(p.Rules())["deny_name"]; after.Code != 554 {
		t.Errorf("the answer for one name stayed in the policy: %+v", after)
	}
}

// TestListActions: each list may have its own action; the strongest wins and points add up.
func TestListActions(t *testing.T) {
	for _, tc := range []struct {
		lists       string
		rejectScore int
		want        checkhelo.Action
		score       int
	}{
		{"a.example.net=127.0.0.2", 0, checkhelo.Quarantine, 0},
		{"a.example.net=127.0.0.2=ignore", 0, checkhelo.Ignore, 0},
		{"a.example.net=127.0.0.2=reject", 0, checkhelo.Reject, 0},
		{"a.example.net=127.0.0.2=score=4", 0, checkhelo.Score, 4},
		{"a.example.net=127.0.0.2=score=3 b.example.net=127.0.0.2=score=2", 0,
			checkhelo.Quarantine, 5},
		{"a.example.net=127.0.0.2=score=3 b.example.net=127.0.0.2=reject", 0, checkhelo.Reject, 3},
		{"a.example.net=127.0.0.2=score=9 b.example.net=127.0.0.2=quarantine", 9,
			checkhelo.Reject, 9},
	} {
		p := policy(checkhelo.RFC)
		p.RejectScore = tc.rejectScore
		v := p.Evaluate(given{Helo: goodOne, Listed: tc.lists}.facts())
		if v.Action != tc.want || v.Score != tc.score {
			t.Errorf("%s, reject at %d: %s, score %d, want %s, score %d", tc.lists, tc.rejectScore,
				v.Action, v.Score, tc.want, tc.score)
		}
	}
}

// TestRulesIsACopy: what a caller does to it changes no policy.
func TestRulesIsACopy(t *testing.T) {
	p := policy(checkhelo.RFC)
	p.Rules()[0].Action = checkhelo.Off
	checkhelo.Rules()[0].Action = checkhelo.Off
	if p.Rules()[0].Action != checkhelo.Reject || checkhelo.Rules()[0].Action != checkhelo.Reject {
		t.Error("Rules gives its own slice away")
	}
	if got := (&checkhelo.Policy{}).Rules()[2]; got.Action != p.Rules()[2].Action {
		t.Errorf("a policy without a name is not rfc: %s", got.Action)
	}
}

// 5. The documents.

// notRules are the directives that end in _action and set no rule.
var notRules = []string{"max", "fail", "dns_error"}

func TestDocumentsMirrorTheTable(t *testing.T) {
	rules := byName(checkhelo.Rules())
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		page, err := os.ReadFile(filepath.Join("docs", "rules", name+".md"))
		if err != nil {
			t.Errorf("rule %s has no page: %v", name, err)
		} else if heading, _, _ := strings.Cut(string(page), "\n"); heading != "# "+name {
			t.Errorf("page of %s starts with %q", name, heading)
		}
	}
	pages, err := filepath.Glob(filepath.Join("docs", "rules", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		if _, ok := rules[strings.TrimSuffix(filepath.Base(page), ".md")]; !ok {
			t.Errorf("%s has no rule", page)
		}
	}

	manual, err := os.ReadFile(filepath.Join("docs", "check.helo_fqdn.md"))
	if err != nil {
		t.Fatal(err)
	}
	headings := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)_action\b`).FindAllSubmatch(manual, -1) {
		headings[string(m[1])] = true
	}
	for _, name := range notRules {
		delete(headings, name)
	}
	for name := range rules {
		if !headings[name] {
			t.Errorf("docs/check.helo_fqdn.md has no heading ### %s_action", name)
		}
		delete(headings, name)
	}
	for name := range headings {
		t.Errorf("docs/check.helo_fqdn.md describes %s_action, and there is no such rule", name)
	}
}

// 6. Traps: what makes other checks lose good mail.

// trap is one greeting of a good or bad client and what must come of it.
type trap struct {
	why      string
	preset   checkhelo.Preset
	atMost   checkhelo.Action // of a good client
	atLeast  checkhelo.Action // of a bad one
	with     string           // a rule that must hit
	without  string           // rules that must not hit
	override map[string]checkhelo.Action
	given
}

// traps has the false-positive traps that concern judging; those of sessions, exemptions and
// lookups stand in the tests of package module and below. The numbers are those of the collection.
var traps = map[string][]trap{
	"01_underscore": {
		{why: "Windows host", preset: checkhelo.RFC, atMost: checkhelo.Score,
			with: "underscore", without: "malformed", given: given{Helo: "mail_1.example.org"}},
		{why: "container", preset: checkhelo.Lenient, atMost: checkhelo.Ignore,
			without: "malformed", given: given{Helo: "stack_smtp_1.example.org"}},
		{why: "switched off under strict", preset: checkhelo.Strict, atMost: checkhelo.Off,
			override: map[string]checkhelo.Action{"underscore": checkhelo.Off},
			given: given{Helo: "mail_1.example.org", Forward: client,
				PTR: "mail_1.example.org"}},
	},
	"02_trailing_dot": {
		{why: "only noted", preset: checkhelo.RFC, atMost: checkhelo.Ignore, with: "trailing_dot",
			without: "malformed ptr_mismatch address_mismatch",
			given: given{Helo: "mail.example.org.", Forward: client, PTR: goodOne,
				Confirmed: goodOne}},
		{why: "other rules see through it", preset: checkhelo.Strict, atLeast: checkhelo.Reject,
			with: "self_name", given: given{Helo: "mx1.example.org.",
				SelfNames: "mx1.example.org"}},
		{why: "one label stays one", preset: checkhelo.RFC, atLeast: checkhelo.Reject,
			with: "not_fqdn", given: given{Helo: "mail."}},
	},
	"03_ipv6_literal": {
		{why: "tag", preset: checkhelo.RFC, atMost: checkhelo.Score,
			without: "malformed bare_ip literal_mismatch",
			with:    "address_literal", given: given{Helo: "[IPv6:2001:db8::1]",
				Client: "2001:db8::1"}},
		{why: "tag in capitals", preset: checkhelo.RFC, atMost: checkhelo.Score,
			without: "malformed bare_ip literal_mismatch not_fqdn",
			given:   given{Helo: "[IPV6:2001:db8::1]", Client: "2001:db8::1"}},
		{why: "no tag", preset: checkhelo.RFC, atMost: checkhelo.Score,
			without: "malformed bare_ip literal_mismatch",
			given:   given{Helo: "[2001:db8::1]", Client: "2001:db8::1"}},
		{why: "mapped", preset: checkhelo.RFC, atMost: checkhelo.Score,
			without: "malformed bare_ip literal_mismatch",
			given:   given{Helo: "[IPv6:::ffff:192.0.2.10]"}},
	},
	"04_literal_is_no_bare_address": {
		{why: "legal", preset: checkhelo.RFC, atMost: checkhelo.Score, with: "address_literal",
			without: "bare_ip not_fqdn malformed unknown_tld dynamic_name",
			given:   given{Helo: "[192.0.2.10]"}},
		{why: "bare", preset: checkhelo.RFC, atLeast: checkhelo.Reject, with: "bare_ip",
			without: "address_literal literal_mismatch", given: given{Helo: client}},
	},
	"05_literal_behind_nat": {
		{why: "private", preset: checkhelo.RFC, atMost: checkhelo.Quarantine,
			with:  "literal_mismatch",
			given: given{Helo: "[192.168.1.1]"}},
		{why: "other line", preset: checkhelo.Lenient, atMost: checkhelo.Ignore,
			given: given{Helo: "[192.0.2.11]"}},
	},
	"06_prefix_of_an_address": {
		{why: "longer", preset: checkhelo.RFC, with: "literal_mismatch",
			atMost: checkhelo.Quarantine,
			given:  given{Helo: "[192.0.2.10]", Client: "192.0.2.1"}},
		{why: "shorter", preset: checkhelo.RFC, with: "literal_mismatch",
			atMost: checkhelo.Quarantine,
			given:  given{Helo: "[192.0.2.1]"}},
		{why: "other spelling", preset: checkhelo.RFC, without: "literal_mismatch",
			atMost: checkhelo.Score,
			given:  given{Helo: "[IPv6:2001:db8:0:0:0:0:0:1]", Client: "2001:db8::1"}},
	},
	"07_idn": {
		{why: "A-label", preset: checkhelo.Strict, atMost: checkhelo.Off,
			given: given{Helo: "xn--bcher-kva.example.org", Forward: client,
				PTR: "xn--bcher-kva.example.org"}},
		{why: "U-label", preset: checkhelo.Lenient, atLeast: checkhelo.Reject, with: "malformed",
			given: given{Helo: "b\u00fccher.example.org"}},
		{why: "Latin-1", preset: checkhelo.Lenient, atLeast: checkhelo.Reject, with: "malformed",
			given: given{Helo: "b\xfccher.example.org"}},
		{why: "broken A-label", preset: checkhelo.Lenient, atLeast: checkhelo.Reject,
			with:  "malformed",
			given: given{Helo: "xn--a.example.org"}},
	},
	"08_capitals": {
		{why: "good", preset: checkhelo.Strict, atMost: checkhelo.Off,
			given: given{Helo: "MAIL.Example.ORG", Forward: client, PTR: goodOne,
				Confirmed: goodOne}},
		{why: "our name", preset: checkhelo.RFC, atLeast: checkhelo.Reject, with: "self_name",
			given: given{Helo: "MX1.EXAMPLE.ORG", SelfNames: "mx1.example.org"}},
		{why: "provider", preset: checkhelo.Strict, atLeast: checkhelo.Reject,
			with:  "forged_provider",
			given: given{Helo: "Google.COM", Forward: other, PTR: notFound, SPF: "none"}},
	},
	"09_numbers_in_names": {
		{why: "number as domain", preset: checkhelo.Strict, atMost: checkhelo.Off,
			given: given{Helo: "m12-1.163.com", Forward: client, PTR: "m12-1.163.com",
				Confirmed: "m12-1.163.com"}},
		{why: "number first", preset: checkhelo.Strict, atMost: checkhelo.Off,
			given: given{Helo: "1mail.example.org", Forward: client, PTR: "1mail.example.org"}},
		{why: "dashes", preset: checkhelo.RFC,
			without: "bare_ip malformed unknown_tld dynamic_name",
			given:   given{Helo: "10-1-2-3.example.org"}, atMost: checkhelo.Score},
		{why: "host is a number", preset: checkhelo.RFC, without: "bare_ip malformed unknown_tld",
			given: given{Helo: "25.example.org"}, atMost: checkhelo.Score},
		{why: "TLD is a number", preset: checkhelo.Strict, atLeast: checkhelo.Reject,
			with:    "malformed",
			without: "bare_ip", given: given{Helo: "mail.example.123"}},
	},
	"11_private_tld_of_a_mail_server": {
		{why: "refused by strict", preset: checkhelo.Strict, atLeast: checkhelo.Reject,
			with:  "reserved_tld",
			given: given{Helo: "exchange.office.local"}},
		{why: "not by rfc", preset: checkhelo.RFC, atMost: checkhelo.Quarantine,
			given: given{Helo: "exchange.office.local"}},
		{why: "switched off", preset: checkhelo.Strict, without: "reserved_tld unknown_tld",
			atMost:   checkhelo.Off,
			override: map[string]checkhelo.Action{"reserved_tld": checkhelo.Off},
			given:    given{Helo: "exchange.office.local", TLD: notFound}},
	},
	"12_new_tld_taken_for_private": {
		{why: "online", preset: checkhelo.RFC, without: "reserved_tld unknown_tld",
			atMost: checkhelo.Score,
			given:  given{Helo: "mail.example.online"}},
		{why: "newer than the list", preset: checkhelo.Strict, without: "reserved_tld unknown_tld",
			atMost: checkhelo.Off, given: given{Helo: "mail.example.notatld", TLD: "yes",
				Forward: client}},
		{why: "root does not answer", preset: checkhelo.Strict, without: "reserved_tld unknown_tld",
			atMost: checkhelo.Off, given: given{Helo: "mail.example.notatld", TLD: failed,
				Forward: client}},
	},
	"13_address_in_a_servers_name": {
		{why: "ESP", preset: checkhelo.Strict, without: "dynamic_name", atMost: checkhelo.Off,
			given: given{Helo: "o1.ptr192-0-2-10.sendgrid.net", Forward: client}},
		{why: "SES", preset: checkhelo.Strict, without: "dynamic_name", atMost: checkhelo.Off,
			given: given{Helo: "a2-10.smtp-out.amazonses.com", Forward: client}},
		{why: "business line", preset: checkhelo.Strict, without: "dynamic_name",
			atMost: checkhelo.Quarantine,
			given:  given{Helo: "192-0-2-10-static.hfc.example.net", Forward: client}},
		{why: "address alone", preset: checkhelo.Strict, without: "dynamic_name",
			atMost: checkhelo.Quarantine,
			given:  given{Helo: "out-192-0-2-10.mail.example.com", Forward: client}},
	},
	"14_pools": {
		{why: "PTR of the same organisation", preset: checkhelo.RFC,
			without: "ptr_mismatch generic_ptr",
			atMost:  checkhelo.Score, given: given{Helo: "mail-a1.example.org", Forward: other,
				PTR: "out7.pool.example.org", Confirmed: "out7.pool.example.org", SPF: "pass"}},
		{why: "strict only quarantines", preset: checkhelo.Strict, without: "ptr_mismatch",
			atMost: checkhelo.Quarantine, given: given{Helo: "mail-a1.example.org", Forward: other,
				PTR: "out7.pool.example.org", Confirmed: "out7.pool.example.org", SPF: "pass"}},
		{why: "public suffix is no organisation", preset: checkhelo.RFC, with: "ptr_mismatch",
			atMost: checkhelo.Score, given: given{Helo: "mx.sender-bench.co.uk",
				PTR: "mx.isp-bench.co.uk"}},
	},
	"15_name_leads_to_loopback": {
		{why: "rfc", preset: checkhelo.RFC, with: "private_address", atMost: checkhelo.Score,
			given: given{Helo: goodOne, Forward: "127.0.0.1", PTR: goodOne, Confirmed: goodOne}},
		{why: "strict", preset: checkhelo.Strict, with: "private_address",
			atMost: checkhelo.Quarantine,
			given:  given{Helo: goodOne, Forward: "127.0.0.1", PTR: goodOne, Confirmed: goodOne}},
		{why: "it is no proof", preset: checkhelo.RFC, with: "self_name", atLeast: checkhelo.Reject,
			given: given{Helo: goodOne, SelfNames: goodOne, Forward: "127.0.0.1", PTR: notFound}},
	},
	"16_several_ptr": {
		{why: "second fits", preset: checkhelo.Strict, without: "ptr_mismatch generic_ptr",
			atMost: checkhelo.Off,
			given: given{Helo: goodOne, Forward: client, PTR: "192-0-2-10.example.net " + goodOne,
				Confirmed: goodOne}},
		{why: "first fits", preset: checkhelo.Strict, without: "ptr_mismatch generic_ptr",
			atMost: checkhelo.Off,
			given: given{Helo: goodOne, Forward: client, PTR: goodOne + " 192-0-2-10.example.net",
				Confirmed: goodOne}},
		{why: "one was chosen", preset: checkhelo.RFC, without: "generic_ptr",
			atMost: checkhelo.Score,
			given: given{Helo: goodOne, PTR: "192-0-2-10.example.net mx.example.net",
				Confirmed: "mx.example.net"}},
	},
	"17_one_answer_fails": {
		{why: "address", preset: checkhelo.Strict, atMost: checkhelo.Off,
			without: "no_address mx_only address_mismatch private_address",
			given: given{Helo: goodOne, Forward: failed, MX: notFound, PTR: goodOne,
				Confirmed: goodOne, SPF: "none"}},
		{why: "MX", preset: checkhelo.Strict, without: "no_address mx_only", atMost: checkhelo.Off,
			given: given{Helo: goodOne, Forward: notFound, MX: failed, PTR: goodOne,
				Confirmed: goodOne}},
		{why: "everything", preset: checkhelo.Strict, atMost: checkhelo.Off,
			given: given{Helo: goodOne, Denied: failed, Forward: failed, MX: failed, PTR: failed,
				Confirmed: failed, TLD: failed, SPF: failed, Listed: failed, Rcpt: "example.org",
				SelfNames: goodOne}},
		{why: "everything, of a provider", preset: checkhelo.Strict, atMost: checkhelo.Off,
			given: given{Helo: "mail-1.google.com", Forward: failed, MX: failed, PTR: failed,
				SPF: failed, Listed: failed}},
	},
	"18_mx_only": {
		{why: "MX", preset: checkhelo.RFC, with: "mx_only", without: "no_address",
			atMost: checkhelo.Ignore,
			given: given{Helo: goodOne, Forward: notFound, MX: "mx.example.org", PTR: goodOne,
				Confirmed: goodOne}},
		{why: "null MX", preset: checkhelo.RFC, with: "mx_only", without: "no_address",
			atMost: checkhelo.Ignore,
			given: given{Helo: goodOne, Forward: notFound, MX: nothing, PTR: goodOne,
				Confirmed: goodOne}},
	},
	"25_hello_from_ourselves": {
		{why: "container", preset: checkhelo.Strict, without: "self_name", atMost: checkhelo.Off,
			given: given{Helo: "mx1.example.org", SelfNames: "mx1.example.org",
				SelfAddrs: "192.0.2.0/28"}},
		{why: "hairpin", preset: checkhelo.Strict, without: "self_name", atMost: checkhelo.Off,
			given: given{Helo: "mx1.example.org", SelfNames: "mx1.example.org", Local: server,
				Client: server}},
		{why: "own literal", preset: checkhelo.RFC, without: "self_address literal_mismatch",
			atMost: checkhelo.Score,
			given:  given{Helo: "[203.0.113.25]", Local: server, Client: server}},
		{why: "second server of ours", preset: checkhelo.Strict, without: "self_name",
			atMost: checkhelo.Off,
			given:  given{Helo: "mx2.example.org", SelfDomains: "example.org", Forward: client}},
		{why: "a stranger", preset: checkhelo.RFC, with: "self_name", atLeast: checkhelo.Reject,
			given: given{Helo: "mx1.example.org", SelfNames: "mx1.example.org",
				SelfAddrs: "203.0.113.0/24"}},
	},
	"26_recipients_own_server": {
		{why: "by address", preset: checkhelo.RFC, without: "rcpt_domain", atMost: checkhelo.Score,
			given: given{Helo: "example.org", Rcpt: "example.org", Forward: client}},
		{why: "by PTR", preset: checkhelo.RFC, without: "rcpt_domain", atMost: checkhelo.Score,
			given: given{
				Helo: "example.org", Rcpt: "example.org", Forward: other, PTR: "web.example.org",
				Confirmed: "web.example.org"}},
		{why: "by SPF", preset: checkhelo.RFC, without: "rcpt_domain", atMost: checkhelo.Score,
			given: given{
				Helo: "example.org", Rcpt: "example.org", Forward: other, PTR: "a.example.net",
				SPF: "pass"}},
		{why: "lookup failed", preset: checkhelo.RFC, without: "rcpt_domain",
			atMost: checkhelo.Score,
			given: given{Helo: "example.org", Rcpt: "example.org", Forward: other, PTR: failed,
				SPF: "none"}},
		{why: "another recipient", preset: checkhelo.RFC, without: "rcpt_domain",
			atMost: checkhelo.Score,
			given:  given{Helo: "example.org", Rcpt: "example.net", Forward: other}},
		{why: "a stranger", preset: checkhelo.RFC, with: "rcpt_domain",
			atLeast: checkhelo.Quarantine,
			given: given{Helo: "example.org", Rcpt: "example.org", Forward: other, PTR: notFound,
				SPF: "softfail"}},
	},
	"28_spf_without_a_verdict": {
		{why: "none", preset: checkhelo.Strict, without: "spf_fail", atMost: checkhelo.Off,
			given: given{Helo: goodOne, SPF: "none", Forward: client}},
		{why: "softfail", preset: checkhelo.Strict, without: "spf_fail", atMost: checkhelo.Off,
			given: given{Helo: goodOne, SPF: "softfail", Forward: client}},
		{why: "temperror", preset: checkhelo.Strict, without: "spf_fail", atMost: checkhelo.Off,
			given: given{Helo: goodOne, SPF: "temperror", Forward: client}},
		{why: "literal", preset: checkhelo.RFC, without: "spf_fail", atMost: checkhelo.Score,
			given: given{Helo: "[192.0.2.10]", SPF: "fail"}},
	},
	"29_injection": {
		{why: "line break", preset: checkhelo.Lenient, with: "malformed", atLeast: checkhelo.Reject,
			given: given{Helo: "a\r\nRCPT TO:<x@example.org>"}},
		{why: "long", preset: checkhelo.Lenient, with: "malformed", atLeast: checkhelo.Reject,
			given: given{Helo: strings.Repeat("a", 2000)}},
		{why: "script", preset: checkhelo.Lenient, with: "malformed", atLeast: checkhelo.Reject,
			given: given{Helo: "<script>"}},
	},
}

func TestTraps(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(traps)) {
		t.Run(name, func(t *testing.T) {
			for _, tc := range traps[name] {
				tc.check(t)
			}
		})
	}
	t.Run("20_second_greeting", func(t *testing.T) {
		// No verdict leaves anything behind that the next one on the same policy could meet.
		p := policy(checkhelo.Strict)
		bad, good := given{Helo: "localhost"}, given{Helo: goodOne, Forward: client}
		want := judged(p.Evaluate(bad.facts()))
		if v := p.Evaluate(good.facts()); len(v.Hits) != 0 {
			t.Errorf("%v", hitNames(v))
		}
		if got := judged(p.Evaluate(bad.facts())); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func (tc trap) check(t *testing.T) {
	t.Helper()
	p := policy(tc.preset)
	for rule, a := range tc.override {
		override(rule, checkhelo.Rule{Action: a})(p)
	}
	f := tc.facts()
	v := p.Evaluate(f)
	if tc.atLeast == checkhelo.Off && v.Action > tc.atMost || v.Action < tc.atLeast {
		t.Errorf("%s: %s by %v", tc.why, v.Action, hitNames(v))
	}
	if tc.with != "" && !hits(v, tc.with) {
		t.Errorf("%s: %v, without %s", tc.why, hitNames(v), tc.with)
	}
	for _, rule := range strings.Fields(tc.without) {
		if hits(v, rule) {
			t.Errorf("%s: hit by %s", tc.why, rule)
		}
	}
	if reply := p.Reply(v, f.Helo); len(v.Hits) > 0 && checkLine(reply) != "" {
		t.Errorf("%s: %s in %q", tc.why, checkLine(reply), reply.Text)
	}
}

// 7. Examples.

// A caller parses the greeting, says what it knows, asks what else to look up, and answers.
func Example() {
	policy := checkhelo.NewPolicy(checkhelo.Strict)
	policy.HelpURL = "https://example.org/helo"

	facts := &checkhelo.Facts{
		Helo:   heloname.Parse("[192.0.2.10]"),
		Client: netip.MustParseAddr("192.0.2.10"),
		Self:   &checkhelo.Self{Names: []string{"mx1.example.org"}},
		Rcpt:   "example.org",
	}
	if need := policy.Needs(facts); need == 0 {
		fmt.Println("no lookup can change the verdict")
	}
	verdict := policy.Evaluate(facts)
	reply := policy.Reply(verdict, facts.Helo)
	fmt.Println(verdict.Action, verdict.Hits[0].Rule.Name)
	fmt.Println(reply.Code, reply.Enhanced)
	fmt.Println(strings.ReplaceAll(reply.Text, ". ", ".\n"))
	// Output:
	// no lookup can change the verdict
	// reject address_literal
	// 550 [5 7 1]
	// "[192.0.2.10]" is an address, and this server wants a host name.
	// Let your mail server greet with its full DNS name, such as mail.example.org.
	// See https://example.org/helo#address_literal
}

// Lookups that failed never make a verdict harsher.
func ExamplePolicy_Evaluate() {
	policy := checkhelo.NewPolicy(checkhelo.Strict)
	facts := &checkhelo.Facts{
		Helo:   heloname.Parse("mail.example.org"),
		Client: netip.MustParseAddr("192.0.2.10"),
	}
	facts.Forward.State = checkhelo.NotFound
	facts.MX.State = checkhelo.NotFound
	fmt.Println(policy.Evaluate(facts).Action)
	facts.MX.State = checkhelo.Failed
	fmt.Println(policy.Evaluate(facts).Action)
	// Output:
	// reject
	// off
}

// Only what can still change the verdict has to be looked up.
func ExamplePolicy_Needs() {
	policy := checkhelo.NewPolicy(checkhelo.Strict)
	facts := &checkhelo.Facts{Helo: heloname.Parse("mail.example.org")}
	need := policy.Needs(facts)
	fmt.Println(need&checkhelo.NeedForward != 0, need&checkhelo.NeedTLD != 0)
	facts.Helo = heloname.Parse("localhost")
	fmt.Println(policy.Needs(facts))
	// Output:
	// true false
	// 0
}

// An operator changes single rules, and tries them without refusing anybody.
func ExamplePolicy() {
	policy := checkhelo.NewPolicy(checkhelo.RFC)
	policy.Override = map[string]checkhelo.Rule{
		"reserved_tld": {Action: checkhelo.Reject, Code: 511, Detail: [2]int{5, 2},
			Message: "HELO domain '{helo}' is not on the Internet"},
	}
	policy.Ceiling = checkhelo.Ignore
	facts := &checkhelo.Facts{Helo: heloname.Parse("foo.bar.local")}
	verdict := policy.Evaluate(facts)
	fmt.Println(verdict.Action, "instead of", verdict.Would)
	fmt.Println(policy.Reply(verdict, facts.Helo).Text)
	// Output:
	// ignore instead of reject
	// HELO domain 'foo.bar.local' is not on the Internet
}

// 8. Cost.

const benchName = "mta01.yourcompany.com"

// offline are the facts that a caller has at EHLO.
func offline() *checkhelo.Facts {
	return given{Local: server, SelfNames: "mx1.example.org", SelfAddrs: "203.0.113.0/24",
		Rcpt: "example.org"}.facts()
}

func TestGoodNameDoesNotAllocate(t *testing.T) {
	// The list of public suffixes allocates from x/net 0.55 on, which custom builds have.
	lookup := testing.AllocsPerRun(100, func() { publicsuffix.PublicSuffix(benchName) })
	const lookups = 2
	for _, preset := range presets {
		p, fresh, f := policy(preset), offline(), new(checkhelo.Facts)
		var hit int
		n := testing.AllocsPerRun(100, func() {
			*f = *fresh
			f.Helo = heloname.Parse(benchName)
			hit += len(p.Evaluate(f).Hits)
		})
		if n > lookups*lookup || hit != 0 {
			t.Errorf("%s: %v allocations, %d hits", preset, n, hit)
		}
	}
}

func BenchmarkOfflineEvaluate(b *testing.B) {
	for _, preset := range presets {
		b.Run(string(preset), func(b *testing.B) {
			p, fresh, f := policy(preset), offline(), new(checkhelo.Facts)
			b.ReportAllocs()
			for b.Loop() {
				*f = *fresh // nothing is remembered of the round before
				f.Helo = heloname.Parse(benchName)
				if v := p.Evaluate(f); len(v.Hits) != 0 {
					b.Fatal(hitNames(v))
				}
			}
		})
	}
}

func BenchmarkOfflinePublicSuffix(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if s, _ := publicsuffix.PublicSuffix(benchName); s != "com" {
			b.Fatal(s)
		}
	}
}

func BenchmarkNeeds(b *testing.B) {
	p, fresh, f := policy(checkhelo.Strict), offline(), new(checkhelo.Facts)
	fresh.Helo = heloname.Parse(benchName)
	b.ReportAllocs()
	for b.Loop() {
		*f = *fresh
		if p.Needs(f) == 0 {
			b.Fatal("needs nothing")
		}
	}
}

// 9. Golden cases.

// golden is one file of testdata: what is known, and what comes of it.
type golden struct {
	About  string `json:"about"`
	Policy struct {
		Preset      checkhelo.Preset `json:"preset"`
		RejectScore int              `json:"reject_threshold,omitempty"`
		Ceiling     string           `json:"fail_action,omitempty"`
		HelpURL     string           `json:"help_url,omitempty"`
	} `json:"policy"`
	Facts   given `json:"facts"`
	Verdict struct {
		Action string   `json:"action"`
		Would  string   `json:"would"`
		Score  int      `json:"score"`
		Hits   []string `json:"hits"` // RULE ACTION: EVIDENCE
	} `json:"verdict"`
	Reply string `json:"reply"`
}

// judge fills in what comes of the facts.
func (g *golden) judge() {
	p := policy(g.Policy.Preset)
	p.RejectScore, p.HelpURL = g.Policy.RejectScore, g.Policy.HelpURL
	if g.Policy.Ceiling != "" {
		p.Ceiling = action(g.Policy.Ceiling)
	}
	f := g.Facts.facts()
	v := p.Evaluate(f)
	g.Verdict.Action, g.Verdict.Would, g.Verdict.Score = v.Action.String(), v.Would.String(),
		v.Score
	g.Verdict.Hits, g.Reply = []string{}, ""
	for _, h := range v.Hits {
		text := h.Rule.Name + " " + h.Rule.Action.String()
		if h.Rule.Action == checkhelo.Score {
			text += " " + strconv.Itoa(h.Rule.Score)
		}
		g.Verdict.Hits = append(g.Verdict.Hits, strings.TrimSuffix(text+": "+h.Evidence, ": "))
	}
	if len(v.Hits) > 0 {
		g.Reply = line(p.Reply(v, f.Helo))
	}
}

func TestGolden(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "*.json"))
	if err != nil || len(files) < 15 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var g golden
			in := json.NewDecoder(bytes.NewReader(want))
			in.DisallowUnknownFields()
			if err := in.Decode(&g); err != nil {
				t.Fatal(err)
			}
			g.judge()
			var got bytes.Buffer
			out := json.NewEncoder(&got)
			out.SetEscapeHTML(false)
			out.SetIndent("", "  ")
			if err := out.Encode(g); err != nil {
				t.Fatal(err)
			}
			if *update {
				if err := os.WriteFile(file, got.Bytes(), 0o600); err != nil {
					t.Fatal(err)
				}
			} else if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("got\n%s\nwant\n%s\n(-update writes it)", got.Bytes(), want)
			}
		})
	}
}

// benchCases are two greetings after all lookups: one of a well-kept server, and one of a home
// line, which many rules hit.
var benchCases = []struct {
	name  string
	given given
	good  bool
}{
	{"good", given{
		Helo: benchName, Local: server, SelfNames: "mx1.example.org", SelfAddrs: "203.0.113.0/24",
		Rcpt: "example.org", Forward: client, MX: notFound, PTR: benchName, Confirmed: benchName,
		SPF: "none",
	}, true},
	{"home", given{
		Helo: "192-0-2-10.dsl.example.net", Local: server, SelfNames: "mx1.example.org",
		SelfAddrs: "203.0.113.0/24", Rcpt: "example.org", Forward: notFound, MX: notFound,
		PTR: notFound, Confirmed: notFound, SPF: "fail",
	}, false},
}

// BenchmarkEvaluateWithFacts is the verdict at RCPT TO, when everything is known.
func BenchmarkEvaluateWithFacts(b *testing.B) {
	for _, preset := range presets {
		for _, tc := range benchCases {
			b.Run(string(preset)+"/"+tc.name, func(b *testing.B) {
				p, fresh, f := policy(preset), tc.given.facts(), new(checkhelo.Facts)
				b.ReportAllocs()
				for b.Loop() {
					*f = *fresh
					if v := p.Evaluate(f); tc.good != (v.Would < checkhelo.Score) {
						b.Fatal(v.Would, hitNames(v))
					}
				}
			})
		}
	}
}

// BenchmarkReply makes the line that a refused client reads.
func BenchmarkReply(b *testing.B) {
	p := policy(checkhelo.Strict)
	p.HelpURL = "https://www.example.org/helo"
	f := given{Helo: "hostnameonly"}.facts()
	v := p.Evaluate(f)
	if v.Action != checkhelo.Reject {
		b.Fatal(hitNames(v))
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := p.Reply(v, f.Helo); r.Code != 504 {
			b.Fatal(r)
		}
	}
}
