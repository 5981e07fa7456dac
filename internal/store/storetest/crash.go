package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

// testSurvivesCrash cuts the power in the middle of commits, several times.
// What was acknowledged is there; every commit is whole or absent; what a
// reader was shown, after WaitDurable, is there.
func testSurvivesCrash(t *testing.T, e Engine) {
	for round := range 4 {
		s, err := e.Open(nil)
		if err != nil {
			t.Fatalf("round %d: Open: %v", round, err)
		}
		e.SlowLogSyncs(time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		const writers = 8
		var acked [writers]atomic.Uint64
		var seen atomic.Uint64
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() { commitUntilDone(ctx, t, s, i, &acked[i]) })
		}
		wg.Go(func() {
			for ctx.Err() == nil {
				n, err := readDurably(ctx, s, "left0")
				if err == nil {
					seen.Store(n)
				}
			}
		})
		time.Sleep(25 * time.Millisecond)
		var want [writers]uint64
		for i := range want {
			want[i] = acked[i].Load()
		}
		shown := seen.Load()
		e.Crash()
		cancel()
		wg.Wait()
		if err := s.Close(); err != nil {
			t.Fatalf("round %d: Close: %v", round, err)
		}
		checkAfterCrash(t, e, round, want[:], shown)
	}
}

// commitUntilDone counts in two rows at once, by Update or by Apply.
func commitUntilDone(ctx context.Context, t *testing.T, s driver.Store, i int, acked *atomic.Uint64) {
	left, right := fmt.Appendf(nil, "left%d", i), fmt.Appendf(nil, "right%d", i)
	n, err := readDurably(ctx, s, string(left))
	if err != nil {
		return
	}
	acked.Store(n)
	for ctx.Err() == nil {
		n++
		if i%2 == 0 {
			err = s.Update(ctx, func(w driver.Txn) error {
				return errors.Join(w.Set(left, bytesOf(n)), w.Set(right, bytesOf(n)))
			})
		} else {
			err = s.Apply(ctx, func(w driver.Writer) error {
				return errors.Join(w.Set(left, bytesOf(n)), w.Set(right, bytesOf(n)))
			})
		}
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("commit: %v", err)
			}
			return
		}
		acked.Store(n)
	}
}

func readDurably(ctx context.Context, s driver.Store, key string) (n uint64, err error) {
	var position uint64
	err = s.View(ctx, func(r driver.Reader) error {
		position = r.Position()
		n, err = read(r, key)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, s.WaitDurable(ctx, position)
}

func checkAfterCrash(t *testing.T, e Engine, round int, want []uint64, shown uint64) {
	t.Helper()
	s, err := e.Open(nil)
	if err != nil {
		t.Fatalf("round %d: Open after the crash: %v", round, err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Errorf("round %d: Close: %v", round, err)
		}
	}()
	err = s.View(t.Context(), func(r driver.Reader) error {
		for i, n := range want {
			left, err := read(r, fmt.Sprintf("left%d", i))
			if err != nil {
				return err
			}
			right, err := read(r, fmt.Sprintf("right%d", i))
			if err != nil {
				return err
			}
			if left != right {
				t.Errorf("round %d, writer %d: half a commit: %d and %d", round, i, left, right)
			}
			if left < n {
				t.Errorf("round %d, writer %d: commit %d was acknowledged, %d is there", round, i, n, left)
			}
			if i == 0 && left < shown {
				t.Errorf("round %d: a reader was shown %d, %d is there", round, shown, left)
			}
		}
		return nil
	})
	if err != nil {
		t.Errorf("round %d: %v", round, err)
	}
}

func testFullLog(t *testing.T, e Engine) {
	failingLog(t, e, func() { e.FailLogWrites(syscall.ENOSPC) })
}

func testSyncError(t *testing.T, e Engine) {
	failingLog(t, e, func() { e.FailLogSyncs(syscall.EIO) })
}

// failingLog: when the log fails, fatal is told once, nothing is acknowledged
// from then on, and a restart finds what was acknowledged before.
func failingLog(t *testing.T, e Engine, fail func()) {
	var fatal atomic.Int32
	s, err := e.Open(func(error) { fatal.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	set(t, s, "before", "1")
	fail()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 3 {
				var err error
				key := fmt.Appendf(nil, "after%d.%d", i, n)
				if i%2 == 0 {
					err = s.Update(t.Context(), func(w driver.Txn) error { return w.Set(key, nil) })
				} else {
					err = s.Apply(t.Context(), func(w driver.Writer) error { return w.Set(key, nil) })
				}
				if err == nil {
					t.Errorf("a commit on a failed log was acknowledged")
				}
			}
		})
	}
	wg.Wait()
	if n := fatal.Load(); n != 1 {
		t.Errorf("fatal was called %d times, want 1", n)
	}
	if _, err := readDurably(t.Context(), s, "after0.0"); err == nil {
		var found bool
		verr := s.View(t.Context(), func(r driver.Reader) error {
			_, err := r.Get([]byte("after0.0"))
			found = err == nil
			return nil
		})
		if verr == nil && found {
			t.Error("a read of what was never durable was confirmed")
		}
	}
	if err := s.Close(); err == nil {
		t.Error("Close of a failed store succeeded")
	}
	e.Crash()
	s = start(t, e)
	wantValue(t, s, "before", "1")
}
