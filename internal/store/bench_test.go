package store_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/pebblestore"
	"github.com/sagekeep/sagekeep/internal/store/storetest"
)

func diskStore(b *testing.B) *store.Store {
	b.Helper()
	d, err := pebblestore.Open(filepath.Join(b.TempDir(), "rows"), pebblestore.SingleKey(make([]byte, 32)), pebblestore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = d.Close() })
	return store.New(d, storetest.NewSealer(), store.Options{})
}

// spread runs one operation b.N times on n goroutines.
func spread(b *testing.B, n int, op func(i int64) error) {
	b.ReportAllocs()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range n {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				if err := op(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkUpdate1KiB(b *testing.B) {
	b.Run("writers=16", func(b *testing.B) {
		s := diskStore(b)
		tab := store.Hashed("bench", store.WithCodec(
			func(v []byte) ([]byte, error) { return v, nil },
			func(v []byte) ([]byte, error) { return v, nil }))
		value := bytes.Repeat([]byte("v"), 1024)
		b.SetBytes(1024)
		spread(b, 16, func(i int64) error {
			return s.Update(b.Context(), func(tx *store.Tx) error {
				return tab.Put(tx, value, "account", "group", fmt.Sprint(i))
			})
		})
	})
}

func BenchmarkJournalAppend(b *testing.B) {
	entry := bytes.Repeat([]byte(`{"eventName":"GenerateDataKey","awsRegion":"us-west-2"}`), 20)
	for _, n := range []int{16, 64} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			s := diskStore(b)
			b.SetBytes(int64(len(entry)))
			spread(b, n, func(int64) error { return s.Journal().Append(b.Context(), entry) })
		})
	}
}

// BenchmarkBareSyncedSet is the baseline: the engine alone, without encryption,
// one synced set per caller.
func BenchmarkBareSyncedSet(b *testing.B) {
	for _, n := range []int{16, 64} {
		b.Run(fmt.Sprintf("callers=%d", n), func(b *testing.B) {
			db, err := pebble.Open(filepath.Join(b.TempDir(), "bare"), &pebble.Options{Logger: quiet{}})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			value := bytes.Repeat([]byte("v"), 1024)
			b.SetBytes(1024)
			spread(b, n, func(i int64) error { return db.Set(fmt.Appendf(nil, "%012d", i), value, pebble.Sync) })
		})
	}
}

type quiet struct{}

func (quiet) Infof(string, ...any)         {}
func (quiet) Errorf(string, ...any)        {}
func (quiet) Fatalf(f string, args ...any) { panic(fmt.Sprintf(f, args...)) }

func BenchmarkGet(b *testing.B) {
	s := diskStore(b)
	tab := store.Hashed[grant]("bench")
	err := s.Update(b.Context(), func(tx *store.Tx) error {
		return tab.Put(tx, grant{ID: "g", Grantee: "alice"}, "account", "group", "g")
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		err := s.ViewEarly(b.Context(), func(tx *store.Tx) error {
			_, err := tab.Get(tx, "account", "group", "g")
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
