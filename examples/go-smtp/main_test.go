package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

func Example() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	// Without a DNS server every lookup fails, and a failed lookup refuses nobody.
	server := newServer(nil, func(to []string, junk bool, _ []byte) {
		fmt.Printf("  delivered to %s, junk: %t\n", strings.Join(to, " "), junk)
	})
	go func() { _ = server.Serve(listener) }()
	defer func() { _ = server.Close() }()

	for _, helo := range []string{"localhost", "192.0.2.1", "host.lan", "mail.example.net"} {
		fmt.Println("HELO " + helo)
		fmt.Println(send(listener.Addr().String(), "127.0.2.1", helo, "bob@example.org"))
	}
	// Output:
	// HELO localhost
	// 550 5.7.1 "localhost" is what every machine calls itself: a program or container on your machine says this
	// HELO 192.0.2.1
	// 501 5.5.2 "192.0.2.1" is an address where a host name belongs
	// HELO host.lan
	//   delivered to bob@example.org, junk: true
	// 250 2.0.0 OK: queued
	// HELO mail.example.net
	//   delivered to bob@example.org, junk: false
	// 250 2.0.0 OK: queued
}

const zone = `
mail.example.net A 127.0.2.1
ptr 127.0.2.1 mail.example.net
mx1.example.org A 127.0.0.1
`

func TestServer(t *testing.T) {
	delivered := make(chan []string, 1)
	server, address := start(t, func(to []string, _ bool, _ []byte) { delivered <- to })
	for name, test := range map[string]struct{ client, helo, to, reply string }{
		"relay":          {"127.0.2.1", "mail.example.net", "carol@example.com", "554 5.7.1 Relay"},
		"postmaster":     {"127.0.2.1", "localhost", "Postmaster@example.org", "250 "},
		"our name":       {"127.0.2.1", hostname, "bob@example.org", "550 5.7.1 \"mx1.example.org\""},
		"our name by us": {"127.0.0.1", hostname, "bob@example.org", "250 "},
		"our address":    {"127.0.2.1", "[127.0.0.1]", "bob@example.org", "550 5.7.1 \"[127.0.0.1]\""},
		"no address":     {"127.0.2.1", "other.example.net", "bob@example.org", "450 4.7.1"},
		"good":           {"127.0.2.1", "mail.example.net", "bob@example.org", "250 "},
		"malformed":      {"127.0.2.1", "fake..com", "bob@EXAMPLE.org", "501 5.5.2"},
	} {
		t.Run(name, func(t *testing.T) {
			got := send(address, test.client, test.helo, test.to)
			if !strings.HasPrefix(got, test.reply) {
				t.Fatalf("got %q, want %q", got, test.reply)
			}
			if strings.HasPrefix(got, "250") {
				if to := <-delivered; !slices.Equal(to, []string{test.to}) {
					t.Errorf("delivered to %q, want %q", to, test.to)
				}
			}
		})
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

func TestAddress(t *testing.T) {
	mapped := &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 25}
	if got := address(mapped); got != netip.MustParseAddrPort("192.0.2.1:25") {
		t.Errorf("got %v", got)
	}
	if got := address(&net.UnixAddr{Name: "/run/smtp"}); got.IsValid() {
		t.Errorf("a unix socket has the address %v", got)
	}
}

func start(t *testing.T, to deliver) (server *smtp.Server, address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server = newServer([]string{dnstest.Serve(t, zone).Addr}, to)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil && !errors.Is(err, smtp.ErrServerClosed) {
			t.Error(err)
		}
	})
	return server, listener.Addr().String()
}

// send lets a client deliver a message and returns the first sentence of the last reply.
func send(server, client, helo, to string) string {
	const limit = 3 * time.Minute
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}, Timeout: limit}
	tcp, err := dialer.Dial("tcp", server)
	if err != nil {
		return err.Error()
	}
	conn := textproto.NewConn(tcp)
	defer func() { _ = conn.Close() }()
	if err := tcp.SetDeadline(time.Now().Add(limit)); err != nil {
		return err.Error()
	}
	code, text, err := conn.ReadResponse(220)
	for _, line := range []string{"HELO " + helo, "MAIL FROM:<alice@example.net>",
		"RCPT TO:<" + to + ">", "DATA", "Subject: hello\r\n\r\nHello!\r\n."} {
		if err != nil {
			return err.Error()
		}
		if err := conn.PrintfLine("%s", line); err != nil {
			return err.Error()
		}
		if code, text, err = conn.ReadResponse(0); code >= 400 {
			break
		}
	}
	text, _, _ = strings.Cut(text, ". ")
	return fmt.Sprintf("%d %s", code, text)
}
