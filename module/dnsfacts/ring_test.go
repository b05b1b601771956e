package dnsfacts

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// What a ring has is what was put last, within its bound, whatever the order.
func TestRing(t *testing.T) {
	for _, places := range []int{0, 1, 2, 7, 100, firstSlots + 10, 3 * firstSlots} {
		r, rnd := newRing(places), rand.New(rand.NewPCG(1, uint64(places)))
		last, hits := make(map[uint64][]byte), 0
		for range 4*places + 1000 {
			hash := rnd.Uint64N(uint64(2*places + 2))
			switch rnd.IntN(8) {
			case 0:
				r.drop(hash)
				delete(last, hash)
			case 1, 2:
				got := r.get(hash)
				if got == nil {
					continue
				}
				hits++
				if !bytes.Equal(got, last[hash]) {
					t.Fatalf("%d places, %d: %q, want %q", places, hash, got, last[hash])
				}
			default:
				last[hash] = bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(4*slotOctets))
				r.put(hash, last[hash])
			}
		}
		used := 0
		for hash := range r.index {
			used += slotsOf(len(r.get(hash)))
		}
		if used != r.used || used > places || places > 1 && hits == 0 {
			t.Errorf("%d places: %d used, said to be %d, %d hits", places, used, r.used, hits)
		}
	}
}

// The oldest give way, and nothing else.
func TestRingOrder(t *testing.T) {
	const places = 10
	r := newRing(places)
	for hash := range uint64(places + 3) {
		r.put(hash, []byte{byte(hash)})
	}
	for hash := range uint64(places + 3) {
		if want := hash >= 3; (r.get(hash) != nil) != want {
			t.Errorf("%d: kept is not %t", hash, want)
		}
	}
	r.put(1000, make([]byte, 3*slotOctets)) // takes four
	for hash := uint64(3); hash < places+3; hash++ {
		if want := hash >= 7; (r.get(hash) != nil) != want {
			t.Errorf("after a long one, %d: kept is not %t", hash, want)
		}
	}
}
