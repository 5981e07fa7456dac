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

	// journalShare of the space that writes leave alone is left alone by the
	// journal too; the rest is for the records of reads, which go on when writes
	// are refused.
	journalShare = 8
)

// spaceGuard refuses writes before the disk is full, because a log write that
// fails halfway ends the process.
type spaceGuard struct {
	probe func() (free, total uint64, err error)
	start time.Time
	next  atomic.Int64 // ns after start at which to look again
	last  atomic.Pointer[spaceState]
}

// spaceState is what the last look found: the answer to writes, and to records.
type spaceState struct{ write, record error }

func newSpaceGuard(probe func() (uint64, uint64, error)) *spaceGuard {
	return &spaceGuard{probe: probe, start: time.Now()}
}

// check returns ErrFull while free space is too low for writes.
func (g *spaceGuard) check() error { return g.state().write }

// checkRecord returns ErrFull while free space is too low even for records.
func (g *spaceGuard) checkRecord() error { return g.state().record }

// state asks the file system at most once a second.
func (g *spaceGuard) state() *spaceState {
	now := int64(time.Since(g.start))
	next := g.next.Load()
	first := g.last.Load() == nil
	if (first || now >= next) && (g.next.CompareAndSwap(next, now+int64(spaceInterval)) || first) {
		st := g.look()
		g.last.Store(st)
		return st
	}
	return g.last.Load()
}

func (g *spaceGuard) look() *spaceState {
	free, total, err := g.probe()
	if err != nil {
		err = fmt.Errorf("store: read free space: %w", err)
		return &spaceState{write: err, record: err}
	}
	st, reserve := &spaceState{}, max(minFreeBytes, total/minFreeDivisor)
	if free < reserve {
		st.write = ErrFull
	}
	if free < reserve/journalShare {
		st.record = ErrFull
	}
	return st
}
