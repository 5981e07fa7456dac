package iam

import "sync"

// cache is a bounded map in memory. Its values carry what they were decided
// under; the cache itself knows no age.
type cache[K comparable, V any] struct {
	mu  sync.RWMutex
	m   map[K]V
	max int
}

func newCache[K comparable, V any](entries int) *cache[K, V] {
	return &cache[K, V]{m: make(map[K]V), max: entries}
}

func (c *cache[K, V]) get(k K) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	v, ok := c.m[k]
	return v, ok
}

// put stores v. A full cache drops an eighth of its entries, whichever come.
func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, have := c.m[k]; !have && len(c.m) >= c.max {
		drop := max(c.max/8, 1)
		for old := range c.m {
			delete(c.m, old)
			if drop--; drop == 0 {
				break
			}
		}
	}
	c.m[k] = v
}
