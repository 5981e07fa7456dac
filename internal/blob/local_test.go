package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/blob/blobtest"
)

var errIO = errors.New("input/output error")

func plenty(string) (free, total uint64, err error) { return 1 << 40, 1 << 40, nil }

// stage is a local store whose file system fails on demand.
type stage struct {
	root   string
	faults *blobtest.Faults
	store  blob.Store
}

func newStage(t testing.TB, root string, fsys blob.FS) *stage {
	t.Helper()
	s := &stage{root: root}
	s.open(t, fsys)
	return s
}

// open starts a store on fsys as a new process would.
func (s *stage) open(t testing.TB, fsys blob.FS) {
	t.Helper()
	s.faults = blobtest.NewFaults(fsys)
	var err error
	s.store, err = blob.Local(filepath.Join(s.root, "objects"), filepath.Join(s.root, "tmp"),
		blob.LocalOptions{FS: s.faults, Space: plenty})
	if err != nil {
		t.Fatal(err)
	}
}

// env gives the kit its means. lose returns the file system after a power loss.
func (s *stage) env(lose func() blob.FS) blobtest.Env {
	failing := func(op blobtest.Op, with error) func(on bool) {
		return func(on bool) {
			s.faults.Set(nil)
			if on {
				s.faults.Set(func(got blobtest.Op, _ string) error {
					if got == op {
						return with
					}
					return nil
				})
			}
		}
	}
	return blobtest.Env{
		Store: s.store,
		PowerLoss: func(t *testing.T) blob.Store {
			s.open(t, lose())
			return s.store
		},
		FillDisk:  failing(blobtest.OpWrite, syscall.ENOSPC),
		FailSync:  failing(blobtest.OpSync, errIO),
		Leftovers: func(t *testing.T) int { return len(s.leftovers(t)) },
	}
}

func (s *stage) leftovers(t testing.TB) []string {
	t.Helper()
	entries, err := s.faults.FS.ReadDir(filepath.Join(s.root, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestConformanceOS(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blobtest.Env {
		return newStage(t, t.TempDir(), blob.OS()).env(func() blob.FS { return blob.OS() })
	})
}

func TestConformanceCrashFS(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{0, 1, 2} {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			blobtest.Run(t, func(t *testing.T) blobtest.Env {
				disk := blobtest.NewCrashFS("/data")
				return newStage(t, "/data", disk).env(func() blob.FS {
					disk = disk.CrashClone(seed)
					return disk
				})
			})
		})
	}
}

// TestEveryCrashPoint takes the power away after every single operation that
// changes the disk, and loses several samples of what was not synced.
func TestEveryCrashPoint(t *testing.T) {
	t.Parallel()
	errPower := errors.New("no power")
	sizes := []int{0, 10, 300 << 10}
	for point := int64(0); ; point++ {
		disk := blobtest.NewCrashFS("/data")
		s := newStage(t, "/data", disk)
		var ops atomic.Int64
		s.faults.Set(func(op blobtest.Op, _ string) error {
			if op.Changes() && ops.Add(1) > point {
				return errPower
			}
			return nil
		})
		known := map[blob.ID][]byte{}
		committed := map[blob.ID]bool{}
		dead := false
		for i, n := range sizes {
			w, err := s.store.Create(t.Context())
			if err != nil {
				dead = true
				break
			}
			content := blobtest.Content(uint64(i), n)
			known[w.ID()] = content
			_, err = w.Write(content)
			if _, cerr := w.Commit(); cerr != nil {
				dead = true
				break
			}
			if err != nil {
				t.Fatalf("point %d: Commit forgot a write error: %v", point, err)
			}
			committed[w.ID()] = true
		}
		for seed := range uint64(6) {
			after := newStage(t, "/data", disk.CrashClone(seed))
			for id := range committed {
				if got, err := blobtest.Read(t.Context(), after.store, id); err != nil || !bytes.Equal(got, known[id]) {
					t.Errorf("point %d, seed %d: committed segment: %d of %d bytes, %v", point, seed, len(got), len(known[id]), err)
				}
			}
			for info, err := range after.store.List(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				if got, err := blobtest.Read(t.Context(), after.store, info.ID); err != nil || !bytes.Equal(got, known[info.ID]) {
					t.Errorf("point %d, seed %d: a segment is there in part: %d of %d bytes, %v", point, seed, len(got), len(known[info.ID]), err)
				}
			}
			if left := after.leftovers(t); len(left) != 0 {
				t.Errorf("point %d, seed %d: %v left after the start", point, seed, left)
			}
		}
		if !dead {
			if len(committed) != len(sizes) || point < 15 {
				t.Fatalf("%d crash points, %d segments committed", point, len(committed))
			}
			return
		}
	}
}

// TestFolderOfKilledProcess has a process killed between making a folder and
// syncing it: the next process must sync what it finds.
func TestFolderOfKilledProcess(t *testing.T) {
	t.Parallel()
	disk := blobtest.NewCrashFS("/data")
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, d := range []string{"/data/objects", "/data/tmp"} {
		if err := disk.Mkdir(d); err != nil {
			t.Fatal(err)
		}
	}
	s := newStage(t, "/data", disk)
	shard := blob.ID{}
	copy(shard[:], segmentTime(now))
	outer := "/data/objects/" + shard.String()[2:4]
	if err := disk.Mkdir(outer); err != nil {
		t.Fatal(err)
	}
	for i := range 256 {
		if err := disk.Mkdir(fmt.Sprintf("%s/%02x", outer, i)); err != nil {
			t.Fatal(err)
		}
	}
	store, err := blob.Local("/data/objects", "/data/tmp", blob.LocalOptions{FS: disk, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	content := blobtest.Content(1, 100)
	id := blobtest.Put(t, store, content)
	s.open(t, disk.CrashClone(0))
	if got, err := blobtest.Read(t.Context(), s.store, id); err != nil || !bytes.Equal(got, content) {
		t.Errorf("after the power loss: %d bytes, %v", len(got), err)
	}
}

// segmentTime returns the first six bytes of an identifier made at now.
func segmentTime(now time.Time) []byte {
	ms := now.UnixMilli()
	return []byte{byte(ms >> 40), byte(ms >> 32), byte(ms >> 24), byte(ms >> 16), byte(ms >> 8), byte(ms)}
}

func TestLayoutOnDisk(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := newStage(t, root, blob.OS())
	id := blobtest.Put(t, s.store, []byte("sealed"))
	name := id.String()
	file := filepath.Join(root, "objects", name[2:4], name[30:], name)
	if b, err := os.ReadFile(file); err != nil || string(b) != "sealed" {
		t.Errorf("%s: %q, %v", file, b, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %o, want %o", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestStartRemovesOnlyItsOwn(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	s := newStage(t, root, blob.OS())
	w, err := s.store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Abort)
	for _, name := range []string{"spill-1", "x.segment", w.ID().String()} {
		if err := os.WriteFile(filepath.Join(root, "tmp", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "objects", "README"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.open(t, blob.OS())
	if got := strings.Join(s.leftovers(t), " "); got != w.ID().String()+" spill-1 x.segment" {
		t.Errorf("left in tmp: %s", got)
	}
	for info, err := range s.store.List(t.Context()) {
		t.Errorf("List yields %v, %v", info, err)
	}
}

func TestOpenFailsClearly(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if _, err := blob.Local(filepath.Join(root, "no", "objects"), root, blob.LocalOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing parent: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, "tmp"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.Local(filepath.Join(root, "objects"), filepath.Join(root, "tmp"), blob.LocalOptions{}); err == nil {
		t.Error("a file in place of the temporary folder is accepted")
	}
}

func TestReserve(t *testing.T) {
	t.Parallel()
	const gib = 1 << 30
	for _, tc := range []struct {
		name        string
		free, total uint64
		full        bool
	}{
		{"small device, above 1 GiB", gib, 10 * gib, false},
		{"small device, below 1 GiB", gib - 1, 10 * gib, true},
		{"large device, above 2 %", 20 * gib, 1000 * gib, false},
		{"large device, below 2 %", 20*gib - 1, 1000 * gib, true},
		{"nothing free", 0, gib, true},
	} {
		store, err := blob.Local("/data/objects", "/data/tmp", blob.LocalOptions{
			FS:    blobtest.NewCrashFS("/data"),
			Space: func(string) (uint64, uint64, error) { return tc.free, tc.total, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		w, err := store.Create(t.Context())
		if errors.Is(err, blob.ErrFull) != tc.full || (err == nil) == tc.full {
			t.Errorf("%s: Create: %v, want full %t", tc.name, err, tc.full)
		}
		if err == nil {
			w.Abort()
		}
	}
}

// discard is a file system whose files keep nothing, for long streams.
type discard struct{ *blobtest.CrashFS }

type nowhere struct{ blob.File }

func (d discard) Create(name string) (blob.File, error) {
	f, err := d.CrashFS.Create(name)
	return nowhere{f}, err
}
func (nowhere) Write(p []byte) (int, error) { return len(p), nil }

// TestReserveHoldsDuringUpload lets the space run short while a segment of
// unknown length is being written.
func TestReserveHoldsDuringUpload(t *testing.T) {
	t.Parallel()
	var free atomic.Uint64
	free.Store(1 << 40)
	disk := blobtest.NewCrashFS("/data")
	store, err := blob.Local("/data/objects", "/data/tmp", blob.LocalOptions{
		FS:    discard{disk},
		Space: func(string) (uint64, uint64, error) { return free.Load(), 1 << 40, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := store.Create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	free.Store(1 << 20)
	b := make([]byte, 1<<20)
	written := 0
	for ; err == nil && written < 200; written++ {
		_, err = w.Write(b)
	}
	if !errors.Is(err, blob.ErrFull) || written > 70 {
		t.Errorf("after %d MiB: %v, want ErrFull soon after 64", written, err)
	}
	if _, err := w.Commit(); !errors.Is(err, blob.ErrFull) {
		t.Errorf("Commit: %v, want ErrFull", err)
	}
	if entries, _ := disk.ReadDir("/data/tmp"); len(entries) != 0 {
		t.Errorf("%d files left", len(entries))
	}
}

// TestFailingSteps fails each step of a commit in turn.
func TestFailingSteps(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		op     blobtest.Op
		nth    int  // which call of op fails, and all after it
		broken bool // no more writes until the next start
	}{
		{"write", blobtest.OpWrite, 1, false},
		{"sync of the file", blobtest.OpSync, 1, false},
		{"close", blobtest.OpClose, 1, false},
		{"new folder", blobtest.OpMkdir, 1, false},
		{"second new folder", blobtest.OpMkdir, 2, false},
		{"rename", blobtest.OpRename, 1, false},
		{"sync above the new folder", blobtest.OpSyncDir, 1, true},
		{"sync above the second new folder", blobtest.OpSyncDir, 2, true},
		{"sync of the segment's folder", blobtest.OpSyncDir, 3, true},
		{"sync of the temporary folder", blobtest.OpSyncDir, 4, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, "/data", blobtest.NewCrashFS("/data"))
			syncs, calls := map[string]int{}, 0
			s.faults.Set(func(op blobtest.Op, name string) error {
				if op == blobtest.OpSync || op == blobtest.OpSyncDir {
					syncs[name]++
				}
				if op == tc.op {
					calls++
					if calls >= tc.nth {
						return errIO
					}
				}
				return nil
			})
			w, err := s.store.Create(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			w.Write(blobtest.Content(1, 10))
			if _, err := w.Commit(); !errors.Is(err, errIO) {
				t.Errorf("Commit: %v, want the error of the step", err)
			}
			w.Abort()
			for name, n := range syncs {
				if n > 1 {
					t.Errorf("%s was synced %d times", name, n)
				}
			}
			s.faults.Set(nil)
			if _, err := blobtest.Read(context.Background(), s.store, w.ID()); !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("the segment: %v, want ErrNotFound", err)
			}
			if left := s.leftovers(t); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
			next, err := s.store.Create(t.Context())
			if tc.broken {
				if !errors.Is(err, blob.ErrBroken) {
					t.Errorf("Create afterwards: %v, want ErrBroken", err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Create afterwards: %v", err)
			}
			if _, err := next.Commit(); err != nil {
				t.Errorf("Commit afterwards: %v", err)
			}
		})
	}
}
