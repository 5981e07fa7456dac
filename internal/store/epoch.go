package store

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

const epochClass = "store.epoch"

// epochs holds the counters that cache entries are judged by. A counter rises
// after a commit became visible and before its Update returns; a value that was
// read once is never given again to a later state of the rows.
type epochs struct {
	m       sync.Map // string -> *atomic.Uint64
	unknown atomic.Uint64
}

// Epoch returns the current counter of name, 0 when it was never bumped. Take
// it before reading the rows that a cache entry is made from, keep it with the
// entry, and use the entry only while Epoch still returns the same number.
func (s *Store) Epoch(name string) uint64 {
	c := s.counter(name)
	if c == nil {
		// The counter cannot be read: a number that never comes again makes
		// every cache entry invalid.
		return ^s.epochs.unknown.Add(1)
	}
	return c.Load()
}

// EpochKnown reports whether the counter of name is in memory, where it stays
// once it was asked for.
func (s *Store) EpochKnown(name string) bool {
	_, ok := s.epochs.m.Load(name)
	return ok
}

// counter returns the counter of name, read from its row the first time, or
// nil when the row cannot be read.
func (s *Store) counter(name string) *atomic.Uint64 {
	if c, ok := s.epochs.m.Load(name); ok {
		return c.(*atomic.Uint64)
	}
	var n uint64
	err := s.d.View(context.Background(), func(r driver.Reader) (err error) {
		n, err = readEpoch(r, s.epochKey(name))
		return err
	})
	if err != nil {
		return nil
	}
	c := new(atomic.Uint64)
	c.Store(n)
	got, _ := s.epochs.m.LoadOrStore(name, c)
	return got.(*atomic.Uint64)
}

// Bump raises the epoch of name in the commit of tx: every cache entry that
// was made under the old counter is void when Update returns. It has no effect
// in a View.
func (tx *Tx) Bump(epoch string) {
	if tx.w == nil || tx.done || slices.Contains(tx.bumps, epoch) {
		return
	}
	tx.writes++
	tx.bumps = append(tx.bumps, epoch)
}

func (tx *Tx) writeEpochs() error {
	for _, name := range tx.bumps {
		key := tx.s.epochKey(name)
		n, err := readEpoch(tx.r, key)
		if err != nil {
			return err
		}
		// Known from here on, so that the raise after the commit finds it.
		c := new(atomic.Uint64)
		c.Store(n)
		tx.s.epochs.m.LoadOrStore(name, c)
		value := binary.BigEndian.AppendUint64([]byte{rowVersion}, n+1)
		if err := tx.w.Set(key, value); err != nil {
			return fmt.Errorf("raise epoch: %w", err)
		}
	}
	return nil
}

// raiseEpochs makes the bumps of tx visible. It adds rather than sets, so that
// the counter changes even if this commit failed and its number is used again.
func (tx *Tx) raiseEpochs() {
	for _, name := range tx.bumps {
		if c, ok := tx.s.epochs.m.Load(name); ok {
			c.(*atomic.Uint64).Add(1)
		}
	}
}

func (s *Store) epochKey(name string) []byte {
	mac := s.sealer.MAC(epochClass, []byte(name))
	return append([]byte{spaceEpoch}, mac[:]...)
}

func readEpoch(r driver.Reader, key []byte) (uint64, error) {
	b, err := r.Get(key)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read epoch: %w", err)
	}
	if len(b) > 0 && b[0] > rowVersion {
		return 0, fmt.Errorf("read epoch: %w", ErrNewerFormat)
	}
	if len(b) != 9 || b[0] != rowVersion {
		return 0, fmt.Errorf("read epoch: %w", ErrDamaged)
	}
	return binary.BigEndian.Uint64(b[1:]), nil
}
