package heloname

import (
	"slices"
	"strings"
	"testing"
)

// TestDefaultLists holds what an edit of the literals may break.
func TestDefaultLists(t *testing.T) {
	l := DefaultLists()
	if len(l.reserved) < 30 || len(l.providers) < 300 || len(l.families) < 10 ||
		len(l.words) < 100 || len(l.tlds) < 25 || len(l.labels) < 20 || len(l.hosts) < 15 {
		t.Error("a list lacks most of its entries")
	}
	for s, src := range l.reserved {
		if src == fromCustom && !strings.Contains(s, ".") && KnownTLD(s) {
			t.Errorf("%s was delegated; it is no private TLD any more", s)
		}
	}
	for s := range l.hosts {
		if !KnownTLD(s) || s == TLD(s) {
			t.Errorf("%s is no domain of rented machines", s)
		}
	}
	for s, p := range l.providers {
		if upper := l.Provider(OrgDomain(s)); !KnownTLD(s) || upper == nil || upper.Name != p.Name {
			t.Errorf("%s of %s is neither an organisational domain nor below one", s, p.Name)
		}
		if _, _, ok := l.Reserved(s); ok {
			t.Errorf("%s of %s is reserved", s, p.Name)
		}
		if p.check() != nil || !p.Domain(s) || !p.Owns(s) || !p.Owns("mx."+s) {
			t.Errorf("%s of %s does not know itself", s, p.Name)
		}
	}
}

// TestNoEntryTwice: every entry is in the form that Parse gives it, and stands
// once. A rented word may be of one other class too.
func TestNoEntryTwice(t *testing.T) {
	check := func(list string, names ...string) {
		seen := map[string]bool{}
		for _, name := range names {
			if s, ok := providerDomain(name); !ok || s != name || seen[name] {
				t.Errorf("%s: %s stands twice or is no lower-case domain name", list, name)
			}
			seen[name] = true
		}
	}
	check("reserved", slices.Concat(reservedNames[fromRegistry], reservedNames[fromCustom])...)
	check("rented words", listedWords[rentedWord]...)
	check("words", slices.Concat(listedWords[lineWord], listedWords[weakWord],
		listedWords[staticWord], listedWords[mailWord])...)
	check("TLDs", slices.Concat(oldTLDs, freeTLDs)...)
	check("rented domains", rentedDomains...)
	helo := slices.Clone(mailboxDomains)
	for _, row := range providerRows {
		check(row.name, slices.Concat(row.strong, row.helo, row.ptr)...)
		helo = slices.Concat(helo, row.strong, row.helo)
		if row.name == "" || len(row.strong)+len(row.helo) == 0 {
			t.Errorf("%+v has no name or no HELO domain", row)
		}
	}
	check("HELO domains of providers", helo...)
	for word := range labelForms {
		if !isWord(word) {
			t.Errorf("%s is no word of letters", word)
		}
	}
	for _, tld := range slices.Concat(oldTLDs, freeTLDs, networkDomains) {
		if !KnownTLD(tld) {
			t.Errorf("%s is no TLD", tld)
		}
	}
}

func TestReserved(t *testing.T) {
	for _, tc := range []struct {
		name, suffix string
		registry     bool
	}{
		{"foo.bar.local", "local", true},
		{"local", "local", true},
		{"localhost", "localhost", true},
		{"mail.example", "example", true},
		{"mail.sender.test", "test", true},
		{"mail.sender.invalid", "invalid", true},
		{"abc.onion", "onion", true},
		{"abc.alt", "alt", true},
		{"host.home.arpa", "home.arpa", true},
		{"mail.arpa", "arpa", true},
		{"1.2.0.192.in-addr.arpa", "in-addr.arpa", true},
		{"8.b.d.0.1.0.0.2.ip6.arpa", "ip6.arpa", true},
		{"rad.internal", "internal", true},
		{"ip-10-0-0-1.ec2.internal", "internal", true},
		{"localhost.localdomain", "localdomain", false},
		{"mail.office.corp", "corp", false},
		{"nas.home", "home", false},
		{"vm.novalocal", "novalocal", false},
		{"pc.fritz.box", "fritz.box", false},
		{"fritz.box", "fritz.box", false},
		{"pc.mshome.net", "mshome.net", false},

		{"mail", "", false}, // a host, not a name below .mail
		{"home", "", false},
		{"mail.example.org", "", false},
		{"mail.example.com", "", false},
		{"notlocal", "", false},
		{"a.notlocal", "", false},
		{"local.example.net", "", false},
		{"home.arpa.example.net", "", false},
		{"1.2.0.192.in-addr.arpa.example.net", "", false},
		{"mail.fritz.boxes", "", false},
		{"mail.box", "", false},
		{"mail.online", "", false},
		{"mail.home.pl", "", false},
		{"", "", false},
	} {
		suffix, registry, ok := (*Lists)(nil).Reserved(tc.name)
		if suffix != tc.suffix || registry != tc.registry || ok != (tc.suffix != "") {
			t.Errorf("Reserved(%q) = %q, %v, %v", tc.name, suffix, registry, ok)
		}
	}
}
