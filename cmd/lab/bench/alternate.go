package bench

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// result is one run.
type result struct {
	Server, Setting, Cache, Side string

	Pair     int // from 1
	Order    int // 1: the first of its pair
	Messages int
	Seconds  float64
	CPU      float64 // milliseconds per message, of the server's whole process tree
	Load     float64 // the machine's load average of one minute, before the run
}

// Rate is in messages per second.
func (r *result) Rate() float64 { return float64(r.Messages) / r.Seconds }

// warmUp lets every server run through all its code, and fills the caches for warmName. It fails
// when a server does not judge as its setting says.
func (l *lab) warmUp(ctx context.Context, contests []contest) error {
	l.say("warming up")
	for i := range contests {
		c := &contests[i]
		for _, s := range []side{c.off, c.on} {
			got, err := refuses(ctx, s.address)
			if want := s.name != "off" && !c.plain; err == nil && got != want {
				err = fmt.Errorf("bench: %s %s refuses %s: %t", c.server, s.name, badName, got)
			}
			if err != nil {
				return err
			}
			if _, err := l.measure(ctx, c, s); err != nil {
				return err
			}
		}
	}
	return nil
}

// alternate runs all contests once a round, in an order that is turned every other round.
func (l *lab) alternate(ctx context.Context, contests []contest) (all []result, err error) {
	for pair := range l.pairs {
		l.say("pair %d of %d", pair+1, l.pairs)
		for i := range contests {
			c := &contests[i]
			sides := []side{c.off, c.on}
			if pair%2 == 1 {
				sides[0], sides[1] = sides[1], sides[0]
			}
			for order, s := range sides {
				r, err := l.measure(ctx, c, s)
				if err != nil {
					return nil, err
				}
				r.Pair, r.Order = pair+1, order+1
				all = append(all, r)
			}
		}
	}
	return all, nil
}

// measure is one run. Its error tells what the server said last.
func (l *lab) measure(ctx context.Context, c *contest, s side) (result, error) {
	r := result{
		Server: c.server, Setting: c.setting, Cache: c.cache(), Side: s.name, Load: loadAverage(),
	}
	send := l.warmLoad
	r.Messages = l.messages
	if c.cold {
		send, r.Messages = l.coldLoad, l.coldMessages()
	}
	err := r.take(ctx, s, send)
	if err != nil {
		err = fmt.Errorf("bench: %s %s, %s: %w\n%s", c.server, s.name, r.Cache, err,
			logTail(s.process.log))
	}
	return r, err
}

// take sends the messages and notes what they cost.
func (r *result) take(
	ctx context.Context, s side, send func(ctx context.Context, address string, messages int) error,
) error {
	pid := s.process.cmd.Process.Pid
	before, err := calmCPU(ctx, pid)
	if err != nil {
		return err
	}
	begun := time.Now()
	if err = send(ctx, s.address, r.Messages); err != nil {
		return err
	}
	r.Seconds = time.Since(begun).Seconds()
	after, err := calmCPU(ctx, pid)
	r.CPU = (after - before).Seconds() * 1000 / float64(r.Messages)
	return err
}

// logTail is what a server said last.
func logTail(path string) string {
	const lines = 20
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
