package dnsfacts

import "encoding/binary"

const (
	// slotOctets holds an ordinary answer with its key and bookkeeping; a
	// longer one takes several slots.
	slotOctets = 96
	// firstSlots is how many a ring has from the start, where it may have so
	// many: 768 KiB.
	firstSlots = 8192
)

// ring keeps packed entries one behind the other in the slots of one block.
// When all are taken, new entries take the place of the oldest. Nothing in it is
// a pointer, so the garbage collector has nothing to follow however full it is.
type ring struct {
	places int // bound of slots
	block  []byte
	begins []bool            // an entry begins in the slot
	index  map[uint64]uint32 // hash of a key to the slot where its entry begins
	next   int               // slot to write to
	used   int               // slots of entries
	full   bool              // next has come to the end once
}

// An entry begins with the hash and the length of what follows.
const entryHead = 8 + 4

func newRing(places int) ring {
	n := min(firstSlots, places)
	return ring{
		places: places,
		block:  make([]byte, n*slotOctets), // is not touched, and so takes no memory yet
		begins: make([]bool, n),
		index:  make(map[uint64]uint32),
	}
}

// grow makes room for more slots, within the bound.
func (r *ring) grow(more int) {
	n := min(len(r.begins)+more, r.places) - len(r.begins)
	r.begins = append(r.begins, make([]bool, n)...)
	r.block = append(r.block, make([]byte, n*slotOctets)...)
}

// get returns what was put under hash, nil for nothing. It is the caller's until
// the next put.
func (r *ring) get(hash uint64) []byte {
	slot, ok := r.index[hash]
	if !ok {
		return nil
	}
	head := r.block[int(slot)*slotOctets:]
	return head[entryHead : entryHead+binary.LittleEndian.Uint32(head[8:])]
}

// put keeps data under hash, in the place of what was there. Data that takes
// more than the whole ring is not kept.
func (r *ring) put(hash uint64, data []byte) {
	n := slotsOf(len(data))
	slot := int(r.index[hash])
	have := r.drop(hash)
	if n > r.places {
		return
	}
	if have < n {
		slot = r.claim(n)
	}
	head := r.block[slot*slotOctets:]
	binary.LittleEndian.PutUint64(head, hash)
	binary.LittleEndian.PutUint32(head[8:], uint32(len(data))) //nolint:gosec // 64 KiB
	copy(head[entryHead:], data)
	r.begins[slot] = true
	r.index[hash] = uint32(slot) //nolint:gosec // within places
	r.used += n
}

// drop removes the entry of hash and returns how many slots it had.
func (r *ring) drop(hash uint64) (n int) {
	slot, ok := r.index[hash]
	if !ok {
		return 0
	}
	delete(r.index, hash)
	r.begins[slot] = false
	n = slotsOf(int(binary.LittleEndian.Uint32(r.block[int(slot)*slotOctets+8:])))
	r.used -= n
	return n
}

// claim returns the first of n slots in a row, whose entries it removes. It goes
// round in one direction, so what begins before them and reaches into them has
// been removed already.
func (r *ring) claim(n int) (slot int) {
	if r.next+n > len(r.begins) && len(r.begins) < r.places {
		r.grow(max(n, len(r.begins)))
	}
	if r.next+n > len(r.begins) {
		r.next, r.full = 0, true
	}
	slot = r.next
	r.next += n
	for i := slot; i < r.next; i++ {
		if r.begins[i] {
			r.drop(binary.LittleEndian.Uint64(r.block[i*slotOctets:]))
		}
	}
	return slot
}

func slotsOf(data int) int { return (entryHead + data + slotOctets - 1) / slotOctets }

// seen remembers hashes for a while, in little memory and not always rightly.
type seen []uint8

// before reports whether it was asked for hash lately, and remembers it.
func (s seen) before(hash uint64) bool {
	at, mark := &s[hash%uint64(len(s))], uint8(hash>>56)
	if *at == mark {
		return true
	}
	*at = mark
	return false
}
