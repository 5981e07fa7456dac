package store

import (
	"fmt"
	"sync/atomic"
	"time"
)

const (
	minFreeBytes   = 1 << 30 // 1 GiB
	minFreeDivisor = 50      // 2 %
	spaceInterval  = time.Second
)

// spaceGuard refuses writes before the disk is full, because a log write that
// fails halfway ends the process.
type spaceGuard struct {
	probe func() (free, total uint64, err error)
	start time.Time
	next  atomic.Int64 // ns after start at which to look again
	last  atomic.Pointer[error]
}

func newSpaceGuard(probe func() (uint64, uint64, error)) *spaceGuard {
	return &spaceGuard{probe: probe, start: time.Now()}
}

// check returns ErrFull while free space is low. It asks the file system at
// most once a second.
func (g *spaceGuard) check() error {
	now := int64(time.Since(g.start))
	next := g.next.Load()
	first := g.last.Load() == nil
	if (first || now >= next) && (g.next.CompareAndSwap(next, now+int64(spaceInterval)) || first) {
		err := g.look()
		g.last.Store(&err)
		return err
	}
	return *g.last.Load()
}

func (g *spaceGuard) look() error {
	free, total, err := g.probe()
	if err != nil {
		return fmt.Errorf("store: read free space: %w", err)
	}
	if free < max(minFreeBytes, total/minFreeDivisor) {
		return ErrFull
	}
	return nil
}
