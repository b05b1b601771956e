package report

// distinct counts different names in bounded memory: exactly up to limit, then
// by adaptive sampling (Wegman): of the names' hashes only those are kept whose
// lowest level bits are zero, and each of them stands for 2^level names. The
// result depends on the names alone, not on their order.
type distinct struct {
	limit  int
	level  uint
	hashes map[uint64]struct{}
}

func (d *distinct) add(hash uint64) {
	if hash&d.mask() != 0 {
		return
	}
	if d.hashes == nil {
		d.hashes = make(map[uint64]struct{})
	}
	d.hashes[hash] = struct{}{}
	for len(d.hashes) > d.limit {
		d.level++
		for h := range d.hashes {
			if h&d.mask() != 0 {
				delete(d.hashes, h)
			}
		}
	}
}

func (d *distinct) mask() uint64 { return 1<<d.level - 1 }

// count returns the number of names and whether it is exact.
func (d *distinct) count() (n int, exact bool) {
	return len(d.hashes) << d.level, d.level == 0
}

// hash mixes a name well into all bits, upper and lower case alike.
func hash(name string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
