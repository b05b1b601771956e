package record

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
)

// resolver answers for the good clients; every other name does not exist.
type resolver struct {
	address string
	broken  atomic.Bool // answers SERVFAIL to everything
	records map[string]string
	server  *dns.Server
}

func newResolver(clients string) (*resolver, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("record: DNS: %w", err)
	}
	r := &resolver{address: conn.LocalAddr().String(), records: make(map[string]string)}
	octets := strings.Split(clients, ".")
	for host, name := range map[string]string{
		"7": "mail.example.net.", "8": "mx3.example.com.", "9": "out.example.com.",
	} {
		reverse := host + "." + octets[2] + "." + octets[1] + "." + octets[0] + ".in-addr.arpa."
		r.records[name+"A"] = name + " 5 IN A " + clients + "." + host
		r.records[reverse+"PTR"] = reverse + " 5 IN PTR " + name
	}
	r.server = &dns.Server{PacketConn: conn, Handler: r}
	go func() { _ = r.server.ActivateAndServe() }() // ends with close
	return r, nil
}

// ServeDNS implements dns.Handler.
func (r *resolver) ServeDNS(w dns.ResponseWriter, question *dns.Msg) {
	reply := new(dns.Msg).SetReply(question)
	q := question.Question[0]
	name := strings.ToLower(q.Name)
	line, ok := r.records[name+dns.TypeToString[q.Qtype]]
	record, err := dns.NewRR(line)
	switch {
	case r.broken.Load():
		reply.Rcode = dns.RcodeServerFailure
	case ok && err == nil:
		reply.Answer = append(reply.Answer, record)
	case r.records[name+"A"] == "" && r.records[name+"PTR"] == "":
		reply.Rcode = dns.RcodeNameError
	}
	_ = w.WriteMsg(reply) // a client that is gone needs no answer
}

func (r *resolver) close() { _ = r.server.Shutdown() }
