package dnsfacts

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

const faultTimeout = 300 * time.Millisecond

// spoiled is one look-up to spoil: a question and the facts that rest on it.
type spoiled struct {
	name  string // as asked, with final dot
	qtype uint16
	facts string // names of stateList, separated by spaces
}

var spoilable = []spoiled{
	{"mail.example.org.", dns.TypeA, "forward confirmed spf"},
	{"mail.example.org.", dns.TypeAAAA, "forward"},
	{"mail.example.org.", dns.TypeMX, "mx"},
	{"mail.example.org.", dns.TypeTXT, "spf"},
	{"25.2.0.192.in-addr.arpa.", dns.TypePTR, "ptr confirmed"},
	{"77.2.0.192.in-addr.arpa.", dns.TypePTR, "ptr confirmed"},
	{"org.", dns.TypeNS, "tld"},
	{"mail.example.org.dbl.example.", dns.TypeA, "listed"},
}

// faultCase is one way to spoil a look-up. Broken ones tell nothing about the name: no verdict may get harsher.
// the others are answers, which may say what they like but must stay bounded.
type faultCase struct {
	broken bool
	answer func(s *dnstest.Server, w dns.ResponseWriter, q *dns.Msg)
}

var faultCases = map[string]faultCase{
	"NXDOMAIN": {false, reply(func(m *dns.Msg) { m.Rcode = dns.RcodeNameError })},
	"NODATA":   {false, reply(func(*dns.Msg) {})},
	"SERVFAIL": {true, reply(func(m *dns.Msg) { m.Rcode = dns.RcodeServerFailure })},
	"REFUSED":  {true, reply(func(m *dns.Msg) { m.Rcode = dns.RcodeRefused })},
	"FORMERR":  {true, reply(func(m *dns.Msg) { m.Rcode, m.Question = dns.RcodeFormatError, nil })},
	"drop":     {true, func(*dnstest.Server, dns.ResponseWriter, *dns.Msg) {}},
	"late": {true, func(s *dnstest.Server, w dns.ResponseWriter, q *dns.Msg) {
		time.AfterFunc(2*faultTimeout, func() { _ = w.WriteMsg(s.Answer(q, "", "udp")) })
	}},
	"truncated everywhere": {true, reply(func(m *dns.Msg) { m.Truncated = true })},
	"truncated over UDP": {false, func(s *dnstest.Server, w dns.ResponseWriter, q *dns.Msg) {
		m := s.Answer(q, "", "udp")
		if w.RemoteAddr().Network() == "udp" {
			m.Truncated, m.Answer = true, nil
		}
		_ = w.WriteMsg(m)
	}},
	"wrong ID":       {true, reply(func(m *dns.Msg) { m.Id++ })},
	"wrong question": {true, reply(func(m *dns.Msg) { m.Question[0].Name = "elsewhere.example." })},
	"no response":    {true, reply(func(m *dns.Msg) { m.Response = false })},
	"garbage": {true, func(_ *dnstest.Server, w dns.ResponseWriter, q *dns.Msg) {
		_, _ = w.Write([]byte{byte(q.Id >> 8), byte(q.Id), 0x81, 0x80, 0, 1, 0, 9, 0, 0, 0, 0, 0xff})
	}},
	"cut after the question": {true, packed(func(packet []byte, m *dns.Msg) []byte {
		return packet[:(&dns.Msg{Question: m.Question}).Len()]
	})},
	"cut before the last record": {true, packed(func(packet []byte, _ *dns.Msg) []byte {
		packet[7]++ // says one answer more than there is
		return packet
	})},
	"referral": {true, reply(func(m *dns.Msg) { m.Ns = records(m, "NS", "ns.example.", 2) })},
	"CNAME loop": {true, reply(func(m *dns.Msg) {
		m.Answer = []dns.RR{
			alias2(m.Question[0].Name, "a.example."), alias2("a.example.", m.Question[0].Name),
		}
	})},
	"CNAME to itself": {true, reply(func(m *dns.Msg) {
		m.Answer = []dns.RR{alias2(m.Question[0].Name, m.Question[0].Name)}
	})},
	"CNAME without end": {true, reply(func(m *dns.Msg) {
		at := m.Question[0].Name
		for i := range 20 {
			next := fmt.Sprintf("c%d.example.", i)
			m.Answer = append(m.Answer, alias2(at, next))
			at = next
		}
	})},
	"4000 A":   {false, reply(func(m *dns.Msg) { m.Answer = manyA(m.Question[0].Name, 4000) })},
	"500 PTR":  {false, reply(func(m *dns.Msg) { m.Answer = records(m, "PTR", "p%d.example.net.", 500) })},
	"500 MX":   {false, reply(func(m *dns.Msg) { m.Answer = records(m, "MX", "1 p%d.example.net.", 500) })},
	"huge TXT": {false, reply(func(m *dns.Msg) { m.Answer = records(m, "TXT", strings.Repeat("x", 250), 200) })},
	"TTL 0":    {false, ttlOf(0)},
	"TTL 2^31": {false, ttlOf(1 << 31)},
}

// reply sends an empty answer that change has been at, over TCP when it is
// too long for UDP.
func reply(change func(*dns.Msg)) func(*dnstest.Server, dns.ResponseWriter, *dns.Msg) {
	return func(_ *dnstest.Server, w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(q)
		m.Compress = true
		change(m)
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp && m.Len() > udpSize {
			m.Truncated, m.Answer = true, nil
		}
		_ = w.WriteMsg(m)
	}
}

// packed sends the right answer as change has left it.
func packed(change func([]byte, *dns.Msg) []byte) func(
	*dnstest.Server, dns.ResponseWriter, *dns.Msg,
) {
	return func(s *dnstest.Server, w dns.ResponseWriter, q *dns.Msg) {
		m := s.Answer(q, "", "udp")
		if packet, err := m.Pack(); err == nil {
			_, _ = w.Write(change(packet, m))
		}
	}
}

func ttlOf(ttl uint32) func(*dnstest.Server, dns.ResponseWriter, *dns.Msg) {
	return func(s *dnstest.Server, w dns.ResponseWriter, q *dns.Msg) {
		m := s.Answer(q, "", "udp")
		for i, r := range m.Answer {
			m.Answer[i] = dns.Copy(r)
			m.Answer[i].Header().Ttl = ttl
		}
		_ = w.WriteMsg(m)
	}
}

func alias2(from, to string) dns.RR {
	return &dns.CNAME{
		Hdr:    dns.RR_Header{Name: from, Rrtype: dns.TypeCNAME, Class: dns.ClassINET, Ttl: 60},
		Target: to,
	}
}

func manyA(name string, n int) []dns.RR {
	list := make([]dns.RR, n)
	for i := range list {
		list[i] = &dns.A{
			Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60},
			A:   net.IPv4(198, 51, byte(i>>8), byte(i)),
		}
	}
	list[n-1].(*dns.A).A = net.ParseIP(goodClient) //nolint:forcetypeassert // made above
	return list
}

func records(m *dns.Msg, rrtype, data string, n int) []dns.RR {
	list := make([]dns.RR, 0, n)
	for i := range n {
		d := data
		if strings.Contains(d, "%d") {
			d = fmt.Sprintf(data, i)
		}
		if r, err := dns.NewRR(m.Question[0].Name + " 60 IN " + rrtype + " " + d); err == nil {
			list = append(list, r)
		}
	}
	return list
}

// TestFaultMatrix spoils one look-up at a time in every way, for a good client
// and for one that the rules speak against.
func TestFaultMatrix(t *testing.T) {
	strict := checkhelo.NewPolicy(checkhelo.Strict)
	base := make(map[string]checkhelo.Facts)
	g, _ := newGatherer(t, testZone)
	for _, client := range []string{goodClient, "192.0.2.77"} {
		base[client] = fill(t, g, "mail.example.org", client)
	}
	for fault, c := range faultCases {
		for _, at := range spoilable {
			t.Run(fault+"/"+dns.TypeToString[at.qtype]+" "+at.name, func(t *testing.T) {
				t.Parallel()
				var problem string
				for range 3 { // a busy machine may lose what nobody spoilt
					if problem = matrixCell(t, c, at, base, strict); problem == "" {
						return
					}
				}
				t.Error(problem)
			})
		}
	}
}

// matrixCell returns what is wrong with one cell of the matrix, for all clients of base.
func matrixCell(
	t *testing.T, c faultCase, at spoiled, base map[string]checkhelo.Facts, p *checkhelo.Policy,
) (problem string) {
	t.Helper()
	var wg sync.WaitGroup
	got := make(map[string]*checkhelo.Facts)
	for client := range base {
		wg.Add(1)
		got[client] = spoil(t, c, at, client, wg.Done)
	}
	wg.Wait()
	for client, f := range got {
		checkBounds(t, f)
		if good := base[client]; c.broken {
			problem += unbroken(f, &good, at) + harsher(p, &good, f)
		}
	}
	return problem
}

// spoil fills facts in the background from a server that spoils one look-up
// and calls done when it is through.
func spoil(t *testing.T, c faultCase, at spoiled, client string, done func()) *checkhelo.Facts {
	t.Helper()
	g, s := newGatherer(t, testZone)
	g.Timeout = faultTimeout
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		if !strings.EqualFold(q.Question[0].Name, at.name) || q.Question[0].Qtype != at.qtype {
			return false
		}
		c.answer(s, w, q)
		return true
	})
	f := factsOf("mail.example.org", client)
	go func() {
		defer done()
		begun := time.Now()
		fillAll(g, &f)
		if took := time.Since(begun); took > 2*faultTimeout+30*time.Second { // a loaded machine adds seconds
			t.Errorf("%s: took %v", client, took)
		}
	}()
	return &f
}

// harsher holds law 1: a failed look-up never makes a verdict harsher.
func harsher(p *checkhelo.Policy, good, f *checkhelo.Facts) string {
	was, is := p.Evaluate(good), p.Evaluate(f)
	if is.Action > was.Action || is.Score > was.Score {
		return fmt.Sprintf("%s: %v/%d was %v/%d\n", f.Client, is.Action, is.Score, was.Action, was.Score)
	}
	return ""
}

// unbroken allows the facts that rest on the spoiled look-up to be Failed
// or as good as before, and all others only to be as before.
func unbroken(f, good *checkhelo.Facts, at spoiled) (problem string) {
	was := stateList(good)
	for name, state := range stateList(f) {
		if state != was[name] && (state != failed || !strings.Contains(at.facts, name)) {
			problem += fmt.Sprintf("%s: %s is %v, was %v\n", f.Client, name, state, was[name])
		}
	}
	return problem
}

func checkBounds(t *testing.T, f *checkhelo.Facts) {
	t.Helper()
	if n := max(len(f.PTR.Value), len(f.Confirmed.Value)); n > maxPTR {
		t.Errorf("%d PTR names", n)
	}
	if n := len(f.MX.Value); n > maxMX {
		t.Errorf("%d MX hosts", n)
	}
	for name, state := range stateList(f) {
		if state == asked0 {
			t.Errorf("%s is not asked", name)
		}
	}
}

// What an answer says must come through, however large it is.
func TestFaultAnswers(t *testing.T) {
	tests := []struct {
		fault string
		at    spoiled
		check func(f *checkhelo.Facts) bool
	}{
		{"NXDOMAIN", spoilable[2], func(f *checkhelo.Facts) bool { return f.MX.State == absent }},
		{"NODATA", spoilable[2], func(f *checkhelo.Facts) bool { return f.MX.State == absent }},
		{"NXDOMAIN", spoilable[6], func(f *checkhelo.Facts) bool { return f.TLD.State == absent }},
		{"NODATA", spoilable[6], func(f *checkhelo.Facts) bool { return f.TLD.State == found }},
		{"NXDOMAIN", spoilable[4], func(f *checkhelo.Facts) bool {
			return f.PTR.State == absent && f.Confirmed.State == absent
		}},
		{"truncated over UDP", spoilable[2], func(f *checkhelo.Facts) bool { return len(f.MX.Value) == 2 }},
		{"4000 A", spoilable[0], func(f *checkhelo.Facts) bool { // the client is the last of them
			return slices.Contains(f.Forward.Value, f.Client) && f.Confirmed.State == found && f.SPF.Value == "pass"
		}},
		{"500 PTR", spoilable[4], func(f *checkhelo.Facts) bool { return len(f.PTR.Value) == maxPTR }},
		{"500 MX", spoilable[2], func(f *checkhelo.Facts) bool { return len(f.MX.Value) == maxMX }},
		{"huge TXT", spoilable[3], func(f *checkhelo.Facts) bool { return f.SPF.Value == "none" }},
		{"TTL 0", spoilable[0], func(f *checkhelo.Facts) bool { return f.Forward.State == found }},
		{"drop", spoilable[0], func(f *checkhelo.Facts) bool {
			return f.Forward.State == failed && f.SPF.State == failed
		}},
	}
	for _, tt := range tests {
		t.Run(tt.fault+"/"+tt.at.name, func(t *testing.T) {
			t.Parallel()
			var f *checkhelo.Facts
			for range 3 { // a busy machine may lose what nobody spoilt
				done := make(chan struct{})
				f = spoil(t, faultCases[tt.fault], tt.at, goodClient, func() { close(done) })
				if <-done; tt.check(f) {
					return
				}
			}
			t.Errorf("facts %+v", f)
		})
	}
}
