// Package dnstest is a small recursive DNS server on loopback for tests. It
// answers from a text zone, can be slow, wrong or silent on demand, and
// counts what it is asked. It is not meant for anything but tests.
package dnstest

import (
	_ "embed" // the shared zone
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// HeloZone has the names of the HELO case table.
//
//go:embed testdata/helo-zone.txt
var HeloZone string

// ttl of all records, in seconds.
const ttl = 300

// zone is a parsed text zone. Names are lower-case and end in a dot.
type zone struct {
	records map[string][]dns.RR
	exists  map[string]bool // owners and all that lies above them
	trouble map[string]fault
}

// fault is what happens to a name and all below it.
type fault struct {
	mode  string // SERVFAIL, REFUSED, DROP, DELAY
	delay time.Duration
}

// parse reads lines of
//
//	NAME A|AAAA|CNAME|MX|TXT|NS|PTR DATA
//	ptr ADDRESS NAME
//	NAME SERVFAIL|REFUSED|DROP
//	NAME DELAY 50ms
//
// with comments after "#". TXT data is the rest of its line.
func parse(text string) (*zone, error) {
	z := &zone{
		records: make(map[string][]dns.RR),
		exists:  map[string]bool{".": true},
		trouble: make(map[string]fault),
	}
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		if err := z.add(strings.Fields(line)); err != nil {
			return nil, fmt.Errorf("dnstest: line %d: %w", i+1, err)
		}
	}
	return z, nil
}

func (z *zone) add(words []string) error {
	if len(words) == 3 && words[0] == "ptr" {
		reverse, err := dns.ReverseAddr(words[1])
		if err != nil {
			return err
		}
		words = []string{reverse, "PTR", words[2]}
	}
	if len(words) < 2 {
		return fmt.Errorf("%q is no record", words)
	}
	name := fqdn(words[0])
	switch mode := words[1]; {
	case mode == "SERVFAIL" || mode == "REFUSED" || mode == "DROP":
		z.trouble[name] = fault{mode: mode}
		return nil
	case mode == "DELAY" && len(words) == 3:
		d, err := time.ParseDuration(words[2])
		z.trouble[name] = fault{mode: mode, delay: d}
		return err
	}
	rr, err := record(name, words[1], words[2:])
	if err != nil {
		return err
	}
	z.records[name] = append(z.records[name], rr)
	for at := name; at != "."; at = parent(at) {
		z.exists[at] = true
	}
	return nil
}

func fqdn(name string) string { return strings.ToLower(dns.Fqdn(name)) }

func parent(name string) string {
	_, rest, _ := strings.Cut(name, ".")
	if rest == "" {
		return "."
	}
	return rest
}

func record(name, rrtype string, data []string) (dns.RR, error) {
	code, known := dns.StringToType[rrtype]
	if !known || len(data) == 0 {
		return nil, fmt.Errorf("%s %s %q is no record", name, rrtype, data)
	}
	h := dns.RR_Header{Name: name, Rrtype: code, Class: dns.ClassINET, Ttl: ttl}
	switch code {
	case dns.TypeA, dns.TypeAAAA:
		return address(h, data[0])
	case dns.TypeCNAME:
		return &dns.CNAME{Hdr: h, Target: fqdn(data[0])}, nil
	case dns.TypePTR:
		return &dns.PTR{Hdr: h, Ptr: dns.Fqdn(data[0])}, nil
	case dns.TypeTXT:
		return &dns.TXT{Hdr: h, Txt: chunks(strings.Join(data, " "))}, nil
	default: // the library's own syntax
		return dns.NewRR(fmt.Sprintf("%s %d IN %s %s", name, ttl, rrtype, strings.Join(data, " ")))
	}
}

func address(h dns.RR_Header, text string) (dns.RR, error) {
	ip := net.ParseIP(text)
	switch {
	case ip == nil:
		return nil, fmt.Errorf("%q is no address", text)
	case h.Rrtype == dns.TypeA:
		return &dns.A{Hdr: h, A: ip}, nil
	}
	return &dns.AAAA{Hdr: h, AAAA: ip}, nil
}

// chunks cuts a text into the character-strings of a TXT record, which hold
// 255 octets each (RFC 1035, section 3.3.14).
func chunks(s string) []string {
	const size = 255
	var list []string
	for len(s) > size {
		list = append(list, s[:size])
		s = s[size:]
	}
	return append(list, s)
}

// troubled returns the fault set for the nearest name at or above name.
func (z *zone) troubled(name string) fault {
	for at := name; ; at = parent(at) {
		if f, ok := z.trouble[at]; ok || at == "." {
			return f
		}
	}
}

// answer fills m as a recursive server would.
func (z *zone) answer(m *dns.Msg) {
	q := m.Question[0]
	name := strings.ToLower(q.Name)
	for range 16 {
		var cname *dns.CNAME
		for _, rr := range z.records[name] {
			if c, ok := rr.(*dns.CNAME); ok {
				cname = c
			}
			if rr.Header().Rrtype == q.Qtype || rr.Header().Rrtype == dns.TypeCNAME {
				m.Answer = append(m.Answer, rr)
			}
		}
		if cname == nil {
			break
		}
		name = fqdn(cname.Target)
	}
	if !z.exists[name] {
		m.Rcode = dns.RcodeNameError
	}
	if n := len(m.Answer); n == 0 || m.Answer[n-1].Header().Rrtype != q.Qtype {
		m.Ns = []dns.RR{&dns.SOA{
			Hdr: dns.RR_Header{Name: parent(name), Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: ttl},
			Ns:  "ns.example.", Mbox: "hostmaster.example.",
			Serial: 1, Refresh: ttl, Retry: ttl, Expire: ttl, Minttl: ttl,
		}}
	}
}
