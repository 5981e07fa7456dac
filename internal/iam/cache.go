package iam

import "sync"

// cache is a map in memory, bounded by its entries and by what they take: one
// user can have more policies than thousands of others together. Its values carry
// what they were decided under; the cache itself knows no age.
type cache[K comparable, V any] struct {
	mu   sync.RWMutex
	m    map[K]V
	max  int         // entries
	room int         // bytes
	size func(V) int // bytes, about, that an entry takes; the same at every call
	held int         // bytes
}

func newCache[K comparable, V any](entries, room int, size func(V) int) *cache[K, V] {
	return &cache[K, V]{m: make(map[K]V), max: entries, room: room, size: size}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.m[k]
	return v, ok
}

// put stores v. A full cache drops an eighth of its entries, whichever come. What
// would take an eighth of the room is not kept at all.
func (c *cache[K, V]) put(k K, v V) {
	n := c.size(v)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(k)
	if n > c.room/8 {
		return
	}
	if len(c.m) >= c.max || c.held+n > c.room {
		entries, bytes := c.max-max(c.max/8, 1), c.room-c.room/8
		for old := range c.m {
			if len(c.m) <= entries && c.held+n <= bytes {
				break
			}
			c.drop(old)
		}
	}
	c.m[k] = v
	c.held += n
}

func (c *cache[K, V]) drop(k K) {
	if old, have := c.m[k]; have {
		c.held -= c.size(old)
		delete(c.m, k)
	}
}
