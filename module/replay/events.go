package replay

import "hash/maphash"

// maxEvents bounds the events that are known to be in an input before.
const maxEvents = 3 << 19

// events finds an event that two inputs hold, such as Exim's mainlog and rejectlog,
// by time, client and all that the record says.
type events struct {
	input uint64   // number of the current input, from 1
	slots []uint64 // open addressing: 48 bits of hash, 16 of input; 0 is free
	used  int
}

// repeated notes rec and reports whether an earlier input had it. Unsure events
// are not noted, since there are too many.
func (v *events) repeated(rec *Record) (repeated, unsure bool) {
	if rec.Time.IsZero() {
		return false, false
	}
	if v.slots == nil {
		v.slots = make([]uint64, maxEvents/3*4)
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
	const inputs = 0xffff
	key, input := h.Sum64()&^inputs|(inputs+1), v.input&inputs
	for i := key / (inputs + 1); ; i++ {
		switch slot := &v.slots[i%uint64(len(v.slots))]; {
		case *slot&^inputs == key:
			return *slot&inputs != input, false
		case *slot == 0 && v.used == maxEvents:
			return false, true
		case *slot == 0:
			*slot = key | input
			v.used++
			return false, false
		}
	}
}
