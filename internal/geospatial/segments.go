package geospatial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/envelope/segment"
	"github.com/sagekeep/sagekeep/internal/secret"
	"github.com/sagekeep/sagekeep/internal/store"
)

// segmentContext says whose and what the bytes of a segment are. NUL stands in
// none of the parts.
func segmentContext(parts ...string) []byte { return []byte(strings.Join(parts, "\x00")) }

func assetContext(c ref, item, asset string) []byte {
	return segmentContext("geospatial asset", c.Account, c.Region, c.ID, item, asset)
}

func outputContext(j ref, object string) []byte {
	return segmentContext("geospatial output", j.Account, j.Region, j.ID, object)
}

func partContext(j ref, object string, block int) []byte {
	return segmentContext("geospatial part", j.Account, j.Region, j.ID, object, fmt.Sprint(block))
}

// segmentKeys joins a row's service-owned key and a customer's data key, which
// may be the zero Key.
func segmentKeys(service []byte, customer secret.Key) (segment.Keys, error) {
	k, err := secret.New(service)
	if err != nil {
		return segment.Keys{}, fmt.Errorf("geospatial: service key of a segment: %w", err)
	}
	return segment.Keys{Service: k, Customer: customer}, nil
}

// writeSegment seals what fill writes into a new segment and returns where it
// lies and how many bytes of plaintext it has. On error nothing is left.
func (s *Service) writeSegment(ctx context.Context, service []byte, keys segment.Keys, where []byte, fill func(*segment.Writer) error) (segmentRow, int64, error) {
	w, err := s.newSegment(ctx, keys, where)
	if err != nil {
		return segmentRow{}, 0, err
	}
	if err := fill(w.Writer); err != nil {
		w.blob.Abort()
		return segmentRow{}, 0, err
	}
	return w.commit(service)
}

// segmentWriter is a segment being written.
type segmentWriter struct {
	*segment.Writer
	blob blob.Writer
}

func (s *Service) newSegment(ctx context.Context, keys segment.Keys, where []byte) (*segmentWriter, error) {
	b, err := s.cfg.Blobs.Create(ctx)
	if err != nil {
		return nil, fmt.Errorf("geospatial: create a segment: %w", err)
	}
	w, err := segment.NewWriter(b, b.ID(), keys, where)
	if err != nil {
		b.Abort()
		return nil, err
	}
	return &segmentWriter{Writer: w, blob: b}, nil
}

// commit makes the segment durable. After an error it is gone.
func (w *segmentWriter) commit(service []byte) (segmentRow, int64, error) {
	plain := w.Size()
	if err := w.Close(); err != nil {
		w.blob.Abort()
		return segmentRow{}, 0, err
	}
	sealed, err := w.blob.Commit()
	if err != nil {
		return segmentRow{}, 0, fmt.Errorf("geospatial: commit a segment: %w", err)
	}
	return segmentRow{ID: w.blob.ID(), Size: sealed, Key: service}, plain, nil
}

// openedSegment is a segment open for reading; close it.
type openedSegment struct {
	*segment.Reader
	blob blob.Reader
}

func (o *openedSegment) Close() error { return o.blob.Close() }

func (s *Service) openSegment(ctx context.Context, row segmentRow, keys segment.Keys, where []byte) (*openedSegment, error) {
	b, err := s.cfg.Blobs.Open(ctx, row.ID)
	if err != nil {
		return nil, fmt.Errorf("geospatial: open segment %s: %w", row.ID, err)
	}
	r, err := segment.OpenReader(b, row.Size, row.ID, keys, where)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("geospatial: open segment %s: %w", row.ID, err), b.Close())
	}
	return &openedSegment{Reader: r, blob: b}, nil
}

// deleteSegments removes segments that no row names any more. What cannot be
// removed now is an orphan, which the sweeper finds.
func (s *Service) deleteSegments(ctx context.Context, ids ...blob.ID) {
	for _, id := range ids {
		if err := s.cfg.Blobs.Delete(ctx, id); err != nil && !errors.Is(err, blob.ErrNotFound) {
			s.cfg.Log.Warn("a segment could not be deleted; the sweeper will", "segment", id.String(), "error", err)
		}
	}
}

// Sweep deletes the segments older than age that no row names: what was being
// written when the process was killed. It is for a blob store that belongs to
// the service alone; age must exceed the longest write of one segment, and an
// import, whose rows come last. It returns how many it deleted.
func (s *Service) Sweep(ctx context.Context, age time.Duration) (deleted int, err error) {
	before := s.cfg.Now().Add(-age)
	for info, err := range s.cfg.Blobs.List(ctx) {
		if err != nil {
			return deleted, fmt.Errorf("geospatial: sweep: %w", err)
		}
		if !info.ModTime.Before(before) {
			continue
		}
		owned := false
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			owned, err = s.OwnsSegment(tx, info.ID)
			return err
		})
		if err != nil {
			return deleted, fmt.Errorf("geospatial: sweep: %w", err)
		}
		if owned {
			continue
		}
		s.deleteSegments(ctx, info.ID)
		deleted++
	}
	return deleted, nil
}
