package dnsfacts

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"

	"maddy.example/checkhelo/module/heloname"
)

// shareWaits times Timeout is the longest that a client waits for the share of
// its own network. A client that takes the whole share by itself must not fail
// its own look-ups cheaply, since a failed look-up makes verdicts milder.
const shareWaits = 12

// wideShare is how many shares of a /64 an IPv6 /48 has together.
const wideShare = 4

// flight is one question. All greetings that wait for it share its answer.
type flight struct {
	key     key
	rec     *record // set before the flight is sent to its waiters
	net     *network
	waiters []*Pending
	joined  *flight // the flight for the same question that this one waits for
	cancel  context.CancelFunc
}

// network is one client network with questions or jobs.
type network struct {
	prefix        netip.Prefix
	wide          *network // the /48 of an IPv6 /64
	users         int      // greetings, flights and narrower networks
	ahead, asking int
	queue         []*flight // wait for a place
}

// shares gives places to questions. Each client network has its share, networks
// take turns, and the last places are kept for networks that have none.
type shares struct {
	mu            sync.Mutex
	networks      map[netip.Prefix]*network
	waiting       []*network // those with a queue; the first has the next turn
	flights       map[key]*flight
	greetings     map[netip.AddrPort]*Pending // that run ahead
	ahead, asking int
}

// networksOf returns the network whose share a client has, and the wider one of IPv6.
func networksOf(client netip.Addr) (narrow, wide netip.Prefix) {
	client = heloname.Unmap(client)
	if client.Is4() || !client.IsValid() {
		return netip.PrefixFrom(client, client.BitLen()), netip.Prefix{}
	}
	narrow, wide = netip.PrefixFrom(client, 64), netip.PrefixFrom(client, 48)
	return narrow.Masked(), wide.Masked()
}

// enter returns the network of a client for one user. The caller holds mu.
func (s *shares) enter(client netip.Addr) *network {
	narrow, wide := networksOf(client)
	n := s.network(narrow)
	if wide.IsValid() && n.wide == nil {
		n.wide = s.network(wide)
		n.wide.users++
	}
	n.users++
	return n
}

func (s *shares) network(prefix netip.Prefix) *network {
	n := s.networks[prefix]
	if n == nil {
		n = &network{prefix: prefix}
		if s.networks == nil {
			s.networks = make(map[netip.Prefix]*network)
		}
		s.networks[prefix] = n
	}
	return n
}

// exit takes one user from n. The caller holds mu.
func (s *shares) exit(n *network) {
	if n.users--; n.users > 0 {
		return
	}
	delete(s.networks, n.prefix)
	if n.wide != nil {
		s.exit(n.wide)
	}
}

// ahead reports whether p may run ahead of its verdict, and counts it.
func (g *Gatherer) ahead(p *Pending) bool {
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.enter(p.client)
	limit := g.ShareJobs
	if limit <= 0 {
		limit = DefaultShareJobs
	}
	if s.ahead >= g.maxQuestions() || n.ahead >= limit ||
		n.wide != nil && n.wide.ahead >= wideShare*limit {
		s.exit(n)
		return false
	}
	n.count(&s.ahead, 1, func(n *network) *int { return &n.ahead })
	p.net = n
	return true
}

// behind ends what ahead began.
func (g *Gatherer) behind(p *Pending) {
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	p.net.count(&s.ahead, -1, func(n *network) *int { return &n.ahead })
	s.exit(p.net)
	p.net = nil
	if s.greetings[p.remote] == p {
		delete(s.greetings, p.remote)
	}
}

// count changes a total and the same number of n and its wider network.
func (n *network) count(total *int, by int, of func(*network) *int) {
	*total += by
	for ; n != nil; n = n.wide {
		*of(n) += by
	}
}

// greeted returns what runs ahead for a connection.
func (s *shares) greeted(remote netip.AddrPort) *Pending {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.greetings[remote]
}

func (s *shares) greet(p *Pending) {
	if !p.remote.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.greetings == nil {
		s.greetings = make(map[netip.AddrPort]*Pending)
	}
	s.greetings[p.remote] = p
}

// begin asks what p wants and reports whether p has to wait for an answer. What
// exceeds the budget of p is answered with a failure.
func (g *Gatherer) begin(p *Pending) (wait bool) {
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.answers == nil {
		p.answers, p.arrived = make(map[key]*record), make(chan *flight, GreetingQuestions)
	}
	wait = true
	for _, k := range p.wanted {
		if p.budget == 0 {
			p.answers[k] = &record{err: failure(KindBudget, k, errBudget)}
			wait = false
			continue
		}
		p.budget--
		p.answers[k] = nil
		fl := s.flights[k]
		if fl == nil {
			fl = &flight{key: k, net: s.enter(p.client)}
			if !g.room(fl.net) {
				s.queue(fl, p)
			} else {
				g.start(fl)
			}
		}
		fl.waiters = append(fl.waiters, p)
		p.flights = append(p.flights, fl)
	}
	p.wanted = p.wanted[:0]
	if wait && len(p.flights) == 0 {
		panic("dnsfacts: nothing is wanted and nothing is out")
	}
	return wait
}

var errBudget = errors.New("more questions than one greeting may ask")

// queue makes fl wait for the share of its network. The caller holds mu.
func (s *shares) queue(fl *flight, p *Pending) {
	if len(fl.net.queue) == 0 {
		s.waiting = append(s.waiting, fl.net)
	}
	fl.net.queue = append(fl.net.queue, fl)
	p.queued++
}

// room reports whether n may ask one more question: it has a share left, and holds
// less than half as many places as are free. So a few are always free for a network
// that has none.
func (g *Gatherer) room(n *network) bool {
	share := g.ShareQuestions
	if share <= 0 {
		share = DefaultShareQuestions
	}
	free := g.maxQuestions() - g.shares.asking
	for most := share; n != nil; n, most = n.wide, wideShare*share {
		if free == 0 || n.asking > 0 && n.asking >= min(most, free/2) {
			return false
		}
	}
	return true
}

// start asks the question of fl. The caller holds mu.
func (g *Gatherer) start(fl *flight) {
	s := &g.shares
	if s.flights == nil {
		s.flights = make(map[key]*flight)
	}
	s.flights[fl.key] = fl
	fl.net.count(&s.asking, 1, func(n *network) *int { return &n.asking })
	var ctx context.Context
	ctx, fl.cancel = context.WithTimeout(context.Background(), g.timeout())
	go func() {
		r := g.fetch(ctx, fl.key)
		fl.cancel()
		s.mu.Lock()
		defer s.mu.Unlock()
		fl.rec = r
		if s.flights[fl.key] == fl {
			delete(s.flights, fl.key)
		}
		for _, p := range fl.waiters {
			p.arrived <- fl // has room for the whole budget
		}
		fl.net.count(&s.asking, -1, func(n *network) *int { return &n.asking })
		s.exit(fl.net)
		g.next()
	}()
}

// next gives free places to the networks that wait, in turn. The caller holds mu.
func (g *Gatherer) next() {
	s := &g.shares
	for i := 0; i < len(s.waiting); {
		n := s.waiting[i]
		if !g.room(n) {
			i++
			continue
		}
		fl := n.queue[0]
		n.queue = n.queue[1:]
		s.waiting = slices.Delete(s.waiting, i, i+1)
		if len(n.queue) > 0 {
			s.waiting = append(s.waiting, n)
		}
		for _, p := range fl.waiters {
			p.queued--
			p.turned = true
		}
		if running := s.flights[fl.key]; running != nil {
			running.waiters = append(running.waiters, fl.waiters...)
			fl.joined = running
			s.exit(n)
		} else {
			g.start(fl)
		}
		i = 0
	}
}

// queued reports whether a question of p waits for its network's share, or has waited
// since the last call: then it has only begun.
func (g *Gatherer) queued(p *Pending) bool {
	g.shares.mu.Lock()
	defer g.shares.mu.Unlock()
	turned := p.turned
	p.turned = false
	return turned || p.queued > 0
}

// leave gives up what p waits for, and ends what nobody else waits for.
func (g *Gatherer) leave(p *Pending) {
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fl := range p.flights {
		if fl.joined != nil {
			fl = fl.joined
		}
		i := slices.Index(fl.waiters, p)
		if i < 0 {
			continue
		}
		if fl.waiters = slices.Delete(fl.waiters, i, i+1); len(fl.waiters) > 0 {
			continue
		}
		switch {
		case fl.cancel != nil:
			fl.cancel()
			if s.flights[fl.key] == fl {
				delete(s.flights, fl.key)
			}
		default:
			s.unqueue(fl)
		}
	}
	p.queued, p.turned = 0, false
	p.flights, p.wanted = p.flights[:0], p.wanted[:0]
	for len(p.arrived) > 0 {
		<-p.arrived
	}
}

// unqueue takes fl out of its network's queue. The caller holds mu.
func (s *shares) unqueue(fl *flight) {
	n := fl.net
	n.queue = slices.DeleteFunc(n.queue, func(f *flight) bool { return f == fl })
	if len(n.queue) == 0 {
		s.waiting = slices.DeleteFunc(s.waiting, func(w *network) bool { return w == n })
	}
	s.exit(n)
}
