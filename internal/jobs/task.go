package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sagekeep/sagekeep/internal/store"
)

// Lane separates long work from short work, so that a short task never waits
// for long ones to end.
type Lane string

// The lanes.
const (
	Heavy Lane = "heavy" // seconds of computing; Config.Workers at a time
	Light Lane = "light" // milliseconds; one at a time, beside the heavy ones
)

// Handler does the work of one task. It may be run again after it had begun
// before, so everything it keeps goes through t.Commit or t.Finish. A nil
// return without t.Finish finishes the task with nothing more to write.
//
// ctx ends when the task was stopped, lost or the runner shuts down;
// context.Cause tells which.
type Handler func(ctx context.Context, t *Task) error

// Kind is one sort of task.
type Kind struct {
	Name string // stored: never give an old name a new meaning
	Run  Handler
	Lane Lane // Heavy when empty
	// Failed, if set, runs in the commit that gives a task up. It changes what
	// the task was for; an error keeps the task, to be given up again later.
	Failed func(tx *store.Tx, t *Task, cause error) error
	// Attempts is how often a task is tried; DefaultAttempts when 0.
	Attempts int
}

// DefaultAttempts is how often a task is tried unless its kind says otherwise.
const DefaultAttempts = 5

// Spec describes a new task.
type Spec struct {
	Kind    string
	Group   string // tasks of one group are stopped together; may be empty
	Payload []byte // what the handler needs; a few hundred bytes
	After   time.Duration
}

// State is where a task stands.
type state string

const (
	ready   state = "ready"
	running state = "running"
)

// taskRow is a task as it is stored. Instants are microseconds UTC.
type taskRow struct {
	ID, Kind, Group string
	Lane            Lane
	Payload         []byte
	State           state
	Attempts        int
	Fence           uint64 // number of the claim; grows with each
	Node, Run       string // who holds the lease: node, and its start
	Until           int64  // end of the lease
	Next            int64  // not before
	Created         int64
	Stop            bool
	LastError       string
}

// tasks holds every task that is not finished. Keys are random and times, so
// they may stand readable; what a task is about is in its sealed value.
var tasks = store.Ordered("jobs.task",
	store.WithIndex("queue", func(r taskRow) []store.Key {
		if r.State == running {
			return []store.Key{{"leased", stamp(r.Until), r.ID}}
		}
		return []store.Key{{"ready", string(r.Lane), stamp(r.Next), r.ID}}
	}),
	store.WithIndex("group", func(r taskRow) []store.Key {
		if r.Group == "" {
			return nil
		}
		return []store.Key{{r.Group, r.ID}}
	}))

// stamp is an instant with a width of its own, so that texts sort as times do.
func stamp(micros int64) string { return fmt.Sprintf("%020d", max(micros, 0)) }

// Task is one claimed task. It belongs to its handler; Commit and Finish may be
// called from several goroutines.
type Task struct {
	ID      string
	Kind    string
	Group   string
	Payload []byte
	Attempt int // from 1

	r        *Runner
	fence    uint64
	cancel   context.CancelCauseFunc
	finished bool
}

// Commit runs fn in an Update that fails with ErrLost when the task is not ours
// any more, and with ErrStopped when it was stopped. It tells of progress:
// attempts are counted from here.
func (t *Task) Commit(ctx context.Context, fn func(tx *store.Tx) error) error {
	return t.commit(ctx, fn, func(tx *store.Tx, row *taskRow) error {
		if row.Attempts == 1 && row.LastError == "" {
			return nil
		}
		row.Attempts, row.LastError = 1, ""
		return tasks.Put(tx, *row, t.ID)
	})
}

// Finish is Commit that also removes the task. The handler returns nil then.
func (t *Task) Finish(ctx context.Context, fn func(tx *store.Tx) error) error {
	err := t.commit(ctx, fn, func(tx *store.Tx, _ *taskRow) error { return tasks.Delete(tx, t.ID) })
	if err == nil {
		t.finished = true
	}
	return err
}

func (t *Task) commit(ctx context.Context, fn func(tx *store.Tx) error, then func(*store.Tx, *taskRow) error) error {
	err := t.r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		row, err := t.held(tx)
		if err != nil {
			return err
		}
		if row.Stop {
			return ErrStopped
		}
		if fn != nil {
			if err := fn(tx); err != nil {
				return err
			}
		}
		return then(tx, &row)
	})
	switch {
	case errors.Is(err, ErrLost), errors.Is(err, ErrStopped):
		t.cancel(err)
	case err == nil:
		t.r.Wake()
	}
	return err
}

// held returns the task's row when the claim stands.
func (t *Task) held(tx *store.Tx) (taskRow, error) {
	if t.r.abandoned() {
		return taskRow{}, ErrLost
	}
	row, err := tasks.Get(tx, t.ID)
	if errors.Is(err, store.ErrNotFound) {
		return row, ErrLost
	}
	if err != nil {
		return row, err
	}
	if row.State != running || row.Fence != t.fence {
		return row, ErrLost
	}
	return row, nil
}

// Submit adds a task in tx: it exists when tx is committed. Call Wake then, so
// that it starts at once; without it runs at the next poll.
func (r *Runner) Submit(tx *store.Tx, s Spec) (id string, err error) {
	k, ok := r.kinds[s.Kind]
	if !ok {
		return "", fmt.Errorf("jobs: kind %q is not registered", s.Kind)
	}
	now := r.now()
	row := taskRow{
		ID: r.cfg.NewID(), Kind: s.Kind, Group: s.Group, Lane: k.Lane, Payload: s.Payload,
		State: ready, Next: now + s.After.Microseconds(), Created: now,
	}
	return row.ID, tasks.Put(tx, row, row.ID)
}

// StopGroup removes the waiting tasks of a group and tells the running ones to
// end. It returns how many still run; their commits fail from now on. Call Wake
// after the commit, so that they learn of it at once.
func (r *Runner) StopGroup(tx *store.Tx, group string) (stillRunning int, err error) {
	rows, err := groupRows(tx, group)
	if err != nil {
		return 0, err
	}
	for _, row := range rows {
		if row.State != running {
			if err := tasks.Delete(tx, row.ID); err != nil {
				return 0, err
			}
			continue
		}
		stillRunning++
		if row.Stop {
			continue
		}
		row.Stop = true
		if err := tasks.Put(tx, row, row.ID); err != nil {
			return 0, err
		}
	}
	return stillRunning, nil
}

// Outstanding returns how many tasks of a group are not finished.
func (r *Runner) Outstanding(tx *store.Tx, group string) (int, error) {
	rows, err := groupRows(tx, group)
	return len(rows), err
}

func groupRows(tx *store.Tx, group string) ([]taskRow, error) {
	var rows []taskRow
	for row, err := range tasks.ByIndex(tx, "group", store.Key{group}, store.ScanOptions{}) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row.Value)
	}
	return rows, nil
}
