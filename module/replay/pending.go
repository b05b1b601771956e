package replay

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
)

// maxHeld bounds the memory of all messages under way, in bytes.
const maxHeld = 12 << 20

// held is a greeting whose answer is not known yet.
type held struct {
	key     uint64
	number  int // in the order in which they came
	rec     Record
	size    int  // bytes that count towards maxHeld
	ok      bool // Maddy: a recipient was taken, so the message may still be
	verdict bool // Maddy: rec.Reason is the rule of our own check
}

// pending holds messages under way. Keys name a message ID of Maddy, a process of Postfix,
// its queue ID, or a client that a policy server of Postfix has seen.
type pending struct {
	index map[uint64]*held
	spare *held // for the next, so that most messages need no new one
	last  int   // number given
	bytes int
}

func (r *run) waiting() bool { return len(r.pending.index) > 0 }

// hold keeps rec for key until its answer is known. When all take too much memory, the oldest
// eighth is given up; Stats counts it.
func (r *run) hold(key uint64, rec *Record) {
	p := &r.pending
	if h := p.index[key]; h != nil {
		r.done(h)
	}
	h := p.spare
	if p.spare = nil; h == nil {
		h = new(held)
	}
	p.last++
	*h = held{key: key, number: p.last, rec: *rec}
	p.index[key] = h
	p.resize(h)
	if p.bytes > maxHeld {
		n := len(p.index) / 8
		r.st.Skipped[SkippedDropped] += int64(n)
		r.giveUp(n)
	}
}

// giveUp hands out the n messages that are held the longest.
func (r *run) giveUp(n int) {
	byAge := func(a, b *held) int { return cmp.Compare(a.number, b.number) }
	for _, h := range slices.SortedFunc(maps.Values(r.pending.index), byAge)[:n] {
		r.done(h)
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

// take forgets what is held for key, and returns it until the next is held.
func (p *pending) take(key uint64) *held {
	h := p.index[key]
	if h != nil {
		delete(p.index, key)
		p.bytes -= h.size
		p.spare = h
	}
	return h
}

// done forgets h and hands it out.
func (r *run) done(h *held) {
	r.pending.take(h.key)
	r.emit(&h.rec)
}

// add gives h the recipients that it does not have.
func (p *pending) add(h *held, rcpts []string) {
	h.rec.Rcpts = merged(h.rec.Rcpts, rcpts)
	p.resize(h)
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
