package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	runLimit     = 2 * time.Minute // of one run
	sessionLimit = 30 * time.Second
	bodyOctets   = 1024
)

// warmLoad lets Debian's smtp-source send messages, one a connection, all with one name.
func (l *lab) warmLoad(ctx context.Context, address string, messages int) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.debian.sbin("smtp-source"), //nolint:gosec // numbers
		"-s", strconv.Itoa(l.sessions), "-m", strconv.Itoa(messages), "-l", strconv.Itoa(bodyOctets),
		"-M", warmName, "-f", sender, "-t", recipient, "inet:"+address)
	cmd.Env = append(cmd.Environ(), l.debian.env()...)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bench: smtp-source: %w\n%s", err, output)
	}
	return nil
}

// coldLoad sends messages from clients that nobody has seen before, with a name
// and an address of their own each, as smtp-source cannot.
func (l *lab) coldLoad(ctx context.Context, address string, messages int) error {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	first := l.fresh
	l.fresh += messages
	var taken atomic.Int64
	var wg sync.WaitGroup
	faults := make([]error, l.sessions)
	for worker := range l.sessions {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for faults[worker] == nil {
				i := int(taken.Add(1)) - 1
				if i >= messages {
					return
				}
				faults[worker] = sendFresh(ctx, address, first+i)
			}
		}()
	}
	wg.Wait()
	return errors.Join(faults...)
}

var freshBody = "Subject: bench\r\n\r\n" +
	strings.Repeat(strings.Repeat("x", 62)+"\r\n", bodyOctets/64)

// sendFresh is one session of the i-th new client.
func sendFresh(ctx context.Context, address string, i int) error {
	from := &net.TCPAddr{IP: freshAddr(i).AsSlice()}
	conn, err := (&net.Dialer{LocalAddr: from}).DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err = conn.SetDeadline(time.Now().Add(sessionLimit)); err != nil {
		return errors.Join(err, conn.Close())
	}
	c, err := smtp.NewClient(conn, serverMX)
	if err != nil {
		return fmt.Errorf("bench: %s: greeting: %w", from, errors.Join(err, conn.Close()))
	}
	if err := dialogue(c, freshName(i)); err != nil {
		return fmt.Errorf("bench: %s as %s: %w", from, freshName(i), errors.Join(err, c.Close()))
	}
	return nil
}

func dialogue(c *smtp.Client, helo string) error {
	if err := c.Hello(helo); err != nil {
		return err
	}
	if err := c.Mail(sender); err != nil {
		return err
	}
	if err := c.Rcpt(recipient); err != nil {
		return err
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write([]byte(freshBody)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return c.Quit()
}

// badName is a greeting that every HELO check refuses.
const badName = "192.0.2.1"

// refuses tells whether the server refuses badName.
func refuses(ctx context.Context, address string) (bool, error) {
	conn, err := (&net.Dialer{Timeout: sessionLimit}).DialContext(ctx, "tcp", address)
	if err != nil {
		return false, fmt.Errorf("bench: %w", err)
	}
	if err = conn.SetDeadline(time.Now().Add(sessionLimit)); err != nil {
		return false, errors.Join(err, conn.Close())
	}
	c, err := smtp.NewClient(conn, serverMX)
	if err != nil {
		return false, errors.Join(err, conn.Close())
	}
	err = dialogue(c, badName)
	var reply *textproto.Error
	if errors.As(err, &reply) && reply.Code >= 500 {
		return true, c.Close()
	}
	return false, err
}
