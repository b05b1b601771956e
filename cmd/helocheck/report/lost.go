package report

import "maps"

// Bounds of the list of lost messages.
const (
	maxLost   = 2000 // messages
	groupLost = 50   // of one sender
	maxWord   = 320  // octets of an address or a message ID
	maxRcpts  = 20
)

// Lost lists accepted messages that would not reach the inbox at once.
type Lost struct {
	Messages int64    `json:"messages"`
	Senders  []*Group `json:"senders"`
	More     int64    `json:"more"` // messages that are not listed

	groups map[string]*Group // by Sender
	listed int
}

// Group is the lost messages of one organisation.
type Group struct {
	Sender    string     `json:"sender"`
	Messages  int64      `json:"messages"`
	Greetings []Greeting `json:"greetings"`
}

func (l *Lost) add(m *Message) {
	n := int64(m.Count)
	l.Messages += n
	if l.listed >= maxLost {
		return
	}
	org := orgOf(shown(m.Helo))
	g := l.groups[org]
	if g == nil {
		g = &Group{Sender: org}
		l.groups[org] = g
	}
	g.Messages += n
	if len(g.Greetings) < groupLost {
		l.listed++
		g.Greetings = append(g.Greetings, m.greeting().kept())
	}
}

func (l *Lost) sum() {
	l.Senders = ranked(maps.Values(l.groups),
		func(g *Group) int64 { return g.Messages }, func(g *Group) string { return g.Sender })
	l.More = l.First(maxLost).More
}

// First returns the list cut to its first n messages.
func (l *Lost) First(n int) Lost {
	cut := Lost{Messages: l.Messages, More: l.Messages}
	for _, g := range l.Senders {
		part := *g
		part.Greetings = g.Greetings[:min(n, len(g.Greetings))]
		if n -= len(part.Greetings); len(part.Greetings) > 0 {
			cut.Senders = append(cut.Senders, &part)
		}
		for _, listed := range part.Greetings {
			cut.More -= int64(max(1, listed.Count))
		}
	}
	return cut
}
