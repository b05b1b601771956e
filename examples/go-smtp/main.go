// Command go-smtp shows package checkhelo in a mail server of one's own, made
// with github.com/emersion/go-smtp and without Maddy. It takes messages for
// example.org on loopback and prints what became of them.
package main

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"strings"

	"github.com/emersion/go-smtp"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

func main() {
	server := newServer(func(to []string, junk bool, message []byte) {
		fmt.Printf("%d octets for %s, junk: %t\n", len(message), strings.Join(to, " "), junk)
	})
	server.Addr = "127.0.0.1:2525"
	log.Println("listening on", server.Addr)
	log.Fatal(server.ListenAndServe())
}

const (
	hostname = "mx1.example.org"
	domain   = "example.org"
)

// deliver takes a message that was not refused.
type deliver func(to []string, junk bool, message []byte)

func newServer(to deliver) *smtp.Server {
	// One policy serves all sessions: it does not change once it has judged.
	policy := checkhelo.NewPolicy(checkhelo.Strict)
	policy.Override = map[string]checkhelo.Rule{"reserved_tld": {Action: checkhelo.Quarantine}}
	policy.HelpURL = "https://www.example.org/helo"
	self := &checkhelo.Self{Names: []string{hostname, domain}}

	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		// go-smtp makes a new session at each greeting.
		return &session{policy: policy, deliver: to, facts: checkhelo.Facts{
			Helo:   heloname.Parse(c.Hostname()),
			Client: address(c.Conn().RemoteAddr()),
			Local:  address(c.Conn().LocalAddr()),
			Self:   self,
		}}, nil
	}))
	server.Domain = hostname
	return server
}

// session is what the server knows about one greeting.
type session struct {
	policy  *checkhelo.Policy
	deliver deliver
	facts   checkhelo.Facts

	to   []string
	junk bool
}

// Mail begins a message. The verdict falls at RCPT TO, where the recipient is known.
func (s *session) Mail(string, *smtp.MailOptions) error {
	s.Reset()
	return nil
}

// Rcpt judges the greeting for one recipient.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	local, at, _ := strings.Cut(to, "@")
	if !strings.EqualFold(at, domain) {
		return &smtp.SMTPError{
			Code: 554, EnhancedCode: smtp.EnhancedCode{5, 7, 1}, Message: "Relay access denied",
		}
	}
	// RFC 5321, 4.5.1: postmaster takes mail, so that a refused sender can ask why.
	if strings.EqualFold(local, "postmaster") {
		s.to = append(s.to, to)
		return nil
	}
	s.facts.Rcpt = strings.ToLower(at)
	switch v := s.policy.Evaluate(&s.facts); v.Action {
	case checkhelo.Reject:
		reply := s.policy.Reply(v, s.facts.Helo)
		return &smtp.SMTPError{
			Code: reply.Code, EnhancedCode: smtp.EnhancedCode(reply.Enhanced), Message: reply.Text,
		}
	case checkhelo.Quarantine:
		s.junk = true
	}
	s.to = append(s.to, to)
	return nil
}

// Data takes the message.
func (s *session) Data(r io.Reader) error {
	message, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.deliver(s.to, s.junk, message)
	return nil
}

// Reset forgets the message, not the greeting.
func (s *session) Reset() { s.to, s.junk = nil, false }

// Logout ends the session.
func (s *session) Logout() error { return nil }

func address(a net.Addr) netip.Addr {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
