// Command go-smtp shows package judge in a mail server of one's own, made with
// github.com/emersion/go-smtp and without Maddy. It takes messages for
// example.org on loopback and prints what became of them.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"

	"github.com/emersion/go-smtp"
	"github.com/miekg/dns"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/dnsfacts"
	"maddy.example/checkhelo/module/exempt"
	"maddy.example/checkhelo/module/judge"
)

func main() {
	resolvers, err := systemResolvers()
	if err != nil {
		log.Fatal(err)
	}
	server := newServer(resolvers, func(to []string, junk bool, message []byte) {
		fmt.Printf("%d octets for %s, junk: %t\n", len(message), strings.Join(to, " "), junk)
	})
	server.Addr = "127.0.0.1:2525"
	log.Println("listening on", server.Addr)
	log.Fatal(server.ListenAndServe())
}

// systemResolvers returns the DNS servers of /etc/resolv.conf.
func systemResolvers() (servers []string, err error) {
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, err
	}
	for _, host := range conf.Servers {
		servers = append(servers, net.JoinHostPort(host, conf.Port))
	}
	return servers, nil
}

const (
	hostname = "mx1.example.org"
	domain   = "example.org"
)

// deliver takes a message that was not refused.
type deliver func(to []string, junk bool, message []byte)

// newJudge makes the one judge that serves all sessions.
func newJudge(resolvers []string) *judge.Judge {
	// RFC 5321, 4.5.1: postmaster takes mail, so that a refused sender can ask why.
	postmaster, err := exempt.ParseRecipients([]string{"postmaster"})
	if err != nil {
		log.Fatal(err)
	}
	policy := checkhelo.NewPolicy(checkhelo.Strict)
	policy.HelpURL = "https://www.example.org/helo"
	policy.Override = map[string]checkhelo.Rule{
		"reserved_tld": {Action: checkhelo.Quarantine},
		"listed":       {Action: checkhelo.Off}, // no block list is set
		"neighbours":   {Action: checkhelo.Off}, // no memory is set
	}
	return &judge.Judge{
		Policy: policy,
		Self:   checkhelo.Self{Names: []string{hostname, domain}},
		Exempt: exempt.List{Recipients: postmaster},
		Gatherer: &dnsfacts.Gatherer{
			Exchange: dnsfacts.NewClient(resolvers).Exchange,
			Cache:    dnsfacts.NewCache(dnsfacts.DefaultCacheEntries),
		},
	}
}

func newServer(resolvers []string, to deliver) *smtp.Server {
	j := newJudge(resolvers)
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		// go-smtp makes a new session at each greeting.
		remote := address(c.Conn().RemoteAddr())
		greeting := j.Greet(context.Background(), judge.Conn{
			Helo: c.Hostname(), Client: remote.Addr(), Remote: remote,
			Local: address(c.Conn().LocalAddr()).Addr(),
		})
		return &session{judge: j, greeting: greeting, deliver: to}, nil
	}))
	server.Domain = hostname
	return server
}

// session is what the server knows about one greeting.
type session struct {
	judge    *judge.Judge
	greeting *judge.Session
	deliver  deliver

	message judge.Session // of the transaction at hand
	from    string
	to      []string
}

// Mail begins a message. The verdict falls at RCPT TO, where the recipient is known.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.Reset()
	s.from, s.message = from, s.greeting.Next()
	return nil
}

// Rcpt judges the greeting for one recipient.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if _, at, _ := strings.Cut(to, "@"); !strings.EqualFold(at, domain) {
		return &smtp.SMTPError{
			Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Relay access denied",
		}
	}
	o := s.message.Rcpt(context.Background(), "", s.from, to)
	if err := s.refusal(&o); err != nil {
		return err
	}
	s.to = append(s.to, to)
	return nil
}

// refusal is the reply to an outcome; nil where the client is accepted.
func (s *session) refusal(o *judge.Outcome) error {
	reply := s.judge.Reply(o)
	if reply.Code == 0 {
		return nil
	}
	return &smtp.SMTPError{
		Code: reply.Code, EnhancedCode: smtp.EnhancedCode(reply.Enhanced), Message: reply.Text,
	}
}

// Data takes the message.
func (s *session) Data(r io.Reader) error {
	message, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	o := s.message.Message(context.Background())
	if err := s.refusal(&o); err != nil {
		return err
	}
	s.deliver(s.to, o.Action == checkhelo.Quarantine, message)
	return nil
}

// Reset forgets the message, not the greeting.
func (s *session) Reset() { s.to, s.from = nil, "" }

// Logout ends the session.
func (s *session) Logout() error { return nil }

func address(a net.Addr) netip.AddrPort {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	addr := tcp.AddrPort()
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
