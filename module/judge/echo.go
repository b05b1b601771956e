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

// answer is the outcome for a recipient of echo_recipients: what the client said, from where, and
// each built-in rule that hits. Lists, tables, exemptions and memory have no part in it, and no
// ceiling either.
func (g *greeting) answer(ctx context.Context, rcpt string) Outcome {
	o, j, f := Outcome{echo: true}, g.j, g.facts
	if !j.echoes.allows(f.Client, j.Exempt.Now()) {
		o.reply = checkhelo.Reply{Code: 451, Enhanced: [3]int{4, 7, 1},
			Text: "Too many tests in a minute, try again later"}
		return o
	}
	f.Rcpt = rcptDomain(rcpt)
	p := j.Policy.With(j.Policy.Preset, checkhelo.Off)
	p.Override = maps.Collect(maps.All(p.Override)) // not nil
	for _, rule := range []string{"deny_name", "listed", "neighbours"} {
		p.Override[rule] = checkhelo.Rule{Action: checkhelo.Off}
	}
	const need = checkhelo.NeedProof | checkhelo.NeedMX | checkhelo.NeedTLD | checkhelo.NeedSPF
	if j.asks() {
		j.Gatherer.Fill(ctx, &f, need)
	}
	v := p.Evaluate(&f)
	text := fmt.Sprintf("You are [%s], said %s: ", f.Client, heloname.Clean(f.Helo.Raw, maxEchoed))
	if f.Lost()&need != 0 {
		text += "some DNS lookups failed, test again later; "
	}
	if len(v.Hits) == 0 {
		text += "no rule hits"
	} else {
		names := make([]string, 0, len(v.Hits))
		for i := range v.Hits {
			names = append(names, v.Hits[i].Rule.Name)
		}
		text += strings.Join(names, ", ") + "; fix: "
		advice := p.Reply(v, f.Helo).Text
		if len(text)+len(advice) > checkhelo.MaxText && p.HelpURL != "" {
			advice = p.HelpURL + "#" + names[0]
		}
		text += advice
	}
	o.reply = checkhelo.Reply{Code: 550, Enhanced: [3]int{5, 7, 1},
		Text: heloname.Line(text, checkhelo.MaxText)}
	return o
}
