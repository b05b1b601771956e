package dnsfacts

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	// udpSize is what we offer with EDNS0, in octets: it fits into any
	// path's unfragmented packet (DNS flag day 2020, RFC 9715).
	udpSize = 1232
	// readSize leaves room for servers that do not care.
	readSize = 4096
	// rounds: UDP loses packets, so that each server is asked twice.
	rounds = 2
	// resend bounds the wait before the next attempt: a lost packet must not cost a client seconds.
	resend = 500 * time.Millisecond
)

// Client asks recursive DNS servers. It may be used by many goroutines.
type Client struct {
	servers []server
	// prefer is the server that answered last, so that a dead one costs its
	// time-out once and not with every question.
	prefer atomic.Uint32
}

type server struct {
	addr  string
	local bool // on this host, so that nobody can have set the AD flag on the way
}

// NewClient returns a client of servers, each "host:port", asked in this order.
func NewClient(servers []string) *Client {
	c := &Client{servers: make([]server, 0, len(servers))}
	for _, s := range servers {
		c.servers = append(c.servers, server{addr: s, local: loopback(s)})
	}
	return c
}

func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// Exchange asks the one question of m and returns a whole answer with RCODE
// NOERROR or NXDOMAIN; all else is an *Error after every server had its turn.
// Each attempt has its own ID and port (RFC 5452) and an even share of the
// time that ctx leaves, which is DefaultTimeout when it has no deadline. The AD
// flag stays for servers on a loopback address only (RFC 6840, section 5.8).
// m is not changed.
func (c *Client) Exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	if len(m.Question) != 1 {
		return nil, &Error{Kind: KindMalformed, Err: errors.New("not one question")}
	}
	q := m.Question[0]
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	failure := &Error{Kind: KindNetwork, Err: errors.New("no DNS server is set")}
	answered := make([]bool, len(c.servers))
	first := int(c.prefer.Load())
	total := rounds * len(c.servers)
	for try := range total {
		i := (first + try) % len(c.servers)
		if answered[i] {
			continue
		}
		resp, err := c.attempt(ctx, m, i, total-try)
		if err == nil {
			c.prefer.Store(uint32(i)) //nolint:gosec // an index of a short list
			return resp, nil
		}
		failure = wrap(err, q.Name, q.Qtype)
		answered[i] = failure.Kind != KindTimeout
		if ctx.Err() != nil {
			break
		}
	}
	failure.Name, failure.Type = q.Name, q.Qtype
	return nil, failure
}

// attempt asks one server, over TCP too when the answer over UDP is cut.
func (c *Client) attempt(ctx context.Context, m *dns.Msg, i, left int) (*dns.Msg, error) {
	deadline, _ := ctx.Deadline()
	share := time.Until(deadline) / time.Duration(left)
	if left > 1 {
		share = min(share, resend)
	}
	ctx, cancel := context.WithTimeout(ctx, share)
	defer cancel()
	query := dns.Msg{MsgHdr: m.MsgHdr, Question: m.Question}
	query.RecursionDesired = true
	query.AuthenticatedData = true // asks for the flag back, RFC 6840, 5.7
	query.SetEdns0(udpSize, false)

	resp, err := c.once(ctx, &query, "udp", c.servers[i].addr)
	if err == nil && resp.Truncated {
		resp, err = c.once(ctx, &query, "tcp", c.servers[i].addr)
	}
	if err != nil {
		return nil, err
	}
	if resp.Truncated {
		return nil, &Error{Kind: KindMalformed, Err: errors.New("truncated over TCP")}
	}
	if resp.Rcode != dns.RcodeSuccess && resp.Rcode != dns.RcodeNameError {
		return nil, &Error{Kind: rcodeKind(resp.Rcode), Err: errors.New(dns.RcodeToString[resp.Rcode])}
	}
	resp.AuthenticatedData = resp.AuthenticatedData && c.servers[i].local
	return resp, nil
}

// once sends the query from a socket of its own and reads until the right
// answer or the end of the time.
func (c *Client) once(ctx context.Context, m *dns.Msg, network, addr string) (*dns.Msg, error) {
	m.Id = dns.Id()
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = nc.Close() }()
	deadline, _ := ctx.Deadline()
	_ = nc.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	co := &dns.Conn{Conn: nc, UDPSize: readSize}
	if err = co.WriteMsg(m); err != nil {
		return nil, err
	}
	buf := make([]byte, readSize)
	for {
		packet, err := readPacket(co, buf, network)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, err
		}
		resp, err := accept(packet, m)
		if err != nil || resp != nil {
			return resp, err
		}
	}
}

func readPacket(co *dns.Conn, buf []byte, network string) ([]byte, error) {
	if network == "tcp" {
		return co.ReadMsgHeader(nil)
	}
	n, err := co.Conn.Read(buf)
	return buf[:n], err
}

// accept reads a packet. Neither answer nor error: it is none to our question,
// but may be a forgery meant to make us give up (RFC 5452, section 9.1).
func accept(packet []byte, query *dns.Msg) (*dns.Msg, error) {
	if len(packet) < 2 || binary.BigEndian.Uint16(packet) != query.Id {
		return nil, nil
	}
	resp := new(dns.Msg)
	if err := resp.Unpack(packet); err != nil {
		// What does not fit is told apart from garbage by its TC flag.
		if resp.Truncated && resp.Response && sameQuestion(resp, query) {
			resp.Answer, resp.Ns, resp.Extra = nil, nil, nil
			return resp, nil
		}
		return nil, &Error{Kind: KindMalformed, Err: err}
	}
	if !resp.Response || resp.Opcode != dns.OpcodeQuery || !sameQuestion(resp, query) {
		return nil, nil
	}
	if !resp.Truncated && !whole(packet, resp) {
		return nil, &Error{Kind: KindMalformed, Err: errors.New("fewer records than counted")}
	}
	return resp, nil
}

// whole reports whether packet holds as many records as its header counts. The
// library takes one that ends between two of them for a shorter answer.
func whole(packet []byte, resp *dns.Msg) bool {
	for i, have := range []int{len(resp.Answer), len(resp.Ns), len(resp.Extra)} {
		const first = 6 // octet of the number of answers, RFC 1035, section 4.1.1
		if int(binary.BigEndian.Uint16(packet[first+2*i:])) != have {
			return false
		}
	}
	return true
}

// sameQuestion reports whether resp answers query. Some servers leave the
// question out of a refusal, which only sends us on to the next server.
func sameQuestion(resp, query *dns.Msg) bool {
	if len(resp.Question) == 0 {
		return resp.Rcode != dns.RcodeSuccess && resp.Rcode != dns.RcodeNameError
	}
	got, want := resp.Question[0], query.Question[0]
	return len(resp.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass &&
		strings.EqualFold(got.Name, want.Name)
}
