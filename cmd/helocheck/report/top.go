package report

import (
	"cmp"
	"slices"
)

// top keeps the most common keys in bounded memory. As long as no more than
// 2*keep different ones come, it is exact; later the rare ones are forgotten
// from time to time, so that a count can be too low, by at most a keep-th of
// all messages each time.
type top[K cmp.Ordered] struct {
	keep    int
	entries map[K]*entry
	inexact bool
}

type entry struct {
	n    int64
	note string // of the first message
}

func (t *top[K]) add(key K, n int64, note func() string) {
	if e := t.entries[key]; e != nil {
		e.n += n
		return
	}
	if t.entries == nil {
		t.entries = make(map[K]*entry)
	}
	e := &entry{n: n}
	if note != nil {
		e.note = note()
	}
	t.entries[key] = e
	if len(t.entries) > 2*t.keep {
		t.prune()
	}
}

// prune forgets all keys that are not more common than the keep-th.
func (t *top[K]) prune() {
	counts := make([]int64, 0, len(t.entries))
	for _, e := range t.entries {
		counts = append(counts, e.n)
	}
	slices.Sort(counts)
	least := counts[len(counts)-t.keep]
	for key, e := range t.entries {
		if e.n <= least {
			delete(t.entries, key)
		}
	}
	t.inexact = true
}

// counted is one key with its count.
type counted[K cmp.Ordered] struct {
	Key      K
	Messages int64
	Note     string
}

// first returns the n most common keys; of equally common ones those that sort first.
func (t *top[K]) first(n int) []counted[K] {
	all := make([]counted[K], 0, len(t.entries))
	for key, e := range t.entries {
		all = append(all, counted[K]{key, e.n, e.note})
	}
	slices.SortFunc(all, func(a, b counted[K]) int {
		return cmp.Or(cmp.Compare(b.Messages, a.Messages), cmp.Compare(a.Key, b.Key))
	})
	return all[:min(n, len(all))]
}
