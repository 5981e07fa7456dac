package jobs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/sagekeep/sagekeep/internal/store"
)

// Config is what a Runner is made of. Store is needed, the rest has defaults.
type Config struct {
	Store *store.Store
	Log   *slog.Logger // slog.Default when nil
	// Node names this node for ever; "local" when empty. Two processes that run
	// at the same time on one store need two names.
	Node    string
	Workers int           // heavy tasks at a time; 2 when 0
	Lease   time.Duration // how long a silent node keeps its tasks; 30 s when 0
	Poll    time.Duration // how often to look without being woken; 250 ms when 0
	// Backoff is the pause after the first failure; each further one doubles it,
	// up to MaxBackoff. 1 s and 1 min when 0.
	Backoff, MaxBackoff time.Duration
	Now                 func() time.Time // time.Now when nil
	NewID               func() string    // random when nil
}

// Runner runs tasks over the row store. Its methods may be called concurrently,
// Register excepted.
type Runner struct {
	cfg   Config
	kinds map[string]*Kind
	run   string // tells this start of the node from the ones before

	mu     sync.Mutex
	active map[string]*Task
	wake   chan struct{} // closed and replaced by Wake
	dead   bool          // Abandon: nothing is written any more

	stop    context.CancelFunc      // ends claiming
	base    context.Context         //nolint:containedctx // the root of every handler's context
	cancel  context.CancelCauseFunc // ends the handlers
	workers sync.WaitGroup
	watcher sync.WaitGroup
}

// New returns a runner that does nothing before Start.
func New(cfg Config) *Runner {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Node == "" {
		cfg.Node = "local"
	}
	if cfg.Workers <= 0 {
		cfg.Workers = 2
	}
	setDuration(&cfg.Lease, 30*time.Second)
	setDuration(&cfg.Poll, 250*time.Millisecond)
	setDuration(&cfg.Backoff, time.Second)
	setDuration(&cfg.MaxBackoff, time.Minute)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.NewID == nil {
		cfg.NewID = newID
	}
	return &Runner{
		cfg: cfg, kinds: map[string]*Kind{}, run: newID(),
		active: map[string]*Task{}, wake: make(chan struct{}),
	}
}

func setDuration(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func (r *Runner) now() int64 { return r.cfg.Now().UTC().UnixMicro() }

// Register adds a kind. It panics on a second one of the name and without a
// handler; call it before Start.
func (r *Runner) Register(k Kind) {
	if k.Run == nil || k.Name == "" {
		panic("jobs: a kind needs a name and a handler")
	}
	if _, ok := r.kinds[k.Name]; ok {
		panic("jobs: kind " + k.Name + " is registered twice")
	}
	if k.Lane == "" {
		k.Lane = Heavy
	}
	if k.Attempts <= 0 {
		k.Attempts = DefaultAttempts
	}
	r.kinds[k.Name] = &k
}

// Start takes over what a former start of this node left and begins to work.
// It returns at once after that. When free space is low the leases of the former
// start run out instead.
func (r *Runner) Start(ctx context.Context) error {
	if err := r.takeOver(ctx); errors.Is(err, store.ErrFull) {
		r.cfg.Log.Warn("free space is low: tasks of the former start wait until there is more", "lease", r.cfg.Lease)
	} else if err != nil {
		return fmt.Errorf("jobs: take over the tasks of the former start: %w", err)
	}
	claims, stop := context.WithCancel(context.Background())
	r.stop = stop
	r.base, r.cancel = context.WithCancelCause(context.Background())
	for range r.cfg.Workers {
		r.workers.Go(func() { r.work(claims, Heavy) })
	}
	r.workers.Go(func() { r.work(claims, Light) })
	r.watcher.Go(func() { r.watch(claims) })
	return nil
}

// takeOver frees the leases of this node's former starts.
func (r *Runner) takeOver(ctx context.Context) error {
	return r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		var mine []taskRow
		for row, err := range tasks.ByIndex(tx, "queue", store.Key{"leased"}, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			if row.Value.Node == r.cfg.Node && row.Value.Run != r.run {
				mine = append(mine, row.Value)
			}
		}
		for _, row := range mine {
			row.State, row.Next = ready, min(row.Created, r.now())
			if err := tasks.Put(tx, row, row.ID); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close stops claiming and waits for the handlers under way; when ctx ends
// first they are cancelled, waited for, and their tasks released.
func (r *Runner) Close(ctx context.Context) error {
	if r.stop == nil {
		return nil
	}
	r.stop()
	done := make(chan struct{})
	go func() { r.workers.Wait(); r.watcher.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	r.cancel(ErrShutdown)
	<-done
	return nil
}

// Abandon ends the runner as kill -9 would: handlers are cancelled and nothing
// more is written, neither by them nor for them. For tests.
func (r *Runner) Abandon() {
	r.mu.Lock()
	r.dead = true
	r.mu.Unlock()
	r.stop()
	r.cancel(ErrShutdown)
	r.workers.Wait()
	r.watcher.Wait()
}

func (r *Runner) abandoned() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead
}

// Wake makes idle workers look for tasks and running ones for a stop, now.
func (r *Runner) Wake() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.wake)
	r.wake = make(chan struct{})
}

func (r *Runner) woken() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.wake
}

// work claims and runs tasks of a lane until ctx ends.
func (r *Runner) work(ctx context.Context, lane Lane) {
	for ctx.Err() == nil {
		wake := r.woken()
		t, err := r.claim(ctx, lane)
		if err != nil && ctx.Err() == nil {
			r.cfg.Log.Error("a task could not be claimed", "lane", string(lane), "error", err)
		}
		if t == nil {
			r.pause(ctx, wake)
			continue
		}
		r.execute(t)
	}
}

func (r *Runner) pause(ctx context.Context, wake <-chan struct{}) {
	timer := time.NewTimer(r.cfg.Poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}

// claim takes the next due task of a lane, or returns nil.
func (r *Runner) claim(ctx context.Context, lane Lane) (*Task, error) {
	due := false
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		row, err := r.next(tx, lane)
		due = row != nil
		return err
	})
	if err != nil || !due {
		return nil, err
	}
	var t *Task
	err = r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		t = nil
		row, err := r.next(tx, lane)
		if row == nil || err != nil {
			return err
		}
		row.State, row.Node, row.Run = running, r.cfg.Node, r.run
		row.Until = r.now() + r.cfg.Lease.Microseconds()
		row.Fence++
		row.Attempts++
		t = &Task{ID: row.ID, Kind: row.Kind, Group: row.Group, Payload: row.Payload, Attempt: row.Attempts, r: r, fence: row.Fence}
		if k := r.kinds[row.Kind]; row.Attempts > k.Attempts {
			// It was begun as often as allowed and never came to an end.
			t.finished = true
			cause := row.LastError
			if cause == "" {
				cause = "the process ended each time"
			}
			return r.giveUp(tx, k, t, fmt.Errorf("given up after %d attempts: %s", k.Attempts, cause))
		}
		return tasks.Put(tx, *row, row.ID)
	})
	if err != nil || t == nil {
		return nil, err
	}
	return t, nil
}

// maxSkipped bounds the tasks that claim looks past: those of unknown kinds.
const maxSkipped = 64

// next returns the first task that may run: due, or with a lease that ran out.
func (r *Runner) next(tx *store.Tx, lane Lane) (*taskRow, error) {
	now := r.now()
	for row, err := range tasks.ByIndex(tx, "queue", store.Key{"ready", string(lane)}, store.ScanOptions{Limit: maxSkipped}) {
		if err != nil {
			return nil, err
		}
		if row.Value.Next > now {
			break
		}
		if r.kinds[row.Value.Kind] != nil {
			return &row.Value, nil
		}
	}
	for row, err := range tasks.ByIndex(tx, "queue", store.Key{"leased"}, store.ScanOptions{Limit: maxSkipped}) {
		if err != nil {
			return nil, err
		}
		if row.Value.Until > now {
			break
		}
		if row.Value.Lane == lane && r.kinds[row.Value.Kind] != nil {
			return &row.Value, nil
		}
	}
	return nil, nil
}

// execute runs one claimed task to its end and settles it.
func (r *Runner) execute(t *Task) {
	if t.finished {
		return // given up when it was claimed
	}
	ctx, cancel := context.WithCancelCause(r.base)
	defer cancel(nil)
	r.mu.Lock()
	t.cancel = cancel
	r.active[t.ID] = t
	r.mu.Unlock()
	err := r.call(ctx, t)
	r.mu.Lock()
	delete(r.active, t.ID)
	r.mu.Unlock()
	if t.finished || r.abandoned() {
		return
	}
	if serr := r.settle(ctx, t, err); serr != nil {
		// The lease runs out and the task is tried again.
		r.cfg.Log.Error("a task could not be settled", "kind", t.Kind, "task", t.ID, "error", serr)
	}
}

// call runs the handler and turns a panic into an error.
func (r *Runner) call(ctx context.Context, t *Task) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.cfg.Log.Error("a task panicked", "kind", t.Kind, "task", t.ID, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("jobs: %s panicked: %v", t.Kind, p)
		}
	}()
	return r.kinds[t.Kind].Run(ctx, t)
}

// settle writes down how a handler ended.
func (r *Runner) settle(ctx context.Context, t *Task, err error) error {
	cause := context.Cause(ctx)
	k := r.kinds[t.Kind]
	uerr := r.cfg.Store.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error {
		row, herr := t.held(tx)
		if herr != nil {
			return herr
		}
		switch {
		case err == nil, row.Stop:
			return tasks.Delete(tx, t.ID)
		case errors.Is(cause, ErrShutdown):
			row.Attempts--
			return r.requeue(tx, row, 0)
		}
		if l, ok := errors.AsType[*later](err); ok {
			row.Attempts--
			return r.requeue(tx, row, l.after)
		}
		row.LastError = err.Error()
		_, final := errors.AsType[*permanent](err)
		if final || row.Attempts >= k.Attempts {
			return r.giveUp(tx, k, t, err)
		}
		r.cfg.Log.Warn("a task failed and is tried again", "kind", t.Kind, "task", t.ID, "attempt", row.Attempts, "error", err)
		return r.requeue(tx, row, r.backoff(row.Attempts))
	})
	if errors.Is(uerr, ErrLost) {
		return nil
	}
	if uerr == nil {
		r.Wake()
	}
	return uerr
}

// giveUp removes a task that failed for good and lets its kind say so. When that
// fails the transaction fails, the lease runs out, and it is given up again.
func (r *Runner) giveUp(tx *store.Tx, k *Kind, t *Task, cause error) error {
	r.cfg.Log.Error("a task failed for good", "kind", t.Kind, "task", t.ID, "error", cause)
	if k.Failed != nil {
		if err := k.Failed(tx, t, cause); err != nil {
			return fmt.Errorf("give up %s: %w", k.Name, err)
		}
	}
	return tasks.Delete(tx, t.ID)
}

func (r *Runner) requeue(tx *store.Tx, row taskRow, after time.Duration) error {
	row.State, row.Next, row.Node, row.Run = ready, r.now()+after.Microseconds(), "", ""
	return tasks.Put(tx, row, row.ID)
}

// backoff doubles from Backoff to MaxBackoff, with up to a quarter of jitter.
func (r *Runner) backoff(attempt int) time.Duration {
	d := r.cfg.Backoff
	for i := 1; i < attempt && d < r.cfg.MaxBackoff; i++ {
		d *= 2
	}
	d = min(d, r.cfg.MaxBackoff)
	return d - time.Duration(mathrand.Int64N(int64(d)/4+1))
}

// watch keeps the leases of running tasks and brings them news of a stop.
func (r *Runner) watch(ctx context.Context) {
	for {
		wake := r.woken()
		r.look()
		r.pause(ctx, wake)
		if ctx.Err() != nil {
			// Claims have ended; running tasks keep their leases until they end.
			r.mu.Lock()
			n := len(r.active)
			dead := r.dead
			r.mu.Unlock()
			if n == 0 || dead {
				return
			}
			time.Sleep(r.cfg.Poll)
		}
	}
}

func (r *Runner) look() {
	r.mu.Lock()
	active := make([]*Task, 0, len(r.active))
	for _, t := range r.active {
		active = append(active, t)
	}
	dead := r.dead
	r.mu.Unlock()
	if dead || len(active) == 0 {
		return
	}
	ctx := context.WithoutCancel(r.base)
	var renew []*Task
	err := r.cfg.Store.View(ctx, func(tx *store.Tx) error {
		renew = renew[:0]
		for _, t := range active {
			row, err := t.held(tx)
			switch {
			case errors.Is(err, ErrLost):
				t.cancel(ErrLost)
			case err != nil:
				return err
			case row.Stop:
				t.cancel(ErrStopped)
			}
			if err == nil && row.Until-r.now() < r.cfg.Lease.Microseconds()*2/3 {
				renew = append(renew, t)
			}
		}
		return nil
	})
	if err == nil && len(renew) > 0 {
		err = r.renew(ctx, renew)
	}
	if err != nil && !errors.Is(err, store.ErrClosed) {
		r.cfg.Log.Error("the leases of running tasks could not be renewed", "error", err)
	}
}

func (r *Runner) renew(ctx context.Context, list []*Task) error {
	return r.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		for _, t := range list {
			row, err := t.held(tx)
			if errors.Is(err, ErrLost) {
				continue
			}
			if err != nil {
				return err
			}
			row.Until = r.now() + r.cfg.Lease.Microseconds()
			if err := tasks.Put(tx, row, row.ID); err != nil {
				return err
			}
		}
		return nil
	})
}
