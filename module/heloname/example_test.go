package heloname_test

import (
	"fmt"
	"net/netip"

	"maddy.example/checkhelo/module/heloname"
)

func ExampleParse() {
	for _, arg := range []string{
		"MAIL.example.org.", "mail", "192.0.2.1", "0x7f.1", "[IPv6:2001:DB8::1]", "[127.1]", "a..b",
	} {
		n := heloname.Parse(arg)
		fmt.Printf("%s %q %v %q\n", n.Kind, n.ASCII, n.Addr.IsValid(), n.Problem)
	}
	// Output:
	// fqdn "mail.example.org" false ""
	// single_label "mail" false ""
	// bare_ip "" true ""
	// bare_ip "" true ""
	// literal "" true ""
	// bad_literal "" false "the text in its brackets is not an IP address"
	// malformed "" false "it has two dots in a row"
}

func ExampleClean() {
	fmt.Println(heloname.Clean("mail\r\n<b>", 64))
	fmt.Println(heloname.Clean("a-very-long-name.example.org", 16))
	// Output:
	// mail???b?
	// a-very-...le.org
}

func ExampleEmbedsAddr() {
	client := netip.MustParseAddr("192.0.2.1")
	fmt.Println(heloname.EmbedsAddr("dsl-192-0-2-1.example.net", client))
	fmt.Println(heloname.EmbedsAddr("dsl-192-0-2-10.example.net", client))
	// Output:
	// true
	// false
}

func ExampleLists_Dynamic() {
	evidence, ok := heloname.DefaultLists().Dynamic("1.2.0.192.dsl.example.net",
		netip.MustParseAddr("192.0.2.1"))
	fmt.Println(ok, evidence)
	// Output: true the client's address and dsl
}

func ExampleLists_With() {
	lists, err := heloname.DefaultLists().With(heloname.Extension{
		Providers: []heloname.Provider{{
			Name: "club", Helo: []string{"club.example"}, PTR: []string{"example.net"},
		}},
		ReservedTLDs: []string{"office"},
		NotReserved:  []string{"example"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lists.Provider("mx.club.example").Owns("mx1.example.net"))
	fmt.Printf("%q\n", lists.Reserved("mail.office"))
	fmt.Printf("%q\n", lists.Reserved("mx.club.example"))
	// Output:
	// true
	// "office"
	// ""
}

func ExampleSameOrg() {
	fmt.Println(heloname.SameOrg("mx.example.co.uk", "out.example.co.uk"))
	fmt.Println(heloname.SameOrg("mx.one.co.uk", "mx.two.co.uk"))
	// Output:
	// true
	// false
}

func ExampleLists_DefaultHost() {
	lists := heloname.DefaultLists()
	fmt.Println(lists.DefaultHost("vps-1234.example.org"))
	fmt.Println(lists.DefaultHost("mail.example.org"))
	// Output:
	// default name of a rented server true
	//  false
}

func ExampleProvider_Domain() {
	lists := heloname.DefaultLists()
	for _, name := range []string{"yahoo.co.uk", "mx.yahoo.co.uk"} {
		p := lists.Provider(name)
		fmt.Println(p.Name, p.Domain(name), p.Owns("mta1.mail.yahoo.com"))
	}
	// Output:
	// yahoo true true
	// yahoo false true
}

func ExampleRelated() {
	fmt.Println(heloname.Related("mail.example.org", "mx.example-hosting.net"))
	fmt.Println(heloname.Related("mail.example.org", "mail.isp.test"))
	// Output:
	// true
	// false
}
