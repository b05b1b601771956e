package heloname

import "testing"

func TestDynamic(t *testing.T) {
	const v6 = "2001:db8:0:1::25"
	for _, tc := range []struct{ name, client, evidence string }{
		// The address and a word.
		{"192-0-2-1.dyn.isp.example", "192.0.2.1", "the client's address and dyn"},
		{"adsl-192-0-2-1.example.net", "192.0.2.1", "the client's address and adsl"},
		{"pool192.0.2.1.example.net", "192.0.2.1", "the client's address and pool"},
		{"1.2.0.192.dialup.example.net", "192.0.2.1", "the client's address and dialup"},
		{"pc0000201.dip.example.net", "192.0.2.1", "the client's address and dip"},
		{"ip-192-0-2-1.customer.example.net", "192.0.2.1", "the client's address and customer"},
		{"2001-db8-0-1--25.dsl.example.net", v6, "the client's address and dsl"},
		{"192-0-2-1.cable.example.co.uk", "192.0.2.1", "the client's address and cable"},
		// The customer of a provider that also sells lines.
		{"dsl-192-0-2-1.rr.com", "192.0.2.1", "the client's address and dsl"},
		// A word next to numbers, whatever the address.
		{"dsl-65-188-25.example.net", "192.0.2.1", "dsl next to a number"},
		{"cpe013060001360.example.net", "192.0.2.1", "cpe next to a number"},
		{"12.34.ppp.example.net", "192.0.2.1", "ppp next to a number"},
		{"dhcp-44-201.example.net", "192.0.2.1", "dhcp next to a number"},

		// The address alone is what clouds and senders use.
		{"192-0-2-1.example.net", "192.0.2.1", ""},
		{"ip-192-0-2-1.example.net", "192.0.2.1", ""},
		{"192-0-2-1-host.example.net", "192.0.2.1", ""},
		{"ip1.ip-192-0-2.example.net", "192.0.2.1", ""},
		{"o192x0x2x1.example.net", "192.0.2.1", ""},
		{"a2-1.smtp-out.example.net", "192.0.2.1", ""},
		// Words of the organisation do not count.
		{"192-0-2-1.cable.com", "192.0.2.1", ""},
		{"192-0-2-1.dsl.co.uk", "192.0.2.1", ""},
		{"mail-192-0-2-1.home.pl", "192.0.2.1", ""},
		{"1.ip-192-0-2.eu", "192.0.2.1", ""},
		{"host12345.fiber.com", "192.0.2.1", ""},
		// Static, mail and provider names.
		{"static.192-0-2-1.clients.example.net", "192.0.2.1", ""},
		{"192-0-2-1.static.dsl.example.net", "192.0.2.1", ""},
		{"192-0-2-1.dsl.comcastbusiness.example", "192.0.2.1", ""},
		{"dsl-192-0-2-1.smtp.example.net", "192.0.2.1", ""},
		{"mail.dsl-192-0-2-1.example.net", "192.0.2.1", ""},
		{"mx1.dsl-192-0-2-1.example.net", "192.0.2.1", ""},
		{"mailout-192-0-2-1.pool.example.net", "192.0.2.1", ""},
		{"vps-192-0-2-1.client.example.net", "192.0.2.1", ""},
		{"out192-0-2-1.pool.qq.com", "192.0.2.1", ""},
		{"192-0-2-1.dyn.facebook.com", "192.0.2.1", ""},
		// The public suffix is nobody's word.
		{"dsl-192-0-2-1.example.mx", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.com.mx", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.email", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.gw", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.biz", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.news", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.cloud", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.hosting", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.post", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.exchange", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.business", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.delivery", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.example.br", "192.0.2.1", "the client's address and dsl"},
		{"dsl-192-0-2-1.mail.mx", "192.0.2.1", ""},
		{"dsl-192-0-2-1.mx.example.email", "192.0.2.1", ""},
		// Words inside words.
		{"192-0-2-1.stripped.example.net", "192.0.2.1", ""},
		{"192-0-2-1.dynamite.example.net", "192.0.2.1", ""},
		{"carpool12345.example.net", "192.0.2.1", ""},
		// Few digits, or not next to the word.
		{"dsl.example.net", "192.0.2.1", ""},
		{"dsl1.example.net", "192.0.2.1", ""},
		{"wifi24.example.net", "192.0.2.1", ""},
		{"dynamic2000.example.net", "192.0.2.1", ""},
		{"pool-1-2.example.net", "192.0.2.1", ""},
		{"dsl-a12345.example.net", "192.0.2.1", ""},
		{"host-44-201-12.example.net", "192.0.2.1", ""},
		{"163.com", "192.0.2.1", ""},
		{"1und1.de", "192.0.2.1", ""},
		{"", "192.0.2.1", ""},
	} {
		evidence, ok := (*Lists)(nil).Dynamic(tc.name, addr(tc.client))
		if evidence != tc.evidence || ok != (tc.evidence != "") {
			t.Errorf("Dynamic(%q, %s) = %q, %v, want %q",
				tc.name, tc.client, evidence, ok, tc.evidence)
		}
	}
}

func TestDefaultHost(t *testing.T) {
	for name, want := range map[string]string{
		"server1.example.com":         "default name of a rented server",
		"vps-12345678.example.com":    "default name of a rented server",
		"ubuntu.example.com":          "name of a system image",
		"debian12.example.com":        "name of a system image",
		"ubuntu-2gb-a-1.example.com":  "name of a system image",
		"win-aq9496e73vv.example.com": "name made by Windows set-up",
		"desktop-1a2b3c4.example.com": "name made by Windows set-up",
		"laptop-1a2b3c4d.example.com": "name made by Windows set-up",
		"ip-10-0-0-1.example.com":     "name made of an address",
		"ip-192-0-2-1.example.com":    "name made of an address",
		"ecs-42a4.example.com":        "name made by a cloud",
		"i-0a1b2c3d4e5f.example.com":  "name made by a cloud",
		"iz23ta32q5yxz.example.com":   "id or serial number",
		"a8f121480e1d.example.com":    "id or serial number",
		"12345.example.com":           "id or serial number",
		"hwsrv-1234567.example.com":   "id or serial number",
		"abc123456.example.com":       "id or serial number",
		"mail.plesk.page":             "default domain of rented machines",
		"a.b.plesk.page":              "default domain of rented machines",
		"plesk.page":                  "default domain of rented machines",
		"x.vps.ovh.net":               "default domain of rented machines",
		"ns1.ip-192-0-2.eu":           "default domain of rented machines",
		"ip-192-0-2.net":              "default domain of rented machines",

		"mail.example.com":           "",
		"mta01.yourcompany.com":      "",
		"server1.com":                "", // an organisational domain
		"12345.com":                  "",
		"vps.co.uk":                  "",
		"server":                     "",
		"12345":                      "",
		"":                           "",
		"servers.example.com":        "",
		"server-mail.example.com":    "",
		"server-123456789.test":      "",
		"vps--1.example.com":         "",
		"myserver1.example.com":      "",
		"debian_1.example.com":       "",
		"ubuntu-a_b.example.com":     "",
		"debian1a.example.com":       "",
		"win-mail.example.com":       "",
		"windows.example.com":        "",
		"desktop-1.example.com":      "",
		"ip-10-0-0.example.com":      "",
		"ip-10-0-0-1-1.example.com":  "",
		"ip-10-0-0-1000.example.com": "",
		"ip-10-0--1.example.com":     "",
		"ip10-0-0-1.example.com":     "",
		"i-0a1b2c3g.example.com":     "",
		"i-0a1b2c3.example.com":      "",
		"a8f121480e1.example.com":    "",
		"a8f121480e1g.example.com":   "",
		"1234.example.com":           "",
		"mail12345.example.com":      "",
		"mailout123456.example.com":  "",
		"izmailovskiy.example.com":   "",
		"iz23ta32q5yz.example.com":   "",
		"mail.server1.example.com":   "",
		"srv12.a.example.co.uk":      "default name of a rented server",
		"vps-123.example.com":        "default name of a rented server",
		"host.example.com":           "default name of a rented server",
		"v123456.example.com":        "id or serial number",
		// The word alone, or counted by its owner, is no default.
		"server.example.com":  "",
		"srv.a.example.co.uk": "",
		"server-.example.com": "",
		"vps.example.com":     "",
		"vps0.example.com":    "",
		"vm-12.example.com":   "",
		"node.example.com":    "",
		"node7.example.com":   "",
		// Numbered mail servers, and hosts of providers.
		"mail-123456.example.com":     "",
		"mx123456.example.com":        "",
		"out-1234567.example.com":     "",
		"smtp123456.example.com":      "",
		"mail-106102.protonmail.ch":   "",
		"m176115.mail.qiye.163.com":   "",
		"12345.mail.ru":               "",
		"notplesk.page":               "",
		"my.plesk.page.example.com":   "",
		"mail.vps.ovh.example":        "",
		"ns1.ip-192-0-2.org":          "",
		"ns1.ip-192-0-2000.eu":        "",
		"ns1.ip-192-0-2-1.eu":         "",
		"ns1.myip-192-0-2.eu":         "",
		"ip-192-0-2.mail.example.com": "",
	} {
		if got, ok := (*Lists)(nil).DefaultHost(name); got != want || ok != (want != "") {
			t.Errorf("DefaultHost(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
}
