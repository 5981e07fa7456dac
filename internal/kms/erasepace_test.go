package kms

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
)

// TestErasuresRest: somebody who deletes imported material all day makes the store
// be rewritten no more often than erasures may run, and nothing waits too long.
func TestErasuresRest(t *testing.T) {
	t.Parallel()
	const interval, hours = 10 * time.Minute, 4
	for _, c := range []struct {
		name       string
		takes      time.Duration // one erasure
		atLeast    int
		atMost     int
		waitsUntil time.Duration // for the erasure of a deletion to begin, at most
	}{
		{"short erasures", time.Second, 22, 25, interval + time.Second},
		{"two minutes each", 2 * time.Minute, 5, 7, time.Hour},
		{"half an hour each", 30 * time.Minute, 3, 4, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T) {
				f := newFixture(t)
				var mu sync.Mutex
				erased := 0
				f.watch(func() {
					time.Sleep(c.takes)
					mu.Lock()
					erased++
					mu.Unlock()
				})
				id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
				ctx, stop := context.WithCancel(t.Context())
				var wg sync.WaitGroup
				wg.Go(func() { f.s.Maintain(ctx, interval, slog.New(slog.DiscardHandler)) })
				for range hours * 6 {
					f.imported(id, material1, nil)
					must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id})
					time.Sleep(interval)
				}
				mu.Lock()
				n := erased
				mu.Unlock()
				if n < c.atLeast || n > c.atMost {
					t.Errorf("%d erasures in %d hours, want %d to %d", n, hours, c.atLeast, c.atMost)
				}
				// The last deletion: one whole erasure may run first.
				f.imported(id, material1, nil)
				row := f.row(id)
				must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id})
				time.Sleep(c.waitsUntil + c.takes)
				if f.opensNow(row) {
					t.Errorf("the material opens %s after its deletion", c.waitsUntil+c.takes)
				}
				stop()
				wg.Wait()
			})
		})
	}
}

// TestErasuresShare: what was deleted while erasures rested goes in one.
func TestErasuresShare(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	erased := 0
	f.watch(func() { erased++ })
	maintain := func() {
		t.Helper()
		if err := f.s.maintainOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	maintain()
	if !f.s.rested.IsZero() {
		t.Error("there was nothing to erase, and erasures rest")
	}
	var rows []keyRow
	for range 3 {
		id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
		f.imported(id, material1, nil)
		rows = append(rows, f.row(id))
	}
	for i, k := range rows {
		must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: k.ID})
		if i == 0 {
			maintain()
			if f.s.rested.IsZero() {
				t.Error("erasures do not rest")
			}
			f.s.rested = time.Now().Add(time.Hour)
		}
		maintain()
	}
	if erased != 1 {
		t.Errorf("%d erasures before the rest was over, want 1", erased)
	}
	f.s.rested = time.Now()
	maintain()
	if erased != 2 {
		t.Errorf("%d erasures, want 2", erased)
	}
	for i, k := range rows {
		if f.opensNow(k) {
			t.Errorf("material %d opens after its erasure", i)
		}
	}
}
