package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/store"
)

const (
	// readerGrace is how long the segments of a replaced object stay, for those
	// who still read it.
	readerGrace = time.Hour
	// orphanAge is how old a segment that no row names must be before it is
	// deleted: an upload commits its row within moments of its segment.
	orphanAge = 24 * time.Hour
	// sweepBatch is how many rows one transaction of a sweep handles.
	sweepBatch = 500
)

// Sweep deletes the segments of replaced and deleted objects whose grace has
// ended, and segments of at least a day that no row names: what a crash between
// segment and row left behind. Nothing is deleted when a row cannot be read. It
// may run beside requests, and on several nodes.
func (s *Service) Sweep(ctx context.Context) error {
	if err := s.sweepGarbage(ctx); err != nil {
		return err
	}
	return s.sweepOrphans(ctx)
}

func (s *Service) sweepGarbage(ctx context.Context) error {
	now := s.cfg.Now().UnixMicro()
	for {
		var due []garbageRow
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			for row, err := range garbage.Scan(tx, nil, store.ScanOptions{Limit: sweepBatch}) {
				if err != nil {
					return err
				}
				if row.Value.Due > now {
					break
				}
				due = append(due, row.Value)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("s3: read garbage: %w", err)
		}
		if len(due) == 0 {
			return nil
		}
		for _, g := range due {
			if err := s.cfg.Blobs.Delete(ctx, g.ID); err != nil && !errors.Is(err, blob.ErrNotFound) {
				return fmt.Errorf("s3: delete garbage: %w", err)
			}
		}
		// The rows go last: what fails before is tried again.
		err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			for _, g := range due {
				if err := garbage.Delete(tx, g.name(), g.ID.String()); err != nil {
					return err
				}
				if err := segments.Delete(tx, g.ID.String()); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("s3: forget garbage: %w", err)
		}
	}
}

func (s *Service) sweepOrphans(ctx context.Context) error {
	limit := s.cfg.Now().Add(-orphanAge)
	for info, err := range s.cfg.Blobs.List(ctx) {
		if err != nil {
			return fmt.Errorf("s3: list segments: %w", err)
		}
		if info.ModTime.After(limit) || info.ID.Time().After(limit) {
			continue
		}
		named, err := s.named(ctx, info.ID)
		if err != nil {
			return err
		}
		if named {
			continue
		}
		if err := s.cfg.Blobs.Delete(ctx, info.ID); err != nil && !errors.Is(err, blob.ErrNotFound) {
			return fmt.Errorf("s3: delete orphan: %w", err)
		}
	}
	return nil
}

// named reports whether a row stands for the segment. Garbage keeps its row until
// its grace has ended, so it is no orphan.
func (s *Service) named(ctx context.Context, id blob.ID) (bool, error) {
	var named bool
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		named, err = segments.Exists(tx, id.String())
		return err
	})
	if err != nil {
		return false, fmt.Errorf("s3: look for segment %s: %w", id, err)
	}
	if named || s.cfg.ForeignSegment == nil {
		return named, nil
	}
	return s.cfg.ForeignSegment(ctx, id)
}

// Maintain sweeps at every interval until ctx ends. The server starts it once.
func (s *Service) Maintain(ctx context.Context, interval time.Duration, log *slog.Logger) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := s.Sweep(ctx); err != nil && ctx.Err() == nil {
			log.Error("object sweep failed", "service", "s3", "error", err)
		}
	}
}
