package heloname

import "testing"

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

func TestFamilyOf(t *testing.T) {
	for name, want := range map[string]string{
		"yahoo.de": "yahoo", "yahoo.co.uk": "yahoo", "yahoo.com.br": "yahoo",
		"mta1.yahoo.de": "yahoo", "a.mta1.yahoo.co.uk": "yahoo", "co.uk": "co",
		"yahoo.com": "", "yahoo.org.uk": "org", "yahoo.d1": "", "yahoo.c-": "", "yahoo.xco.uk": "xco",
		"de": "", ".de": "", ".co.uk": "", "": "",
	} {
		if got := familyOf(name); got != want {
			t.Errorf("familyOf(%q) = %q, want %q", name, got, want)
		}
		p := Provider{Helo: []string{"yahoo.*"}}
		bare := want == "yahoo" && name[:len(want)] == want
		if got := p.Domain(name); got != bare {
			t.Errorf("Domain(%q) = %v", name, got)
		}
	}
}
