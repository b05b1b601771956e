package attack

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// Addresses. Each server asks on two: the check on one, Maddy itself on the other.
const (
	checkDNS   = "127.53.1.1"
	systemDNS  = "127.53.1.2"
	goodNet    = "127.77" // the i-th good client is goodNet.(i/256).(i%256)
	badNet     = "127.88"
	attackerIP = "127.66.0.1"
)

const (
	ordinary = 10 * time.Millisecond  // until an answer about a good or bad client
	slow     = 800 * time.Millisecond // until an address of the attacker
)

// resolver answers about good and bad clients in ordinary time. A name below far.example.org leads
// to many more at once; their addresses come slowly. Below dead.example.org there is no answer.
type resolver struct {
	asked   atomic.Int64 // by the check
	servers []*dns.Server
}

func newResolver() (*resolver, error) {
	r := &resolver{}
	for _, ip := range []string{checkDNS, systemDNS} {
		conn, err := net.ListenPacket("udp", net.JoinHostPort(ip, "53"))
		if err != nil {
			r.close()
			return nil, fmt.Errorf("attack: DNS: %w", err)
		}
		server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(
			func(w dns.ResponseWriter, q *dns.Msg) { r.answer(w, q, ip == checkDNS) })}
		r.servers = append(r.servers, server)
		up := make(chan struct{})
		server.NotifyStartedFunc = func() { close(up) }
		go func() { _ = server.ActivateAndServe() }() // ends with close
		<-up
	}
	return r, nil
}

func (r *resolver) close() {
	for _, server := range r.servers {
		_ = server.Shutdown()
	}
}

func (r *resolver) answer(w dns.ResponseWriter, q *dns.Msg, check bool) {
	if check {
		r.asked.Add(1)
	}
	if len(q.Question) != 1 {
		return
	}
	reply := new(dns.Msg).SetReply(q)
	reply.RecursionAvailable = true
	name := strings.ToLower(q.Question[0].Name)
	switch qtype := q.Question[0].Qtype; {
	case strings.HasSuffix(name, ".dead.example.org."):
		return
	case strings.HasSuffix(name, ".far.example.org."):
		if qtype == dns.TypeA || qtype == dns.TypeAAAA {
			time.Sleep(slow)
		}
	default:
		time.Sleep(ordinary)
	}
	for _, data := range records(name, dns.TypeToString[q.Question[0].Qtype]) {
		rr, err := dns.NewRR(name + " 60 IN " + data)
		if err != nil {
			panic(err) // a line of this file is wrong
		}
		reply.Answer = append(reply.Answer, rr)
	}
	if len(reply.Answer) == 0 {
		soa, err := dns.NewRR(". 60 IN SOA ns.example.org. hostmaster.example.org. 1 60 60 60 60")
		if err != nil {
			panic(err)
		}
		reply.Ns = append(reply.Ns, soa)
	}
	_ = w.WriteMsg(reply) // a client that is gone needs no answer
}

// records returns the records of a name, each from its type on.
func records(name, qtype string) []string {
	label, zone, _ := strings.Cut(name, ".")
	switch {
	case qtype == "PTR":
		return pointer(name)
	case zone == "far.example.org.":
		return far(label, qtype)
	case qtype == "A" && name == "attacker.example.org.":
		return []string{"A " + attackerIP}
	}
	word, i, err := client(label)
	switch {
	case err == nil && qtype == "A":
		return []string{fmt.Sprintf("A %s.%d.%d", map[string]string{"good": goodNet, "bad": badNet}[word],
			i/256, i%256)}
	case err == nil && qtype == "TXT": // two steps, as many senders have them
		return []string{`TXT "v=spf1 include:spf.` + name + ` -all"`}
	case label == "spf" && qtype == "TXT" && strings.HasPrefix(zone, "good"):
		return []string{`TXT "v=spf1 ip4:` + goodNet + `.0.0/16 -all"`}
	case label == "spf" && qtype == "TXT":
		return []string{`TXT "v=spf1 ip4:192.0.2.0/24 -all"`}
	}
	return nil
}

// client takes the label of a good or bad client apart.
func client(label string) (word string, i int, err error) {
	word = strings.TrimRight(label, "0123456789")
	if word != "good" && word != "bad" {
		return "", 0, errors.New("no client")
	}
	i, err = strconv.Atoi(label[len(word):])
	return word, i, err
}

func pointer(name string) []string {
	var d, c, b, a int
	if _, err := fmt.Sscanf(name, "%d.%d.%d.%d.in-addr.arpa.", &d, &c, &b, &a); err != nil {
		return nil
	}
	switch fmt.Sprintf("%d.%d", a, b) {
	case goodNet:
		return []string{fmt.Sprintf("PTR good%d.example.net.", 256*c+d)}
	case badNet:
		return []string{fmt.Sprintf("PTR bad%d.example.net.", 256*c+d)}
	default:
		return []string{"PTR attacker.example.org."}
	}
}

// far leads as far as RFC 7208, section 4.6.4 lets an SPF record: ten mechanisms, each of which has
// ten hosts more. Half of the hosts never answer.
func far(label, qtype string) (data []string) {
	switch qtype {
	case "TXT":
		for i := range 10 {
			data = append(data, fmt.Sprintf("mx:m%d-%s.far.example.org", i, label))
		}
		return []string{`TXT "v=spf1 ` + strings.Join(data, " ") + ` -all"`}
	case "MX":
		for i := range 10 {
			zone := []string{"far", "dead"}[i%2]
			data = append(data, fmt.Sprintf("MX 10 h%d-%s.%s.example.org.", i, label, zone))
		}
		return data
	case "A":
		return []string{"A 192.0.2.1"}
	}
	return nil
}
