// Package blobtest is the conformance kit of blob.Store, with a file system
// that loses what was not synced and one that fails on demand.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/blob"
)

// Env is an empty Store and the means to hurt it. Every field must be set: a
// store that cannot be tested is not known to keep the contract.
type Env struct {
	Store blob.Store
	// PowerLoss takes the power away while Store is in use and returns a Store
	// on what is left. The old one is not used afterwards. Where power loss
	// cannot be had, it is kill -9: the old Store is not closed.
	PowerLoss func(t *testing.T) blob.Store
	// FillDisk makes writes run out of space, or lets them work again.
	FillDisk func(on bool)
	// FailSync makes the step that makes a segment's bytes durable fail.
	FailSync func(on bool)
	// Leftovers counts what unfinished segments left behind.
	Leftovers func(t *testing.T) int
}

// Run proves that a Store keeps the contract of package blob. open returns a
// fresh Env that lives as long as t.
func Run(t *testing.T, open func(t *testing.T) Env) {
	t.Helper()
	for _, tc := range []struct {
		name string
		test func(*testing.T, Env)
	}{
		{"CreateReadRange", testCreateReadRange},
		{"NotVisibleBeforeCommit", testNotVisibleBeforeCommit},
		{"NotFound", testNotFound},
		{"DeleteWhileOpen", testDeleteWhileOpen},
		{"Abort", testAbort},
		{"ConcurrentWriters", testConcurrentWriters},
		{"SurvivesPowerLoss", testSurvivesPowerLoss},
		{"FullDisk", testFullDisk},
		{"FsyncError", testFsyncError},
		{"List", testList},
		{"Closed", testClosed},
		{"Cancelled", testCancelled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			env := open(t)
			if env.Store == nil || env.PowerLoss == nil || env.FillDisk == nil || env.FailSync == nil || env.Leftovers == nil {
				t.Fatal("the Env is not complete")
			}
			tc.test(t, env)
		})
	}
}

// Content returns n bytes that are another ones for another seed.
func Content(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(key).Read(b)
	return b
}

// Put commits one segment.
func Put(t *testing.T, s blob.Store, content []byte) blob.ID {
	t.Helper()
	w, err := s.Create(t.Context())
	if err != nil {
		t.Fatalf("Create: %v", err)
	}
	defer w.Abort()
	write(t, w, content)
	size, err := w.Commit()
	if err != nil || size != int64(len(content)) {
		t.Fatalf("Commit: %d, %v, want %d", size, err, len(content))
	}
	return w.ID()
}

// write writes content in pieces of odd sizes.
func write(t *testing.T, w io.Writer, content []byte) {
	t.Helper()
	for piece := 1; len(content) > 0; piece = piece*3 + 7 {
		n := min(piece, len(content))
		if got, err := w.Write(content[:n]); got != n || err != nil {
			t.Fatalf("Write of %d: %d, %v", n, got, err)
		}
		content = content[n:]
	}
}

// Read returns a whole segment.
func Read(ctx context.Context, s blob.Store, id blob.ID) ([]byte, error) {
	r, err := s.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
}

// want checks that segment id holds content.
func want(t *testing.T, s blob.Store, id blob.ID, content []byte) {
	t.Helper()
	got, err := Read(t.Context(), s, id)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("segment %s: %d bytes, %v, want the %d written", id, len(got), err, len(content))
	}
}

// gone checks that there is no segment id.
func gone(t *testing.T, s blob.Store, id blob.ID) {
	t.Helper()
	if _, err := Read(t.Context(), s, id); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("segment %s: %v, want ErrNotFound", id, err)
	}
	if _, ok := list(t, s)[id]; ok {
		t.Errorf("segment %s is listed", id)
	}
}

func list(t *testing.T, s blob.Store) map[blob.ID]blob.Info {
	t.Helper()
	all := map[blob.ID]blob.Info{}
	for info, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		if _, ok := all[info.ID]; ok {
			t.Errorf("List yields %s twice", info.ID)
		}
		all[info.ID] = info
	}
	return all
}

func nothingLeft(t *testing.T, env Env) {
	t.Helper()
	if n := env.Leftovers(t); n != 0 {
		t.Errorf("%d unfinished segments are left behind", n)
	}
}

var sizes = []int{0, 1, 4096, 256<<10 - 1, 256 << 10, 256<<10 + 1, 1<<20 + 3}

func testCreateReadRange(t *testing.T, env Env) {
	for i, n := range sizes {
		content := Content(uint64(i), n)
		id := Put(t, env.Store, content)
		want(t, env.Store, id, content)
		r, err := env.Store.Open(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if r.Size() != int64(n) {
			t.Errorf("%d bytes: Size() = %d", n, r.Size())
		}
		var wg sync.WaitGroup
		for _, from := range []int{0, n / 3, n / 2, max(0, n-1)} {
			wg.Go(func() {
				p := make([]byte, n/3)
				got, err := r.ReadAt(p, int64(from))
				rest := content[from:min(n, from+len(p))]
				if !bytes.Equal(p[:got], rest) || (err != nil && err != io.EOF) || (err == nil && got < len(p)) {
					t.Errorf("%d bytes: ReadAt(%d, %d) = %d, %v", n, len(p), from, got, err)
				}
			})
		}
		wg.Wait()
		if got, err := r.ReadAt(make([]byte, 1), int64(n)); got != 0 || err != io.EOF {
			t.Errorf("%d bytes: ReadAt at the end: %d, %v, want 0, EOF", n, got, err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	nothingLeft(t, env)
}

func testNotVisibleBeforeCommit(t *testing.T, env Env) {
	w, err := env.Store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	content := Content(1, 700_000)
	buf := bytes.Clone(content)
	write(t, w, buf)
	clear(buf) // the Writer may not keep it
	gone(t, env.Store, w.ID())
	id := w.ID()
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	w.Abort() // does nothing now
	want(t, env.Store, id, content)
	if w.ID() != id {
		t.Error("the ID changed")
	}
	if _, err := w.Write([]byte{1}); !errors.Is(err, blob.ErrClosed) {
		t.Errorf("Write after Commit: %v, want ErrClosed", err)
	}
	if _, err := w.Commit(); !errors.Is(err, blob.ErrClosed) {
		t.Errorf("second Commit: %v, want ErrClosed", err)
	}
	want(t, env.Store, id, content)
}

func testNotFound(t *testing.T, env Env) {
	unknown := blob.ID{1, 2, 3}
	gone(t, env.Store, unknown)
	if err := env.Store.Delete(t.Context(), unknown); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Delete of nothing: %v, want ErrNotFound", err)
	}
	id := Put(t, env.Store, []byte("x"))
	if err := env.Store.Delete(t.Context(), id); err != nil {
		t.Errorf("Delete: %v", err)
	}
	gone(t, env.Store, id)
	if err := env.Store.Delete(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("second Delete: %v, want ErrNotFound", err)
	}
}

func testDeleteWhileOpen(t *testing.T, env Env) {
	content := Content(1, 300_000)
	id := Put(t, env.Store, content)
	r, err := env.Store.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := env.Store.Delete(t.Context(), id); err != nil {
		want(t, env.Store, id, content) // refused, so nothing happened
		r.Close()
		if err := env.Store.Delete(t.Context(), id); err != nil {
			t.Errorf("Delete after the reader closed: %v", err)
		}
		gone(t, env.Store, id)
		return
	}
	gone(t, env.Store, id)
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("the open reader gave %d bytes, %v", len(got), err)
	}
}

func testAbort(t *testing.T, env Env) {
	for _, n := range sizes {
		w, err := env.Store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, Content(2, n))
		w.Abort()
		w.Abort()
		gone(t, env.Store, w.ID())
		if _, err := w.Write([]byte{1}); !errors.Is(err, blob.ErrClosed) {
			t.Errorf("Write after Abort: %v, want ErrClosed", err)
		}
		if _, err := w.Commit(); !errors.Is(err, blob.ErrClosed) {
			t.Errorf("Commit after Abort: %v, want ErrClosed", err)
		}
		gone(t, env.Store, w.ID())
	}
	nothingLeft(t, env)
}

func testConcurrentWriters(t *testing.T, env Env) {
	const writers, each = 16, 4
	var mu sync.Mutex
	written := map[blob.ID][]byte{}
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for j := range each {
				content := Content(uint64(i*each+j), sizes[(i+j)%len(sizes)])
				w, err := env.Store.Create(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				w.Write(content)
				if _, err := w.Commit(); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				written[w.ID()] = content
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(written) != writers*each {
		t.Errorf("%d identifiers for %d segments", len(written), writers*each)
	}
	for id, content := range written {
		want(t, env.Store, id, content)
	}
	nothingLeft(t, env)
}

func testSurvivesPowerLoss(t *testing.T, env Env) {
	committed := map[blob.ID][]byte{}
	for i, n := range sizes {
		content := Content(uint64(i), n)
		committed[Put(t, env.Store, content)] = content
	}
	var lost []blob.ID
	for _, n := range sizes {
		w, err := env.Store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, Content(9, n))
		lost = append(lost, w.ID())
		t.Cleanup(w.Abort)
	}
	env.Store = env.PowerLoss(t)
	for id, content := range committed {
		want(t, env.Store, id, content)
	}
	for _, id := range lost {
		gone(t, env.Store, id)
	}
	if got := len(list(t, env.Store)); got != len(committed) {
		t.Errorf("%d segments after the power loss, want %d", got, len(committed))
	}
	nothingLeft(t, env)
	content := Content(10, 5000)
	want(t, env.Store, Put(t, env.Store, content), content)
}

func testFullDisk(t *testing.T, env Env) {
	content := Content(1, 5000)
	id := Put(t, env.Store, content)
	for _, n := range []int{1, 5000, 1 << 20} {
		for _, when := range []string{"before", "during"} {
			env.FillDisk(when == "before")
			w, err := env.Store.Create(t.Context())
			if err != nil {
				if when == "during" || !errors.Is(err, blob.ErrFull) {
					t.Fatalf("Create: %v", err)
				}
				continue
			}
			half := n / 2
			_, err = w.Write(Content(2, half))
			env.FillDisk(true)
			if err == nil {
				_, err = w.Write(Content(2, n-half))
			}
			if err != nil && !errors.Is(err, blob.ErrFull) {
				t.Errorf("%d bytes, full %s: Write: %v, want ErrFull", n, when, err)
			}
			if _, err := w.Commit(); !errors.Is(err, blob.ErrFull) {
				t.Errorf("%d bytes, full %s: Commit: %v, want ErrFull", n, when, err)
			}
			gone(t, env.Store, w.ID())
		}
	}
	nothingLeft(t, env)
	want(t, env.Store, id, content)
	if err := env.Store.Delete(t.Context(), id); err != nil {
		t.Errorf("Delete on a full disk: %v", err)
	}
	env.FillDisk(false)
	want(t, env.Store, Put(t, env.Store, content), content)
}

func testFsyncError(t *testing.T, env Env) {
	content := Content(1, 5000)
	id := Put(t, env.Store, content)
	env.FailSync(true)
	var failed []blob.ID
	for _, n := range sizes {
		w, err := env.Store.Create(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		write(t, w, Content(2, n))
		if size, err := w.Commit(); err == nil {
			t.Errorf("%d bytes: Commit is acknowledged (%d) though the sync failed", n, size)
		}
		// A second try must not turn the failure into a success.
		if _, err := w.Commit(); err == nil {
			t.Errorf("%d bytes: a second Commit is acknowledged", n)
		}
		failed = append(failed, w.ID())
	}
	env.FailSync(false)
	check := func() {
		t.Helper()
		want(t, env.Store, id, content)
		for _, id := range failed {
			gone(t, env.Store, id)
		}
		nothingLeft(t, env)
	}
	check()
	env.Store = env.PowerLoss(t)
	check()
}

func testList(t *testing.T, env Env) {
	if n := len(list(t, env.Store)); n != 0 {
		t.Errorf("an empty store lists %d segments", n)
	}
	before := time.Now().Add(-time.Minute)
	sized := map[blob.ID]int64{}
	for i := range 10 {
		sized[Put(t, env.Store, Content(0, i*100))] = int64(i * 100)
	}
	all := list(t, env.Store)
	if len(all) != len(sized) {
		t.Errorf("%d segments listed, want %d", len(all), len(sized))
	}
	for id, size := range sized {
		info := all[id]
		if info.Size != size || info.ModTime.Before(before) || info.ModTime.Location() != time.UTC {
			t.Errorf("segment %s of %d bytes is listed as %+v", id, size, info)
		}
	}
	for range env.Store.List(t.Context()) {
		break // must be possible
	}
	for _, err := range env.Store.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for id := range sized { // while listing
			if err := env.Store.Delete(t.Context(), id); err != nil {
				t.Errorf("Delete while listing: %v", err)
			}
		}
		clear(sized)
	}
	if n := len(list(t, env.Store)); n != 0 {
		t.Errorf("%d segments are left", n)
	}
}

func testClosed(t *testing.T, env Env) {
	id := Put(t, env.Store, []byte("x"))
	if err := env.Store.Close(); err != nil {
		t.Fatal(err)
	}
	_, create := env.Store.Create(t.Context())
	_, open := env.Store.Open(t.Context(), id)
	var listing error
	for _, err := range env.Store.List(t.Context()) {
		listing = err
	}
	for name, err := range map[string]error{
		"Create": create, "Open": open, "List": listing, "Delete": env.Store.Delete(t.Context(), id),
	} {
		if !errors.Is(err, blob.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

func testCancelled(t *testing.T, env Env) {
	id := Put(t, env.Store, []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, create := env.Store.Create(ctx)
	_, open := env.Store.Open(ctx, id)
	for name, err := range map[string]error{
		"Create": create, "Open": open, "Delete": env.Store.Delete(ctx, id),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with an ended context: %v", name, fmt.Sprint(err))
		}
	}
	want(t, env.Store, id, []byte("x"))
}
