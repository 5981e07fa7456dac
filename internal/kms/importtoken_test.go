package kms

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/driver"
	"github.com/sagekeep/sagekeep/internal/store/memstore"
)

// watchedDriver counts the commits of a store and tells of its compactions.
type watchedDriver struct {
	driver.Store
	updates   atomic.Int64
	compacted func()
}

func (d *watchedDriver) Update(ctx context.Context, fn func(driver.Txn) error) error {
	d.updates.Add(1)
	return d.Store.Update(ctx, fn)
}

func (d *watchedDriver) Compact(ctx context.Context) error {
	if d.compacted != nil {
		d.compacted()
	}
	return d.Store.Compact(ctx)
}

// watch puts the fixture on an empty store that can be watched.
func (f *fixture) watch(compacted func()) *watchedDriver {
	d := &watchedDriver{Store: memstore.New(f), compacted: compacted}
	c := f.s.cfg
	f.store = store.New(d, c.Keyring, store.Options{})
	c.Store = f.store
	f.start(c)
	return d
}

// plantImports makes wrapping keys of a key, none of which opens.
func (f *fixture) plantImports(id string, n int, expires time.Time) {
	f.Helper()
	k := f.row(id)
	f.s.wrapping.RLock()
	defer f.s.wrapping.RUnlock()
	for range n {
		row, _, err := f.s.newImport(&k, wrapOAEP, []byte("no key"))
		if err != nil {
			f.Fatal(err)
		}
		row.Expires = expires
		if err := f.store.Update(f.Context(), func(tx *store.Tx) error { return imports.Put(tx, row, row.Region, row.KeyID, row.ID) }); err != nil {
			f.Fatal(err)
		}
	}
}

// importsUnder counts the wrapping keys, and those under the newest epoch.
func (f *fixture) importsUnder() (all, current int) {
	f.Helper()
	err := f.store.View(f.Context(), func(tx *store.Tx) error {
		all, current = 0, 0
		for row, err := range imports.Scan(tx, nil, store.ScanOptions{}) {
			if err != nil {
				return err
			}
			all++
			if f.epochs.Current(row.Value.Wrapped) {
				current++
			}
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	return all, current
}

// TestRewrapImports: wrapping keys are rewrapped and dropped page by page.
func TestRewrapImports(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	d := f.watch(nil)
	const live, past = rewrapBatch + rewrapBatch/2, rewrapBatch
	ids := []string{f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)}
	f.plantImports(ids[0], live, f.now().Add(time.Hour))
	f.plantImports(ids[1], past, f.now())
	if err := f.s.beginErasure(); err != nil {
		t.Fatal(err)
	}
	before := d.updates.Load()
	if err := f.s.rewrapImports(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := d.updates.Load() - before; n > 3 {
		t.Errorf("%d commits for %d rows, want one for each page of %d", n, live+past, rewrapBatch)
	}
	if all, current := f.importsUnder(); all != live || current != live {
		t.Errorf("%d wrapping keys are left, %d under the new epoch, want %d", all, current, live)
	}
	before = d.updates.Load()
	if err := f.s.rewrapImports(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := d.updates.Load() - before; n > 0 {
		t.Errorf("%d commits when nothing is to do", n)
	}
}

// TestImportLimit: the wrapping keys of a key are bounded, those of another one
// and of yesterday aside.
func TestImportLimit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id, other := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt), f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	ask := func(id string) error {
		return second(try(f.admin(), f, kmsapi.GetParametersForImport, &kmsapi.GetParametersForImportInput{KeyId: id, WrappingAlgorithm: wrapOAEP, WrappingKeySpec: "RSA_2048"}))
	}
	f.plantImports(id, 3, f.now())
	f.plantImports(id, maxImports-2, f.now().Add(time.Hour))
	token := f.importToken(id, wrapOAEP)
	if err := ask(id); err != nil {
		t.Fatalf("up to the limit: %v", err)
	}
	all, _ := f.importsUnder()
	wantError(t, "beyond the limit", ask(id), "LimitExceededException", "The key "+arnOf(id)+" has 100 import tokens that were not used, the limit. *")
	if now, _ := f.importsUnder(); now != all {
		t.Errorf("a refused call has left %d wrapping keys", now-all)
	}
	wantError(t, "another key", ask(other), "", "")
	must(f.admin(), f, kmsapi.ImportKeyMaterial, &kmsapi.ImportKeyMaterialInput{
		KeyId: id, ImportToken: token, EncryptedKeyMaterial: wrapped(t, wrapOAEP, material1), ExpirationModel: forGood,
	})
	wantError(t, "after an import", ask(id), "", "")
	f.pass(day)
	wantError(t, "after a day", ask(id), "", "")
}

// TestImportedMaterialsAreBounded: each further material of a key takes a rotation
// on demand, of which there are 25, so that a key has 26 and one that waits.
func TestImportedMaterialsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.emptyKey("SYMMETRIC_DEFAULT", usageEncrypt)
	rotate := func() error {
		return second(try(f.admin(), f, kmsapi.RotateKeyOnDemand, &kmsapi.RotateKeyOnDemandInput{KeyId: id}))
	}
	next := func(n byte) []byte { return slices.Repeat([]byte{n}, 32) }
	f.imported(id, next(0), nil)
	for n := range byte(maxOnDemand) {
		f.imported(id, next(n+1), asNew)
		if err := rotate(); err != nil {
			t.Fatalf("rotation %d: %v", n+1, err)
		}
	}
	f.imported(id, next(100), asNew)
	wantError(t, "one rotation more", rotate(), "LimitExceededException", "")
	wantError(t, "one material more", second(f.tryImport(id, next(101), asNew)), "KMSInvalidStateException", "")
	// What waits can be replaced, not added to.
	waiting := f.row(id).Pending.ID
	must(f.admin(), f, kmsapi.DeleteImportedKeyMaterial, &kmsapi.DeleteImportedKeyMaterialInput{KeyId: id, KeyMaterialId: &waiting})
	f.imported(id, next(101), asNew)
	if row := f.row(id); len(row.Materials) != maxOnDemand+1 || row.Pending == nil {
		t.Errorf("the key has %d materials", len(row.Materials))
	}
}
