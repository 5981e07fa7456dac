package store_test

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

func TestEpochCounts(t *testing.T) {
	t.Parallel()
	d := memstore.New(t)
	sealer := storetest.NewSealer()
	s := store.New(d, sealer, store.Options{})
	if n := s.Epoch("key/1"); n != 0 {
		t.Errorf("Epoch before any Bump = %d, want 0", n)
	}
	update(t, s, func(tx *store.Tx) error {
		tx.Bump("key/1")
		tx.Bump("key/1")
		if n := s.Epoch("key/1"); n != 0 {
			t.Errorf("Epoch before the commit = %d, want 0", n)
		}
		return nil
	})
	if n := s.Epoch("key/1"); n != 1 {
		t.Errorf("Epoch after a commit = %d, want 1", n)
	}
	refused := errors.New("refused")
	err := s.Update(t.Context(), func(tx *store.Tx) error {
		tx.Bump("key/1")
		return refused
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
	if n := s.Epoch("key/1"); n != 1 {
		t.Errorf("Epoch after a failed Update = %d, want 1", n)
	}
	if n := s.Epoch("key/2"); n != 0 {
		t.Errorf("Epoch of another name = %d, want 0", n)
	}
	again := store.New(d, sealer, store.Options{})
	if n := again.Epoch("key/1"); n != 1 {
		t.Errorf("Epoch after a restart = %d, want 1", n)
	}
}

func TestEpochOfClosedStoreIsNeverEqual(t *testing.T) {
	t.Parallel()
	d, err := memstore.Open()
	if err != nil {
		t.Fatal(err)
	}
	s := store.New(d, storetest.NewSealer(), store.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if a, b := s.Epoch("x"), s.Epoch("x"); a == b {
		t.Errorf("an epoch that cannot be read is %d twice", a)
	}
}

// TestCachesNeverServeStale: once an Update that bumped has returned, no
// reader is served the older value from a cache entry that follows the rule.
func TestCachesNeverServeStale(t *testing.T) {
	t.Parallel()
	m := memstore.NewMachine(3)
	d, err := m.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	m.SlowLogSyncs(200 * time.Microsecond)
	s := store.New(d, storetest.NewSealer(), store.Options{})
	tab := store.Hashed[int]("policy")
	type entry struct {
		epoch uint64
		value int
	}
	var cache sync.Map
	cached := func(name string) (int, error) {
		epoch := s.Epoch(name)
		if e, ok := cache.Load(name); ok && e.(entry).epoch == epoch {
			return e.(entry).value, nil
		}
		value := 0
		err := s.ViewEarly(t.Context(), func(tx *store.Tx) (err error) {
			value, err = tab.Get(tx, name)
			if errors.Is(err, store.ErrNotFound) {
				err = nil
			}
			return err
		})
		if err == nil {
			cache.Store(name, entry{epoch, value})
		}
		return value, err
	}
	const names = 3
	var floor [names]atomic.Int64
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for i := range names {
		name := fmt.Sprint("policy", i)
		writers.Go(func() {
			for n := 1; n <= 40; n++ {
				update(t, s, func(tx *store.Tx) error {
					tx.Bump(name)
					return tab.Put(tx, n, name)
				})
				floor[i].Store(int64(n))
			}
		})
		for range 2 {
			readers.Go(func() {
				for {
					least := floor[i].Load()
					got, err := cached(name)
					if err != nil || int64(got) < least {
						t.Errorf("%s: read %d, %v, after %d was answered", name, got, err, least)
						return
					}
					select {
					case <-stop:
						return
					default:
						runtime.Gosched()
					}
				}
			})
		}
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
