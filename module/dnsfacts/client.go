package dnsfacts

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is the UDP payload size that we send with EDNS0, in octets. Packets of
	// this size are not fragmented on common paths (DNS flag day 2020, RFC 9715).
	udpSize  = 1232
	readSize = 4096 // octets; larger, since some servers ignore udpSize
	rounds   = 2    // attempts per server, since UDP can lose packets
	// resend bounds the wait before the next attempt: a lost packet must not cost a client seconds.
	resend   = 500 * time.Millisecond
	plainFor = time.Hour // how long a server that rejects EDNS is queried without it
)

// Sockets to resolvers on this host are reused. To other resolvers each query has a
// new random source port, which an off-path attacker must guess (RFC 5452).
const (
	socketUses = 256 // queries per socket
	socketLife = 30 * time.Second
	socketIdle = 32 // idle sockets kept per server
)

// Client asks recursive DNS servers. It may be used by many goroutines.
type Client struct {
	servers []*server
	// prefer is the index of the server that answered last. So a dead server
	// costs one timeout, not one for each query.
	prefer atomic.Uint32
}

type server struct {
	addr  string
	local bool         // on this host
	plain atomic.Int64 // no EDNS before this Unix time in nanoseconds
	idle  chan *socket
}

// socket is a connection to a server. Over UDP its local port is random. It
// carries one query at a time.
type socket struct {
	dns.Conn
	born time.Time
	uses int
}

// NewClient returns a client of servers, each "host:port", asked in this order.
func NewClient(servers []string) *Client {
	c := &Client{}
	for _, s := range servers {
		addr, err := netip.ParseAddrPort(s)
		local := err == nil && addr.Addr().Unmap().IsLoopback()
		idle := make(chan *socket, socketIdle)
		c.servers = append(c.servers, &server{addr: s, local: local, idle: idle})
	}
	return c
}

var errNoServer = fault(KindNetwork, "no DNS server is set")

// Exchange sends the single question of m and returns a complete response with RCODE NOERROR or
// NXDOMAIN. If no server gives one, it returns an *Error. Each attempt uses a new random ID (RFC
// 5452). The attempts divide the time left in ctx, or DefaultTimeout if ctx has no deadline. m is
// not changed.
func (c *Client) Exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	if len(m.Question) != 1 {
		return nil, fault(KindMalformed, "not one question")
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(DefaultTimeout)
	}
	var last error = errNoServer
	answered := make([]bool, len(c.servers))
	first := int(c.prefer.Load())
	total := rounds * len(c.servers)
	for try := range total {
		i := (first + try) % len(c.servers)
		if answered[i] {
			continue
		}
		share := time.Until(deadline) / time.Duration(total-try)
		if try < total-1 {
			share = min(share, resend)
		}
		resp, err := c.servers[i].ask(ctx, m, time.Now().Add(share))
		if err == nil {
			c.prefer.Store(uint32(i)) //nolint:gosec // an index of a short list
			return resp, nil
		}
		last = err
		answered[i] = wrap(err, key{}).Kind != KindTimeout
		if ctx.Err() != nil {
			break
		}
	}
	return nil, wrap(last, key{name: m.Question[0].Name, qtype: m.Question[0].Qtype})
}

// ask queries the server over UDP. It retries over TCP if the response is truncated,
// and without EDNS if the server rejects EDNS (RFC 6891, section 7.2.2).
func (s *server) ask(ctx context.Context, m *dns.Msg, deadline time.Time) (*dns.Msg, error) {
	query := &dns.Msg{MsgHdr: m.MsgHdr, Question: m.Question}
	query.RecursionDesired = true
	plain := time.Now().UnixNano() < s.plain.Load()
	if !plain {
		query.SetEdns0(udpSize, false)
	}
	resp, err := s.exchange(ctx, query, deadline)
	if err == nil && !plain &&
		(resp.Rcode == dns.RcodeFormatError || resp.Rcode == dns.RcodeNotImplemented) {
		query.Extra = nil
		was := resp.Rcode
		resp, err = s.exchange(ctx, query, deadline)
		if err == nil && resp.Rcode != was {
			s.plain.Store(time.Now().Add(plainFor).UnixNano())
		}
	}
	if err != nil {
		return nil, err
	}
	if resp.Rcode != dns.RcodeSuccess && resp.Rcode != dns.RcodeNameError {
		return nil, rcodeFailure(resp.Rcode)
	}
	return resp, nil
}

func (s *server) exchange(ctx context.Context, q *dns.Msg, deadline time.Time) (*dns.Msg, error) {
	sock, err := s.socket(ctx, deadline)
	if err != nil {
		return nil, err
	}
	resp, err := sock.once(ctx, q, deadline)
	s.keep(sock, err == nil && s.local)
	if err != nil || !resp.Truncated {
		return resp, err
	}
	if sock, err = s.dial(ctx, "tcp", deadline); err != nil {
		return nil, err
	}
	defer func() { _ = sock.Close() }()
	resp, err = sock.once(ctx, q, deadline)
	if err == nil && resp.Truncated {
		return nil, fault(KindMalformed, "truncated over TCP")
	}
	return resp, err
}

func (s *server) dial(ctx context.Context, network string, deadline time.Time) (*socket, error) {
	d := net.Dialer{Deadline: deadline}
	conn, err := d.DialContext(ctx, network, s.addr)
	if err != nil {
		return nil, err
	}
	return &socket{Conn: dns.Conn{Conn: conn}, born: time.Now()}, nil
}

// socket returns an idle UDP socket, or opens a new one.
func (s *server) socket(ctx context.Context, deadline time.Time) (*socket, error) {
	for {
		select {
		case kept := <-s.idle:
			if time.Since(kept.born) < socketLife {
				return kept, nil
			}
			_ = kept.Close()
		default:
			return s.dial(ctx, "udp", deadline)
		}
	}
}

// keep stores sock for reuse if again is true and there is room. Otherwise it closes sock.
func (s *server) keep(sock *socket, again bool) {
	if sock.uses++; again && sock.uses < socketUses {
		select {
		case s.idle <- sock:
			return
		default:
		}
	}
	_ = sock.Close()
}

var buffers = sync.Pool{New: func() any { return new([readSize]byte) }}

// once sends q and reads packets until one answers it or the deadline passes. After an error
// the socket must not be used again.
func (s *socket) once(
	ctx context.Context, q *dns.Msg, deadline time.Time,
) (resp *dns.Msg, err error) {
	pooled := buffers.Get().(*[readSize]byte) //nolint:forcetypeassert // of New
	defer buffers.Put(pooled)
	buf := pooled[:]
	q.Id = dns.Id()
	packet, err := q.PackBuffer(buf)
	if err != nil {
		return nil, fault(KindMalformed, err.Error())
	}
	if err = s.SetDeadline(deadline); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() {
			resp, err = nil, ctx.Err()
		}
	}()
	if _, err = s.Write(packet); err != nil {
		return nil, err
	}
	if s.RemoteAddr().Network() == "tcp" {
		buf = make([]byte, dns.MaxMsgSize)
	}
	for resp == nil && err == nil {
		var n int
		if n, err = s.Read(buf); err == nil {
			resp, err = accept(buf[:n], q)
		}
	}
	return resp, err
}

// accept reads a packet. It returns nil, nil for one that does not answer our
// question: it may be forged, and the caller keeps reading (RFC 5452, section 9.1).
func accept(packet []byte, query *dns.Msg) (*dns.Msg, error) {
	if len(packet) < 2 || binary.BigEndian.Uint16(packet) != query.Id {
		return nil, nil
	}
	resp := new(dns.Msg)
	if err := resp.Unpack(packet); err != nil {
		// A truncated response may fail to unpack. The TC flag tells it from garbage.
		if resp.Truncated && resp.Response && sameQuestion(resp, query) {
			resp.Answer, resp.Ns, resp.Extra = nil, nil, nil
			return resp, nil
		}
		return nil, fault(KindMalformed, err.Error())
	}
	if !resp.Response || resp.Opcode != dns.OpcodeQuery || !sameQuestion(resp, query) {
		return nil, nil
	}
	if !resp.Truncated && !whole(packet, resp) {
		return nil, fault(KindMalformed, "fewer records than counted")
	}
	return resp, nil
}

// whole reports whether packet holds as many records as its header counts. The library
// reports no error for a packet that ends between two records.
func whole(packet []byte, resp *dns.Msg) bool {
	for i, have := range []int{len(resp.Answer), len(resp.Ns), len(resp.Extra)} {
		const first = 6 // offset of ANCOUNT, RFC 1035, section 4.1.1
		if int(binary.BigEndian.Uint16(packet[first+2*i:])) != have {
			return false
		}
	}
	return true
}

// sameQuestion reports whether resp answers query. Some servers omit the question from an
// error response. Accepting such a response only makes us try the next server.
func sameQuestion(resp, query *dns.Msg) bool {
	if len(resp.Question) == 0 {
		return resp.Rcode != dns.RcodeSuccess && resp.Rcode != dns.RcodeNameError
	}
	got, want := resp.Question[0], query.Question[0]
	return len(resp.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass &&
		strings.EqualFold(got.Name, want.Name)
}
