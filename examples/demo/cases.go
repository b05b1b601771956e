package main

// The clients of the demo. None of them is the server's own address.
const (
	senderIP = "127.0.2.1"
	goodIP   = "127.0.2.2"
	otherIP  = "127.0.2.3"
	noPTRIP  = "127.0.2.4"
	accessIP = "127.0.2.9"

	outsideSender = "alice@example.net"
)

// greeting is one client of the demo and what must become of its mail.
type greeting struct {
	helo   string
	client string // address it comes from; "" is senderIP
	from   string // "" is outsideSender
	to     string // "" is userName
	login  bool   // logs in on the submission port
	note   string // what is special beside the name

	code int    // the reply that must come last
	rule string // the rule that must be in the log; "" for none
}

// greetings are the wrong names that postmasters' help pages warn of, and
// mail that must get through.
func greetings() []greeting {
	return []greeting{
		{helo: "foo.bar.local", code: 550, rule: "reserved_tld"},
		{helo: "rad.internal", code: 550, rule: "reserved_tld"},
		{helo: "localhost", code: 550, rule: "localhost"},
		{helo: "localhost.localdomain", code: 550, rule: "localhost"},
		{helo: "hostnameonly", code: 504, rule: "not_fqdn"},
		{helo: "192.168.1.1", code: 501, rule: "bare_ip"},
		{helo: senderIP, note: "its own address", code: 501, rule: "bare_ip"},
		{helo: "[192.168.1.1]", code: 550, rule: "literal_mismatch"},
		{helo: "[192.168.1.30]", code: 550, rule: "literal_mismatch"},
		{helo: "[" + senderIP + "]", note: "its own address", code: 550, rule: "address_literal"},
		{helo: ".com", code: 501, rule: "malformed"},
		{helo: "fake..com", code: 501, rule: "malformed"},
		{helo: "@(&$", code: 501, rule: "malformed"},
		{helo: "", note: "no name", code: 501},
		{helo: ourIP, note: "our address", code: 550, rule: "self_address"},
		{helo: "[" + ourIP + "]", note: "our address", code: 550, rule: "self_address"},
		{helo: "mx1.example.org", note: "our name", code: 550, rule: "self_name"},
		{helo: "example.org", note: "recipient's domain", code: 550, rule: "rcpt_domain"},
		{helo: "nosuch.example.net", note: "not in the DNS", code: 450, rule: "no_address"},
		{helo: "mail.example.net", client: goodIP, to: "carol@example.com", note: "relay, no login",
			code: 554},

		{helo: "mail.example.net", client: goodIP, code: 250},
		{helo: "MTA01.EXAMPLE.NET", client: otherIP, code: 250},
		{helo: "localhost", to: "postmaster@example.org", note: "to postmaster", code: 250},
		{helo: "laptop", from: userName, login: true, note: "logged in", code: 250},
		{helo: "laptop.local", from: userName, to: "carol@example.com", login: true,
			note: "relay, logged in", code: 250},
		{helo: "127-0-2-9.dyn.example.net", client: accessIP, note: "access line",
			code: 250, rule: "dynamic_name"},
		{helo: "noptr.example.net", client: noPTRIP, code: 250, rule: "no_ptr"},
		{helo: "inside.example.net", client: otherIP, note: "is 10.0.0.9", code: 250,
			rule: "private_address"},
	}
}

// quarantined and delivered count what must lie in the Junk folder and in the inbox.
const (
	quarantined = 3
	delivered   = 4
)

// complete fills in what a greeting leaves to the defaults.
func (g greeting) complete() greeting {
	for _, field := range []struct {
		value    *string
		fallback string
	}{
		{&g.client, senderIP}, {&g.from, outsideSender}, {&g.to, userName},
	} {
		if *field.value == "" {
			*field.value = field.fallback
		}
	}
	return g
}

// matches reports whether all came as it must.
func (g greeting) matches(o outcome) bool { return o.code == g.code && o.Rule == g.rule }
