package judge

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"time"

	"maddy.example/checkhelo"
	"maddy.example/checkhelo/module/heloname"
)

// Answers that echo_recipients gives in a minute.
const (
	echoOfNetwork = 6 // an IPv4 address or an IPv6 /64
	echoOfAll     = 120

	maxEchoed = 64 // octets of what the client said that an answer repeats
)

// echoes counts the answers of one minute.
type echoes struct {
	mu       sync.Mutex
	since    time.Time
	all      int
	networks map[netip.Prefix]int
}

// allows counts one answer, unless the network or all networks have had theirs.
func (e *echoes) allows(client netip.Addr, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if age := now.Sub(e.since); age >= time.Minute || age < 0 {
		e.since, e.all, e.networks = now, 0, make(map[netip.Prefix]int)
	}
	network := heloname.ClientNetwork(client)
	if e.all >= echoOfAll || e.networks[network] >= echoOfNetwork {
		return false
	}
	e.all++
	e.networks[network]++
	return true
}

// echo answers a recipient of echo_recipients: what the client said, from where, and each built-in
// rule that hits. Lists, tables, exemptions and memory have no part in it, and no ceiling either.
func (s *Session) echo(ctx context.Context, rcpt string) (o Outcome) {
	g, j := s.greeting, s.j
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.facts
	f.Rcpt = rcptDomain(rcpt)
	f.Denied.State, f.Listed.State = checkhelo.NotAsked, checkhelo.NotAsked
	f.Neighbours.State = checkhelo.NotAsked
	if !j.echoes.allows(f.Client, j.now()) {
		o.echo = checkhelo.Reply{Code: 451, Enhanced: [3]int{4, 7, 1},
			Text: "Too many tests in a minute, try again later"}
		return o
	}
	p := j.Policy.With(j.Policy.Preset, checkhelo.Off)
	p.Override = maps.Clone(p.Override)
	if p.Override == nil {
		p.Override = make(map[string]checkhelo.Rule)
	}
	for _, rule := range []string{"deny_name", "listed", "neighbours"} {
		p.Override[rule] = checkhelo.Rule{Action: checkhelo.Off}
	}
	if j.asks() {
		var need checkhelo.Need
		for _, r := range p.Rules() {
			if r.Action != checkhelo.Off {
				need |= r.Needs
			}
		}
		j.Gatherer.Fill(ctx, &f, need&^checkhelo.NeedMemory)
	}
	v := p.Evaluate(&f)
	names := make([]string, 0, len(v.Hits))
	for i := range v.Hits {
		names = append(names, v.Hits[i].Rule.Name)
	}
	text := fmt.Sprintf("You are [%s], said %s: ", f.Client, heloname.Clean(f.Helo.Raw, maxEchoed))
	if f.Lost() != 0 {
		text += "some DNS lookups failed, test again later; "
	}
	if len(names) == 0 {
		text += "no rule hits"
	} else {
		text += strings.Join(names, ", ") + "; fix: "
		advice := p.Reply(v, f.Helo).Text
		if len(text)+len(advice) > checkhelo.MaxText && p.HelpURL != "" {
			advice = p.HelpURL + "#" + names[0]
		}
		text += advice
	}
	o.echo = checkhelo.Reply{Code: 550, Enhanced: [3]int{5, 7, 1},
		Text: heloname.Line(text, checkhelo.MaxText)}
	return o
}
