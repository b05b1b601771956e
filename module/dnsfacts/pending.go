package dnsfacts

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo"
)

// Pending is a Fill that began ahead of its verdict. Its methods may be called
// by many goroutines.
type Pending struct {
	g      *Gatherer
	remote netip.AddrPort // not valid: not known
	job    job
	cancel context.CancelFunc // nil: nothing runs
	done   chan struct{}      // closed when the job has ended; nil: none was begun

	mu    sync.Mutex // guards facts and left; the job's asker has it too
	facts checkhelo.Facts
	left  time.Duration // look-up time that this client may still use
}

// Start sets in f what need names and the cache knows, and begins to look up
// the rest as Fill does; it returns at once, nil when nothing is left. While
// MaxInFlight such jobs run it only prepares a Pending that looks up when it is
// waited for. A job ends by itself after Timeout.
//
// remote is the client's address and port. A new Start for the same remote cancels
// the job of the one before; the zero value means that the port is not known.
func (g *Gatherer) Start(
	f *checkhelo.Facts, need checkhelo.Need, remote netip.AddrPort,
) *Pending {
	g.replace(remote, nil)
	if need = g.warm(f, need); need == 0 {
		return nil
	}
	p := &Pending{g: g, remote: remote, facts: *f, left: g.timeout()}
	if !g.admit() {
		return p
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.left)
	p.cancel, p.done = cancel, make(chan struct{})
	p.job = job{asker: asker{g: g, ctx: ctx, mu: &p.mu}, facts: &p.facts}
	g.replace(remote, p)
	go p.run(need)
	return p
}

// replace cancels the running job of remote and makes p the running one; nil: none.
func (g *Gatherer) replace(remote netip.AddrPort, p *Pending) {
	if !remote.IsValid() {
		return
	}
	g.greetingsMu.Lock()
	defer g.greetingsMu.Unlock()
	if old := g.greetings[remote]; old != nil {
		old.Cancel()
	}
	if p == nil {
		delete(g.greetings, remote)
		return
	}
	if g.greetings == nil {
		g.greetings = make(map[netip.AddrPort]*Pending)
	}
	g.greetings[remote] = p
}

// ended removes p from the running jobs, unless another took its place.
func (g *Gatherer) ended(p *Pending) {
	g.greetingsMu.Lock()
	defer g.greetingsMu.Unlock()
	if g.greetings[p.remote] == p {
		delete(g.greetings, p.remote)
	}
}

func (g *Gatherer) admit() bool {
	limit := g.MaxInFlight
	if limit <= 0 {
		limit = DefaultMaxInFlight
	}
	if int(g.jobs.Add(1)) <= limit {
		return true
	}
	g.jobs.Add(-1)
	return false
}

func (p *Pending) run(need checkhelo.Need) {
	begun := time.Now()
	defer func() {
		p.cancel()
		p.g.jobs.Add(-1)
		p.g.ended(p)
		p.mu.Lock()
		p.left -= time.Since(begun)
		p.mu.Unlock()
		close(p.done)
	}()
	p.job.run(need)
}

// Wait adds to f what was learnt and looks up what else need names. Only time
// spent on look-ups counts against Timeout: a client that pauses between
// EHLO and RCPT must not thereby escape judgement. When ctx ends first, what
// is still out is Failed. f must have the greeting and the client that
// Start was given; for others it is filled as by Fill.
func (p *Pending) Wait(ctx context.Context, f *checkhelo.Facts, need checkhelo.Need) {
	if f.Helo.ASCII != p.facts.Helo.ASCII || f.Client != p.facts.Client {
		p.g.Fill(ctx, f, need)
		return
	}
	ended := p.settle(ctx)
	p.mu.Lock()
	adopt(f, &p.facts, need)
	left := p.left
	p.mu.Unlock()
	need = missing(f, need)
	if need == 0 {
		return
	}
	if !ended {
		markFailed(f, need, wrap(ctx.Err(), f.Helo.ASCII, dns.TypeANY))
		return
	}
	begun := time.Now()
	p.g.fill(ctx, f, need, left)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left -= time.Since(begun)
	adopt(&p.facts, f, need)
}

// settle waits for the job and reports whether it has ended.
func (p *Pending) settle(ctx context.Context) bool {
	if p.done == nil {
		return true
	}
	select {
	case <-p.done:
		return true
	case <-ctx.Done():
		return false
	}
}

// Cancel ends the look-ups that nobody else waits for. What has not arrived
// by then is Failed.
func (p *Pending) Cancel() {
	if p.cancel != nil {
		p.cancel()
	}
}

// adopt copies into f the answers of from that need names and f lacks.
func adopt(f, from *checkhelo.Facts, need checkhelo.Need) {
	need = missing(f, need)
	if need&checkhelo.NeedForward != 0 {
		f.Forward = from.Forward
	}
	if need&checkhelo.NeedMX != 0 {
		f.MX = from.MX
	}
	if need&checkhelo.NeedPTR != 0 {
		if f.PTR.State == checkhelo.NotAsked {
			f.PTR = from.PTR
		}
		f.Confirmed = from.Confirmed
	}
	if need&checkhelo.NeedTLD != 0 {
		f.TLD = from.TLD
	}
	if need&checkhelo.NeedSPF != 0 {
		f.SPF = from.SPF
	}
	if need&checkhelo.NeedLists != 0 {
		f.Listed = from.Listed
	}
}
