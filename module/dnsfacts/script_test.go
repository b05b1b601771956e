//go:build go1.25

package dnsfacts

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/miekg/dns"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// script answers from a zone without a network, so that a test in a bubble of
// testing/synctest decides about time.
type script struct {
	delay time.Duration
	// silent, if set, reports whether a question gets no answer.
	silent func(q dns.Question) bool

	zone      *dnstest.Server
	mu        sync.Mutex
	asked     []string
	now, most int // questions under way
}

func scripted(t *testing.T, zone string) (*Gatherer, *script) {
	t.Helper()
	s := &script{zone: dnstest.Serve(t, zone)}
	return &Gatherer{Exchange: s.exchange, Timeout: 2 * time.Second, Cache: NewCache(1)}, s
}

func (s *script) exchange(ctx context.Context, m *dns.Msg) (*dns.Msg, error) {
	q := m.Question[0]
	s.mu.Lock()
	s.asked = append(s.asked, strings.TrimSuffix(q.Name, ".")+" "+dns.TypeToString[q.Qtype])
	s.now++
	s.most = max(s.most, s.now)
	silent := s.silent != nil && s.silent(q)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.now--
	}()
	var answered <-chan time.Time
	if !silent {
		answered = time.After(s.delay)
	}
	select {
	case <-answered:
		return s.zone.Answer(m, s.zone.Mode(q.Name), "tcp"), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// questions returns what was asked since the last call, sorted.
func (s *script) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	slices.Sort(asked)
	return asked
}

func (s *script) underWay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *script) mostAtOnce() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// idle fails the test when the gatherer has anything left.
func idle(t *testing.T, g *Gatherer) {
	t.Helper()
	time.Sleep((burst + 1) * time.Second) // for which a network is remembered
	synctest.Wait()
	s := &g.shares
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking+s.jobs+len(s.networks)+len(s.waiting)+len(s.flights)+len(s.greetings) != 0 {
		t.Errorf("left: %d questions, %d jobs, %d networks, %d waiting, %d flights, %d greetings",
			s.asking, s.jobs, len(s.networks), len(s.waiting), len(s.flights), len(s.greetings))
	}
}
