package dnstest

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// Hook answers a question in its own way and reports true, or leaves it to
// the zone with false. It runs before all faults and delays.
type Hook func(w dns.ResponseWriter, q *dns.Msg) bool

// Server answers on one UDP and TCP port of 127.0.0.1 until its test ends.
type Server struct {
	Addr string // host:port

	mu      sync.RWMutex
	zone    *zone
	hook    Hook
	queries []string
	count   atomic.Int64
	delay   atomic.Int64 // nanoseconds
	fail    atomic.Value // mode, string
	quit    chan struct{}
}

// Serve starts a server for a text zone (see HeloZone for the form) and
// stops it when the test ends.
func Serve(tb testing.TB, text string) *Server {
	tb.Helper()
	z, err := parse(text)
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{zone: z, quit: make(chan struct{})}
	udp, tcp := listen(tb)
	s.Addr = udp.LocalAddr().String()
	servers := []*dns.Server{
		{PacketConn: udp, Handler: s},
		{Listener: tcp, Handler: s},
	}
	var wg sync.WaitGroup
	for _, srv := range servers {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		wg.Add(1)
		go func() {
			defer wg.Done()
			_ = srv.ActivateAndServe()
		}()
		<-started
	}
	tb.Cleanup(func() {
		close(s.quit)
		for _, srv := range servers {
			_ = srv.Shutdown()
		}
		wg.Wait()
	})
	return s
}

// listen finds a port that is free for both protocols.
func listen(tb testing.TB) (net.PacketConn, net.Listener) {
	tb.Helper()
	var last error
	for range 20 {
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			return udp, tcp
		}
		last = err
		_ = tcp.Close()
	}
	tb.Fatal(last)
	return nil, nil
}

// SetDelay makes every answer wait.
func (s *Server) SetDelay(d time.Duration) { s.delay.Store(int64(d)) }

// SetFail makes every answer SERVFAIL, REFUSED or (DROP) none; "" ends that.
func (s *Server) SetFail(mode string) { s.fail.Store(mode) }

// SetHook sets a function that sees every question first; nil removes it.
func (s *Server) SetHook(h Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = h
}

// Add adds lines to the zone while the server runs.
func (s *Server) Add(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range strings.Split(text, "\n") {
		if words := strings.Fields(line); len(words) > 0 {
			if err := s.zone.add(words); err != nil {
				return err
			}
		}
	}
	return nil
}

// Count returns the number of questions since the start or the last Reset.
func (s *Server) Count() int { return int(s.count.Load()) }

// Queries returns the questions since the start or the last Reset, as
// "mail.example.org. A", in the order of their arrival.
func (s *Server) Queries() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append([]string(nil), s.queries...)
}

// Reset forgets the questions so far.
func (s *Server) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = nil
	s.count.Store(0)
}

// maxLog bounds the query log, which a load test would let grow for ever.
const maxLog = 10000

func (s *Server) log(q dns.Question) Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count.Add(1)
	if len(s.queries) < maxLog {
		s.queries = append(s.queries, strings.ToLower(q.Name)+" "+dns.TypeToString[q.Qtype])
	}
	return s.hook
}

// ServeDNS implements dns.Handler.
func (s *Server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) != 1 {
		return
	}
	hook := s.log(q.Question[0])
	if hook != nil && hook(w, q) {
		return
	}
	trouble := s.troubled(q.Question[0].Name)
	mode, _ := s.fail.Load().(string)
	if mode == "" {
		mode = trouble.mode
	}
	if mode == "DROP" || !s.pause(time.Duration(s.delay.Load())+trouble.delay) {
		return
	}
	_ = w.WriteMsg(s.Answer(q, mode, w.RemoteAddr().Network()))
}

func (s *Server) troubled(name string) fault {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.zone.troubled(strings.ToLower(name))
}

// Mode returns how the zone says to answer questions about a name: SERVFAIL,
// REFUSED, DROP or "".
func (s *Server) Mode(name string) string {
	if mode := s.troubled(name).mode; mode != "DELAY" {
		return mode
	}
	return ""
}

// pause waits and reports whether the server still runs.
func (s *Server) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-s.quit:
		return false
	}
}

// Answer returns what the zone has for q, or the RCODE that mode names, cut to
// what the client takes when network is "udp". Hooks may use it.
func (s *Server) Answer(q *dns.Msg, mode, network string) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	if code, ok := dns.StringToRcode[mode]; ok {
		m.Rcode = code
		return m
	}
	s.mu.RLock()
	s.zone.answer(m)
	s.mu.RUnlock()
	if network == "udp" {
		size := uint16(dns.MinMsgSize)
		if opt := q.IsEdns0(); opt != nil {
			size = opt.UDPSize()
		}
		m.Truncate(int(size))
	}
	return m
}
