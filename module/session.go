package module

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/foxcpp/maddy/framework/config"
	"github.com/foxcpp/maddy/framework/future"
	"github.com/foxcpp/maddy/framework/module"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/heloname"
)

// sessionKey names the data of one instance in a connection. Maddy's own key
// for an unnamed instance is a dump of the whole struct, so this stands in.
type sessionKey struct{ name string }

// Configure implements module.Module.
func (*sessionKey) Configure([]string, *config.Map) error { return nil }

// Name is unique to an instance.
func (k *sessionKey) Name() string { return k.name }

// InstanceName implements module.Module.
func (*sessionKey) InstanceName() string { return "" }

// session is what an instance knows about one greeting. A new greeting makes a new one.
type session struct {
	mu      sync.Mutex // messages of one session may be checked side by side in nested pipelines
	facts   checkhelo.Facts
	remote  netip.AddrPort    // the client's address and port
	pending *dnsfacts.Pending // nil: nothing is asked ahead
	rdns    *future.Future    // Maddy's own look-up of the client's PTR name; may be nil

	// What the operator's tables say holds for all recipients of a session.
	hostsAsked, exemptAsked bool
	exempt                  string // of exemptByProof; "" when it does not
}

// MarshalJSON keeps the session out of the queue's files, which hold all data of a connection.
func (*session) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// greeting parses what the client said; nil for what is not judged: local
// messages, LMTP, and whatever does not come over TCP.
func (c *Check) greeting(conn *module.ConnState) *session {
	if conn == nil || conn.Proto == "" || conn.Proto == "LMTP" {
		return nil
	}
	client := addrOf(conn.RemoteAddr)
	if !client.IsValid() {
		return nil
	}
	s := &session{rdns: conn.RDNSName}
	if tcp, ok := conn.RemoteAddr.(*net.TCPAddr); ok {
		s.remote = tcp.AddrPort()
	}
	c.greeted(&s.facts, conn.Hostname, client, addrOf(conn.LocalAddr))
	return s
}

// greeted sets what a greeting tells by itself. An address that is not valid is not known.
func (c *Check) greeted(f *checkhelo.Facts, helo string, client, local netip.Addr) {
	f.Helo = heloname.Parse(helo)
	f.Client, f.Local = client, local
	f.Self, f.Lists = &c.self, c.lists
}

// session returns the one that the early check left in the connection, or a
// new one where no early check runs: in source and destination blocks.
func (c *Check) session(conn *module.ConnState) *session {
	if conn == nil {
		return nil
	}
	if kept, ok := conn.ModData.Get(c.key, false).(*session); ok && kept != nil {
		return kept
	}
	s := c.greeting(conn)
	if s != nil {
		conn.ModData.Set(c.key, false, s)
	}
	return s
}

// outcome is a verdict and what may stand above it.
type outcome struct {
	checkhelo.Verdict
	exempt string // why the client passes all the same; "" when it does not
	unsure bool   // a look-up failed, and dns_error_action is tempfail
}

// judge returns the outcome for one recipient's domain, "" before RCPT TO.
func (c *Check) judge(ctx context.Context, s *session, rcpt string) (o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &s.facts
	f.Rcpt = rcpt
	c.askDenyNames(ctx, f)
	c.gather(ctx, s)
	if !s.hostsAsked {
		c.askDenyHosts(ctx, s.pending, f)
		s.hostsAsked = true
	}
	o.Verdict = c.policy.Evaluate(f)
	o.unsure = c.tempfail && o.Action < checkhelo.Reject && unsure(f)
	if o.Would < checkhelo.Score && !o.unsure {
		return o
	}
	if !s.exemptAsked {
		s.exempt, _ = c.exemptByProof(ctx, f)
		s.exemptAsked = true
	}
	if s.exempt != "" {
		return outcome{exempt: s.exempt}
	}
	return o
}

// exemptByProof asks the operator's tables and lists, once something speaks
// against the client. A name counts only with proof: anybody can say it.
func (c *Check) exemptByProof(ctx context.Context, f *checkhelo.Facts) (why string, ok bool) {
	if why, ok = c.tables.Conn(ctx, f.Client, f.Helo.ASCII, ""); ok {
		return why, true
	}
	if why, ok = c.tables.ClientName(ctx, f.Confirmed.Value); ok {
		return why, true
	}
	if _, why, ok = c.tables.Name(ctx, f.Helo.ASCII, owns(f)); ok {
		return why, true
	}
	return c.exemptByDNSWL(ctx, f)
}
