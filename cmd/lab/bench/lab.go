package bench

import (
	"context"
	"errors"
	"fmt"
	"os"

	"maddy.example/checkhelo/module/build"
)

// lab is what a run of the bench has brought up.
type lab struct {
	*bench
	dir     string // removed at the end
	space   space
	debian  debian
	maddy   string // binary
	haraka  string // folder; "": not to be had
	running []*process
	fresh   int // new clients that have been used up
}

// newLab fetches what is needed and starts the resolver. What it returns must be closed.
func newLab(ctx context.Context, b *bench) (*lab, error) {
	l := &lab{bench: b}
	err := l.prepare(ctx)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return l, nil
}

func (l *lab) prepare(ctx context.Context) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	if err = os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // Postfix reads it
		return fmt.Errorf("bench: %w", err)
	}
	if l.debian, err = fetchDebian(ctx, cache); err != nil {
		return fmt.Errorf("%w\nWithout smtp-source and unbound nothing can be measured", err)
	}
	if l.wants("haraka") {
		if l.haraka, err = fetchHaraka(ctx, cache); err != nil {
			l.haraka = ""
			l.say("Haraka is left out: %v", err)
		}
	}
	if l.maddy, err = l.buildMaddy(ctx); err != nil {
		return err
	}
	if l.dir, err = os.MkdirTemp("", "helo-bench-"); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	if err = os.Chmod(l.dir, 0o755); err != nil { //nolint:gosec // Postfix reads it
		return fmt.Errorf("bench: %w", err)
	}
	// Two runs a pair, three servers, and one run to warm up each.
	fresh := (2*l.pairs + 2) * l.coldMessages() * 3
	if fresh > maxFresh {
		return fmt.Errorf("bench: -pairs times -messages needs %d addresses, there are %d",
			fresh, maxFresh)
	}
	l.running, err = startResolver(ctx, l.debian, l.dir, fresh)
	if err != nil {
		return err
	}
	l.space, err = newSpace(l.dir, frontIP)
	return err
}

// programs names what was measured besides Maddy, and with what.
func (l *lab) programs(ctx context.Context) string {
	text := fmt.Sprintf("Maddy %s, Postfix %s, unbound %s", build.DefaultMaddy,
		l.debian.version(ctx, "postfix"), l.debian.version(ctx, "unbound"))
	if l.haraka != "" {
		text += ", Haraka " + harakaVersion + " with helo.checks " + checksVersion
	}
	return text
}

func (b *bench) coldMessages() int      { return max(b.messages/4, 1) }
func (b *bench) wants(name string) bool { return b.only == "" || b.only == name }

// start runs a mail server that asks the bench's resolver.
func (l *lab) start(ctx context.Context, p program) (*process, error) {
	p.argv = l.space.inside(p.argv)
	run, err := start(ctx, p, l.dir)
	if err == nil {
		l.running = append(l.running, run)
	}
	return run, err
}

// close stops everything, the resolver last, and removes the folder.
func (l *lab) close() (err error) {
	for i := len(l.running) - 1; i >= 0; i-- {
		err = errors.Join(err, l.running[i].stop())
	}
	return errors.Join(err, os.RemoveAll(l.dir))
}

// side is one server in one setting.
type side struct {
	name    string
	address string // host:port
	process *process
}

// contest is one setting held against another of the same server.
type contest struct {
	server, setting string
	cold            bool // every client is new
	plain           bool // neither side judges
	off, on         side
}

// cache names the state of all caches, the resolver's and the server's.
func (c *contest) cache() string {
	if c.cold {
		return "cold"
	}
	return "warm"
}

// contests starts the servers. A peer that does not start is left out.
func (l *lab) contests(ctx context.Context) (all []contest, err error) {
	if l.wants("maddy") {
		if all, err = l.maddyContests(ctx); err != nil {
			return nil, err
		}
	}
	if l.wants("postfix") {
		p, off, on, err := l.startPostfix(ctx)
		if err != nil {
			l.say("Postfix is left out: %v", err)
		} else {
			all = append(all, bothCaches("Postfix", "helo restrictions",
				side{"off", off, p}, side{"on", on, p})...)
		}
	}
	if l.haraka != "" {
		off, err := l.startHaraka(ctx, "haraka-off", false)
		if err != nil {
			l.say("Haraka is left out: %v", err)
			return all, nil
		}
		on, err := l.startHaraka(ctx, "haraka-on", true)
		if err != nil {
			l.say("Haraka is left out: %v", err)
			return all, nil
		}
		all = append(all, bothCaches("Haraka", "helo.checks",
			side{"off", off.address, off}, side{"on", on.address, on})...)
	}
	return all, ctx.Err()
}

func bothCaches(server, setting string, off, on side) []contest {
	return []contest{
		{server: server, setting: setting, off: off, on: on},
		{server: server, setting: setting, cold: true, off: off, on: on},
	}
}

// maddyContests holds settings against no check: none again, which shows the noise of the
// machine; a check that does nothing, which shows what Maddy itself does for any check; rfc and
// strict. A second server with strict meets the new clients: what they leave in its cache the
// garbage collector has to walk through ever after, which "used cache" shows.
func (l *lab) maddyContests(ctx context.Context) ([]contest, error) {
	sides := make(map[string]side)
	for _, s := range []struct{ name, check string }{
		{"off", ""}, {"off-again", ""}, {"nothing", maddyNothing}, {"rfc", maddyRFC},
		{"strict", maddyStrict}, {"strict-used", maddyStrict},
	} {
		p, err := l.startMaddy(ctx, "maddy-"+s.name, s.check)
		if err != nil {
			return nil, err
		}
		sides[s.name] = side{s.name, p.address, p}
	}
	const strict = "policy strict"
	off, used := sides["off"], sides["strict-used"]
	return []contest{
		{server: "Maddy", setting: "no check again", plain: true, off: off, on: sides["off-again"]},
		{server: "Maddy", setting: "an empty check", plain: true, off: off, on: sides["nothing"]},
		{server: "Maddy", setting: "policy rfc", off: off, on: sides["rfc"]},
		{server: "Maddy", setting: strict, off: off, on: sides["strict"]},
		{server: "Maddy", setting: strict, cold: true, off: off, on: used},
		{server: "Maddy", setting: strict + ", used cache", off: off, on: used},
	}, nil
}
