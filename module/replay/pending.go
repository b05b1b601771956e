package replay

import (
	"hash/crc32"
	"hash/maphash"
	"net/netip"
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

// table holds messages under way in the order in which they came.
type table struct {
	run   *run
	index map[uint64]*held
	ends  held // of the ring: next is the oldest, prev the newest
	spare *held
}

func (t *table) empty() bool { return len(t.index) == 0 }

// get returns what is held for key, nil without.
func (t *table) get(key uint64) *held { return t.index[key] }

// put holds rec for key, which must not be held yet. The oldest messages are
// given up when they take too much memory; Stats counts them.
func (t *table) put(key uint64, rec Record) *held {
	if t.index == nil {
		t.index = make(map[uint64]*held)
		t.ends.prev, t.ends.next = &t.ends, &t.ends
	}
	h := t.spare
	if h == nil {
		h = new(held)
	}
	t.spare = nil
	*h = held{key: key, rec: rec, prev: t.ends.prev, next: &t.ends}
	h.prev.next, h.next.prev = h, h
	t.index[key] = h
	t.resize(h)
	for t.run.held > maxHeld && t.ends.next != h {
		t.run.st.Skipped[SkippedDropped]++
		t.done(t.ends.next)
	}
	return h
}

// resize counts what h takes after its record has grown.
func (t *table) resize(h *held) {
	const fixed = 512 // the record, its key in the index, the allocator's loss
	size := fixed + len(h.rec.Helo) + len(h.rec.PTR) + len(h.rec.From) + len(h.rec.Reason) +
		len(h.rec.MsgID) + len(h.rec.Server)
	for _, rcpt := range h.rec.Rcpts {
		size += 32 + len(rcpt)
	}
	t.run.held += size - h.size
	h.size = size
}

// drop forgets h without handing it out.
func (t *table) drop(h *held) {
	delete(t.index, h.key)
	h.prev.next, h.next.prev = h.next, h.prev
	t.run.held -= h.size
	h.size, t.spare = 0, h
}

// done forgets h and hands it out.
func (t *table) done(h *held) {
	t.drop(h)
	t.run.emit(&h.rec)
}

// flush hands out all that is held, the oldest first.
func (t *table) flush() {
	for !t.empty() {
		t.done(t.ends.next)
	}
}

var seed = maphash.MakeSeed()

// keyOf makes a table key of a server's name for something and the thing's.
func keyOf[T string | []byte](scope T, id []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	h.WriteString(string(scope))
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

// maxEvents bounds the events that are known to be in an input before.
const maxEvents = 3 << 19

// events finds an event that two inputs hold, such as Exim's mainlog and
// rejectlog: by time, client and all that the record says, and by how many times
// its own input had the like in the same second.
type events struct {
	input  uint64   // number of the current input, from 1
	slots  []uint64 // open addressing: 48 bits of hash, 16 of input; 0 is free
	used   int
	second int64
	alike  map[uint64]uint64
}

// repeated notes rec and reports whether an earlier input had it. Unsure events
// were not looked for.
func (v *events) repeated(rec *Record) (repeated, unsure bool) {
	if rec.Time.IsZero() {
		return false, false
	}
	if at := rec.Time.Unix(); at != v.second || v.alike == nil || len(v.alike) > 4096 {
		v.second, v.alike = at, make(map[uint64]uint64)
	}
	var h maphash.Hash
	h.SetSeed(seed)
	maphash.WriteComparable(&h, rec.Time.UnixNano())
	maphash.WriteComparable(&h, rec.Client)
	for _, s := range append(
		rec.Rcpts, rec.Server, rec.Helo, rec.From, rec.MsgID, rec.Outcome, rec.Reason,
	) {
		h.WriteString(s)
		h.WriteByte(0)
	}
	one := h.Sum64()
	v.alike[one]++
	maphash.WriteComparable(&h, v.alike[one])
	key := h.Sum64() &^ 0xffff
	if key == 0 {
		return false, false
	}
	if v.used >= len(v.slots)*3/4 {
		if len(v.slots)*3/4 >= maxEvents {
			return v.find(key, false), true
		}
		v.grow()
	}
	return v.find(key, true), false
}

func (v *events) find(key uint64, add bool) bool {
	mask := uint64(len(v.slots)) - 1
	for i := key >> 16 & mask; ; i = (i + 1) & mask {
		switch slot := v.slots[i]; {
		case slot == 0:
			if add {
				v.slots[i] = key | v.input&0xffff
				v.used++
			}
			return false
		case slot&^0xffff == key:
			return slot&0xffff != v.input&0xffff
		}
	}
}

func (v *events) grow() {
	old := v.slots
	v.slots = make([]uint64, max(2*len(old), 1024))
	mask := uint64(len(v.slots)) - 1
	for _, slot := range old {
		if slot == 0 {
			continue
		}
		i := slot >> 16 & mask
		for v.slots[i] != 0 {
			i = (i + 1) & mask
		}
		v.slots[i] = slot
	}
}
