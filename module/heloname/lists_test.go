package heloname

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestDefaultLists holds what an edit of the literals may break.
func TestDefaultLists(t *testing.T) {
	l := DefaultLists()
	if len(l.reserved) < 30 || len(l.providers) < 310 || len(l.words) < 100 ||
		len(oldTLDs) < 20 || len(rentedDomains) < 15 {
		t.Error("a list lacks most of its entries")
	}
	for s := range l.reserved {
		if s != "arpa" && !strings.Contains(s, ".") && KnownTLD(s) {
			t.Errorf("%s was delegated; it is no private TLD any more", s)
		}
	}
	for _, s := range rentedDomains {
		if !KnownTLD(s) || s == TLD(s) {
			t.Errorf("%s is no domain of rented machines", s)
		}
	}
	for s, p := range l.providers {
		if strings.HasSuffix(s, familyMark) {
			continue
		}
		if upper := l.Provider(OrgDomain(s)); !KnownTLD(s) || upper == nil || upper.Name != p.Name {
			t.Errorf("%s of %s is neither an organisational domain nor below one", s, p.Name)
		}
		if l.Reserved(s) != "" {
			t.Errorf("%s of %s is reserved", s, p.Name)
		}
		if !p.Domain(s) || !p.Owns(s) || !p.Owns("mx."+s) {
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
			label := strings.TrimSuffix(name, familyMark)
			if s, err := Domain(label); err != nil || s != label || seen[name] {
				t.Errorf("%s: %s stands twice or is no lower-case domain name", list, name)
			}
			seen[name] = true
		}
	}
	check("reserved", reservedNames...)
	check("rented words", strings.Fields(listedWords[rentedWord])...)
	check("words", strings.Fields(listedWords[lineWord]+listedWords[weakWord]+
		listedWords[staticWord]+listedWords[mailWord])...)
	check("TLDs", slices.Concat(oldTLDs, freeTLDs)...)
	check("rented domains", rentedDomains...)
	helo := mailboxDomains
	for _, row := range providerRows {
		check(row.name, strings.Fields(row.strong+" "+row.helo+" "+row.ptr)...)
		helo += " " + row.strong + " " + row.helo
		if row.name == "" || len(row.strong)+len(row.helo) == 0 {
			t.Errorf("%+v has no name or no HELO domain", row)
		}
	}
	check("HELO domains of providers", strings.Fields(helo)...)
	for _, tld := range slices.Concat(oldTLDs, freeTLDs) {
		if !KnownTLD(tld) {
			t.Errorf("%s is no TLD", tld)
		}
	}
}

func TestReserved(t *testing.T) {
	for _, tc := range []struct{ name, suffix string }{
		{"foo.bar.local", "local"},
		{"local", "local"},
		{"localhost", "localhost"},
		{"mail.example", "example"},
		{"mail.sender.test", "test"},
		{"mail.sender.invalid", "invalid"},
		{"abc.onion", "onion"},
		{"abc.alt", "alt"},
		{"host.home.arpa", "home.arpa"},
		{"mail.arpa", "arpa"},
		{"1.2.0.192.in-addr.arpa", "in-addr.arpa"},
		{"8.b.d.0.1.0.0.2.ip6.arpa", "ip6.arpa"},
		{"rad.internal", "internal"},
		{"ip-10-0-0-1.ec2.internal", "internal"},
		{"localhost.localdomain", "localdomain"},
		{"mail.office.corp", "corp"},
		{"nas.home", "home"},
		{"vm.novalocal", "novalocal"},
		{"pc.fritz.box", "fritz.box"},
		{"fritz.box", "fritz.box"},
		{"pc.mshome.net", "mshome.net"},

		{"mail.example.org", ""},
		{"mail.example.com", ""},
		{"notlocal", ""},
		{"a.notlocal", ""},
		{"local.example.net", ""},
		{"home.arpa.example.net", ""},
		{"1.2.0.192.in-addr.arpa.example.net", ""},
		{"mail.fritz.boxes", ""},
		{"mail.box", ""},
		{"mail.online", ""},
		{"mail.home.pl", ""},
		{"", ""},
	} {
		if suffix := (*Lists)(nil).Reserved(tc.name); suffix != tc.suffix {
			t.Errorf("Reserved(%q) = %q", tc.name, suffix)
		}
	}
}

func TestWith(t *testing.T) {
	l := with(t, Extension{
		Providers: []Provider{
			{Name: "Google", Helo: []string{"google.com"}, PTR: []string{".PTR.example.net."}},
			{Name: "mine", Helo: []string{"relay.example.org"}, PTR: []string{"example.org"}},
			{Name: "microsoft", Helo: []string{"example.com"}, PTR: []string{"example.com"}},
		},
		DynamicWords: []string{"Einwahl"},
		StaticWords:  []string{"standleitung", "dsl"},
		ReservedTLDs: []string{".Office", "branch.example.net"},
		NotReserved:  []string{"local", "good.corp"},
	})
	d := DefaultLists()
	for _, tc := range []struct {
		what      string
		got, want bool
	}{
		{"replaced provider owns", l.Provider("mx.google.com").Owns("a.ptr.example.net"), true},
		{"replaced provider disowns", l.Provider("mx.google.com").Owns("mx.google.com"), false},
		{"replaced suffix is gone", l.Provider("gmail.com") == nil, true},
		{"other providers stay", l.Provider("mail.qq.com") != nil, true},
		{"own provider", l.Provider("mx.relay.example.org") != nil, true},
		{"own provider above", l.Provider("example.org") == nil, true},
		{"default keeps provider", d.Provider("gmail.com") != nil, true},
		{"default has no new one", d.Provider("mx.relay.example.org") == nil, true},
		{"own provider is strong", l.Provider("relay.example.org").Strong, true},
		{"replaced family is gone", l.Provider("live.nl") == nil, true},
		{"default keeps family", d.Provider("live.nl") != nil, true},
		{"own rented word", l.GenericPTR("einwahl1.example.net", addr("192.0.2.1")), true},
		{"own rented word, default", d.GenericPTR("einwahl1.example.net", addr("192.0.2.1")), false},
		{"own static word is not rented", l.GenericPTR("dsl1.example.net", addr("192.0.2.1")), false},
		{"own word, other lists stay", defaultHost(l, "vps123.example.net"), true},
		{"own word", dynamic(l, "einwahl-192-0-2-1.example.net"), true},
		{"own word, default", dynamic(d, "einwahl-192-0-2-1.example.net"), false},
		{"own static word", dynamic(l, "ppp-192-0-2-1.standleitung.example.net"), false},
		{"word of another class", dynamic(l, "dsl-192-0-2-1.ppp.example.net"), false},
		{"default word", dynamic(d, "dsl-192-0-2-1.ppp.example.net"), true},
		{"own TLD", reserved(l, "mail.office"), true},
		{"own suffix", reserved(l, "mail.branch.example.net"), true},
		{"beside own suffix", reserved(l, "mail.example.net"), false},
		{"taken out", reserved(l, "mail.example.local"), false},
		{"taken out below", reserved(l, "mx.good.corp"), false},
		{"beside taken out", reserved(l, "mx.bad.corp"), true},
		{"default unchanged", reserved(d, "mail.example.local"), true},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: %v", tc.what, tc.got)
		}
	}
}

// with returns the built-in lists with ext.
func with(t *testing.T, ext Extension) *Lists {
	t.Helper()
	l, err := (*Lists)(nil).With(ext)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dynamic(l *Lists, name string) bool {
	_, ok := l.Dynamic(name, addr("192.0.2.1"))
	return ok
}

func defaultHost(l *Lists, name string) bool {
	_, ok := l.DefaultHost(name)
	return ok
}

func reserved(l *Lists, name string) bool {
	return l.Reserved(name) != ""
}

func TestExtensionErrors(t *testing.T) {
	names := []string{"example.com"}
	for _, tc := range []struct {
		ext  Extension
		want string
	}{
		{Extension{}, ""},
		{Extension{
			Providers:    []Provider{{Name: "p", Helo: names, PTR: names}},
			DynamicWords: []string{"DSL"}, StaticWords: []string{"fest"},
			ReservedTLDs: []string{".office"}, NotReserved: []string{"local."},
		}, ""},
		{Extension{Providers: []Provider{{Helo: names, PTR: names}}}, "needs a name"},
		{Extension{Providers: []Provider{{Name: "p", PTR: names}}}, "needs a name"},
		{Extension{Providers: []Provider{{Name: "p", Helo: names}}}, "needs a name"},
		{Extension{Providers: []Provider{{Name: "p", Helo: []string{"a b"}, PTR: names}}}, `"a b"`},
		{Extension{Providers: []Provider{{Name: "p", Helo: names, PTR: []string{""}}}}, `""`},
		{Extension{Providers: []Provider{{Name: "p", Helo: []string{"p.*"}, PTR: names}}}, `"p.*"`},
		{Extension{Providers: []Provider{{Name: "p", Helo: []string{"*"}, PTR: names}}}, `"*"`},
		{Extension{Providers: []Provider{{Name: "p", Helo: []string{"-"}, PTR: names}}}, `"-"`},
		{Extension{DynamicWords: []string{"no-word"}}, `"no-word"`},
		{Extension{ReservedTLDs: []string{".."}}, `"."`},
		{Extension{DynamicWords: []string{"dsl2"}}, `"dsl2"`},
		{Extension{StaticWords: []string{""}}, `""`},
		{Extension{ReservedTLDs: []string{"192.0.2.1"}}, `"192.0.2.1"`},
		{Extension{NotReserved: []string{"a..b"}}, `"a..b"`},
	} {
		_, err := DefaultLists().With(tc.ext)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%+v: %v", tc.ext, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%+v: error %v, want %s", tc.ext, err, tc.want)
		}
	}
}

// TestListsConcurrently is of use under the race detector.
func TestListsConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			l, err := DefaultLists().With(Extension{DynamicWords: []string{"einwahl"}})
			if err != nil || !reserved(nil, "mail.local") || !reserved(l, "mail.local") {
				t.Error("mail.local is not reserved")
			}
		}()
	}
	wg.Wait()
}

func TestProvider(t *testing.T) {
	for _, tc := range []struct {
		name, provider, ptr string
		owns                bool
	}{
		{"mail-lj1-x236.google.com", "google", "mail-lj1-x236.google.com", true},
		{"google.com", "google", "a.1e100.net", true},
		{"gmail.com", "google", "1.2.0.192.bc.googleusercontent.com", false},
		{"gmail.com", "google", "google.com.example.net", false},
		{"gmail.com", "google", "notgoogle.com", false},
		{"nam10-bn7-obe.outbound.protection.outlook.com", "microsoft",
			"mail-bn7nam10on2094.outbound.protection.outlook.com", true},
		{"hotmail.com", "microsoft", "192-0-2-1.dsl.example.net", false},
		{"sonic301-22.consmr.mail.gq1.yahoo.com", "yahoo", "sonic301-22.consmr.mail.gq1.yahoo.com",
			true},
		{"aol.com", "yahoo", "omr.mail.aol.com", true},
		{"outbound.ci.icloud.com", "apple", "ci-2006j-snip4-1.eps.apple.com", true},
		{"a11-17.smtp-out.amazonses.com", "amazon-ses", "a11-17.smtp-out.amazonses.com", true},
		{"amazonses.com", "amazon-ses", "ec2-192-0-2-1.compute-1.amazonaws.com", false},
		{"fallback17.mail.ru", "mail.ru", "fallback17.m.smailru.net", true},
		{"forwardcorp1p.mail.yandex.net", "yandex", "forwardcorp1p.mail.yandex.net", true},
		{"qq.com", "qq", "smtpbgau1.qq.com", true},
		{"m16.mail.163.com", "netease", "m15241.mail.126.com", true},
		{"mout.web.de", "gmx", "mout.gmx.net", true},
		{"mout.kundenserver.de", "gmx", "mout.kundenserver.de", true},
		{"mail-4323.proton.ch", "proton", "mail-24426.protonmail.ch", true},
		{"wnew4-smtp.messagingengine.com", "fastmail", "wnew4-smtp.messagingengine.com", true},
		{"sender4-op-o14.zoho.com", "zoho", "sender-op-o14.zoho.eu", true},
		{"s.wfbtzknp.outbound-mail.sendgrid.net", "sendgrid", "o1.sendgrid.net", true},
		{"so254-9.mailgun.net", "mailgun", "rs227.mailgun.us", true},
		{"mail72.sea31.mcsv.net", "mailchimp", "mail120.suw91.mcdlv.net", true},
		{"69-171-232-1.mail-mail.facebook.com", "facebook", "69-171-232-1.mail-mail.facebook.com",
			true},
		{"maile.linkedin.com", "linkedin", "maile.linkedin.com", true},
		{"mx8.slc.paypal.com", "paypal", "mx8.slc.paypal.com", true},
		// The mailboxes of an operator in another domain of its own.
		{"libero.it", "libero", "smtp-01.italiaonline.it", true},
		{"inwind.it", "libero", "smtp-01.italiaonline.it", true},
		{"virgilio.it", "virgilio", "smtp-01.italiaonline.it", true},
		{"cox.net", "cox", "sonic301.mail.yahoo.com", true},
		{"telenet.be", "telenet", "a.telenet-ops.be", true},
		{"chello.nl", "ziggo", "smtpq1.iss.as9143.net", true},
		{"ukr.net", "ukr.net", "frv1.fwdcdn.com", true},
		{"libero.it", "libero", "smtp-01.notitaliaonline.it", false},
		{"libero.it", "libero", "host1-2.isp.example", false},
		{"yahoo.co.nz", "yahoo", "mta1.mail.yahoo.com", true},
		{"yahoo.com.ar", "yahoo", "mx.yahoo.com.ar", true},
		{"yahoo.it", "yahoo", "192-0-2-1.dsl.example.net", false},
		{"yahoo.co.jp", "yahoo-japan", "mta1.mail.yahoo.com", false},
		{"mx.aol.de", "yahoo", "omr.mail.aol.com", true},
		{"vip.sina.com", "sina", "mail1.sina.com.cn", true},
		{"rr.com", "rr", "dsl1.rr.com", true},
		{"rr.com", "rr", "rr.com.example.net", false},
		{"gmx.notacountry", "", "", false},
		{"mygmx.at", "", "", false},
		{"gmx.example.at", "", "", false},
		{"notgoogle.com", "", "", false},
		{"google.com.example.net", "", "", false},
		{"com", "", "", false},
		{"", "", "", false},
	} {
		p := (*Lists)(nil).Provider(tc.name)
		if p == nil {
			if tc.provider != "" {
				t.Errorf("Provider(%q) = nil, want %s", tc.name, tc.provider)
			}
			continue
		}
		if p.Name != tc.provider || p.Owns(tc.ptr) != tc.owns {
			t.Errorf("Provider(%q) = %s, Owns(%q) = %v", tc.name, p.Name, tc.ptr, p.Owns(tc.ptr))
		}
	}
}

func TestProviderDomain(t *testing.T) {
	l := DefaultLists()
	for _, tc := range []struct {
		name           string
		domain, strong bool
	}{
		{"gmail.com", true, true},
		{"mail.gmail.com", false, true},
		{"outlook.com", true, true},
		{"office365.com", true, false},
		{"mail.office365.com", false, false},
		{"hotmail.co.uk", true, false},
		{"mail.hotmail.co.uk", false, false},
		{"yahoo.de", true, false},
		{"yahoo.com.br", true, false},
		{"yahoo.com", true, true},
		{"mta1.yahoo.com", false, true},
		{"comcast.net", true, false},
		{"dsl1.comcast.net", false, false},
		{"xs4all.nl", true, false},
		{"o1.sendgrid.net", false, false},
	} {
		p := l.Provider(tc.name)
		if p == nil || p.Domain(tc.name) != tc.domain || p.Strong != tc.strong {
			t.Errorf("Provider(%q) = %+v, want domain %v, strong %v", tc.name, p, tc.domain, tc.strong)
		}
	}
}

func TestFamily(t *testing.T) {
	for name, want := range map[string]string{
		"yahoo.de": "yahoo", "yahoo.co.uk": "yahoo", "yahoo.com.br": "yahoo",
		"mta1.yahoo.de": "yahoo", "a.mta1.yahoo.co.uk": "yahoo", "co.uk": "co",
		"yahoo.com": "", "yahoo.org.uk": "org", "yahoo.d1": "", "yahoo.c-": "", "yahoo.xco.uk": "xco",
		"de": "", ".de": "", ".co.uk": "", "": "",
	} {
		if got := TLD(withoutCountry(name)); got != want {
			t.Errorf("%q is of the family %q, want %q", name, got, want)
		}
		p := Provider{Helo: []string{"yahoo.*"}}
		bare := want == "yahoo" && name[:len(want)] == want
		if got := p.Domain(name); got != bare {
			t.Errorf("Domain(%q) = %v", name, got)
		}
	}
}
