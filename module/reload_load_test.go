package module_test

import (
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// restless is a client that greets again and again, before and after STARTTLS,
// and may hang up at any time.
type restless struct {
	*textproto.Conn
	plain net.Conn
}

func (s *server) restless() (*restless, error) {
	d := net.Dialer{Timeout: hang, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 2, 1)}}
	conn, err := d.Dial("tcp", net.JoinHostPort("127.0.0.25", s.ports["smtp"]))
	if err != nil {
		return nil, err
	}
	r := &restless{textproto.NewConn(conn), conn}
	if err = conn.SetDeadline(time.Now().Add(hang)); err == nil {
		_, _, err = r.ReadResponse(220)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return r, nil
}

// say sends a line and wants one of some codes.
func (r *restless) say(line string, want ...int) error {
	if err := r.PrintfLine("%s", line); err != nil {
		return err
	}
	code, text, err := r.ReadResponse(0)
	if slices.Contains(want, code) {
		return nil
	}
	return fmt.Errorf("%.60s: %d %s (%w)", line, code, text, err)
}

// verdicts are the codes that a name may get. A look-up that fails speaks against nobody.
var verdicts = map[string][]int{
	good: {250}, "localhost": {550}, "nosuch.sender-bench.com": {450, 250},
}

// hold is one session with some greetings, of which the last one counts.
func (r *restless) hold(random *rand.Rand, names []string) error {
	defer r.plain.Close()
	pick := func() string { return names[random.IntN(len(names))] }
	if random.IntN(2) == 0 {
		if err := r.say("EHLO "+pick(), 250); err != nil {
			return err
		}
		if err := r.say("STARTTLS", 220); err != nil {
			return err
		}
		r.Conn = textproto.NewConn(tls.Client(r.plain, ownCertificate))
	}
	for range 1 + random.IntN(3) {
		name := pick()
		for range 1 + random.IntN(2) {
			if err := r.say([]string{"EHLO ", "HELO "}[random.IntN(2)]+name, 250); err != nil {
				return err
			}
		}
		if random.IntN(6) == 0 {
			return nil // hangs up while the look-ups go on
		}
		if err := r.say(mailFrom, 250); err != nil {
			return err
		}
		if err := r.say(rcptTo, verdicts[name]...); err != nil {
			return fmt.Errorf("as %s: %w", name, err)
		}
	}
	return r.say("QUIT", 221)
}

// Reloads amid clients that greet anew, use TLS and hang up lose no session and
// change no verdict.
func TestLoadAmidReloads(t *testing.T) {
	const clients = 50
	names := []string{good, "localhost", "nosuch.sender-bench.com"}
	resolver := troubled(t, 7)
	conf := "tls self_signed\n" + strings.Replace(
		mx(withDNS("strict", resolver, "dns_timeout 500ms")), "tls off", "tls self_signed", 1)
	s := start(t, conf)
	var wg sync.WaitGroup
	var sessions atomic.Int64
	reloaded := make(chan struct{})
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			random := rand.New(rand.NewPCG(7, uint64(i)))
			for last := false; !last; {
				select {
				case <-reloaded:
					last = true
				default:
				}
				r, err := s.restless()
				if err == nil {
					err = r.hold(random, names)
				}
				if err != nil {
					t.Error(err)
					return
				}
				sessions.Add(1)
			}
		}()
	}
	for range loadReloads * loadFactor(t) {
		s.reload(t, conf)
	}
	close(reloaded)
	wg.Wait()
	t.Logf("%d sessions", sessions.Load())
}
