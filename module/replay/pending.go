package replay

import (
	"hash/maphash"
	"slices"
	"strings"
)

// maxHeld bounds the memory of all messages under way, in bytes.
const maxHeld = 12 << 20

// held is a greeting whose answer is not known yet.
type held struct {
	key        uint64
	prev, next *held
	rec        Record
	size       int  // bytes that count towards maxHeld
	ok         bool // Maddy: a recipient was taken, so the message may still be
	verdict    bool // Maddy: rec.Reason is the rule of our own check
}

// pending holds messages under way in the order in which they came. Keys name a
// message ID of Maddy, a process of Postfix, its queue ID, or a client that a policy
// server of Postfix has seen.
type pending struct {
	index map[uint64]*held
	ends  held // of the ring: next is the oldest, prev the newest
	spare *held
	bytes int
}

func (p *pending) init() {
	p.index = make(map[uint64]*held)
	p.ends.prev, p.ends.next = &p.ends, &p.ends
}

func (r *run) waiting() bool { return len(r.pending.index) > 0 }

// hold keeps rec for key until its answer is known. Of messages that take too much
// memory the oldest are given up; Stats counts them.
func (r *run) hold(key uint64, rec *Record) {
	p := &r.pending
	if h := p.index[key]; h != nil {
		r.done(h)
	}
	h := p.spare
	if h == nil {
		h = new(held)
	}
	p.spare = nil
	*h = held{key: key, rec: *rec, prev: p.ends.prev, next: &p.ends}
	h.prev.next, h.next.prev = h, h
	p.index[key] = h
	p.resize(h)
	for p.bytes > maxHeld && p.ends.next != h {
		r.st.Skipped[SkippedDropped]++
		r.done(p.ends.next)
	}
}

// resize counts what h takes after its record has grown.
func (p *pending) resize(h *held) {
	const fixed = 512 // the record, its key in the index, the allocator's loss
	size := fixed + len(h.rec.Helo) + len(h.rec.PTR) + len(h.rec.From) + len(h.rec.Reason) +
		len(h.rec.MsgID) + len(h.rec.Server)
	for _, rcpt := range h.rec.Rcpts {
		size += 32 + len(rcpt)
	}
	p.bytes += size - h.size
	h.size = size
}

// drop forgets h without handing it out.
func (p *pending) drop(h *held) {
	delete(p.index, h.key)
	h.prev.next, h.next.prev = h.next, h.prev
	p.bytes -= h.size
	h.size, p.spare = 0, h
}

// take forgets what is held for key, and returns it.
func (p *pending) take(key uint64) *held {
	h := p.index[key]
	if h != nil {
		p.drop(h)
	}
	return h
}

// add gives h the recipients that it does not have.
func (p *pending) add(h *held, rcpts []string) {
	h.rec.Rcpts = merged(h.rec.Rcpts, rcpts)
	p.resize(h)
}

// done forgets h and hands it out.
func (r *run) done(h *held) {
	r.pending.drop(h)
	r.emit(&h.rec)
}

// flush hands out all that is held, the oldest first.
func (r *run) flush() {
	for r.waiting() {
		r.done(r.pending.ends.next)
	}
}

// merged adds the recipients that are not there yet.
func merged(to, from []string) []string {
	for _, rcpt := range from {
		if len(to) < maxRcpts && !containsFold(to, rcpt) {
			to = append(to, rcpt)
		}
	}
	return to
}

func containsFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(other string) bool { return strings.EqualFold(other, s) })
}

var seed = maphash.MakeSeed()

// keyOf makes a key of a server's name for something and the thing's.
func keyOf[T string | []byte](scope T, id []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(string(scope))
	h.WriteByte(0)
	h.Write(id)
	return h.Sum64()
}
