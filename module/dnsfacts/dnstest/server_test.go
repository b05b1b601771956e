package dnstest

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func ask(t *testing.T, s *Server, network, name string, qtype uint16) (*dns.Msg, error) {
	t.Helper()
	c := dns.Client{Net: network, Timeout: 300 * time.Millisecond}
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	resp, _, err := c.Exchange(m, s.Addr)
	return resp, err
}

func TestServeHeloZone(t *testing.T) {
	s := Serve(t, HeloZone)
	tests := []struct {
		name  string
		qtype uint16
		rcode int
		want  string // data of all answers
	}{
		{"mta01.yourcompany.com.", dns.TypeA, dns.RcodeSuccess, "127.0.2.1"},
		{"MTA01.YourCompany.com.", dns.TypeA, dns.RcodeSuccess, "127.0.2.1"},
		{"mta01.yourcompany.com.", dns.TypeAAAA, dns.RcodeSuccess, ""},
		{"yourcompany.com.", dns.TypeMX, dns.RcodeSuccess, "10 mta01.yourcompany.com."},
		{"com.", dns.TypeNS, dns.RcodeSuccess, ""},
		{"notatld.", dns.TypeNS, dns.RcodeNameError, ""},
		{"nosuch.sender-bench.com.", dns.TypeA, dns.RcodeNameError, ""},
		{"cname.sender-bench.com.", dns.TypeA, dns.RcodeSuccess, "mta01.yourcompany.com. 127.0.2.1"},
		{"cnamedead.sender-bench.com.", dns.TypeA, dns.RcodeNameError, "nosuch.sender-bench.com."},
		{"1.2.0.127.in-addr.arpa.", dns.TypePTR, dns.RcodeSuccess, "mta01.yourcompany.com."},
		{"3.2.0.127.in-addr.arpa.", dns.TypePTR, dns.RcodeNameError, ""},
		{"nullspf.sender-bench.com.", dns.TypeTXT, dns.RcodeSuccess, `"v=spf1 -all"`},
		{"-leading.sender-bench.com.", dns.TypeA, dns.RcodeSuccess, "127.0.2.1"},
		{"mail.servfail-bench.org.", dns.TypeA, dns.RcodeServerFailure, ""},
		{"refused-bench.org.", dns.TypeA, dns.RcodeRefused, ""},
	}
	for _, tt := range tests {
		for _, network := range []string{"udp", "tcp"} {
			m, err := ask(t, s, network, tt.name, tt.qtype)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			var data []string
			for _, rr := range m.Answer {
				data = append(data, strings.TrimPrefix(rr.String(), rr.Header().String()))
			}
			if got := strings.Join(data, " "); got != tt.want || m.Rcode != tt.rcode {
				t.Errorf("%s %s: %q %d, want %q %d", network, tt.name, got, m.Rcode, tt.want, tt.rcode)
			}
		}
	}
	if _, err := ask(t, s, "udp", "a.timeout-bench.org.", dns.TypeA); err == nil {
		t.Error("DROP answers")
	}
}

func TestServeSwitches(t *testing.T) {
	s := Serve(t, "a.example A 192.0.2.1\nslow.example A 192.0.2.2\nslow.example DELAY 100ms # late\n")
	took := func(name string) time.Duration {
		begun := time.Now()
		if _, err := ask(t, s, "udp", name, dns.TypeA); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		return time.Since(begun)
	}
	if d := took("slow.example."); d < 100*time.Millisecond {
		t.Errorf("DELAY 100ms took %v", d)
	}
	s.SetDelay(50 * time.Millisecond)
	if d := took("a.example."); d < 50*time.Millisecond {
		t.Errorf("SetDelay took %v", d)
	}
	s.SetDelay(0)
	want := []string{"slow.example. A", "a.example. A"}
	if got := s.Queries(); !slices.Equal(got, want) || s.Count() != 2 {
		t.Errorf("queries %v, want %v", got, want)
	}
	if s.Reset(); s.Count() != 0 || len(s.Queries()) != 0 {
		t.Error("Reset leaves queries")
	}
	s.SetFail("REFUSED")
	if m, err := ask(t, s, "udp", "a.example.", dns.TypeA); err != nil || m.Rcode != dns.RcodeRefused {
		t.Errorf("SetFail: %v, %v", m, err)
	}
	s.SetFail("")
	if err := s.Add("b.example AAAA 2001:db8::1\n\nlong.example TXT " + strings.Repeat("x ", 900)); err != nil {
		t.Error(err)
	}
	if m, err := ask(t, s, "udp", "b.example.", dns.TypeAAAA); err != nil || len(m.Answer) != 1 {
		t.Errorf("Add: %v, %v", m, err)
	}
	if m, err := ask(t, s, "udp", "long.example.", dns.TypeTXT); err != nil || !m.Truncated {
		t.Errorf("a long answer over UDP: %v, %v", m, err)
	}
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		m := s.Answer(q, "NOTIMP", w.RemoteAddr().Network())
		return w.WriteMsg(m) == nil
	})
	if m, err := ask(t, s, "tcp", "a.example.", dns.TypeA); err != nil || m.Rcode != dns.RcodeNotImplemented {
		t.Errorf("SetHook: %v, %v", m, err)
	}
}

func TestParseErrors(t *testing.T) {
	for _, line := range []string{
		"a.example", "a.example A", "a.example A x", "a.example FOO 1", "ptr x a.example",
		"a.example DELAY soon", "a.example MX many hosts",
	} {
		if _, err := parse("# comment\n" + line); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: %v, want an error with its line", line, err)
		}
	}
}

func TestServeStops(t *testing.T) {
	var addr string
	t.Run("serve", func(t *testing.T) { addr = Serve(t, "").Addr })
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	_ = l.Close()
}
