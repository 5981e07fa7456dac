// Package pebblestore is the embedded row engine: Pebble on an encrypting file
// layer, one writer at a time, commits made durable by shared syncs.
//
// The files are described in docs/formats/files.md.
package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

// Open opens the engine in dir, and makes dir when it is missing.
//
// Errors: ErrWrongKey when keys do not fit the files there, ErrNewerFormat when
// a newer program wrote them; in both cases nothing has been written.
func Open(dir string, keys Keys, opt Options) (driver.Store, error) {
	opt = opt.filled()
	s := &store{dir: dir, fs: opt.FS, fatal: opt.Fatal, advanced: make(chan struct{}), drained: make(chan struct{})}
	enc := newEncryptedFS(opt.FS, keys)
	if err := enc.checkFiles(dir); err != nil {
		return nil, fmt.Errorf("open row store: %w", err)
	}
	if err := opt.FS.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open row store: %w", err)
	}
	engine := opt.engineOptions(enc, &engineLog{log: opt.Log, fatal: s.fail})
	db, err := pebble.Open(dir, engine)
	if err != nil {
		return nil, fmt.Errorf("open row store: %w", err)
	}
	s.db = db
	return s, nil
}

type store struct {
	db    *pebble.DB
	dir   string
	fs    vfs.FS
	fatal func(error)

	// write is held around a transaction and its application, not around the
	// wait for its sync.
	write sync.Mutex

	// applied counts commits. It rises before a commit becomes visible, so that
	// who sees a commit also sees its number. Guarded by write for writing.
	applied atomic.Uint64

	// synced is the last commit known durable. The log is sequential: commits
	// before it are durable too.
	synced   atomic.Uint64
	mu       sync.Mutex
	advanced chan struct{} // closed and replaced when synced rises
	failure  error

	failed  atomic.Bool
	users   atomic.Int64 // running calls; closing is added when Close began
	drained chan struct{}
	drain   sync.Once
}

const closing = math.MinInt64 / 2

// enter counts a running call, so that Close can wait for it.
func (s *store) enter() error {
	if s.users.Add(1) < 0 {
		s.leave()
		return driver.ErrClosed
	}
	return nil
}

func (s *store) leave() {
	if s.users.Add(-1) == closing {
		s.drain.Do(func() { close(s.drained) })
	}
}

// fail ends the process, or at least this store: nothing is acknowledged any
// more.
func (s *store) fail(cause error) {
	s.mu.Lock()
	first := s.failure == nil
	if first {
		s.failure = fmt.Errorf("row store failed: %w", cause)
		s.failed.Store(true)
		close(s.advanced)
		s.advanced = make(chan struct{})
	}
	s.mu.Unlock()
	if first {
		s.fatal(cause)
	}
}

func (s *store) broken() error {
	if !s.failed.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure
}

func (s *store) View(ctx context.Context, fn func(driver.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	snap := s.db.NewSnapshot()
	defer snap.Close()
	return fn(&reader{src: snap, position: s.applied.Load()})
}

func (s *store) Update(ctx context.Context, fn func(driver.Txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	b := s.db.NewIndexedBatch()
	position, applied, err := s.run(ctx, b, func() error {
		return fn(&txn{reader: reader{src: b, position: s.applied.Load()}, batch: b})
	})
	return s.settle(b, position, applied, err)
}

func (s *store) Apply(ctx context.Context, fn func(driver.Writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	b := s.db.NewBatch()
	position, applied, err := s.run(ctx, b, func() error { return fn(writer{b}) })
	return s.settle(b, position, applied, err)
}

// run fills b and applies it under the writer lock. It returns the position
// that must be durable before anybody may be told of the outcome, and whether b
// is what is at that position.
func (s *store) run(ctx context.Context, b *pebble.Batch, fill func() error) (position uint64, applied bool, err error) {
	s.write.Lock()
	defer s.write.Unlock()
	if err := s.broken(); err != nil {
		return 0, false, err
	}
	if err := ctx.Err(); err != nil {
		return 0, false, err
	}
	if err := fill(); err != nil || b.Empty() {
		return s.applied.Load(), false, err
	}
	position = s.applied.Add(1)
	if err := s.db.ApplyNoSyncWait(b, pebble.Sync); err != nil {
		s.fail(fmt.Errorf("apply: %w", err))
	}
	return position, true, s.broken()
}

// settle waits until position is durable and releases b. Whether b was applied
// must be told: the engine empties a batch that is as large as a memtable.
func (s *store) settle(b *pebble.Batch, position uint64, applied bool, err error) error {
	if broken := s.broken(); broken != nil {
		return broken // b may still be in the engine's hands
	}
	if err != nil || !applied {
		if cerr := b.Close(); cerr != nil {
			err = errors.Join(err, cerr)
		}
		if werr := s.WaitDurable(context.Background(), position); werr != nil {
			err = errors.Join(err, werr)
		}
		return err
	}
	if serr := b.SyncWait(); serr != nil {
		s.fail(fmt.Errorf("sync: %w", serr))
		return s.broken()
	}
	s.advance(position)
	if err := s.broken(); err != nil {
		return err
	}
	if err := b.Close(); err != nil {
		return fmt.Errorf("release batch: %w", err)
	}
	return nil
}

func (s *store) advance(position uint64) {
	if s.synced.Load() >= position {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.synced.Load() >= position {
		return
	}
	s.synced.Store(position)
	close(s.advanced)
	s.advanced = make(chan struct{})
}

func (s *store) WaitDurable(ctx context.Context, position uint64) error {
	for s.synced.Load() < position {
		s.mu.Lock()
		advanced, failure := s.advanced, s.failure
		done := s.synced.Load() >= position
		s.mu.Unlock()
		if done {
			return nil
		}
		if failure != nil {
			return failure
		}
		select {
		case <-advanced:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (s *store) Compact(ctx context.Context) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	if err := s.broken(); err != nil {
		return err
	}
	if err := s.db.Flush(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	if err := s.db.Compact(ctx, []byte{0}, []byte{0xFF, 0xFF, 0xFF, 0xFF}, false); err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	return nil
}

func (s *store) FreeSpace() (free, total uint64, err error) {
	u, err := s.fs.GetDiskUsage(s.dir)
	if errors.Is(err, vfs.ErrUnsupported) {
		return math.MaxUint64, math.MaxUint64, nil
	}
	if err != nil {
		return 0, 0, err
	}
	return u.AvailBytes, u.TotalBytes, nil
}

func (s *store) Close() error {
	for {
		n := s.users.Load()
		if n < 0 {
			<-s.drained
			return nil
		}
		if s.users.CompareAndSwap(n, n+closing) {
			if n == 0 {
				s.drain.Do(func() { close(s.drained) })
			}
			break
		}
	}
	<-s.drained
	if err := s.broken(); err != nil {
		return err // the engine is stuck; the process is about to end
	}
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close row store: %w", err)
	}
	return nil
}

// reader reads a snapshot or an indexed batch.
type reader struct {
	src      pebble.Reader
	position uint64
}

func (r *reader) Position() uint64 { return r.position }

func (r *reader) Get(key []byte) ([]byte, error) {
	v, closer, err := r.src.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, driver.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	out := append(make([]byte, 0, len(v)), v...)
	if err := closer.Close(); err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	return out, nil
}

func (r *reader) Scan(rng driver.Range) iter.Seq2[driver.Pair, error] {
	return func(yield func(driver.Pair, error) bool) {
		it, err := r.src.NewIter(&pebble.IterOptions{LowerBound: rng.Lower, UpperBound: bound(rng.Upper)})
		if err != nil {
			yield(driver.Pair{}, fmt.Errorf("scan: %w", err))
			return
		}
		defer it.Close()
		start, step := it.First, it.Next
		if rng.Reverse {
			start, step = it.Last, it.Prev
		}
		n := 0
		for ok := start(); ok; ok = step() {
			v, err := it.ValueAndErr()
			if err != nil {
				yield(driver.Pair{}, fmt.Errorf("scan: %w", err))
				return
			}
			n++
			if !yield(driver.Pair{Key: it.Key(), Value: v}, nil) || n == rng.Limit {
				return
			}
		}
		if err := it.Error(); err != nil {
			yield(driver.Pair{}, fmt.Errorf("scan: %w", err))
		}
	}
}

// bound makes an empty upper bound mean none.
func bound(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

type txn struct {
	reader
	batch *pebble.Batch
}

func (t *txn) Set(key, value []byte) error { return writer{t.batch}.Set(key, value) }
func (t *txn) Delete(key []byte) error     { return writer{t.batch}.Delete(key) }

type writer struct{ batch *pebble.Batch }

func (w writer) Set(key, value []byte) error {
	if err := w.batch.Set(key, value, nil); err != nil {
		return fmt.Errorf("set: %w", err)
	}
	return nil
}

func (w writer) Delete(key []byte) error {
	if err := w.batch.Delete(key, nil); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}
