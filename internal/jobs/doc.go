// Package jobs runs durable tasks: work that was promised in a commit and is
// done after it, also when the process is killed in between.
//
// A task is one row of the row store, written by Submit inside the transaction
// that writes what the task is for, so that both are there or neither. Runner
// claims due tasks in order of their time, runs the handler of their kind, and
// removes them with the handler's last commit.
//
// What holds, and jobstest checks:
//
//  1. A task runs when its transaction was committed, and only then.
//  2. A task runs until its handler has succeeded or was given up: a process
//     that died in the middle leaves a lease, which the next start of the same
//     node takes over at once and other nodes when it has run out.
//  3. Every claim has a fencing token. Task.Commit and Task.Finish compare it in
//     the commit itself, so a worker that lost its lease changes nothing.
//  4. A handler that fails or panics is tried again after a growing pause, and
//     given up after a bounded number of attempts; then the kind's Failed runs
//     in the commit that removes the task.
package jobs

import (
	"errors"
	"fmt"
	"time"
)

var (
	// ErrStopped is the cause of a handler's context when its group was stopped.
	ErrStopped = errors.New("jobs: the task was stopped")
	// ErrLost says that another worker has the task now, or that it is gone.
	ErrLost = errors.New("jobs: the task is no longer ours")
	// ErrShutdown is the cause of a handler's context when the runner ends; the
	// task is released and runs again at the next start.
	ErrShutdown = errors.New("jobs: the runner is shutting down")
)

// permanent marks errors that another attempt would not cure.
type permanent struct{ cause error }

func (p *permanent) Error() string { return p.cause.Error() }
func (p *permanent) Unwrap() error { return p.cause }

// Permanent marks err as one that another attempt would not cure: the task is
// given up at once. A nil err stays nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{cause: err}
}

// later asks to be run again.
type later struct{ after time.Duration }

func (l *later) Error() string { return fmt.Sprintf("jobs: not yet, again in %v", l.after) }

// Later is returned by a handler that waits for something: the task runs again
// after the pause, and no attempt is counted.
func Later(after time.Duration) error { return &later{after: after} }
