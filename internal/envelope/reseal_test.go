package envelope

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sagekeep/sagekeep/internal/durable"
	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// fakeSeal is a holder outside the process.
type fakeSeal struct {
	seal.Seal

	kind         seal.Kind
	wrap, unwrap error
}

func (f fakeSeal) Kind() seal.Kind { return f.kind }

func (f fakeSeal) Wrap(ctx context.Context, k secret.Key, at seal.Context) ([]byte, error) {
	if f.wrap != nil {
		return nil, f.wrap
	}
	return f.Seal.Wrap(ctx, k, at)
}

func (f fakeSeal) Unwrap(ctx context.Context, b []byte, at seal.Context) (secret.Key, error) {
	if f.unwrap != nil {
		return secret.Key{}, f.unwrap
	}
	return f.Seal.Unwrap(ctx, b, at)
}

// resealing is a directory about to change its seal from a to b.
type resealing struct {
	dir  string
	a, b func() (seal.Seal, error)
	keys *Keys
	p    probe
}

func newResealing(t *testing.T) *resealing {
	t.Helper()
	r := &resealing{dir: t.TempDir(), a: opener(fileText(t.TempDir())), b: opener(fileText(t.TempDir()))}
	s, err := r.a()
	if err != nil {
		t.Fatal(err)
	}
	if r.keys, err = CreateKeys(t.Context(), filesIn(r.dir), s, r.a); err != nil {
		t.Fatal(err)
	}
	r.p = newProbe(t, r.keys)
	return r
}

// opens reports whether the seal opens a copy of the directory, and that it opens
// all of it then.
func (r *resealing) opens(t *testing.T, dir string, open func() (seal.Seal, error)) bool {
	t.Helper()
	s, err := open()
	if err != nil {
		t.Fatal(err)
	}
	k, err := OpenKeys(t.Context(), filesIn(dir), s)
	if errors.Is(err, seal.ErrWrong) {
		return false
	}
	if err != nil {
		t.Fatalf("half open: %v", err)
	}
	if err := r.p.check(k); err != nil {
		t.Fatalf("opened other keys: %v", err)
	}
	// What a start does next ends what was begun, and leaves one copy.
	if err := k.Settle(); err != nil {
		t.Fatal(err)
	}
	st, err := ReadStatus(filesIn(dir))
	if err != nil || len(st.Copies) != 1 || st.Leftovers != 0 {
		t.Fatalf("after the start: %+v, %v", st, err)
	}
	if err := r.p.check(openKeys(t, filesIn(dir), s)); err != nil {
		t.Fatalf("after the start: %v", err)
	}
	return true
}

func copyDir(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// onWrite makes every write of the two files go through f.
func (k *Keys) onWrite(f func(path string, b []byte) error) { k.write, k.Epochs.write = f, f }

// TestResealCrashes takes a copy of the directory around each write: one of the
// two seals opens each of them.
func TestResealCrashes(t *testing.T) {
	t.Parallel()
	for _, erasing := range []bool{false, true} {
		t.Run(fmt.Sprintf("erasure under way %t", erasing), func(t *testing.T) {
			t.Parallel()
			r := newResealing(t)
			if erasing {
				if err := r.keys.Epochs.Begin(); err != nil {
					t.Fatal(err)
				}
			}
			var copies []string
			r.keys.onWrite(func(path string, b []byte) error {
				copies = append(copies, copyDir(t, r.dir))
				if err := durable.WriteFile(path, b); err != nil {
					return err
				}
				copies = append(copies, copyDir(t, r.dir))
				return nil
			})
			var steps []Step
			about, err := r.keys.Reseal(t.Context(), r.b, func(s Step, _ Copy) error { steps = append(steps, s); return nil })
			if err != nil || fmt.Sprint(steps) != "[added verified destroy]" || about.Generation != 2 {
				t.Fatalf("%v, %+v, %v", steps, about, err)
			}
			if len(copies) != 8 {
				t.Fatalf("%d copies: want two around each of four writes", len(copies))
			}
			for i, dir := range append(copies, r.dir) {
				byA, byB := r.opens(t, copyDir(t, dir), r.a), r.opens(t, copyDir(t, dir), r.b)
				wantA, wantB := i < 5, i >= 3
				if byA != wantA || byB != wantB {
					t.Errorf("copy %d: opened by the old seal %t, by the new one %t; want %t, %t", i, byA, byB, wantA, wantB)
				}
			}
			if err := r.p.check(r.keys); err != nil {
				t.Errorf("the running keys: %v", err)
			}
		})
	}
}

// TestResealFails makes each write fail, before or after it took effect: the
// running keys go on, erasures included, and the directory opens.
func TestResealFails(t *testing.T) {
	t.Parallel()
	boom := errors.New("the disk is gone")
	for n := range 4 {
		for _, late := range []bool{false, true} {
			for _, forever := range []bool{false, true} {
				t.Run(fmt.Sprintf("write %d, late %t, for ever %t", n+1, late, forever), func(t *testing.T) {
					t.Parallel()
					r := newResealing(t)
					writes := 0
					r.keys.onWrite(func(path string, b []byte) error {
						writes++
						if writes-1 < n || writes-1 > n && !forever {
							return durable.WriteFile(path, b)
						}
						if late {
							if err := durable.WriteFile(path, b); err != nil {
								return err
							}
						}
						return boom
					})
					if _, err := r.keys.Reseal(t.Context(), r.b, nil); !errors.Is(err, boom) {
						t.Fatal(err)
					}
					if err := r.p.check(r.keys); err != nil {
						t.Errorf("the running keys: %v", err)
					}
					if !r.opens(t, copyDir(t, r.dir), r.a) && !r.opens(t, copyDir(t, r.dir), r.b) {
						t.Error("no seal opens the directory")
					}
					// The disk is back; an erasure goes on as if nothing had been.
					r.keys.onWrite(durable.WriteFile)
					if err := r.keys.Epochs.Begin(); err != nil {
						t.Fatal(err)
					}
					if k, err := r.keys.Epochs.Unwrap([]byte("aad"), r.p.backing); err == nil {
						r.p.backing = r.keys.Epochs.Wrap([]byte("aad"), k)
					}
					if err := r.keys.Epochs.Finish(); err != nil {
						t.Fatal(err)
					}
					if !r.opens(t, copyDir(t, r.dir), r.a) && !r.opens(t, copyDir(t, r.dir), r.b) {
						t.Error("no seal opens the directory after an erasure")
					}
					// So does a second try.
					if _, err := r.keys.Reseal(t.Context(), r.b, nil); err != nil {
						t.Fatal(err)
					}
					if r.opens(t, copyDir(t, r.dir), r.a) || !r.opens(t, copyDir(t, r.dir), r.b) {
						t.Error("the second try did not end the change")
					}
				})
			}
		}
	}
}

// TestResealRefused: holders that fail and steps that are refused leave the old
// seal, or, once the new one was verified, both.
func TestResealRefused(t *testing.T) {
	t.Parallel()
	boom := errors.New("no record can be stored")
	refuse := func(at Step) func(Step, Copy) error {
		return func(s Step, _ Copy) error {
			if s == at {
				return boom
			}
			return nil
		}
	}
	for name, c := range map[string]struct {
		holder func(calls int, f *fakeSeal)
		step   func(Step, Copy) error
		byB    bool // whether the new seal opens it, too
	}{
		"the new holder does not wrap":   {holder: func(_ int, f *fakeSeal) { f.wrap = boom }},
		"the new holder does not unwrap": {holder: func(_ int, f *fakeSeal) { f.unwrap = boom }},
		"the record of the new copy":     {step: refuse(Added)},
		"the record of its verification": {step: refuse(Verified)},
		"the record of the destruction":  {step: refuse(Destroy), byB: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newResealing(t)
			open, calls := r.b, 0
			if c.holder != nil {
				open = func() (seal.Seal, error) {
					s, err := r.b()
					calls++
					f := fakeSeal{Seal: s, kind: seal.File}
					c.holder(calls, &f)
					return f, err
				}
			}
			if _, err := r.keys.Reseal(t.Context(), open, c.step); !errors.Is(err, boom) {
				t.Fatal(err)
			}
			if byA, byB := r.opens(t, copyDir(t, r.dir), r.a), r.opens(t, copyDir(t, r.dir), r.b); !byA || byB != c.byB {
				t.Errorf("opened by the old seal %t, by the new one %t", byA, byB)
			}
			if err := r.p.check(r.keys); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestResealMakesANewRootKey: who has the old seal and old files opens nothing
// that is written afterwards.
func TestResealMakesANewRootKey(t *testing.T) {
	t.Parallel()
	r := newResealing(t)
	old := copyDir(t, r.dir)
	if _, err := r.keys.Reseal(t.Context(), r.a, nil); err != nil { // the same seal
		t.Fatal(err)
	}
	if err := r.keys.Epochs.Begin(); err != nil {
		t.Fatal(err)
	}
	mixed := copyDir(t, old)
	write(t, filepath.Join(mixed, "epoch.json"), read(t, filepath.Join(r.dir, "epoch.json")))
	s, err := r.a()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenKeys(t.Context(), filesIn(mixed), s); err == nil || !strings.Contains(err.Error(), "not of one time") {
		t.Errorf("an old keyring with new epochs: %v", err)
	}
}

// TestResealBesideErasures changes the seal while epochs come and go.
func TestResealBesideErasures(t *testing.T) {
	t.Parallel()
	r := newResealing(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 20 {
			if err := r.keys.Epochs.Begin(); err != nil {
				t.Error(err)
			}
			k, err := r.keys.Epochs.Unwrap([]byte("aad"), r.p.backing)
			if err != nil {
				t.Error(err)
				return
			}
			r.p.backing = r.keys.Epochs.Wrap([]byte("aad"), k)
			if err := r.keys.Epochs.Finish(); err != nil {
				t.Error(err)
			}
		}
	})
	for i := range 6 {
		if _, err := r.keys.Reseal(t.Context(), []func() (seal.Seal, error){r.b, r.a}[i%2], nil); err != nil {
			t.Error(err)
		}
	}
	wg.Wait()
	if !r.opens(t, r.dir, r.a) {
		t.Error("the directory does not open")
	}
}
