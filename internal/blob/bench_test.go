package blob_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/blob/blobtest"
	"github.com/sagekeep/sagekeep/internal/envelope/segment"
	"github.com/sagekeep/sagekeep/internal/secret"
)

const benchSize = 256 << 20

// benchDir returns a folder on a real disk: the system's temporary folder, or
// SAGEKEEP_BENCH_DIR.
func benchDir(b *testing.B) string {
	if d := os.Getenv("SAGEKEEP_BENCH_DIR"); d != "" {
		d, err := os.MkdirTemp(d, "blob-bench-")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { os.RemoveAll(d) })
		return d
	}
	return b.TempDir()
}

// BenchmarkPut256MiB compares a durable segment with a plain file written and
// synced; removing them is not timed. Pieces of 256 KiB are the fastest way to
// write the plain file: 1 MiB at a time sometimes takes four times as long, and
// would flatter the segments.
func BenchmarkPut256MiB(b *testing.B) {
	src := blobtest.Content(1, 64<<20)
	feed := func(b *testing.B, write func([]byte) (int, error)) {
		const piece = 256 << 10
		for off := 0; off < benchSize; off += piece {
			if _, err := write(src[off%len(src):][:piece]); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("plain file", func(b *testing.B) {
		dir := benchDir(b)
		b.SetBytes(benchSize)
		for b.Loop() {
			name := filepath.Join(dir, "f")
			f, err := os.Create(name)
			if err != nil {
				b.Fatal(err)
			}
			feed(b, f.Write)
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
			f.Close()
			b.StopTimer()
			os.Remove(name)
			b.StartTimer()
		}
	})
	for _, tc := range []struct {
		name      string
		layers    int
		writeback bool
	}{
		{"blob", 0, true},
		{"blob, no early writeback", 0, false},
		{"one layer", 1, true},
		{"two layers", 2, true},
		{"two layers, no early writeback", 2, false},
	} {
		b.Run(tc.name, func(b *testing.B) {
			dir := benchDir(b)
			fsys := blobtest.NewFaults(blob.OS())
			if !tc.writeback {
				fsys.Set(func(op blobtest.Op, _ string) error {
					if op == blobtest.OpWriteback {
						return errIO
					}
					return nil
				})
			}
			store, err := blob.Local(filepath.Join(dir, "objects"), filepath.Join(dir, "tmp"), blob.LocalOptions{FS: fsys, Space: plenty})
			if err != nil {
				b.Fatal(err)
			}
			keys := segment.Keys{Service: secret.Random()}
			if tc.layers == 2 {
				keys.Customer = secret.Random()
			}
			b.SetBytes(benchSize)
			for b.Loop() {
				w, err := store.Create(context.Background())
				if err != nil {
					b.Fatal(err)
				}
				if tc.layers == 0 {
					feed(b, w.Write)
				} else {
					s, err := segment.NewWriter(w, w.ID(), keys, nil)
					if err != nil {
						b.Fatal(err)
					}
					feed(b, s.Write)
					if err := s.Close(); err != nil {
						b.Fatal(err)
					}
				}
				if _, err := w.Commit(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				store.Delete(context.Background(), w.ID())
				b.StartTimer()
			}
		})
	}
}

// BenchmarkPutSmall is one durable segment of 20 KiB at a time, and many.
func BenchmarkPutSmall(b *testing.B) {
	dir := benchDir(b)
	store, err := blob.Local(filepath.Join(dir, "objects"), filepath.Join(dir, "tmp"),
		blob.LocalOptions{Space: plenty, Now: time.Now})
	if err != nil {
		b.Fatal(err)
	}
	content := blobtest.Content(1, 20<<10)
	put := func(b *testing.B) {
		w, err := store.Create(context.Background())
		if err != nil {
			b.Error(err)
			return
		}
		w.Write(content)
		if _, err := w.Commit(); err != nil {
			b.Error(err)
		}
	}
	b.Run("serial", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		b.ReportAllocs()
		for b.Loop() {
			put(b)
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		b.SetParallelism(8)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				put(b)
			}
		})
	})
}
