package store

import (
	"bytes"
	"fmt"
	"strings"
	"sync"
)

// The first byte of every raw key. See docs/formats/rows.md.
const (
	spaceMeta    = 0x01
	spaceHashed  = 0x10
	spaceOrdered = 0x11
	spaceIndex   = 0x12
	spaceJournal = 0x20
	spaceEpoch   = 0x30
)

// Key is a tuple of components. A scan's prefix names the leading ones.
type Key []string

// appendTuple adds k so that encoded tuples sort as the tuples do, component by
// component, and a shorter tuple is a byte prefix of every longer one it
// begins: 00 becomes 00 FF inside a component, and 00 01 ends it.
func appendTuple(b []byte, k ...string) []byte {
	for _, c := range k {
		b = appendEscaped(b, c)
		b = append(b, 0x00, 0x01)
	}
	return b
}

func appendEscaped(b []byte, c string) []byte {
	for {
		i := strings.IndexByte(c, 0)
		if i < 0 {
			return append(b, c...)
		}
		b = append(b, c[:i]...)
		b = append(b, 0x00, 0xFF)
		c = c[i+1:]
	}
}

// after returns the first key that has not b as a prefix and sorts behind it,
// or nil when there is none.
func after(b []byte) []byte {
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] != 0xFF {
			end := bytes.Clone(b[:i+1])
			end[i]++
			return end
		}
	}
	return nil
}

// appendHashed adds one MAC per component. Each covers the components before
// it as well, so that equal names in different places do not look equal.
func (s *Store) appendHashed(b []byte, class string, k ...string) []byte {
	if len(k) == 0 {
		return b
	}
	tuple := appendTuple(make([]byte, 0, 128), k...)
	// The MACs of all but the last component repeat from row to row.
	head := len(k) - 1
	if head > 0 {
		end := 0
		for _, c := range k[:head] {
			end += len(c) + strings.Count(c, "\x00") + 2
		}
		b = append(b, s.names.lookup(class, tuple[:end], func() []byte {
			var macs []byte
			at := 0
			for _, c := range k[:head] {
				at += len(c) + strings.Count(c, "\x00") + 2
				mac := s.sealer.MAC(class, tuple[:at])
				macs = append(macs, mac[:]...)
			}
			return macs
		})...)
	}
	mac := s.sealer.MAC(class, tuple)
	return append(b, mac[:]...)
}

// nameCache remembers the MACs of leading key components in memory.
type nameCache struct {
	mu sync.RWMutex
	m  map[string][]byte
}

const nameCacheSize = 4096

func (c *nameCache) lookup(class string, tuple []byte, compute func() []byte) []byte {
	var buf [160]byte
	name := append(append(append(buf[:0], class...), 0), tuple...)
	c.mu.RLock()
	macs, ok := c.m[string(name)]
	c.mu.RUnlock()
	if ok {
		return macs
	}
	macs = compute()
	if len(name) > 1024 {
		return macs
	}
	c.mu.Lock()
	if c.m == nil || len(c.m) >= nameCacheSize {
		c.m = make(map[string][]byte)
	}
	c.m[string(name)] = macs
	c.mu.Unlock()
	return macs
}

// checkName keeps classes and index names free of the byte that ends them.
func checkName(name string) {
	ok := name != "" && len(name) <= 64
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_')
	}
	if !ok {
		panic(fmt.Sprintf("store: class or index name %q is not 1-64 of a-z 0-9 . - _", name))
	}
}
