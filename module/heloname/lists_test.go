package heloname

import (
	"regexp"
	"strings"
	"testing"
)

// TestDataFiles reads the embedded texts and holds what an edit may break.
func TestDataFiles(t *testing.T) {
	date := regexp.MustCompile(`(?m)^# Date: 20\d\d-[01]\d-[0-3]\d$`)
	for name, text := range map[string]string{
		"reserved": reservedText, "providers": providersText, "words": wordsText,
		"tlds": tldsText, "defaults": defaultsText,
	} {
		if !strings.Contains(text, "# Source") || !date.MatchString(text) {
			t.Errorf("%s: no comment lines with source and date", name)
		}
	}
	l, err := parseLists(texts{reservedText, providersText, wordsText, tldsText, defaultsText})
	if err != nil {
		t.Fatal(err)
	}
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

func TestParseListsErrors(t *testing.T) {
	const provider = "provider p\nhelo example.com\nptr example.net\n"
	for _, tc := range []struct {
		texts
		want string
	}{
		{texts{"local registry\n", provider, "line dsl\n", "old com\n", "id i\n"}, ""},
		{texts{reserved: "# c\n\nlocal\n"}, "reserved.txt:3"},
		{texts{reserved: "local public\n"}, "reserved.txt:1"},
		{texts{reserved: "Local registry\n"}, "lower-case"},
		{texts{reserved: ".local registry\n"}, "lower-case"},
		{texts{reserved: "a..b registry\n"}, "lower-case"},
		{texts{reserved: "lan private\nlan private\n"}, "twice"},
		{texts{words: "other dsl\n"}, "words.txt:1"},
		{texts{words: "line\n"}, "want line"},
		{texts{words: "line DSL\n"}, "lower-case"},
		{texts{words: "line dsl2\n"}, "letters"},
		{texts{words: "line dsl\nweak dsl\n"}, "twice"},
		{texts{words: "line dsl\nrented dsl dsl\n"}, "twice"},
		{texts{words: "rented dsl\nline dsl\n"}, ""},
		{texts{tlds: "new online\n"}, "tlds.txt:1"},
		{texts{tlds: "old\n"}, "want old"},
		{texts{tlds: "old notatld\n"}, "can be old"},
		{texts{tlds: "old COM\n"}, "can be old"},
		{texts{tlds: "old tk\n"}, "can be old"},
		{texts{tlds: "free com\n"}, "can be free"},
		{texts{tlds: "old com net com\n"}, "twice"},
		{texts{defaults: "other x\n"}, "defaults.txt:1"},
		{texts{defaults: "suffix\n"}, "want a form"},
		{texts{defaults: "image Debian\n"}, "lower-case"},
		{texts{defaults: "image debian\nid debian\n"}, "twice"},
		{texts{defaults: "suffix .example.com\n"}, "lower-case"},
		{texts{defaults: "suffix example.com example.com\n"}, "twice"},
		{texts{defaults: "block ip\n"}, "a word and a TLD"},
		{texts{defaults: "block ip4.com\n"}, "a word and a TLD"},
		{texts{defaults: "block ip.notatld\n"}, "a word and a TLD"},
		{texts{defaults: "block ip.com ip.com\n"}, "twice"},
		{texts{providers: "provider\n"}, "no value"},
		{texts{providers: "provider a b\n"}, "want provider"},
		{texts{providers: "helo example.com\n"}, "want provider"},
		{texts{providers: "mailbox example.com\nptr example.com\n"}, "providers.txt:2"},
		{texts{providers: "provider p\nptr example.com\n"}, "no HELO domain"},
		{texts{providers: "provider p\nprovider q\n"}, "no HELO domain"},
		{texts{providers: "provider p\nmailbox example.com\n"}, "no HELO domain"},
		{texts{providers: "provider p\nhelo example.com\nhelo example.com\n"}, "twice"},
		{texts{providers: "provider p\nstrong example.com\nptr example.com\n"}, "twice"},
		{texts{providers: "provider p\nhelo example_.com.\n"}, "lower-case"},
		{texts{providers: "provider p\nhelo a.example.*\n"}, "lower-case"},
		{texts{providers: "provider p\nhelo example.*\nprovider q\nhelo example.*\n"},
			"belongs to p"},
		{texts{providers: "mailbox example.com\nmailbox example.com\n"}, "belongs to example.com"},
		{texts{providers: provider + "provider q\nhelo example.com\n"}, "belongs to p"},
		{texts{providers: provider + "provider q\nhelo example.org\nptr example.net\n"}, ""},
		{texts{providers: provider + "other x\n"}, "providers.txt:4"},
	} {
		_, err := parseLists(tc.texts)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%+v: %v", tc, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%+v: error %v, want %q", tc.texts, err, tc.want)
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
