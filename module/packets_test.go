package module_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"maddy.example/checkhelo/module/dnsfacts/dnstest"
)

// mangler spoils answers on their way as a bad network or box between may do.
// It changes no octet within a record: UDP's checksum finds that.
type mangler struct {
	s *dnstest.Server

	mu     sync.Mutex
	random *rand.Rand
	last   []byte // the answer before
	made   map[string]int

	waiting late
}

// manglings are ways to spoil a packet whose question ends at an octet.
// None left is a lost packet.
var manglings = map[string]func(m *mangler, packet []byte, end int) [][]byte{
	"lost":    func(*mangler, []byte, int) [][]byte { return nil },
	"doubled": func(_ *mangler, p []byte, _ int) [][]byte { return [][]byte{p, p} },
	"cut": func(m *mangler, p []byte, _ int) [][]byte {
		return [][]byte{p[:m.random.IntN(len(p))]}
	},
	"cut after the question": func(_ *mangler, p []byte, end int) [][]byte { return [][]byte{p[:end]} },
	"too long": func(_ *mangler, p []byte, _ int) [][]byte {
		return [][]byte{append(p, strings.Repeat("\xff", 40)...)}
	},
	"of another question": func(m *mangler, p []byte, _ int) [][]byte {
		other := append([]byte(nil), m.last...)
		copy(other, p[:2]) // with the right ID
		return [][]byte{other, p}
	},
	"of another ID": func(_ *mangler, p []byte, _ int) [][]byte {
		p[0]++
		return [][]byte{p}
	},
	"more counted": func(m *mangler, p []byte, _ int) [][]byte {
		p[7+2*m.random.IntN(3)] += byte(1 + m.random.IntN(200))
		return [][]byte{p}
	},
	"pointer to itself": func(_ *mangler, p []byte, end int) [][]byte {
		return [][]byte{append(append(p[:end:end], 0xc0, byte(end)), p[min(end+2, len(p)):]...)}
	},
	"marked as cut": func(_ *mangler, p []byte, end int) [][]byte {
		const tc = 2 // the flag in the third octet, RFC 1035, 4.1.1
		p[2] |= tc
		return [][]byte{p[:end]}
	},
}

// pick leaves half of the packets as they are. The others are spoilt, and some of them late.
func (m *mangler) pick(packet []byte, end int) (packets [][]byte, isLate bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	whole := append([]byte(nil), packet...)
	defer func() { m.last = whole }()
	lot := m.random.IntN(2 * len(manglings))
	for name, mangle := range manglings {
		if lot--; lot < 0 {
			m.made[name]++
			return mangle(m, packet, end), m.random.IntN(2) == 0
		}
	}
	return [][]byte{packet}, false
}

func (m *mangler) answer(w dns.ResponseWriter, q *dns.Msg) bool {
	full := m.s.Answer(q, "", w.RemoteAddr().Network())
	packet, err := full.Pack()
	if err != nil {
		return false
	}
	packets, isLate := m.pick(packet, (&dns.Msg{Question: q.Question}).Len())
	write := func() {
		for _, p := range packets {
			_, _ = w.Write(p)
		}
	}
	if isLate && w.RemoteAddr().Network() == "udp" {
		m.waiting.hold(write) // others overtake it
	} else {
		write()
	}
	return true
}

// Broken packets between the server and its resolver cost no good client
// anything, each of which is looked up for the first time.
func TestGoodClientsAmidBrokenPackets(t *testing.T) {
	const clients, atOnce = 120, 30
	resolver := zone(t)
	name := func(i int) string { return fmt.Sprintf("mail%d.example.net", i) }
	for i := range clients {
		err := resolver.Add(fmt.Sprintf("%[1]s A 127.0.5.%[2]d\nptr 127.0.5.%[2]d %[1]s\n"+
			"%[1]s MX 10 %[1]s\n%[1]s TXT v=spf1 a -all", name(i), 1+i))
		if err != nil {
			t.Fatal(err)
		}
	}
	s := start(t, mx(withDNS("strict", resolver, "dns_timeout 2s", "private_address_action off",
		"blocklists dbl.example")))
	hold := func(i int, helo string, want int) {
		one := session{source: fmt.Sprintf("127.0.5.%d", 1+i), helo: helo,
			rcpts: []string{"user@receiver-bench.org"}}
		if err := one.run(s.ports["smtp"]); err != nil || len(one.codes) != 1 || one.codes[0] != want {
			t.Errorf("%s: %v, %v, want %d", helo, one.codes, err, want)
		}
	}
	hold(0, name(0), 250)
	m := &mangler{s: resolver, random: rand.New(rand.NewPCG(8, 0)), made: make(map[string]int),
		waiting: late{most: 8}}
	resolver.SetHook(m.answer)
	var wg sync.WaitGroup
	next := make(chan int)
	for range atOnce {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				hold(i, name(i), 250)
			}
		}()
	}
	for i := 1; i < clients; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
	if n := s.logged("helo verdict"); n != 0 {
		t.Errorf("%d good clients hit a rule, see %s", n, s.waitLog(t, "helo verdict"))
	}
	resolver.SetHook(nil)
	s.looksUp(t)
	s.waitLog(t, "helo verdict")
	m.mu.Lock()
	defer m.mu.Unlock()
	for fault := range manglings {
		if m.made[fault] == 0 {
			t.Errorf("no packet was %s", fault)
		}
	}
}
