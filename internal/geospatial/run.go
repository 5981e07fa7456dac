package geospatial

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/store"
)

// The kinds of tasks. A job begins; each scene is planned, computed block by
// block, and its files are assembled; what is left when a job is stopped, fails
// or is deleted is removed by the end.
const (
	kindBegin  = "geospatial.begin"
	kindScene  = "geospatial.scene"
	kindBlock  = "geospatial.block"
	kindFile   = "geospatial.file"
	kindEnd    = "geospatial.end"
	kindRemove = "geospatial.remove"
	kindExport = "geospatial.export"
)

// sceneWindow is how many scenes of one job are under way at a time: the jobs of
// a busy server take turns, and a long job keeps few tasks in the queue.
const sceneWindow = 2

// task is the payload of every task.
type task struct {
	Job   ref
	Scene int `json:",omitempty"`
	Block int `json:",omitempty"`
	Band  int `json:",omitempty"`
}

func group(r ref) string       { return "geospatial/" + r.Region + "/" + r.Account + "/" + r.ID }
func exportGroup(r ref) string { return group(r) + "/export" }

func (p task) spec(kind string) jobs.Spec {
	b, err := json.Marshal(p)
	if err != nil {
		panic("geospatial: encode a task: " + err.Error()) // strings and integers always encode
	}
	s := jobs.Spec{Kind: kind, Payload: b}
	switch kind {
	case kindEnd, kindRemove: // they outlive the group
	case kindExport:
		s.Group = exportGroup(p.Job)
	default:
		s.Group = group(p.Job)
	}
	return s
}

func payload(t *jobs.Task) (task, error) {
	var p task
	if err := json.Unmarshal(t.Payload, &p); err != nil {
		return p, jobs.Permanent(fmt.Errorf("geospatial: read a task: %w", err))
	}
	return p, nil
}

func (s *Service) registerTasks() {
	for _, k := range []struct {
		name string
		lane jobs.Lane
		run  func(context.Context, *jobs.Task, task) error
		fail func(*store.Tx, task, error) error
	}{
		{kindBegin, jobs.Light, s.begin, s.failJob},
		{kindScene, jobs.Heavy, s.planScene, s.failJob},
		{kindBlock, jobs.Heavy, s.runBlock, s.failJob},
		{kindFile, jobs.Heavy, s.makeFile, s.failJob},
		{kindEnd, jobs.Light, s.end, s.again(kindEnd)},
		{kindRemove, jobs.Heavy, s.remove, s.again(kindRemove)},
		{kindExport, jobs.Heavy, s.export, s.failExport},
	} {
		s.cfg.Jobs.Register(jobs.Kind{
			Name: k.name, Lane: k.lane,
			Run: func(ctx context.Context, t *jobs.Task) error {
				p, err := payload(t)
				if err != nil {
					return err
				}
				return k.run(ctx, t, p)
			},
			Failed: func(tx *store.Tx, t *jobs.Task, cause error) error {
				p, err := payload(t)
				if err != nil {
					return nil // nobody can be told
				}
				return k.fail(tx, p, cause)
			},
		})
	}
}

// failJob ends a job with the reason of a task's failure, and its other tasks.
func (s *Service) failJob(tx *store.Tx, p task, cause error) error {
	job, err := jobsTable.Get(tx, p.Job.key()...)
	if errors.Is(err, store.ErrNotFound) || err == nil && !active(job.Status) {
		return nil
	}
	if err != nil {
		return err
	}
	job.Status, job.Error, job.Ended = geoapi.EarthObservationJobStatusFailed, failureOf(cause), s.timestamp()
	return s.endTasks(tx, &job)
}

// again submits a task anew when it failed for good: what is left to clean up
// would be left for ever.
func (s *Service) again(kind string) func(*store.Tx, task, error) error {
	return func(tx *store.Tx, p task, _ error) error {
		spec := p.spec(kind)
		spec.After = endPause
		_, err := s.cfg.Jobs.Submit(tx, spec)
		return err
	}
}

// activeJob reads a job that may go on; ok is false when it may not.
func (s *Service) activeJob(ctx context.Context, r ref) (job jobRow, ok bool, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		job, err = jobsTable.Get(tx, r.key()...)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		ok = err == nil && active(job.Status)
		return err
	})
	return job, ok, err
}

// begin takes a job to IN_PROGRESS and finds its scenes.
func (s *Service) begin(ctx context.Context, t *jobs.Task, p task) error {
	job, ok, err := s.activeJob(ctx, p.Job)
	if err != nil || !ok {
		return err
	}
	// A commit of its own: clients wait for INITIALIZING to pass.
	err = t.Commit(ctx, func(tx *store.Tx) error {
		if job, err = readJob(tx, p.Job); err != nil {
			return err
		}
		if job.Status != geoapi.EarthObservationJobStatusInitializing {
			return nil
		}
		job.Status = geoapi.EarthObservationJobStatusInProgress
		return putJob(tx, job)
	})
	if err != nil {
		return err
	}
	found, err := s.scenesOf(ctx, &job)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return clientError(nil, "The input has no scenes: no item of the collection meets the query.")
	}
	return t.Finish(ctx, func(tx *store.Tx) error {
		pr := progressRow{Scenes: len(found), Next: min(sceneWindow, len(found))}
		for i, sc := range found {
			sc.At = []int{i}
			if err := scenes.Put(tx, sc, p.Job.key(sc.At...)...); err != nil {
				return err
			}
			if i < pr.Next {
				if _, err := s.cfg.Jobs.Submit(tx, task{Job: p.Job, Scene: i}.spec(kindScene)); err != nil {
					return err
				}
			}
		}
		return progresses.Put(tx, pr, p.Job.key()...)
	})
}

// scenesOf lists a job's scenes in the order of their time.
func (s *Service) scenesOf(ctx context.Context, job *jobRow) ([]sceneRow, error) {
	var found []sceneRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		found = nil
		if arn := job.Input.PreviousEarthObservationJobArn; arn != nil {
			previous, err := s.previousJob(tx, *arn)
			if err != nil {
				return err
			}
			for row, err := range scenes.Scan(tx, previous.Ref.key(), store.ScanOptions{}) {
				if err != nil {
					return err
				}
				v := row.Value
				found = append(found, sceneRow{Source: len(found), ID: v.ID, Tile: v.Tile, Time: v.Time})
			}
			return nil
		}
		rq := job.Input.RasterDataCollectionQuery
		q, err := newQuery((*geoapi.TimeRangeFilterInput)(rq.TimeRangeFilter), rq.AreaOfInterest, rq.PropertyFilters)
		if err != nil {
			return err
		}
		c, _ := parseARN(rq.RasterDataCollectionArn)
		n := 0
		for row, err := range items.Scan(tx, c.key(), store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if v := row.Value; q.matches(&v) {
				found = append(found, sceneRow{Source: n, ID: v.ID, Tile: v.Tile, Time: v.Time})
			}
			n++
		}
		return nil
	})
	return found, err
}

// previousJob reads the job that another one works on.
func (s *Service) previousJob(tx *store.Tx, arn string) (jobRow, error) {
	r, _ := parseARN(arn)
	job, err := jobsTable.Get(tx, r.key()...)
	if errors.Is(err, store.ErrNotFound) || err == nil && job.Status != geoapi.EarthObservationJobStatusCompleted {
		return job, clientError(nil, "The previous job %s was deleted.", arn)
	}
	return job, err
}

// object is the name of a result below the service bucket's account and job.
//
// Source: Amazon SageMaker Developer Guide, the encryption contexts in the
// CloudTrail examples.
func (sc *sceneRow) object(b *bandRow) string {
	return "output/consolidated/" + sc.Tile + "/" + sc.Time.UTC().Format("2006-01-02T15:04:05Z") + "/" + safeName(sc.ID) + "_" + b.suffix() + ".tif"
}

// planScene opens a scene's images, fixes its blocks and makes its data keys.
func (s *Service) planScene(ctx context.Context, t *jobs.Task, p task) error {
	job, ok, err := s.activeJob(ctx, p.Job)
	if err != nil || !ok {
		return err
	}
	sc, err := s.scene(ctx, p)
	if err != nil {
		return err
	}
	in, err := s.openScene(ctx, &job, &sc)
	if err != nil {
		return err
	}
	defer in.close()
	sc.Plan = s.planBlocks(in.calc)
	sc.BlocksLeft, sc.FilesLeft = sc.Plan.count(), len(job.Bands)
	outs := make([]outputRow, len(job.Bands))
	for i := range job.Bands {
		o := outputRow{At: []int{p.Scene, i}, Band: i, Object: sc.object(&job.Bands[i]), Key: newServiceKey()}
		if o.Wrapped, err = s.newDataKey(ctx, &job, o.Object, holder(p.Job, "run")); err != nil {
			return err
		}
		outs[i] = o
	}
	return t.Finish(ctx, func(tx *store.Tx) error {
		for _, o := range outs {
			if err := outputs.Put(tx, o, p.Job.key(o.At...)...); err != nil {
				return err
			}
		}
		if err := scenes.Put(tx, sc, p.Job.key(p.Scene)...); err != nil {
			return err
		}
		for i := range sc.BlocksLeft {
			if _, err := s.cfg.Jobs.Submit(tx, task{Job: p.Job, Scene: p.Scene, Block: i}.spec(kindBlock)); err != nil {
				return err
			}
		}
		return s.count(tx, p.Job, func(pr *progressRow) {
			pr.Planned++
			pr.Units += sc.BlocksLeft + sc.FilesLeft
		})
	})
}

// scene reads a task's scene.
func (s *Service) scene(ctx context.Context, p task) (sc sceneRow, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		sc, err = scenes.Get(tx, p.Job.key(p.Scene)...)
		return err
	})
	return sc, err
}

// outputsOf reads the outputs of a task's scene.
func (s *Service) outputsOf(ctx context.Context, r ref, scene int) (outs []outputRow, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		outs, err = readOutputs(tx, r, scene)
		return err
	})
	return outs, err
}

func readOutputs(tx *store.Tx, r ref, scene int) ([]outputRow, error) {
	var outs []outputRow
	for row, err := range outputs.Scan(tx, r.key(scene), store.ScanOptions{}) {
		if err != nil {
			return nil, err
		}
		outs = append(outs, row.Value)
	}
	return outs, nil
}

// count changes a job's progress.
func (s *Service) count(tx *store.Tx, r ref, change func(*progressRow)) error {
	pr, err := progresses.Get(tx, r.key()...)
	if err != nil {
		return err
	}
	change(&pr)
	return progresses.Put(tx, pr, r.key()...)
}
