package geospatial

import (
	"context"
	"errors"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/store"
)

const (
	waitPause = 50 * time.Millisecond // for the running tasks of a stopped job
	endPause  = time.Minute           // after a clean-up that failed for good
	endBatch  = 200                   // rows removed in one commit
)

// end waits for the last tasks of a job that was stopped, has failed or is to be
// deleted; then STOPPING becomes STOPPED, and what was made is removed.
func (s *Service) end(ctx context.Context, t *jobs.Task, p task) error {
	left := 0
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		n, err := s.cfg.Jobs.Outstanding(tx, group(p.Job))
		if err != nil {
			return err
		}
		m, err := s.cfg.Jobs.Outstanding(tx, exportGroup(p.Job))
		left = n + m
		return err
	})
	if err != nil {
		return err
	}
	if left > 0 {
		return jobs.Later(waitPause)
	}
	s.keys.drop(holder(p.Job, ""))
	return t.Finish(ctx, func(tx *store.Tx) error {
		job, err := jobsTable.Get(tx, p.Job.key()...)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if job.Status == geoapi.EarthObservationJobStatusStopping {
			job.Status, job.Ended = geoapi.EarthObservationJobStatusStopped, s.timestamp()
			if err := putJob(tx, job); err != nil {
				return err
			}
		}
		_, err = s.cfg.Jobs.Submit(tx, p.spec(kindRemove))
		return err
	})
}

// remove deletes what a job has made, and the job itself when it is DELETING.
func (s *Service) remove(ctx context.Context, t *jobs.Task, p task) error {
	if err := s.removeResults(ctx, t, p.Job); err != nil {
		return err
	}
	return t.Finish(ctx, func(tx *store.Tx) error {
		job, err := jobsTable.Get(tx, p.Job.key()...)
		if errors.Is(err, store.ErrNotFound) || err == nil && job.Status != geoapi.EarthObservationJobStatusDeleting {
			return nil
		}
		if err != nil {
			return err
		}
		for _, k := range job.Tokens {
			if err := tokens.Delete(tx, k...); err != nil {
				return err
			}
		}
		if err := progresses.Delete(tx, p.Job.key()...); err != nil {
			return err
		}
		return jobsTable.Delete(tx, p.Job.key()...)
	})
}

// removeResults deletes a job's parts, outputs and scenes: rows first, then the
// segments, so that a row never names a segment that is gone.
func (s *Service) removeResults(ctx context.Context, t *jobs.Task, r ref) error {
	for {
		var gone []blob.ID
		n := 0
		err := t.Commit(ctx, func(tx *store.Tx) error {
			gone, n = nil, 0
			var err error
			if gone, n, err = removeBatch(tx, parts, r, func(p partRow) ([]int, segmentRow) { return p.At, p.Segment }); err != nil || n > 0 {
				return err
			}
			if gone, n, err = removeBatch(tx, outputs, r, func(o outputRow) ([]int, segmentRow) { return o.At, o.Segment }); err != nil || n > 0 {
				return err
			}
			_, n, err = removeBatch(tx, scenes, r, func(sc sceneRow) ([]int, segmentRow) { return sc.At, segmentRow{} })
			return err
		})
		if err != nil {
			return err
		}
		s.deleteSegments(context.WithoutCancel(ctx), gone...)
		if n == 0 {
			return nil
		}
	}
}

// removeBatch deletes some rows that belong to a job and returns how many, with
// the segments that they named.
func removeBatch[T any](tx *store.Tx, table *store.Table[T], r ref, of func(T) ([]int, segmentRow)) (gone []blob.ID, n int, err error) {
	var at [][]int
	for row, err := range table.Scan(tx, r.key(), store.ScanOptions{Limit: endBatch}) {
		if err != nil {
			return nil, 0, err
		}
		where, seg := of(row.Value)
		if at = append(at, where); seg.ID != (blob.ID{}) {
			gone = append(gone, seg.ID)
		}
	}
	for _, where := range at {
		if err := table.Delete(tx, r.key(where...)...); err != nil {
			return nil, 0, err
		}
	}
	return gone, len(at), nil
}
