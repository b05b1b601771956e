package memory

// recent is a bounded cache in two generations: when the new one is full, it becomes the old
// one, and what nobody asked for in between is gone. It needs a lock around it.
type recent[K comparable, V any] struct {
	young, old map[K]V
	half       int // entries of one generation
}

func newRecent[K comparable, V any](entries int) recent[K, V] {
	return recent[K, V]{young: map[K]V{}, half: entries / 2}
}

func (c *recent[K, V]) get(k K) (V, bool) {
	if v, ok := c.young[k]; ok {
		return v, true
	}
	v, ok := c.old[k]
	if ok {
		c.put(k, v)
	}
	return v, ok
}

func (c *recent[K, V]) put(k K, v V) {
	if _, ok := c.young[k]; !ok && len(c.young) >= c.half {
		c.young, c.old = make(map[K]V, c.half), c.young
	}
	c.young[k] = v
}
