package dnsfacts

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

func query(name string, qtype uint16) *dns.Msg {
	return &dns.Msg{Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}}}
}

func TestClientNextServer(t *testing.T) {
	for _, mode := range []string{"SERVFAIL", "REFUSED", "DROP"} {
		t.Run(mode, func(t *testing.T) {
			bad, good := dnstest.Serve(t, testZone), dnstest.Serve(t, testZone)
			bad.SetFail(mode)
			c := NewClient([]string{bad.Addr, good.Addr})
			ctx, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond)
			defer cancel()
			for range 2 {
				resp, err := c.Exchange(ctx, query("mail.example.org.", dns.TypeA))
				if err != nil || len(resp.Answer) != 1 {
					t.Fatalf("%v, %v", resp, err)
				}
			}
			if n := bad.Count(); n != 1 {
				t.Errorf("the bad server was asked %d times, want 1: the one that answers comes first", n)
			}
		})
	}
}

func TestClientErrors(t *testing.T) {
	s := dnstest.Serve(t, testZone)
	unused, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := unused.LocalAddr().String()
	_ = unused.Close()
	tests := map[string]struct {
		servers []string
		mode    string
		want    string
	}{
		"servfail":     {[]string{s.Addr}, "SERVFAIL", KindServFail},
		"refused":      {[]string{s.Addr}, "REFUSED", KindRefused},
		"other rcode":  {[]string{s.Addr}, "NOTIMP", KindRcode},
		"silence":      {[]string{s.Addr}, "DROP", KindTimeout},
		"unreachable":  {[]string{closed}, "", KindNetwork},
		"no server":    {nil, "", KindNetwork},
		"no such port": {[]string{"127.0.0.1"}, "", KindNetwork},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s.SetFail(tt.mode)
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, err := NewClient(tt.servers).Exchange(ctx, query("mail.example.org.", dns.TypeA))
			var got *Error
			if !errors.As(err, &got) || got.Kind != tt.want || got.Name != "mail.example.org." {
				t.Errorf("%v, want kind %s", err, tt.want)
			}
		})
	}
}

func TestClientNotOneQuestion(t *testing.T) {
	_, err := NewClient([]string{"127.0.0.1:1"}).Exchange(t.Context(), new(dns.Msg))
	var got *Error
	if !errors.As(err, &got) || got.Kind != KindMalformed {
		t.Errorf("%v, want malformed", err)
	}
}

// A lost packet costs a retry, and a forged one before the right answer costs nothing.
func TestClientLossAndForgery(t *testing.T) {
	s := dnstest.Serve(t, testZone)
	var once sync.Once
	s.SetHook(func(dns.ResponseWriter, *dns.Msg) (lost bool) {
		once.Do(func() { lost = true })
		return lost
	})
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	c := NewClient([]string{s.Addr})
	if _, err := c.Exchange(ctx, query("mail.example.org.", dns.TypeA)); err != nil || s.Count() != 2 {
		t.Errorf("lost packet: %v after %d questions", err, s.Count())
	}

	s.Reset()
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		forged := s.Answer(q, "REFUSED", "udp")
		forged.Id++
		_ = w.WriteMsg(forged)
		forged = s.Answer(q, "REFUSED", "udp")
		forged.Question[0].Name = "elsewhere.example."
		_ = w.WriteMsg(forged)
		_, _ = w.Write([]byte{1})
		return false
	})
	resp, err := c.Exchange(t.Context(), query("mail.example.org.", dns.TypeA))
	if err != nil || len(resp.Answer) != 1 || s.Count() != 1 {
		t.Errorf("forgery: %v, %v after %d questions", resp, err, s.Count())
	}
}

// Every query has its own ID (RFC 5452), EDNS0, RD and AD. To a server elsewhere each
// has its own port too. Ports to a server on this host change after 256 questions and
// after 30 seconds.
func TestClientQuery(t *testing.T) {
	s := dnstest.Serve(t, testZone)
	ids, ports := make(map[uint16]bool), make(map[string]bool)
	var mu sync.Mutex
	s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
		mu.Lock()
		defer mu.Unlock()
		ids[q.Id], ports[w.RemoteAddr().String()] = true, true
		opt := q.IsEdns0()
		if opt == nil || opt.UDPSize() != udpSize || !q.RecursionDesired {
			t.Errorf("query %v", q)
		}
		return false
	})
	c := NewClient([]string{s.Addr})
	m := query("mail.example.org.", dns.TypeA)
	ask := func(n int) (ips, prts int) {
		t.Helper()
		mu.Lock()
		clear(ids)
		clear(ports)
		mu.Unlock()
		for range n {
			if _, err := c.Exchange(t.Context(), m); err != nil {
				t.Fatal(err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		return len(ids), len(ports)
	}
	const n = 2*socketUses + 1
	if ids, ports := ask(n); ids < n*9/10 || ports != 3 {
		t.Errorf("here: %d IDs and %d ports in %d queries", ids, ports, n)
	}
	old := <-c.servers[0].idle
	old.born = time.Now().Add(-socketLife)
	c.servers[0].idle <- old
	if _, ports := ask(2); ports != 1 || len(c.servers[0].idle) != 1 || <-c.servers[0].idle == old {
		t.Error("an old socket is used")
	}
	c.servers[0].local = false
	const few = 40
	if ids, ports := ask(few); ids < few-2 || ports < few/2 {
		t.Errorf("elsewhere: %d IDs and %d ports in %d queries", ids, ports, few)
	}
	if m.Id != 0 || len(m.Extra) != 0 {
		t.Errorf("the caller's message was changed: %v", m)
	}
}

// A socket on which a question got no answer is closed: the late answer has no reader.
func TestClientDropsSocketsWithoutAnswer(t *testing.T) {
	s := dnstest.Serve(t, testZone)
	s.SetFail("DROP")
	c := NewClient([]string{s.Addr})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Exchange(ctx, query("mail.example.org.", dns.TypeA)); err == nil {
		t.Fatal("an answer from a silent server")
	}
	if n := len(c.servers[0].idle); n != 0 {
		t.Errorf("%d sockets are kept", n)
	}
}

// A server that rejects EDNS is asked without it, at once and for an hour (RFC 6891,
// section 7.2.2). A server that gives the same answer to both is not.
func TestClientWithoutEDNS(t *testing.T) {
	for _, mode := range []string{"FORMERR", "NOTIMP"} {
		s := dnstest.Serve(t, testZone)
		var with, without atomic.Int32
		var always atomic.Bool
		s.SetHook(func(w dns.ResponseWriter, q *dns.Msg) bool {
			if q.IsEdns0() == nil {
				without.Add(1)
				return always.Load() && w.WriteMsg(s.Answer(q, mode, "udp")) == nil
			}
			with.Add(1)
			return w.WriteMsg(s.Answer(q, mode, "udp")) == nil
		})
		c := NewClient([]string{s.Addr})
		for range 3 {
			resp, err := c.Exchange(t.Context(), query("mail.example.org.", dns.TypeA))
			if err != nil || len(resp.Answer) != 1 {
				t.Fatalf("%s: %v, %v", mode, resp, err)
			}
		}
		if with.Load() != 1 || without.Load() != 3 {
			t.Errorf("%s: %d questions with EDNS, %d without", mode, with.Load(), without.Load())
		}
		left := time.Until(time.Unix(0, c.servers[0].plain.Load()))
		if left < plainFor-time.Minute || left > plainFor {
			t.Errorf("%s: remembered for %v", mode, left)
		}
		c.servers[0].plain.Store(time.Now().UnixNano())
		if _, err := c.Exchange(t.Context(), query("mail.example.org.", dns.TypeA)); err != nil || with.Load() != 2 {
			t.Errorf("%s: %v after an hour, %d questions with EDNS", mode, err, with.Load())
		}
		always.Store(true)
		c = NewClient([]string{s.Addr})
		_, err := c.Exchange(t.Context(), query("mail.example.org.", dns.TypeA))
		if err == nil || c.servers[0].plain.Load() != 0 {
			t.Errorf("%s: %v from a server that rejects everything", mode, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:53": true, "[::1]:53": true, "[::ffff:127.0.0.1]:53": true,
		"192.0.2.53:53": false, "localhost:53": false, "127.0.0.1": false, "": false,
	} {
		if got := NewClient([]string{addr}).servers[0].local; got != want {
			t.Errorf("%q is on this host: %v", addr, got)
		}
	}
}

func TestErrorText(t *testing.T) {
	cause := errors.New("cause")
	err := &Error{Kind: KindTimeout, Name: "a\r\nb", Type: dns.TypeMX, Err: cause}
	if want := "dnsfacts: timeout looking up a??b MX: cause"; err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	if !errors.Is(err, cause) {
		t.Error("the cause is not wrapped")
	}
}

// No beginning of a packet is taken for an answer, wherever it is cut.
func TestCutPackets(t *testing.T) {
	s := dnstest.Serve(t, testZone)
	for name, qtype := range map[string]uint16{
		"mail.example.org.": dns.TypeMX, "MAIL.example.org.": dns.TypeTXT,
		"78.2.0.192.in-addr.arpa.": dns.TypePTR, "nosuch.example.org.": dns.TypeA,
	} {
		q := query(name, qtype)
		m := s.Answer(q, "", "tcp")
		soa, err := dns.NewRR("example.org. 60 IN SOA ns.example.org. root.example.org. 1 2 3 4 5")
		if err != nil {
			t.Fatal(err)
		}
		m.Ns = append(m.Ns, soa)
		m.SetEdns0(udpSize, false)
		for _, m.Compress = range []bool{false, true} {
			packet, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			if resp, err := accept(packet, q); resp == nil || err != nil {
				t.Errorf("%s: the whole packet: %v, %v", name, resp, err)
			}
			for n := range packet {
				if resp, _ := accept(packet[:n], q); resp != nil {
					t.Errorf("%s: %d of %d octets: %v", name, n, len(packet), resp)
				}
			}
		}
	}
}
