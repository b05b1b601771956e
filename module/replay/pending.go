package replay

import (
	"hash/crc32"
	"hash/maphash"
	"net/netip"
)

// maxHeld bounds how many messages under way a table remembers.
const maxHeld = 1024

// held is a greeting whose answer is not known yet.
type held struct {
	key     uint64
	live    bool
	rec     Record
	ok      bool // Maddy: a recipient was taken, so the message may still be
	verdict bool // Maddy: rec.Reason is the rule of our own check
}

// table holds messages under way, the oldest given up first.
type table struct {
	settle func(*held) // hands out what is given up
	slots  []held
	index  map[uint64]int
	next   int
}

func (t *table) empty() bool { return len(t.index) == 0 }

// get returns what is held for key, nil without.
func (t *table) get(key uint64) *held {
	if i, ok := t.index[key]; ok {
		return &t.slots[i]
	}
	return nil
}

// put makes room for key, which must not be held yet.
func (t *table) put(key uint64) *held {
	if t.slots == nil {
		t.slots = make([]held, maxHeld)
		t.index = make(map[uint64]int, maxHeld)
	}
	h := &t.slots[t.next]
	if h.live {
		t.done(h)
	}
	*h = held{key: key, live: true}
	t.index[key] = t.next
	t.next = (t.next + 1) % maxHeld
	return h
}

// drop forgets h without handing it out.
func (t *table) drop(h *held) {
	delete(t.index, h.key)
	h.live = false
}

// done forgets h and hands it out.
func (t *table) done(h *held) {
	t.drop(h)
	t.settle(h)
}

// flush hands out all that is held, the oldest first.
func (t *table) flush() {
	for i := range t.slots {
		if h := &t.slots[(t.next+i)%maxHeld]; h.live {
			t.done(h)
		}
	}
}

// settle hands out a held record as it is.
func (r *run) settle(h *held) { r.emit(&h.rec) }

var seed = maphash.MakeSeed()

// keyOf makes a table key of a server's name for something and the thing's.
func keyOf(scope, id []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.Write(scope)
	h.WriteByte(0)
	h.Write(id)
	return h.Sum64()
}

// ptrNote is a PTR name that Postfix names only when it does not use it.
type ptrNote struct {
	client netip.Addr
	name   string
	state  PTRState
}

// ptrNotes remembers the latest notes, one per process and remainder: the same
// ones on every run, so this does not use the seed.
type ptrNotes [1024]ptrNote

func (p *ptrNotes) slot(who []byte) *ptrNote {
	return &p[crc32.ChecksumIEEE(who)%uint32(len(p))]
}
