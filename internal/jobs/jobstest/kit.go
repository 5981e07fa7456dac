// Package jobstest is the conformance kit of durable task queues: what package
// jobs promises, checked from outside. A queue that passes it can carry the
// services' tasks.
package jobstest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/store"
)

// Queue is what services use of a queue, and how tests end it.
type Queue interface {
	Register(k jobs.Kind)
	Submit(tx *store.Tx, s jobs.Spec) (string, error)
	StopGroup(tx *store.Tx, group string) (int, error)
	Outstanding(tx *store.Tx, group string) (int, error)
	Wake()
	Start(ctx context.Context) error
	Close(ctx context.Context) error
	// Abandon is kill -9.
	Abandon()
}

// Env is an empty store and the means to make queues on it.
type Env struct {
	Store *store.Store
	// New returns a queue that has not been started. Queues of different nodes
	// run side by side. The kit wants leases of at most a second and pauses
	// between attempts of at most 50 ms.
	New func(node string) Queue
}

// patience is how long the kit waits for what must happen.
const patience = 20 * time.Second

// Run proves that a queue keeps the contract of package jobs. open returns a
// fresh Env that lives as long as t.
func Run(t *testing.T, open func(t *testing.T) Env) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Env){
		"RunsWhatWasCommitted":     testCommitted,
		"RetriesThenGivesUp":       testGivesUp,
		"PermanentIsFinal":         testPermanent,
		"PanicIsContained":         testPanic,
		"LaterCountsNoAttempt":     testLater,
		"StopEndsTheGroup":         testStop,
		"SurvivesKill":             testKill,
		"LeaseRunsOut":             testLease,
		"CrashLoopIsBounded":       testCrashLoop,
		"CloseReleases":            testClose,
		"LightPassesHeavy":         testLight,
		"FinishIsOneCommit":        testFinish,
		"DelayedTaskWaits":         testDelayed,
		"OldClaimCannotCommit":     testOldClaim,
		"TasksOfAGroupAreIsolated": testGroups,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

// counts is a table of the kit's own, which handlers write to.
var counts = store.Ordered[int]("jobstest.count")

func add(tx *store.Tx, key string) error {
	n, err := counts.Get(tx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return counts.Put(tx, n+1, key)
}

func count(t *testing.T, e Env, key string) (n int) {
	t.Helper()
	err := e.Store.View(t.Context(), func(tx *store.Tx) error {
		var err error
		n, err = counts.Get(tx, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatalf("read a count: %v", err)
	}
	return n
}

func start(t *testing.T, q Queue) {
	t.Helper()
	if err := q.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := q.Close(ctx); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func submit(t *testing.T, e Env, q Queue, specs ...jobs.Spec) {
	t.Helper()
	err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
		for _, s := range specs {
			if _, err := q.Submit(tx, s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Submit: %v", err)
	}
	q.Wake()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func outstanding(t *testing.T, e Env, q Queue, group string) (n int) {
	t.Helper()
	err := e.Store.View(t.Context(), func(tx *store.Tx) error {
		var err error
		n, err = q.Outstanding(tx, group)
		return err
	})
	if err != nil {
		t.Fatalf("Outstanding: %v", err)
	}
	return n
}

// adding is a handler that counts its payload in its last commit.
func adding(ctx context.Context, t *jobs.Task) error {
	return t.Finish(ctx, func(tx *store.Tx) error { return add(tx, string(t.Payload)) })
}

func testCommitted(t *testing.T, e Env) {
	q := e.New("a")
	q.Register(jobs.Kind{Name: "add", Run: adding})
	start(t, q)
	rollback := errors.New("rolled back")
	err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
		if _, err := q.Submit(tx, jobs.Spec{Kind: "add", Group: "g", Payload: []byte("never")}); err != nil {
			return err
		}
		return rollback
	})
	if !errors.Is(err, rollback) {
		t.Fatalf("Update: got %v, want the error of its function", err)
	}
	for range 10 {
		submit(t, e, q, jobs.Spec{Kind: "add", Group: "g", Payload: []byte("once")})
	}
	eventually(t, "ten tasks run once each", func() bool {
		return count(t, e, "once") == 10 && outstanding(t, e, q, "g") == 0
	})
	if n := count(t, e, "never"); n != 0 {
		t.Errorf("a task of a transaction that was rolled back ran %d times", n)
	}
}

func testGivesUp(t *testing.T, e Env) {
	q := e.New("a")
	boom := errors.New("boom")
	var mu sync.Mutex
	var attempts []int
	q.Register(jobs.Kind{
		Name: "fail", Attempts: 3,
		Run: func(_ context.Context, t *jobs.Task) error {
			mu.Lock()
			defer mu.Unlock()
			attempts = append(attempts, t.Attempt)
			return boom
		},
		Failed: func(tx *store.Tx, _ *jobs.Task, cause error) error {
			if !errors.Is(cause, boom) {
				t.Errorf("Failed got %v, want the handler's error", cause)
			}
			return add(tx, "failed")
		},
	})
	start(t, q)
	submit(t, e, q, jobs.Spec{Kind: "fail", Group: "g"})
	eventually(t, "the task is given up", func() bool { return outstanding(t, e, q, "g") == 0 })
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(attempts, []int{1, 2, 3}) {
		t.Errorf("attempts %v, want 1, 2, 3", attempts)
	}
	if n := count(t, e, "failed"); n != 1 {
		t.Errorf("Failed took effect %d times, want once", n)
	}
}

func testPermanent(t *testing.T, e Env) {
	q := e.New("a")
	q.Register(jobs.Kind{
		Name: "fail", Attempts: 3,
		Run:    func(context.Context, *jobs.Task) error { return jobs.Permanent(errors.New("boom")) },
		Failed: func(tx *store.Tx, _ *jobs.Task, _ error) error { return add(tx, "failed") },
	})
	start(t, q)
	submit(t, e, q, jobs.Spec{Kind: "fail", Group: "g"})
	eventually(t, "the task is given up", func() bool { return outstanding(t, e, q, "g") == 0 })
	if n := count(t, e, "failed"); n != 1 {
		t.Errorf("Failed took effect %d times, want once", n)
	}
}

func testPanic(t *testing.T, e Env) {
	q := e.New("a")
	q.Register(jobs.Kind{Name: "panic", Attempts: 2, Run: func(ctx context.Context, t *jobs.Task) error {
		if t.Attempt == 1 {
			panic("boom")
		}
		return adding(ctx, t)
	}})
	start(t, q)
	submit(t, e, q, jobs.Spec{Kind: "panic", Group: "g", Payload: []byte("k")})
	eventually(t, "the second attempt succeeds", func() bool { return count(t, e, "k") == 1 })
}

func testLater(t *testing.T, e Env) {
	q := e.New("a")
	var mu sync.Mutex
	n := 0
	q.Register(jobs.Kind{Name: "later", Attempts: 2, Run: func(ctx context.Context, t *jobs.Task) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n < 5 {
			return jobs.Later(time.Millisecond)
		}
		return adding(ctx, t)
	}})
	start(t, q)
	submit(t, e, q, jobs.Spec{Kind: "later", Payload: []byte("k")})
	eventually(t, "the fifth run succeeds", func() bool { return count(t, e, "k") == 1 })
}

func testStop(t *testing.T, e Env) {
	q := e.New("a")
	begun := make(chan struct{}, 8)
	causes := make(chan error, 8)
	q.Register(jobs.Kind{Name: "wait", Run: func(ctx context.Context, t *jobs.Task) error {
		begun <- struct{}{}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return t.Finish(context.WithoutCancel(ctx), func(tx *store.Tx) error { return add(tx, "wrote") })
	}, Failed: func(tx *store.Tx, _ *jobs.Task, _ error) error { return add(tx, "failed") }})
	start(t, q)
	for range 6 {
		submit(t, e, q, jobs.Spec{Kind: "wait", Group: "g"})
	}
	<-begun
	err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
		_, err := q.StopGroup(tx, "g")
		return err
	})
	if err != nil {
		t.Fatalf("StopGroup: %v", err)
	}
	q.Wake()
	eventually(t, "the group is empty", func() bool { return outstanding(t, e, q, "g") == 0 })
	if cause := <-causes; !errors.Is(cause, jobs.ErrStopped) {
		t.Errorf("cause %v, want ErrStopped", cause)
	}
	if n := count(t, e, "wrote") + count(t, e, "failed"); n != 0 {
		t.Errorf("stopped tasks wrote %d times", n)
	}
}

func testKill(t *testing.T, e Env) {
	q := e.New("a")
	begun := make(chan struct{})
	q.Register(jobs.Kind{Name: "add", Run: func(ctx context.Context, t *jobs.Task) error {
		if err := t.Commit(ctx, func(tx *store.Tx) error { return add(tx, "progress") }); err != nil {
			return err
		}
		close(begun)
		<-ctx.Done()
		return t.Finish(context.WithoutCancel(ctx), func(tx *store.Tx) error { return add(tx, "late") })
	}})
	if err := q.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	submit(t, e, q, jobs.Spec{Kind: "add", Group: "g", Payload: []byte("k")})
	<-begun
	q.Abandon()
	if n := outstanding(t, e, q, "g"); n != 1 {
		t.Fatalf("%d tasks after the kill, want 1", n)
	}
	again := e.New("a")
	again.Register(jobs.Kind{Name: "add", Run: adding})
	start(t, again)
	eventually(t, "the task runs at the next start", func() bool { return count(t, e, "k") == 1 })
	if p, l := count(t, e, "progress"), count(t, e, "late"); p != 1 || l != 0 {
		t.Errorf("progress written %d times, after the kill %d times; want 1 and 0", p, l)
	}
}

func testLease(t *testing.T, e Env) {
	q := e.New("a")
	begun := make(chan struct{})
	q.Register(jobs.Kind{Name: "add", Run: func(ctx context.Context, _ *jobs.Task) error {
		close(begun)
		<-ctx.Done()
		return ctx.Err()
	}})
	if err := q.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	submit(t, e, q, jobs.Spec{Kind: "add", Payload: []byte("k")})
	<-begun
	other := e.New("b")
	other.Register(jobs.Kind{Name: "add", Run: adding})
	start(t, other)
	time.Sleep(1500 * time.Millisecond) // more than a lease: it is renewed
	if n := count(t, e, "k"); n != 0 {
		t.Errorf("a task with a living owner was taken over")
	}
	q.Abandon()
	eventually(t, "another node takes over", func() bool { return count(t, e, "k") == 1 })
}

func testCrashLoop(t *testing.T, e Env) {
	for range 10 {
		q := e.New("a")
		begun := make(chan struct{})
		q.Register(jobs.Kind{Name: "crash", Attempts: 3, Run: func(ctx context.Context, _ *jobs.Task) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		}, Failed: func(tx *store.Tx, _ *jobs.Task, _ error) error { return add(tx, "failed") }})
		if err := q.Start(t.Context()); err != nil {
			t.Fatalf("Start: %v", err)
		}
		if outstanding(t, e, q, "g") == 0 && count(t, e, "failed") == 0 {
			submit(t, e, q, jobs.Spec{Kind: "crash", Group: "g"})
		}
		select {
		case <-begun:
		case <-time.After(time.Second):
		}
		q.Abandon()
		if count(t, e, "failed") == 1 {
			return
		}
	}
	t.Error("a task that kills the process each time was never given up")
}

func testClose(t *testing.T, e Env) {
	q := e.New("a")
	begun := make(chan struct{})
	q.Register(jobs.Kind{Name: "add", Attempts: 1, Run: func(ctx context.Context, _ *jobs.Task) error {
		close(begun)
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), jobs.ErrShutdown) {
			t.Errorf("cause %v, want ErrShutdown", context.Cause(ctx))
		}
		return ctx.Err()
	}})
	if err := q.Start(t.Context()); err != nil {
		t.Fatalf("Start: %v", err)
	}
	submit(t, e, q, jobs.Spec{Kind: "add", Payload: []byte("k")})
	<-begun
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if err := q.Close(ctx); err != nil {
		t.Fatalf("Close: %v", err)
	}
	again := e.New("b") // another node: the task must be free, not leased
	again.Register(jobs.Kind{Name: "add", Attempts: 1, Run: adding})
	start(t, again)
	eventually(t, "the task runs again, its only attempt not used up", func() bool { return count(t, e, "k") == 1 })
}

func testLight(t *testing.T, e Env) {
	q := e.New("a")
	q.Register(jobs.Kind{Name: "heavy", Run: func(ctx context.Context, _ *jobs.Task) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	q.Register(jobs.Kind{Name: "light", Lane: jobs.Light, Run: adding})
	start(t, q)
	for range 8 {
		submit(t, e, q, jobs.Spec{Kind: "heavy"})
	}
	submit(t, e, q, jobs.Spec{Kind: "light", Payload: []byte("k")})
	eventually(t, "the light task runs beside the heavy ones", func() bool { return count(t, e, "k") == 1 })
}

func testFinish(t *testing.T, e Env) {
	q := e.New("a")
	no := errors.New("no")
	q.Register(jobs.Kind{Name: "add", Attempts: 2, Run: func(ctx context.Context, t *jobs.Task) error {
		return t.Finish(ctx, func(tx *store.Tx) error {
			if err := add(tx, "k"); err != nil {
				return err
			}
			if t.Attempt == 1 {
				return no
			}
			_, err := q.Submit(tx, jobs.Spec{Kind: "next", Payload: []byte("next")})
			return err
		})
	}})
	q.Register(jobs.Kind{Name: "next", Run: adding})
	start(t, q)
	submit(t, e, q, jobs.Spec{Kind: "add"})
	eventually(t, "the task that the last commit submitted runs", func() bool { return count(t, e, "next") == 1 })
	if n := count(t, e, "k"); n != 1 {
		t.Errorf("%d effects, want that of the attempt that committed", n)
	}
}

func testDelayed(t *testing.T, e Env) {
	q := e.New("a")
	q.Register(jobs.Kind{Name: "add", Run: adding})
	start(t, q)
	begin := time.Now()
	submit(t, e, q, jobs.Spec{Kind: "add", Payload: []byte("k"), After: 300 * time.Millisecond})
	eventually(t, "the delayed task runs", func() bool { return count(t, e, "k") == 1 })
	if d := time.Since(begin); d < 300*time.Millisecond {
		t.Errorf("ran after %v, want at least 300ms", d)
	}
}

func testOldClaim(t *testing.T, e Env) {
	q := e.New("a")
	old := make(chan *jobs.Task, 1)
	q.Register(jobs.Kind{Name: "add", Run: func(ctx context.Context, t *jobs.Task) error {
		if t.Attempt > 1 {
			return adding(ctx, t)
		}
		old <- t
		return errors.New("again")
	}})
	start(t, q)
	submit(t, e, q, jobs.Spec{Kind: "add", Payload: []byte("k")})
	eventually(t, "the second attempt succeeds", func() bool { return count(t, e, "k") == 1 })
	stale := <-old
	err := stale.Commit(t.Context(), func(tx *store.Tx) error { return add(tx, "k") })
	if !errors.Is(err, jobs.ErrLost) {
		t.Errorf("commit of an old claim: got %v, want ErrLost", err)
	}
	if n := count(t, e, "k"); n != 1 {
		t.Errorf("an old claim wrote")
	}
}

func testGroups(t *testing.T, e Env) {
	q := e.New("a")
	q.Register(jobs.Kind{Name: "add", Run: adding})
	submit(t, e, q, jobs.Spec{Kind: "add", Group: "g", Payload: []byte("stopped")},
		jobs.Spec{Kind: "add", Group: "g2", Payload: []byte("k")})
	err := e.Store.Update(t.Context(), func(tx *store.Tx) error {
		n, err := q.StopGroup(tx, "g")
		if n != 0 {
			t.Errorf("%d tasks run before Start", n)
		}
		return err
	})
	if err != nil {
		t.Fatalf("StopGroup: %v", err)
	}
	start(t, q)
	eventually(t, "the other group runs", func() bool { return count(t, e, "k") == 1 })
	if n := count(t, e, "stopped"); n != 0 {
		t.Errorf("a stopped task ran")
	}
}
