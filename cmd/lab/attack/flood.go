package attack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// sessionLimit bounds one session.
const sessionLimit = 90 * time.Second

// flood is one attack. All of its connections come from one address.
type flood struct {
	name        string
	files       int           // descriptors that the server may open
	connections int           // at the same time
	every       time.Duration // between two connections, and two greetings of one
	helo        string        // with a number in it, so that no cache has it
	again       bool          // greets again and again
	rcpt        bool          // goes on to RCPT TO, and begins anew after its reply
}

const few = 4096 // descriptors: the kernel's default for the hard limit

var floods = []flood{
	{name: "greet", files: few, connections: 1, every: 10 * time.Millisecond,
		helo: "a%d.far.example.org", again: true},
	{name: "rcpt", files: few, connections: 2700, every: 2 * time.Millisecond,
		helo: "a%d.dead.example.org", rcpt: true},
	{name: "ehlo", files: few, connections: 2700, every: 2 * time.Millisecond,
		helo: "b%d.far.example.org"},
	{name: "idle", files: 14000, connections: 10000, every: time.Millisecond,
		helo: "b%d.example.org"},
}

// numbers makes the names of all floods differ.
var numbers atomic.Int64

// begin opens the connections and returns when all are open. They last until ctx ends; stopped
// returns once they are closed.
func (f *flood) begin(ctx context.Context, address string) (stopped func()) {
	var wg sync.WaitGroup
	for range f.connections {
		if pause(ctx, f.every) != nil {
			break
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			for ctx.Err() == nil {
				// The server may turn a connection away: the next one follows.
				_ = f.connection(ctx, address)
				_ = pause(ctx, 100*time.Millisecond)
			}
		}()
	}
	return wg.Wait
}

// connection is one of the attacker's.
func (f *flood) connection(ctx context.Context, address string) error {
	c, err := dial(ctx, attackerIP, address)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	greet := func() error { return c.say("EHLO " + fmt.Sprintf(f.helo, numbers.Add(1))) }
	if err = greet(); err != nil {
		return err
	}
	switch {
	case f.again:
		for err == nil {
			if err = pause(ctx, f.every); err == nil {
				err = greet()
			}
		}
		return err
	case f.rcpt:
		return errors.Join(c.say("MAIL FROM:<alice@example.org>"), c.say("RCPT TO:<bob@example.com>"))
	default:
		<-ctx.Done()
		return nil
	}
}

// good lets good clients write one after the other. It returns the times from EHLO to the reply
// to RCPT TO, sorted, and how many were not accepted.
func (l *lab) good(ctx context.Context, address string) ([]time.Duration, int, error) {
	var times []time.Duration
	lost := 0
	for range l.clients {
		took, code, err := deliver(ctx, goodNet, "good", address)
		if err != nil {
			return nil, 0, err
		}
		if code != 250 {
			lost++
		}
		times = append(times, took)
	}
	slices.Sort(times)
	return times, lost, nil
}

// bad lets as many bad clients write and returns how many were refused for good.
func (l *lab) bad(ctx context.Context, address string) (refused int, err error) {
	for range l.clients {
		_, code, err := deliver(ctx, badNet, "bad", address)
		if err != nil {
			return refused, err
		}
		if code >= 500 {
			refused++
		}
	}
	return refused, nil
}

// deliver is one session of a client that nobody has seen before. It returns the code of the
// reply to RCPT TO.
func deliver(
	ctx context.Context, network, word, address string,
) (took time.Duration, code int, err error) {
	if err = pause(ctx, 100*time.Millisecond); err != nil {
		return 0, 0, err
	}
	i := int(numbers.Add(1) % (1 << 16))
	c, err := dial(ctx, fmt.Sprintf("%s.%d.%d", network, i/256, i%256), address)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = c.Close() }()
	begun := time.Now()
	for _, line := range []string{
		fmt.Sprintf("EHLO %s%d.example.net", word, i),
		"MAIL FROM:<alice@example.net>", "RCPT TO:<bob@example.com>",
	} {
		if err = c.say(line); err != nil {
			break
		}
	}
	took = time.Since(begun)
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return took, reply.Code, nil
	}
	return took, 250, err
}

// conn is a connection to the server, after its banner.
type conn struct {
	*textproto.Conn
	stop func() bool
}

// dial connects from an address. The connection ends with ctx.
func dial(ctx context.Context, from, address string) (*conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: sessionLimit}
	tcp, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("attack: %w", err)
	}
	if err := tcp.SetDeadline(time.Now().Add(sessionLimit)); err != nil {
		return nil, errors.Join(err, tcp.Close())
	}
	c := &conn{textproto.NewConn(tcp), context.AfterFunc(ctx, func() { _ = tcp.Close() })}
	if _, _, err := c.ReadResponse(220); err != nil {
		return nil, errors.Join(fmt.Errorf("attack: banner: %w", err), c.Close())
	}
	return c, nil
}

// Close ends the connection.
func (c *conn) Close() error {
	c.stop()
	return c.Conn.Close()
}

// say sends a command and returns a *textproto.Error for a reply other than 2xx.
func (c *conn) say(line string) error {
	if err := c.PrintfLine("%s", line); err != nil {
		return fmt.Errorf("attack: %w", err)
	}
	_, _, err := c.ReadResponse(2)
	return err
}
